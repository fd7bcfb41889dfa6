"""Who closes whom: the cascade of a removal, as one pure walk over the directory.

docs/closing.md has the table of all paths; tests/scenario/test_closing.py lives
through each of its rows.
"""

from __future__ import annotations

from msgspec import UNSET

from actors.core.decider import Decision, Effect, Tell
from actors.core.room_state import RoomState
from protocol import events
from protocol.events import Event
from protocol.ids import Address, consumer_address, producer_address, transport_address
from protocol.messages import Close
from protocol.notifications import PEER_LEFT

TRANSPORT_CLOSED = "transport_closed"
PRODUCER_CLOSED = "producer_closed"
ROOM_CLOSED = "room_closed"


class Removal:
    """Collects the events and effects of taking things out of a room.

    Each thing is removed once, owners before what they own. The actor `told`
    closed by itself and is not told again. `decision` is asked for once, and
    `len` is the number of events so far.
    """

    def __init__(self, state: RoomState, *, told: Address | None = None) -> None:
        self._state = state
        self._told = told
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._gone: set[str] = set()
        self._peers_left = len(state.peers)
        self._producers_left = len(state.producers)
        self._reason: str | None = None
        """Why the first thing was removed: all the rest follows from it."""

    def __len__(self) -> int:
        return len(self._events)

    def peer(self, peer: str, reason: str, *, at_ns: int) -> None:
        """Remove a peer and all that it has (`peer_left`)."""
        state = self._state
        assert state.settings is not None
        if not self._first(peer, reason):
            return
        self._peers_left -= 1
        last = self._peers_left == 0
        closes_at_ns = at_ns + state.settings.empty_room_linger_ns if last else None
        self._events.append(
            events.PeerLeft(
                peer=peer,
                reason=reason,
                room_closes_at_ns=closes_at_ns,
                announced=UNSET if state.peers[peer].announced else False,
            )
        )
        for transport in state.peers[peer].transports:
            self.transport(transport, PEER_LEFT, carried=PEER_LEFT)

    def transport(self, transport: str, reason: str, *, carried: str = TRANSPORT_CLOSED) -> None:
        """Remove a transport, and with the reason `carried` its producers and consumers."""
        entry = self._state.transports.get(transport)
        if entry is None or not self._first(transport, reason):
            return
        self._events.append(
            events.TransportRemoved(transport=transport, peer=entry.peer, reason=reason)
        )
        self._close(transport_address(transport), reason)
        for producer in entry.producers:
            self.producer(producer, carried)
        for consumer in entry.consumers:
            self.consumer(consumer, carried)

    def producer(self, producer: str, reason: str) -> None:
        """Remove a producer and its consumers (`producer_closed`)."""
        entry = self._state.producers.get(producer)
        if entry is None or not self._first(producer, reason):
            return
        self._producers_left -= 1
        self._events.append(
            events.ProducerRemoved(producer=producer, peer=entry.peer, reason=reason)
        )
        self._close(producer_address(producer), reason)
        for consumer in entry.consumers:
            self.consumer(consumer, PRODUCER_CLOSED)

    def consumer(self, consumer: str, reason: str) -> None:
        """Remove a consumer."""
        entry = self._state.consumers.get(consumer)
        if entry is None or not self._first(consumer, reason):
            return
        self._events.append(
            events.ConsumerRemoved(consumer=consumer, peer=entry.peer, reason=reason)
        )
        self._close(consumer_address(consumer), reason)

    def decision(self, *more: Effect) -> Decision:
        """All that was collected; streaming stops with the last producer."""
        if self._reason is not None and self._state.streaming and self._producers_left == 0:
            self._events.append(events.StreamingStopped(reason=self._reason))
        return Decision(tuple(self._events), (*self._effects, *more))

    def _first(self, entity: str, reason: str) -> bool:
        if entity in self._gone:
            return False
        self._gone.add(entity)
        if self._reason is None:
            self._reason = reason
        return True

    def _close(self, address: Address, reason: str) -> None:
        if address != self._told:
            self._effects.append(Tell(address, Close(reason=reason)))


def close_room(state: RoomState, reason: str) -> Decision:
    """End the room: every actor of it is closed with `room_closed`."""
    told: list[Event] = []
    if state.streaming:
        told.append(events.StreamingStopped(reason=reason))
    told.append(events.RoomClosed(reason=reason))
    children = (
        *map(transport_address, state.transports),
        *map(producer_address, state.producers),
        *map(consumer_address, state.consumers),
    )
    return Decision(
        tuple(told), tuple(Tell(child, Close(reason=ROOM_CLOSED)) for child in children)
    )
