"""Folding a room's log into the states of its actors, one envelope after another.

The same states as `actors.core.recovery` builds, kept small on the way: what has closed and left
the room's directory is dropped, so a log of any length takes the memory of what is alive.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.core.deciders import decider_at
from actors.core.recovery import States, children_of
from actors.core.room_state import RoomState
from protocol import codec, events
from protocol.envelope import Envelope, genesis
from protocol.ids import ROOM, Address, consumer_address, producer_address, transport_address
from replay.errors import LogNotUnderstood

_STATELESS = (events.CommandRefused, events.ActorFailed)
_EVOLVE = {
    kind: decider_at(Address(kind)).evolve for kind in ("room", "transport", "producer", "consumer")
}
_INITIAL = {kind: decider_at(Address(kind)).initial for kind in _EVOLVE}


class Fold:
    """The states of a room's actors as of `position`."""

    def __init__(self, room: str) -> None:
        self.name = room
        self.position = 0
        self.at_ns = 0
        self.hash = genesis(room)
        """Of the envelope at `position`."""
        self.states: States = {}
        """Of all actors that have not ended, and of the room's own once it was opened."""

    @property
    def room(self) -> RoomState:
        """The room's own state."""
        state = self.states.get(ROOM)
        return state if state is not None else RoomState()

    def apply(self, envelope: Envelope) -> Any | None:
        """Take the next envelope; return its event, or None if it bears a message.

        Raises `LogNotUnderstood` for what this release cannot read or apply.
        """
        event = None
        if envelope.kind == "event":
            event = event_of(envelope)
            try:
                self._evolve(envelope.actor, event)
            except Exception as error:
                reason = f"{envelope.type} does not fit the state before it ({error!r})"
                raise LogNotUnderstood(self.name, envelope.position, reason) from error
        self.position = envelope.position
        self.at_ns = envelope.at_ns
        self.hash = envelope.hash
        return event

    def _evolve(self, actor: str, event: Any) -> None:
        if type(event) in _STATELESS:
            return
        kind = actor.partition("/")[0]
        states = self.states
        address = Address(actor)
        state = states.get(address)
        if actor == ROOM:
            if type(event) is events.RoomOpened:
                states.clear()
            states[address] = _EVOLVE[kind](RoomState() if state is None else state, event)
            self._forget_removed(event)
            return
        state = _EVOLVE[kind](_INITIAL[kind]() if state is None else state, event)
        if state.closed is not None and not self._listed(kind, actor):
            states.pop(address, None)
        else:
            states[address] = state

    def _listed(self, kind: str, actor: str) -> bool:
        directory: dict[str, Any] = getattr(self.room, kind + "s")
        return actor.partition("/")[2] in directory

    def _forget_removed(self, event: Any) -> None:
        match event:
            case events.TransportRemoved(transport=transport):
                gone = transport_address(transport)
            case events.ProducerRemoved(producer=producer):
                gone = producer_address(producer)
            case events.ConsumerRemoved(consumer=consumer):
                gone = consumer_address(consumer)
            case events.RoomClosed():
                for address in [a for a, s in self.states.items() if s.closed and a != ROOM]:
                    del self.states[address]
                return
            case _:
                return
        state = self.states.get(gone)
        if state is not None and state.closed is not None:
            del self.states[gone]

    def listed(self) -> States:
        """The states of the room and of all in its directory, in its order, opened or not."""
        if ROOM not in self.states:
            return {}
        wanted = (ROOM, *children_of(self.room))
        return {
            address: self.states[address]
            if address in self.states
            else decider_at(address).initial()
            for address in wanted
        }


def event_of(envelope: Envelope) -> Any:
    """The message or event in an envelope, in today's shape. Raises `LogNotUnderstood`."""
    try:
        return codec.decode(envelope.type, envelope.version, envelope.data)
    except codec.UnknownType as error:
        reason = f"{error} is of a newer release, or unknown"
        raise LogNotUnderstood(envelope.room, envelope.position, reason) from error
    except msgspec.MsgspecError as error:
        reason = f"{envelope.type} does not decode ({error})"
        raise LogNotUnderstood(envelope.room, envelope.position, reason) from error
