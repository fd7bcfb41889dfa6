"""What the benches of forwarding share: a router on chosen cores, `reprise load` on others."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.serving import ROOT, Server

Figures = dict[str, Any]

LOAD = (sys.executable, "-O", "-m", "gateway.cli", "load")
TIMEOUT_S = 180.0
RAMP_PER_S = 100
"""Viewers that come in a second."""


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Whatever is started meanwhile runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def router(cores: Sequence[int], *, workers: int, viewers: int) -> Iterator[Server]:
    """A fresh `reprise serve` with room for so many viewers."""
    options = ["--host=127.0.0.1", f"--workers={workers}", f"--peers-per-room-max={viewers + 9}"]
    options += [f"--sockets-max={viewers + 99}", f"--sockets-per-address-max={viewers + 99}"]
    # Of so many peers more would not fit a room.
    options += ["--producers-per-peer-max=2", "--consumers-per-peer-max=8"]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        where = Path(directory)
        server = Server(where / "data", where, options=options)
        try:
            with on_cores(cores):
                server.start()
            yield server
        finally:
            server.close()


def start_load(url: str, *options: str, cores: Sequence[int]) -> subprocess.Popen[str]:
    """Begin a run of `reprise load`."""
    with on_cores(cores):
        return subprocess.Popen(
            [*LOAD, url, "--json", "--quiet", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def report_of(run: subprocess.Popen[str]) -> Figures:
    """Wait for a run's end; its report. Ends the bench if it could not run."""
    try:
        out, err = run.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        run.kill()
        raise SystemExit("reprise load did not end") from None
    if run.returncode != 0:
        raise SystemExit(f"reprise load failed: {err.strip()}")
    report: Figures = json.loads(out)
    return report


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each number over the rounds; of the rest what was last."""
    return {
        name: statistics.median(one[name] for one in rounds)
        if isinstance(value, int | float)
        else value
        for name, value in rounds[-1].items()
    }
