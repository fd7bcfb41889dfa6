"""Deciders that raise: one message costs one answer, and a fault that stays ends its actor."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.core import deciders
from actors.core.decider import Decider
from actors.kernel.actor import Actor
from protocol import events
from protocol.answers import Done
from protocol.commands import (
    CreateTransport,
    Join,
    Leave,
    PauseConsumer,
    PauseProducer,
    RestartIce,
    ResumeProducer,
)
from protocol.ids import ROOM, producer_address, transport_address
from protocol.messages import EvictPeer
from protocol.notices import IceTupleChanged, ProducerScore
from protocol.refusals import RefusalCode
from tests.control.samples import S
from tests.control.stage import Client, Stage, joined, staged


@pytest.fixture
def break_decider(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the decider of a kind raise on messages, or in folding events, of a type.

    Actors that there are already keep theirs, unless one is given.
    """

    def break_it(kind: str, what: type, actor: Actor | None = None) -> None:
        whole: Decider = deciders._DECIDERS[kind]

        def decide(state: Any, message: Any, context: Any) -> Any:
            if isinstance(message, what):
                raise KeyError("a secret")
            return whole.decide(state, message, context)

        def evolve(state: Any, event: Any) -> Any:
            if isinstance(event, what):
                raise ZeroDivisionError
            return whole.evolve(state, event)

        broken = whole._replace(decide=decide, evolve=evolve)
        monkeypatch.setitem(deciders._DECIDERS, kind, broken)
        if actor is not None:
            monkeypatch.setattr(actor, "_decider", broken)

    return break_it


async def host_and_viewer(stage: Stage) -> tuple[Client, Client, str, str, str, str]:
    host, viewer = await joined(stage, "host"), await joined(stage, "viewer")
    send, recv = await host.transport("send"), await viewer.transport("recv")
    producer = await host.produce(send)
    consumer = await viewer.consume(recv, producer)
    return host, viewer, send, recv, producer, consumer


