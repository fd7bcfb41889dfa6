"""Measure the time machine: folding, verifying, states at an instant, appends of many actors.

    python -m bench.replay [--data DIR] [--rounds N] [--million N] [--json]

Figures are medians over the rounds. Folding and verifying are one thread's work and are measured in
seconds of its CPU, the rest in seconds on the wall. Events per second count events alone where it
says so, else all envelopes of the log. States are asked for at instants drawn from a seed, with
snapshots there and without.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import trio

from bench.sessions import long_session
from bench.store import append
from replay.fold import Fold
from replay.history import History
from replay.reader import LogReader
from replay.redecide import redecide
from replay.snapshots import FILE_NAME, Snapshots
from replay.verify import verify
from tests.replay.sessions import store

HOUR_S = 3600
INSTANTS = 20


def timed(work, rounds):
    """Give the median seconds of CPU that some work takes, which is done in one thread."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def hour_of_ten():
    """One hour of a ten-person room."""
    session = long_session(people=10, envelopes=20_000)
    per_second = session.position / ((session.at_ns - session.drafts[0].at_ns) / 1e9)
    return long_session(people=10, envelopes=round(per_second * HOUR_S))


def in_memory(session, rounds):
    """Fold and decide a log again that is in memory already."""
    envelopes = session.envelopes()
    events = sum(envelope.kind == "event" for envelope in envelopes)

    def fold():
        apply = Fold(session.room).apply
        for envelope in envelopes:
            apply(envelope)

    def decide():
        assert redecide(envelopes).divergence is None

    folded, decided = timed(fold, rounds), timed(decide, rounds)
    return {
        "fold_events_per_s": events / folded,
        "fold_envelopes_per_s": len(envelopes) / folded,
        "redecide_events_per_s": events / decided,
        "redecide_envelopes_per_s": len(envelopes) / decided,
    }


def verified(directory, room, rounds):
    """Verify a log on the disk: read it, check its chain, decide it again."""
    with LogReader(directory) as reader:
        envelopes = reader.end(room)[0].position

        def walk():
            for _ in reader.batches(room):
                pass

        def whole():
            assert verify(reader, room).equal

        return {
            "verify_envelopes_per_s": envelopes / timed(whole, rounds),
            "read_and_check_envelopes_per_s": envelopes / timed(walk, rounds),
        }


def at_instants(directory, room, *, without=True):
    """Ask for states at some instants, each time with a reader of its own, as a command does."""
    random = Random(7)
    with LogReader(directory) as reader:
        end = reader.end(room)[0].position
    instants = [random.randrange(1, end + 1) for _ in range(INSTANTS)]

    def ask(position, *, snapshots):
        started = time.perf_counter()
        with LogReader(directory) as reader:
            if snapshots:
                with Snapshots(directory) as kept:
                    History(reader, room, kept).at(position)
            else:
                History(reader, room).at(position)
        return (time.perf_counter() - started) * 1e3

    filling = ask(end, snapshots=True)
    cached = sorted(ask(position, snapshots=True) for position in instants)
    figures = {
        "envelopes": end,
        "first_pass_ms": filling,
        "state_p50_ms": cached[len(cached) // 2],
        "state_max_ms": cached[-1],
        "snapshots_mb": (directory / FILE_NAME).stat().st_size / 1e6,
    }
    if without:
        plain = sorted(ask(position, snapshots=False) for position in instants[:5])
        figures["state_without_snapshots_p50_ms"] = plain[len(plain) // 2]
    return figures


async def appended(directory, rooms):
    """Append as 100 actors do, each waiting for its own."""
    return await append(directory, tasks=100, rooms=rooms, seconds=3.0, busy=False)


def main():
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="where to write; default: a temporary directory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--million", type=int, default=1_000_000, help="length of the long log")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; load {os.getloadavg()[0]:.1f}; {options.rounds} rounds", file=out)
    results = {"machine": machine}

    def report(name, figures):
        results[name] = figures
        line = "   ".join(f"{key} {value:,.1f}" for key, value in figures.items())
        print(f"{name:36} {line}", file=out, flush=True)

    with tempfile.TemporaryDirectory(dir=options.data) as scratch:
        hour = hour_of_ten()
        report(f"in memory, {hour.position:,} envelopes", in_memory(hour, options.rounds))
        directory = store(Path(scratch) / "hour", hour)
        report("on disk", verified(directory, hour.room, options.rounds))
        report("one hour of ten people", at_instants(directory, hour.room))
        del hour
        session = long_session(people=20, envelopes=options.million)
        directory = store(Path(scratch) / "million", session)
        del session
        report("a long log", at_instants(directory, "long", without=options.million <= 100_000))
    for rooms in (1, 10):
        rounds = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=options.data) as scratch:
                rounds.append(trio.run(appended, scratch, rooms))
        report(
            f"appends of 100 actors, {rooms} rooms",
            {name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
        )
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
