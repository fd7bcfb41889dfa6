"""Where frozen recordings of the flight recorder are kept: a row a part, beside the log.

`recordings.sqlite3` ties each to the log by the position of the event that asked for it.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

from protocol.notices import Recording
from replay.side_store import Layout, SideStore, open_writer, room_id

LAYOUT = Layout(
    file_name="recordings.sqlite3",
    application_id=0x52505246,
    version=1,
    table="recording",
    schema="""
CREATE TABLE room (
    room_id    INTEGER PRIMARY KEY,
    room       TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE recording (
    arrival    INTEGER PRIMARY KEY,
    room_id    INTEGER NOT NULL REFERENCES room (room_id),
    transport  TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    position   INTEGER NOT NULL,   -- of the event in the room's log
    at_ns      INTEGER NOT NULL,   -- nanoseconds since 1970, when it was frozen
    part       INTEGER NOT NULL,   -- from 0
    parts      INTEGER NOT NULL,
    data       BLOB    NOT NULL    -- a chunk of packet headers, deflated
) STRICT;

CREATE INDEX recording_of_room ON recording (room_id, position);
CREATE INDEX recording_age ON recording (at_ns);
""",
)


class RecordingStore(SideStore[Recording]):
    """Takes the plane's `Recording` notices."""

    layout = LAYOUT

    def put_part(self, notice: Recording) -> None:
        """Have a part written. Never waits, never raises."""
        self.put(notice, len(notice.data))

    def write(self, connection: sqlite3.Connection, item: Recording) -> None:
        """Write a part."""
        connection.execute(
            "INSERT INTO recording"
            " (room_id, transport, reason, position, at_ns, part, parts, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                room_id(connection, item.room),
                item.transport,
                item.reason,
                item.position,
                item.at_ns,
                item.part,
                item.parts,
                zlib.compress(item.data),
            ),
        )


def path_in(directory: Path) -> Path:
    """The file in a server's data directory."""
    return directory / LAYOUT.file_name


def forget(directory: Path, room: str, transports: Iterable[str]) -> int:
    """Delete the recordings of one person's transports; how many parts there were."""
    if not path_in(directory).is_file():
        return 0
    connection = open_writer(path_in(directory), LAYOUT)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        deleted = 0
        for transport in transports:
            deleted += connection.execute(
                "DELETE FROM recording WHERE transport = ?"
                " AND room_id = (SELECT room_id FROM room WHERE room = ?)",
                (transport, room),
            ).rowcount
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted
    finally:
        connection.close()
