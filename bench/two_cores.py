"""Measure how much more two cores carry than one: router and load tester together on both.

    python -m bench.two_cores [--write] [--steady S]

Three settings, each with two rooms' worth of viewers and two load testers:

- one core: a router with one worker and the testers, all on the first core; a room a tester
- two cores, rooms spread: two workers, on both cores; a room a tester
- two cores, one room: the same, but both testers' viewers watch one publisher, so that the room
  spans the workers

Router and tester share the cores, for a core that is set aside for the tester would idle in one
setting and bound the other. Of each setting the most throughput is sought: the number of viewers is
raised by what the last run left of the cores until a run does not carry it, and then halves the way
between what was carried and what was not.

A run carries what it was given if all joined, less than 0.1 % is lost, and viewers got at least
97 % of 230 packets a second: the congestion control withholds video from viewers whose packets
queue, and what is withheld is not lost; nor is what a starved tester does not publish. Throughput
is what the viewers of the largest run that was carried received. Other processes lower all
settings, if not alike: what counts is one run on a calm machine, or the median of some.

Two cores of one machine are seldom worth two machines: they share caches, memory and, where they
are threads of one core, more. So the plain loop (`bench.floor`) tells first how much two carry.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass

from bench import floor
from bench.load_runs import report_of, router, start_load
from bench.machine import machine
from bench.page import table, write_section
from load.merge import merge, read

JOINS_PER_S = 100
FIRST = 300
"""Viewers of the first run, a core."""
RUNS_MAX = 6
SEEK_S = 180.0
"""No further run of a setting begins after this, once one was carried."""
STEP_MIN, STEP_MAX = 1.1, 2.0
"""How far the next run goes beyond one that was carried, by what that left of the cores."""
STEP_DOWN = 0.7
CLOSE_ENOUGH = 1.06
"""What is too many is not more than this beyond what was carried."""
LOSS_MAX = 0.001
DELIVERED_MIN = 0.97
PACKETS_PER_S = 230
"""Of one viewer: six to each of 30 frames, and 50 of audio."""
WANTED = 1.8
FLOOR_VIEWERS = 700
FLOOR_ROUNDS = 3


@dataclass(frozen=True)
class Setting:
    """Where it runs, and how viewers lie."""

    name: str
    cores: tuple[int, ...]
    rooms: tuple[str, str]


@dataclass(frozen=True)
class Run:
    """What came of one number of viewers."""

    viewers: int
    packets_per_s: float
    delivered: float
    """Share of what a viewer shall get."""
    loss: float
    joined: int
    p99_ms: float
    core: float
    """Cores that router and testers used together."""

    @property
    def carried(self) -> bool:
        """Whether all of it arrived."""
        return (
            self.joined == self.viewers and self.loss < LOSS_MAX and self.delivered >= DELIVERED_MIN
        )


def settings() -> tuple[Setting, ...]:
    """One core and both. Raises SystemExit where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed")
    return (
        Setting("one core", (cores[0],), ("a", "b")),
        Setting("two cores, rooms spread", (cores[0], cores[1]), ("a", "b")),
        Setting("two cores, one room", (cores[0], cores[1]), ("a", "a")),
    )


def run(setting: Setting, viewers: int, steady_s: int) -> Run:
    """Let so many viewers watch, half of them of each tester."""
    spans = setting.rooms[0] == setting.rooms[1]
    with router(setting.cores, workers=len(setting.cores), viewers=viewers) as server:
        testers = []
        for part, room in enumerate(setting.rooms):
            count = viewers // 2 + (part == 0 and viewers % 2)
            options = [
                f"--room={room}",
                f"--viewers={count}",
                f"--ramp={viewers / JOINS_PER_S:.1f}s",
                f"--duration={steady_s}s",
                f"--publishers={0 if spans and part else 1}",
                f"--watch-pid={server.pid}",
            ]
            testers.append(start_load(server.signaling_url, *options, cores=setting.cores))
        reports = [report_of(one) for one in testers]
    both = merge([read(json.dumps(one)) for one in reports])
    return Run(
        viewers=viewers,
        packets_per_s=both.steady.packets_per_s,
        delivered=both.steady.packets_per_s / viewers / PACKETS_PER_S,
        loss=both.steady.loss,
        joined=both.joins.at_end,
        p99_ms=both.steady.latency_ms.p99 or 0.0,
        core=sum(one["tool"]["cpu"] for one in reports) + reports[0]["server_usage"]["cpu"],
    )


