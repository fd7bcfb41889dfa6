"""All rooms together: who gets in, who is answered, what is left when they end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.kernel import room_runtime
from actors.kernel.letter import Answered
from actors.kernel.mailbox import REQUESTS_MAX
from protocol import events
from protocol.answers import StatsReport
from protocol.commands import (
    CloseConsumer,
    CloseProducer,
    CloseTransport,
    CreateTransport,
    Join,
    Leave,
    QueryConsumer,
    QueryProducer,
    QueryTransport,
    RestartIce,
    Resume,
)
from protocol.ids import ROOM, consumer_address, producer_address, transport_address
from protocol.messages import CloseRoom, EvictPeer
from protocol.notices import (
    ConsumerFrozen,
    ConsumerScore,
    IceStateChanged,
    LayersChanged,
    Notice,
    PlaneLost,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.orders import Remove, SetTransport
from protocol.refusals import Refusal, RefusalCode
from tests.control.scenarios import live
from tests.control.stage import Client, Stage, joined, staged


async def ask_all(stage: Stage, commands: list[Any]) -> list[Answered | Refusal]:
    """Ask all at once; the outcomes in the order of the commands."""
    outcomes: list[Any] = [None] * len(commands)

    async def ask(index: int, command: Any) -> None:
        outcomes[index] = await stage.request(command)

    async with trio.open_nursery() as nursery:
        for index, command in enumerate(commands):
            nursery.start_soon(ask, index, command)
    return outcomes


async def test_a_flood_of_requests_is_refused_and_the_house_is_heard(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")
        stage.store.hold_commits()
        command = RestartIce(peer=host.peer, transport=send)
        outcomes: list[Any] = []

        async def ask() -> None:
            outcomes.append(await stage.request(command))

        nursery.start_soon(ask)
        await stage.settle()
        for _ in range(REQUESTS_MAX + 10):
            nursery.start_soon(ask)
        await stage.settle()
        assert [outcome.code for outcome in outcomes] == [RefusalCode.OVERLOADED] * 10
        stage.plane.inject(IceStateChanged(transport=send, state="connected"))
        await stage.settle()
        stage.store.release_commits()
        await stage.settle()
        assert len(outcomes) == REQUESTS_MAX + 11
        assert stage.actor(transport_address(send)).state.ice_state == "connected"
        stage.check_calm()


async def test_requests_to_what_is_not_there_are_refused_and_not_journaled(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        before = await stage.log_of()
        for command, code in (
            (CloseTransport(peer=host.peer, transport="x"), RefusalCode.TRANSPORT_NOT_FOUND),
            (CloseProducer(peer=host.peer, producer="../room"), RefusalCode.PRODUCER_NOT_FOUND),
            (CloseConsumer(peer=host.peer, consumer="x"), RefusalCode.CONSUMER_NOT_FOUND),
        ):
            assert (await stage.refused(command)).code == code
        assert await stage.log_of() == before
        missing = await stage.refused(Leave(peer="p"), "elsewhere")
        assert missing.code == RefusalCode.ROOM_NOT_FOUND
        missing = await stage.refused(Resume(peer="p", position=0), "elsewhere")
        assert missing.code == RefusalCode.SESSION_NOT_FOUND


async def test_requests_behind_the_one_that_closes_find_nothing(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        close = CloseTransport(peer=host.peer, transport=send)
        outcomes = await ask_all(stage, [close] * 5)
        met = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)]
        assert len(met) == 1
        assert refused == [RefusalCode.TRANSPORT_NOT_FOUND] * 4
        closed = [e for e in await stage.events_of() if isinstance(e, events.TransportClosed)]
        assert len(closed) == 1


async def test_joining_a_room_that_closes_opens_it_anew(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        first = await joined(stage)
        await first.transport("send")
        stage.store.hold_commits()
        stage.system.post("room", CloseRoom(reason="test"))
        late = Client(stage, "late")
        nursery.start_soon(late.join)
        await stage.settle()
        assert late.entered is None
        stage.store.release_commits()
        await stage.settle()
        assert late.entered is not None
        assert late.entered.joined.peers == ()
        assert first.heard("roomClosed") == [{"reason": "test"}]
        opened = [e for e in await stage.events_of() if isinstance(e, events.RoomOpened)]
        assert len(opened) == 2
        await stage.check_rebuilt()
        stage.check_rows()


async def test_many_who_join_a_closing_room_meet_in_one_new_room(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        await joined(stage)
        stage.system.post("room", CloseRoom(reason="test"))
        outcomes = await ask_all(stage, [Join(room="room")] * 5)
        assert all(isinstance(outcome, Answered) for outcome in outcomes)
        await stage.settle()
        assert stage.system.rooms()[0].peers == 5
        opened = [e for e in await stage.events_of() if isinstance(e, events.RoomOpened)]
        assert len(opened) == 2


async def test_joining_without_creating_finds_only_open_rooms(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        without = Join(room="room", create=False)
        assert (await stage.refused(without)).code == RefusalCode.ROOM_NOT_FOUND
        await joined(stage)
        assert isinstance(await stage.request(without), Answered)
        stage.system.post("room", CloseRoom(reason="test"))
        assert (await stage.refused(without)).code == RefusalCode.ROOM_NOT_FOUND
        assert not await stage.log_of("elsewhere")


async def test_rooms_are_limited_and_a_closed_one_makes_space(autojump_clock: Any) -> None:
    async with staged(rooms_max=2) as (stage, _):
        await joined(stage, room="a")
        await joined(stage, room="b")
        refusal = await stage.refused(Join(room="c"), "c")
        assert refusal.code == RefusalCode.LIMIT_REACHED
        await joined(stage, room="a")
        stage.system.post("b", CloseRoom(reason="test"))
        await stage.settle()
        await joined(stage, room="c")
        assert sorted(info.room for info in stage.system.rooms()) == ["a", "c"]


async def test_shutting_down_closes_all_rooms_and_refuses_what_comes(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        clients = [await joined(stage, room=room) for room in ("a", "b")]
        for client in clients:
            await client.transport("send")
        before = trio.current_time()
        nursery.start_soon(stage.system.shut_down, "shutting_down")
        await stage.settle()
        assert (await stage.refused(Join(room="c"), "c")).code == RefusalCode.SHUTTING_DOWN
        assert (await stage.refused(Leave(peer="p"), "a")).code == RefusalCode.SHUTTING_DOWN
        for client in clients:
            assert client.heard("roomClosed") == [{"reason": "shutting_down"}]
        assert not stage.plane.table.transports
        assert not stage.system.rooms()
        assert trio.current_time() - before < 1


async def test_shutting_down_does_not_wait_for_ever(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        await joined(stage)
        stage.store.hold_commits()
        with trio.fail_after(6):
            await stage.system.shut_down("shutting_down")


async def test_who_waits_for_a_closing_room_is_refused_when_the_server_stops(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, nursery):
        await joined(stage)
        stage.store.hold_commits()
        stage.system.post("room", CloseRoom(reason="test"))
        outcomes: list[Any] = []

        async def join() -> None:
            outcomes.append(await stage.request(Join(room="room")))

        nursery.start_soon(join)
        await stage.settle()
        nursery.start_soon(stage.system.shut_down, "shutting_down")
        await stage.settle()
        stage.store.release_commits()
        await stage.settle()
        assert outcomes[0].code == RefusalCode.SHUTTING_DOWN


async def test_a_closed_room_whose_actors_hang_is_cut_off(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        send = await host.transport("send")
        hanging = stage.actor(transport_address(send))

        async def hang(_letters: Any) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(hanging, "_take", hang)
        stage.system.post("room", CloseRoom(reason="test"))
        await stage.settle()
        assert send in stage.plane.table.transports
        await trio.sleep(room_runtime.CLOSING_S + 1)
        assert stage.system.feed("room") is None
        assert send not in stage.plane.table.transports
        assert stage.system._homes == {}


async def test_statistics_come_from_the_plane_with_what_it_does_not_say(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, _):
        host, viewer, send, recv, producer, consumer = await live(stage)
        report = await stage.met(QueryTransport(peer=host.peer, transport=send))
        assert isinstance(report, StatsReport)
        assert report.stats[0]["type"] == "transport"
        report = await stage.met(QueryProducer(peer=host.peer, producer=producer))
        assert {(e["type"], e["kind"], e["transportId"]) for e in report.stats} == {
            ("inbound-rtp", "video", send)
        }
        report = await stage.met(QueryConsumer(peer=viewer.peer, consumer=consumer))
        outbound = report.stats[0]
        assert (outbound["type"], outbound["kind"], outbound["transportId"]) == (
            "outbound-rtp",
            "video",
            recv,
        )
        stage.plane.lose_connection()
        report = await stage.met(QueryTransport(peer=host.peer, transport=send))
        assert report.stats == ()


async def test_an_overview_of_rooms_shows_what_is_durable(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host, *_ = await live(stage)
        assert [tuple(info) for info in stage.system.rooms()] == [("room", 2, 1, True)]
        stage.store.hold_commits()
        nursery.start_soon(stage.request, Leave(peer=host.peer))
        await stage.settle()
        assert [tuple(info) for info in stage.system.rooms()] == [("room", 2, 1, True)]
        stage.store.release_commits()
        await stage.settle()
        assert [tuple(info) for info in stage.system.rooms()] == [("room", 1, 0, False)]
        await stage.restart(nursery)
        assert [tuple(info) for info in stage.system.rooms()] == [("room", 1, 0, False)]


async def test_a_plane_that_is_taken_over_loses_what_nobody_wants(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        *_, consumer = await live(stage)
        await stage.kill()
        stage.plane._info = None
        stage.plane.restart()
        stray = SetTransport(transport="stray", worker=0, direction="send", ice=())
        stage.plane.submit([stray, Remove(kind="consumer", id=consumer)])
        table = stage.plane.table.describe()
        stage.plane.lose_connection()
        while stage.plane.notices.statistics().current_buffer_used:
            stage.plane.notices.receive_nowait()
        assert "stray" in {entry.transport for entry in table.transports}
        stage.plane.restart()
        await stage.start(nursery)
        await stage.settle()
        assert "stray" not in stage.plane.table.transports
        assert consumer in stage.plane.table.consumers
        stage.check_rows()


async def test_what_happened_while_nobody_listened_is_caught_up(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host = await joined(stage)
        send = await host.transport("send")
        await stage.kill()
        stage.plane.table.note(
            IceStateChanged(transport=send, state="connected", remote="192.0.2.9:7")
        )
        stage.plane.restart()
        await stage.start(nursery)
        await stage.settle()
        state = stage.actor(transport_address(send)).state
        assert (state.ice_state, stage.revealed(state.remote)) == ("connected", "192.0.2.9:7")


async def test_producers_and_consumers_hear_what_they_missed_and_nothing_else(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, nursery):
        *_, producer, consumer = await live(stage)
        await stage.kill()
        before = await stage.log_of()
        said: list[Notice] = [
            ProducerStreamLearned(producer=producer, encoding=0, ssrc=4711, rtx_ssrc=4712),
            ProducerActivityChanged(producer=producer, active=False),
            ProducerDemandChanged(producer=producer, spatial_layer=None),
            ProducerScore(producer=producer, scores=(7,)),
            LayersChanged(consumer=consumer, spatial_layer=0, temporal_layer=None),
            ConsumerFrozen(consumer=consumer, frozen=True),
            ConsumerScore(consumer=consumer, score=9, producer_score=7),
        ]
        for notice in said:
            stage.plane.table.note(notice)
        stage.plane.restart()
        await stage.start(nursery)
        await stage.settle()
        published = stage.actor(producer_address(producer)).state
        assert (published.active, published.demand, published.scores) == (False, None, (7,))
        assert published.bound["0"].ssrc == 4711
        watched = stage.actor(consumer_address(consumer)).state
        assert (watched.spatial_layer, watched.frozen, watched.score) == (0, True, 9)
        news = (await stage.log_of())[len(before) :]
        kinds = {type(notice).__name__ for notice in said}
        heard = [one for one in news if one.kind == "message" and one.type in kinds]
        assert len(heard) == len(said)
        assert {one.cause for one in heard} == {None}
        causes = {one.position for one in heard}
        assert causes == {one.cause for one in news if one.kind == "event"} & causes
        stage.plane.lose_connection()
        stage.plane.restart()
        await stage.settle()
        again = (await stage.log_of())[len(before) + len(news) :]
        assert [one for one in again if one.type in kinds] == [], "nothing is missed twice"


async def test_notices_about_what_is_gone_are_dropped(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        await joined(stage)
        before = await stage.log_of()
        stage.system.take_notice(PlaneLost(transport="gone", reason="x"))
        stage.system.take_notice(ProducerActivityChanged(producer="gone", active=True))
        stage.system.post("elsewhere", EvictPeer(peer="p", reason="x"))
        await stage.settle()
        assert await stage.log_of() == before


async def test_a_plane_comes_back_to_rooms_that_wait_for_it(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        host = await joined(stage)
        stage.plane.crash()
        await stage.settle()
        command = CreateTransport(peer=host.peer, direction="send")
        assert (await stage.refused(command)).code == RefusalCode.PLANE_UNAVAILABLE
        await joined(stage, room="new")
        late = CreateTransport(peer=(await joined(stage, room="new")).peer, direction="send")
        assert (await stage.refused(late, "new")).code == RefusalCode.PLANE_UNAVAILABLE
        stage.plane.restart()
        await stage.settle()
        await stage.met(command)
        await stage.met(late, "new")
        stage.check_rows()


async def test_peers_resume_across_a_restart_and_miss_nothing(autojump_clock: Any) -> None:
    async with staged() as (stage, nursery):
        host, viewer, *_ = await live(stage)
        heard = list(viewer.words)
        viewer.lose_socket(say=False)
        await joined(stage, "third")
        await stage.restart(nursery)
        host.lose_socket(say=False)
        await host.resume()
        await stage.met(Leave(peer=host.peer))
        outcome = await viewer.resume()
        assert isinstance(outcome, Answered)
        assert viewer.words[len(heard) :] == [
            "peerJoined",
            "peerLeft",
            "producerClosed",
            "consumerClosed",
            "streamingStopped",
        ]
        assert stage.actor(ROOM).state.peers[viewer.peer].attachment == 2


async def test_a_peer_that_does_not_come_back_in_time_has_no_session(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        host, viewer = await joined(stage), await joined(stage)
        viewer.lose_socket()
        await trio.sleep(10.1)
        outcome = await viewer.resume()
        assert isinstance(outcome, Refusal)
        assert outcome.code == RefusalCode.SESSION_NOT_FOUND
        assert host.heard("peerLeft") == [{"peer": viewer.peer, "reason": "connection_lost"}]
