"""Script time and real time, and how far this machine lags behind."""

from __future__ import annotations

import trio

_TICK_S = 0.1


class ScriptClock:
    """Script time, which runs `speed` times as fast as ours."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.begun_s = trio.current_time()
        self.lag_s_max = 0.0
        """The most by which this process woke too late: more work than it can do."""

    def now_ns(self) -> int:
        """The script's time."""
        return int((trio.current_time() - self.begun_s) * self.speed * 1e9)

    def real_ms(self, script_ns: int) -> float:
        """How long a stretch of the script takes, in milliseconds."""
        return script_ns / 1e6 / self.speed

    async def wait_until(self, at_ns: int) -> None:
        """Wait for an instant of the script; one that has passed is no reason to wait."""
        await trio.sleep_until(self.begun_s + at_ns / 1e9 / self.speed)

    async def watch_lag(self) -> None:
        """Measure until cancelled how late this process wakes."""
        while True:
            due_s = trio.current_time() + _TICK_S
            await trio.sleep_until(due_s)
            self.lag_s_max = max(self.lag_s_max, trio.current_time() - due_s)
