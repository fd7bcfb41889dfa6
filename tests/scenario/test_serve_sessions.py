"""`reprise serve` with its real media plane: what a session leaves behind, and what it endures."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from load.client import RequestRefused, SignalingClient, connect
from load.endpoint import Endpoint, Published, Watched
from tests.support.serving import Server, reprise

pytestmark = [pytest.mark.plane, pytest.mark.timeout(60)]

SECRET = "a-secret-of-the-tests-with-32-bytes-or-more"
ROOM = "rehearsal"
DISK_BYTES = 32 * 1024 * 1024
KEY_FILES = {"secret.key", "dtls.pem"}
"""Files whose purpose is to hold a secret, readable by their owner alone."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    yield from served(Server(tmp_path / "data", tmp_path / "logs"))


@pytest.fixture
def guarded_server(tmp_path: Path) -> Iterator[Server]:
    """A server that wants tokens, and logs as much as it can."""
    options = ["--log-level=debug"]
    server = Server(
        tmp_path / "data", tmp_path / "logs", options=options, env={"REPRISE_SECRET": SECRET}
    )
    yield from served(server)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which a test can fill."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def served(server: Server) -> Iterator[Server]:
    """Start it, and see that it ends well."""
    try:
        server.start()
        yield server
        if server.running:
            server.stop()
    finally:
        server.close()


class Show:
    """A host who sends pictures, and one who watches."""

    def __init__(self, host: Endpoint, viewer: Endpoint) -> None:
        self.host = host
        self.viewer = viewer
        self.published: Published
        self.watched: Watched


@asynccontextmanager
async def show(server: Server, **join: str) -> AsyncIterator[Show]:
    """A session with media that flows."""
    async with (
        connect(server.signaling_url) as host_client,
        connect(server.signaling_url) as viewer_client,
        trio.open_nursery() as nursery,
    ):
        found = Show(Endpoint(host_client, nursery), Endpoint(viewer_client, nursery))
        await found.host.join(ROOM, name="the host", **join)
        await found.viewer.join(ROOM, name="the viewer", **join)
        found.published = await found.host.publish("video/VP8")
        found.watched = await found.viewer.watch(found.published.producer)
        await found.watched.receiver.wait_packets(50)
        yield found
        nursery.cancel_scope.cancel()


async def test_the_log_can_be_read_while_it_is_written(server: Server) -> None:
    async with show(server):
        rooms = await trio.to_thread.run_sync(replay, server, "rooms", "--json")
        (room,) = [json.loads(line) for line in rooms.splitlines()]
        assert room["room"] == ROOM
        assert room["open"] is True
        told = await trio.to_thread.run_sync(replay, server, "show", ROOM)
    for word in ("RoomOpened", "PeerJoined", "TransportOpened", "ProducerAdded", "ConsumerResumed"):
        assert word in told, word
    assert "the viewer" in told


async def test_a_session_can_be_read_after_the_server_ended(server: Server) -> None:
    async with show(server):
        pass
    await trio.to_thread.run_sync(server.stop)
    rooms = replay(server, "rooms", "--json")
    (room,) = [json.loads(line) for line in rooms.splitlines()]
    assert room["open"] is False
    assert "server_stopped" in replay(server, "show", ROOM)


async def test_nothing_that_is_secret_is_left_behind(guarded_server: Server) -> None:
    server = guarded_server
    made = reprise("token", f"--room={ROOM}", env={"REPRISE_SECRET": SECRET})
    token = made.stdout.strip()
    assert made.returncode == 0
    assert token.count(".") == 2
    secrets = {"secret": SECRET.encode(), "token": token.encode()}
    secrets["the token's signature"] = token.rpartition(".")[2].encode()
    async with show(server, token=token) as session:
        for who, peer in (("host", session.host), ("viewer", session.viewer)):
            secrets |= secrets_of(who, peer)
        with contextlib.suppress(RequestRefused):
            await session.viewer.client.request("join", {"room": ROOM, "token": token})
        async with connect(server.signaling_url) as stranger:
            with pytest.raises(RequestRefused, match="unauthorized"):
                await stranger.join(ROOM, token=f"{token}x")
        joined = session.viewer.client.joined
        assert joined is not None
        async with connect(server.signaling_url) as again:
            await again.resume(joined.session, 0)
        listening = await trio.to_thread.run_sync(remains, server)
    await trio.to_thread.run_sync(server.stop)
    everything = {**listening, **remains(server)}
    # The search finds what is there: names are no secret.
    assert places_of(b"the viewer", everything)
    found = {name: places_of(secret, everything) for name, secret in secrets.items()}
    assert {name: places for name, places in found.items() if places} == {}


