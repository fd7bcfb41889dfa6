"""When a failed actor is started again, and when it is given up."""

from __future__ import annotations

from actors.kernel.clock import NS_PER_S

FAILURES_MAX = 3
"""Failures within the window that an actor survives."""

WINDOW_NS = 60 * NS_PER_S


class RestartPolicy:
    """Counts the failures of one actor within a sliding window.

    An actor is restarted from its events, which did not contain the message
    that broke it; so one bad message costs one answer. When they keep coming,
    the fault is in the actor's own state, and it is closed.
    """

    def __init__(self, *, failures_max: int = FAILURES_MAX, window_ns: int = WINDOW_NS) -> None:
        self._failures: list[int] = []
        self._failures_max = failures_max
        self._window_ns = window_ns

    def note_failure(self, at_ns: int) -> int:
        """Count a failure; returns how many there are within the window."""
        self._failures.append(at_ns)
        while self._failures[0] <= at_ns - self._window_ns:
            del self._failures[0]
        return len(self._failures)

    def take_back(self) -> None:
        """Uncount the last failure: it could not be written down, and will come again."""
        self._failures.pop()

    def gives_up(self) -> bool:
        """Whether the actor has failed too often."""
        return len(self._failures) > self._failures_max
