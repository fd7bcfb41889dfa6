"""What makes a publisher's RTP parameters contradict themselves, or those of its neighbours."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from protocol.negotiation.codecs import is_red, is_rtx
from protocol.negotiation.header_extensions import HEADER_EXTENSION_BY_URI
from protocol.negotiation.scalability import parse_scalability_mode
from protocol.orders import Kind
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import (
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpParameters,
)

ENCODINGS_MAX = 4
"""Simulcast layers of one producer. Browsers send at most three."""

SPATIAL_LAYERS_MAX = 4
"""Spatial layers of one encoding."""

TEMPORAL_LAYERS_MAX = 4
"""Temporal layers of one encoding."""

_RTCP_PAYLOAD_TYPES = range(64, 96)
"""With the marker bit set, these look like RTCP on a shared port (RFC 5761, 4)."""

Value = TypeVar("Value")


def producer_problems(
    kind: Kind, stated: RtpParameters, receivable: RtpParameters
) -> Iterator[str]:
    """Yield, in words, what is wrong with a publisher's parameters. Unknown codecs are not.

    `receivable` is `stated` with just the header extensions that the router reads and with at
    least one encoding.
    """
    yield from _codec_problems(kind, receivable.codecs)
    for identifier in _repeated(extension.id for extension in stated.header_extensions):
        yield f"header extension id {identifier} is used twice"
    for uri in _repeated(extension.uri for extension in stated.header_extensions):
        yield f"header extension {uri} has two ids"
    yield from _encoding_problems(receivable)


def transport_conflict(new: RtpParameters, present: Iterable[RtpParameters]) -> Refusal | None:
    """Refuse parameters whose packets could not be told from another producer's.

    On one transport, mids are unique, SSRCs are unique, and rids without a mid are unique
    (RFC 8843, 9.2). `present` are the negotiated parameters of the transport's other producers.
    """
    for other in present:
        if new.mid is not None and new.mid == other.mid:
            message = f"mid {new.mid} is in use on this transport"
        elif shared := set(_ssrcs(new.encodings)) & set(_ssrcs(other.encodings)):
            message = f"ssrc {min(shared)} is in use on this transport"
        elif (new.mid is None or other.mid is None) and (
            shared_rids := set(_rids(new.encodings)) & set(_rids(other.encodings))
        ):
            message = f"rid {min(shared_rids)} needs a mid on this transport"
        else:
            continue
        return Refusal(RefusalCode.INVALID_RTP_PARAMETERS, message)
    return None


def _codec_problems(kind: Kind, codecs: tuple[RtpCodecParameters, ...]) -> Iterator[str]:
    media = {codec.payload_type for codec in codecs if not is_rtx(codec)}
    if not media:
        yield "there is no media codec"
    for payload_type in _repeated(codec.payload_type for codec in codecs):
        yield f"payload type {payload_type} is used twice"
    for codec in codecs:
        if not codec.mime_type.lower().startswith(f"{kind}/"):
            yield f"{codec.mime_type} is no {kind} codec"
        if codec.payload_type in _RTCP_PAYLOAD_TYPES:
            yield f"payload type {codec.payload_type} is mistaken for RTCP"
    if media and all(is_red(codec) for codec in codecs if not is_rtx(codec)):
        yield "audio/red comes without the codec that it carries"
    apts = [codec.parameters.get("apt") for codec in codecs if is_rtx(codec)]
    if not all(isinstance(apt, int) and apt in media for apt in apts):
        yield "an RTX codec's apt names no media codec"
    for apt in _repeated(apts):
        yield f"payload type {apt} has two RTX codecs"


def _encoding_problems(parameters: RtpParameters) -> Iterator[str]:
    encodings = parameters.encodings
    if len(encodings) > ENCODINGS_MAX:
        yield f"there are more than {ENCODINGS_MAX} encodings"
    for ssrc in _repeated(_ssrcs(encodings)):
        yield f"ssrc {ssrc} is used twice"
    for rid in _repeated(_rids(encodings)):
        yield f"rid {rid} is used twice"
    media = {codec.payload_type for codec in parameters.codecs if not is_rtx(codec)}
    for encoding in encodings:
        layers = parse_scalability_mode(encoding.scalability_mode)
        if encoding.codec_payload_type is not None and encoding.codec_payload_type not in media:
            yield f"codecPayloadType {encoding.codec_payload_type} names no media codec"
        if (
            layers.spatial_layers > SPATIAL_LAYERS_MAX
            or layers.temporal_layers > TEMPORAL_LAYERS_MAX
        ):
            yield f"scalability mode {encoding.scalability_mode} has too many layers"
        if encoding.ssrc is None:
            yield from _unnamed_encoding_problems(parameters, encoding)


def _unnamed_encoding_problems(
    parameters: RtpParameters, encoding: RtpEncodingParameters
) -> Iterator[str]:
    """Yield what keeps us from telling the packets of an encoding that states no SSRC."""
    names = {HEADER_EXTENSION_BY_URI[e.uri].name for e in parameters.header_extensions}
    if encoding.rtx is not None:
        yield "an encoding has an RTX ssrc, but no ssrc"
    if encoding.rid is not None:
        if "rid" not in names:
            yield "an encoding has only a rid, but its header extension is not in use"
    elif len(parameters.encodings) > 1:
        yield "one of several encodings has neither ssrc nor rid"
    elif parameters.mid is None or "mid" not in names:
        yield "the encoding has neither ssrc nor rid, and no mid that packets bear"


def _ssrcs(encodings: Iterable[RtpEncodingParameters]) -> Iterator[int]:
    for encoding in encodings:
        if encoding.ssrc is not None:
            yield encoding.ssrc
        if encoding.rtx is not None:
            yield encoding.rtx.ssrc


def _rids(encodings: Iterable[RtpEncodingParameters]) -> Iterator[str]:
    return (encoding.rid for encoding in encodings if encoding.rid is not None)


def _repeated(values: Iterable[Value]) -> Iterator[Value]:
    return (value for value, count in Counter(values).items() if count > 1)
