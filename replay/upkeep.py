"""What goes with a session that is pruned: caches that hold its content, telemetry, recordings."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from replay import recording_store, snapshots, telemetry_store
from replay.side_store import Layout, open_writer
from replay.store.errors import StoreVersionUnknown
from replay.timeline import cache

LAST_FRAME_NS = 1_000_000_000
"""A session's last second is measured after its last event."""


def forget_session(directory: Path, room: str, up_to: int, last_at_ns: int) -> None:
    """Delete what is kept beside the log of a session that was pruned. Blocks.

    `up_to` is its last position, `last_at_ns` when that was. Only the oldest sessions of a room are
    pruned, so all that is older goes too. What cannot be deleted stays until its own retention.
    """
    forget_caches(directory, room, up_to)
    _delete(directory, telemetry_store.LAYOUT, room, "at_ns <= ?", last_at_ns + LAST_FRAME_NS)
    _delete(directory, recording_store.LAYOUT, room, "position <= ?", up_to)


def _delete(directory: Path, layout: Layout, room: str, which: str, value: int) -> None:
    path = directory / layout.file_name
    if not path.is_file():
        return
    with (
        contextlib.suppress(OSError, sqlite3.Error, StoreVersionUnknown),
        contextlib.closing(open_writer(path, layout)) as connection,
    ):
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(
            f"DELETE FROM {layout.table} WHERE {which}"  # noqa: S608 - ours
            " AND room_id = (SELECT room_id FROM room WHERE room = ?)",
            (value, room),
        )
        connection.executescript("PRAGMA incremental_vacuum")  # a step a page


def forget_caches(directory: Path, room: str, up_to: int) -> None:
    """Delete snapshots of a room up to a position, and its timeline's index. Blocks.

    Both are made again when they are wanted. What cannot be deleted stays; it is a cache.
    """
    with contextlib.suppress(OSError):
        cache.path_of(directory, room).unlink(missing_ok=True)
    path = directory / snapshots.FILE_NAME
    if not path.is_file():
        return
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        connection.execute(f"PRAGMA busy_timeout = {snapshots.BUSY_MS}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("DELETE FROM snapshot WHERE room = ? AND position <= ?", (room, up_to))
