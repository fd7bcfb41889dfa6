"""A published stream of a script: its parameters, and a sender for each of its encodings."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec
import trio

from load.media import CodecName, MediaLoop, media_loop
from load.parameters import publisher_parameters
from load.sender import StreamSender
from load.webrtc import TransportFailed, WebRtcTransport
from protocol.rtp_parameters import (
    RtpCapabilities,
    RtpEncodingParameters,
    RtpParameters,
    RtxParameters,
)
from protocol.script import Encoding

_STEPS_BPS = (
    100_000, 150_000, 200_000, 300_000, 400_000, 500_000, 700_000, 1_000_000, 1_500_000,
    2_000_000, 3_000_000, 4_000_000,
)  # fmt: skip
"""Loops are encoded at these bitrates, so that many streams share a few of them."""
_ENCODER_BPS_MIN: dict[CodecName, int] = {"video/VP8": 250_000, "video/H264": 500_000}
_CODECS: dict[str, CodecName] = {
    "video/vp8": "video/VP8",
    "video/h264": "video/H264",
    "audio/opus": "audio/opus",
}
_STAND_IN: CodecName = "video/VP8"
"""For video whose packets nobody here can make."""


def codec_for(kind: str, mime_type: str) -> CodecName:
    """The codec that a stream is played with: its own, or one that stands in for it."""
    return _CODECS.get(mime_type.lower(), "audio/opus" if kind == "audio" else _STAND_IN)


def loop_for(codec: CodecName, bitrate_bps: int) -> MediaLoop:
    """A loop of about this bitrate; below what the encoder can do, with fewer frames a second."""
    if codec == "audio/opus":
        return media_loop(codec)
    wanted = min(_STEPS_BPS, key=lambda step: abs(step - bitrate_bps))
    loop = media_loop(codec, max(wanted, _ENCODER_BPS_MIN[codec]))
    slower = round(loop.bitrate_bps / wanted)
    if slower < 2:
        return loop
    return msgspec.structs.replace(loop, frame_ticks=loop.frame_ticks * min(slower, 8))


def stream_parameters(
    router: RtpCapabilities, codec: CodecName, mid: str, encodings: Sequence[Encoding]
) -> RtpParameters:
    """Parameters of a stream with an encoding for each of these. Raises `CodecNotOffered`.

    Several encodings state their SSRCs, so that none has to be learned from its packets.
    """
    plain = publisher_parameters(router, codec, mid=mid)
    if len(encodings) < 2:
        return plain
    has_rtx = plain.encodings[0].rtx is not None
    return msgspec.structs.replace(
        plain,
        encodings=tuple(
            RtpEncodingParameters(
                ssrc=_new_ssrc(),
                rid=encoding.rid,
                rtx=RtxParameters(ssrc=_new_ssrc()) if has_rtx else None,
                max_bitrate=encoding.bitrate_bps,
            )
            for encoding in encodings
        ),
    )


def prepare(kind: str, mime_type: str, encodings: Sequence[Encoding]) -> None:
    """Encode what a stream will need; loops are kept and shared."""
    for encoding in encodings:
        loop_for(codec_for(kind, mime_type), encoding.bitrate_bps)


class Publication:
    """The senders of one stream. Nothing is sent before `flow`."""

    def __init__(
        self,
        transport: WebRtcTransport,
        parameters: RtpParameters,
        codec: CodecName,
        encodings: Sequence[Encoding],
    ) -> None:
        self.senders = [
            StreamSender(
                transport,
                msgspec.structs.replace(parameters, encodings=(one,)),
                loop_for(codec, encoding.bitrate_bps),
            )
            for one, encoding in zip(parameters.encodings, encodings, strict=True)
        ]
        self._transport = transport
        self._scope = trio.CancelScope()
        self.flow(flows=False)

    def flow(self, *, flows: bool) -> None:
        """Let packets go, or cease."""
        for sender in self.senders:
            sender.muted = not flows

    def close(self) -> None:
        """End for good."""
        self._scope.cancel()

    async def run(self) -> None:
        """Send as long as the transport is connected, until `close`."""
        with self._scope:
            try:
                await self._transport.wait_connected(timeout_s=float("inf"))
                async with trio.open_nursery() as nursery:
                    for sender in self.senders:
                        nursery.start_soon(_run, sender)
            except TransportFailed:
                return


async def _run(sender: StreamSender) -> None:
    try:
        await sender.run()
    except TransportFailed:
        return


def _new_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFE) + 1
