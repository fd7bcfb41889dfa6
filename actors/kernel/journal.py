"""The journal: one room's end of the event store, where order is kept.

All actors of a room append here. Positions are given at the call; what has
become durable is published in order of position, whoever waited for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.kernel.feed import RoomFeed
from actors.kernel.interfaces import Receipt, Store
from protocol.envelope import Draft


class Entry(NamedTuple):
    """A draft, and the event in it if it is one."""

    draft: Draft
    event: Any | None


class Journal:
    """Appends to one room's log and publishes to its feed."""

    def __init__(self, room: str, store: Store, feed: RoomFeed) -> None:
        self._room = room
        self._store = store
        self._feed = feed
        self._pending: deque[tuple[Receipt, tuple[Any | None, ...]]] = deque()
        feed.published = store.next_position(room) - 1

    def next_position(self) -> int:
        """Position of the next draft, until something is awaited."""
        return self._store.next_position(self._room)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append, wait until it is durable, and publish. Raises a `StoreError` if it cannot.

        Positions are given before the first await. When this returns, all that
        stands before in the log is durable and published too.
        """
        receipt = self._store.append_nowait(self._room, [entry.draft for entry in entries])
        self._pending.append((receipt, tuple(entry.event for entry in entries)))
        try:
            await receipt.wait_durable()
        finally:
            self._publish_settled()

    def _publish_settled(self) -> None:
        """Publish from the front of the queue as far as it is settled."""
        while self._pending:
            receipt, events = self._pending[0]
            if not receipt.durable and receipt.error is None:
                return
            self._pending.popleft()
            if receipt.error is not None:
                continue
            for envelope, event in zip(receipt.envelopes, events, strict=True):
                self._feed.publish(envelope.position, event)
