"""The whole control plane under random clients, faults and crashes.

`REPRISE_SIMULATION_SEEDS=5000` lives through that many worlds; `REPRISE_SIMULATION_SEED=17`
through one alone, as a failure says.
"""

from __future__ import annotations

import os

import pytest
from trio.testing import MockClock

from tests.simulation.schedule import run_seeded
from tests.simulation.world import World

STEPS = int(os.environ.get("REPRISE_SIMULATION_STEPS", "150"))
SEEDS = int(os.environ.get("REPRISE_SIMULATION_SEEDS", "40"))
ONE = os.environ.get("REPRISE_SIMULATION_SEED")
CHUNK = 20
"""Worlds in one test, so that a long run does not list thousands."""


def live(seed: int) -> World:
    """Live through the world of a seed; a failure says how to see it again."""
    worlds: list[World] = []

    async def main(clock: MockClock) -> None:
        worlds.append(World(seed, clock))
        await worlds[0].run(STEPS)

    try:
        run_seeded(main, seed)
    except BaseException as error:
        story = "\n".join(worlds[0].story[-40:]) if worlds else ""
        error.add_note(
            f"seed {seed}; the last of what happened:\n{story}\n\nto see it again:\n"
            f"REPRISE_SIMULATION_SEED={seed} REPRISE_SIMULATION_STEPS={STEPS} "
            "python -m pytest tests/simulation/test_control_plane.py"
        )
        raise
    return worlds[0]


@pytest.mark.skipif(ONE is not None, reason="one seed is asked for")
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_all_that_must_hold_holds_in_every_world(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        live(seed)


@pytest.mark.skipif(ONE is None, reason="REPRISE_SIMULATION_SEED names one seed")
def test_all_that_must_hold_holds_in_the_world_of_the_seed() -> None:
    live(int(ONE or 0))


def test_a_seed_gives_the_same_world_again() -> None:
    """Down to the last byte of the log, or no failure could be looked at twice."""

    def logs(seed: int) -> dict[str, bytes]:
        kept = live(seed).stage.store._logs
        return {room: envelopes[-1].hash for room, envelopes in kept.items()}

    assert logs(3) == logs(3)
    assert logs(3) != logs(4)
