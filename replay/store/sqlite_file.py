"""The database file: its schema, how it is opened, and what its errors mean.

`events.sqlite3` may be opened by any engineer, `sqlite3 -readonly data/events.sqlite3`; the view
`event_log` is the place to look first.

The table of envelopes is in the order of arrival, with an index by room and position: with many
rooms at once that touches far fewer pages in a commit than a table clustered by room.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

from replay.store.errors import (
    LogDamaged,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreMissing,
    StoreReadFailed,
    StoreReadOnly,
    StoreVersionUnknown,
    StoreWriteFailed,
)

FILE_NAME = "events.sqlite3"
APPLICATION_ID = 0x52505253
SCHEMA_VERSION = 1
SCHEMA_VERSION_STRETCHES = 2
"""With the table `stretch` (see `replay.store.stretches`); older releases must not read past it."""
WAL_PAGES = 4000
"""Pages in the write-ahead log at which SQLite moves them into the database (16 MiB)."""

_SCHEMA = """
CREATE TABLE room (
    room_id      INTEGER PRIMARY KEY,
    room         TEXT    NOT NULL UNIQUE,
    position     INTEGER NOT NULL,  -- of the last envelope
    hash         BLOB    NOT NULL,  -- of the last envelope
    first_at_ns  INTEGER NOT NULL,
    last_at_ns   INTEGER NOT NULL,
    messages     INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    open         INTEGER NOT NULL   -- 0 once the room closed
) STRICT;

CREATE TABLE envelope (
    arrival      INTEGER PRIMARY KEY,  -- order of writing, over all rooms
    room_id      INTEGER NOT NULL REFERENCES room (room_id),
    position     INTEGER NOT NULL,     -- place in the room's log, from 1, without gaps
    at_ns        INTEGER NOT NULL,     -- nanoseconds since 1970
    actor        TEXT    NOT NULL,
    kind         TEXT    NOT NULL,     -- 'message' or 'event'
    type         TEXT    NOT NULL,
    version      INTEGER NOT NULL,     -- of the type's schema
    cause        INTEGER,              -- position in the same room
    correlation  TEXT,                 -- id of the client's request
    data         BLOB    NOT NULL,     -- msgpack
    entropy      BLOB    NOT NULL,
    hash         BLOB    NOT NULL,     -- SHA-256 over the hash before and all fields
    UNIQUE (room_id, position)
) STRICT;

CREATE VIEW event_log AS
SELECT room.room,
       envelope.position,
       strftime('%Y-%m-%d %H:%M:%S', envelope.at_ns / 1000000000, 'unixepoch')
           || printf('.%09d', envelope.at_ns % 1000000000) AS at_utc,
       envelope.actor,
       envelope.kind,
       envelope.type,
       envelope.version,
       envelope.cause,
       envelope.correlation,
       length(envelope.data) AS data_bytes,
       lower(hex(envelope.hash)) AS hash
FROM envelope JOIN room USING (room_id)
ORDER BY room.room, envelope.position;
"""
INDEXES = """
CREATE INDEX IF NOT EXISTS envelope_opening ON envelope (room_id, position)
    WHERE type = 'OpenRoom';
CREATE INDEX IF NOT EXISTS envelope_effect ON envelope (room_id, cause)
    WHERE kind = 'message' AND cause IS NOT NULL;
"""
"""Where sessions begin, and which messages a decision led to: small, for few envelopes are in them.

