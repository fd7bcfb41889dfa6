"""A whole control plane in memory: a `System` on a store, a plane and a clock that tests turn.

It must run under trio's MockClock. `settle` waits until nothing moves any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from actors.core.recovery import Rebuild, States
from actors.kernel.actor import Actor
from actors.kernel.clock import TrioClock
from actors.kernel.feed import RoomFeed, Told, event_in
from actors.kernel.letter import Answered, Outcome
from actors.kernel.room_runtime import RoomRuntime
from actors.system import System
from media.fake import FakePlane
from media.interface import PlaneDown, PlaneUp
from protocol import codec
from protocol.answers import Entered
from protocol.commands import Command, Consume, CreateTransport, Join, Produce, Resume
from protocol.envelope import Envelope
from protocol.ids import ROOM, Address, consumer_address, producer_address
from protocol.messages import RoomSettings, SocketLost
from protocol.orders import removal_of
from protocol.personal import Concealed
from protocol.refusals import Refusal
from replay.keyring import MemoryKeyring
from replay.store.interface import Head
from replay.store.ledger import Tally
from replay.store.memory import MemoryStore
from tests.control.samples import EPOCH_NS, consume, produce, room_settings

LOST_WORDS = frozenset({"room_lost", "room_crashed", "mailbox_overflow", "actor_lost"})
"""Log lines that must not appear unless a test asks for what causes them."""

_ordered = msgspec.msgpack.Encoder().encode


class RecordingLog:
    """Keeps the names and fields of what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def bind(self, **_fields: Any) -> RecordingLog:
        return self

    def _line(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    info = warning = error = critical = _line

    def names(self) -> list[str]:
        return [event for event, _ in self.lines]


class Stage:
    """Store and plane outlive the control process: `kill` it, and `start` another."""

    def __init__(
        self,
        *,
        settings: RoomSettings | None = None,
        rooms_max: int = 100,
        seed: int = 0,
        store: MemoryStore | None = None,
        epoch_ns: int = EPOCH_NS,
    ) -> None:
        self.store = MemoryStore() if store is None else store
        self.plane = FakePlane()
        self.plane.restart()
        self.settings = room_settings() if settings is None else settings
        self.rooms_max = rooms_max
        self.log = RecordingLog()
        self.clock = TrioClock(epoch_ns)
        self.random = Random(seed)
        self.keyring = MemoryKeyring(Random(f"keys/{seed}").randbytes)
        self._correlations = count(1)
        self._system: System | None = None
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()

    @property
    def system(self) -> System:
        assert self._system is not None
        return self._system

    @property
    def running(self) -> bool:
        return self._system is not None

    async def start(self, nursery: trio.Nursery) -> None:
        """Start a control process: recover what was open, then take the plane over."""
        assert self._system is None
        system = System(
            store=self.store,
            plane=self.plane,
            settings=self.settings,
            rooms_max=self.rooms_max,
            clock=self.clock,
            entropy=lambda: self.random.randbytes(16),
            log=self.log,
            keyring=self.keyring,
        )
        recover = [summary.room for summary in await self.store.rooms() if summary.open]
        self._ended = trio.Event()
        self._scope = await nursery.start(self._run, system, recover)
        self._system = system

    async def _run(
        self,
        system: System,
        recover: Sequence[str],
        task_status: trio.TaskStatus[trio.CancelScope],
    ) -> None:
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(
                        lambda task_status: system.run(recover=recover, task_status=task_status)
                    )
                    nursery.start_soon(self._read_notices, system)
                    task_status.started(scope)
        finally:
            self._ended.set()

    async def _read_notices(self, system: System) -> None:
        async for item in self.plane.notices:
            match item:
                case PlaneUp(info=info, table=table, fresh=fresh):
                    system.plane_up(info, table, fresh=fresh)
                case PlaneDown(reason=reason):
                    system.plane_down(reason)
                case _:
                    system.take_notice(item)

    async def kill(self) -> None:
        """End the control process as a crash would: nothing is said, the plane goes on.

        What was not durable yet is lost.
        """
        assert self._scope is not None
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._system = None
        self.store = survivor(self.store)
        if self.plane.info is not None:
            self.plane.lose_connection()
        while True:  # what the plane said was said to the process that is gone
            try:
                self.plane.notices.receive_nowait()
            except trio.WouldBlock:
                return

    async def restart(self, nursery: trio.Nursery) -> None:
        """Kill the control process and start another, which takes over the same plane."""
        await self.kill()
        self.plane.restart()
        await self.start(nursery)
        await self.settle()

    async def settle(self) -> None:
        """Wait until all that can happen without the clock has happened."""
        await wait_all_tasks_blocked()

    async def request(self, command: Command, room: str = "room") -> Outcome:
        """Ask as the gateway asks."""
        return await self.system.request(
            room, command, correlation=f"request-{next(self._correlations)}"
        )

    async def met(self, command: Command, room: str = "room") -> Any:
        """Ask, and settle; the answer, which must be yes."""
        outcome = await self.request(command, room)
        assert isinstance(outcome, Answered), outcome
        await self.settle()
        return outcome.answer

    async def refused(self, command: Command, room: str = "room") -> Refusal:
        """Ask, and settle; the refusal, which there must be."""
        outcome = await self.request(command, room)
        assert isinstance(outcome, Refusal), outcome
        await self.settle()
        return outcome

    # What tests look at, and no other part may.

    def runtime(self, room: str = "room") -> RoomRuntime:
        return self.system._rooms[room]

    def actor(self, address: Address, room: str = "room") -> Actor:
        return self.runtime(room).actors[address]

    def actors(self, room: str = "room") -> list[Address]:
        return list(self.runtime(room).actors)

    async def log_of(self, room: str = "room", after: int = 0) -> list[Envelope]:
        return await self.store.read(room, after)

    async def events_of(self, room: str = "room", after: int = 0) -> list[Any]:
        """Events after a position, of all actors, in order."""
        return [event_in(e) for e in await self.log_of(room, after) if e.kind == "event"]

    async def rebuilt(self, room: str = "room") -> States:
        """The room's states from its log alone."""
        folding = Rebuild()
        for envelope in await self.store.read(room):
            if envelope.kind == "event":
                folding.apply(Address(envelope.actor), event_in(envelope))
        return folding.states()

    async def check_rebuilt(self) -> None:
        """States that are built from the logs alone are those that live, in every order too."""
        open_rooms = {room for room, runtime in self.system._rooms.items() if not runtime.closing}
        for room in open_rooms:
            rebuilt = await self.rebuilt(room)
            live = {address: actor.state for address, actor in self.runtime(room).actors.items()}
            assert set(rebuilt) == set(live), room
            for address, state in live.items():
                assert codec.state_bytes(state) == codec.state_bytes(rebuilt[address]), address
                assert _ordered(state) == _ordered(rebuilt[address]), address

    def revealed(self, value: Any) -> Any:
        """What a concealed value is, by the key of its person."""
        assert isinstance(value, Concealed)
        return self.keyring.keys[value.key].reveal(value)

    def check_rows(self) -> None:
        """The plane's table has exactly the rows that the actors' states want."""
        wanted: dict[Any, Any] = {}
        for runtime in self.system._rooms.values():
            for actor in runtime.actors.values():
                rows = actor._decider.rows(actor.state)
                assert rows == actor.rows
                wanted |= {removal_of(row): row for row in self.system._edge.orders(rows)}
        table = self.plane.table
        there = [*table.transports.values(), *table.producers.values(), *table.consumers.values()]
        if self.plane.info is not None:
            assert {removal_of(row): row for row in there} == wanted

    def check_links(self) -> None:
        """No consumer without its producer, nothing without its owner, no actor astray."""
        for runtime in self.system._rooms.values():
            if runtime.closing:
                continue
            state = runtime.actors[ROOM].state
            for consumer in state.consumers.values():
                assert consumer.producer in state.producers
                assert consumer.transport in state.transports
                assert consumer.peer in state.peers
            for producer in state.producers.values():
                assert producer.transport in state.transports
            actors = runtime.actors
            for name, entry in state.producers.items():
                source = actors[producer_address(name)].state
                assert entry.paused == source.paused, name
                assert state.streaming or not source.active, name
            for name, link in state.consumers.items():
                sink = actors[consumer_address(name)].state
                assert sink.producer_paused == state.producers[link.producer].paused, name
            for name, transport in state.transports.items():
                assert name in state.peers[transport.peer].transports
            for address in runtime.actors:
                kind, _, entity = address.partition("/")
                assert address == ROOM or entity in getattr(state, f"{kind}s"), address
            expected = 1 + len(state.transports) + len(state.producers) + len(state.consumers)
            assert len(runtime.actors) == expected
        homes = self.system._homes
        living = {a for r in self.system._rooms.values() for a in r.actors if a != ROOM}
        assert set(homes) == living

    def check_calm(self) -> None:
        """Nothing was logged that should never be."""
        assert not LOST_WORDS & set(self.log.names()), self.log.lines


def survivor(store: MemoryStore) -> MemoryStore:
    """The store as the next process finds it: with what was durable."""
    found = MemoryStore()
    for room, envelopes in store._logs.items():
        tally = Tally()
        tally.add(envelopes)
        found._logs[room] = list(envelopes)
        found._ledger.load(room, Head(envelopes[-1].position, envelopes[-1].hash), tally)
    for damage in store.damage.values():
        found._ledger.mark_damaged(damage)
    return found


@asynccontextmanager
async def staged(**options: Any) -> AsyncIterator[tuple[Stage, trio.Nursery]]:
    """A stage whose control process runs; the nursery is for restarts."""
    stage = Stage(**options)
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        await stage.settle()
        yield stage, nursery
        nursery.cancel_scope.cancel()


class Client:
    """A peer with a socket, as far as the control plane sees one: the gateway's part in short.

    `told` is all that it was told, over all its sockets.
    """

    def __init__(self, stage: Stage, name: str = "", room: str = "room") -> None:
        self.stage = stage
        self.name = name
        self.room = room
        self.peer = ""
        self.attachment = 0
        self.position = 0
        """Up to which it has been told everything."""
        self.told: list[Told] = []
        self.entered: Entered | None = None
        self._feed: RoomFeed | None = None
        self._early: list[Told] = []
        self._catching_up = False
        self._socket: object | None = None
        self._numbers = count()

    async def join(self, **more: Any) -> Entered:
        socket = self._socket = object()
        outcome = await self.stage.request(Join(room=self.room, name=self.name, **more), self.room)
        assert isinstance(outcome, Answered), outcome
        await self._enter(outcome, socket, after=outcome.position)
        return outcome.answer  # type: ignore[return-value]

    async def resume(self) -> Outcome:
        socket = self._socket = object()
        outcome = await self.stage.request(
            Resume(peer=self.peer, position=self.position), self.room
        )
        if isinstance(outcome, Answered):
            await self._enter(outcome, socket, after=self.position)
        return outcome

    async def _enter(self, outcome: Answered, socket: object, *, after: int) -> None:
        entered = outcome.answer
        assert isinstance(entered, Entered)
        if self._socket is not socket:  # it was lost while the answer was on its way
            lost = SocketLost(peer=entered.joined.peer, attachment=entered.attachment)
            self.stage.system.post(self.room, lost)
            return
        self.entered = entered
        self.peer, self.attachment = entered.joined.peer, entered.attachment
        feed = self.stage.system.feed(self.room)
        if feed is None:  # the room closed meanwhile
            return
        self._feed = feed
        self._early, self._catching_up = [], True
        up_to = feed.subscribe(self.peer, self._deliver)
        self.position = max(self.position, after)
        missed = await feed.missed(self.peer, after, up_to)
        if self._socket is socket:
            self._catching_up = False
            for told in (*missed, *self._early):
                self._tell(told)

    def _deliver(self, told: Told) -> None:
        if self._catching_up:
            self._early.append(told)
        else:
            self._tell(told)

    def _tell(self, told: Told) -> None:
        if told.passing:
            return
        assert not self.told or told.position > self.told[-1].position, "told twice or out of order"
        assert told.notification.concerns(self.peer)
        self.told.append(told)
        self.position = told.position

    def lose_socket(self, *, say: bool = True) -> None:
        """The socket is gone; with `say`, the room hears of it."""
        self._socket = None
        if self._feed is not None:
            self._feed.unsubscribe(self.peer, self._deliver)
            self._feed = None
        if say and self.stage.running:
            lost = SocketLost(peer=self.peer, attachment=self.attachment)
            self.stage.system.post(self.room, lost)

    @property
    def words(self) -> list[str]:
        """Names of the notifications so far."""
        return [told.notification.name for told in self.told]

    def heard(self, name: str) -> list[dict[str, Any]]:
        """Data of all notifications of a name."""
        return [told.notification.data for told in self.told if told.notification.name == name]

    async def transport(self, direction: str) -> str:
        made = await self.stage.met(
            CreateTransport(peer=self.peer, direction=direction),  # type: ignore[arg-type]
            self.room,
        )
        return str(made.id)

    async def produce(self, transport: str, kind: Any = "video", **more: Any) -> str:
        command: Produce = produce(self.peer, transport, kind, number=next(self._numbers), **more)
        return str((await self.stage.met(command, self.room)).id)

    async def consume(self, transport: str, producer: str) -> str:
        command: Consume = consume(self.peer, transport, producer)
        return str((await self.stage.met(command, self.room)).id)


async def joined(stage: Stage, name: str = "", room: str = "room") -> Client:
    """A client that has just joined."""
    client = Client(stage, name, room)
    await client.join()
    await stage.settle()
    return client
