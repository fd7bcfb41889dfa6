"""Timers: one queue of deadlines for all actors, kept by one task."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count

import trio

from actors.kernel.interfaces import Clock

_STALE_MAX = 64
"""Deadlines that may be moved or cancelled before anyone cares."""


class Timers:
    """Calls back when deadlines are reached. Setting a key anew moves its deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Hashable]] = []
        self._set: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._serial = count()
        self._changed = trio.Event()

    def __len__(self) -> int:
        """How many deadlines are set."""
        return len(self._set)

    def set(self, key: Hashable, at_ns: int, fire: Callable[[], None]) -> None:
        """Call `fire` once when the clock reaches `at_ns`, in nanoseconds since the epoch."""
        serial = next(self._serial)
        self._set[key] = (serial, fire)
        if len(self._heap) > 2 * len(self._set) + _STALE_MAX:
            self._sweep()
        heapq.heappush(self._heap, (at_ns, serial, key))
        if self._heap[0][1] == serial:
            self._changed.set()

    def cancel(self, key: Hashable) -> None:
        """Forget a deadline; no error if there is none."""
        self._set.pop(key, None)

    def _sweep(self) -> None:
        """Drop what was moved or cancelled, before it outweighs the rest."""
        live = self._set
        self._heap = [
            entry for entry in self._heap if entry[2] in live and live[entry[2]][0] == entry[1]
        ]
        heapq.heapify(self._heap)

    async def run(self) -> None:
        """Fire what is due until cancelled."""
        while True:
            self._changed = trio.Event()
            self._fire_due()
            if not self._heap:
                await self._changed.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sleep, self._heap[0][0], nursery.cancel_scope)
                await self._changed.wait()
                nursery.cancel_scope.cancel()

    async def _sleep(self, at_ns: int, scope: trio.CancelScope) -> None:
        await self._clock.sleep_until(at_ns)
        scope.cancel()

    def _fire_due(self) -> None:
        now_ns = self._clock.now_ns()
        while self._heap and self._heap[0][0] <= now_ns:
            _, serial, key = heapq.heappop(self._heap)
            current = self._set.get(key)
            if current is not None and current[0] == serial:
                del self._set[key]
                current[1]()