async def test_a_full_disk_refuses_requests_but_never_media(
    small_disk: Path, tmp_path: Path
) -> None:
    server = Server(small_disk / "data", tmp_path / "logs")
    server.expected_errors |= {"log_not_written", "telemetry_not_written"}
    for started in served(server):
        async with show(started) as session:
            viewer, watched = session.viewer.client, session.watched
            assert await ask(viewer, watched) == "met"
            filler = small_disk / "filler"
            fill(filler)
            await wait_answer(viewer, watched, "storage_unavailable")
            receiver = watched.receiver
            await receiver.wait_packets(receiver.packets + 200)
            assert await ask(viewer, watched) == "storage_unavailable"

            filler.unlink()
            await wait_answer(viewer, watched, "met")
            async with connect(started.signaling_url) as late_client:
                await late_client.join(ROOM, name="late")
            await receiver.wait_packets(receiver.packets + 50)


def replay(server: Server, *arguments: str) -> str:
    """What a `reprise replay` command prints about this server's log."""
    done = reprise("replay", arguments[0], "--data", str(server.data), *arguments[1:])
    assert done.returncode == 0, done.stderr
    return done.stdout


def secrets_of(who: str, peer: Endpoint) -> dict[str, bytes]:
    """What one peer shares with the server and nobody else."""
    found: dict[str, bytes] = {}
    assert peer.client.joined is not None
    found[f"{who}: session"] = peer.client.joined.session.encode()
    for direction, transport in peer.transports.items():
        keys = transport._dtls.srtp_keys()
        found[f"{who}, {direction}: SRTP key"] = keys.local
        found[f"{who}, {direction}: SRTP key of the server"] = keys.remote
        found[f"{who}, {direction}: ICE password"] = transport._ice._key
    return found


def remains(server: Server) -> dict[str, bytes]:
    """All that a server has written: its data, its logs, and the events as a reader sees them."""
    found = {
        str(path): path.read_bytes()
        for directory in (server.data, server.log_path.parent)
        for path in directory.rglob("*")
        if path.is_file() and path.name not in KEY_FILES
    }
    # A long payload lies in pieces in the database file; here it is in one.
    found["replay show"] = replay(server, "show", ROOM, "--json").encode()
    return found


def places_of(secret: bytes, everything: dict[str, bytes]) -> list[str]:
    """Where a secret can be read, as it is or in a usual spelling."""
    spellings = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    spellings |= {
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    }
    return [place for place, text in everything.items() if any(each in text for each in spellings)]


def fill(path: Path) -> None:
    """Write until the disk has no space left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    stat = os.statvfs(path)
    assert stat.f_bavail == 0, errno.errorcode[errno.ENOSPC]


async def ask(viewer: SignalingClient, watched: Watched) -> str:
    """Ask for what is logged and harms nothing: `met`, or the code of the refusal."""
    layers = {"consumer": watched.consumed.id, "spatialLayer": 0, "temporalLayer": 0}
    try:
        await viewer.request("setPreferredLayers", layers)
    except RequestRefused as refusal:
        return refusal.code
    return "met"


async def wait_answer(viewer: SignalingClient, watched: Watched, answer: str) -> None:
    """Ask, slowly enough for the limits, until this is the answer."""
    with trio.fail_after(20):
        while await ask(viewer, watched) != answer:  # noqa: ASYNC110 - nobody tells when
            await trio.sleep(0.05)
