"""Stretches: the parts of a room's log that are no longer in the table of envelopes.

A room's log is, in order of position: stretches that were pruned (tombstones: only positions,
times and the last hash are left), stretches that lie in archives, and the rest in the database.
A stretch is one sealed session. The table `stretch` says which there are; it comes into being with
the first of them, and makes the file's schema version 2.

Whoever reads positions looks here first, within one snapshot with the read itself: rows go from
the table of envelopes only after their stretch was committed, some at a time, so rows at or before
the `base` (the end of the last stretch) may still be there and do not count.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from protocol.envelope import Envelope, genesis
from replay.store.archive_file import Archive
from replay.store.errors import LogDamaged, LogPruned
from replay.store.interface import Head

DIRECTORY = "archive"
ARCHIVES_OPEN = 3
"""Archives that are held open at a time; each keeps two blocks."""

SCHEMA = """
CREATE TABLE stretch (
    room_id       INTEGER NOT NULL REFERENCES room (room_id),
    first         INTEGER NOT NULL,  -- position
    last          INTEGER NOT NULL,  -- position
    before_hash   BLOB    NOT NULL,  -- at the position before the first
    hash          BLOB    NOT NULL,  -- at the last position
    first_at_ns   INTEGER NOT NULL,
    last_at_ns    INTEGER NOT NULL,
    state         TEXT    NOT NULL,  -- 'archived' or 'pruned'
    file          TEXT,              -- name in archive/; kept when pruned, until it is deleted
    bytes         INTEGER NOT NULL,  -- of the file
    at_ns         INTEGER NOT NULL,  -- when it came into this state
    reason        TEXT    NOT NULL,  -- why
    PRIMARY KEY (room_id, first)
) STRICT, WITHOUT ROWID;
"""
_COLUMNS = "s.first, s.last, s.before_hash, s.hash, s.first_at_ns, s.last_at_ns, s.state, s.file,"
_COLUMNS += " s.bytes, s.at_ns, s.reason"


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a room that left the table of envelopes."""

    first: int
    last: int
    before_hash: bytes
    hash: bytes
    first_at_ns: int
    last_at_ns: int
    state: Literal["archived", "pruned"]
    file: str | None
    size: int
    at_ns: int
    reason: str

    @property
    def pruned(self) -> bool:
        """Whether nothing but this is left of it."""
        return self.state == "pruned"


def file_name(room: str, first: int, last: int) -> str:
    """Name of an archive. Rooms' names come from outside: what is unusual becomes a digest."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", room)[:40]
    digest = sha256(room.encode()).hexdigest()[:12]
    return f"{plain}-{digest}.{first}-{last}.rpa"


def has_stretches(connection: sqlite3.Connection) -> bool:
    """Whether the database has the table."""
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'stretch'").fetchone()
    return found is not None


def stretches_of(connection: sqlite3.Connection, room_id: int | None) -> list[Stretch]:
    """All stretches of a room, in order. Raises `sqlite3.Error`."""
    if room_id is None or not has_stretches(connection):
        return []
    sql = f"SELECT {_COLUMNS} FROM stretch s WHERE s.room_id = ? ORDER BY s.first"  # noqa: S608
    return [_made(row) for row in connection.execute(sql, (room_id,))]


def stretch_at(
    connection: sqlite3.Connection, room_id: int | None, position: int
) -> Stretch | None:
    """The stretch that holds a position; None if that is in the database, or nowhere."""
    if room_id is None or not has_stretches(connection):
        return None
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM stretch s WHERE s.room_id = ? AND s.first <= ?"  # noqa: S608
        " ORDER BY s.first DESC LIMIT 1",
        (room_id, position),
    ).fetchone()
    return _made(row) if row is not None and row[1] >= position else None


def base_of(connection: sqlite3.Connection, room_id: int | None, room: str) -> Head:
    """Where the database takes up: the end of the last stretch, or the log's beginning."""
    if room_id is not None and has_stretches(connection):
        row = connection.execute(
            "SELECT last, hash FROM stretch WHERE room_id = ? ORDER BY first DESC LIMIT 1",
            (room_id,),
        ).fetchone()
        if row is not None:
            return Head(*row)
    return Head(0, genesis(room))


def _made(row: tuple[object, ...]) -> Stretch:
    return msgspec.convert(dict(zip(Stretch.__struct_fields__, row, strict=True)), Stretch)


class Archives:
    """The archives of a data directory, opened as they are needed. May be used by any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._open: OrderedDict[str, Archive] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, room: str, stretch: Stretch, after: int, up_to: int, limit: int
    ) -> list[Envelope]:
        """Give envelopes of a stretch, as `Archive.stretch`. Raises `LogDamaged`, `LogPruned`."""
        after, up_to = max(after, stretch.first - 1), min(up_to, stretch.last)
        with self._lock:
            return self._archive(room, stretch).stretch(after, up_to, limit)

    def one(self, room: str, stretch: Stretch, position: int) -> Envelope:
        """Give the envelope at a position of a stretch."""
        return self.read(room, stretch, position - 1, position, 1)[0]

    def some(self, room: str, stretch: Stretch, positions: Collection[int]) -> list[Envelope]:
        """Give those of some positions that are in a stretch, in order."""
        within = sorted({n for n in positions if stretch.first <= n <= stretch.last})
        return [self.one(room, stretch, position) for position in within]

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _archive(self, room: str, stretch: Stretch) -> Archive:
        if stretch.pruned:
            raise LogPruned(room, stretch.first, stretch.last, stretch.at_ns, stretch.reason)
        name = stretch.file or ""
        found = self._open.get(name)
        if found is None:
            try:
                found = Archive(self._directory / name, room, stretch.first)
            except FileNotFoundError as error:
                reason = f"its archive {name} is missing"
                raise LogDamaged(room, stretch.first, reason) from error
            head = found.header
            if (head.last, head.before_hash, head.hash) != (
                stretch.last,
                stretch.before_hash,
                stretch.hash,
            ):
                found.close()
                reason = f"its archive {name} is not the one that was written"
                raise LogDamaged(room, stretch.first, reason)
            self._open[name] = found
            if len(self._open) > ARCHIVES_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(name)
        return found
