"""Who closes whom: the cascade of a removal, as one pure walk over the directory.

docs/closing.md has the table of all paths; tests/unit/test_closing.py has a test
for each of its rows.
"""

from __future__ import annotations

from actors.core.decider import Decision, Effect, Tell
from actors.core.room_state import RoomState
from protocol import events
from protocol.events import Event
from protocol.ids import Address, consumer_address, producer_address, transport_address
from protocol.messages import Close


class Removal:
    """Collects the events and effects of taking things out of a room.

    Each thing is removed once, owners before what they own. The actor `told`
    closed by itself and is not told again. `decision` is asked for once.
    """

    def __init__(self, state: RoomState, *, told: Address | None = None) -> None:
        self._state = state
        self._told = told
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._gone: set[str] = set()
        self._producers_left = len(state.producers)
        self._reason = ""

    def peer(self, peer: str, reason: str, *, at_ns: int) -> None:
        """Remove a peer and all its transports (`peer_left`)."""
        state = self._state
        assert state.settings is not None
        entry = state.peers[peer]
        last = len(state.peers) == 1
        closes_at_ns = at_ns + state.settings.empty_room_linger_ns if last else None
        self._events.append(
            events.PeerLeft(peer=peer, reason=reason, room_closes_at_ns=closes_at_ns)
        )
        for transport in entry.transports:
            self.transport(transport, "peer_left")

    def transport(self, transport: str, reason: str) -> None:
        """Remove a transport, its producers and its consumers (`transport_closed`)."""
        entry = self._state.transports.get(transport)
        if entry is None or not self._first(transport):
            return
        self._events.append(
            events.TransportRemoved(transport=transport, peer=entry.peer, reason=reason)
        )
        self._close(transport_address(transport), reason)
        for producer in entry.producers:
            self.producer(producer, "transport_closed")
        for consumer in entry.consumers:
            self.consumer(consumer, "transport_closed")

    def producer(self, producer: str, reason: str) -> None:
        """Remove a producer and its consumers (`producer_closed`)."""
        entry = self._state.producers.get(producer)
        if entry is None or not self._first(producer):
            return
        self._producers_left -= 1
        self._reason = reason
        self._events.append(
            events.ProducerRemoved(producer=producer, peer=entry.peer, reason=reason)
        )
        self._close(producer_address(producer), reason)
        for consumer in entry.consumers:
            self.consumer(consumer, "producer_closed")

    def consumer(self, consumer: str, reason: str) -> None:
        """Remove a consumer."""
        entry = self._state.consumers.get(consumer)
        if entry is None or not self._first(consumer):
            return
        self._events.append(
            events.ConsumerRemoved(consumer=consumer, peer=entry.peer, reason=reason)
        )
        self._close(consumer_address(consumer), reason)

    def decision(self, *more: Effect) -> Decision:
        """All that was collected; streaming stops with the last producer."""
        if self._state.streaming and self._producers_left == 0:
            self._events.append(events.StreamingStopped(reason=self._reason))
        return Decision(tuple(self._events), (*self._effects, *more))

    def _first(self, entity: str) -> bool:
        if entity in self._gone:
            return False
        self._gone.add(entity)
        return True

    def _close(self, address: Address, reason: str) -> None:
        if address != self._told:
            self._effects.append(Tell(address, Close(reason=reason)))


def close_room(state: RoomState, reason: str) -> Decision:
    """End the room: every actor of it is closed with `room_closed`."""
    told: list[Event] = []
    if state.streaming:
        told.append(events.StreamingStopped(reason="room_closed"))
    told.append(events.RoomClosed(reason=reason))
    children = (
        *map(transport_address, state.transports),
        *map(producer_address, state.producers),
        *map(consumer_address, state.consumers),
    )
    return Decision(
        tuple(told), tuple(Tell(child, Close(reason="room_closed")) for child in children)
    )
