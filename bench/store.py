"""Measure the event store: durable appends, acknowledgement times, opening and reading.

    python -m bench.store [--data DIR] [--seconds S] [--rounds N] [--json]

Appends: each task appends one envelope of a typical payload, waits until it is durable, and goes
on. `busy` runs the same beside a trio thread that works half of the time, as a server's does.
Figures are medians over the rounds; the disk decides most of them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import trio

from bench.floor import WARM_ENVELOPES, floor
from bench.machine import machine
from protocol.envelope import Draft
from replay.reader import LogReader
from replay.store import SqliteStore

PAYLOAD = msgpack.packb(
    {
        "consumer": "c_5mZ0q8rT",
        "producer": "p_1kD93hsV",
        "transport": "t_9aPq2LmX",
        "kind": "video",
        "spatial_layer": 2,
        "temporal_layer": 1,
        "reason": "bandwidth",
    }
)
DRAFT = Draft(
    at_ns=1_772_366_400_000_000_000,
    actor="consumer/c_5mZ0q8rT",
    kind="event",
    type="ConsumerLayersChanged",
    correlation="s_k2-117",
    data=PAYLOAD,
)


async def append(directory, *, tasks, rooms, seconds, busy, each=1):
    """Append from `tasks` tasks in `rooms` rooms; give the rate and how long receipts took.

    `each` envelopes make an append: an actor's has a message and the events decided upon it.
    """
    waits = []
    drafts = [DRAFT] * each
    async with await SqliteStore.open(directory) as store:
        for begin in range(0, WARM_ENVELOPES, 1000):
            await store.append("before", begin, [DRAFT] * 1000)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                started = time.perf_counter()
                for n in range(tasks):
                    nursery.start_soon(_append_on_and_on, store, f"room {n % rooms}", drafts, waits)
                if busy:
                    nursery.start_soon(_work_half_of_the_time)
        elapsed = time.perf_counter() - started
    waits.sort()
    return {
        "appends_per_s": len(waits) / elapsed,
        "envelopes_per_s": each * len(waits) / elapsed,
        "ack_p50_ms": waits[len(waits) // 2] * 1e3,
        "ack_p99_ms": waits[len(waits) * 99 // 100] * 1e3,
    }


async def _append_on_and_on(store, room, drafts, waits):
    while True:
        started = time.perf_counter()
        await store.append_nowait(room, drafts).wait_durable()
        waits.append(time.perf_counter() - started)


async def _work_half_of_the_time():
    while True:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        await trio.sleep(0.001)


async def fill(directory, rooms, each):
    """Make a log to read, its rooms interleaved."""
    async with await SqliteStore.open(directory) as store:
        for _ in range(each // 100):
            receipts = [store.append_nowait(f"room {n}", [DRAFT] * 100) for n in range(rooms)]
            for receipt in receipts:
                await receipt.wait_durable()


async def read(directory):
    """Open a log, read all of it in the store, and again with the reader."""
    started = time.perf_counter()
    store = await SqliteStore.open(directory)
    opened = time.perf_counter()
    async with store:
        count = 0
        for summary in await store.rooms():
            async for batch in store.batches(summary.room):
                count += len(batch)
        done = time.perf_counter()
    with LogReader(directory) as reader:
        began = time.perf_counter()
        filtered = sum(
            len(batch)
            for summary in reader.rooms()[0]
            for batch in reader.batches(summary.room, actor=DRAFT.actor)
        )
        ended = time.perf_counter()
    assert filtered == count
    return {
        "open_ms": (opened - started) * 1e3,
        "read_verified_per_s": count / (done - opened),
        "read_filtered_per_s": count / (ended - began),
    }


def medians(rounds):
    """Give the median of each figure."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def main():
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="where to write; default: a temporary directory")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print(f"{machine()}; {options.rounds} rounds", file=sys.stderr if options.json else sys.stdout)
    results = {}
    bare = [
        floor(options.data, DRAFT, group=100, seconds=options.seconds)
        for _ in range(options.rounds)
    ]
    results["floor"] = {"rows_per_s": statistics.median(bare)}
    report("floor, 100 rows a commit", results["floor"], options.json)
    for tasks, rooms, busy in (
        (1, 1, False),
        (4, 1, False),
        (10, 1, False),
        (100, 1, False),
        (100, 10, False),
        (100, 100, False),
        (1000, 100, False),
        (100, 10, True),
    ):
        rounds = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=options.data) as directory:
                rounds.append(trio.run(run_appends, directory, tasks, rooms, options.seconds, busy))
        name = f"{tasks} tasks, {rooms} rooms" + (", busy" if busy else "")
        results[name] = medians(rounds)
        report(name, results[name], options.json)
    with tempfile.TemporaryDirectory(dir=options.data) as directory:
        trio.run(fill, directory, 20, 20_000)
        name = "reading 400,000 envelopes of 20 rooms"
        results[name] = medians([trio.run(read, directory) for _ in range(options.rounds)])
        report(name, results[name], options.json)
        size = sum(path.stat().st_size for path in Path(directory).glob("events.sqlite3*"))
        results["size"] = {"bytes_per_envelope": size / 400_000}
        report("size", results["size"], options.json)
    if options.json:
        print(json.dumps(results))


async def run_appends(directory, tasks, rooms, seconds, busy):
    """Call `append` with what trio.run can pass."""
    return await append(directory, tasks=tasks, rooms=rooms, seconds=seconds, busy=busy)


def report(name, figures, as_json):
    """Print figures as they come, where a person looks."""
    line = "   ".join(f"{key} {value:,.2f}" for key, value in figures.items())
    print(f"{name:40} {line}", file=sys.stderr if as_json else sys.stdout, flush=True)


if __name__ == "__main__":
    main()
