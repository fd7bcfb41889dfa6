"""What a router makes of a publisher's RTP parameters.

`negotiate_producer` checks them, reduces them to what this router uses, maps the publisher's
payload types and header extension ids to the router's, and derives what viewers may consume.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from protocol.negotiation.checks import producer_problems
from protocol.negotiation.codecs import (
    answer_parameters,
    codec_identity,
    common_feedback,
    is_red,
    pair_with_rtx,
)
from protocol.negotiation.header_extensions import HEADER_EXTENSION_BY_URI
from protocol.negotiation.scalability import parse_scalability_mode
from protocol.orders import HeaderExtension, Kind
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import (
    RtcpParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
)

_SVC_MIME_TYPES = frozenset({"video/vp9", "video/av1"})

ProducerType = Literal["simple", "simulcast", "svc"]
"""How a producer's layers are sent: none, one stream for each, or all within one stream."""


class CodecMapping(msgspec.Struct, frozen=True, kw_only=True):
    """A media codec's payload types: the publisher's, and those that viewers see.

    `mapped_rtx_payload_type` is there even if the publisher itself sends no RTX.
    """

    payload_type: int
    mapped_payload_type: int
    rtx_payload_type: int | None = None
    mapped_rtx_payload_type: int | None = None


class RtpMapping(msgspec.Struct, frozen=True, kw_only=True):
    """From the publisher's numbers to the router's."""

    codecs: tuple[CodecMapping, ...]
    header_extensions: tuple[HeaderExtension, ...]


class ProducerNegotiation(msgspec.Struct, frozen=True, kw_only=True):
    """What a router agrees on with a publisher."""

    rtp_parameters: RtpParameters
    """As the publisher sends, without what this router does not use."""
    mapping: RtpMapping
    consumable_rtp_parameters: RtpParameters
    """As viewers may consume, in the router's numbers: the input of `consumer_parameters`."""
    type: ProducerType


def negotiate_producer(
    kind: Kind, rtp_parameters: RtpParameters, router: RtpCapabilities
) -> ProducerNegotiation | Refusal:
    """Return what `router` agrees on with a publisher of `rtp_parameters`.

    Refused with `invalid_rtp_parameters` or `unsupported_codec`. Unknown, encrypted and not
    receivable header extensions are left out; without encodings, one without an SSRC is assumed,
    which its mid identifies.
    """
    extensions = _receivable_extensions(kind, rtp_parameters)
    encodings = rtp_parameters.encodings or (RtpEncodingParameters(),)
    candidate = msgspec.structs.replace(
        rtp_parameters, header_extensions=extensions, encodings=encodings
    )
    problem = next(producer_problems(kind, rtp_parameters, candidate), None)
    if problem is not None:
        return Refusal(RefusalCode.INVALID_RTP_PARAMETERS, problem)

    codecs = _match_codecs(candidate.codecs, router)
    if isinstance(codecs, Refusal):
        return codecs
    accepted = msgspec.structs.replace(
        candidate,
        codecs=tuple(c for match in codecs for c in (match.media, match.rtx) if c is not None),
        encodings=_reduce_encodings(encodings, codecs),
        rtcp=RtcpParameters(cname=rtp_parameters.rtcp.cname or None),
    )
    return ProducerNegotiation(
        rtp_parameters=accepted,
        mapping=RtpMapping(
            codecs=tuple(match.mapping() for match in codecs),
            header_extensions=_map_extensions(extensions),
        ),
        consumable_rtp_parameters=_consumable(kind, accepted, codecs, router),
        type=_producer_type(accepted),
    )


