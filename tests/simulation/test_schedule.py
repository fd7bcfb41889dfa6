"""The canary of the scheduler's hooks: when trio changes them, this fails before all else."""

from __future__ import annotations

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from tests.simulation.schedule import run_seeded


async def _race(_clock: MockClock) -> list[int]:
    order: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(runner, number)
    return order


def test_the_same_seed_gives_the_same_order_and_others_give_others() -> None:
    orders = [run_seeded(_race, seed) for seed in range(10)]
    assert orders == [run_seeded(_race, seed) for seed in range(10)]
    assert len({tuple(order) for order in orders}) > 5


def test_the_hooks_are_put_back() -> None:
    before = trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    run_seeded(_race, 1)
    assert (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before
