"""RTP capabilities and RTP parameters, in the words and wire shapes of ORTC and mediasoup.

Hostile input becomes these types through `msgspec.convert`, so every field bears a bound, and a
value that breaks one is a `msgspec.ValidationError`. What the bounds cannot say (payload types
that must be unique, an `apt` that must resolve) is checked by `protocol.negotiation`.

Fields that we do not know are ignored. `None` stands for "absent", also on the wire, where
clients that encode JavaScript's `undefined` as nil send it; absent fields are not encoded.
"""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.orders import Kind
from protocol.personal import Concealed

HeaderExtensionDirection = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
"""From the side that states the capability: `recvonly` is read but never written."""

PayloadType = Annotated[int, Meta(ge=0, le=127)]
"""The 7 bits of RFC 3550, 5.1."""

Ssrc = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
"""Synchronization source. Zero is left out: implementations take it for "none"."""

HeaderExtensionId = Annotated[int, Meta(ge=1, le=255)]
"""Local identifier of RFC 8285: up to 14 in the one-byte form, up to 255 in the two-byte form."""

ClockRate = Annotated[int, Meta(ge=1, le=1_000_000)]
"""Ticks of the RTP timestamp per second."""

Channels = Annotated[int, Meta(ge=1, le=32)]
"""Audio channels."""

BitrateBps = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
"""Bits per second."""

MimeType = Annotated[
    str, Meta(pattern=r"^(?i:audio|video)/[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z", max_length=70)
]
"""Media type and subtype, such as `video/VP8`. Compared without regard to case (RFC 6838, 4.2)."""

Mid = Annotated[str, Meta(pattern=r"^[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+\Z", max_length=32)]
"""Media identification of RFC 8843: a token, short enough for any header extension."""

Rid = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z", max_length=32)]
"""RTP stream id of RFC 8851 and RFC 8852."""

ScalabilityModeName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+\Z", max_length=16)]
"""Mode of W3C webrtc-svc, such as `L3T3_KEY`. `protocol.negotiation` reads its layer counts."""

Uri = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=255)]
"""Names a header extension (RFC 8285, 5)."""

_ONE_LINE = Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z")
# Viewers put what publishers say into their SDP, where a line break would begin an attribute of
# the publisher's making.

ParameterName = Annotated[str, Meta(pattern=r"^[!-:<>-~]*\Z", max_length=64)]
"""Name of a format parameter, as in SDP's `a=fmtp`; empty for what has none there (RFC 2198, 5)."""

ParameterValue = (
    Annotated[str, _ONE_LINE, Meta(max_length=1024)]
    | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | float
    | None
)
"""Value of a format parameter. Finite."""

CodecParameters = Annotated[dict[ParameterName, ParameterValue], Meta(max_length=32)]
"""Format parameters of a codec, such as `packetization-mode` or `apt`."""


