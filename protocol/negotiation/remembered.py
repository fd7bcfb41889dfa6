"""What was worked out for two values before, and need not be again.

A thousand viewers of one producer, with the same browser, get the same from the same two values.
They are told apart by identity, which is quick; so it helps only where values are passed on and not
made anew. What is kept is what would be worked out, so nothing depends on what is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

KEPT = 256
"""Outcomes that are kept; when they are more, all are forgotten."""

A = TypeVar("A")
B = TypeVar("B")
Outcome = TypeVar("Outcome")


class Remembered(Generic[A, B, Outcome]):
    """A pure function of two immutable values, which keeps its outcomes."""

    def __init__(self, work_out: Callable[[A, B], Outcome]) -> None:
        self._work_out = work_out
        self._kept: dict[tuple[int, int], tuple[A, B, Outcome]] = {}

    def __call__(self, first: A, second: B) -> Outcome:
        """Return what the function gives for these two."""
        key = (id(first), id(second))
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            # The values are kept with it, so that no other can come to have their identities.
            kept = self._kept[key] = (first, second, self._work_out(first, second))
        return kept[2]
