"""One queue of deadlines for all actors, under a clock that a test turns."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.kernel.clock import NS_PER_S, TrioClock
from actors.kernel.timers import Timers

EPOCH_NS = 1_700_000_000 * NS_PER_S


class Bell:
    """Timers at work, and what rang when (in whole milliseconds from the start)."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.clock = TrioClock(EPOCH_NS)
        self.timers = Timers(self.clock)
        self.rung: list[tuple[Any, int]] = []
        nursery.start_soon(self.timers.run)

    def set(self, key: Any, after_s: float) -> None:
        def ring() -> None:
            self.rung.append((key, (self.clock.now_ns() - EPOCH_NS) // 1_000_000))

        self.timers.set(key, EPOCH_NS + int(after_s * NS_PER_S), ring)


async def test_deadlines_ring_in_order_of_time_whatever_the_order_of_setting(
    nursery: trio.Nursery, autojump_clock: Any
) -> None:
    bell = Bell(nursery)
    await wait_all_tasks_blocked()
    for after_s in (3, 1, 2, 1.5):
        bell.set(after_s, after_s)
    await trio.sleep(10)
    assert bell.rung == [(1, 1000), (1.5, 1500), (2, 2000), (3, 3000)]


async def test_never_early(nursery: trio.Nursery, autojump_clock: Any) -> None:
    bell = Bell(nursery)
    early: list[int] = []
    for number in range(200):
        at_ns = EPOCH_NS + NS_PER_S * number // 7 + number

        def check(at_ns: int = at_ns) -> None:
            early.append(at_ns - bell.clock.now_ns())

        bell.timers.set(number, at_ns, check)
    await trio.sleep(40)
    assert len(early) == 200
    assert max(early) <= 0


async def test_setting_a_key_anew_moves_it(nursery: trio.Nursery, autojump_clock: Any) -> None:
    bell = Bell(nursery)
    bell.set("a", 1)
    bell.set("a", 5)
    bell.set("b", 5)
    bell.set("b", 2)
    await trio.sleep(10)
    assert bell.rung == [("b", 2000), ("a", 5000)]


async def test_a_cancelled_deadline_is_silent(nursery: trio.Nursery, autojump_clock: Any) -> None:
    bell = Bell(nursery)
    bell.set("a", 1)
    await trio.sleep(0.5)
    bell.timers.cancel("a")
    bell.timers.cancel("never set")
    await trio.sleep(5)
    assert bell.rung == []


async def test_what_is_due_already_rings_at_once(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    bell = Bell(nursery)
    await wait_all_tasks_blocked()
    bell.set("past", -5)
    await wait_all_tasks_blocked()
    assert bell.rung == [("past", 0)]


async def test_a_bell_may_set_itself_again(nursery: trio.Nursery, autojump_clock: Any) -> None:
    bell = Bell(nursery)
    rung: list[int] = []

    def again() -> None:
        rung.append(len(rung))
        if len(rung) < 4:
            bell.timers.set("a", bell.clock.now_ns() + NS_PER_S, again)

    bell.timers.set("a", EPOCH_NS + NS_PER_S, again)
    await trio.sleep(10)
    assert rung == [0, 1, 2, 3]


async def test_deadlines_that_were_moved_or_cancelled_leave_nothing_behind(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """A peer that loses its socket and comes back all day long must not fill the queue."""
    bell = Bell(nursery)
    bell.set("stays", 50)
    for _ in range(10_000):
        bell.set("a", 3600)
        bell.set("b", 3600)
        bell.timers.cancel("b")
    assert len(bell.timers) == 2
    assert len(bell.timers._heap) < 200
    mock_clock.jump(3600)
    await wait_all_tasks_blocked()
    assert [key for key, _ in bell.rung] == ["stays", "a"]
    assert len(bell.timers) == 0


async def test_the_clock_runs_with_trios_from_its_epoch(mock_clock: MockClock) -> None:
    clock = TrioClock(EPOCH_NS)
    assert clock.now_ns() == EPOCH_NS
    mock_clock.jump(1.5)
    assert clock.now_ns() == pytest.approx(EPOCH_NS + 1.5 * NS_PER_S, abs=2)
    with trio.fail_after(1):
        await clock.sleep_until(EPOCH_NS)


async def test_without_an_epoch_the_clock_shows_the_time_of_day() -> None:
    assert abs(TrioClock().now_ns() - time.time_ns()) < 60 * NS_PER_S
