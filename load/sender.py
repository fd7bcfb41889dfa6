"""Sends one synthetic stream: media, RTX for what was NACKed, keyframes on demand, sender reports.

The loop of `load.media` is sent in real time. After a PLI or FIR the next
frame is a keyframe. Packets of the last seconds are kept for NACKs.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

import trio
from aiortc.clock import current_ntp_time
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
    wrap_rtx,
)

from load.media import MediaLoop, with_picture_id
from load.webrtc import WebRtcTransport
from protocol.rtp_parameters import RtpParameters

CACHE_PACKETS = 512
REPORT_INTERVAL_S = 1.0


class StreamSender:
    """One RTP stream on a transport, numbered by `rtp_parameters` (one codec, one encoding)."""

    def __init__(
        self, transport: WebRtcTransport, rtp_parameters: RtpParameters, loop: MediaLoop
    ) -> None:
        encoding = rtp_parameters.encodings[0]
        assert encoding.ssrc is not None, "a synthetic stream says its SSRC"
        self.loop = loop
        self.ssrc = encoding.ssrc
        self.packets_sent = 0
        self.payload_bytes_sent = 0
        self.keyframes_sent = 0
        self.keyframe_requests = 0
        self.nacks = 0
        self.retransmissions = 0
        self.reports: list[RtcpReceiverInfo] = []
        """What receivers reported of this stream, at most the last few."""
        self.muted = False
        """While set, nothing is sent, as by a track that is off."""
        self._transport = transport
        self._mid = rtp_parameters.mid
        cname = rtp_parameters.rtcp.cname
        self._cname = cname if isinstance(cname, str) and cname else "load"
        self._payload_type = rtp_parameters.codecs[0].payload_type
        self._rtx_ssrc = None if encoding.rtx is None else encoding.rtx.ssrc
        self._rtx_payload_type = next(
            (c.payload_type for c in rtp_parameters.codecs if c.mime_type.lower().endswith("/rtx")),
            None,
        )
        self._sequence_number = secrets.randbelow(0x8000)
        self._rtx_sequence_number = secrets.randbelow(0x8000)
        self._timestamp = secrets.randbits(32)
        self._picture_id = secrets.randbelow(0x8000)
        self._next_frame = 0
        self._cache: OrderedDict[int, RtpPacket] = OrderedDict()
        self._to_retransmit: list[int] = []
        self._wakes = trio.Event()
        transport.use_extensions(rtp_parameters)
        transport.add_handlers(rtcp=self._handle_rtcp)

    async def run(self) -> None:
        """Send until cancelled. Raises `TransportFailed` when the transport fails."""
        next_frame_s = next_report_s = trio.current_time()
        while True:
            with trio.move_on_at(min(next_frame_s, next_report_s)):
                await self._wakes.wait()
            self._wakes = trio.Event()
            await self._retransmit()
            now_s = trio.current_time()
            if now_s >= next_frame_s:
                # After a stall go on from now: a burst of old frames would help nobody.
                next_frame_s = max(next_frame_s + self.loop.frame_s, now_s)
                await self._send_frame()
            if now_s >= next_report_s:
                next_report_s = now_s + REPORT_INTERVAL_S
                await self._send_report()

    async def say_bye(self) -> None:
        """Tell receivers that this stream ends (RFC 3550, 6.6)."""
        await self._transport.send_rtcp(RtcpRrPacket(ssrc=self.ssrc), RtcpByePacket([self.ssrc]))

    async def _send_frame(self) -> None:
        frame = self.loop.frames[self._next_frame]
        is_keyframe = self._next_frame == 0
        self._timestamp = (self._timestamp + self.loop.frame_ticks) & 0xFFFFFFFF
        self._next_frame = (self._next_frame + 1) % len(self.loop.frames)
        if self.muted:
            self._next_frame = 0
            return
        self.keyframes_sent += is_keyframe
        self._picture_id += 1
        for index, payload in enumerate(frame):
            is_vp8 = self.loop.codec == "video/VP8"
            packet = RtpPacket(
                payload_type=self._payload_type,
                marker=int(self.loop.kind == "video" and index == len(frame) - 1),
                sequence_number=self._sequence_number,
                timestamp=self._timestamp,
                ssrc=self.ssrc,
                payload=with_picture_id(payload, self._picture_id) if is_vp8 else payload,
            )
            packet.extensions.mid = self._mid
            self._sequence_number = (self._sequence_number + 1) & 0xFFFF
            self._cache[packet.sequence_number] = packet
            if len(self._cache) > CACHE_PACKETS:
                self._cache.popitem(last=False)
            self.packets_sent += 1
            self.payload_bytes_sent += len(packet.payload)
            await self._transport.send_rtp(packet)

    async def _retransmit(self) -> None:
        wanted, self._to_retransmit = self._to_retransmit, []
        for sequence_number in wanted:
            packet = self._cache.get(sequence_number)
            if packet is None or self._rtx_ssrc is None or self._rtx_payload_type is None:
                continue
            rtx = wrap_rtx(
                packet,
                payload_type=self._rtx_payload_type,
                sequence_number=self._rtx_sequence_number,
                ssrc=self._rtx_ssrc,
            )
            self._rtx_sequence_number = (self._rtx_sequence_number + 1) & 0xFFFF
            self.retransmissions += 1
            await self._transport.send_rtp(rtx)

    async def _send_report(self) -> None:
        info = RtcpSenderInfo(
            ntp_timestamp=current_ntp_time(),
            rtp_timestamp=self._timestamp,
            packet_count=self.packets_sent & 0xFFFFFFFF,
            octet_count=self.payload_bytes_sent & 0xFFFFFFFF,
        )
        cname = RtcpSourceInfo(ssrc=self.ssrc, items=[(1, self._cname.encode())])
        await self._transport.send_rtcp(
            RtcpSrPacket(ssrc=self.ssrc, sender_info=info), RtcpSdesPacket(chunks=[cname])
        )

    def _handle_rtcp(self, packet: AnyRtcpPacket, _at_ns: int) -> None:
        match packet:
            case RtcpRtpfbPacket(fmt=fmt, media_ssrc=ssrc) if (fmt, ssrc) == (
                RTCP_RTPFB_NACK,
                self.ssrc,
            ):
                self.nacks += 1
                self._to_retransmit += packet.lost[:CACHE_PACKETS]
                self._wakes.set()
            case RtcpPsfbPacket() if self._asks_for_keyframe(packet):
                self.keyframe_requests += 1
                self._next_frame = 0
            case RtcpRrPacket() | RtcpSrPacket():
                ours = [report for report in packet.reports if report.ssrc == self.ssrc]
                self.reports = [*self.reports, *ours][-16:]
            case _:
                pass

    def _asks_for_keyframe(self, packet: RtcpPsfbPacket) -> bool:
        if packet.fmt == RTCP_PSFB_PLI:
            return packet.media_ssrc == self.ssrc
        # FIR names its target in its FCI (RFC 5104, 4.3.1).
        return packet.fmt == RTCP_PSFB_FIR and self.ssrc.to_bytes(4, "big") in {
            packet.fci[at : at + 4] for at in range(0, len(packet.fci), 8)
        }
