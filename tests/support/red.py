"""Opus with redundancy, as browsers make it (RFC 2198): packets bear the frame before as well."""

from __future__ import annotations

import msgspec

from load.media import MediaLoop
from protocol.rtp_parameters import RtpCapabilities, RtpCodecParameters, RtpParameters

RED_PAYLOAD_TYPE = 63
OPUS_PAYLOAD_TYPE = 111


def with_red(parameters: RtpParameters) -> RtpParameters:
    """Parameters of a publisher of opus who sends it with redundancy."""
    (opus,) = parameters.codecs
    assert opus.payload_type == OPUS_PAYLOAD_TYPE
    red = RtpCodecParameters(
        mime_type="audio/red",
        payload_type=RED_PAYLOAD_TYPE,
        clock_rate=opus.clock_rate,
        channels=opus.channels,
        parameters={"": f"{OPUS_PAYLOAD_TYPE}/{OPUS_PAYLOAD_TYPE}"},
        rtcp_feedback=opus.rtcp_feedback,
    )
    return msgspec.structs.replace(parameters, codecs=(red, opus))


def redundant(loop: MediaLoop) -> MediaLoop:
    """A loop of opus with the frame before in each packet; before the first stands the last."""
    frames = [payload for (payload,) in loop.frames]
    together = [
        red_payload(earlier, newest, loop.frame_ticks)
        for earlier, newest in zip([frames[-1], *frames], frames, strict=False)
    ]
    return msgspec.structs.replace(loop, frames=tuple((one,) for one in together))


def red_payload(earlier: bytes, newest: bytes, ticks: int, payload_type: int = 111) -> bytes:
    """Two frames, the earlier one so many ticks of the RTP clock before."""
    described = ticks << 10 | len(earlier)
    header = bytes([0x80 | payload_type, *described.to_bytes(3, "big"), payload_type])
    return header + earlier + newest


def takes_red(viewer: RtpCapabilities, router: RtpCapabilities) -> RtpCapabilities:
    """Capabilities of a viewer who takes redundancy, too."""
    red = next(codec for codec in router.codecs if codec.mime_type == "audio/red")
    return msgspec.structs.replace(viewer, codecs=(*viewer.codecs, red))
