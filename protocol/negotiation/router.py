"""The codecs that this router routes, and a router's capabilities.

Payload types are fixed for each codec, whichever others a router is set to: viewers of every
router see the same ones, and a log means the same after the settings changed.
"""

from collections.abc import Mapping, Sequence

import msgspec

from protocol.negotiation.header_extensions import header_extension_capabilities
from protocol.orders import Kind
from protocol.rtp_parameters import (
    CodecParameters,
    RtcpFeedback,
    RtpCapabilities,
    RtpCodecCapability,
)

_AUDIO_FEEDBACK = (RtcpFeedback(type="nack"), RtcpFeedback(type="transport-cc"))

_VIDEO_FEEDBACK = (
    RtcpFeedback(type="nack"),
    RtcpFeedback(type="nack", parameter="pli"),
    RtcpFeedback(type="ccm", parameter="fir"),
    RtcpFeedback(type="goog-remb"),
    RtcpFeedback(type="transport-cc"),
)


class MediaCodec(msgspec.Struct, frozen=True, kw_only=True):
    """A codec with its fixed payload types. Video codecs have RTX, audio codecs have none."""

    kind: Kind
    mime_type: str
    payload_type: int
    rtx_payload_type: int | None = None
    clock_rate: int
    channels: int | None = None
    parameters: CodecParameters = {}

    def capabilities(self) -> tuple[RtpCodecCapability, ...]:
        """Return the entries of this codec and of its RTX in a router's capabilities."""
        media = RtpCodecCapability(
            kind=self.kind,
            mime_type=self.mime_type,
            preferred_payload_type=self.payload_type,
            clock_rate=self.clock_rate,
            channels=self.channels,
            parameters=dict(self.parameters),
            rtcp_feedback=_AUDIO_FEEDBACK if self.kind == "audio" else _VIDEO_FEEDBACK,
        )
        if self.rtx_payload_type is None:
            return (media,)
        rtx = RtpCodecCapability(
            kind=self.kind,
            mime_type=f"{self.kind}/rtx",
            preferred_payload_type=self.rtx_payload_type,
            clock_rate=self.clock_rate,
            parameters={"apt": self.payload_type},
        )
        return (media, rtx)


def _video(mime_type: str, payload_type: int, **parameters: int | str) -> MediaCodec:
    return MediaCodec(
        kind="video",
        mime_type=mime_type,
        payload_type=payload_type,
        rtx_payload_type=payload_type + 1,
        clock_rate=90_000,
        parameters={name.replace("_", "-"): value for name, value in parameters.items()},
    )


def _h264(payload_type: int, profile_level_id: str) -> MediaCodec:
    return _video(
        "video/H264",
        payload_type,
        level_asymmetry_allowed=1,
        packetization_mode=1,
        profile_level_id=profile_level_id,
    )


MEDIA_CODECS: Mapping[str, MediaCodec] = {
    "opus": MediaCodec(
        kind="audio", mime_type="audio/opus", payload_type=100, clock_rate=48_000, channels=2
    ),
    "opus/red": MediaCodec(
        kind="audio",
        mime_type="audio/red",
        payload_type=117,
        clock_rate=48_000,
        channels=2,
        # RFC 2198, 5: the codec of the newest frame and of the one before, without a name. Browsers
        # take none for redundant audio that does not say it.
        parameters={"": "100/100"},
    ),
    "VP8": _video("video/VP8", 101),
    "VP9": _video("video/VP9", 103, profile_id=0),
    "H264/42e01f": _h264(107, "42e01f"),
    "H264/42001f": _h264(109, "42001f"),
    "H264/4d0032": _h264(111, "4d0032"),
    "H264/640032": _h264(113, "640032"),
    "AV1": _video("video/AV1", 115, profile=0),
    "VP9/2": _video("video/VP9", 105, profile_id=2),
}
"""Every codec that a router can be set to; settings name those with the same word before the slash.

The order is one of preference: a publisher without a wish of its own takes the first of a kind.
"""


def router_capabilities(media_codecs: Sequence[str] = tuple(MEDIA_CODECS)) -> RtpCapabilities:
    """Return the capabilities of a router that is set to these codecs, in this order.

    Raises `ValueError`, with the known names, for an unknown or repeated name or an empty list:
    the setting is the operator's.
    """
    unknown = [name for name in media_codecs if name not in MEDIA_CODECS]
    if unknown:
        raise ValueError(f"unknown codecs {unknown}; known are {list(MEDIA_CODECS)}")
    if not media_codecs or len(set(media_codecs)) != len(media_codecs):
        raise ValueError(f"name each codec once, at least one of {list(MEDIA_CODECS)}")
    return RtpCapabilities(
        codecs=tuple(entry for name in media_codecs for entry in MEDIA_CODECS[name].capabilities()),
        header_extensions=header_extension_capabilities(),
    )
