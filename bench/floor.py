"""What the disk and SQLite take for themselves: the floor under durable appends.

The rows of the event log in its own schema, a hundred to a transaction, `executemany` and COMMIT
with synchronous=FULL, and nothing else: no hashing, no heads file, no tasks, no threads. A store
that acknowledges each append of a hundred actors cannot be much faster, whatever the disk does.
"""

import os
import sqlite3
import tempfile
import time
from pathlib import Path

from replay.store.sqlite_file import connect_writer

WARM_ENVELOPES = 60_000
"""Written beforehand, so that the write-ahead log has its size and is written over."""
_SQL = (
    "INSERT INTO envelope (room_id, position, at_ns, actor, kind, type, version, cause,"
    " correlation, data, entropy, hash) VALUES (1,?,?,?,?,?,?,?,?,?,?,?)"
)


def floor(scratch, draft, *, group: int, seconds: float) -> float:
    """Rows a second."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        connection = connect_writer(Path(directory) / "events.sqlite3", may_create=True)
        assert connection is not None
        connection.execute("INSERT INTO room VALUES (1, 'room', 0, x'00', 0, 0, 0, 0, 1)")
        _commit(connection, draft, 0, WARM_ENVELOPES)
        position = begin = WARM_ENVELOPES
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            _commit(connection, draft, position, group)
            position += group
        elapsed = time.perf_counter() - started
        connection.close()
    return (position - begin) / elapsed


def _commit(connection: sqlite3.Connection, draft, position: int, count: int) -> None:
    rows = [
        (
            position + n + 1, draft.at_ns, draft.actor, draft.kind, draft.type, draft.version,
            draft.cause, draft.correlation, draft.data, draft.entropy, os.urandom(32),
        )
        for n in range(count)
    ]  # fmt: skip
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_SQL, rows)
    connection.execute("COMMIT")
