"""Waiting for a condition of the world outside, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL_S = 0.03


def wait_until(what: str, condition: Callable[[], T | None], timeout_s: float = 15.0) -> T:
    """The first true value of `condition`. Fails with the last one, naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s (last: {value!r})"
        time.sleep(INTERVAL_S)
