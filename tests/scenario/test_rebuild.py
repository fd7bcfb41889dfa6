"""The log is the truth: what lives can be built, decided and recovered from it alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.core import deciders
from actors.core.deciders import decider_at
from actors.core.recovery import rebuild
from actors.kernel.feed import event_in
from protocol import codec, events
from protocol.commands import Leave
from protocol.envelope import Draft, Envelope
from protocol.ids import ROOM, Address
from protocol.orders import Remove
from replay.redecide import redecide
from replay.store.memory import MemoryStore
from tests.control.scenarios import SCENARIOS, Scenario, live, lost_and_resumed, publish_and_watch
from tests.control.stage import Stage, joined, staged

per_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)


def run_stage(act: Any, **options: Any) -> Any:
    """Run on a stage under a clock that jumps; a test may do so many times over."""

    async def main() -> Any:
        async with staged(**options) as (stage, nursery):
            result = await act(stage, nursery)
            stage.check_calm()
            return result

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def log_of(scenario: Scenario) -> list[Envelope]:
    async def act(stage: Stage, nursery: trio.Nursery) -> list[Envelope]:
        await scenario(stage, nursery)
        await stage.settle()
        return await stage.log_of()

    return list(run_stage(act))


@per_scenario
def test_states_built_from_the_log_are_those_that_live(scenario: Scenario) -> None:
    async def act(stage: Stage, nursery: trio.Nursery) -> None:
        await scenario(stage, nursery)
        await stage.settle()
        await stage.check_rebuilt()
        stage.check_rows()
        stage.check_links()
        assert await stage.store.verify_chain("room") == await stage.store.head("room")

    run_stage(act)


@per_scenario
def test_messages_decided_again_give_the_same_events(scenario: Scenario) -> None:
    log = log_of(scenario)
    verdict = redecide(log)
    assert verdict.divergence is None, str(verdict.divergence)
    assert verdict.messages == sum(envelope.kind == "message" for envelope in log)
    assert verdict.failures == 0


@per_scenario
def test_the_log_says_what_caused_each_thing(scenario: Scenario) -> None:
    log = log_of(scenario)
    by_position = {envelope.position: envelope for envelope in log}
    outside = {"OpenRoom", "SocketLost", "EvictPeer", "PlaneStarted", "PlaneStopped"}
    for envelope in log:
        if envelope.cause is not None:
            assert by_position[envelope.cause].kind == "message"
            cause = by_position[envelope.cause]
            assert envelope.type == "TimerFired" or cause.correlation == envelope.correlation
        elif envelope.correlation is None:
            kind = type(codec.decode(envelope.type, envelope.version, envelope.data))
            assert envelope.type in outside | {"ControlRestarted"} or kind.__module__ == (
                "protocol.notices"
            ), envelope.type


def changed(log: list[Envelope], position: int, **fields: Any) -> list[Envelope]:
    return [msgspec.structs.replace(e, **fields) if e.position == position else e for e in log]


def first(log: list[Envelope], type_name: str) -> Envelope:
    return next(envelope for envelope in log if envelope.type == type_name)


def test_an_event_that_was_changed_is_the_first_divergence() -> None:
    log = log_of(publish_and_watch)
    event = first(log, "ProducerOpened")
    other = codec.encode(
        msgspec.structs.replace(codec.decode(event.type, 1, event.data), peer="another")
    )
    divergence = redecide(changed(log, event.position, data=other)).divergence
    assert divergence is not None
    assert (divergence.position, divergence.message) == (event.cause, "OpenProducer")
    assert divergence.index == 0
    assert str(divergence) == (
        f"position {event.cause}, {event.actor}: OpenProducer gave ProducerOpened as event 1, "
        "and gives another ProducerOpened"
    )


def test_other_entropy_is_a_divergence() -> None:
    log = log_of(publish_and_watch)
    message = first(log, "CreateTransport")
    divergence = redecide(changed(log, message.position, entropy=bytes(16))).divergence
    assert divergence is not None
    assert divergence.position == message.position
    divergence = redecide(changed(log, message.position, entropy=b"")).divergence
    assert divergence is not None
    assert divergence.error is not None
    silent = first(log, "CloseProducer")
    assert redecide(changed(log, silent.position, entropy=bytes(16))).divergence is not None


def test_another_time_is_a_divergence() -> None:
    log = log_of(lost_and_resumed)
    message = first(log, "SocketLost")
    later = [
        msgspec.structs.replace(e, at_ns=e.at_ns + 1)
        if message.position in (e.position, e.cause)
        else e
        for e in log
    ]
    divergence = redecide(later).divergence
    assert divergence is not None
    assert divergence.position == message.position


def test_a_lost_event_and_one_too_many_are_divergences() -> None:
    log = log_of(publish_and_watch)
    message = first(log, "CloseProducer")
    caused = [e for e in log if e.cause == message.position and e.kind == "event"]
    fewer = [e for e in log if e.position != caused[-1].position]
    divergence = redecide(fewer).divergence
    assert divergence is not None
    assert divergence.position == message.position
    assert len(divergence.decided) == len(divergence.recorded) + 1
    alone = [e for e in log if e.position != message.position]
    stray = redecide(alone).divergence
    assert stray is not None
    assert stray.message == "no message"
    assert stray.position == caused[0].position


def test_a_message_that_the_code_refuses_to_read_is_a_divergence() -> None:
    log = log_of(publish_and_watch)
    message = first(log, "CreateTransport")
    divergence = redecide(changed(log, message.position, type="Unheard")).divergence
    assert divergence is not None
    assert divergence.error == "UnknownType: Unheard version 1"


async def test_failures_of_then_are_counted_and_not_decided_again(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = deciders._DECIDERS["room"]

    def decide(state: Any, message: Any, context: Any) -> Any:
        assert not isinstance(message, Leave)
        return whole.decide(state, message, context)

    async with staged() as (stage, _):
        monkeypatch.setitem(deciders._DECIDERS, "room", whole._replace(decide=decide))
        host = await joined(stage)
        for _ in range(4):
            await stage.refused(Leave(peer=host.peer))
        monkeypatch.undo()
        await joined(stage)
        verdict = redecide(await stage.log_of())
    assert verdict.divergence is None, str(verdict.divergence)
    assert verdict.failures == 4


def store_with(log: list[Envelope]) -> MemoryStore:
    """A store that ends with the last of some envelopes; must run within trio."""
    store = MemoryStore()
    fields = Draft.__struct_fields__
    drafts = [Draft(**{name: getattr(e, name) for name in fields}) for e in log]
    store.append_nowait("room", drafts)
    return store


def appends(log: list[Envelope]) -> list[int]:
    """Positions at which a crash can leave the log: the ends of decisions.

    An append is written whole or not at all, and a decision is never parted over two.
    """
    ends = [before.position for before, after in pairwise(log) if after.kind == "message"]
    return [*ends, log[-1].position]


@per_scenario
def test_a_room_recovers_from_every_position_of_its_log(scenario: Scenario) -> None:
    log = log_of(scenario)
    for position in appends(log):
        run_recovery(log[:position])


def run_recovery(log: list[Envelope]) -> None:
    """Recover from a log whose process died; with a plane that has nothing, it closes in time."""

    async def main() -> None:
        stage = Stage(store=store_with(log), epoch_ns=log[-1].at_ns)
        await stage.settle()
        async with trio.open_nursery() as nursery:
            await stage.start(nursery)
            await stage.settle()
            where = f"after position {len(log)}"
            stage.check_links()
            stage.check_rows()
            await stage.check_rebuilt()
            verdict = redecide(await stage.log_of())
            assert verdict.divergence is None, f"{where}: {verdict.divergence}"
            for runtime in stage.system._rooms.values():
                state = runtime.actors[ROOM].state
                assert set(state.leaving) == set(state.peers), where
                assert state.peers or state.closes_at_ns is not None, where
                for producer in state.producers.values():
                    assert producer.transport in state.transports
            assert not stage.plane.table.transports, "a fresh plane carried none of it"
            await trio.sleep(20)
            assert not stage.system.rooms(), f"{where}: rooms end after their grace"
            assert not stage.system._rooms
            assert not stage.system._homes
            assert not stage.system._timers._set
            closed = [e for e in await stage.events_of() if isinstance(e, events.RoomClosed)]
            assert closed
            stage.check_calm()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@per_scenario
def test_a_plane_that_went_on_is_taken_over_at_every_position(scenario: Scenario) -> None:
    """The plane has what the log said at some position; the log may have gone on since."""
    log = log_of(scenario)
    positions = appends(log)
    for told, written in pairwise(positions):
        run_takeover(log[:told], log[:written])


def run_takeover(told: list[Envelope], written: list[Envelope]) -> None:
    async def main() -> None:
        stage = Stage(store=store_with(written))
        await stage.settle()
        states = rebuild((Address(e.actor), event_in(e)) for e in told if e.kind == "event")
        for address, state in states.items():
            stage.plane.submit(decider_at(address).rows(state))
        stage.plane.lose_connection()
        while stage.plane.notices.statistics().current_buffer_used:
            stage.plane.notices.receive_nowait()
        stage.plane.restart()
        async with trio.open_nursery() as nursery:
            await stage.start(nursery)
            await stage.settle()
            stage.check_links()
            stage.check_rows()
            await stage.check_rebuilt()
            stage.check_calm()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_taking_over_a_plane_leaves_alone_what_it_carries() -> None:
    """Not a moment goes by in which a row that is wanted is not there."""

    async def act(stage: Stage, nursery: trio.Nursery) -> None:
        await live(stage)
        before = len(stage.plane.submitted)
        await stage.restart(nursery)
        assert not [o for o in stage.plane.submitted[before:] if isinstance(o, Remove)]
        assert stage.plane.table.consumers

    run_stage(act)
