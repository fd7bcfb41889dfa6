"""The system of all rooms: where the gateway asks and the media plane reports.

It opens rooms for those who join, finds the actor that a notice is about,
recovers open rooms from the log when the control process comes back, and brings
the media plane's table in line with what the actors want.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import trio

from actors.core.missed import missed_by_consumer, missed_by_producer
from actors.core.recovery import Rebuild
from actors.kernel.actor import unwritten
from actors.kernel.feed import RoomFeed, event_in
from actors.kernel.interfaces import Clock, Keyring, Plane, Store
from actors.kernel.letter import Answered, Letter, Outcome
from actors.kernel.personal import PersonalEdge, RevealingPlane
from actors.kernel.room_runtime import RoomRuntime, Services
from actors.kernel.timers import Timers
from protocol.commands import Command, ConnectTransport, Join, Produce, Resume
from protocol.ids import (
    ROOM,
    Address,
    consumer_address,
    producer_address,
    transport_address,
)
from protocol.messages import (
    CloseRoom,
    EvictPeer,
    OpenRoom,
    PlaneStarted,
    PlaneStopped,
    RoomSettings,
)
from protocol.notices import (
    AudioLevels,
    DtlsStateChanged,
    IceStateChanged,
    IceTupleChanged,
    Notice,
    PlaneLost,
)
from protocol.orders import PlaneInfo, Remove, Table, TransportEntry, WorkerInfo
from protocol.refusals import Refusal, RefusalCode
from protocol.store_error import StoreError

SHUT_DOWN_S = 5.0
"""How long rooms have to close when the server stops, in seconds."""
RECOVERED_AT_ONCE = 8192
"""Envelopes of a log that are held in memory while a room is recovered."""

_SESSION_NOT_FOUND = Refusal(RefusalCode.SESSION_NOT_FOUND, "the session is over")
_ROOM_NOT_FOUND = Refusal(RefusalCode.ROOM_NOT_FOUND, "there is no such room")
_SHUTTING_DOWN = Refusal(RefusalCode.SHUTTING_DOWN, "the server is about to stop")

__all__ = ["Answered", "RoomFeed", "RoomInfo", "System"]


class RoomInfo(NamedTuple):
    """A room at a glance."""

    room: str
    peers: int
    producers: int
    streaming: bool


class System:
    """All rooms of a server. `run` is its task; everything else may be called while it runs."""

    def __init__(
        self,
        *,
        store: Store,
        plane: Plane,
        settings: RoomSettings,
        rooms_max: int,
        clock: Clock,
        entropy: Callable[[], bytes],
        log: Any,
        keyring: Keyring | None = None,
    ) -> None:
        """Make a system. Without a `keyring`, personal data stands in the log in clear."""
        self._timers = Timers(clock)
        self._edge = None if keyring is None else PersonalEdge(keyring)
        if self._edge is not None:
            plane = RevealingPlane(plane, self._edge)
        self._services = Services(store, plane, clock, self._timers, entropy, log, self._edge)
        self._settings = settings
        self._rooms_max = rooms_max
        self._rooms: dict[str, RoomRuntime] = {}
        self._homes: dict[Address, RoomRuntime] = {}
        """The room of each living transport, producer and consumer."""
        self._workers: tuple[WorkerInfo, ...] = ()
        self._nursery: trio.Nursery | None = None
        self._stopping = False

    async def run(
        self,
        *,
        recover: Iterable[str] = (),
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Recover the named rooms from their logs, then run until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._timers.run)
            for room in recover:
                await self._recover(room)
            await self._load_keys()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stopping = True

    async def _load_keys(self) -> None:
        """Have the personal keys of all peers at hand."""
        if self._edge is not None:
            names = [name for runtime in self._rooms.values() for name in runtime.names()]
            await self._edge.load_of(names)

    async def _recover(self, room: str) -> None:
        """Bring a room back; one whose log is damaged or not understood stays closed.

        Its peers find no session any more. The others go on. Only the last session of the log is
        read: state begins anew with it, so what stands before (in an archive, maybe) is not missed.
        """
        folding = Rebuild()
        runtime = RoomRuntime(room, self._services)
        store = self._services.store
        try:
            after = max(0, await store.session_start(room) - 1)
            while envelopes := await store.read(room, after, limit=RECOVERED_AT_ONCE):
                after = envelopes[-1].position
                for envelope in envelopes:
                    if envelope.kind == "event":
                        event = event_in(envelope)
                        folding.apply(Address(envelope.actor), event, envelope.cause)
                        runtime.feed.note(envelope.position, event)
            states = folding.states()
            if states:
                self._add(runtime)
                runtime.recover(states, folding)
                self._start(runtime)
                self._services.log.info("room_recovered", room=room, actors=len(states))
        except Exception as error:
            self._forget(runtime)
            self._services.log.error("room_not_recovered", room=room, exc_info=error)

    # The gateway's side.

    async def request(self, room: str, command: Command, *, correlation: str) -> Outcome:
        """Carry out a client's request and return its answer, or why not."""
        if isinstance(command, Join):
            return await self._enter(room, command, correlation)
        if self._stopping:
            return _SHUTTING_DOWN
        runtime = self._rooms.get(room)
        if runtime is None:
            return _SESSION_NOT_FOUND if isinstance(command, Resume) else _ROOM_NOT_FOUND
        edge = self._edge
        if edge is None:
            return await runtime.request(command, correlation=correlation)
        if isinstance(command, Produce | ConnectTransport):
            name = runtime.name_of(command.peer)
            if name is not None and not edge.knows(name):
                await edge.load_of([name])
            command = edge.command(command, name)
        return await self._revealed(await runtime.request(command, correlation=correlation))

    async def _enter(self, room: str, command: Join, correlation: str) -> Outcome:
        """Join, under a key of one's own."""
        edge = self._edge
        if edge is None:
            return await self._join(room, command, correlation)
        try:
            command, key = await edge.join(command)
        except StoreError as error:
            return unwritten(error)
        outcome = await self._join(room, command, correlation)
        if isinstance(outcome, Refusal):
            edge.refused(key)
        return await self._revealed(outcome)

    async def _revealed(self, outcome: Outcome) -> Outcome:
        if self._edge is None or isinstance(outcome, Refusal):
            return outcome
        return outcome._replace(answer=await self._edge.answer(outcome.answer))

    async def _join(self, room: str, command: Join, correlation: str) -> Outcome:
        """Join a room, or open it; one that closes meanwhile is waited for and opened anew."""
        while not self._stopping:
            runtime = self._rooms.get(room)
            if runtime is None:
                opened = self._open(room) if command.create else _ROOM_NOT_FOUND
                if isinstance(opened, Refusal):
                    return opened
                runtime = opened
            if not runtime.closing:
                outcome = await runtime.request(command, correlation=correlation)
                if not (isinstance(outcome, Refusal) and outcome.code == _ROOM_NOT_FOUND.code):
                    return outcome
            await runtime.ended.wait()
        return _SHUTTING_DOWN

    def _open(self, room: str) -> RoomRuntime | Refusal:
        if len(self._rooms) >= self._rooms_max:
            return Refusal(RefusalCode.LIMIT_REACHED, f"the limit of rooms is {self._rooms_max}")
        runtime = RoomRuntime(room, self._services)
        self._add(runtime)
        runtime.open(OpenRoom(settings=self._settings, workers=self._workers, room=room))
        self._start(runtime)
        return runtime

    def post(self, room: str, message: Any) -> None:
        """Post a message of the house to a room; ignored if there is none."""
        runtime = self._rooms.get(room)
        if runtime is not None:
            runtime.post(ROOM, Letter.of(message))

    def feed(self, room: str) -> RoomFeed | None:
        """The feed of a room that is there."""
        runtime = self._rooms.get(room)
        return runtime.feed if runtime is not None else None

    def has_room(self, room: str) -> bool:
        """Whether a room is open."""
        runtime = self._rooms.get(room)
        return runtime is not None and not runtime.closing

    def rooms(self) -> list[RoomInfo]:
        """All open rooms."""
        found = []
        for room, runtime in self._rooms.items():
            if not runtime.closing:
                feed = runtime.feed
                found.append(RoomInfo(room, feed.peers, feed.producers, feed.streaming))
        return found

    async def expel(self, room: str, peer: str, reason: str) -> bool:
        """Remove a peer from a room and wait until its log says so; False if it is not there."""
        runtime = self._rooms.get(room)
        if runtime is None or not runtime.feed.has_peer(peer):
            return False
        runtime.post(ROOM, Letter.of(EvictPeer(peer=peer, reason=reason)))
        await runtime.wait_left(peer)
        return True

    def forget_revealed(self) -> None:
        """Keep no revealed value any longer; to be called when a personal key was destroyed."""
        if self._edge is not None:
            self._edge.forget()
        for runtime in self._rooms.values():
            runtime.feed.forget_recent()

    async def shut_down(self, reason: str) -> None:
        """Close all rooms, and wait until their logs say so, at most `SHUT_DOWN_S`."""
        self._stopping = True
        rooms = list(self._rooms.values())
        for runtime in rooms:
            runtime.post(ROOM, Letter.of(CloseRoom(reason=reason)))
        with trio.move_on_after(SHUT_DOWN_S):
            for runtime in rooms:
                await runtime.ended.wait()

    def _add(self, runtime: RoomRuntime) -> None:
        def on_start(address: Address) -> None:
            if address != ROOM:
                self._homes[address] = runtime

        def on_forget(address: Address) -> None:
            self._homes.pop(address, None)

        runtime.watch(on_start, on_forget)
        self._rooms[runtime.room] = runtime

    def _forget(self, runtime: RoomRuntime) -> None:
        for address in runtime.addresses():
            self._homes.pop(address, None)
        self._rooms.pop(runtime.room, None)

    def _start(self, runtime: RoomRuntime) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._run_room, runtime)

    async def _run_room(self, runtime: RoomRuntime) -> None:
        try:
            await runtime.run()
        finally:
            self._forget(runtime)

    # The media plane's side.

    def take_notice(self, notice: Notice) -> None:
        """Post a notice to the actor that it is about; dropped if that one has ended."""
        if isinstance(notice, AudioLevels):
            runtime = self._rooms.get(notice.room)
            if runtime is not None:
                runtime.hear(notice)
            return
        address = _about(notice)
        home = self._homes.get(address)
        if home is not None:
            if self._edge is not None and isinstance(notice, IceStateChanged | IceTupleChanged):
                notice = self._edge.notice(notice, home.name_of_owner(notice.transport))
            home.post(address, Letter.of(notice))

    def plane_up(self, info: PlaneInfo, table: Table, *, fresh: bool) -> None:
        """Bring a plane's table in line with the actors, and tell the rooms.

        Call it only after `run` has recovered the rooms, for what no actor wants is removed.
        A fresh plane carries nothing: transports of before are lost, with all that hangs on
        them. One that was taken over may have moved on while nobody listened.
        """
        self._workers = info.workers
        known = {entry.transport: entry for entry in table.transports}
        wanted: dict[Remove, None] = {}
        rows = []
        for runtime in self._rooms.values():
            rows += [] if fresh else runtime.rows()
            wanted |= dict.fromkeys(runtime.row_keys())
            runtime.post(ROOM, Letter.of(PlaneStarted(workers=info.workers)))
        for key in [key for key in wanted if key.kind == "transport"]:
            entry = known.get(key.id)
            if entry is not None:
                self._catch_up(entry)
            elif fresh:
                self.take_notice(PlaneLost(transport=key.id, reason="another plane took over"))
        if not fresh:
            self._tell_missed(table)
        stale = [key for key in _keys_of(table) if key not in wanted]
        self._services.plane.submit([*stale, *rows])

    def _catch_up(self, entry: TransportEntry) -> None:
        """Tell a transport what the plane may have noticed while nobody listened."""
        if entry.ice_state != "new":
            self.take_notice(
                IceStateChanged(
                    transport=entry.transport, state=entry.ice_state, remote=entry.remote
                )
            )
        if entry.srtp_profile is not None:
            self.take_notice(
                DtlsStateChanged(
                    transport=entry.transport, state="connected", srtp_profile=entry.srtp_profile
                )
            )

    def _tell_missed(self, table: Table) -> None:
        """Tell producers and consumers how they stand, where they believe something else."""
        for producer in table.producer_entries:
            state = self._state_of(producer_address(producer.producer))
            if state is not None:
                for notice in missed_by_producer(state, producer):
                    self.take_notice(notice)
        for consumer in table.consumer_entries:
            state = self._state_of(consumer_address(consumer.consumer))
            if state is not None:
                for notice in missed_by_consumer(state, consumer):
                    self.take_notice(notice)

    def _state_of(self, address: Address) -> Any | None:
        home = self._homes.get(address)
        return None if home is None else home.actors[address].state

    def plane_down(self, reason: str) -> None:
        """Tell the rooms that no transport can be made for now."""
        self._workers = ()
        for runtime in self._rooms.values():
            runtime.post(ROOM, Letter.of(PlaneStopped(reason=reason)))


def _about(notice: Any) -> Address:
    """The actor that a notice is about."""
    if (transport := getattr(notice, "transport", None)) is not None:
        return transport_address(transport)
    if (producer := getattr(notice, "producer", None)) is not None:
        return producer_address(producer)
    if (consumer := getattr(notice, "consumer", None)) is not None:
        return consumer_address(consumer)
    return Address(f"{notice.kind}/{notice.id}")


def _keys_of(table: Table) -> list[Remove]:
    """Removals of all that stands in a table, what is owned before its owners."""
    return [
        *(Remove(kind="consumer", id=consumer) for consumer in table.consumers),
        *(Remove(kind="producer", id=producer) for producer in table.producers),
        *(Remove(kind="transport", id=entry.transport) for entry in table.transports),
    ]
