"""A small WebRTC transport on trio: ICE, DTLS, SRTP over one UDP socket, rtcp-mux.

    transport = WebRtcTransport(created, role="client")
    await client.connect_transport(created.id, transport.dtls_parameters)
    nursery.start_soon(transport.run)
    await transport.wait_connected()

Packets are aiortc's. Simple and correct, for tests and small loads; every
packet is a Python object here.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Literal

import trio
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import AnyRtcpPacket, HeaderExtensionsMap, RtcpPacket, RtpPacket, is_rtcp

from load.ice import IceAgent
from load.srtp import SrtpSession
from media.certificate import DtlsCertificate
from media.dtls import DtlsConnection, DtlsContext, DtlsRole
from protocol.answers import TransportCreated
from protocol.rtp_parameters import RtpParameters
from protocol.transport_parameters import DtlsFingerprint, DtlsParameters, IceParameters

DATAGRAM_BYTES_MAX = 65536
CONNECT_TIMEOUT_S = 15.0

WebRtcState = Literal["new", "connecting", "connected", "failed", "closed"]
RtpHandler = Callable[[RtpPacket, int], None]
"""Told of an RTP packet and when it came, in ns of the transport's clock."""
RtcpHandler = Callable[[AnyRtcpPacket, int], None]


class TransportFailed(Exception):
    """The transport can't be used (any more); the message says why."""


