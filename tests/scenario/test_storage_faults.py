"""A log that cannot be written: nothing leaves, nothing acknowledged is lost, the rest goes on."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.kernel.letter import Answered
from protocol import events
from protocol.commands import (
    CreateTransport,
    Join,
    Leave,
    PauseConsumer,
    PauseProducer,
    QueryTransport,
    RestartIce,
)
from protocol.ids import ROOM, transport_address
from protocol.messages import EvictPeer
from protocol.notices import IceStateChanged
from protocol.refusals import Refusal, RefusalCode
from protocol.store_error import StoreError
from replay.store import ledger
from replay.store.errors import LogDamaged, StoreFull, StoreWriteFailed
from replay.store.ledger import APPEND_DRAFTS_MAX
from replay.store.memory import MemoryStore
from tests.control.samples import room_settings
from tests.control.stage import Stage, joined, staged


class Asking:
    """A request under way."""

    def __init__(self, stage: Stage, nursery: trio.Nursery, command: Any, room: str = "room"):
        self.outcomes: list[Answered | Refusal] = []
        nursery.start_soon(self._ask, stage, command, room)

    async def _ask(self, stage: Stage, command: Any, room: str) -> None:
        self.outcomes.append(await stage.request(command, room))

    @property
    def code(self) -> RefusalCode:
        (outcome,) = self.outcomes
        assert isinstance(outcome, Refusal)
        return outcome.code


async def test_nothing_leaves_before_it_is_durable(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host, other = await joined(stage), await joined(stage)
        send = await host.transport("send")
        told, orders = list(other.words), len(stage.plane.submitted)
        stage.store.hold_commits()
        asking = [
            Asking(stage, nursery, CreateTransport(peer=host.peer, direction="recv")),
            Asking(stage, nursery, RestartIce(peer=host.peer, transport=send)),
            Asking(stage, nursery, Leave(peer=host.peer)),
        ]
        await stage.settle()
        assert not any(one.outcomes for one in asking)
        assert other.words == told
        assert len(stage.plane.submitted) == orders
        assert stage.system.rooms()[0].peers == 2
        stage.store.release_commits()
        await stage.settle()
        assert all(one.outcomes for one in asking)
        assert other.words == [*told, "peerLeft"]
        await stage.check_rebuilt()
        stage.check_rows()


async def test_requests_are_refused_while_the_disk_is_full_and_met_afterwards(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        before = await stage.log_of()
        stage.store.fail_next_append(StoreFull("no space"))
        refusal = await stage.refused(CreateTransport(peer=host.peer, direction="send"))
        assert refusal.code == RefusalCode.STORAGE_UNAVAILABLE
        assert await stage.log_of() == before
        assert not stage.plane.table.transports
        send = await host.transport("send")
        assert send in stage.plane.table.transports
        await stage.check_rebuilt()


async def test_what_the_house_itself_says_is_kept_until_the_disk_has_space(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        for _ in range(3):
            stage.store.fail_next_append(StoreFull("no space"))
            if transport_address(send) in stage.actors():
                stage.plane.inject(
                    IceStateChanged(transport=send, state="connected", remote="192.0.2.9:1")
                )
            await stage.settle()
            assert stage.actor(transport_address(send)).state.ice_state == "new"
            await trio.sleep(0.3)
        await trio.sleep(2)
        assert stage.actor(transport_address(send)).state.ice_state == "connected"
        learned = [e for e in await stage.events_of() if isinstance(e, events.IceChanged)]
        assert len(learned) == 1
        await stage.check_rebuilt()


async def test_requests_do_not_wait_behind_what_is_kept(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")
        for _ in range(4):
            stage.store.fail_next_append(StoreFull("no space"))
        stage.plane.inject(IceStateChanged(transport=send, state="connected", remote="192.0.2.9:1"))
        await stage.settle()
        asking = Asking(stage, nursery, RestartIce(peer=host.peer, transport=send))
        await trio.sleep(1)
        assert asking.code == RefusalCode.STORAGE_UNAVAILABLE
        await trio.sleep(2)
        assert stage.actor(transport_address(send)).state.ice_state == "connected"
        await stage.met(RestartIce(peer=host.peer, transport=send))
        await stage.check_rebuilt()


async def test_a_start_survives_a_full_disk_and_its_client_is_answered_once(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, nursery):
        host = await joined(stage)
        stage.store.hold_commits()
        asking = Asking(stage, nursery, CreateTransport(peer=host.peer, direction="send"))
        await stage.settle()
        stage.store.release_commits()
        # The room's append becomes durable first, then the transport's own fails.
        while len(stage.actors()) == 1:
            await trio.lowlevel.checkpoint()
        stage.store.fail_next_append(StoreWriteFailed("an error"))
        await stage.settle()
        assert not asking.outcomes
        await trio.sleep(1)
        assert len(asking.outcomes) == 1
        assert isinstance(asking.outcomes[0], Answered)
        assert len(stage.plane.table.transports) == 1
        await stage.check_rebuilt()


async def test_a_batch_of_requests_and_own_letters_keeps_only_the_latter(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, nursery):
        first, second = await joined(stage), await joined(stage)
        position = stage.store.next_position("room")
        stage.store.hold_commits()
        stage.system.post("room", EvictPeer(peer="nobody", reason="evicted"))
        await stage.settle()
        asked = Asking(stage, nursery, CreateTransport(peer=first.peer, direction="send"))
        await stage.settle()
        stage.system.post("room", EvictPeer(peer=second.peer, reason="evicted"))
        also = Asking(stage, nursery, CreateTransport(peer=first.peer, direction="recv"))
        await stage.settle()
        stage.store.release_commits()
        while not await stage.log_of(after=position - 1):
            pass
        stage.store.fail_next_append(StoreFull("no space"))
        await stage.settle()
        assert asked.code == also.code == RefusalCode.STORAGE_UNAVAILABLE
        await trio.sleep(1)
        assert list(stage.actor(ROOM).state.peers) == [first.peer]
        assert first.heard("peerLeft") == [{"peer": second.peer, "reason": "evicted"}]


async def test_a_store_that_is_behind_refuses_requests_as_overloaded(autojump_clock: Any) -> None:
    async with staged(store=MemoryStore(pending_envelopes_max=4)) as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")
        stage.store.hold_commits()
        waiting = Asking(stage, nursery, CreateTransport(peer=host.peer, direction="recv"))
        await stage.settle()
        overloaded = [
            Asking(stage, nursery, RestartIce(peer=host.peer, transport=send)) for _ in range(3)
        ]
        await stage.settle()
        assert [one.code for one in overloaded] == [RefusalCode.OVERLOADED] * 3
        stage.store.release_commits()
        await stage.settle()
        assert isinstance(waiting.outcomes[0], Answered)
        await stage.check_rebuilt()
        stage.check_rows()


async def test_a_deadline_of_a_decision_that_was_not_written_causes_nothing(
    autojump_clock: Any,
) -> None:
    """Its position was given to something else since, or to nothing yet."""
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        actor = stage.actor(transport_address(send))
        stage.plane.inject(IceStateChanged(transport=send, state="failed"))
        await stage.settle()
        stage.store.fail_next_append(StoreFull("no space"))
        stage.plane.inject(IceStateChanged(transport=send, state="failed", remote="192.0.2.9:1"))
        await stage.settle()
        causes = dict(actor._deadline_causes)
        assert causes["ice"] < stage.store.next_position("room")
        await trio.sleep(60)
        assert send not in stage.plane.table.transports
        stage.check_calm()


@pytest.mark.parametrize(
    "error",
    [LogDamaged("room", 5, "a hash is wrong"), LogDamaged(None, None, "the file is broken")],
    ids=["of the room", "of the store"],
)
async def test_a_damaged_log_ends_its_room_and_no_other(
    autojump_clock: Any, error: StoreError
) -> None:
    async with staged() as (stage, nursery):
        host, viewer = await joined(stage), await joined(stage)
        other = await joined(stage, room="other")
        send, recv = await host.transport("send"), await viewer.transport("recv")
        producer = await host.produce(send)
        consumer = await viewer.consume(recv, producer)
        await other.transport("send")
        stage.store.fail_next_append(error, "room")
        asking = [
            Asking(stage, nursery, CreateTransport(peer=host.peer, direction="recv")),
            Asking(stage, nursery, Join(room="room")),
            Asking(stage, nursery, PauseProducer(peer=host.peer, producer=producer)),
            Asking(stage, nursery, PauseConsumer(peer=viewer.peer, consumer=consumer)),
        ]
        await stage.settle()
        assert {one.code for one in asking} == {RefusalCode.LOG_DAMAGED}
        assert stage.system.feed("room") is None
        assert list(stage.plane.table.transports) == list(
            stage.actor(ROOM, "other").state.transports
        )
        assert "room_lost" in stage.log.names()
        await other.produce(next(iter(stage.plane.table.transports)))


async def test_joining_a_room_whose_log_is_damaged_is_refused(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        await joined(stage)
        stage.store.fail_next_append(LogDamaged("room", 2, "a hash is wrong"), "room")
        assert (await stage.refused(Join(room="room"))).code == RefusalCode.LOG_DAMAGED
        assert (await stage.refused(Join(room="room"))).code == RefusalCode.LOG_DAMAGED
        assert not stage.system.rooms()
        await joined(stage, room="other")


async def test_a_room_that_is_given_up_answers_what_is_under_way(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request is answered, also one whose append hangs when the room is given up."""
    async with staged() as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")
        stage.store.hold_commits()
        in_flight = Asking(stage, nursery, RestartIce(peer=host.peer, transport=send))
        await stage.settle()
        behind = Asking(stage, nursery, RestartIce(peer=host.peer, transport=send))
        await stage.settle()
        stage.runtime().actors[ROOM].mailbox._letters_max = 0
        stage.system.post("room", EvictPeer(peer=host.peer, reason="evicted"))
        await stage.settle()
        assert in_flight.code == behind.code == RefusalCode.INTERNAL_ERROR
        assert not stage.plane.table.transports
        assert "mailbox_overflow" in stage.log.names()
        stage.store.release_commits()
        await stage.settle()
        assert not stage.plane.table.transports


