"""DTLS against implementations that are not ours: OpenSSL's command line and aiortc."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from load.srtp import SrtpSession
from media.certificate import DtlsCertificate
from media.dtls import DtlsConnection, DtlsRole
from tests.unit.dtls_pair import contexts

OPENSSL = shutil.which("openssl")
EXPORT = ("-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "60")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="install openssl to run this")


def made_by(key_options: list[str], directory: Path) -> tuple[Path, tuple[tuple[str, str], ...]]:
    """A certificate that OpenSSL made, and its fingerprint."""
    path = directory / "peer.pem"
    command = [str(OPENSSL), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer"]
    command += [*key_options, "-keyout", str(path), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    certificate = (directory / "cert.pem").read_bytes()
    path.write_bytes(path.read_bytes() + certificate)
    digest = x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex(":")
    return path, (("sha-256", digest),)


async def drive(connection: DtlsConnection, sock: trio.socket.SocketType, peer: Any) -> None:
    """Carry datagrams until the handshake has ended; `peer` is None until it spoke."""
    connection.start()
    with trio.fail_after(20):
        while connection.state == "connecting":
            for datagram in connection.poll_datagrams():
                await sock.sendto(datagram, peer)
            deadline_ns = connection.deadline_ns()
            assert deadline_ns is not None
            with trio.move_on_after(max(0, deadline_ns - time.monotonic_ns()) / 1e9) as timer:
                datagram, peer = await sock.recvfrom(4096)
                connection.handle_datagram(datagram)
            if timer.cancelled_caught:
                connection.handle_timeout()
        for datagram in connection.poll_datagrams():
            await sock.sendto(datagram, peer)


@asynccontextmanager
async def openssl(*arguments: str) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [str(OPENSSL), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.aclose()
        await process.stdout.aclose()


async def exported_keys(process: trio.Process) -> bytes:
    """Read what OpenSSL says of the keying material, once the handshake is done."""
    assert process.stdout is not None
    said = b""
    with trio.fail_after(10):
        while True:
            found = re.search(rb"Keying material: ([0-9A-F]+)\s", said)
            if found:
                return bytes.fromhex(found[1].decode())
            more = await process.stdout.receive_some(4096)
            assert more, said
            said += bytes(more)


def by_side(material: bytes) -> tuple[bytes, bytes]:
    """Key and salt of the client and of the server (RFC 5764, 4.2)."""
    return material[:16] + material[32:46], material[16:32] + material[46:60]


@needs_openssl
@pytest.mark.parametrize("key", ["ec", "rsa"])
async def test_openssl_as_server_agrees_on_the_keys(key: str, tmp_path: Path) -> None:
    options = {
        "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa": ["-newkey", "rsa:2048"],
    }[key]
    path, fingerprints = made_by(options, tmp_path)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as probe:
        await probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", "-cert", str(path)]
    arguments += ["-use_srtp", "SRTP_AES128_CM_SHA1_80", "-Verify", "1", "-mtu", "1200", *EXPORT]
    async with openssl(*arguments) as server:
        assert server.stdout is not None
        said = b""
        while b"ACCEPT" not in said:
            said += bytes(await server.stdout.receive_some(4096))
        connection = DtlsConnection("client", contexts()[0], fingerprints)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await drive(connection, sock, ("127.0.0.1", port))
            assert (connection.state, connection.reason) == ("connected", None)
            client, remote = by_side(await exported_keys(server))
    keys = connection.srtp_keys()
    assert keys.profile == "AES128_CM_HMAC_SHA1_80"
    assert (keys.local, keys.remote) == (client, remote)


@needs_openssl
async def test_openssl_as_client_agrees_on_the_keys(tmp_path: Path) -> None:
    path, fingerprints = made_by(["-newkey", "rsa:2048"], tmp_path)
    connection = DtlsConnection("server", contexts()[1], fingerprints)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{sock.getsockname()[1]}"
        arguments = ["s_client", "-dtls1_2", "-connect", target, "-cert", str(path)]
        arguments += ["-use_srtp", "SRTP_AES128_CM_SHA1_80", "-mtu", "1200", *EXPORT]
        async with openssl(*arguments) as client:
            await drive(connection, sock, None)
            assert (connection.state, connection.reason) == ("connected", None)
            theirs, ours = by_side(await exported_keys(client))
    keys = connection.srtp_keys()
    assert (keys.local, keys.remote) == (ours, theirs)


class Wire:
    """What aiortc takes for an ICE transport: a queue each way."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.state = "completed"
        self.from_aiortc: asyncio.Queue[bytes] = asyncio.Queue(64)
        self.to_aiortc: asyncio.Queue[bytes] = asyncio.Queue(64)

    async def _send(self, data: bytes) -> None:
        self.from_aiortc.put_nowait(data)

    async def _recv(self) -> bytes:
        return await self.to_aiortc.get()


@pytest.mark.parametrize("role", ["client", "server"])
def test_aiortc_agrees_on_the_keys_and_hears_goodbye(role: DtlsRole) -> None:
    # On asyncio itself: our side needs no loop, and trio_asyncio would patch asyncio for all tests.
    asyncio.run(shake_hands_with_aiortc(role))


async def shake_hands_with_aiortc(role: DtlsRole) -> None:
    certificate = RTCCertificate.generateCertificate()
    theirs = tuple((one.algorithm, one.value) for one in certificate.getFingerprints())
    connection = DtlsConnection(role, contexts()[1], theirs)
    # aiortc takes the role that its ICE role implies.
    wire = Wire("controlling" if role == "client" else "controlled")
    transport = RTCDtlsTransport(wire, [certificate])  # type: ignore[arg-type]
    ours = [RTCDtlsFingerprint(*pair) for pair in contexts()[1].certificate.fingerprints]

    connected = asyncio.Event()

    def flush() -> None:
        for datagram in connection.poll_datagrams():
            wire.to_aiortc.put_nowait(datagram)

    async def carry() -> None:
        while True:
            connection.handle_datagram(await wire.from_aiortc.get())
            flush()
            if connection.state == "connected":
                connected.set()

    carrying = asyncio.create_task(carry())
    async with asyncio.timeout(10):
        connection.start()
        flush()
        await transport.start(RTCDtlsParameters(ours))
        assert transport.state == "connected"
        await connected.wait()
        packet = bytes.fromhex("80600001000000010000000a") + b"payload"
        sealed = transport._tx_srtp.protect(packet)
        assert SrtpSession(connection.srtp_keys()).unprotect_rtp(sealed) == packet
        closed = asyncio.Event()
        transport.on("statechange", lambda: transport.state == "closed" and closed.set())
        connection.close()
        flush()
        await closed.wait()
    carrying.cancel()


def test_the_certificate_is_one_that_openssl_reads(tmp_path: Path) -> None:
    DtlsCertificate.open(tmp_path)
    if OPENSSL is None:
        pytest.skip("install openssl to run this")
    command = [OPENSSL, "x509", "-in", str(tmp_path / "dtls.pem"), "-noout", "-text"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "prime256v1" in text
    assert "ecdsa-with-SHA256" in text
