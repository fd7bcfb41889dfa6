"""What holds for every publisher and viewer; pymediasoup's own negotiation is the other side."""

from typing import Any

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st
from pymediasoup import ortc
from pymediasoup import rtp_parameters as theirs

from protocol.negotiation import (
    MEDIA_CODECS,
    ProducerNegotiation,
    can_consume,
    consumer_parameters,
    consumer_row,
    negotiate_producer,
    producer_row,
    router_capabilities,
    transport_conflict,
)
from protocol.negotiation.codecs import codec_identity, is_rtx, pair_with_rtx
from protocol.negotiation.header_extensions import ABS_SEND_TIME_URI, TRANSPORT_CC_URI
from protocol.orders import Kind, SetConsumer, SetProducer
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import (
    RtcpFeedback,
    RtpCapabilities,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtension,
    RtpHeaderExtensionParameters,
    RtpParameters,
    RtxParameters,
)
from tests.unit.rtp_clients import PRODUCERS, ROUTER

KINDS = st.sampled_from(["audio", "video"])
ROUTERS = st.lists(st.sampled_from(sorted(MEDIA_CODECS)), min_size=1, unique=True).map(
    router_capabilities
)
URIS = sorted({extension.uri for extension in ROUTER.header_extensions})


@st.composite
def endpoints(draw: st.DrawFn) -> RtpCapabilities:
    """An endpoint with some of the codecs that exist, numbered in its own way."""
    names = draw(st.lists(st.sampled_from(sorted(MEDIA_CODECS)), min_size=1, unique=True))
    numbers = iter(draw(st.permutations([*range(35, 64), *range(96, 128)])))
    codecs = []
    for media, rtx in pair_with_rtx(router_capabilities(names).codecs):
        payload_type = next(numbers)
        feedback = draw(st.lists(st.sampled_from(media.rtcp_feedback), unique_by=str))
        replaced = {"preferred_payload_type": payload_type, "rtcp_feedback": tuple(feedback)}
        codecs.append(msgspec.structs.replace(media, **replaced))
        if rtx is not None and draw(st.booleans()):
            replaced = {
                "preferred_payload_type": next(numbers),
                "parameters": {"apt": payload_type},
            }
            codecs.append(msgspec.structs.replace(rtx, **replaced))
    ids = dict(zip(URIS, draw(st.permutations(range(1, 15))), strict=False))
    chosen = draw(st.lists(st.sampled_from(ROUTER.header_extensions), unique_by=str))
    return RtpCapabilities(
        codecs=tuple(codecs),
        header_extensions=tuple(
            RtpHeaderExtension(kind=e.kind, uri=e.uri, preferred_id=ids[e.uri]) for e in chosen
        ),
    )


class Peer:
    """An endpoint that loaded a router's capabilities, as pymediasoup negotiates."""

    def __init__(self, native: RtpCapabilities, router: RtpCapabilities) -> None:
        self.extended = ortc.getExtendedRtpCapabilities(foreign(native), foreign(router))
        receivable = ortc.getRecvRtpCapabilities(self.extended)
        self.capabilities = msgspec.convert(receivable.model_dump(), RtpCapabilities)

    def sends(self, kind: Kind) -> list[dict[str, Any]]:
        """The parameters of one producer per codec of `kind`, without encodings and mid."""
        parameters = ortc.getSendingRtpParameters(kind, self.extended)
        # Of redundant audio, which is of no use without what it carries, it knows nothing.
        codecs = [
            codec
            for codec in parameters.codecs
            if not ortc.isRtxCodec(codec) and codec.mimeType != "audio/red"
        ]
        return [
            parameters.model_copy(
                update={"codecs": ortc.reduceCodecs(parameters.codecs, self.capability(codec))}
            ).model_dump()
            for codec in codecs
        ]

    def capability(self, codec: theirs.RtpCodecParameters) -> theirs.RtpCodecCapability:
        return theirs.RtpCodecCapability(
            kind=codec.mimeType.split("/")[0],
            preferredPayloadType=codec.payloadType,
            **codec.model_dump(exclude={"payloadType"}),
        )

    def receives(self, parameters: RtpParameters) -> bool:
        raw = msgspec.json.decode(msgspec.json.encode(parameters))
        return ortc.canReceive(theirs.RtpParameters(**raw), self.extended)


