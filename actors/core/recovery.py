"""How a room comes back from its log after the control process died.

States are built from events. What a crash cut in two (an actor had decided,
but its message to another never arrived) shows as states that disagree;
`mend` gives the messages that bring them together again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.core.consumer import ConsumerState
from actors.core.deciders import decider_at
from actors.core.producer import ProducerState
from actors.core.room_state import RoomState
from protocol import events
from protocol.ids import (
    ROOM,
    Address,
    consumer_address,
    producer_address,
    transport_address,
)
from protocol.messages import (
    ChildClosed,
    ChildFailed,
    ControlRestarted,
    ProducerPauseChanged,
    ProducerWentLive,
)

States = dict[Address, Any]


_TRANSPORT = transport_address("")
_PASSED_ON: dict[type, str] = {
    events.TransportClosed: "closed",
    events.ProducerClosed: "closed",
    events.ConsumerClosed: "closed",
    events.ProducerOpened: "paused",
    events.ProducerPaused: "paused",
    events.ProducerResumed: "paused",
    events.ProducerActive: "active",
}


class Rebuild:
    """Folds a room's events into the states of its actors, in order of position."""

    def __init__(self) -> None:
        self._states: States = {}
        self._deadlines: dict[Address, dict[str, tuple[int, int | None]]] = {}
        """When each deadline is, and the position of the message that set it."""
        self._said: dict[tuple[Address, str], int | None] = {}
        """Positions of the messages that decided what `mend` may have to pass on."""

    def apply(self, address: Address, event: Any, cause: int | None = None) -> None:
        """Take the next event of the room's log, and the position that it was decided at."""
        if isinstance(event, events.RoomOpened):
            self._states, self._deadlines, self._said = {}, {}, {}
        decider = decider_at(address)
        state = self._states.get(address)
        if state is None:
            state = decider.initial()
        state = self._states[address] = decider.evolve(state, event)
        if (word := _PASSED_ON.get(type(event))) is not None:
            self._said[address, word] = cause
        if address == ROOM or address.startswith(_TRANSPORT):
            before = self._deadlines.get(address, {})
            self._deadlines[address] = {
                name: before[name]
                if name in before and before[name][0] == at_ns
                else (at_ns, cause)
                for name, at_ns in decider.deadlines(state).items()
            }

    def deadline_causes(self, address: Address) -> dict[str, int]:
        """Positions of the messages that set an actor's deadlines, as far as they are known."""
        known = self._deadlines.get(address, {})
        return {name: cause for name, (_, cause) in known.items() if cause is not None}

    def cause_of(self, message: Any) -> int | None:
        """The position of the decision that a message of `mend` passes on; None: the crash's."""
        match message:
            case ChildClosed(child=child):
                return self._said.get((Address(child), "closed"))
            case ProducerPauseChanged(producer=producer):
                return self._said.get((producer_address(producer), "paused"))
            case ProducerWentLive(producer=producer):
                return self._said.get((producer_address(producer), "active"))
        return None

    def state(self, address: Address) -> Any:
        """The state of any actor, initial if it has no events; not to be changed."""
        state = self._states.get(address)
        return decider_at(address).initial() if state is None else state

    @property
    def room(self) -> RoomState:
        """The room's own state."""
        state = self._states.get(ROOM)
        return state if state is not None else RoomState()

    def states(self) -> States:
        """The states of the room and of all that stands in its directory, opened or not."""
        if self.room.settings is None or self.room.closed is not None:
            return {}
        wanted = (ROOM, *children_of(self.room))
        return {
            address: self._states.get(address, decider_at(address).initial()) for address in wanted
        }


def rebuild(log: Iterable[tuple[Address, Any]]) -> States:
    """States of a room that is open at the end of its log; none if it is closed."""
    folding = Rebuild()
    for address, event in log:
        folding.apply(address, event)
    return folding.states()


def children_of(room: RoomState) -> tuple[Address, ...]:
    """Addresses of all actors in a room's directory, owners first."""
    return (
        *map(transport_address, room.transports),
        *map(producer_address, room.producers),
        *map(consumer_address, room.consumers),
    )


def never_opened(address: Address, state: Any) -> bool:
    """Whether an actor stands in the directory, but its first message was never decided."""
    return bool(state == decider_at(address).initial())


def mend(states: States) -> list[tuple[Address, Any]]:
    """Messages, by address, that a recovered room needs before anything else."""
    room: RoomState = states[ROOM]
    messages: list[tuple[Address, Any]] = []
    for child in children_of(room):
        state = states[child]
        if never_opened(child, state):
            messages.append((ROOM, ChildFailed(child=child, reason="interrupted")))
        elif state.closed is not None:
            messages.append((ROOM, ChildClosed(child=child, reason=state.closed)))
    for producer, entry in room.producers.items():
        source: ProducerState = states[producer_address(producer)]
        if source.row is None or source.closed is not None:
            continue
        if source.paused != entry.paused:
            changed = ProducerPauseChanged(producer=producer, paused=source.paused)
            messages.append((ROOM, changed))
        if source.active and not room.streaming:
            messages.append((ROOM, ProducerWentLive(producer=producer)))
    for consumer, link in room.consumers.items():
        address = consumer_address(consumer)
        sink: ConsumerState = states[address]
        paused = room.producers[link.producer].paused
        if sink.row is not None and sink.producer_paused != paused:
            messages.append((address, ProducerPauseChanged(producer=link.producer, paused=paused)))
    messages.append((ROOM, ControlRestarted()))
    return messages
