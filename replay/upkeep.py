"""Caches of a room that hold what its log no longer holds: they go when a session is pruned."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from replay import snapshots
from replay.timeline import cache


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
