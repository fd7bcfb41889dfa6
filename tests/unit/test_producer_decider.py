"""Given events of a producer, when a message comes, then …"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.core.decider import Reply, ReplyStats, Tell
from actors.core.producer import PRODUCER, BoundStream
from protocol import events
from protocol.answers import Done, Produced
from protocol.commands import CloseProducer, PauseProducer, QueryProducer, ResumeProducer
from protocol.ids import ROOM, producer_address
from protocol.messages import (
    ChildClosed,
    Close,
    FaultNoticed,
    OpenProducer,
    ProducerPauseChanged,
    ProducerWentLive,
)
from protocol.notices import (
    KeyFrameRequested,
    OrderRefused,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.refusals import RefusalCode
from tests.contract import plane_rows
from tests.control.given import given

ROW = plane_rows.producer("s1")
OPEN = OpenProducer(peer="p1", row=ROW)
OPENED = events.ProducerOpened(peer="p1", row=ROW)
PAUSED = events.ProducerPaused(producer="s1", peer="p1")
COMMANDS = [
    kind(peer="p1", producer="s1")
    for kind in (PauseProducer, ResumeProducer, CloseProducer, QueryProducer)
]
PAUSE, RESUME, CLOSE, QUERY = COMMANDS
MESSAGES = [
    ProducerStreamLearned(producer="s1", encoding=0, ssrc=5),
    ProducerActivityChanged(producer="s1", active=True),
    ProducerScore(producer="s1", scores=(10,)),
    ProducerDemandChanged(producer="s1", spatial_layer=None),
    KeyFrameRequested(producer="s1", encoding=0, requests=3),
    OrderRefused(kind="producer", id="s1", code="unknown_transport", message=""),
    Close(reason="transport_closed"),
]


def test_opening_gives_an_id_and_a_row() -> None:
    after = given(PRODUCER).when(OPEN).then(OPENED, Reply(Produced(id="s1")))
    assert after.rows == (ROW,)
    assert after.deadlines == {}
    assert not after.ended


def test_a_producer_may_begin_paused() -> None:
    row = msgspec.structs.replace(ROW, paused=True)
    after = given(PRODUCER, events.ProducerOpened(peer="p1", row=row))
    assert after.rows == (row,)
    after.when(PAUSE).then(Reply(Done()))


@pytest.mark.parametrize("message", [*COMMANDS, *MESSAGES], ids=lambda m: type(m).__name__)
def test_before_opening_and_after_closing_nothing_is_of_consequence(message: Any) -> None:
    given(PRODUCER).when(message).then_nothing()
    closed = given(PRODUCER, OPENED, events.ProducerClosed(reason="requested"))
    closed.when(message).then_nothing()
    assert closed.ended
    assert closed.rows == given(PRODUCER).rows == ()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda m: type(m).__name__)
def test_another_peers_commands_are_refused(command: Any) -> None:
    other = msgspec.structs.replace(command, peer="p2")
    given(PRODUCER, OPENED).when(other).refused(RefusalCode.FORBIDDEN, "another peer")


def test_pausing_tells_client_and_room_and_changes_the_row() -> None:
    told = ProducerPauseChanged(producer="s1", paused=True)
    after = given(PRODUCER, OPENED).when(PAUSE).then(PAUSED, Reply(Done()), Tell(ROOM, told))
    assert after.rows == (msgspec.structs.replace(ROW, paused=True),)
    after.when(PAUSE).then(Reply(Done()))


def test_resuming_tells_client_and_room_and_changes_the_row_back() -> None:
    told = ProducerPauseChanged(producer="s1", paused=False)
    after = (
        given(PRODUCER, OPENED, PAUSED)
        .when(RESUME)
        .then(events.ProducerResumed(producer="s1", peer="p1"), Reply(Done()), Tell(ROOM, told))
    )
    assert after.rows == (ROW,)
    after.when(RESUME).then(Reply(Done()))


def test_closing_by_request_tells_the_room_and_then_the_client() -> None:
    told = ChildClosed(child=producer_address("s1"), reason="requested")
    after = (
        given(PRODUCER, OPENED)
        .when(CLOSE)
        .then(events.ProducerClosed(reason="requested"), Tell(ROOM, told), Reply(Done()))
    )
    assert after.ended


def test_closing_by_the_room_tells_nobody() -> None:
    after = given(PRODUCER, OPENED).when(Close(reason="transport_closed"))
    assert after.then(events.ProducerClosed(reason="transport_closed")).rows == ()


def test_a_refused_order_closes() -> None:
    told = ChildClosed(child=producer_address("s1"), reason="order_refused")
    given(PRODUCER, OPENED).when(MESSAGES[5]).then(
        events.ProducerClosed(reason="order_refused"), Tell(ROOM, told)
    )


def test_statistics_say_what_the_plane_does_not() -> None:
    given(PRODUCER, OPENED).when(QUERY).then(ReplyStats("s1", "video", "t-send"))


def test_learned_streams_are_kept_by_encoding() -> None:
    after = (
        given(PRODUCER, OPENED)
        .when(MESSAGES[0])
        .then(events.ProducerStreamBound(encoding=0, ssrc=5, rtx_ssrc=None))
    )
    after = after.when(ProducerStreamLearned(producer="s1", encoding=1, ssrc=6, rtx_ssrc=7)).then(
        events.ProducerStreamBound(encoding=1, ssrc=6, rtx_ssrc=7)
    )
    assert after.state.bound == {"0": BoundStream(5, None), "1": BoundStream(6, 7)}
    assert after.rows == (ROW,)


def test_first_packets_are_told_to_the_room_and_silence_is_a_fault() -> None:
    silent = ProducerActivityChanged(producer="s1", active=False)
    given(PRODUCER, OPENED).when(silent).then_nothing()
    after = (
        given(PRODUCER, OPENED)
        .when(MESSAGES[1])
        .then(events.ProducerActive(active=True), Tell(ROOM, ProducerWentLive(producer="s1")))
    )
    after.when(MESSAGES[1]).then_nothing()
    fault = FaultNoticed(transport=ROW.transport, reason="publisher_silent")
    after.when(silent).then(events.ProducerActive(active=False), Tell(ROOM, fault))


def test_silence_of_a_paused_producer_is_no_fault() -> None:
    silent = ProducerActivityChanged(producer="s1", active=False)
    after = given(PRODUCER, OPENED, PAUSED, events.ProducerActive(active=True)).when(silent)
    after.then(events.ProducerActive(active=False))


def demand(layer: int | None) -> tuple[ProducerDemandChanged, events.ProducerDemandNoted]:
    """What the plane tells, and what is noted of it."""
    return (
        ProducerDemandChanged(producer="s1", spatial_layer=layer),
        events.ProducerDemandNoted(producer="s1", peer="p1", spatial_layer=layer),
    )


def test_the_demand_is_noted_when_it_changes_and_all_is_wanted_at_first() -> None:
    row = msgspec.structs.replace(ROW, encodings=ROW.encodings * 3)
    after = given(PRODUCER, events.ProducerOpened(peer="p1", row=row))
    after.when(demand(2)[0]).then_nothing()
    told, noted = demand(0)
    after = after.when(told).then(noted)
    after.when(told).then_nothing()
    assert after.rows == (row,)
    told, noted = demand(None)
    after = after.when(told).then(noted)
    told, noted = demand(2)
    after.when(told).then(noted)


def test_silence_of_what_nobody_takes_is_no_fault_and_of_what_is_wanted_again_is_one() -> None:
    silent = ProducerActivityChanged(producer="s1", active=False)
    active = events.ProducerActive(active=True)
    rests = given(PRODUCER, OPENED, active, demand(None)[1])
    rests.when(silent).then(events.ProducerActive(active=False))
    fault = FaultNoticed(transport=ROW.transport, reason="publisher_silent")
    again = given(PRODUCER, OPENED, active, demand(None)[1], demand(0)[1])
    again.when(silent).then(events.ProducerActive(active=False), Tell(ROOM, fault))


def test_a_publisher_that_rests_and_does_not_come_when_it_is_wanted_is_at_fault_once() -> None:
    silent = ProducerActivityChanged(producer="s1", active=False)
    flows, quiet = (events.ProducerActive(active=one) for one in (True, False))
    rests = given(PRODUCER, OPENED, flows, demand(None)[1], quiet)
    rests.when(silent).then_nothing()
    fault = FaultNoticed(transport=ROW.transport, reason="publisher_silent")
    wanted = given(PRODUCER, OPENED, flows, demand(None)[1], quiet, demand(0)[1])
    after = wanted.when(silent).then(quiet, Tell(ROOM, fault))
    after.when(silent).then_nothing()
    woken = given(PRODUCER, OPENED, flows, demand(None)[1], quiet, demand(0)[1], flows)
    woken.when(silent).then(quiet, Tell(ROOM, fault))


def test_scores_are_kept_when_they_change() -> None:
    scored = events.ProducerScored(producer="s1", peer="p1", scores=(10,))
    after = given(PRODUCER, OPENED).when(MESSAGES[2]).then(scored)
    after.when(MESSAGES[2]).then_nothing()


def test_keyframe_requests_are_noted() -> None:
    given(PRODUCER, OPENED).when(MESSAGES[4]).then(events.KeyFrameAsked(encoding=0, requests=3))
    why = ("began", "clock")
    asked = KeyFrameRequested(producer="s1", encoding=1, requests=2, causes=why)
    told = events.KeyFrameAsked(encoding=1, requests=2, causes=why)
    given(PRODUCER, OPENED).when(asked).then(told)


def test_a_message_for_another_kind_breaks_an_invariant() -> None:
    with pytest.raises(AssertionError, match="takes no ChildClosed"):
        given(PRODUCER, OPENED).when(ChildClosed(child=ROOM, reason=""))


def test_of_a_stream_with_layers_inside_the_highest_of_them_is_wanted_at_first() -> None:
    opened = events.ProducerOpened(peer="p1", row=ROW, top_layer=2)
    given(PRODUCER).when(OpenProducer(peer="p1", row=ROW, top_layer=2)).then(
        opened, Reply(Produced(id="s1"))
    )
    after = given(PRODUCER, opened)
    after.when(demand(2)[0]).then_nothing()
    told, noted = demand(0)
    after = after.when(told).then(noted)
    told, noted = demand(1)
    after.when(told).then(noted)
