"""The feed of a room: its notifications, live as they become durable and again from the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import trio

from actors.kernel.interfaces import Store
from actors.kernel.personal import PersonalEdge
from protocol import codec, events
from protocol.envelope import Envelope
from protocol.notifications import (
    NOTIFYING_TYPES,
    Everyone,
    Notification,
    Only,
    Several,
    notification_of,
)
from protocol.signaling import Subprotocol, encode_notification


class Told:
    """A notification at its position, encoded once for all who are told."""

    __slots__ = ("_frames", "notification", "passing", "position")

    def __init__(self, position: int, notification: Notification, *, passing: bool = False) -> None:
        self.position = position
        self.passing = passing
        """It holds for a moment and stands in no log: it bears the last position told before."""
        self.notification = notification
        self._frames: dict[str, bytes | str] = {}

    def frame(self, subprotocol: Subprotocol) -> bytes | str:
        """The frame to send; encoded at the first call for a subprotocol."""
        frame = self._frames.get(subprotocol)
        if frame is None:
            frame = encode_notification(subprotocol, self.position, self.notification)
            self._frames[subprotocol] = frame
        return frame


Deliver = Callable[[Told], None]

LEFT_MAX = 1024
"""Peers that left of which a feed knows where they joined; the oldest is forgotten."""


RECENT_MAX = 256
"""Notifications that a feed keeps, for those who missed no more than these; the oldest goes."""


class RoomFeed:
    """Tells the peers of one room what happens, in order of position, each thing once.

    `deliver` is called at once for each notification and must not wait or
    raise: bounding its own queue is its duty.
    """

    def __init__(self, room: str, store: Store, edge: PersonalEdge | None = None) -> None:
        self._room = room
        self._store = store
        self._edge = edge
        self._subscribers: dict[str, Deliver] = {}
        self.published = 0
        """Position up to which subscribers have been told."""
        self.producers = 0
        self.streaming = False
        self.microphones: dict[str, str] = {}
        """The peer of each audio producer."""
        self._joined: dict[str, int] = {}
        """Where the peers that are in the room joined it."""
        self._left: dict[str, int] = {}
        """Where those joined that have left: one may have been about to resume."""
        self._recent: deque[Told] = deque()
        self._recent_after: int | None = None
        """All that was told after this position is in `_recent`; None: nothing was told yet."""
        self._leaving: dict[str, trio.Event] = {}
        """Set when a peer that somebody waits for has left."""

    def has_peer(self, peer: str) -> bool:
        """Whether a peer is in the room, as published."""
        return peer in self._joined

    async def wait_left(self, peer: str) -> None:
        """Wait until it has been published that a peer left."""
        while peer in self._joined:
            await self._leaving.setdefault(peer, trio.Event()).wait()

    @property
    def peers(self) -> int:
        """How many peers are in the room; like `producers` and `streaming`, as published."""
        return len(self._joined)

    def subscribe(self, peer: str, deliver: Deliver) -> int:
        """Tell `deliver` from now on, in place of any other subscriber of that peer.

        Returns the position up to which it will not be told: that part of the
        past is read with `missed`.
        """
        self._subscribers[peer] = deliver
        return self.published

    def unsubscribe(self, peer: str, deliver: Deliver) -> None:
        """Tell `deliver` no more; no error if another took its place."""
        if self._subscribers.get(peer) == deliver:
            del self._subscribers[peer]

    def publish(self, position: int, event: Any | None) -> None:
        """Tell of what has become durable at `position`; for the journal only."""
        if self._recent_after is None:
            self._recent_after = self.published
        self.published = position
        self.note(position, event)
        notification = notification_of(event) if event is not None else None
        if notification is None:
            return
        if self._edge is not None:
            notification = self._edge.notification(notification)
        told = Told(position, notification)
        self._recent.append(told)
        if len(self._recent) > RECENT_MAX:
            self._recent_after = self._recent.popleft().position
        self._tell(told)

    def forget_recent(self) -> None:
        """Keep nothing of what was told: who missed it reads it from the log."""
        self._recent.clear()
        self._recent_after = self.published

    def tell_now(self, notification: Notification) -> None:
        """Tell what holds for a moment and stands in no log: who misses it loses nothing."""
        self._tell(Told(self.published, notification, passing=True))

    def _tell(self, told: Told) -> None:
        match told.notification.audience:
            case Only(peer):
                self._deliver((peer,), told)
            case Several(peers):
                self._deliver(peers, told)
            case Everyone(but):
                self._deliver([peer for peer in self._subscribers if peer != but], told)

    def _deliver(self, peers: Sequence[str], told: Told) -> None:
        for peer in peers:
            deliver = self._subscribers.get(peer)
            if deliver is not None:
                deliver(told)

    def note(self, position: int, event: Any | None) -> None:
        """Keep what is there as of an event; whoever recovers a room tells of the past with it."""
        match event:
            case events.PeerJoined(peer=peer):
                self._joined[peer] = position
            case events.PeerLeft(peer=peer):
                self._left[peer] = self._joined.pop(peer)
                self._told_left(peer)
                if len(self._left) > LEFT_MAX:
                    del self._left[next(iter(self._left))]
            case events.ProducerAdded(producer=producer, kind=kind, peer=peer):
                self.producers += 1
                if kind == "audio":
                    self.microphones[producer] = peer
            case events.ProducerRemoved(producer=producer):
                self.producers -= 1
                self.microphones.pop(producer, None)
            case events.StreamingStarted():
                self.streaming = True
            case events.StreamingStopped():
                self.streaming = False
            case events.RoomOpened():
                self._joined.clear()
                self._left.clear()
                self.producers, self.streaming = 0, False
                self.microphones.clear()

    def _told_left(self, peer: str) -> None:
        waited = self._leaving.pop(peer, None)
        if waited is not None:
            waited.set()

    async def missed(self, peer: str, after: int, up_to: int) -> list[Told]:
        """Find what `peer` was told after one position, up to and with another.

        It is read from the log unless it is among the last things told: who has just joined a
        room where much happens missed those alone. Nothing is told of the time before the peer
        joined, whatever it asks for.
        """
        joined = self._joined.get(peer, self._left.get(peer, up_to))
        after = max(after, joined)
        if after >= up_to:
            return []
        kept_after = self._recent_after
        if kept_after is not None and kept_after <= after and up_to <= self.published:
            return self._recently(peer, after, up_to)
        found: list[Told] = []
        envelopes = await self._store.read(self._room, after, up_to, types=NOTIFYING_TYPES)
        for envelope in envelopes:
            notification = notification_of(event_in(envelope))
            if notification is not None and notification.concerns(peer):
                if self._edge is not None:
                    notification = await self._edge.past_notification(notification)
                found.append(Told(envelope.position, notification))
        return found

    def _recently(self, peer: str, after: int, up_to: int) -> list[Told]:
        found: list[Told] = []
        for told in reversed(self._recent):
            if told.position <= after:
                break
            if told.position <= up_to and told.notification.concerns(peer):
                found.append(told)
        found.reverse()
        return found


def event_in(envelope: Envelope) -> Any:
    """The typed event of an envelope."""
    return codec.decode(envelope.type, envelope.version, envelope.data)
