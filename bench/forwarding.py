"""Measure what forwarding costs, beside the least that it could cost: `bench/results.md`.

    python -m bench.forwarding [--viewers 100,500] [--rounds N] [--duration S] [--most] [--write]

For each number of viewers a fresh router (`reprise serve` with one worker, control process and
plane) runs on the first core and `reprise load` on the second: one publisher of 1.5 Mbit/s in 30
bursts a second and opus 50 times a second, AES-128-GCM, real ICE, DTLS, receiver reports and
transport-cc feedback of every viewer. Before each, the floor (`examples/floor.rs`) sends as many
sockets the same packets from the first core to the second, by a plain loop of encrypt and send.

All viewers negotiate transport-cc, so the router estimates the bandwidth of each and probes for
more where video is withheld. The row *simulcast* has a publisher of three layers whose largest has
those 1.5 Mbit/s: a viewer's bitrate tells that it got that one.

Counted is the CPU time of both router processes while all viewers watch, as /proc tells it, divided
by the packets that viewers received; loopback's receive path runs in the sender's calls, here and
in the floor. Latency depends on it as well: the last of a thousand viewers waits until the others
were sent to, and the floor tells how long that is at least. Figures are medians over the rounds.
`--most` looks how many viewers the core carries after that (`bench.most`). `--write` does so too,
and puts all of it into bench/results.md with a plot (bench/results.svg).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time

from bench import floor
from bench.crowd import Router
from bench.forwarding_page import write_page
from bench.load_runs import RAMP_PER_S, Figures, median, report_of, router, start_load
from bench.most import search, told
from bench.sampler import sampling

SIMULCAST_BPS = 2_240_000
"""Of all layers, so that the largest has what a publisher without layers sends."""


def measure_router(
    viewers: int, workers: int, duration_s: int, cores: list[int], *, simulcast: bool = False
) -> Figures:
    """Let so many viewers watch through a fresh router."""
    load = [f"--viewers={viewers}", f"--duration={duration_s}s"]
    load += [f"--ramp={max(1, viewers // RAMP_PER_S)}s"]
    load += ["--simulcast", f"--bitrate={SIMULCAST_BPS}"] if simulcast else []
    with router(cores[:1], workers=workers, viewers=viewers) as server:
        time.sleep(1)
        idle = Router(server).usage()
        with sampling(server) as sampler:
            report = report_of(start_load(server.signaling_url, *load, cores=cores[-1:]))
    steady = report["steady"]
    used = sampler.steady(report)
    packets_per_s = steady["packets_per_s"]
    cost_us = {name: cpu / packets_per_s * 1e6 for name, cpu in used["cpu"].items()}
    idle_kb = sum(usage.rss_kb for usage in idle.values())
    rss_kb = sum(used["rss_kb"].values())
    return {
        "cost_us": sum(cost_us.values()),
        "plane_us": cost_us["plane"],
        "control_us": cost_us["control"],
        "core": sum(used["cpu"].values()),
        "packets_per_s": packets_per_s,
        "latency_p50_ms": steady["latency_ms"]["p50"],
        "latency_p99_ms": steady["latency_ms"]["p99"],
        "latency_max_ms": steady["latency_ms"]["max"],
        "loss": steady["loss"],
        "mbps_per_viewer": steady["bitrate_per_viewer_bps"] / 1e6,
        "joined": report["joins"]["joined"],
        "joins_s": report["joins"]["seconds"],
        "rss_mb": rss_kb / 1000,
        "rss_kb_per_viewer": (rss_kb - idle_kb) / viewers,
        "plane_kb_per_viewer": (used["rss_kb"]["plane"] - idle["plane"].rss_kb) / viewers,
        "frozen": steady["frozen_at_end"],
        "tool_core": report["tool"]["cpu"],
        "tool_drops": report["tool"]["queue_drops"],
        "tool_media_core": report["tool"]["media_cpu"],
        "tool_waited": report["tool"]["media_cpu_wait"],
        "tool_warnings": report["tool"]["warnings"],
    }


def measure(levels: list[int], rounds: int, duration_s: int) -> list[Figures]:
    """Floor and router for each number of viewers; 500 with two workers and simulcast as well."""
    cores = sorted(os.sched_getaffinity(0))
    command = floor.build()
    rows = []
    settings = [(viewers, 1, False) for viewers in levels]
    settings += [(viewers, 2, False) for viewers in levels if viewers == 500]
    settings += [(viewers, 1, True) for viewers in levels if viewers == 500]
    for viewers, workers, simulcast in settings:
        floors, routers = [], []
        kind = f"{viewers} viewers, {workers} workers{', simulcast' if simulcast else ''}"
        for number in range(rounds):
            floors.append(floor.measure(command, viewers, duration_s, cores))
            routers.append(measure_router(viewers, workers, duration_s, cores, simulcast=simulcast))
            last = routers[-1]
            print(
                f"{kind}, round {number + 1}: floor"
                f" {floors[-1]['cost_us']:.2f} µs, router {last['cost_us']:.2f} µs (plane"
                f" {last['plane_us']:.2f}, control {last['control_us']:.2f}), latency p50"
                f" {last['latency_p50_ms']:.2f} p99 {last['latency_p99_ms']:.2f} ms (floor p99"
                f" {floors[-1]['latency_p99_ms']:.2f}), loss"
                f" {last['loss']:.4%}, {last['rss_kb_per_viewer']:.0f} KB a viewer, load"
                f" {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        row = median(routers)
        row |= {"viewers": viewers, "workers": workers, "simulcast": simulcast}
        floor_row = median(floors)
        row["floor_us"] = floor_row["cost_us"]
        for name in ("latency_p50_ms", "latency_p99_ms", "latency_max_ms"):
            row[f"floor_{name}"] = floor_row[name]
        row["ratio"] = statistics.median(
            router["cost_us"] / least["cost_us"]
            for router, least in zip(routers, floors, strict=True)
        )
        rows.append(row)
    return rows


def measure_most(rows: list[Figures], duration_s: int) -> Figures:
    """Look for the most viewers that one core carries, from the largest number measured."""
    cores = sorted(os.sched_getaffinity(0))
    plain = (row for row in rows if row["workers"] == 1 and not row["simulcast"])
    first = max(plain, key=lambda row: row["viewers"])
    return search(
        lambda viewers: measure_router(viewers, 1, duration_s, cores),
        first,
        lambda line: print(line, flush=True),
    )


def main() -> None:
    """Measure and print; write the page if told to."""
    parser = argparse.ArgumentParser(description="Measure what forwarding costs.")
    parser.add_argument("--viewers", default="100,500,1000", help="numbers of viewers")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--duration", type=int, default=8, help="seconds that all watch")
    parser.add_argument("--most", action="store_true", help="look how many one core carries")
    parser.add_argument("--write", action="store_true", help="write bench/results.md")
    parser.add_argument("--note", default="", help="a sentence on the machine, for the page")
    options = parser.parse_args()
    levels = [int(level) for level in options.viewers.split(",")]
    rows = measure(levels, options.rounds, options.duration)
    most = measure_most(rows, options.duration) if options.most or options.write else None
    if most is not None:
        print(told(most), flush=True)
    if options.write:
        made = {"rounds": options.rounds, "duration_s": options.duration, "note": options.note}
        write_page(rows, most, **made)
    else:
        json.dump({"rows": rows, "most": most}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
