"""Measure the actors: messages a second, and what one costs in a room of 1,000 peers.

    python -O -m bench.actors [--peers N] [--json]

Store and plane are in memory, and figures are CPU time of this process: what the kernel, the
deciders, the codec and the hash chain cost, without disk and sockets. Askers wait for each
answer before they ask again, as clients do; where many ask one actor, it takes them in batches.
"""

import argparse
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from media.fake import FakePlane
from protocol.commands import (
    CloseProducer,
    CreateTransport,
    Join,
    Leave,
    PauseProducer,
    RestartIce,
    Resume,
    ResumeConsumer,
)
from protocol.messages import SocketLost
from protocol.notices import ConsumerScore
from tests.control.samples import consume, produce, room_settings
from tests.control.stage import Client, Stage

ROOM = "room"
figures: dict[str, float] = {}


class NoPlane(FakePlane):
    """Takes orders and does nothing with them."""

    def submit(self, orders: Any) -> None:
        """Drop them."""


async def measure(name: str, count: int, act: Callable[[], Awaitable[Any]]) -> None:
    """Note the microseconds of CPU for each of `count` things that `act` does."""
    begun = time.process_time()
    await act()
    figures[name] = (time.process_time() - begun) / count * 1e6


def together(askers: int, ask: Callable[[int], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
    """Have `askers` tasks ask at once."""

    async def act() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(askers):
                nursery.start_soon(ask, number)

    return act


async def calm(stage: Stage) -> None:
    """Wait until all mailboxes are empty and all is written."""
    while any(len(actor.mailbox) for actor in stage.runtime().actors.values()):  # noqa: ASYNC110
        await trio.sleep(0.002)
    await trio.sleep(0.01)


async def transport_of(stage: Stage, peer: str, direction: Any, room: str = ROOM) -> str:
    """A new transport's id."""
    outcome: Any = await stage.request(CreateTransport(peer=peer, direction=direction), room)
    return str(outcome.answer.id)


async def one_actor(stage: Stage) -> None:
    """Many askers of one actor."""
    client = Client(stage)
    await client.join()
    send = await transport_of(stage, client.peer, "send")

    async def ask_room(_number: int) -> None:
        for _ in range(100):
            await stage.request(Leave(peer="nobody"))

    async def ask_transport(_number: int) -> None:
        for _ in range(100):
            await stage.request(RestartIce(peer=client.peer, transport=send))

    await measure("one room, 64 ask, refused", 6400, together(64, ask_room))
    await measure("one transport, 64 ask, ICE restart", 6400, together(64, ask_transport))


async def many_actors(stage: Stage, rooms: int) -> None:
    """One asker for each of 100 transports, in one room or in many."""
    places: list[tuple[str, str, str]] = []
    for number in range(100):
        client = Client(stage, room=f"room-{number % rooms}")
        await client.join()
        send = await transport_of(stage, client.peer, "send", client.room)
        places.append((client.room, client.peer, send))

    async def ask(number: int) -> None:
        room, peer, transport = places[number]
        for _ in range(100):
            await stage.request(RestartIce(peer=peer, transport=transport), room)

    await measure(f"100 transports in {rooms} rooms, ICE restart", 10_000, together(100, ask))


async def big_room(stage: Stage, size: int) -> None:  # noqa: C901, PLR0915 - a list of measures
    """A host and `size` viewers who are told everything."""
    host = Client(stage)
    await host.join()
    send = await transport_of(stage, host.peer, "send")
    outcome: Any = await stage.request(produce(host.peer, send))
    producer = outcome.answer.id
    feed = stage.system.feed(ROOM)
    assert feed is not None
    peers: list[str] = []
    recv: dict[str, str] = {}
    consumers: dict[str, str] = {}

    async def join() -> None:
        for number in range(size):
            outcome: Any = await stage.request(Join(room=ROOM, name=f"viewer {number}"))
            peers.append(outcome.answer.joined.peer)
            feed.subscribe(peers[-1], lambda _told: None)

    async def connect(number: int) -> None:
        peer = peers[number]
        recv[peer] = await transport_of(stage, peer, "recv")

    async def watch(number: int) -> None:
        peer = peers[number]
        outcome: Any = await stage.request(consume(peer, recv[peer], producer))
        consumers[peer] = outcome.answer.id

    async def resume_consumer(number: int) -> None:
        peer = peers[number]
        await stage.request(ResumeConsumer(peer=peer, consumer=consumers[peer]))

    async def lose_sockets() -> None:
        for peer in peers:
            stage.system.post(ROOM, SocketLost(peer=peer, attachment=1))
        await calm(stage)

    async def resume() -> None:
        for peer in peers:
            await stage.request(Resume(peer=peer, position=1))

    async def pause() -> None:
        await stage.request(PauseProducer(peer=host.peer, producer=producer))
        await calm(stage)

    async def scores() -> None:
        for consumer in consumers.values():
            stage.system.take_notice(ConsumerScore(consumer=consumer, score=7, producer_score=9))
        await calm(stage)

    async def refused() -> None:
        for _ in range(500):
            await stage.request(Leave(peer="nobody"))

    async def close() -> None:
        await stage.request(CloseProducer(peer=host.peer, producer=producer))
        while len(stage.runtime().actors) > size + 2:  # noqa: ASYNC110
            await trio.sleep(0.002)

    of = f"{size} peers: "
    await measure(f"{of}join, one after another", size, join)
    await measure(f"{of}createTransport", size, together(size, connect))
    await measure(f"{of}consume", size, together(size, watch))
    await measure(f"{of}resumeConsumer", size, together(size, resume_consumer))
    await measure(f"{of}a refused request", 500, refused)
    await measure(f"{of}a lost socket", size, lose_sockets)
    await measure(f"{of}resume, whose answer lists all", size, resume)
    await measure(f"{of}producer paused, for each consumer", size, pause)
    await measure(f"{of}a score", size, scores)
    await measure(f"{of}producer closed, for each consumer", size, close)


async def on_stage(act: Callable[[Stage], Awaitable[None]], peers_max: int) -> None:
    """Run on a fresh control plane."""
    stage = Stage(settings=room_settings(peers_max=peers_max), rooms_max=1000)
    stage.plane = NoPlane()
    stage.plane.restart()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        await trio.sleep(0.05)
        await act(stage)
        nursery.cancel_scope.cancel()


async def run(peers: int) -> None:
    """Measure all."""
    await on_stage(one_actor, 2)
    await on_stage(lambda stage: many_actors(stage, 1), 200)
    await on_stage(lambda stage: many_actors(stage, 100), 200)
    await on_stage(lambda stage: big_room(stage, peers), peers + 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the actors.")
    parser.add_argument("--peers", type=int, default=1000, help="viewers in the big room")
    parser.add_argument("--json", action="store_true", help="print figures in microseconds")
    options = parser.parse_args()
    trio.run(run, options.peers)
    if options.json:
        print(json.dumps(figures))
        return
    for name, cost_us in figures.items():
        print(f"{name:52} {cost_us:8.1f} µs {1e6 / cost_us:9.0f} /s")


if __name__ == "__main__":
    main()
