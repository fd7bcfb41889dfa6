"""Live through a simulated world and print one hash over all its logs.

    python -m bench.world SEED

The same seed must give the same hash in every process and on every machine.
"""

import os
import subprocess
import sys
from hashlib import sha256

STEPS = 150


def world_hash(seed: int) -> str:
    """The hash of the world of a seed."""
    from tests.simulation.test_control_plane import live  # noqa: PLC0415 - needs its environment

    digest = sha256()
    for room, log in sorted(live(seed).stage.store._logs.items()):
        digest.update(f"{room}\x00{len(log)}\x00".encode() + log[-1].hash)
    return digest.hexdigest()


def in_processes(seed: int, count: int = 2) -> list[str]:
    """The hashes that so many processes come to, each with another hash seed of Python's own."""
    found = []
    for n in range(count):
        env = os.environ | {"PYTHONHASHSEED": str(n + 1), "REPRISE_SIMULATION_STEPS": str(STEPS)}
        done = subprocess.run(
            [sys.executable, "-m", "bench.world", str(seed)],
            check=True, capture_output=True, text=True, env=env,
        )  # fmt: skip
        found.append(done.stdout.strip())
    return found


if __name__ == "__main__":
    print(world_hash(int(sys.argv[1])))
