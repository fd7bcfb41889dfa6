"""Rows for the media plane: what it demultiplexes and rewrites by."""

import pytest

from protocol.negotiation import consumer_parameters, consumer_row, producer_row
from protocol.orders import (
    ConsumerCodec,
    ConsumerExtension,
    HeaderExtension,
    ProducerCodec,
    ProducerEncoding,
    SetConsumer,
    SetProducer,
)
from protocol.refusals import Refusal
from tests.unit.rtp_clients import CHROMIUM, PYMEDIASOUP, Client, accepted, codec, parsed, video


def row_of(client: Client, title: str) -> SetProducer:
    kind, _ = client.producers[title]
    negotiation = client.negotiate(title)
    return producer_row(
        producer="p1",
        transport="t1",
        kind=kind,
        rtp_parameters=negotiation.rtp_parameters,
        mapping=negotiation.mapping,
    )


def test_a_simulcast_row_knows_rids_and_no_ssrcs() -> None:
    row = row_of(CHROMIUM, "vp8_simulcast")
    assert (row.producer, row.transport, row.kind, row.mid) == ("p1", "t1", "video", "3")
    assert row.cname == ""
    assert row.paused is False
    assert row.encodings == tuple(
        ProducerEncoding(rid=rid, scalability_mode="L1T3") for rid in ("r0", "r1", "r2")
    )
    assert row.codecs == (
        ProducerCodec(
            payload_type=96,
            mapped_payload_type=101,
            rtx_payload_type=97,
            mapped_rtx_payload_type=102,
            mime_type="video/VP8",
            clock_rate=90000,
            nack=True,
            pli=True,
            fir=True,
            transport_cc=True,
        ),
    )


def test_an_audio_row_has_channels_and_transport_cc() -> None:
    row = row_of(CHROMIUM, "audio")
    assert row.codecs == (
        ProducerCodec(
            payload_type=111,
            mapped_payload_type=100,
            mime_type="audio/opus",
            clock_rate=48000,
            channels=2,
            nack=True,
            transport_cc=True,
        ),
    )
    assert row.encodings == (ProducerEncoding(ssrc=3423897442),)
    assert row.header_extensions == (
        HeaderExtension(name="mid", id=4, mapped_id=1),
        HeaderExtension(name="abs_send_time", id=2, mapped_id=4),
        HeaderExtension(name="transport_cc", id=3, mapped_id=5),
        HeaderExtension(name="audio_level", id=1, mapped_id=6),
    )


def test_a_publisher_without_transport_cc_gets_remb() -> None:
    row = row_of(PYMEDIASOUP, "video_default")
    (entry,) = row.codecs
    assert (entry.transport_cc, entry.remb) == (False, True)
    assert (entry.nack, entry.pli, entry.fir) == (True, True, False)
    assert row.encodings == (ProducerEncoding(ssrc=112421449, rtx_ssrc=2976111792),)
    assert row.cname == "fd07c62a-a40d-4fcf-bdcb-128b071c7e4f"


def test_bandwidth_feedback_needs_its_header_extension() -> None:
    both = [{"type": "transport-cc"}, {"type": "goog-remb"}]
    negotiation = accepted(
        "video", parsed(video(codecs=[codec("video/VP8") | {"rtcpFeedback": both}]))
    )
    row = producer_row(
        producer="p",
        transport="t",
        kind="video",
        rtp_parameters=negotiation.rtp_parameters,
        mapping=negotiation.mapping,
        paused=True,
    )
    assert (row.codecs[0].transport_cc, row.codecs[0].remb) == (False, False)
    assert row.paused is True


def test_a_consumer_row_is_what_the_viewer_was_told() -> None:
    parameters = consumer_parameters(
        CHROMIUM.negotiate("vp8_simulcast").consumable_rtp_parameters,
        CHROMIUM.capabilities,
        ssrc=7001,
        rtx_ssrc=7002,
        mid="5",
        cname="room",
    )
    assert not isinstance(parameters, Refusal)
    assert consumer_row(
        consumer="c1",
        transport="t2",
        producer="p1",
        kind="video",
        rtp_parameters=parameters,
        paused=True,
        spatial_layer=1,
        temporal_layer=2,
    ) == SetConsumer(
        consumer="c1",
        transport="t2",
        producer="p1",
        kind="video",
        ssrc=7001,
        rtx_ssrc=7002,
        codecs=(
            ConsumerCodec(
                payload_type=101,
                rtx_payload_type=102,
                mime_type="video/VP8",
                clock_rate=90000,
                nack=True,
                pli=True,
                fir=True,
            ),
        ),
        header_extensions=(
            ConsumerExtension(name="mid", id=1),
            ConsumerExtension(name="abs_send_time", id=4),
            ConsumerExtension(name="transport_cc", id=5),
            ConsumerExtension(name="video_orientation", id=7),
            ConsumerExtension(name="playout_delay", id=8),
        ),
        mid="5",
        cname="room",
        paused=True,
        spatial_layer=1,
        temporal_layer=2,
    )


def test_parameters_without_what_the_viewer_was_told_make_no_row() -> None:
    for raw in (video(mid=None), video(rtcp={}), video(encodings=[{"rid": "a"}])):
        with pytest.raises(AssertionError):
            consumer_row(
                consumer="c", transport="t", producer="p", kind="video", rtp_parameters=parsed(raw)
            )