class _CodecMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A publisher's codec and the router's codec of the same identity."""

    media: RtpCodecParameters
    rtx: RtpCodecParameters | None
    router_media: RtpCodecCapability
    router_rtx: RtpCodecCapability | None

    def mapping(self) -> CodecMapping:
        rtx, router_rtx = self.rtx, self.router_rtx
        return CodecMapping(
            payload_type=self.media.payload_type,
            mapped_payload_type=self.router_media.preferred_payload_type,
            rtx_payload_type=None if rtx is None else rtx.payload_type,
            mapped_rtx_payload_type=(
                None if router_rtx is None else router_rtx.preferred_payload_type
            ),
        )

    def consumable(self) -> Iterator[RtpCodecParameters]:
        """Yield the codec and its RTX in the router's numbers, with the publisher's format."""
        for capability in (self.router_media, self.router_rtx):
            if capability is not None:
                yield RtpCodecParameters(
                    mime_type=capability.mime_type,
                    payload_type=capability.preferred_payload_type,
                    clock_rate=capability.clock_rate,
                    channels=capability.channels,
                    parameters=(
                        self.media.parameters
                        if capability is self.router_media and not is_red(capability)
                        else capability.parameters
                    ),
                    rtcp_feedback=capability.rtcp_feedback,
                )


def _receivable_extensions(
    kind: Kind, parameters: RtpParameters
) -> tuple[RtpHeaderExtensionParameters, ...]:
    """Return the extensions that the router reads. Encrypted ones (RFC 6904) it cannot."""
    return tuple(
        RtpHeaderExtensionParameters(uri=extension.uri, id=extension.id)
        for extension in parameters.header_extensions
        if not extension.encrypt
        and (known := HEADER_EXTENSION_BY_URI.get(extension.uri)) is not None
        and known.direction(kind) in {"sendrecv", "recvonly"}
    )


def _map_extensions(
    extensions: Iterable[RtpHeaderExtensionParameters],
) -> tuple[HeaderExtension, ...]:
    return tuple(
        HeaderExtension(name=known.name, id=extension.id, mapped_id=known.id)
        for extension in extensions
        for known in (HEADER_EXTENSION_BY_URI[extension.uri],)
    )


def _match_codecs(
    codecs: Iterable[RtpCodecParameters], router: RtpCapabilities
) -> list[_CodecMatch] | Refusal:
    """Find the router's codec for each of the publisher's, and reduce the latter to both."""
    known = {codec_identity(media): (media, rtx) for media, rtx in pair_with_rtx(router.codecs)}
    matches: list[_CodecMatch] = []
    for media, rtx in pair_with_rtx(codecs):
        identity = codec_identity(media)
        if identity is None or identity not in known:
            return Refusal(
                RefusalCode.UNSUPPORTED_CODEC,
                f"{media.mime_type} with payload type {media.payload_type} is not supported",
            )
        router_media, router_rtx = known[identity]
        if any(match.router_media is router_media for match in matches):
            return Refusal(
                RefusalCode.INVALID_RTP_PARAMETERS,
                f"{media.mime_type} with payload type {media.payload_type} is there twice",
            )
        matches.append(
            _CodecMatch(
                media=_reduce_media_codec(media, router_media),
                rtx=None if rtx is None or router_rtx is None else _reduce_rtx_codec(rtx),
                router_media=router_media,
                router_rtx=router_rtx,
            )
        )
    return matches


def _reduce_media_codec(
    codec: RtpCodecParameters, capability: RtpCodecCapability
) -> RtpCodecParameters:
    parameters = codec.parameters
    if codec.mime_type.lower() == "video/h264":
        parameters = answer_parameters(parameters, capability.parameters)
    return msgspec.structs.replace(
        codec,
        channels=capability.channels,
        parameters=parameters,
        rtcp_feedback=common_feedback(capability.rtcp_feedback, codec.rtcp_feedback),
    )


def _reduce_rtx_codec(codec: RtpCodecParameters) -> RtpCodecParameters:
    return msgspec.structs.replace(codec, channels=None, rtcp_feedback=())


def _reduce_encodings(
    encodings: Iterable[RtpEncodingParameters], codecs: list[_CodecMatch]
) -> tuple[RtpEncodingParameters, ...]:
    """Take RTX SSRCs away from encodings whose codec has no RTX."""
    rtx = {match.media.payload_type: match.rtx for match in codecs}
    first = codecs[0].media.payload_type
    return tuple(
        encoding
        if rtx[first if encoding.codec_payload_type is None else encoding.codec_payload_type]
        else msgspec.structs.replace(encoding, rtx=None)
        for encoding in encodings
    )


def _consumable(
    kind: Kind,
    accepted: RtpParameters,
    codecs: list[_CodecMatch],
    router: RtpCapabilities,
) -> RtpParameters:
    """Return what viewers may consume. SSRCs are missing: each consumer has its own."""
    return RtpParameters(
        msid=accepted.msid,
        codecs=tuple(codec for match in codecs for codec in match.consumable()),
        header_extensions=tuple(
            RtpHeaderExtensionParameters(uri=extension.uri, id=extension.preferred_id)
            for extension in router.header_extensions
            if extension.kind in {kind, None} and extension.direction in {"sendrecv", "sendonly"}
        ),
        encodings=tuple(
            msgspec.structs.replace(
                encoding, ssrc=None, rid=None, rtx=None, codec_payload_type=None
            )
            for encoding in accepted.encodings
        ),
        rtcp=accepted.rtcp,
    )


def _producer_type(accepted: RtpParameters) -> ProducerType:
    """Name the type as mediasoup does: temporal layers of VP8 and H264 count as simulcast."""
    encodings = accepted.encodings
    if len(encodings) > 1:
        return "simulcast"
    layers = parse_scalability_mode(encodings[0].scalability_mode)
    codec = next(
        (c for c in accepted.codecs if c.payload_type == encodings[0].codec_payload_type),
        accepted.codecs[0],
    )
    if not codec.mime_type.lower().startswith("video/"):
        return "simple"
    if layers.spatial_layers == 1 and layers.temporal_layers == 1:
        return "simple"
    return "svc" if codec.mime_type.lower() in _SVC_MIME_TYPES else "simulcast"
