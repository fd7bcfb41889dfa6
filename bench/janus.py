"""Measure Reprise and Janus side by side, under the same load.

    python -m bench.janus [--viewers 100,200,500] [--rounds N] [--duration S] [--write]

The router under test runs on the first core, `reprise load` on the second; turn by turn, so that
what else the machine does hits both. Reprise has one worker, Janus `event_loops = 1`, its best
setting on one core. Clients, streams and feedback are the same: `reprise load` joins Reprise's room
or Janus's videoroom (`--signaling janus`), with AEAD_AES_128_GCM alone offered to both. A Janus of
Debian's package (`apt-get install janus`) and root's rights are needed (`bench.janus_process`).

Figures are medians over the rounds, of the time in which all watched. A row that lost more than a
per cent tells what a packet costs a router that has too much to do: its viewers did not see a
stream.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench.janus_process import enter_network, janus, why_not
from bench.load_runs import Figures, median, report_of, router, start_load
from bench.machine import machine
from bench.page import rounds_of, table, write_section

JOINS_PER_S = 50
HEADS = ("router", "viewers", "joined", "µs", "core", "p50 ms", "p99 ms", "loss", "KB a viewer")
PEER = "Janus"


def measure(name: str, viewers: int, duration_s: int) -> Figures:
    """One run against a fresh router."""
    cores = sorted(os.sched_getaffinity(0))
    options = [
        f"--viewers={viewers}",
        f"--duration={duration_s}s",
        f"--ramp={viewers / JOINS_PER_S:.0f}s",
        "--srtp=AEAD_AES_128_GCM",
    ]
    if name == PEER:
        with (
            tempfile.TemporaryDirectory(prefix="janus-") as directory,
            janus(Path(directory), cores[:1]) as (url, pid),
        ):
            options += ["--signaling=janus", f"--watch-pid={pid}"]
            report = report_of(start_load(url, *options, cores=cores[-1:]))
    else:
        with router(cores[:1], workers=1, viewers=viewers) as server:
            options.append(f"--watch-pid={server.pid}")
            report = report_of(start_load(server.signaling_url, *options, cores=cores[-1:]))
    steady, used = report["steady"], report["server_usage"]
    return {
        "server": report["server"],
        "joined": report["joins"]["at_end"],
        "cost_us": used["cpu_us_per_packet"] or 0.0,
        "core": used["cpu"],
        "p50_ms": steady["latency_ms"]["p50"] or 0.0,
        "p99_ms": steady["latency_ms"]["p99"] or 0.0,
        "loss": steady["loss"],
        "kb_per_viewer": used["memory_kb_per_viewer"] or 0.0,
        "load": os.getloadavg()[0],
    }


def told(name: str, viewers: int, figures: Figures) -> Figures:
    """Print a round, and return it."""
    print(
        f"{name}, {viewers} viewers: {figures['joined']} joined, {figures['cost_us']:.2f} µs,"
        f" p50 {figures['p50_ms']:.2f} p99 {figures['p99_ms']:.2f} ms, loss"
        f" {figures['loss']:.4%}, {figures['kb_per_viewer']:.0f} KB a viewer, machine load"
        f" {figures['load']:.1f}",
        flush=True,
    )
    return figures


def section(rows: list[tuple[str, int, Figures]], rounds: int, duration_s: int, note: str) -> str:
    """What the page says of it."""
    by_place = {(name, viewers): figures for name, viewers, figures in rows}
    cells, ratios = [], []
    for name, viewers, figures in rows:
        cells.append(
            [
                name,
                f"{viewers:,}",
                f"{figures['joined']:,.0f}",
                f"{figures['cost_us']:.2f}",
                f"{figures['core']:.0%}",
                f"{figures['p50_ms']:.2f}",
                f"{figures['p99_ms']:.2f}",
                f"{figures['loss']:.4%}",
                f"{figures['kb_per_viewer']:.0f}",
            ]
        )
        if name == PEER:
            ours = by_place["Reprise", viewers]["cost_us"]
            ratios.append(f"{figures['cost_us'] / ours:.1f} at {viewers:,} viewers")
    servers = {name != PEER: figures["server"] for name, _, figures in rows}
    return "\n".join(
        [
            "## Beside Janus",
            "",
            (
                "The same load on Reprise and on the videoroom of Debian's Janus, each alone on"
                " one core, turn by turn: `python -m bench.janus`, whose head says how."
                f" {rounds_of(rounds, duration_s)} Where much is lost, a router had more to do"
                " than it could."
            ),
            "",
            f"- {machine()} at the end",
            f"- {servers[True]}; {servers[False]} with `event_loops = 1`",
            *([f"- {note}"] if note else []),
            "",
            table(HEADS, cells),
            "",
            f"CPU time a packet of Janus, in times of Reprise's: {', '.join(ratios)}.",
        ]
    )


def main() -> int:
    """Measure and print; write the page if told to."""
    parser = argparse.ArgumentParser(description="Measure Reprise and Janus side by side.")
    parser.add_argument("--viewers", default="100,200,500", help="numbers of viewers")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--duration", type=int, default=10, help="seconds that all watch")
    parser.add_argument("--write", action="store_true", help="write bench/results.md")
    parser.add_argument("--note", default="", help="a sentence on the machine, for the page")
    options = parser.parse_args()
    missing = why_not()
    if missing is not None:
        print(f"left out: {missing}")
        return 0
    enter_network()
    rows = []
    for level in options.viewers.split(","):
        viewers = int(level)
        rounds: dict[str, list[Figures]] = {"Reprise": [], PEER: []}
        for _ in range(options.rounds):
            for name, done in rounds.items():
                done.append(told(name, viewers, measure(name, viewers, options.duration)))
        rows += [(name, viewers, median(done)) for name, done in rounds.items()]
    text = section(rows, options.rounds, options.duration, options.note)
    print(text)
    if options.write:
        write_section("janus", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
