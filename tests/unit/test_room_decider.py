"""Given events of a room, when it opens, closes, or its children end, then …"""

from __future__ import annotations

from typing import Any

import pytest

from actors.core.room import ROOM_DECIDER
from protocol import events
from protocol.commands import (
    Join,
    Leave,
    PauseProducer,
)
from protocol.ids import ROOM, consumer_address, producer_address, transport_address
from protocol.messages import (
    ChildClosed,
    ChildFailed,
    Close,
    CloseRoom,
    OpenRoom,
    PlaneStopped,
    TimerFired,
)
from protocol.notices import ProducerScore
from protocol.refusals import RefusalCode
from tests.control.given import given
from tests.control.samples import (
    EPOCH_NS,
    WORKERS,
    S,
)
from tests.unit.room_deciding import (
    OPENED,
    SETTINGS,
    closings,
    consumer,
    live,
    peer,
    producer,
    transport,
)


def test_opening_sets_the_deadline_of_an_empty_room() -> None:
    opening = OpenRoom(settings=SETTINGS, workers=WORKERS)
    after = given(ROOM_DECIDER).when(opening).then(OPENED)
    assert after.deadlines == {"empty": EPOCH_NS + 5 * S}
    assert after.rows == ()
    assert not after.ended


def test_a_room_that_stays_empty_closes() -> None:
    fired = TimerFired(name="empty")
    empty = given(ROOM_DECIDER, OPENED)
    empty.when(fired, at_ns=EPOCH_NS + 5 * S - 1).then_nothing()
    after = empty.when(fired, at_ns=EPOCH_NS + 5 * S).then(events.RoomClosed(reason="empty"))
    assert after.ended
    assert after.deadlines == {}


def test_a_room_with_someone_in_it_does_not_close() -> None:
    occupied = given(ROOM_DECIDER, OPENED, peer("host"))
    assert occupied.deadlines == {}
    occupied.when(TimerFired(name="empty"), at_ns=EPOCH_NS + 9 * S).then_nothing()


def test_closing_tells_everyone_and_all_that_is_in_it() -> None:
    after = (
        live()
        .when(CloseRoom(reason="shutting_down"))
        .then(
            events.StreamingStopped(reason="shutting_down"),
            events.RoomClosed(reason="shutting_down"),
            *closings(
                (transport_address("send"), "room_closed"),
                (transport_address("recv"), "room_closed"),
                (producer_address("track"), "room_closed"),
                (consumer_address("see"), "room_closed"),
            ),
        )
    )
    assert after.ended
    assert after.state.peers == {}


@pytest.mark.parametrize("before", [(), (OPENED, events.RoomClosed(reason="empty"))])
def test_a_room_that_is_not_open_refuses_requests_and_ignores_the_rest(before: Any) -> None:
    shut = given(ROOM_DECIDER, *before)
    shut.when(Join(room="room")).refused(RefusalCode.ROOM_NOT_FOUND)
    shut.when(Leave(peer="host")).refused(RefusalCode.ROOM_NOT_FOUND)
    shut.when(PlaneStopped(reason="exit 1")).then_nothing()
    shut.when(CloseRoom(reason="shutting_down")).then_nothing()
    shut.when(TimerFired(name="empty"), at_ns=EPOCH_NS + 99 * S).then_nothing()


def test_a_room_that_is_opened_again_begins_anew() -> None:
    reopened = live(events.RoomClosed(reason="empty"), OPENED)
    assert reopened.state == given(ROOM_DECIDER, OPENED).state


@pytest.mark.parametrize("message", [ChildClosed, ChildFailed])
def test_a_child_that_ended_is_removed_with_what_hung_on_it_and_not_told(message: Any) -> None:
    live().when(message(child=transport_address("send"), reason="why")).then(
        events.TransportRemoved(transport="send", peer="host", reason="why"),
        events.ProducerRemoved(producer="track", peer="host", reason="transport_closed"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
        events.StreamingStopped(reason="why"),
        *closings(
            (producer_address("track"), "transport_closed"),
            (consumer_address("see"), "producer_closed"),
        ),
    )
    live().when(message(child=producer_address("track"), reason="why")).then(
        events.ProducerRemoved(producer="track", peer="host", reason="why"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
        events.StreamingStopped(reason="why"),
        *closings((consumer_address("see"), "producer_closed")),
    )
    after = (
        live()
        .when(message(child=consumer_address("see"), reason="why"))
        .then(events.ConsumerRemoved(consumer="see", peer="viewer", reason="why"))
    )
    assert after.state.producers["track"].consumers == {}
    assert after.state.transports["recv"].consumers == {}


@pytest.mark.parametrize("kind", ["transport", "producer", "consumer"])
def test_a_child_that_is_gone_already_is_of_no_consequence(kind: Any) -> None:
    child: Any = f"{kind}/gone"
    live().when(ChildClosed(child=child, reason="requested")).then_nothing()


def test_a_consumer_on_both_closings_goes_once() -> None:
    """A peer that consumes itself: its transport and its producer both take the consumer."""
    room = given(
        ROOM_DECIDER,
        OPENED,
        peer("host"),
        transport("send", "host", "send"),
        transport("recv", "host", "recv"),
        producer("track", "host", "send"),
        consumer("see", "host", "recv", "track"),
    )
    outcome = room.when(Leave(peer="host"))
    removed = [e.consumer for e in outcome.events if isinstance(e, events.ConsumerRemoved)]
    assert removed == ["see"]
    assert outcome.after.state.transports == {}


def test_streaming_goes_on_while_a_producer_is_left() -> None:
    room = live(producer("second", "host", "send", 1))
    outcome = room.when(ChildClosed(child=producer_address("track"), reason="requested"))
    assert outcome.after.state.streaming
    last = outcome.after.when(ChildClosed(child=producer_address("second"), reason="requested"))
    assert last.events[-1] == events.StreamingStopped(reason="requested")


def test_messages_for_another_kind_break_an_invariant() -> None:
    for message in (
        ProducerScore(producer="track", scores=(1,)),
        PauseProducer(peer="host", producer="track"),
        Close(reason="x"),
    ):
        with pytest.raises(AssertionError, match="a room takes no"):
            live().when(message)
    assert ROOM == "room"
