"""A socket that is in a room: it is told what happens there, each thing once and in order.

First comes what it missed, read from the log, while what happens meanwhile is kept back; then
that, and from then on everything at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.control import RoomFeed, Told
from gateway.outbox import Outbox
from protocol.signaling import CloseCode, Subprotocol

EARLY_MAX = 4096
"""Live notifications that are kept back while missed ones are read."""
MISSED_POSITIONS = 4096
"""Positions of the log that are read at a time."""

Close = Callable[[CloseCode, str], None]


class Attachment:
    """One peer's place in its room, for the time of one socket."""

    def __init__(
        self,
        *,
        room: str,
        peer: str,
        number: int,
        feed: RoomFeed,
        subprotocol: Subprotocol,
        outbox: Outbox,
        close: Close,
    ) -> None:
        self.room = room
        self.peer = peer
        self.number = number
        self.left = False
        """The peer left, or another socket took over: nobody has to be told of the loss."""
        self.feed = feed
        self._subprotocol = subprotocol
        self._outbox = outbox
        self._close = close
        self._early: deque[Told] | None = deque()
        self._told_up_to = 0

    def subscribe(self) -> int:
        """Keep back what happens from now on; the position that `catch_up` must read up to."""
        return self.feed.subscribe(self.peer, self._deliver)

    def unsubscribe(self) -> None:
        """Hear nothing more."""
        self.feed.unsubscribe(self.peer, self._deliver)

    async def catch_up(self, after: int, up_to: int) -> None:
        """Tell what was missed with `after` < position <= `up_to`, then what was kept back.

        Waits for the client to read where that is much. Raises what the log raises.
        """
        self._told_up_to = after
        for start in range(after, up_to, MISSED_POSITIONS):
            end = min(start + MISSED_POSITIONS, up_to)
            for told in await self.feed.missed(self.peer, start, end):
                await self._tell_in_time(told)
        assert self._early is not None
        while self._early:
            await self._tell_in_time(self._early.popleft())
        self._early = None

    async def _tell_in_time(self, told: Told) -> None:
        """Tell when the client has read enough of what was told before."""
        await self._outbox.wait_space(len(told.frame(self._subprotocol)))
        self._tell(told)

    def _deliver(self, told: Told) -> None:
        if told.passing:
            if self._early is None:
                self._put(told)
        elif self._early is None:
            self._tell(told)
        elif len(self._early) < EARLY_MAX:
            self._early.append(told)
        else:
            self._close(CloseCode.TOO_SLOW, "too much happened while missed events were sent")

    def _tell(self, told: Told) -> None:
        if told.position <= self._told_up_to:
            return
        self._told_up_to = told.position
        if not self._put(told):
            return
        name, data, _ = told.notification
        if name == "roomClosed":
            self._close(CloseCode.NORMAL, "the room closed")
        elif name == "peerLeft" and data["peer"] == self.peer:
            self.left = True
            self._close(CloseCode.EVICTED, "the peer was removed from the room")

    def _put(self, told: Told) -> bool:
        """Queue a frame; without space the client is too slow."""
        taken = self._outbox.put(told.frame(self._subprotocol), urgent=False)
        if not taken:
            self._close(CloseCode.TOO_SLOW, "notifications are not read fast enough")
        return taken