async def test_a_request_that_breaks_its_actor_is_answered_and_costs_nothing_else(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("transport", RestartIce)
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        refusal = await stage.refused(RestartIce(peer=host.peer, transport=send))
        assert refusal.code == RefusalCode.INTERNAL_ERROR
        failed = [e for e in await stage.events_of() if isinstance(e, events.ActorFailed)]
        assert [(e.message, e.failures) for e in failed] == [("RestartIce", 1)]
        assert "KeyError in decide" in failed[0].error
        assert "secret" not in failed[0].error
        await host.produce(send)
        await stage.check_rebuilt()
        stage.check_rows()


async def test_an_actor_goes_on_from_its_events_when_evolving_broke_it(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("transport", events.IceRestarting)
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        refusal = await stage.refused(RestartIce(peer=host.peer, transport=send))
        assert refusal.code == RefusalCode.INTERNAL_ERROR
        assert stage.plane.table.transports[send].ice[0].ufrag
        stage.check_rows()


async def test_messages_around_the_one_that_breaks_are_met_in_order(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("room", EvictPeer)
    async with staged() as (stage, nursery):
        first = await joined(stage)
        answers: list[Any] = []

        async def ask(command: Any) -> None:
            answers.append(await stage.request(command))

        nursery.start_soon(ask, CreateTransport(peer=first.peer, direction="send"))
        stage.system.post("room", EvictPeer(peer=first.peer, reason="evicted"))
        nursery.start_soon(ask, CreateTransport(peer=first.peer, direction="recv"))
        await stage.settle()
        assert len(answers) == 2
        assert len(stage.actor(ROOM).state.transports) == 2
        await stage.check_rebuilt()


async def test_a_transport_that_fails_again_and_again_is_closed(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("transport", IceTupleChanged)
    async with staged() as (stage, _):
        host, viewer, send, _recv, producer, consumer = await host_and_viewer(stage)
        for number in range(4):
            assert transport_address(send) in stage.actors()
            stage.plane.inject(IceTupleChanged(transport=send, remote=f"192.0.2.9:{number + 1}"))
            await stage.settle()
        assert transport_address(send) not in stage.actors()
        assert host.heard("transportClosed") == [{"transport": send, "reason": "actor_failed"}]
        assert viewer.heard("producerClosed") == [
            {"producer": producer, "reason": "transport_closed"}
        ]
        assert viewer.heard("consumerClosed") == [
            {"consumer": consumer, "reason": "producer_closed"}
        ]
        await stage.check_rebuilt()
        stage.check_links()
        stage.check_rows()


async def test_failures_far_apart_are_survived(autojump_clock: Any, break_decider: Any) -> None:
    break_decider("producer", ProducerScore)
    async with staged() as (stage, _):
        host = await joined(stage)
        producer = await host.produce(await host.transport("send"))
        for number in range(8):
            stage.plane.inject(ProducerScore(producer=producer, scores=(number,)))
            await stage.settle()
            await trio.sleep(20.1)
        assert producer_address(producer) in stage.actors()
        failed = [e.failures for e in await stage.events_of() if isinstance(e, events.ActorFailed)]
        assert failed == [1, 2, 3, 3, 3, 3, 3, 3]


async def test_a_room_that_fails_again_and_again_is_closed_with_all_that_is_in_it(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("room", Leave)
    async with staged() as (stage, _):
        host, viewer, *_ = await host_and_viewer(stage)
        for _ in range(3):
            assert (await stage.refused(Leave(peer=host.peer))).code == RefusalCode.INTERNAL_ERROR
        before = stage.clock.now_ns()
        await stage.refused(Leave(peer=host.peer))
        assert stage.system.feed("room") is None
        assert stage.clock.now_ns() - before < S, "its actors had to be told"
        told = [{"reason": "actor_failed"}]
        assert host.heard("roomClosed") == viewer.heard("roomClosed") == told
        stage.check_rows()
        assert not stage.plane.table.transports
        assert await stage.rebuilt() == {}
        stage.check_calm()


async def test_a_room_that_was_given_up_can_be_opened_again(
    autojump_clock: Any, break_decider: Any
) -> None:
    break_decider("room", Leave)
    async with staged() as (stage, _):
        host = await joined(stage)
        for _ in range(4):
            await stage.refused(Leave(peer=host.peer))
        again = await joined(stage)
        assert again.entered is not None
        assert again.entered.joined.peers == ()
        await stage.check_rebuilt()


async def test_an_actor_whose_events_cannot_be_folded_is_given_up_at_once(
    autojump_clock: Any, break_decider: Any
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        actor = stage.actor(transport_address(send))
        break_decider("transport", events.TransportOpened, actor)
        break_decider("transport", RestartIce, actor)
        refusal = await stage.refused(RestartIce(peer=host.peer, transport=send))
        assert refusal.code == RefusalCode.INTERNAL_ERROR
        assert host.heard("transportClosed") == [{"transport": send, "reason": "actor_failed"}]
        stage.check_rows()
        stage.check_links()


async def test_a_room_whose_events_cannot_be_folded_is_closed_in_the_log(
    autojump_clock: Any, break_decider: Any
) -> None:
    async with staged() as (stage, _):
        host, viewer, *_ = await host_and_viewer(stage)
        break_decider("room", events.PeerJoined, stage.actor(ROOM))
        refusal = await stage.refused(Join(room="room"))
        assert refusal.code == RefusalCode.INTERNAL_ERROR
        told = [{"reason": "actor_failed"}]
        assert host.heard("roomClosed") == viewer.heard("roomClosed") == told
        assert events.RoomClosed(reason="actor_failed") in await stage.events_of()
        assert not stage.plane.table.transports
        assert stage.system.feed("room") is None


async def test_a_fault_of_the_kernel_ends_one_room_and_no_other(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        other = await Client(stage, room="other").join()
        send = await host.transport("send")

        def broken(_step: Any) -> None:
            raise RuntimeError("a fault of the kernel")

        monkeypatch.setattr(stage.actor(transport_address(send)), "_perform", broken)
        refusal = await stage.refused(RestartIce(peer=host.peer, transport=send))
        assert refusal.code == RefusalCode.INTERNAL_ERROR
        assert stage.system.feed("room") is None
        assert not stage.plane.table.transports
        assert "room_crashed" in stage.log.names()
        left = await stage.met(Leave(peer=other.joined.peer), "other")
        assert left == Done()


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_producer_or_consumer_that_fails_again_and_again_is_closed(
    autojump_clock: Any, break_decider: Any, kind: str
) -> None:
    break_decider("producer", PauseProducer)
    break_decider("consumer", PauseConsumer)
    async with staged() as (stage, _):
        host, viewer, _send, _recv, producer, consumer = await host_and_viewer(stage)
        for _ in range(4):
            if kind == "producer":
                await stage.refused(PauseProducer(peer=host.peer, producer=producer))
            else:
                await stage.refused(PauseConsumer(peer=viewer.peer, consumer=consumer))
        failed = {"reason": "actor_failed"}
        if kind == "producer":
            told = {"producer": producer} | failed
            assert host.heard("producerClosed") == viewer.heard("producerClosed") == [told]
            assert (
                await stage.refused(ResumeProducer(peer=host.peer, producer=producer))
            ).code == RefusalCode.PRODUCER_NOT_FOUND
        else:
            assert viewer.heard("consumerClosed") == [{"consumer": consumer} | failed]
            assert host.words == ["peerJoined"]
        await stage.check_rebuilt()
        stage.check_rows()
        stage.check_links()
