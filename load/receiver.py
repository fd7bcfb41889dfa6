"""Receives one consumer's stream: counts, gaps, keyframes, and the feedback that viewers send."""

from __future__ import annotations

import secrets

import trio
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unwrap_rtx,
)

from load.media import begins_keyframe
from load.webrtc import WebRtcTransport
from protocol.rtp_parameters import RtpParameters

REPORT_INTERVAL_S = 1.0
NACK_MAX = 200
"""Missing packets that are remembered and asked for; older ones are given up."""


class StreamReceiver:
    """One RTP stream with its RTX, numbered by a consumer's `rtp_parameters`."""

    def __init__(self, transport: WebRtcTransport, rtp_parameters: RtpParameters) -> None:
        encoding = rtp_parameters.encodings[0]
        codec = rtp_parameters.codecs[0]
        assert encoding.ssrc is not None, "a consumer's encoding has its SSRC"
        self.ssrc = encoding.ssrc
        self.mime_type = codec.mime_type
        self.packets = 0
        self.payload_bytes = 0
        self.duplicates = 0
        self.keyframes = 0
        self.retransmissions = 0
        self.wrong_payload_type = 0
        self.first_sequence_number: int | None = None
        self.highest: int | None = None
        """Highest extended sequence number (RFC 3550, A.1)."""
        self.missing: set[int] = set()
        """Extended sequence numbers that have not come yet."""
        self.mids: set[str] = set()
        self.last_sender_report: RtcpSrPacket | None = None
        self._last_sender_report_ns = 0
        self._transport = transport
        self._payload_type = codec.payload_type
        self._clock_rate = codec.clock_rate
        self._rtx_ssrc = None if encoding.rtx is None else encoding.rtx.ssrc
        self._rtcp_ssrc = secrets.randbits(31) + 1
        self._jitter = 0.0
        self._last_transit: float | None = None
        self._expected_before = 0
        self._received_before = 0
        self._arrived = trio.Event()
        transport.use_extensions(rtp_parameters)
        transport.add_handlers(self._handle_rtp, self._handle_rtcp)

    @property
    def gaps(self) -> int:
        """Packets that are missing now, between the first and the highest that came."""
        return len(self.missing)

    async def wait_packets(self, total: int, *, timeout_s: float = 10.0) -> None:
        """Wait until so many packets have come in all. Raises `trio.TooSlowError`."""
        with trio.fail_after(timeout_s):
            while self.packets < total:
                await self._arrived.wait()

    async def wait_keyframes(self, total: int, *, timeout_s: float = 10.0) -> None:
        """Wait until so many keyframes have begun in all. Raises `trio.TooSlowError`."""
        with trio.fail_after(timeout_s):
            while self.keyframes < total:
                await self._arrived.wait()

    async def run(self, *, nack: bool = True) -> None:
        """Send a receiver report each second, and NACKs as losses are seen, until cancelled."""
        next_report_s = trio.current_time() + REPORT_INTERVAL_S
        while True:
            with trio.move_on_at(next_report_s):
                await self._arrived.wait()
            if nack and self.missing:
                await self.send_nack()
                await trio.sleep(0.05)  # an answer takes its time: ask again after that
            if trio.current_time() >= next_report_s:
                next_report_s += REPORT_INTERVAL_S
                await self.send_report()

    async def send_report(self) -> None:
        """Send a receiver report of this stream (RFC 3550, 6.4.2)."""
        await self._transport.send_rtcp(RtcpRrPacket(ssrc=self._rtcp_ssrc, reports=self._reports()))

    async def send_nack(self) -> list[int]:
        """Ask for what is missing (RFC 4585, 6.2.1); returns the sequence numbers asked for."""
        # In rising order also over the wrap, which is how aiortc packs them.
        lost = sorted(number & 0xFFFF for number in self.missing)
        if lost:
            nack = RtcpRtpfbPacket(
                fmt=RTCP_RTPFB_NACK, ssrc=self._rtcp_ssrc, media_ssrc=self.ssrc, lost=lost
            )
            await self._transport.send_rtcp(RtcpRrPacket(ssrc=self._rtcp_ssrc), nack)
        return lost

    async def send_pli(self) -> None:
        """Ask for a keyframe (RFC 4585, 6.3.1)."""
        pli = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self._rtcp_ssrc, media_ssrc=self.ssrc)
        await self._transport.send_rtcp(RtcpRrPacket(ssrc=self._rtcp_ssrc), pli)

    def _handle_rtp(self, packet: RtpPacket, at_ns: int) -> None:
        if packet.ssrc == self._rtx_ssrc and self._rtx_ssrc is not None:
            if len(packet.payload) < 2:
                return  # a bandwidth probe
            self.retransmissions += 1
            packet = unwrap_rtx(packet, payload_type=self._payload_type, ssrc=self.ssrc)
        elif packet.ssrc != self.ssrc:
            return
        else:
            self._measure_jitter(packet, at_ns)
        if packet.payload_type != self._payload_type:
            self.wrong_payload_type += 1
        if self._note_sequence_number(packet):
            self.packets += 1
            self.payload_bytes += len(packet.payload)
            self.keyframes += begins_keyframe(self.mime_type, packet.payload)
            if packet.extensions.mid is not None:
                self.mids.add(packet.extensions.mid)
            arrived, self._arrived = self._arrived, trio.Event()
            arrived.set()

    def _note_sequence_number(self, packet: RtpPacket) -> bool:
        """Place a packet in the sequence; False when it had come before."""
        number = packet.sequence_number
        if self.highest is None:
            self.first_sequence_number = self.highest = number
        else:
            # The extended number nearest to the highest one (RFC 3550, A.1).
            step = (number - self.highest + 0x8000) % 0x10000 - 0x8000
            number = self.highest + step
            if step > 0:
                self.missing.update(range(max(self.highest + 1, number - NACK_MAX), number))
                self.highest = number
            elif number in self.missing:
                self.missing.remove(number)
            else:
                self.duplicates += 1
                return False
            while len(self.missing) > NACK_MAX:
                self.missing.remove(min(self.missing))
        return True

    def _measure_jitter(self, packet: RtpPacket, at_ns: int) -> None:
        """Estimate interarrival jitter (RFC 3550, A.8)."""
        transit = at_ns * self._clock_rate / 1e9 - packet.timestamp
        if self._last_transit is not None:
            difference = abs(transit - self._last_transit)
            if difference < self._clock_rate * 10:  # else the timestamp wrapped
                self._jitter += (difference - self._jitter) / 16
        self._last_transit = transit

    def _reports(self) -> list[RtcpReceiverInfo]:
        if self.highest is None or self.first_sequence_number is None:
            return []
        expected = self.highest - self.first_sequence_number + 1
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self.packets - self._received_before)
        self._expected_before, self._received_before = expected, self.packets
        lsr = dlsr = 0
        if self.last_sender_report is not None:
            lsr = (self.last_sender_report.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
            waited_ns = int(trio.current_time() * 1e9) - self._last_sender_report_ns
            dlsr = waited_ns * 65_536 // 1_000_000_000
        fraction = 256 * lost_now // expected_now if expected_now > 0 and lost_now > 0 else 0
        return [
            RtcpReceiverInfo(
                ssrc=self.ssrc,
                fraction_lost=min(fraction, 255),
                packets_lost=expected - self.packets,
                highest_sequence=self.highest & 0xFFFFFFFF,
                jitter=int(self._jitter),
                lsr=lsr,
                dlsr=dlsr,
            )
        ]

    def _handle_rtcp(self, packet: AnyRtcpPacket, at_ns: int) -> None:
        if isinstance(packet, RtcpSrPacket) and packet.ssrc == self.ssrc:
            self.last_sender_report = packet
            self._last_sender_report_ns = at_ns