def foreign(capabilities: RtpCapabilities) -> theirs.RtpCapabilities:
    return theirs.RtpCapabilities(**msgspec.json.decode(msgspec.json.encode(capabilities)))


def consume(
    producer: ProducerNegotiation, capabilities: RtpCapabilities
) -> RtpParameters | Refusal:
    return consumer_parameters(
        producer.consumable_rtp_parameters,
        capabilities,
        ssrc=7001,
        rtx_ssrc=7002,
        mid="5",
        cname="room",
    )


@given(st.just(ROUTER) | ROUTERS, endpoints(), endpoints(), KINDS, st.integers(1, 4))
def test_what_a_peer_may_send_is_accepted_and_what_another_gets_it_can_receive(
    router: RtpCapabilities,
    sender: RtpCapabilities,
    receiver: RtpCapabilities,
    kind: Kind,
    layers: int,
) -> None:
    publisher, viewer = Peer(sender, router), Peer(receiver, router)
    for number, raw in enumerate(publisher.sends(kind)):
        raw["mid"] = str(number)
        raw["encodings"] = [{"ssrc": n} for n in range(1, 1 + layers)]
        producer = negotiate_producer(kind, msgspec.convert(raw, RtpParameters), router)
        assert isinstance(producer, ProducerNegotiation)
        assert can_consume(producer.consumable_rtp_parameters, router)

        parameters = consume(producer, viewer.capabilities)
        if isinstance(parameters, Refusal):
            event("refused")
            assert parameters.code is RefusalCode.CANNOT_CONSUME
            assert not can_consume(producer.consumable_rtp_parameters, viewer.capabilities)
            continue
        event("consumed")
        assert can_consume(producer.consumable_rtp_parameters, viewer.capabilities)
        assert viewer.receives(parameters)
        check_consumer(parameters, router, viewer.capabilities)
        check_path(kind, producer, parameters)


def check_consumer(
    parameters: RtpParameters, router: RtpCapabilities, viewer: RtpCapabilities
) -> None:
    """Both sides know all that a viewer is told, and the numbers are the router's."""
    ours = {codec.preferred_payload_type: codec for codec in router.codecs}
    known = {codec_identity(codec): codec for codec in viewer.codecs}
    for codec, rtx in pair_with_rtx(parameters.codecs):
        capability = ours[codec.payload_type]
        assert codec_identity(codec) == codec_identity(capability)
        feedback = {(fb.type, fb.parameter) for fb in codec.rtcp_feedback}
        for side in (capability, known[codec_identity(codec)]):
            assert feedback <= {(fb.type, fb.parameter) for fb in side.rtcp_feedback}
        assert not {("transport-cc", ""), ("goog-remb", "")} <= feedback
        uris = {extension.uri for extension in parameters.header_extensions}
        assert ("transport-cc", "") not in feedback or TRANSPORT_CC_URI in uris
        assert ("goog-remb", "") not in feedback or ABS_SEND_TIME_URI in uris
        if rtx is not None:
            assert is_rtx(ours[rtx.payload_type])
            assert ours[rtx.payload_type].parameters == {"apt": codec.payload_type}
    ids = {(extension.uri, extension.preferred_id) for extension in router.header_extensions}
    assert {(extension.uri, extension.id) for extension in parameters.header_extensions} <= ids
    (encoding,) = parameters.encodings
    has_rtx = any(is_rtx(codec) for codec in parameters.codecs)
    assert (encoding.rtx is not None) is has_rtx


def check_path(kind: Kind, producer: ProducerNegotiation, parameters: RtpParameters) -> None:
    """What the plane rewrites to is what the viewer expects, and rows survive msgpack."""
    first = producer_row(
        producer="p",
        transport="t",
        kind=kind,
        rtp_parameters=producer.rtp_parameters,
        mapping=producer.mapping,
    )
    second = consumer_row(
        consumer="c", transport="t", producer="p", kind=kind, rtp_parameters=parameters
    )
    mapped = {codec.mapped_payload_type: codec for codec in first.codecs}
    for codec in second.codecs:
        entry = mapped[codec.payload_type]
        assert codec.rtx_payload_type in {None, entry.mapped_rtx_payload_type}
        assert codec.clock_rate == entry.clock_rate
    names = {extension.name: extension.mapped_id for extension in first.header_extensions}
    assert all(names.get(e.name, e.id) == e.id for e in second.header_extensions)
    for row, sort in ((first, SetProducer), (second, SetConsumer)):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=sort) == row


