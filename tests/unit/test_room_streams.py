"""Given events of a room, when it is asked for producers and consumers, then …"""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from actors.core.decider import Tell
from actors.core.room import ROOM_DECIDER
from protocol import events
from protocol.behaviours import SPATIAL_LAYERS_REST
from protocol.commands import (
    Consume,
    Join,
    Produce,
)
from protocol.ids import consumer_address, producer_address
from protocol.messages import (
    OpenConsumer,
    OpenProducer,
    ProducerPauseChanged,
    ProducerWentLive,
)
from protocol.refusals import RefusalCode
from protocol.rtp_parameters import RtpCapabilities, ScalabilityModeName
from tests.control.given import draw, given
from tests.control.samples import (
    consume,
    produce,
    room_settings,
    rtp_parameters,
)
from tests.unit.room_deciding import (
    LIVE,
    OPENED,
    consumer,
    live,
    peer,
    producer,
    transport,
)


def test_producing_starts_a_producer_with_its_row() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"), transport("send", "host", "send"))
    outcome = room.when(produce("host", "send", paused=True, app_data={"a": 1}))
    name = draw().id("s")
    (added,) = outcome.events
    assert (added.producer, added.peer, added.transport) == (name, "host", "send")
    assert (added.kind, added.type, added.paused, added.app_data) == (
        "video",
        "simple",
        True,
        {"a": 1},
    )
    assert added.consumable.codecs[0].payload_type == 101
    (start,) = outcome.effects
    assert start.address == producer_address(name)
    assert isinstance(start.message, OpenProducer)
    row = start.message.row
    assert (row.producer, row.transport, row.paused) == (name, "send", True)
    assert row.encodings[0].ssrc == 1000
    assert list(outcome.after.state.transports["send"].producers) == [name]


def test_simulcast_is_told_by_its_encodings() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"), transport("send", "host", "send"))
    (added,) = room.when(produce("host", "send", layers=3)).events
    assert added.type == "simulcast"


@pytest.mark.parametrize(
    ("mode", "behaviours", "top_layer"),
    [
        ("L3T3_KEY", (SPATIAL_LAYERS_REST,), 2),
        ("L1T3", (SPATIAL_LAYERS_REST,), None),
        (None, (SPATIAL_LAYERS_REST,), None),
        ("L3T3_KEY", (), None),
    ],
)
def test_a_producer_knows_the_highest_layer_inside_of_its_stream(
    mode: ScalabilityModeName | None, behaviours: tuple[int, ...], top_layer: int | None
) -> None:
    opened = replace(OPENED, settings=room_settings(behaviours=behaviours))
    room = given(ROOM_DECIDER, opened, peer("host"), transport("send", "host", "send"))
    command = produce("host", "send")
    parameters = command.rtp_parameters
    encodings = [replace(parameters.encodings[0], scalability_mode=mode)]
    command = replace(command, rtp_parameters=replace(parameters, encodings=encodings))
    (start,) = room.when(command).effects
    assert start.message.top_layer == top_layer
    several = room.when(produce("host", "send", layers=3)).effects[0]
    assert several.message.top_layer is None, "its layers are encodings"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (produce("host", "nothing"), RefusalCode.TRANSPORT_NOT_FOUND),
        (produce("host", "recv"), RefusalCode.FORBIDDEN),
        (produce("viewer", "recv"), RefusalCode.WRONG_DIRECTION),
        (produce("host", "send"), RefusalCode.INVALID_RTP_PARAMETERS),
        (
            Produce(peer="host", transport="send", kind="audio", rtp_parameters=rtp_parameters()),
            RefusalCode.INVALID_RTP_PARAMETERS,
        ),
        (
            Produce(
                peer="host",
                transport="send",
                kind="video",
                rtp_parameters=msgspec.structs.replace(
                    rtp_parameters(number=5),
                    codecs=(
                        msgspec.structs.replace(
                            rtp_parameters().codecs[0], mime_type="video/theora"
                        ),
                    ),
                ),
            ),
            RefusalCode.UNSUPPORTED_CODEC,
        ),
    ],
    ids=["no transport", "another's", "direction", "in use", "kind", "codec"],
)
def test_producing_is_refused(command: Produce, code: RefusalCode) -> None:
    live().when(command).refused(code)


