"""A running room: its nursery, its actors by address, its journal and its feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from actors.core.decider import ReplyStats
from actors.core.recovery import Rebuild, States, mend, never_opened
from actors.kernel.actor import Actor, gone, unwritten
from actors.kernel.feed import RoomFeed
from actors.kernel.hearing import Hearing
from actors.kernel.interfaces import Clock, Plane, Store
from actors.kernel.journal import Journal
from actors.kernel.letter import Answered, Letter, Outcome, ReplySlot
from actors.kernel.mailbox import MailboxClosed, MailboxFull
from actors.kernel.personal import PersonalEdge
from actors.kernel.timers import Timers
from protocol.answers import StatsReport
from protocol.commands import Command
from protocol.ids import ROOM, Address, kind_of
from protocol.messages import OpenRoom
from protocol.notices import AudioLevels
from protocol.orders import Remove, Row
from protocol.personal import Concealed
from protocol.refusals import Refusal, RefusalCode
from protocol.stats import report_of
from protocol.store_error import StoreError

CLOSING_S = 10.0
"""How long the actors of a closed room have to end, in seconds."""

_CRASHED = Refusal(RefusalCode.INTERNAL_ERROR, "a fault of ours ended the room")
_OVERLOADED = Refusal(RefusalCode.OVERLOADED, "too many requests wait for this; ask again later")


class Services(NamedTuple):
    """What all rooms share."""

    store: Store
    plane: Plane
    clock: Clock
    timers: Timers
    entropy: Callable[[], bytes]
    log: Any
    edge: PersonalEdge | None = None


class RoomRuntime:
    """One room at work. `run` is its task, and the parent of all its actors' tasks.

    It ends when the room's actor and all others have ended, or when its log
    cannot be written any more: then its entries in the media plane are removed
    and its feed says nothing further.
    """

    def __init__(self, room: str, services: Services) -> None:
        self.room = room
        self.store = services.store
        self.plane = services.plane
        self.clock = services.clock
        self.entropy = services.entropy
        self.log = services.log.bind(room=room)
        self.feed = RoomFeed(room, services.store, services.edge)
        self.journal = Journal(room, services.store, self.feed)
        self.actors: dict[Address, Actor] = {}
        self._hearing = Hearing(self.feed)
        self.ended = trio.Event()
        """Set when the room is no more."""
        self._timers = services.timers
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._lost: Refusal | None = None
        """What clients are told of a room that could not be closed in its log."""
        self._on_start: Callable[[Address], None] | None = None
        self._on_forget: Callable[[Address], None] | None = None

    def watch(
        self, on_start: Callable[[Address], None], on_forget: Callable[[Address], None]
    ) -> None:
        """Have the owner told of actors that come and go. Call it before `run`."""
        self._on_start = on_start
        self._on_forget = on_forget

    @property
    def closing(self) -> bool:
        """Whether the room's actor has ended, or never began."""
        return ROOM not in self.actors

    def open(self, opening: OpenRoom) -> None:
        """Make the room's actor with its first message. Call it before `run`."""
        self._add(ROOM, Actor(ROOM, self)).mailbox.post_nowait(Letter.of(opening), request=False)

    def recover(self, states: States, folding: Rebuild) -> None:
        """Make the actors of a room that was open when the log ended. Call it before `run`.

        `folding` knows what set their deadlines, and what the messages that mend them come from.

        Those that a crash kept from opening get none: the room is told that they failed.
        """
        messages = mend(states)
        for address, state in states.items():
            if not never_opened(address, state):
                causes = folding.deadline_causes(address)
                self._add(address, Actor(address, self, state, causes))
        for address, message in messages:
            self.post(address, Letter.of(message, cause=folding.cause_of(message)))

    async def run(self) -> None:
        """Run the actors until the room has ended."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    for actor in list(self.actors.values()):
                        self._nursery.start_soon(self._run_actor, actor)
        finally:
            self._nursery = None
            self.ended.set()

    async def _run_actor(self, actor: Actor) -> None:
        try:
            await actor.run()
            if actor.address == ROOM:
                self._scope.deadline = trio.current_time() + CLOSING_S
        except StoreError as error:
            self.log.critical("room_lost", actor=actor.address, code=error.code, error=str(error))
            self._abandon(unwritten(error))
        except Exception as error:
            self.log.critical("room_crashed", actor=actor.address, exc_info=error)
            self._abandon(_CRASHED)
        finally:
            self._end(actor)

    def _abandon(self, refusal: Refusal) -> None:
        """Give up the room: nothing of it can be written down any more."""
        self._lost = refusal
        self._scope.cancel()

    def _end(self, actor: Actor) -> None:
        """Take an actor that ended out of the registry.

        One that could not end by itself leaves rows in the plane. They stay there only if the
        control process ends as a whole, for then the next one takes them over.
        """
        actor.finish(self._lost or gone(actor.address))
        if self._scope.cancel_called and actor.row_keys:
            self.plane.submit(actor.row_keys)
        del self.actors[actor.address]
        if self._on_forget is not None:
            self._on_forget(actor.address)

    async def request(self, command: Command, *, correlation: str) -> Outcome:
        """Post a client's request before anything is waited for, and wait for its answer."""
        actor = self.actors.get(command.target)
        if actor is None:
            return gone(command.target)
        slot = ReplySlot()
        letter = Letter.of(command, correlation=correlation, slot=slot, request=True)
        try:
            actor.mailbox.post_nowait(letter, request=True)
        except MailboxFull:
            return _OVERLOADED
        except MailboxClosed:
            return gone(command.target)
        return await slot.wait()

    def post(self, to: Address, letter: Letter) -> None:
        """Post one of the house's own letters; dropped if the actor has ended."""
        actor = self.actors.get(to)
        if actor is None:
            return
        try:
            actor.mailbox.post_nowait(letter, request=False)
        except MailboxClosed:
            return
        except MailboxFull:
            self.log.critical("mailbox_overflow", actor=to, type=letter.type)
            self._abandon(_CRASHED)

    def hear(self, notice: AudioLevels) -> None:
        """Take how loud the room's microphones are; tell the room's actor who speaks."""
        noted = self._hearing.take(notice, self.clock.now_ns())
        if noted is not None:
            self.post(ROOM, Letter.of(noted))

    def start(self, address: Address, letter: Letter) -> None:
        """Start an actor with its first letter."""
        assert address not in self.actors
        assert self._nursery is not None
        actor = self._add(address, Actor(address, self))
        actor.mailbox.post_nowait(letter, request=False)
        self._nursery.start_soon(self._run_actor, actor)

    def _add(self, address: Address, actor: Actor) -> Actor:
        self.actors[address] = actor
        if self._on_start is not None:
            self._on_start(address)
        return actor

    def name_of(self, peer: str) -> str | Concealed | None:
        """The name of a peer as the directory has it; it says which personal key is the peer's."""
        room = self.actors.get(ROOM)
        entry = None if room is None else room.state.peers.get(peer)
        return None if entry is None else entry.name

    def name_of_owner(self, transport: str) -> str | Concealed | None:
        """The name of the peer that a transport belongs to."""
        room = self.actors.get(ROOM)
        entry = None if room is None else room.state.transports.get(transport)
        return None if entry is None else self.name_of(entry.peer)

    async def wait_left(self, peer: str) -> None:
        """Wait until a peer has left, or the room has ended."""
        async with trio.open_nursery() as nursery:

            async def watch_end() -> None:
                await self.ended.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch_end)
            await self.feed.wait_left(peer)
            nursery.cancel_scope.cancel()

    def names(self) -> list[str | Concealed]:
        """The names of all peers."""
        room = self.actors.get(ROOM)
        return [] if room is None else [entry.name for entry in room.state.peers.values()]

    def addresses(self) -> tuple[Address, ...]:
        """Addresses of all living actors."""
        return tuple(self.actors)

    def answer_stats(self, asked: Address, wanted: ReplyStats, slot: ReplySlot) -> None:
        """Answer a request with what the plane has counted."""
        assert self._nursery is not None
        self._nursery.start_soon(self._query_stats, asked, wanted, slot)

    async def _query_stats(self, asked: Address, wanted: ReplyStats, slot: ReplySlot) -> None:
        """Ask the plane; while it is down the report is empty."""
        try:
            stats = await self.plane.query_stats([wanted.id])
        except Exception as error:  # noqa: BLE001 - the plane's own errors are not known here
            self.log.warning("stats_unavailable", actor=asked, error=str(error))
            stats = ()
        except trio.Cancelled:
            slot.resolve(self._lost or gone(asked))
            raise
        entries = tuple(
            entry
            for one in stats
            for entry in report_of(one, kind=wanted.kind, transport=wanted.transport)
        )
        slot.resolve(Answered(StatsReport(stats=entries), self.feed.published))

    def set_timer(self, address: Address, name: str, at_ns: int) -> None:
        """Have an actor told when a time is reached."""
        actor = self.actors[address]
        self._timers.set((self.room, address, name), at_ns, lambda: actor.fire(name))

    def cancel_timer(self, address: Address, name: str) -> None:
        """Forget a timer."""
        self._timers.cancel((self.room, address, name))

    def rows(self) -> list[Row]:
        """All rows that the room wants in the media plane, owners before what they own."""
        order = ("transport", "producer", "consumer")
        found = [(kind_of(a), row) for a, actor in self.actors.items() for row in actor.rows]
        return [row for _, row in sorted(found, key=lambda pair: order.index(pair[0]))]

    def row_keys(self) -> list[Remove]:
        """Keys of all its rows."""
        return [key for actor in self.actors.values() for key in actor.row_keys]
