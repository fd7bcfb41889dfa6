"""A media server of a few lines: ICE-lite, DTLS, SRTP on one UDP port, for the trio client's tests.

It tells what it hears and sends what the test says; it forwards nothing.
"""

from __future__ import annotations

import trio
from aioice import stun
from aiortc.rtp import AnyRtcpPacket, RtcpPacket, RtpPacket, is_rtcp

from load.srtp import SrtpSession
from media.dtls import DtlsConnection, DtlsRole
from protocol.answers import TransportCreated
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)
from tests.unit.dtls_pair import contexts


class LitePeer:
    def __init__(self, sock: trio.socket.SocketType, role: DtlsRole) -> None:
        self.socket = sock
        self.role: DtlsRole = role
        self.context = contexts()[1]
        self.credentials = {"ufrag1": "password-of-ufrag1-000000"}
        self.checks: list[stun.Message] = []
        self.remotes: list[tuple[str, int]] = []
        self.mute = False
        self.dtls_drops = 0
        self.dtls: DtlsConnection | None = None
        self.srtp: SrtpSession | None = None
        self.rtp: list[RtpPacket] = []
        self.rtcp: list[AnyRtcpPacket] = []
        self.changed = trio.Condition()

    @classmethod
    async def open(cls, role: DtlsRole = "server") -> LitePeer:
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await sock.bind(("127.0.0.1", 0))
        return cls(sock, role)

    def created(self) -> TransportCreated:
        """As `createTransport` would be answered."""
        port = self.socket.getsockname()[1]
        return TransportCreated(
            id="t",
            ice_parameters=IceParameters(
                username_fragment="ufrag1", password=self.credentials["ufrag1"]
            ),
            ice_candidates=(
                IceCandidate(
                    foundation="1", priority=1, ip="127.0.0.1", address="127.0.0.1", port=port
                ),
            ),
            dtls_parameters=DtlsParameters(
                fingerprints=tuple(
                    DtlsFingerprint(algorithm=algorithm, value=value)  # type: ignore[arg-type]
                    for algorithm, value in self.context.certificate.fingerprints
                )
            ),
        )

    def connect(self, parameters: DtlsParameters) -> None:
        """As `connectTransport` would."""
        remote = [(one.algorithm, one.value) for one in parameters.fingerprints]
        self.dtls = DtlsConnection(self.role, self.context, remote)

    async def run(self) -> None:
        while True:
            datagram, remote = await self.socket.recvfrom(65536)
            if self.mute:
                continue
            if datagram[0] < 4:
                await self._handle_stun(datagram, remote)
            elif datagram[0] < 64 and self.dtls_drops:
                self.dtls_drops -= 1
            elif datagram[0] < 64 and self.dtls is not None:
                self.dtls.handle_datagram(datagram)
                await self._flush_dtls()
            elif self.srtp is not None:
                self._handle_srtp(self.srtp, datagram)
            async with self.changed:
                self.changed.notify_all()

    async def until(self, condition: object) -> None:
        """Wait until a condition holds; it is looked at after each datagram."""
        assert callable(condition)
        with trio.fail_after(10):
            async with self.changed:
                while not condition():
                    await self.changed.wait()

    async def send_rtp(self, packet: RtpPacket) -> None:
        assert self.srtp is not None
        await self.send(self.srtp.protect_rtp(packet.serialize()))

    async def send_rtcp(self, *packets: AnyRtcpPacket) -> None:
        assert self.srtp is not None
        await self.send(self.srtp.protect_rtcp(b"".join(map(bytes, packets))))

    async def send(self, datagram: bytes) -> None:
        await self.socket.sendto(datagram, self.remotes[-1])

    async def close_dtls(self) -> None:
        assert self.dtls is not None
        self.dtls.close()
        await self._flush_dtls()

    async def _handle_stun(self, datagram: bytes, remote: tuple[str, int]) -> None:
        request = stun.parse_message(datagram)
        ufrag = request.attributes["USERNAME"].partition(":")[0]
        password = self.credentials.get(ufrag)
        if password is None or not request.check_message_integrity(password.encode()):
            answer = stun.Message(
                message_method=stun.Method.BINDING,
                message_class=stun.Class.ERROR,
                transaction_id=request.transaction_id,
                attributes={"ERROR-CODE": (401, "Unauthenticated")},
            )
            await self.socket.sendto(bytes(answer), remote)
            return
        self.checks.append(request)
        if remote not in self.remotes[-1:]:
            self.remotes.append(remote)
        answer = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": remote},
        )
        answer.add_message_integrity(password.encode())
        await self.socket.sendto(bytes(answer), remote)
        if self.dtls is not None and self.dtls.state == "new":
            self.dtls.start()
            await self._flush_dtls()

    async def _flush_dtls(self) -> None:
        assert self.dtls is not None
        for datagram in self.dtls.poll_datagrams():
            await self.send(datagram)
        if self.dtls.state == "connected" and self.srtp is None:
            self.srtp = SrtpSession(self.dtls.srtp_keys())

    def _handle_srtp(self, srtp: SrtpSession, datagram: bytes) -> None:
        if is_rtcp(datagram):
            clear = srtp.unprotect_rtcp(datagram)
            self.rtcp += RtcpPacket.parse(clear) if clear else []
        else:
            clear = srtp.unprotect_rtp(datagram)
            self.rtp += [RtpPacket.parse(clear)] if clear else []