def test_producers_of_a_peer_are_limited_over_all_its_transports() -> None:
    room = live(transport("more", "host", "send"), producer("second", "host", "more", 1))
    room.when(produce("host", "more", number=2)).refused(
        RefusalCode.LIMIT_REACHED, "producers of a peer", "2"
    )


def test_a_pause_is_noted_and_passed_on_to_consumers() -> None:
    changed = ProducerPauseChanged(producer="track", paused=True)
    after = (
        live()
        .when(changed)
        .then(
            events.ProducerPauseNoted(producer="track", peer="host", paused=True),
            Tell(consumer_address("see"), changed),
        )
    )
    assert after.state.producers["track"].paused
    (reply,) = after.when(Join(room="room")).effects
    assert reply.answer.joined.producers[0].paused


def test_streaming_starts_with_the_first_producer_that_goes_live() -> None:
    quiet = given(ROOM_DECIDER, *LIVE[:6])
    after = quiet.when(ProducerWentLive(producer="track")).then(
        events.StreamingStarted(producer="track", peer="host")
    )
    after.when(ProducerWentLive(producer="track")).then_nothing()


def test_news_of_a_producer_that_is_gone_is_of_no_consequence() -> None:
    live().when(ProducerWentLive(producer="gone")).then_nothing()
    live().when(ProducerPauseChanged(producer="gone", paused=True)).then_nothing()


def test_consuming_starts_a_paused_consumer_with_its_row() -> None:
    choice = draw()
    name, ssrcs = choice.id("c"), (choice.ssrc("0"), choice.ssrc("1"))
    outcome = live().when(consume("viewer", "recv", "track"))
    assert outcome.events == (consumer(name, "viewer", "recv", "track", ssrcs),)
    (start,) = outcome.effects
    assert start.address == consumer_address(name)
    opening = start.message
    assert isinstance(opening, OpenConsumer)
    assert (opening.row.ssrc, opening.row.rtx_ssrc) == ssrcs
    assert (opening.row.mid, opening.row.cname, opening.row.paused) == ("1", "host", True)
    assert not opening.producer_paused
    assert list(outcome.after.state.producers["track"].consumers) == ["see", name]
    assert outcome.after.state.transports["recv"].mids == 2


def test_mids_are_never_given_twice() -> None:
    room = live(events.ConsumerRemoved(consumer="see", peer="viewer", reason="requested"))
    (start,) = room.when(consume("viewer", "recv", "track")).effects
    assert start.message.row.mid == "1"


def test_ssrcs_that_the_transport_has_are_drawn_again() -> None:
    taken = draw().ssrc("0")
    room = given(ROOM_DECIDER, *LIVE[:7], consumer("see", "viewer", "recv", "track", (taken, 2)))
    (start,) = room.when(consume("viewer", "recv", "track")).effects
    assert (start.message.row.ssrc, start.message.row.rtx_ssrc) == (
        draw().ssrc("1"),
        draw().ssrc("2"),
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (consume("viewer", "nothing", "track"), RefusalCode.TRANSPORT_NOT_FOUND),
        (consume("viewer", "send", "track"), RefusalCode.FORBIDDEN),
        (consume("host", "send", "track"), RefusalCode.WRONG_DIRECTION),
        (consume("viewer", "recv", "nothing"), RefusalCode.PRODUCER_NOT_FOUND),
        (consume("viewer", "recv", "track", RtpCapabilities()), RefusalCode.CANNOT_CONSUME),
    ],
    ids=["no transport", "another's", "direction", "no producer", "no codec"],
)
def test_consuming_is_refused(command: Consume, code: RefusalCode) -> None:
    live().when(command).refused(code)


def test_consuming_a_closed_producer_is_refused() -> None:
    room = live(
        events.ProducerRemoved(producer="track", peer="host", reason="requested"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
    )
    room.when(consume("viewer", "recv", "track")).refused(RefusalCode.PRODUCER_NOT_FOUND)


def test_consumers_of_a_peer_are_limited() -> None:
    room = live(consumer("hear", "viewer", "recv", "track", (3, 4)))
    room.when(consume("viewer", "recv", "track")).refused(
        RefusalCode.LIMIT_REACHED, "consumers of a peer", "2"
    )