# Small numbers, so that they collide.
numbers = st.integers(96, 100)
ssrcs = st.integers(1, 6)
mime_types = st.sampled_from(
    ["video/VP8", "video/VP9", "video/H264", "VIDEO/av1", "video/rtx", "audio/opus", "video/x"]
)
format_parameters = st.dictionaries(
    st.sampled_from(
        [
            "apt",
            "profile-id",
            "profile",
            "packetization-mode",
            "profile-level-id",
            "level-asymmetry-allowed",
        ]
    ),
    st.sampled_from([None, "", "0", "1", 0, 1, 2, 96, 97, 0.5, "42e01f", "640032", 640032, "²"]),
)
feedbacks = st.lists(
    st.builds(
        RtcpFeedback,
        type=st.sampled_from(["nack", "ccm", "goog-remb", "transport-cc", "x"]),
        parameter=st.sampled_from([None, "", "pli", "fir"]),
    ),
    max_size=4,
).map(tuple)


def several(strategy: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


CARELESS = {
    "mid": st.sampled_from([None, "0"]),
    "codecs": several(
        st.builds(
            RtpCodecParameters,
            mime_type=mime_types,
            payload_type=numbers | st.sampled_from([0, 70]),
            clock_rate=st.sampled_from([90000, 48000]),
            channels=st.sampled_from([None, 2]),
            parameters=format_parameters,
            rtcp_feedback=feedbacks,
        ),
        4,
    ),
    "header_extensions": several(
        st.builds(
            RtpHeaderExtensionParameters,
            uri=st.sampled_from([*URIS, "urn:x"]),
            id=st.integers(1, 12),
            encrypt=st.sampled_from([None, False, True]),
        ),
        4,
    ),
    "encodings": several(
        st.builds(
            RtpEncodingParameters,
            ssrc=st.none() | ssrcs,
            rid=st.sampled_from([None, "a", "b"]),
            codec_payload_type=st.none() | numbers,
            rtx=st.none() | st.builds(RtxParameters, ssrc=ssrcs),
            scalability_mode=st.sampled_from([None, "L1T3", "S3T3h", "L9T9", "odd"]),
            max_bitrate=st.none() | st.integers(0, 2**32 - 1),
        ),
        5,
    ),
}


@st.composite
def careless_producers(draw: st.DrawFn) -> tuple[Kind, RtpParameters]:
    """What a real client sends, with some of its parts made up."""
    _, kind, parameters = draw(st.sampled_from(PRODUCERS))
    made_up = draw(st.lists(st.sampled_from(sorted(CARELESS)), max_size=2, unique=True))
    replaced = {field: draw(CARELESS[field]) for field in made_up}
    if "codecs" not in made_up and draw(st.booleans()):
        media, *others = parameters.codecs
        change = msgspec.structs.replace(
            media, parameters=draw(format_parameters), rtcp_feedback=draw(feedbacks)
        )
        replaced["codecs"] = (change, *others)
    return kind, msgspec.structs.replace(parameters, **replaced)


@given(careless_producers(), st.just(ROUTER) | ROUTERS, endpoints())
def test_careless_parameters_are_negotiated_or_refused_and_never_changed(
    publisher: tuple[Kind, RtpParameters], router: RtpCapabilities, viewer: RtpCapabilities
) -> None:
    kind, parameters = publisher
    before = msgspec.msgpack.encode((parameters, router, viewer))
    producer = negotiate_producer(kind, parameters, router)
    if isinstance(producer, Refusal):
        event(producer.code)
        assert producer.code in {
            RefusalCode.INVALID_RTP_PARAMETERS,
            RefusalCode.UNSUPPORTED_CODEC,
        }
        assert producer.message
    else:
        event("accepted")
        assert negotiate_producer(kind, producer.rtp_parameters, router) == producer
        assert transport_conflict(producer.rtp_parameters, []) is None
        encoded = msgspec.msgpack.encode(producer)
        assert msgspec.msgpack.decode(encoded, type=ProducerNegotiation) == producer
        for capabilities in (router, viewer):
            told = consume(producer, capabilities)
            assert isinstance(told, Refusal) is not can_consume(
                producer.consumable_rtp_parameters, capabilities
            )
            if not isinstance(told, Refusal):
                check_consumer(told, router, capabilities)
                check_path(kind, producer, told)
    assert msgspec.msgpack.encode((parameters, router, viewer)) == before
