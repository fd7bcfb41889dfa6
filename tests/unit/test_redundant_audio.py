"""Opus with redundancy (RFC 2198) is agreed on together with opus, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from load.parameters import publisher_parameters, viewer_capabilities
from protocol.negotiation import (
    CodecMapping,
    consumer_parameters,
    negotiate_producer,
    router_capabilities,
)
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from tests.support.red import takes_red, with_red
from tests.unit.rtp_clients import CHROMIUM, ROUTER, accepted

OPUS = publisher_parameters(ROUTER, "audio/opus", mid="1")
RED = with_red(OPUS)
PLAIN = viewer_capabilities(ROUTER)
REDUNDANT = takes_red(PLAIN, ROUTER)


def consumed(viewer: RtpCapabilities) -> RtpParameters | Refusal:
    consumable = accepted("audio", RED).consumable_rtp_parameters
    return consumer_parameters(consumable, viewer, ssrc=7001, rtx_ssrc=7002, mid="5", cname="room")


def test_a_publisher_of_both_has_both_mapped() -> None:
    negotiated = accepted("audio", RED)
    assert negotiated.mapping.codecs == (
        CodecMapping(payload_type=63, mapped_payload_type=117),
        CodecMapping(payload_type=111, mapped_payload_type=100),
    )
    assert negotiated.rtp_parameters.codecs[0].parameters == {"": "111/111"}
    assert negotiated.type == "simple"


def test_a_viewer_who_takes_it_is_told_the_routers_payload_types() -> None:
    parameters = consumed(REDUNDANT)
    assert isinstance(parameters, RtpParameters)
    told = [(c.mime_type, c.payload_type, c.parameters) for c in parameters.codecs]
    assert told == [("audio/red", 117, {"": "100/100"}), ("audio/opus", 100, {})]


@pytest.mark.parametrize("viewer", [PLAIN, CHROMIUM.capabilities])
def test_a_viewer_who_does_not_gets_opus(viewer: RtpCapabilities) -> None:
    parameters = consumed(viewer)
    assert isinstance(parameters, RtpParameters)
    assert [codec.mime_type for codec in parameters.codecs] == ["audio/opus"]


def test_a_viewer_of_redundancy_alone_has_nothing_in_common() -> None:
    red = tuple(codec for codec in ROUTER.codecs if codec.mime_type == "audio/red")
    refusal = consumed(msgspec.structs.replace(PLAIN, codecs=red))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.CANNOT_CONSUME


def test_redundancy_without_what_it_carries_is_refused() -> None:
    alone = msgspec.structs.replace(RED, codecs=RED.codecs[:1])
    refusal = negotiate_producer("audio", alone, ROUTER)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.INVALID_RTP_PARAMETERS
    assert "audio/red" in refusal.message


def test_a_router_that_is_set_to_plain_opus_takes_none() -> None:
    refusal = negotiate_producer("audio", RED, router_capabilities(["opus"]))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.UNSUPPORTED_CODEC
