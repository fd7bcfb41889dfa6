"""Sealing: writing one session of a room into an archive, and proving it, before anything else.

Nothing of the log changes here, so this may run in any process beside the server. What comes after
(`replay.store.retention`) is done by the one that writes.

What a crash leaves: a file with the ending `.new`, which the next attempt replaces; or a whole
archive that no stretch names, which the next attempt replaces as well. The log is as it was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path

import msgspec

from protocol.envelope import Envelope
from replay.store.archive_file import Archive, ArchiveHeader, write_archive
from replay.store.errors import LogDamaged, StoreFull, StoreWriteFailed
from replay.store.heads import sync_directory
from replay.store.interface import Head
from replay.store.sqlite_file import FILE_NAME, connect_reader
from replay.store.sqlite_read import Walk, find_room
from replay.store.stretches import DIRECTORY, base_of, file_name

_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT
_OPENING_SQL = (
    "SELECT position FROM envelope WHERE room_id = ? AND position > ? AND actor = 'room'"
    " AND type = 'OpenRoom' AND kind = 'message' ORDER BY position"
)
_TALLY_SQL = (
    "SELECT sum(kind = 'message'), sum(kind = 'event') FROM envelope"
    " WHERE room_id = ? AND position BETWEEN ? AND ?"
)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed session that is still in the database: it will never be added to."""

    room: str
    first: int
    last: int
    before_hash: bytes
    hash: bytes
    first_at_ns: int
    last_at_ns: int


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was written into an archive and verified there."""

    session: Session
    file: str
    size: int


def sealed_sessions(connection: sqlite3.Connection, room: str) -> list[Session]:
    """Find the sealed sessions of a room that are in the database, in order.

    A session goes from one `OpenRoom` to the next; the last one is sealed when the room's row says
    that it closed. Raises `sqlite3.Error`.
    """
    row = connection.execute(
        "SELECT room_id, position, open FROM room WHERE room = ?", (room,)
    ).fetchone()
    if row is None:
        return []
    room_id, end, is_open = row
    base = base_of(connection, room_id, room)
    firsts = [base.position + 1]
    for (position,) in connection.execute(_OPENING_SQL, (room_id, base.position)):
        if position > firsts[-1]:
            firsts.append(position)
    lasts = [first - 1 for first in firsts[1:]] + ([] if is_open else [end])
    found = []
    before = base.hash
    for first, last in zip(firsts, lasts, strict=False):
        if first > last:
            continue
        at = connection.execute(
            "SELECT a.at_ns, b.at_ns, b.hash FROM envelope a, envelope b WHERE a.room_id = ?1"
            " AND b.room_id = ?1 AND a.position = ?2 AND b.position = ?3",
            (room_id, first, last),
        ).fetchone()
        if at is None:
            break  # damage, which is another's to report
        found.append(
            Session(
                room=room,
                first=first,
                last=last,
                before_hash=before,
                hash=at[2],
                first_at_ns=at[0],
                last_at_ns=at[1],
            )
        )
        before = at[2]
    return found


def seal(
    directory: Path, session: Session, step: Callable[[int], None] = lambda _position: None
) -> Sealed:
    """Write a session into an archive and verify it there. Blocks.

    `step` is told how far it is. Raises `LogDamaged`, `StoreFull`, `StoreWriteFailed`.
    """
    archives = directory / DIRECTORY
    name = file_name(session.room, session.first, session.last)
    fresh = archives / f"{name}.new"
    try:
        archives.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory)
        with closing(connect_reader(directory / FILE_NAME)) as connection:
            size = write_archive(fresh, *_content(connection, session, step))
        with closing(Archive(fresh, session.room, session.first)) as written:
            written.verify()
            end = Head(written.header.last, written.header.hash)
        if end != Head(session.last, session.hash):
            raise LogDamaged(session.room, session.first, "its archive does not end as the log")
        fresh.rename(archives / name)
        sync_directory(archives)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        if error.errno in _NO_SPACE:
            raise StoreFull(f"the disk that holds {archives} is full") from error
        raise StoreWriteFailed(f"cannot write {fresh.name}: {error.strerror}") from error
    except ValueError as error:
        reason = f"between its positions {session.first} and {session.last} it changed meanwhile"
        raise LogDamaged(session.room, None, reason) from error
    return Sealed(session=session, file=name, size=size)


def _content(
    connection: sqlite3.Connection, session: Session, step: Callable[[int], None]
) -> tuple[ArchiveHeader, Iterator[list[Envelope]]]:
    room_id = find_room(connection, session.room)
    tally = connection.execute(_TALLY_SQL, (room_id, session.first, session.last)).fetchone()
    header = ArchiveHeader(
        room=session.room,
        first=session.first,
        last=session.last,
        before_hash=session.before_hash,
        hash=session.hash,
        first_at_ns=session.first_at_ns,
        last_at_ns=session.last_at_ns,
        messages=tally[0] or 0,
        events=tally[1] or 0,
        written_at_ns=time.time_ns(),
        release=_release(),
    )
    walk = Walk(session.room, room_id, session.first - 1, session.last)

    def batches() -> Iterator[list[Envelope]]:
        while batch := walk.step(connection):
            yield batch
            step(batch[-1].position)

    return header, batches()


def _release() -> str:
    try:
        return metadata.version("reprise-sfu")
    except metadata.PackageNotFoundError:
        return "unreleased"
