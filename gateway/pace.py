"""The pace at which sockets are told what is not urgent: notifications.

One event in a big room concerns a thousand sockets, and a burst of events a thousand times each. A
write costs some 60 µs whatever it carries, so outboxes are flushed in turn, at a bounded rate:
after quiet at once, in a busy room later, with all that came meanwhile in one write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

FLUSHES_PER_SECOND_MAX = 4000
"""Flushes that are not urgent; about a quarter of a core. A room of 1,000 hears within 250 ms."""
TURN = 40
"""Flushes at a time: 10 ms of the rate."""

Flush = Callable[[], None]


class Pace:
    """Flushes outboxes in the order in which they asked. `run` is its task."""

    def __init__(self) -> None:
        self._waiting: dict[Flush, None] = {}
        self._asked = trio.Event()

    def note(self, flush: Flush) -> None:
        """Have `flush` called when its turn comes; asking twice is asking once."""
        if not self._waiting:
            self._asked.set()
        self._waiting[flush] = None

    async def run(self) -> NoReturn:
        """Give turns until cancelled."""
        while True:
            if not self._waiting:
                self._asked = trio.Event()
                await self._asked.wait()
            turn = list(self._waiting)[:TURN] if len(self._waiting) > TURN else self._waiting
            for flush in list(turn):
                del self._waiting[flush]
                flush()
            await trio.sleep(TURN / FLUSHES_PER_SECOND_MAX)
