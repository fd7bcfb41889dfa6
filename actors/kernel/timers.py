"""Timers: one queue of deadlines for all actors, kept by one task."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count

import trio

from actors.kernel.interfaces import Clock


class Timers:
    """Calls back when deadlines are reached. Setting a key anew moves its deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Hashable]] = []
        self._set: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._serial = count()
        self._changed = trio.Event()

    def set(self, key: Hashable, at_ns: int, fire: Callable[[], None]) -> None:
        """Call `fire` once when the clock reaches `at_ns`, in nanoseconds since the epoch."""
        serial = next(self._serial)
        self._set[key] = (serial, fire)
        heapq.heappush(self._heap, (at_ns, serial, key))
        if self._heap[0][1] == serial:
            self._changed.set()

    def cancel(self, key: Hashable) -> None:
        """Forget a deadline; no error if there is none."""
        self._set.pop(key, None)

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
