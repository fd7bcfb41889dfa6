"""When the flight recorder is frozen: faults, operators, and the bounds of both."""

import pytest

from actors.core.consumer import CONSUMER
from actors.core.decider import Act, Context, Decision, Tell
from actors.core.producer import PRODUCER
from actors.core.recordings import PER_MINUTE_MAX, TRANSPORTS_MAX
from actors.core.room import ROOM_DECIDER
from actors.core.room_state import PeerEntry, RoomState, TransportEntry
from actors.core.transport import TRANSPORT, TransportState
from protocol import events
from protocol.commands import Rights
from protocol.ids import ROOM, Draw
from protocol.messages import CaptureRoom, FaultNoticed
from protocol.notices import (
    ConsumerFrozen,
    IceStateChanged,
    KeyFrameRequested,
    ProducerActivityChanged,
)
from protocol.orders import FreezeRecorder
from tests.control.samples import room_settings
from tests.unit.test_consumer_decider import OPEN as CONSUMER_OPEN
from tests.unit.test_producer_decider import OPEN as PRODUCER_OPEN

S = 1_000_000_000
SETTINGS = room_settings()
NOW_NS = 1_000 * S


def context(at_ns=NOW_NS):
    return Context(at_ns, Draw(lambda: bytes(16)))


def room(transports=3):
    entry = {
        f"t{n}": TransportEntry(peer="p1", direction="recv", worker=0) for n in range(transports)
    }
    peer = PeerEntry(name="", rights=Rights())
    return RoomState(settings=SETTINGS, peers={"p1": peer}, transports=entry)


def decide(state, message, at_ns=NOW_NS):
    decision = ROOM_DECIDER.decide(state, message, context(at_ns))
    assert isinstance(decision, Decision)
    for event in decision.events:
        state = ROOM_DECIDER.evolve(state, event)
    return [event.transport for event in decision.events], decision


def fault(transport="t0"):
    return FaultNoticed(transport=transport, reason="ice_lost")


def test_a_fault_freezes_the_recorder_at_the_position_of_its_event():
    _, decision = decide(room(), fault())
    assert decision == Decision(
        (events.RecordingRequested(transport="t0", peer="p1", reason="ice_lost", at_ns=NOW_NS),),
        (Act(FreezeRecorder(transport="t0", reason="ice_lost", position=1)),),
    )


def test_a_transport_is_recorded_once_in_thirty_seconds():
    state = room()
    assert decide(state, fault())[0] == ["t0"]
    assert decide(state, fault(), NOW_NS + 29 * S)[0] == []
    assert decide(state, fault("t1"), NOW_NS + 29 * S)[0] == ["t1"]
    assert decide(state, fault(), NOW_NS + 30 * S)[0] == ["t0"]


def test_a_storm_of_faults_is_bounded_for_the_room():
    state = room(1000)
    frozen = [name for n in range(1000) for name in decide(state, fault(f"t{n}"))[0]]
    assert len(frozen) == PER_MINUTE_MAX
    assert decide(state, fault("t999"), NOW_NS + 59 * S)[0] == []
    assert decide(state, fault("t999"), NOW_NS + 60 * S)[0] == ["t999"]
    assert len(state.recordings) <= PER_MINUTE_MAX


def test_a_fault_of_a_transport_that_is_gone_is_of_no_consequence():
    assert decide(room(), fault("t9"))[0] == []


def test_an_operator_gets_one_transport_or_the_first_of_all():
    assert decide(room(), CaptureRoom(transport="t2"))[0] == ["t2"]
    frozen, decision = decide(room(1000), CaptureRoom())
    assert len(frozen) == TRANSPORTS_MAX
    assert [effect.order.position for effect in decision.effects] == list(
        range(1, TRANSPORTS_MAX + 1)
    )


def test_an_operator_is_not_bound_by_the_faults_before():
    state = room(10)
    for n in range(10):
        decide(state, fault(f"t{n}"))
    assert decide(state, CaptureRoom(transport="t0"), NOW_NS + S)[0] == ["t0"]
    assert decide(state, CaptureRoom(transport="t0"), NOW_NS + S)[0] == []


def told(decider, opening, *notices):
    state = decider.initial()
    for event in decider.decide(state, opening, context()).events:
        state = decider.evolve(state, event)
    found = []
    for notice in notices:
        decision = decider.decide(state, notice, context())
        for event in decision.events:
            state = decider.evolve(state, event)
        found += [effect for effect in decision.effects if isinstance(effect, Tell)]
    return [tell.message.reason for tell in found if isinstance(tell.message, FaultNoticed)]


def test_a_frozen_consumer_is_a_fault_and_a_thawed_one_is_none():
    consumer = CONSUMER_OPEN.row.consumer
    frozen, thawed = (ConsumerFrozen(consumer=consumer, frozen=one) for one in (True, False))
    assert told(CONSUMER, CONSUMER_OPEN, frozen, frozen, thawed) == ["consumer_frozen"]


def test_silence_and_storms_of_a_producer_are_faults():
    producer = PRODUCER_OPEN.row.producer
    active, silent = (
        ProducerActivityChanged(producer=producer, active=one) for one in (True, False)
    )
    assert told(PRODUCER, PRODUCER_OPEN, active, silent) == ["publisher_silent"]
    asked = KeyFrameRequested(producer=producer, encoding=0, requests=3)
    storm = KeyFrameRequested(producer=producer, encoding=0, requests=3, storm=True)
    assert told(PRODUCER, PRODUCER_OPEN, asked, storm) == ["keyframe_storm"]


@pytest.mark.parametrize(
    ("before", "now", "faults"),
    [("connected", "disconnected", 1), ("disconnected", "failed", 0), ("new", "connected", 0)],
)
def test_lost_ice_is_a_fault_once(before, now, faults):
    state = TransportState(transport="t0", peer="p1", ice_state=before, settings=SETTINGS.transport)
    notice = IceStateChanged(transport="t0", state=now)
    decision = TRANSPORT.decide(state, notice, context())
    wanted = Tell(ROOM, FaultNoticed(transport="t0", reason="ice_lost"))
    assert decision.effects == (wanted,) * faults
