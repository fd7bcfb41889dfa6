"""A database beside the event log, for what is measured and not decided.

Telemetry and recordings of the flight recorder are data of their own: bulky, expendable, with their
own retention. They must never slow the log or the media plane down, so:

- What waits to be written is bounded (`WAITING_BYTES_MAX`). When the disk is too slow the oldest
  that waits is dropped and counted.
- One thread writes all that waits in one transaction, at most once in `GROUP_S`, with synchronous
  NORMAL: a power failure may take the last seconds, and never what was written before.
- What cannot be written (a full disk, a damaged file) is dropped, counted and told once a minute.
- Retention drops the oldest, by age and by the size of the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

from replay.store.errors import (
    LogDamaged,
    StoreMissing,
    StoreReadFailed,
    StoreVersionUnknown,
)

WAITING_BYTES_MAX = 64 * 1024 * 1024
GROUP_S = 0.5
RETENTION_S = 30.0
"""How often old data is looked for."""
TOLD_S = 60.0
_DROPPED_SHARE = 20
"""When the file is too large, a twentieth of its rows goes at a time."""
_NS_PER_DAY = 86_400_000_000_000

T = TypeVar("T")


class Layout(NamedTuple):
    """The schema of a side database.

    `table` holds what ages, with the columns `at_ns` and `arrival`, its integer primary key.
    """

    file_name: str
    application_id: int
    version: int
    schema: str
    table: str


class Retention(NamedTuple):
    """What is kept: at most so old, and a file of at most so many bytes."""

    days_max: int
    bytes_max: int


class SideStore(Generic[T]):
    """Writes items of one sort; subclasses say how. Everything but `close` may be called anywhere.

    `report` is told, from the writer's thread, why something could not be written.
    """

    layout: Layout

    def __init__(
        self,
        directory: Path,
        retention: Retention,
        *,
        report: Callable[[str], None] = lambda _problem: None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = directory / self.layout.file_name
        self.dropped = 0
        """Items that were not written."""
        self._retention = retention
        self._report = report
        self._now_ns = now_ns
        self._waiting: deque[tuple[T, int]] = deque()
        self._waiting_bytes = 0
        self._wakes = threading.Condition()
        self._closing = False
        self._busy = False
        self._told_at = -TOLD_S
        self._swept_at = -RETENTION_S
        self._thread = threading.Thread(target=self._run, name=self.layout.file_name, daemon=True)
        self._thread.start()

    def put(self, item: T, size: int) -> None:
        """Have an item of about `size` bytes written. Never waits, never raises."""
        with self._wakes:
            self._waiting.append((item, size))
            self._waiting_bytes += size
            while self._waiting_bytes > WAITING_BYTES_MAX:
                _, dropped = self._waiting.popleft()
                self._waiting_bytes -= dropped
                self.dropped += 1
            self._wakes.notify_all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was put has been written or dropped; False if that takes longer."""
        with self._wakes:
            return self._wakes.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, and end the thread. Blocks."""
        with self._wakes:
            self._closing = True
            self._wakes.notify_all()
        self._thread.join(timeout_s)

    def write(self, connection: sqlite3.Connection, item: T) -> None:
        """Write an item, within a transaction."""
        raise NotImplementedError

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (batch := self._next_batch()) is not None:
            try:
                if connection is None:
                    connection = open_writer(self.path, self.layout)
                self._write_batch(connection, batch)
                self._sweep(connection)
            except (sqlite3.Error, OSError, StoreVersionUnknown) as error:
                self._failed(len(batch), error)
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
            finally:
                with self._wakes:
                    self._busy = False
                    self._wakes.notify_all()
            if not self._closing:
                time.sleep(GROUP_S)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _next_batch(self) -> list[T] | None:
        with self._wakes:
            self._wakes.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            batch = [item for item, _ in self._waiting]
            self._waiting.clear()
            self._waiting_bytes = 0
            self._busy = True
            return batch

    def _write_batch(self, connection: sqlite3.Connection, batch: list[T]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for item in batch:
                self.write(connection, item)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _failed(self, items: int, error: Exception) -> None:
        with self._wakes:
            self.dropped += items
        now = time.monotonic()
        if now - self._told_at >= TOLD_S:
            self._told_at = now
            self._report(f"{self.layout.file_name} cannot be written: {error}")

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Drop what is too old, and the oldest while the file is too large."""
        now = time.monotonic()
        if now - self._swept_at < RETENTION_S:
            return
        self._swept_at = now
        sweep(connection, self.layout, self._retention, self._now_ns())


def sweep(
    connection: sqlite3.Connection, layout: Layout, retention: Retention, now_ns: int
) -> None:
    """Apply a retention once: by age, then by size."""
    table = layout.table
    oldest_ns = now_ns - retention.days_max * _NS_PER_DAY
    connection.execute(f"DELETE FROM {table} WHERE at_ns < ?", (oldest_ns,))  # noqa: S608 - ours
    connection.executescript("PRAGMA incremental_vacuum")  # a step a page
    while _bytes_of(connection) > retention.bytes_max:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        if not rows:
            break
        connection.execute(
            f"DELETE FROM {table} WHERE arrival IN"  # noqa: S608
            f" (SELECT arrival FROM {table} ORDER BY arrival LIMIT ?)",
            (max(1, rows // _DROPPED_SHARE),),
        )
        connection.executescript("PRAGMA incremental_vacuum")  # a step a page


def _bytes_of(connection: sqlite3.Connection) -> int:
    def value(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    return (value("page_count") - value("freelist_count")) * value("page_size")


def open_writer(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open the database, or make it. Raises sqlite3.Error or `StoreVersionUnknown`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA trusted_schema = OFF")
        if _version(connection, layout) == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN IMMEDIATE; {layout.schema}"
                f" PRAGMA application_id = {layout.application_id};"
                f" PRAGMA user_version = {layout.version}; COMMIT;"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


@contextlib.contextmanager
def reading(path: Path, layout: Layout, what: str) -> Iterator[sqlite3.Connection]:
    """Open the database for reading only, beside its writer.

    Raises `StoreMissing` where there is none, else a `StoreError` with one line.
    """
    if not path.is_file():
        raise StoreMissing(f"no {what} at {path}")
    connection: sqlite3.Connection | None = None
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA trusted_schema = OFF")
        if _version(connection, layout) == 0:
            raise StoreMissing(f"no {what} at {path}: the database is empty")
        yield connection
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise LogDamaged(None, None, f"{path.name}: {error}") from error
        raise StoreReadFailed(f"cannot read {path.name}: {error}") from error
    finally:
        if connection is not None:
            connection.close()


def _version(connection: sqlite3.Connection, layout: Layout) -> int:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0 and version == 0:
        return 0
    if application_id != layout.application_id or version != layout.version:
        raise StoreVersionUnknown(
            f"{layout.file_name} has schema version {version}, or is of another program;"
            f" this release knows {layout.version}"
        )
    return int(version)


def room_id(connection: sqlite3.Connection, room: Any) -> int:
    """The number of a room in the table `room`; it is added if it is not there."""
    found = connection.execute("SELECT room_id FROM room WHERE room = ?", (room,)).fetchone()
    if found is None:
        done = connection.execute("INSERT INTO room (room) VALUES (?)", (room,))
        assert done.lastrowid is not None
        return done.lastrowid
    return int(found[0])
