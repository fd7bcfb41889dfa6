"""trio's scheduler made deterministic: the one place that touches trio's insides.

trio runs the tasks of one tick in random order on purpose. With these two hooks the order comes
from a seed, so that a run can be had again. `test_schedule.py` notices when they change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")


@contextmanager
def seeded_schedule(seed: int) -> Iterator[None]:
    """Order the tasks of each tick by `seed` alone."""
    hooks: Any = trio_run
    before = hooks._ALLOW_DETERMINISTIC_SCHEDULING, hooks._r
    hooks._ALLOW_DETERMINISTIC_SCHEDULING, hooks._r = True, Random(seed)
    try:
        yield
    finally:
        hooks._ALLOW_DETERMINISTIC_SCHEDULING, hooks._r = before


def run_seeded(main: Callable[[MockClock], Awaitable[T]], seed: int) -> T:
    """Run `main` with the order of tasks by `seed`, and a clock that only it turns."""
    clock = MockClock()
    with seeded_schedule(seed):
        return trio.run(main, clock, clock=clock)
