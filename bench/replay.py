"""Measure the time machine: appends, folding, verifying, states, sizes, simulation, the page.

    python -m bench.replay [--data DIR] [--rounds N] [--million N] [--no-page] [--json]

Figures are medians over the rounds. Folding and deciding in memory are one thread's work and are
measured in seconds of its CPU, the rest in seconds on the wall; where a name ends in `_cpu`, in
seconds of CPU. Events per second count events alone where it says so, else all envelopes of the
log. States are asked for at instants drawn from a seed, with snapshots there and without. Appends
stand beside their floor (see `bench.floor`), measured in turn with them, because the disk decides.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import trio

from bench.floor import floor
from bench.machine import machine
from bench.sessions import long_session
from bench.size import sizes
from bench.store import DRAFT, append
from bench.world import in_processes
from replay.causes import story
from replay.document import render
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

        def alone():
            assert verify(reader, room, aside_from=envelopes + 1).equal

        walls = []
        for _ in range(rounds):
            verdict = verify(reader, room)
            assert verdict.equal
            walls.append(envelopes / verdict.seconds)
        return {
            "verify_envelopes_per_s": statistics.median(walls),
            "verify_alone_envelopes_per_s_cpu": envelopes / timed(alone, rounds),
            "read_and_check_envelopes_per_s_cpu": envelopes / timed(walk, rounds),
        }


def at_instants(directory, room, *, without=True):
    """Ask for states at some instants, each time with a reader of its own, as a command does."""
    random = Random(7)
    with LogReader(directory) as reader:
        end = reader.end(room)[0].position
    instants = [random.randrange(1, end + 1) for _ in range(INSTANTS)]

    states = {}

    def ask(position, *, snapshots):
        started = time.perf_counter()
        with LogReader(directory) as reader:
            if snapshots:
                with Snapshots(directory) as kept:
                    fold = History(reader, room, kept).at(position)
            else:
                fold = History(reader, room).at(position)
        took = (time.perf_counter() - started) * 1e3
        assert states.setdefault(position, render(fold)) == render(fold), "another state"
        return took

    filling = ask(end, snapshots=True)
    cached = sorted(ask(position, snapshots=True) for position in instants)
    figures = {
        "envelopes": end,
        "first_pass_ms": filling,
        "state_p50_ms": cached[len(cached) // 2],
        "state_max_ms": cached[-1],
        "snapshots_mb": (directory / FILE_NAME).stat().st_size / 1e6,
    }
    plain = sorted(ask(position, snapshots=False) for position in instants[: 5 if without else 1])
    figures["state_without_snapshots_p50_ms"] = plain[len(plain) // 2]
    return figures


def causes(directory, room):
    """Tell the stories of some positions, and find the session's start, as commands do."""
    random = Random(9)
    took = []
    with LogReader(directory) as reader:
        end = reader.end(room)[0].position
        for _ in range(INSTANTS):
            started = time.perf_counter()
            story(reader, room, random.randrange(1, end // 2), end)
            took.append((time.perf_counter() - started) * 1e3)
        started = time.perf_counter()
        History(reader, room).position_of("+1m")
        instant = (time.perf_counter() - started) * 1e3
    took.sort()
    return {"why_p50_ms": took[len(took) // 2], "why_max_ms": took[-1], "instant_ms": instant}


async def appended(directory, rooms, each):
    """Append as 100 actors do, each waiting for its own."""
    return await append(directory, tasks=100, rooms=rooms, seconds=3.0, busy=False, each=each)


def appends(scratch, rounds, rooms, each):
    """Durable appends of 100 actors, and what the disk takes for so many rows."""
    measured = []
    for _ in range(rounds):
        bare = floor(scratch, DRAFT, group=100 * each, seconds=3.0)
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            found = trio.run(appended, directory, rooms, each)
        found |= {"floor_rows_per_s": bare, "share_of_floor": found["envelopes_per_s"] / bare}
        measured.append(found)
    return {name: statistics.median(one[name] for one in measured) for name in measured[0]}


def page(rounds):
    """Open the page on a million envelopes in Chromium; nothing where that is not installed."""
    try:
        from bench import replay_page  # noqa: PLC0415 - needs playwright
    except ImportError:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        data = replay_page.make(Path(scratch) / "data", 1_000_000, viewers=1000)
        return replay_page.measure(data, rounds)


def main():
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="where to write; default: a temporary directory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--million", type=int, default=1_000_000, help="length of the long log")
    parser.add_argument("--no-page", action="store_true", help="do not open Chromium")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout
    print(f"{machine()}; {options.rounds} rounds", file=out)
    results = {"machine": machine()}

    def report(name, figures):
        results[name] = figures
        line = "   ".join(f"{key} {value:,.2f}" for key, value in figures.items())
        print(f"{name:42} {line}", file=out, flush=True)

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
        report("a long log", verified(directory, "long", min(3, options.rounds)))
        report("a long log, states", at_instants(directory, "long", without=False))
        report("a long log, causes", causes(directory, "long"))
        for kind, figures in sizes(scratch).items():
            report(f"an hour of ten people, {kind}", figures)
    for rooms, each in ((1, 1), (10, 1), (1, 2)):
        name = f"100 actors, {rooms} rooms, {each} envelopes an append"
        report(name, appends(options.data, options.rounds, rooms, each))
    hashes = in_processes(7)
    print(f"simulation of seed 7 in {len(hashes)} processes: {' '.join(hashes)}", file=out)
    assert len(set(hashes)) == 1, "the same seed must give the same hash"
    results["simulation"] = hashes
    if not options.no_page:
        figures = page(min(3, options.rounds))
        report("page of a million envelopes" if figures else "page: no Chromium here", figures)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
