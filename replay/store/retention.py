"""Retention: sealed sessions go into archives, and old ones go for good. For the one who writes.

Archiving a session, and what a crash leaves after each step:

1. `replay.store.sealing.seal`: the archive is written, verified and has its name. The log is as it
   was, and the next attempt begins anew.
2. One transaction names the stretch. From here on the archive is what is read.
3. The rows go from the database, some at a time. Those left over no longer count; `tidy` takes
   them away.

Pruning: one transaction makes the stretch a tombstone, then its file (or its rows) goes; `tidy`
takes away what was left. The tombstone keeps positions, times, the last hash, when and why, so that
the chain of what follows still verifies. Heads and rooms' rows never change: a room that is joined
again goes on in its log.

Only what is at the beginning of a room's log in the database can leave it, whole sessions at a
time; and a session is pruned only when all before it in its room are.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from replay.store.errors import LogDamaged, StoreWriteFailed
from replay.store.heads import sync_directory
from replay.store.interface import Head
from replay.store.sealing import Sealed, Session, seal, sealed_sessions
from replay.store.sqlite import SqliteStore
from replay.store.sqlite_file import SCHEMA_VERSION_STRETCHES
from replay.store.stretches import (
    DIRECTORY,
    SCHEMA,
    Stretch,
    base_of,
    has_stretches,
    stretches_of,
)

ROWS_AT_ONCE = 500
"""Rows that one transaction takes away: a few milliseconds."""
PAUSE_S = 0.05
"""Between two such transactions while a server runs, so that appends go first."""
DAY_NS = 86_400_000_000_000

_INSERT = (
    "INSERT INTO stretch (room_id, first, last, before_hash, hash, first_at_ns, last_at_ns,"
    " state, file, bytes, at_ns, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Pruned(NamedTuple):
    """A session that was removed."""

    room: str
    first: int
    last: int
    last_at_ns: int
    size: int
    """Of its archive; 0 if it was still in the database."""


class Candidate(NamedTuple):
    """A session that could be pruned: its last event, whether it is in an archive, which."""

    last_at_ns: int
    archived: bool
    room: str
    first: int
    last: int
    size: int
    session: Session | None


SealIn = Callable[[Path, Session], Awaitable[Sealed]]
"""Seals in some thread or process."""


async def seal_in_thread(directory: Path, session: Session) -> Sealed:
    """Seal in a worker thread of this process."""
    return await trio.to_thread.run_sync(seal, directory, session)


class Retention:
    """Upkeep of a store. One at a time."""

    def __init__(
        self,
        store: SqliteStore,
        *,
        seal_in: SealIn = seal_in_thread,
        pause_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._seal_in = seal_in
        self._pause_s = pause_s
        self._now_ns = now_ns

    async def sessions(self, room: str) -> list[Session]:
        """Sealed sessions of a room that are still in the database; none of a damaged room."""
        if room in self._store.damage:
            return []
        return await self._store.in_reader(partial(sealed_sessions, room=room))

    async def archive(
        self, room: str, *, before_ns: int | None = None, reason: str
    ) -> AsyncIterator[Sealed]:
        """Archive sealed sessions of a room, oldest first; those that ended before a time.

        Raises `LogDamaged`, `StoreFull`, `StoreWriteFailed` with the log unchanged.
        """
        for session in await self.sessions(room):
            if before_ns is not None and session.last_at_ns >= before_ns:
                return
            sealed = await self._seal_in(self._store.directory, session)
            await self._store.in_writer(partial(self._name, sealed=sealed, reason=reason))
            yield sealed
            await self._take_rows(room)

    async def prune(
        self, *, before_ns: int | None = None, bytes_max: int | None = None
    ) -> AsyncIterator[Pruned]:
        """Remove whole sessions: those that ended before a time, then until the log is so small.

        Archives go first, the oldest first, then sessions in the database. Sessions of open rooms
        that are sealed may go too.
        """
        candidates = await self._candidates() if before_ns or bytes_max is not None else []
        blocked: set[str] = set()
        for each in candidates:
            if before_ns is None or each.room in blocked or each.last_at_ns >= before_ns:
                blocked.add(each.room)  # what follows it must stay while it does
                continue
            yield await self._prune_one(each, "older than was to be kept")
        if bytes_max is None:
            return
        for each in await self._candidates():
            if await self.bytes_used() <= bytes_max:
                return
            yield await self._prune_one(each, "larger than was to be kept")

    async def bytes_used(self) -> int:
        """Size of the log: pages in use of the database, and archives."""
        return await self._store.in_reader(_bytes_used)

    async def tidy(self) -> None:
        """Take away what a crash left between two steps."""
        left = await self._store.in_reader(_left_over)
        for room in left:
            await self._take_rows(room)
        for file in await self._store.in_reader(_files_of_tombstones):
            await self._unlink(file)
        await trio.to_thread.run_sync(_unlink_unfinished, self._store.directory / DIRECTORY)

    async def compact(self) -> None:
        """Give freed space in the database back to the disk. Rewrites the file: not while serving.

        Raises `StoreFull` if there is no space for that.
        """
        await self._store.in_writer(_vacuum_wanted)

    def _name(self, connection: sqlite3.Connection, sealed: Sealed, reason: str) -> None:
        session = sealed.session
        self._insert(
            connection,
            session,
            state="archived",
            file=sealed.file,
            size=sealed.size,
            reason=reason,
        )

    def _insert(
        self,
        connection: sqlite3.Connection,
        session: Session,
        *,
        state: str,
        file: str | None,
        size: int,
        reason: str,
    ) -> None:
        if not has_stretches(connection):
            connection.execute(SCHEMA)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION_STRETCHES}")
        room, room_id = session.room, self._store.room_id(session.room)
        base = base_of(connection, room_id, room)
        row = connection.execute(
            "SELECT hash FROM envelope WHERE room_id = ? AND position = ?", (room_id, session.last)
        ).fetchone()
        if base != Head(session.first - 1, session.before_hash) or row != (session.hash,):
            raise LogDamaged(room, session.first, "it is not what was archived")
        connection.execute(
            _INSERT,
            (
                room_id,
                session.first,
                session.last,
                session.before_hash,
                session.hash,
                session.first_at_ns,
                session.last_at_ns,
                state,
                file,
                size,
                self._now_ns(),
                reason,
            ),
        )

    async def _take_rows(self, room: str) -> None:
        room_id = self._store.room_id(room)
        take = partial(_delete_some, room=room, room_id=room_id)
        rows = ROWS_AT_ONCE
        while rows == ROWS_AT_ONCE:
            rows = await self._store.in_writer(take)
            await trio.sleep(self._pause_s)

    async def _candidates(self) -> list[Candidate]:
        """What could be pruned, in the order in which it would be."""
        found: list[Candidate] = []
        for summary in await self._store.rooms():
            room = summary.room
            if room in self._store.damage:
                continue
            room_id = self._store.room_id(room)
            stretches = await self._store.in_reader(partial(stretches_of, room_id=room_id))
            found += [_candidate_of(room, each) for each in stretches if not each.pruned]
            found += [
                Candidate(each.last_at_ns, False, room, each.first, each.last, 0, each)
                for each in await self.sessions(room)
            ]
        return _ordered(found)

    async def _prune_one(self, each: Candidate, reason: str) -> Pruned:
        if each.session is not None:
            change = partial(
                self._insert,
                session=each.session,
                state="pruned",
                file=None,
                size=0,
                reason=reason,
            )
            await self._store.in_writer(change)
            await self._take_rows(each.room)
        else:
            room_id = self._store.room_id(each.room)
            file = await self._store.in_writer(
                partial(
                    _entomb, room_id=room_id, first=each.first, at_ns=self._now_ns(), why=reason
                )
            )
            await self._unlink(file)
        return Pruned(each.room, each.first, each.last, each.last_at_ns, each.size)

    async def _unlink(self, file: str) -> None:
        """Delete the archive of a tombstone, and then its name there."""
        directory = self._store.directory / DIRECTORY
        await trio.to_thread.run_sync(_unlink, directory / file)
        await self._store.in_writer(partial(_forget_file, file=file))


def _candidate_of(room: str, stretch: Stretch) -> Candidate:
    return Candidate(
        stretch.last_at_ns, True, room, stretch.first, stretch.last, stretch.size, None
    )


def _ordered(found: list[Candidate]) -> list[Candidate]:
    """Archives first, oldest first; but within a room in the order of positions."""
    latest: dict[str, int] = {}
    keyed = []
    for each in sorted(found, key=lambda each: (each.room, each.first)):
        at_ns = latest[each.room] = max(latest.get(each.room, each.last_at_ns), each.last_at_ns)
        keyed.append(((not each.archived, at_ns, each.room, each.first), each))
    return [each for _, each in sorted(keyed, key=lambda pair: pair[0])]


def _delete_some(connection: sqlite3.Connection, room: str, room_id: int | None) -> int:
    base = base_of(connection, room_id, room)
    return connection.execute(
        "DELETE FROM envelope WHERE arrival IN (SELECT arrival FROM envelope WHERE room_id = ?"
        " AND position <= ? ORDER BY position LIMIT ?)",
        (room_id, base.position, ROWS_AT_ONCE),
    ).rowcount


def _left_over(connection: sqlite3.Connection) -> list[str]:
    if not has_stretches(connection):
        return []
    rows = connection.execute(
        "SELECT r.room FROM room r JOIN (SELECT room_id, max(last) AS last FROM stretch"
        " GROUP BY room_id) s USING (room_id) WHERE EXISTS (SELECT 1 FROM envelope e"
        " WHERE e.room_id = r.room_id AND e.position <= s.last)"
    )
    return [room for (room,) in rows]


def _files_of_tombstones(connection: sqlite3.Connection) -> list[str]:
    if not has_stretches(connection):
        return []
    rows = connection.execute(
        "SELECT file FROM stretch WHERE state = 'pruned' AND file IS NOT NULL"
    )
    return [file for (file,) in rows]


def _entomb(
    connection: sqlite3.Connection, room_id: int | None, first: int, at_ns: int, why: str
) -> str:
    connection.execute(
        "UPDATE stretch SET state = 'pruned', at_ns = ?, reason = ? WHERE room_id = ?"
        " AND first = ?",
        (at_ns, why, room_id, first),
    )
    (file,) = connection.execute(
        "SELECT file FROM stretch WHERE room_id = ? AND first = ?", (room_id, first)
    ).fetchone()
    return str(file)


def _forget_file(connection: sqlite3.Connection, file: str) -> None:
    connection.execute(
        "UPDATE stretch SET file = NULL, bytes = 0 WHERE state = 'pruned' AND file = ?", (file,)
    )


def _bytes_used(connection: sqlite3.Connection) -> int:
    def value(sql: str) -> int:
        return int(connection.execute(sql).fetchone()[0])

    used = value("PRAGMA page_count") - value("PRAGMA freelist_count")
    size = used * value("PRAGMA page_size")
    if has_stretches(connection):
        size += value("SELECT coalesce(sum(bytes), 0) FROM stretch WHERE state = 'archived'")
    return size


def _vacuum_wanted(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")
    try:
        connection.execute("VACUUM")
    finally:
        connection.execute("BEGIN IMMEDIATE")


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)
    except OSError as error:
        raise StoreWriteFailed(f"cannot delete {path.name}: {error.strerror}") from error


def _unlink_unfinished(directory: Path) -> None:
    if directory.is_dir():
        for path in directory.glob("*.rpa.new"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
