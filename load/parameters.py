"""What the trio client says of its RTP: a publisher's parameters, a viewer's capabilities. Pure.

Payload types and extension ids are the client's own, unlike the router's, so
that both directions of the mapping are put to use.
"""

from __future__ import annotations

import secrets

from load.media import CodecName
from protocol.rtp_parameters import (
    RtcpFeedback,
    RtcpParameters,
    RtpCapabilities,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
    RtxParameters,
)

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
PUBLISHED_MID_ID = 9
_FIRST_PAYLOAD_TYPE: dict[CodecName, int] = {
    "audio/opus": 111,
    "video/VP8": 96,
    "video/H264": 98,
}
_FEEDBACK = {("nack", ""), ("nack", "pli"), ("ccm", "fir")}
"""What senders and receivers here understand; no bandwidth estimation."""


class CodecNotOffered(Exception):
    """The router does not route the codec."""


def publisher_parameters(
    router: RtpCapabilities, codec: CodecName, *, mid: str, payload_type: int | None = None
) -> RtpParameters:
    """Make the parameters of a new stream, with RTX where the router has it.

    Raises `CodecNotOffered`.
    """
    offered = next((c for c in router.codecs if c.mime_type.lower() == codec.lower()), None)
    if offered is None:
        raise CodecNotOffered(codec)
    number = _FIRST_PAYLOAD_TYPE[codec] if payload_type is None else payload_type
    media = RtpCodecParameters(
        mime_type=offered.mime_type,
        payload_type=number,
        clock_rate=offered.clock_rate,
        channels=offered.channels,
        parameters=dict(offered.parameters),
        rtcp_feedback=_understood(offered.rtcp_feedback),
    )
    codecs = [media]
    rtx = None
    if any(c.parameters.get("apt") == offered.preferred_payload_type for c in router.codecs):
        rtx = RtxParameters(ssrc=_new_ssrc())
        codecs.append(
            RtpCodecParameters(
                mime_type=f"{offered.kind}/rtx",
                payload_type=number + 1,
                clock_rate=offered.clock_rate,
                parameters={"apt": number},
            )
        )
    return RtpParameters(
        mid=mid,
        codecs=tuple(codecs),
        header_extensions=(RtpHeaderExtensionParameters(uri=MID_URI, id=PUBLISHED_MID_ID),),
        encodings=(RtpEncodingParameters(ssrc=_new_ssrc(), rtx=rtx),),
        rtcp=RtcpParameters(cname=secrets.token_hex(8)),
    )


def viewer_capabilities(router: RtpCapabilities) -> RtpCapabilities:
    """Reduce a router's capabilities to what `load.receiver` can take."""
    known = {name.lower() for name in _FIRST_PAYLOAD_TYPE}
    media = {
        codec.preferred_payload_type for codec in router.codecs if codec.mime_type.lower() in known
    }
    return RtpCapabilities(
        codecs=tuple(
            type(codec)(
                kind=codec.kind,
                mime_type=codec.mime_type,
                preferred_payload_type=codec.preferred_payload_type,
                clock_rate=codec.clock_rate,
                channels=codec.channels,
                parameters=dict(codec.parameters),
                rtcp_feedback=_understood(codec.rtcp_feedback),
            )
            for codec in router.codecs
            if codec.preferred_payload_type in media or codec.parameters.get("apt") in media
        ),
        header_extensions=tuple(one for one in router.header_extensions if one.uri == MID_URI),
    )


def _understood(feedback: tuple[RtcpFeedback, ...]) -> tuple[RtcpFeedback, ...]:
    return tuple(one for one in feedback if (one.type, one.parameter or "") in _FEEDBACK)


def _new_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFE) + 1