class WebRtcTransport:
    """One BUNDLE transport towards a server that is ICE-lite.

    `created` is the answer to `createTransport`. `role` is our DTLS role. A
    `context` may be shared by many transports; it holds our certificate.
    """

    def __init__(
        self,
        created: TransportCreated,
        *,
        role: DtlsRole = "client",
        context: DtlsContext | None = None,
    ) -> None:
        self.id = created.id
        self.state: WebRtcState = "new"
        self.reason = ""
        self.datagrams_received = 0
        self.datagrams_sent = 0
        self.undecodable = 0
        """Authentic packets that could not be parsed."""
        self.srtp: SrtpSession | None = None
        self.lose_incoming: Callable[[bytes], bool] = lambda _datagram: False
        """Says of each datagram whether the network shall lose it; for tests."""
        self.offline = False
        """While set, no datagram comes or goes, as without a network."""
        self._context = context or DtlsContext(DtlsCertificate.generate())
        self._role: DtlsRole = role
        candidate = created.ice_candidates[0]
        self._ice = IceAgent(created.ice_parameters, candidate, clock=_now_ns)
        remote = [
            (one.algorithm, one.value)
            for one in created.dtls_parameters.fingerprints
            if isinstance(one.value, str)
        ]
        self._dtls = DtlsConnection(role, self._context, remote, clock=_now_ns)
        self._address = (candidate.ip, candidate.port)
        self._socket: trio.socket.SocketType | None = None
        self._extensions = HeaderExtensionsMap()
        self._extension_ids: dict[str, int] = {}
        self._rtp_handlers: list[RtpHandler] = []
        self._rtcp_handlers: list[RtcpHandler] = []
        self._settled = trio.Event()
        self._ended = trio.Event()
        self._wait_scope = trio.CancelScope()

    @property
    def dtls_parameters(self) -> DtlsParameters:
        """What `connectTransport` is told: our role and fingerprints."""
        fingerprints = tuple(
            DtlsFingerprint(algorithm=algorithm, value=value)  # type: ignore[arg-type]
            for algorithm, value in self._context.certificate.fingerprints
        )
        return DtlsParameters(role=self._role, fingerprints=fingerprints)

    @property
    def local_port(self) -> int:
        """Our UDP port now."""
        assert self._socket is not None, "not running"
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def ice_errors(self) -> list[int]:
        """STUN error codes that the server answered with, the last few."""
        return self._ice.errors

    def use_extensions(self, parameters: RtpParameters) -> None:
        """Read and write the header extensions of these parameters from now on."""
        for extension in parameters.header_extensions:
            self._extension_ids[extension.uri] = extension.id
        configured = RTCRtpParameters(
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=number, uri=uri)
                for uri, number in self._extension_ids.items()
            ]
        )
        self._extensions.configure(configured)

    def add_handlers(self, rtp: RtpHandler | None = None, rtcp: RtcpHandler | None = None) -> None:
        """Tell these of each packet that comes in, in order. They don't block."""
        if rtp is not None:
            self._rtp_handlers.append(rtp)
        if rtcp is not None:
            self._rtcp_handlers.append(rtcp)

    async def run(self) -> None:
        """Connect and carry packets until `close`, a failure, or cancellation."""
        self.state = "connecting"
        try:
            while self.state in ("connecting", "connected"):
                await self._run_socket()
        finally:
            if self.state in ("connecting", "connected"):
                self.state = "closed"
            self._settled.set()
            self._ended.set()

    async def wait_ended(self) -> str:
        """Wait until `run` has ended; returns the reason, with `state` closed or failed."""
        await self._ended.wait()
        return self.reason

    async def wait_connected(self, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Wait until SRTP can flow. Raises `TransportFailed`, `trio.TooSlowError`."""
        with trio.fail_after(timeout_s):
            await self._settled.wait()
        if self.state != "connected":
            raise TransportFailed(f"{self.state}: {self.reason}")

    async def rebind(self) -> None:
        """Go on from another local port, as after a change of network."""
        assert self._socket is not None, "not running"
        self._socket.close()
        self._wait_scope.cancel()
        await trio.lowlevel.checkpoint()

    def restart_ice(self, parameters: IceParameters) -> None:
        """Continue with the credentials that `restartIce` was answered with."""
        self._ice.restart(parameters)
        self._wait_scope.cancel()

    async def send_rtp(self, packet: RtpPacket) -> None:
        """Protect and send an RTP packet. Raises `TransportFailed` when not connected."""
        if self.srtp is None or self.state != "connected":
            raise TransportFailed(f"not connected: {self.state} {self.reason}".rstrip())
        await self.send_datagram(self.srtp.protect_rtp(packet.serialize(self._extensions)))

    async def send_rtcp(self, *packets: AnyRtcpPacket) -> None:
        """Protect and send a compound RTCP packet. Raises `TransportFailed` when not connected."""
        if self.srtp is None or self.state != "connected":
            raise TransportFailed(f"not connected: {self.state} {self.reason}".rstrip())
        await self.send_datagram(self.srtp.protect_rtcp(b"".join(map(bytes, packets))))

    async def send_datagram(self, datagram: bytes) -> None:
        """Send bytes as they are; a network that refuses them loses them."""
        if self._socket is not None and not self.offline:
            try:
                await self._socket.send(datagram)
            except OSError:
                return
            self.datagrams_sent += 1

    async def close(self) -> None:
        """Say goodbye in DTLS and end `run`."""
        if self.state in ("new", "connecting", "connected"):
            self._dtls.close()
            await self._flush()
            self.state, self.reason = "closed", "closed by us"
            self._wait_scope.cancel()

    async def _run_socket(self) -> None:
        """Work on one socket until it is closed."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(self._address)
            self._socket = sock
            self._ice.check_now()
            while self.state in ("connecting", "connected") and sock.fileno() >= 0:
                self._advance()
                await self._flush()
                self._wait_scope = trio.CancelScope()
                self._wait_scope.deadline = self._deadline_s()
                with self._wait_scope:
                    try:
                        datagram = await sock.recv(DATAGRAM_BYTES_MAX)
                    except ConnectionError:
                        continue  # nobody listens there yet: ICE goes on asking
                    except (OSError, trio.ClosedResourceError):
                        return
                    self._handle_datagram(datagram)
            await self._flush()

    def _advance(self) -> None:
        """Let time pass, and move on where a layer is done."""
        self._ice.handle_timeout()
        if self._ice.state == "failed":
            self._fail("ice: consent expired")
        if self._ice.state == "connected" and self._dtls.state == "new":
            self._dtls.start()
        deadline_ns = self._dtls.deadline_ns()
        if deadline_ns is not None and deadline_ns <= _now_ns():
            self._dtls.handle_timeout()
        match self._dtls.state:
            case "connected" if self.srtp is None:
                self.srtp = SrtpSession(self._dtls.srtp_keys())
                self.state = "connected"
                self._settled.set()
            case "failed":
                self._fail(f"dtls: {self._dtls.reason}")
            case "closed" if self.state != "closed":
                self.state, self.reason = "closed", "closed by the server"
                self._settled.set()
            case _:
                pass

    def _handle_datagram(self, datagram: bytes) -> None:
        """Tell STUN, DTLS and SRTP apart (RFC 7983)."""
        if not datagram or self.offline or self.lose_incoming(datagram):
            return
        self.datagrams_received += 1
        first = datagram[0]
        if first < 4:
            self._ice.handle_datagram(datagram)
        elif 20 <= first < 64:
            self._dtls.handle_datagram(datagram)
        elif 128 <= first < 192:
            # A server whose handshake ended first may send before ours ends.
            self._advance()
            if self.srtp is not None:
                self._handle_srtp(self.srtp, datagram)

    def _handle_srtp(self, srtp: SrtpSession, datagram: bytes) -> None:
        now_ns = _now_ns()
        try:
            if is_rtcp(datagram):
                clear = srtp.unprotect_rtcp(datagram)
                for report in RtcpPacket.parse(clear) if clear is not None else ():
                    for handle_rtcp in self._rtcp_handlers:
                        handle_rtcp(report, now_ns)
                return
            clear = srtp.unprotect_rtp(datagram)
            if clear is not None:
                packet = RtpPacket.parse(clear, self._extensions)
                for handle_rtp in self._rtp_handlers:
                    handle_rtp(packet, now_ns)
        except ValueError:
            self.undecodable += 1

    def _deadline_s(self) -> float:
        deadlines = [self._ice.deadline_ns(), self._dtls.deadline_ns()]
        return min((at / 1e9 for at in deadlines if at is not None), default=math.inf)

    async def _flush(self) -> None:
        for datagram in (*self._ice.poll_datagrams(), *self._dtls.poll_datagrams()):
            await self.send_datagram(datagram)

    def _fail(self, reason: str) -> None:
        if self.state not in ("failed", "closed"):
            self.state, self.reason = "failed", reason
            self._settled.set()


def _now_ns() -> int:
    return int(trio.current_time() * 1e9)
