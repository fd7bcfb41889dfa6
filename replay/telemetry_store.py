"""Where telemetry is kept: one row a frame, as the media plane coded it, compressed.

`telemetry.sqlite3` may be opened by any engineer; docs/telemetry.md has the format of a frame.
"""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from protocol.notices import Telemetry
from replay.side_store import Layout, SideStore, room_id

LAYOUT = Layout(
    file_name="telemetry.sqlite3",
    application_id=0x52505254,
    version=1,
    table="frame",
    schema="""
CREATE TABLE room (
    room_id  INTEGER PRIMARY KEY,
    room     TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE frame (
    arrival  INTEGER PRIMARY KEY,
    room_id  INTEGER NOT NULL REFERENCES room (room_id),
    at_ns    INTEGER NOT NULL,   -- nanoseconds since 1970, when the second ended
    data     BLOB    NOT NULL    -- a telemetry frame, deflated
) STRICT;

CREATE INDEX frame_of_room ON frame (room_id, at_ns);
CREATE INDEX frame_age ON frame (at_ns);
""",
)
_LEVEL = 1


class TelemetryStore(SideStore[Telemetry]):
    """Takes the plane's `Telemetry` notices."""

    layout = LAYOUT

    def put_frame(self, notice: Telemetry) -> None:
        """Have a frame written. Never waits, never raises."""
        self.put(notice, len(notice.data))

    def write(self, connection: sqlite3.Connection, item: Telemetry) -> None:
        """Write a frame."""
        connection.execute(
            "INSERT INTO frame (room_id, at_ns, data) VALUES (?, ?, ?)",
            (room_id(connection, item.room), item.at_ns, zlib.compress(item.data, _LEVEL)),
        )


def path_in(directory: Path) -> Path:
    """The file in a server's data directory."""
    return directory / LAYOUT.file_name