class _Rtp(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all of these types share.

    `omit_defaults` leaves absent fields off the wire. Fields that mediasoup always writes have a
    default *factory* of ours instead of a default, which msgspec never omits.
    """


def _empty() -> tuple[()]:
    return ()


def _no_text() -> str:
    return ""


def _no_parameters() -> CodecParameters:
    return {}


def _false() -> bool:
    return False


def _true() -> bool:
    return True


def _sendrecv() -> HeaderExtensionDirection:
    return "sendrecv"


def _check_finite(owner: str, *values: object) -> None:
    """Refuse NaN and infinities: NaN is unequal to itself, so no state that holds it compares."""
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{owner} is not a finite number")


class RtcpFeedback(_Rtp, frozen=True, kw_only=True):
    """One kind of feedback that a codec takes (RFC 4585, 4.2), such as `nack` with `pli`."""

    type: Annotated[str, _ONE_LINE, Meta(min_length=1, max_length=32)]
    parameter: Annotated[str, _ONE_LINE, Meta(max_length=64)] | None = msgspec.field(
        default_factory=_no_text
    )


RtcpFeedbacks = Annotated[tuple[RtcpFeedback, ...], Meta(max_length=32)]
"""The feedback of one codec."""


class RtpCodecCapability(_Rtp, frozen=True, kw_only=True):
    """A codec that a router or an endpoint can receive."""

    kind: Kind
    mime_type: MimeType
    preferred_payload_type: PayloadType
    clock_rate: ClockRate
    channels: Channels | None = None
    parameters: CodecParameters = msgspec.field(default_factory=_no_parameters)
    rtcp_feedback: RtcpFeedbacks = msgspec.field(default_factory=_empty)

    def __post_init__(self) -> None:
        _check_finite("a codec parameter", *self.parameters.values())


class RtpHeaderExtension(_Rtp, frozen=True, kw_only=True):
    """A header extension that a router or an endpoint understands. No kind: both kinds."""

    kind: Kind | None = None
    uri: Uri
    preferred_id: HeaderExtensionId
    preferred_encrypt: bool | None = msgspec.field(default_factory=_false)
    direction: HeaderExtensionDirection | None = msgspec.field(default_factory=_sendrecv)


class RtpCapabilities(_Rtp, frozen=True, kw_only=True):
    """What a router or an endpoint can receive."""

    codecs: Annotated[tuple[RtpCodecCapability, ...], Meta(max_length=128)] = msgspec.field(
        default_factory=_empty
    )
    header_extensions: Annotated[tuple[RtpHeaderExtension, ...], Meta(max_length=64)] = (
        msgspec.field(default_factory=_empty)
    )


class RtpCodecParameters(_Rtp, frozen=True, kw_only=True):
    """A codec as one stream uses it."""

    mime_type: MimeType
    payload_type: PayloadType
    clock_rate: ClockRate
    channels: Channels | None = None
    parameters: CodecParameters = msgspec.field(default_factory=_no_parameters)
    rtcp_feedback: RtcpFeedbacks = msgspec.field(default_factory=_empty)

    def __post_init__(self) -> None:
        _check_finite("a codec parameter", *self.parameters.values())


class RtpHeaderExtensionParameters(_Rtp, frozen=True, kw_only=True):
    """A header extension as one stream uses it."""

    uri: Uri
    id: HeaderExtensionId
    encrypt: bool | None = msgspec.field(default_factory=_false)
    parameters: CodecParameters = msgspec.field(default_factory=_no_parameters)

    def __post_init__(self) -> None:
        _check_finite("a header extension parameter", *self.parameters.values())


class RtxParameters(_Rtp, frozen=True, kw_only=True):
    """The retransmission stream of an encoding (RFC 4588)."""

    ssrc: Ssrc


class RtpEncodingParameters(_Rtp, frozen=True, kw_only=True):
    """One encoding of a stream: a layer of a simulcast, or the only one."""

    ssrc: Ssrc | None = None
    rid: Rid | None = None
    codec_payload_type: PayloadType | None = None
    rtx: RtxParameters | None = None
    dtx: bool | None = None
    active: bool | None = None
    scalability_mode: ScalabilityModeName | None = None
    scale_resolution_down_by: Annotated[float, Meta(ge=1, le=65_536)] | None = None
    max_bitrate: BitrateBps | None = None
    max_framerate: Annotated[float, Meta(ge=0, le=65_536)] | None = None


class RtcpParameters(_Rtp, frozen=True, kw_only=True):
    """RTCP of a stream."""

    cname: Annotated[str, _ONE_LINE, Meta(max_length=255)] | Concealed | None = None
    """Canonical name of RFC 3550, 6.5.1: at most 255 bytes of UTF-8. Simulcasting browsers leave it
    empty, which stands for none."""
    reduced_size: bool | None = msgspec.field(default_factory=_true)
    """Whether RTCP packets may be sent alone (RFC 5506)."""

    def __post_init__(self) -> None:
        if isinstance(self.cname, str) and len(self.cname.encode()) > 255:
            raise ValueError("cname is longer than 255 bytes")


class RtpParameters(_Rtp, frozen=True, kw_only=True):
    """A stream as it is sent: by an endpoint to a producer, or by a consumer to an endpoint."""

    mid: Mid | None = None
    msid: (
        Annotated[str, Meta(pattern=r"^[\x21-\x7e]+( [\x21-\x7e]+)?\Z", max_length=129)]
        | Concealed
        | None
    ) = None
    """Id of the media stream to which the track belongs, a blank, id of the track (RFC 8830, 2)."""
    codecs: Annotated[tuple[RtpCodecParameters, ...], Meta(max_length=64)]
    header_extensions: Annotated[tuple[RtpHeaderExtensionParameters, ...], Meta(max_length=64)] = (
        msgspec.field(default_factory=_empty)
    )
    encodings: Annotated[tuple[RtpEncodingParameters, ...], Meta(max_length=16)] = msgspec.field(
        default_factory=_empty
    )
    rtcp: RtcpParameters = msgspec.field(default_factory=RtcpParameters)
