"""Given events of a consumer, when a message comes, then …"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.core.consumer import CONSUMER
from actors.core.decider import Act, Reply, ReplyStats, Tell
from protocol import events
from protocol.answers import Consumed, Done
from protocol.commands import (
    CloseConsumer,
    PauseConsumer,
    QueryConsumer,
    RequestConsumerKeyFrame,
    ResumeConsumer,
    SetPreferredLayers,
    SetPriority,
)
from protocol.ids import ROOM, consumer_address
from protocol.messages import (
    ChildClosed,
    Close,
    FaultNoticed,
    OpenConsumer,
    ProducerPauseChanged,
)
from protocol.notices import ConsumerFrozen, ConsumerScore, LayersChanged, OrderRefused
from protocol.orders import RequestKeyFrame, SetConsumer
from protocol.refusals import RefusalCode
from tests.contract import plane_rows
from tests.control.given import Given, given
from tests.control.samples import rtp_parameters

ROW = msgspec.structs.replace(plane_rows.consumer("c1"), paused=True)
FIELDS: dict[str, Any] = {
    "peer": "p1",
    "type": "simple",
    "rtp_parameters": rtp_parameters(),
    "row": ROW,
    "producer_paused": False,
}
OPEN = OpenConsumer(**FIELDS)
OPENED = events.ConsumerOpened(**FIELDS)
RESUMED = events.ConsumerResumed(consumer="c1", peer="p1", by="viewer")
RESUME, PAUSE, CLOSE, KEY_FRAME, QUERY = (
    kind(peer="p1", consumer="c1")
    for kind in (
        ResumeConsumer,
        PauseConsumer,
        CloseConsumer,
        RequestConsumerKeyFrame,
        QueryConsumer,
    )
)
PREFER = SetPreferredLayers(peer="p1", consumer="c1", spatial_layer=1, temporal_layer=2)
PRIORITIZE = SetPriority(peer="p1", consumer="c1", priority=9)
COMMANDS = [RESUME, PAUSE, CLOSE, KEY_FRAME, QUERY, PREFER, PRIORITIZE]
MESSAGES = [
    ProducerPauseChanged(producer="p", paused=True),
    LayersChanged(consumer="c1", spatial_layer=0, temporal_layer=1),
    ConsumerScore(consumer="c1", score=9, producer_score=10),
    OrderRefused(kind="consumer", id="c1", code="unknown_producer", message=""),
    Close(reason="producer_closed"),
]


def row_of(after: Given) -> SetConsumer:
    (row,) = after.rows
    assert isinstance(row, SetConsumer)
    return row


def test_opening_gives_parameters_and_a_paused_row() -> None:
    answer = Consumed(
        id="c1", producer="p", kind="video", rtp_parameters=rtp_parameters(), type="simple"
    )
    after = given(CONSUMER).when(OPEN).then(OPENED, Reply(answer))
    assert answer.paused
    assert after.rows == (ROW,)
    assert after.deadlines == {}
    assert not after.ended


def test_the_answer_says_whether_the_producer_is_paused() -> None:
    opening = msgspec.structs.replace(OPEN, producer_paused=True)
    outcome = given(CONSUMER).when(opening)
    (reply,) = outcome.effects
    assert reply.answer.producer_paused
    after = outcome.after.when(RESUME).then(RESUMED, Reply(Done()))
    assert row_of(after).paused


@pytest.mark.parametrize("message", [*COMMANDS, *MESSAGES], ids=lambda m: type(m).__name__)
def test_before_opening_and_after_closing_nothing_is_of_consequence(message: Any) -> None:
    given(CONSUMER).when(message).then_nothing()
    closed = given(CONSUMER, OPENED, events.ConsumerClosed(reason="requested"))
    closed.when(message).then_nothing()
    assert closed.ended
    assert closed.rows == given(CONSUMER).rows == ()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda m: type(m).__name__)
def test_another_peers_commands_are_refused(command: Any) -> None:
    other = msgspec.structs.replace(command, peer="p2")
    given(CONSUMER, OPENED).when(other).refused(RefusalCode.FORBIDDEN, "another peer")


def test_it_flows_once_its_viewer_resumed_it() -> None:
    given(CONSUMER, OPENED).when(PAUSE).then(Reply(Done()))
    after = given(CONSUMER, OPENED).when(RESUME).then(RESUMED, Reply(Done()))
    assert not row_of(after).paused
    after.when(RESUME).then(Reply(Done()))
    paused = events.ConsumerPaused(consumer="c1", peer="p1", by="viewer")
    assert row_of(after.when(PAUSE).then(paused, Reply(Done()))).paused


def test_it_stops_while_its_producer_is_paused() -> None:
    flowing = given(CONSUMER, OPENED, RESUMED)
    after = flowing.when(MESSAGES[0]).then(
        events.ConsumerPaused(consumer="c1", peer="p1", by="producer")
    )
    assert row_of(after).paused
    after.when(MESSAGES[0]).then_nothing()
    after = after.when(ProducerPauseChanged(producer="p", paused=False)).then(
        events.ConsumerResumed(consumer="c1", peer="p1", by="producer")
    )
    assert not row_of(after).paused


def test_either_of_the_two_pauses_holds_it() -> None:
    both = given(CONSUMER, OPENED, events.ConsumerPaused(consumer="c1", peer="p1", by="producer"))
    by_viewer = both.when(RESUME).then(RESUMED, Reply(Done()))
    assert row_of(by_viewer).paused
    resumed = ProducerPauseChanged(producer="p", paused=False)
    by_producer = both.when(resumed).then(
        events.ConsumerResumed(consumer="c1", peer="p1", by="producer")
    )
    assert row_of(by_producer).paused


def test_a_keyframe_is_asked_of_the_plane() -> None:
    given(CONSUMER, OPENED).when(KEY_FRAME).then(
        events.ViewerAskedKeyFrame(consumer="c1"),
        Act(RequestKeyFrame(consumer="c1")),
        Reply(Done()),
    )


def test_preferred_layers_change_the_row() -> None:
    after = (
        given(CONSUMER, OPENED)
        .when(PREFER)
        .then(events.ConsumerLayersPreferred(spatial_layer=1, temporal_layer=2), Reply(Done()))
    )
    row = row_of(after)
    assert (row.spatial_layer, row.temporal_layer) == (1, 2)
    after.when(PREFER).then(Reply(Done()))
    any_temporal = SetPreferredLayers(peer="p1", consumer="c1", spatial_layer=1)
    row = row_of(
        after.when(any_temporal).then(
            events.ConsumerLayersPreferred(spatial_layer=1, temporal_layer=None), Reply(Done())
        )
    )
    assert (row.spatial_layer, row.temporal_layer) == (1, None)


def test_a_priority_changes_the_row() -> None:
    assert row_of(given(CONSUMER, OPENED)).priority == 1
    after = (
        given(CONSUMER, OPENED)
        .when(PRIORITIZE)
        .then(events.ConsumerPrioritized(priority=9), Reply(Done()))
    )
    assert row_of(after).priority == 9
    after.when(PRIORITIZE).then(Reply(Done()))
    assert row_of(after.when(PREFER).after).priority == 9


def test_it_begins_with_the_priority_that_it_was_asked_for_with() -> None:
    opening = msgspec.structs.replace(OPEN, row=msgspec.structs.replace(ROW, priority=7))
    after = given(CONSUMER).when(opening).after
    assert row_of(after).priority == 7
    least = SetPriority(peer="p1", consumer="c1", priority=1)
    after.when(least).then(events.ConsumerPrioritized(priority=1), Reply(Done()))


def test_layers_that_are_sent_are_kept() -> None:
    after = (
        given(CONSUMER, OPENED)
        .when(MESSAGES[1])
        .then(
            events.ConsumerLayersChanged(
                consumer="c1", peer="p1", spatial_layer=0, temporal_layer=1
            )
        )
    )
    assert (after.state.spatial_layer, after.state.temporal_layer) == (0, 1)
    assert after.rows == (ROW,)


def test_why_layers_changed_is_kept_in_the_log() -> None:
    nothing = LayersChanged(
        consumer="c1", spatial_layer=None, temporal_layer=None, reason="bandwidth"
    )
    after = (
        given(CONSUMER, OPENED)
        .when(nothing)
        .then(
            events.ConsumerLayersChanged(
                consumer="c1",
                peer="p1",
                spatial_layer=None,
                temporal_layer=None,
                reason="bandwidth",
            )
        )
    )
    assert after.state.spatial_layer is None
    assert after.rows == (ROW,), "the viewer wants what it wanted"


def test_scores_are_kept_when_they_change() -> None:
    after = (
        given(CONSUMER, OPENED)
        .when(MESSAGES[2])
        .then(events.ConsumerScored(consumer="c1", peer="p1", score=9, producer_score=10))
    )
    after.when(MESSAGES[2]).then_nothing()


def test_a_freeze_is_a_fault_that_is_noted_when_it_begins_and_when_it_ends() -> None:
    fault = FaultNoticed(transport=ROW.transport, reason="consumer_frozen")
    frozen = ConsumerFrozen(consumer="c1", frozen=True)
    over = ConsumerFrozen(consumer="c1", frozen=False)
    given(CONSUMER, OPENED).when(over).then_nothing()
    after = (
        given(CONSUMER, OPENED)
        .when(frozen)
        .then(
            events.ConsumerFreezeChanged(consumer="c1", peer="p1", frozen=True),
            Tell(ROOM, fault),
        )
    )
    after.when(frozen).then_nothing()
    after = after.when(over).then(
        events.ConsumerFreezeChanged(consumer="c1", peer="p1", frozen=False)
    )
    assert after.rows == (ROW,)


def test_statistics_say_what_the_plane_does_not() -> None:
    given(CONSUMER, OPENED).when(QUERY).then(ReplyStats("c1", "video", "t-recv"))


def test_closing_by_request_tells_the_room_and_then_the_client() -> None:
    told = ChildClosed(child=consumer_address("c1"), reason="requested")
    after = (
        given(CONSUMER, OPENED)
        .when(CLOSE)
        .then(events.ConsumerClosed(reason="requested"), Tell(ROOM, told), Reply(Done()))
    )
    assert after.ended


def test_closing_by_the_room_tells_nobody() -> None:
    after = given(CONSUMER, OPENED).when(Close(reason="producer_closed"))
    assert after.then(events.ConsumerClosed(reason="producer_closed")).rows == ()


def test_a_refused_order_closes() -> None:
    told = ChildClosed(child=consumer_address("c1"), reason="order_refused")
    given(CONSUMER, OPENED).when(MESSAGES[3]).then(
        events.ConsumerClosed(reason="order_refused"), Tell(ROOM, told)
    )


def test_a_message_for_another_kind_breaks_an_invariant() -> None:
    with pytest.raises(AssertionError, match="takes no ChildClosed"):
        given(CONSUMER, OPENED).when(ChildClosed(child=ROOM, reason=""))
