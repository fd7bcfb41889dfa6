"""The least that forwarding could cost: a plain loop that encrypts and sends (`examples/floor.rs`).

What it says of the machine is what the benches hold the router against.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.load_runs import Figures
from tests.support.serving import ROOT

MANIFEST = ROOT / "media" / "native" / "Cargo.toml"
Command = list[str]


def build() -> Command:
    """Build it, and give the command that runs it."""
    cargo = ["cargo", "build", "--quiet", "--release", "--example", "floor"]
    subprocess.run([*cargo, f"--manifest-path={MANIFEST}"], check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", MANIFEST.parent / "target"))
    return [str(target / "release" / "examples" / "floor")]


def measure(command: Command, viewers: int, duration_s: int, cores: Sequence[int]) -> Figures:
    """Let it send to so many sockets, from the first core to the last."""
    return _figures(_started(command, viewers, duration_s, cores))


def times_of_two_cores(command: Command, viewers: int, duration_s: int, rounds: int) -> float:
    """How much more the machine itself does with two cores than with one, at most 2.

    One loop with its readers on one core, then one on each core at once: what a packet costs
    alone, by what it costs beside another. Cores share caches, memory and often more than that.
    """
    first, second = sorted(os.sched_getaffinity(0))[:2]
    times = []
    for _ in range(rounds):
        alone = measure(command, viewers, duration_s, (first,))["cost_us"]
        runs = [_started(command, viewers, duration_s, (core,)) for core in (first, second)]
        both = statistics.mean(_figures(run)["cost_us"] for run in runs)
        times.append(2 * alone / both)
    return statistics.median(times)


def _started(
    command: Command, viewers: int, duration_s: int, cores: Sequence[int]
) -> subprocess.Popen[str]:
    pinned = ["taskset", "-c", str(cores[0]), *command]
    return subprocess.Popen(
        [*pinned, str(viewers), str(duration_s), str(cores[-1])], stdout=subprocess.PIPE, text=True
    )


def _figures(run: subprocess.Popen[str]) -> Figures:
    out, _ = run.communicate()
    if run.returncode != 0:
        raise SystemExit("the floor failed")
    figures: Figures = json.loads(out.splitlines()[-1])
    return figures
