"""What makes two codec entries the same codec, and how a codec finds its RTX and its feedback."""

from collections.abc import Iterable
from typing import TypeVar

from protocol.negotiation.h264 import H264Profile, answer_profile_level, parse_profile_level_id
from protocol.rtp_parameters import (
    CodecParameters,
    RtcpFeedback,
    RtpCodecCapability,
    RtpCodecParameters,
)

CodecIdentity = tuple[str, int, int | None, int | None, int | H264Profile | None]
"""Media type, clock rate, channels, packetization mode, profile."""

Codec = TypeVar("Codec", RtpCodecCapability, RtpCodecParameters)
"""An entry of either sort: in capabilities or in parameters."""

_DIGITS_MAX = 9


def payload_type_of(codec: RtpCodecCapability | RtpCodecParameters) -> int:
    """Return the payload type that an entry has or prefers."""
    if isinstance(codec, RtpCodecCapability):
        return codec.preferred_payload_type
    return codec.payload_type


def is_rtx(codec: RtpCodecCapability | RtpCodecParameters) -> bool:
    """Tell whether the entry is a retransmission format (RFC 4588), not a media codec."""
    return codec.mime_type.lower().endswith("/rtx")


def is_red(codec: RtpCodecCapability | RtpCodecParameters) -> bool:
    """Tell whether the entry is redundant audio (RFC 2198), whose blocks name other codecs."""
    return codec.mime_type.lower() == "audio/red"


def integer_parameter(parameters: CodecParameters, name: str, default: int | None) -> int | None:
    """Return a format parameter as an integer, `default` if absent, None if it is no integer."""
    value = parameters.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, str):
        digits = value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX
        return int(value) if digits else None
    return int(value) if value == int(value) else None


def codec_identity(codec: RtpCodecCapability | RtpCodecParameters) -> CodecIdentity | None:
    """Return what two entries have in common exactly if they are the same codec.

    Profiles count where a decoder of one cannot decode the other: H264's with its packetization
    mode (RFC 6184, 8.1), VP9's `profile-id` (RFC 9628, 6.1), AV1's `profile`. Levels do not.
    None, which no entry matches, when such a parameter is malformed.
    """
    mime_type = codec.mime_type.lower()
    channels = (codec.channels or 1) if mime_type.startswith("audio/") else None
    mode: int | None = None
    profile: int | H264Profile | None = None
    match mime_type:
        case "video/h264":
            mode = integer_parameter(codec.parameters, "packetization-mode", 0)
            parsed = parse_profile_level_id(codec.parameters.get("profile-level-id"))
            if mode is None or parsed is None:
                return None
            profile = parsed.profile
        case "video/vp9" | "video/av1":
            name = "profile-id" if mime_type == "video/vp9" else "profile"
            profile = integer_parameter(codec.parameters, name, 0)
            if profile is None:
                return None
    return (mime_type, codec.clock_rate, channels, mode, profile)


def answer_parameters(local: CodecParameters, remote: CodecParameters) -> CodecParameters:
    """Return H264's `local` parameters with the level that answers `remote`'s.

    Both must be of the same profile, that is, have the same `codec_identity`.
    """
    local_level = parse_profile_level_id(local.get("profile-level-id"))
    remote_level = parse_profile_level_id(remote.get("profile-level-id"))
    assert local_level is not None
    assert remote_level is not None
    answer = answer_profile_level(
        local_level,
        remote_level,
        level_asymmetry_allowed=all(
            integer_parameter(side, "level-asymmetry-allowed", 0) == 1 for side in (local, remote)
        ),
    )
    assert answer is not None
    return {**local, "profile-level-id": str(answer)}


def pair_with_rtx(codecs: Iterable[Codec]) -> list[tuple[Codec, Codec | None]]:
    """Return each media codec with the RTX codec whose `apt` names it (RFC 4588, 8.1)."""
    entries = tuple(codecs)
    rtx = {codec.parameters.get("apt"): codec for codec in entries if is_rtx(codec)}
    return [(codec, rtx.get(payload_type_of(codec))) for codec in entries if not is_rtx(codec)]


def common_feedback(
    ours: Iterable[RtcpFeedback], theirs: Iterable[RtcpFeedback]
) -> tuple[RtcpFeedback, ...]:
    """Return the feedback of `ours` that `theirs` takes as well."""
    wanted = {(feedback.type, feedback.parameter or "") for feedback in theirs}
    return tuple(fb for fb in ours if (fb.type, fb.parameter or "") in wanted)
