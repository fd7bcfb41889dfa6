"""From negotiated parameters to the rows of the media plane's table (`protocol.orders`)."""

from protocol.negotiation.codecs import pair_with_rtx
from protocol.negotiation.header_extensions import HEADER_EXTENSION_BY_URI
from protocol.negotiation.producer import RtpMapping
from protocol.negotiation.remembered import Remembered
from protocol.orders import (
    ConsumerCodec,
    ConsumerExtension,
    Kind,
    ProducerCodec,
    ProducerEncoding,
    SetConsumer,
    SetProducer,
)
from protocol.rtp_parameters import (
    RtpCodecParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
)


def producer_row(
    *,
    producer: str,
    transport: str,
    kind: Kind,
    rtp_parameters: RtpParameters,
    mapping: RtpMapping,
    paused: bool = False,
) -> SetProducer:
    """Return the row of a producer.

    `rtp_parameters` and `mapping` are those of its `ProducerNegotiation`. Of transport-cc and
    REMB at most one is set, and only if packets bear the header extension that it needs.
    """
    names = {extension.name for extension in mapping.header_extensions}
    by_payload_type = {codec.payload_type: codec for codec in rtp_parameters.codecs}
    codecs = []
    for entry in mapping.codecs:
        codec = by_payload_type[entry.payload_type]
        transport_cc = "transport_cc" in names and _has(codec, "transport-cc")
        codecs.append(
            ProducerCodec(
                payload_type=entry.payload_type,
                mapped_payload_type=entry.mapped_payload_type,
                rtx_payload_type=entry.rtx_payload_type,
                mapped_rtx_payload_type=entry.mapped_rtx_payload_type,
                mime_type=codec.mime_type,
                clock_rate=codec.clock_rate,
                channels=codec.channels,
                nack=_has(codec, "nack"),
                pli=_has(codec, "nack", "pli"),
                fir=_has(codec, "ccm", "fir"),
                transport_cc=transport_cc,
                remb=not transport_cc and "abs_send_time" in names and _has(codec, "goog-remb"),
            )
        )
    cname = rtp_parameters.rtcp.cname
    return SetProducer(
        producer=producer,
        transport=transport,
        kind=kind,
        codecs=tuple(codecs),
        encodings=tuple(
            ProducerEncoding(
                rid=encoding.rid,
                ssrc=encoding.ssrc,
                rtx_ssrc=None if encoding.rtx is None else encoding.rtx.ssrc,
                scalability_mode=encoding.scalability_mode,
            )
            for encoding in rtp_parameters.encodings
        ),
        header_extensions=mapping.header_extensions,
        mid=rtp_parameters.mid,
        cname=cname if isinstance(cname, str) else "",
        paused=paused,
    )


def consumer_row(
    *,
    consumer: str,
    transport: str,
    producer: str,
    kind: Kind,
    rtp_parameters: RtpParameters,
    paused: bool = False,
    spatial_layer: int | None = None,
    temporal_layer: int | None = None,
    priority: int = 1,
) -> SetConsumer:
    """Return the row of a consumer, whose `rtp_parameters` are those of `consumer_parameters`."""
    (encoding,) = rtp_parameters.encodings
    mid, cname = rtp_parameters.mid, rtp_parameters.rtcp.cname
    assert encoding.ssrc is not None
    assert mid is not None
    assert isinstance(cname, str)
    codecs, extensions = _formats(rtp_parameters.codecs, rtp_parameters.header_extensions)
    return SetConsumer(
        consumer=consumer,
        transport=transport,
        producer=producer,
        kind=kind,
        ssrc=encoding.ssrc,
        rtx_ssrc=None if encoding.rtx is None else encoding.rtx.ssrc,
        codecs=codecs,
        header_extensions=extensions,
        mid=mid,
        cname=cname,
        paused=paused,
        spatial_layer=spatial_layer,
        temporal_layer=temporal_layer,
        priority=priority,
    )


def _work_out_formats(
    codecs: tuple[RtpCodecParameters, ...], extensions: tuple[RtpHeaderExtensionParameters, ...]
) -> tuple[tuple[ConsumerCodec, ...], tuple[ConsumerExtension, ...]]:
    """Return what of a consumer's row all viewers with the same parameters share."""
    return (
        tuple(
            ConsumerCodec(
                payload_type=codec.payload_type,
                rtx_payload_type=None if rtx is None else rtx.payload_type,
                mime_type=codec.mime_type,
                clock_rate=codec.clock_rate,
                nack=_has(codec, "nack"),
                pli=_has(codec, "nack", "pli"),
                fir=_has(codec, "ccm", "fir"),
            )
            for codec, rtx in pair_with_rtx(codecs)
        ),
        tuple(
            ConsumerExtension(name=HEADER_EXTENSION_BY_URI[e.uri].name, id=e.id) for e in extensions
        ),
    )


_formats = Remembered(_work_out_formats)


def _has(codec: RtpCodecParameters, feedback_type: str, parameter: str = "") -> bool:
    return any(
        fb.type == feedback_type and (fb.parameter or "") == parameter for fb in codec.rtcp_feedback
    )
