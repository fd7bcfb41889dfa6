"""Measure what viewers get over networks that lose and delay: a run of `reprise load` for each.

    python -m bench.disturbed [--viewers N] [--steady S] [--json]

One publisher with three simulcast layers (1.5 Mbit/s together), viewers with transport-cc, NACK and
PLI, and between each viewer and the server a simulated network, in either direction: that of the
load tester (`--loss`, `--delay`, `--jitter`, seed 1). It has no bottleneck: what is lost is not
congestion, and layers should not go. Each network is a fresh server. A machine that is busy
freezes pictures without any network: the first row tells how often.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass

from bench.load_runs import Figures, report_of, router, start_load
from bench.machine import machine
from bench.page import table


@dataclass(frozen=True)
class Network:
    """Between each viewer and the server."""

    name: str
    options: tuple[str, ...] = ()


NETWORKS = (
    Network("nothing"),
    Network("1 % loss", ("--loss=1%",)),
    Network("5 % loss", ("--loss=5%",)),
    Network("10 % loss", ("--loss=10%",)),
    Network("20 ms delay", ("--delay=20ms",)),
    Network("100 ms delay", ("--delay=100ms",)),
    Network("300 ms delay", ("--delay=300ms",)),
    Network("40 ms delay, 20 ms jitter", ("--delay=40ms", "--jitter=20ms")),
    Network("100 ms delay, 5 % loss", ("--delay=100ms", "--loss=5%")),
)
COMMON = ("--publishers=1", "--simulcast", "--seed=1")
HEADS = (
    "each way",
    "kbit/s a viewer",
    "packets",
    "recovered by RTX",
    "not recovered",
    "PLIs",
    "freezes",
    "frozen, s",
    "latency p50, ms",
)


def measure(network: Network, viewers: int, steady_s: int) -> Figures:
    """What came of one network, in the steady time."""
    cores = sorted(os.sched_getaffinity(0))
    with router(cores, workers=1, viewers=viewers) as server:
        run = start_load(
            server.signaling_url,
            *COMMON,
            *network.options,
            f"--viewers={viewers}",
            f"--duration={steady_s}s",
            cores=cores,
        )
        report = report_of(run)
    return {"network": network.name, "joined": report["joins"]["at_end"], **report["steady"]}


def row(figures: Figures) -> tuple[str, ...]:
    """Its line in the table."""
    return (
        figures["network"],
        f"{figures['bitrate_per_viewer_bps'] / 1e3:,.0f}",
        f"{figures['packets']:,}",
        f"{figures['recovered']:,}",
        f"{figures['lost']:,}",
        f"{figures['plis']:,}",
        f"{figures['freezes']:,} of {figures['frames']:,} frames",
        f"{figures['freeze_s']:.1f}",
        f"{figures['latency_ms']['p50']:.0f}",
    )


def main() -> None:
    """Measure all networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--steady", type=int, default=15, metavar="S")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(network, options.viewers, options.steady) for network in NETWORKS]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{machine()}; {options.viewers} viewers, {options.steady} s\n")
    print(table(HEADS, [row(one) for one in rows]))


if __name__ == "__main__":
    main()
