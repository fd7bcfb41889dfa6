"""Keep a room's log as a history, which every change must verify from then on.

    python -m tests.histories.record NAME --data DIR --room ROOM [--about TEXT]
    python -m tests.histories.record NAME --scenario FUNCTION    of tests/control/scenarios.py
    python -m tests.histories.record NAME … --corrupt POSITION   alter it there, on purpose

A history is a zip of an event store as this release writes it, with `about.json`. It is never
recorded again: a change that cannot verify it is wrong, or needs a number (protocol/behaviours.py).
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import trio
from trio.testing import MockClock

from protocol.envelope import Draft, Envelope
from replay.reader import LogReader
from replay.store import SqliteStore
from tests.control import scenarios
from tests.control.stage import staged

HISTORIES = Path(__file__).parent
FILES = ("events.sqlite3", "events.heads")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def of_directory(data: Path, room: str) -> list[Envelope]:
    """The log of a room in a data directory."""
    with LogReader(data) as reader:
        return [envelope for batch in reader.batches(room) for envelope in batch]


def of_scenario(name: str) -> list[Envelope]:
    """The log of a room in which a scenario of the control plane happened."""

    async def play() -> list[Envelope]:
        async with staged() as (stage, nursery):
            await getattr(scenarios, name)(stage, nursery)
            return await stage.store.read("room")

    return trio.run(play, clock=MockClock(autojump_threshold=0))


def write(envelopes: list[Envelope], target: Path, *, about: str, corrupt: int | None) -> None:
    """Write a log as a history."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "data"
        trio.run(_store, envelopes, directory)
        database = sqlite3.connect(directory / FILES[0])
        if corrupt is not None:
            database.execute(
                "UPDATE envelope SET data = zeroblob(length(data)) WHERE position = ?", (corrupt,)
            )
            database.commit()
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM")
        database.close()
        told = {
            "room": envelopes[0].room,
            "position": envelopes[-1].position,
            "head": envelopes[-1].hash.hex(),
            "about": about,
            "corrupt": corrupt,
        }
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=9) as history:
            for name in FILES:
                _add(history, name, (directory / name).read_bytes())
            _add(history, "about.json", json.dumps(told, indent=2).encode())


def _add(history: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    history.writestr(entry, content)


async def _store(envelopes: list[Envelope], directory: Path) -> None:
    room = envelopes[0].room
    drafts = [_draft(envelope) for envelope in envelopes]
    async with await SqliteStore.open(directory) as store:
        for begin in range(0, len(drafts), 1000):
            await store.append(room, begin, drafts[begin : begin + 1000])
        head = await store.head(room)
        assert head.hash == envelopes[-1].hash, "the copy is chained as the log was"


def _draft(envelope: Envelope) -> Draft:
    fields: dict[str, Any] = msgspec.structs.asdict(envelope)
    return Draft(**{name: fields[name] for name in Draft.__struct_fields__})


def main(arguments: list[str] | None = None) -> None:
    """Record one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--room")
    parser.add_argument("--scenario")
    parser.add_argument("--about", default="")
    parser.add_argument("--corrupt", type=int)
    options = parser.parse_args(arguments)
    if (options.data is None or options.room is None) == (options.scenario is None):
        sys.exit("give --data and --room, or --scenario")
    about = options.about
    if options.scenario is not None:
        envelopes = of_scenario(options.scenario)
        about = about or (getattr(scenarios, options.scenario).__doc__ or "").partition("\n")[0]
    else:
        envelopes = of_directory(options.data, options.room)
    target = HISTORIES / f"{options.name}.zip"
    write(envelopes, target, about=about, corrupt=options.corrupt)
    print(f"{target}: {len(envelopes)} envelopes, {target.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