def most(setting: Setting, steady_s: int) -> Run:
    """The largest run that was carried. Raises SystemExit if none was."""
    cores = len(setting.cores)
    viewers = FIRST * cores
    best: Run | None = None
    too_many: int | None = None
    begun_s = time.monotonic()
    for _ in range(RUNS_MAX):
        if best is not None and time.monotonic() - begun_s > SEEK_S:
            break
        tried = told(setting, run(setting, viewers, steady_s))
        if tried.carried:
            best = tried
        else:
            too_many = viewers
        if best is None:
            viewers = int(viewers * STEP_DOWN)
        elif too_many is None:
            promised = best.viewers * cores / max(0.1, best.core)
            viewers = int(best.viewers * min(STEP_MAX, max(STEP_MIN, promised / best.viewers)))
        elif too_many / best.viewers <= CLOSE_ENOUGH:
            break
        else:
            viewers = (best.viewers + too_many) // 2
    if best is None:
        raise SystemExit(f"{setting.name}: no run was carried; is the machine busy?")
    return best


def told(setting: Setting, tried: Run) -> Run:
    """Print a run, and return it."""
    print(
        f"{setting.name}, {tried.viewers} viewers: {'carried' if tried.carried else 'too many'},"
        f" {tried.packets_per_s:,.0f} packets/s, {tried.delivered:.1%} of what was due, loss"
        f" {tried.loss:.3%}, p99 {tried.p99_ms:.1f} ms, {tried.core:.2f} cores used, machine load"
        f" {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return tried


def section(rows: list[tuple[Setting, Run]], machine_times: float, note: str = "") -> str:
    """What the page says of it."""
    one = rows[0][1].packets_per_s
    cells = [
        [
            setting.name,
            f"{best.packets_per_s:,.0f}",
            f"{best.packets_per_s / one:.2f}",
            f"{best.viewers:,}",
            f"{best.loss:.4%}",
            f"{best.p99_ms:.1f}",
            f"{best.core:.2f}",
        ]
        for setting, best in rows
    ]
    head = ["setting", "packets/s", "times", "viewers", "loss", "p99 ms", "cores used"]
    ratios = [
        f"{best.packets_per_s / one:.2f} times ({setting.name})" for setting, best in rows[1:]
    ]
    return "\n".join(
        [
            "## One core and two",
            "",
            (
                "The most that router and load testers carry together, on one core with one worker"
                " and on both with two: `python -m bench.two_cores`, whose head says how it is"
                " sought. *Cores used* is by both together, joins excluded."
            ),
            "",
            f"- {machine()} at the end",
            *([f"- {note}"] if note else []),
            "",
            table(head, cells),
            "",
            (
                f"Two cores carry {' and '.join(ratios)} what one does; {WANTED} is wanted. A plain"
                f" loop of encrypt and send carries {machine_times:.2f} times as much on both cores"
                " of this machine as on one."
            ),
        ]
    )


def main() -> None:
    """Measure and print; write the page if told to."""
    parser = argparse.ArgumentParser(description="Measure what two cores carry beyond one.")
    parser.add_argument("--steady", type=int, default=6, help="seconds that all watch")
    parser.add_argument("--write", action="store_true", help="write bench/results.md")
    parser.add_argument("--note", default="", help="a sentence on the machine, for the page")
    options = parser.parse_args()
    machine_times = floor.times_of_two_cores(
        floor.build(), FLOOR_VIEWERS, options.steady, FLOOR_ROUNDS
    )
    print(f"the plain loop: two cores carry {machine_times:.2f} times what one does", flush=True)
    rows = [(setting, most(setting, options.steady)) for setting in settings()]
    text = section(rows, machine_times, options.note)
    print(text)
    if options.write:
        write_section("two-cores", text)


if __name__ == "__main__":
    sys.exit(main())
