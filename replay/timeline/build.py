"""Build the index of a room in a process of its own: `python -m replay.timeline.build DATA ROOM`.

A server's own process must not spend seconds on it. What is there already is gone on from; what is
done is written down now and then, so that a page has something to show meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import click

from replay.errors import LogNotUnderstood, ReplayError
from replay.history import History
from replay.reader import LogReader
from replay.snapshots import Snapshots
from replay.store.errors import LogDamaged, StoreError
from replay.timeline import cache
from replay.timeline.index import TimelineIndex

FIRST_SAVE_ENVELOPES = 30_000
SAVE_GROWTH = 2.5
NICE = 10


def build(directory: Path, room: str) -> TimelineIndex:
    """Bring the index of a room to the end of its log, or to where damage begins.

    Blocks. Raises what `LogReader` does when nothing can be read.
    """
    with LogReader(directory) as reader:
        index = cache.load(directory, room, reader) or TimelineIndex(room)
        began = index.position
        next_save = max(FIRST_SAVE_ENVELOPES, round(index.position * SAVE_GROWTH))
        with contextlib.suppress(LogDamaged):
            for batch in reader.batches(room, index.position):
                for envelope in batch:
                    index.take(envelope)
                if index.position >= next_save:
                    cache.save(directory, index)
                    next_save = round(index.position * SAVE_GROWTH)
        if index.position > began:
            cache.save(directory, index)
        return index


def keep_snapshots(directory: Path, room: str) -> None:
    """Fold the log once, so that any state in it is found quickly afterwards."""
    with LogReader(directory) as reader, Snapshots(directory) as snapshots:
        history = History(reader, room, snapshots)
        with contextlib.suppress(LogDamaged, LogNotUnderstood):
            history.at(history.last_position)


def main() -> None:
    """Build and say how long it took; a failure is one line and exit code 1."""
    os.nice(NICE)
    directory, room = Path(sys.argv[1]), sys.argv[2]
    started = time.perf_counter()
    try:
        index = build(directory, room)
        keep_snapshots(directory, room)
    except (StoreError, ReplayError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{index.position} envelopes in {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