async def test_a_question_for_statistics_is_answered_when_its_room_is_given_up(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    async with staged() as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")

        async def never(_ids: Any) -> Any:
            await trio.sleep_forever()

        monkeypatch.setattr(stage.plane, "query_stats", never)
        asking = Asking(stage, nursery, QueryTransport(peer=host.peer, transport=send))
        await stage.settle()
        assert not asking.outcomes
        stage.store.fail_next_append(LogDamaged("room", 2, "a hash is wrong"), "room")
        stage.system.post("room", EvictPeer(peer=host.peer, reason="evicted"))
        await stage.settle()
        assert asking.code == RefusalCode.LOG_DAMAGED


async def test_the_largest_decision_of_the_usual_limits_fits_into_one_append() -> None:
    settings = room_settings()
    assert settings.producers_per_peer_max * (settings.peers_max + 1) + 10 < APPEND_DRAFTS_MAX


async def test_a_decision_that_no_log_may_hold_is_the_fault_of_its_actor(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found among the others of its batch, which are met."""
    monkeypatch.setattr(ledger, "APPEND_DRAFTS_MAX", 9)
    async with staged() as (stage, nursery):
        host, viewer = await joined(stage), await joined(stage)
        send, recv = await host.transport("send"), await viewer.transport("recv")
        producer = await host.produce(send)
        for _ in range(9):
            await viewer.consume(recv, producer)
        stage.store.hold_commits()
        stage.system.post("room", EvictPeer(peer="nobody", reason="evicted"))
        await stage.settle()
        fine = [Asking(stage, nursery, CreateTransport(peer=host.peer, direction="send"))]
        await stage.settle()
        broken = Asking(stage, nursery, Leave(peer=host.peer))
        await stage.settle()
        fine += [Asking(stage, nursery, CreateTransport(peer=host.peer, direction="send"))]
        await stage.settle()
        stage.store.release_commits()
        await stage.settle()
        assert broken.code == RefusalCode.INTERNAL_ERROR
        assert all(isinstance(one.outcomes[0], Answered) for one in fine)
        await stage.check_rebuilt()
        stage.check_rows()
