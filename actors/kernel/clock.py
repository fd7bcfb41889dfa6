"""The wall clock on trio's clock, so that a test that turns trio's turns this one too."""

from __future__ import annotations

import time

import trio

NS_PER_S = 1_000_000_000


class TrioClock:
    """Wall clock that starts at `epoch_ns` and runs with `trio.current_time`.

    It never steps: a correction of the machine's clock shows after a restart.
    Make it inside a trio run.
    """

    def __init__(self, epoch_ns: int | None = None) -> None:
        self._epoch_ns = time.time_ns() if epoch_ns is None else epoch_ns
        self._started = trio.current_time()

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._epoch_ns + int((trio.current_time() - self._started) * NS_PER_S)

    async def sleep_until(self, at_ns: int) -> None:
        """Wait until `now_ns` is at least `at_ns`."""
        await trio.sleep_until(self._started + (at_ns - self._epoch_ns) / NS_PER_S)
        if self.now_ns() < at_ns:  # the two clocks differ by a rounding
            await trio.sleep(1e-6)