They came after the tables, so a file may be without: whoever reads goes the long way then.
"""
_MARKS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"

_IOERR_FSYNC = 10 | 4 << 8
_IOERR_DIR_FSYNC = 10 | 5 << 8
_IOERR_SHMSIZE = 10 | 19 << 8


def connect_writer(path: Path, *, may_create: bool) -> sqlite3.Connection | None:
    """Open the database for writing, and make it when it is empty; None when that may not be.

    An existing one is not written yet. Raises `StoreError`. For one process at a time; the
    connection may be used by any thread, one at a time.
    """
    try:
        connection = _connect(f"file:{_quoted(path)}?mode=rwc")
    except sqlite3.Error as error:
        raise translated(error) from error
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        if _check_version(connection) == 0:
            if not may_create:
                connection.close()
                return None
            connection.execute("PRAGMA page_size = 4096")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {INDEXES} {_MARKS} COMMIT;")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {4 * WAL_PAGES * 4096}")
    except sqlite3.Error as error:
        connection.close()
        raise translated(error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def try_writing(connection: sqlite3.Connection) -> None:
    """Write something that changes nothing: what stands in the way shows here and not later."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {int(version)}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise translated(error) from error


def add_indexes(connection: sqlite3.Connection) -> None:
    """Give an older file the indexes that it lacks. Without them all works, only slower."""
    with contextlib.suppress(sqlite3.Error):
        connection.executescript(f"BEGIN IMMEDIATE; {INDEXES} COMMIT;")
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open an existing database for reading only. Nothing in it changes, no writer waits.

    Raises `StoreMissing`, `LogDamaged`, `StoreVersionUnknown` or `StoreReadFailed`.
    """
    if not path.is_file():
        raise StoreMissing(f"no event log at {path}")
    wal = path.with_name(path.name + "-wal")
    try:
        connection = _connect(f"file:{_quoted(path)}?mode=ro")
        try:
            connection.execute("PRAGMA busy_timeout = 5000")
            version = _check_version(connection)
        except sqlite3.OperationalError as error:
            # Without a WAL nobody writes; and where we may not make one, nobody will meanwhile.
            connection.close()
            unwritable = not os.access(path.parent, os.W_OK)
            if not unwritable or (wal.exists() and wal.stat().st_size):
                raise translated_read(error, None, None) from error
            connection = _connect(f"file:{_quoted(path)}?mode=ro&immutable=1")
            version = _check_version(connection)
        if version == 0:
            connection.close()
            raise StoreMissing(f"no event log at {path}: the database is empty")
    except sqlite3.Error as error:
        raise translated_read(error, None, None) from error
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _check_version(connection: sqlite3.Connection) -> int:
    """Tell the schema's version, 0 for an empty database."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0 and version == 0:
        return 0
    if application_id != APPLICATION_ID:
        connection.close()
        raise StoreVersionUnknown(f"{FILE_NAME} is not an event log of this program")
    if version not in (SCHEMA_VERSION, SCHEMA_VERSION_STRETCHES):
        connection.close()
        raise StoreVersionUnknown(
            f"{FILE_NAME} has schema version {version}; this release knows"
            f" {SCHEMA_VERSION_STRETCHES}"
        )
    return int(version)


def translated(error: sqlite3.Error | OSError, room: str | None = None) -> StoreError:
    """Say what an error of a write means."""
    if isinstance(error, OSError):
        return StoreWriteFailed(f"cannot write the event log: {error.strerror or error}")
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return StoreWriteFailed(f"cannot write the event log: {error}")
    if code in (_IOERR_FSYNC, _IOERR_DIR_FSYNC):
        return StoreFailed(f"the disk did not confirm a write: {error}")
    if code == _IOERR_SHMSIZE or code & 0xFF == sqlite3.SQLITE_FULL:
        return StoreFull("the disk that holds the event log is full")
    match code & 0xFF:
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreReadOnly(f"{FILE_NAME} cannot be written: {error}")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CONSTRAINT:
            return LogDamaged(room, None, str(error))
    return StoreWriteFailed(f"cannot write the event log: {error}")


def translated_read(error: sqlite3.Error, room: str | None, position: int | None) -> StoreError:
    """Say what an error of a read means; without a code of SQLite's it is text that is none."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LogDamaged(room, position, str(error))
    return StoreReadFailed(f"cannot read the event log: {error}")
