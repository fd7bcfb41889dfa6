"""The embedded event store: SQLite in a data directory, one writing process, any readers.

    DIR/events.sqlite3   the log (with -wal and -shm beside it while it is open)
    DIR/events.heads     how far each room's log reaches, see `replay.store.heads`
    DIR/archive/         sessions that were archived, see `replay.store.stretches`
    DIR/events.lock      held by the process that writes, with its id

Positions and hashes are given out by the `Ledger` in the trio thread, appends are written by the
`Writer` in its own, their heads by the `Recorder` in another, and reads run in worker threads on
connections of their own.

What a crash leaves, at any instant: see `replay.store.sqlite_writer`. At opening the database is
held against the heads, and the ends of open rooms are walked. A room that is behind its head, or
whose end does not check, is damaged: it is reported, takes no more appends, and can be read up to
the damage; its head stays on record. Other rooms are not concerned. What is not one room's (a
heads file that is missing or damaged) is reported and stops nothing; a heads file that does not
check is kept as `events.heads.damaged`.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec
import trio

from protocol.envelope import Draft, Envelope, genesis
from replay.store.errors import (
    LogDamaged,
    StoreClosed,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from replay.store.heads import FILE_NAME as HEADS_FILE_NAME
from replay.store.heads import HeadsFile, read_heads, sync_directory
from replay.store.interface import BATCH_ENVELOPES, Head, Receipt, RoomSummary
from replay.store.ledger import PENDING_ENVELOPES_MAX, Append, Ledger, Tally
from replay.store.sqlite_file import (
    FILE_NAME,
    add_indexes,
    connect_reader,
    connect_writer,
    translated,
    translated_read,
    try_writing,
)
from replay.store.sqlite_read import RoomFound, Walk, heads_damage, session_start, snapshot, survey
from replay.store.sqlite_writer import Writer
from replay.store.stretches import Archives

LOCK_FILE_NAME = "events.lock"
READERS_MAX = 2
"""Reads that run at a time; more wait for their turn."""

_T = TypeVar("_T")


class SqliteStore:
    """`EventStore` and `FaultInjection` on SQLite. Made by `open`; `aclose` ends it."""

    def __init__(self, parts: "_Opened", *, pending_envelopes_max: int) -> None:
        self.directory = parts.directory
        self._path = parts.directory / FILE_NAME
        self._lock_fd = parts.lock_fd
        self._token = trio.lowlevel.current_trio_token()
        self._ledger = Ledger(pending_envelopes_max=pending_envelopes_max)
        self._room_ids = {
            room: found.room_id for room, found in parts.rooms.items() if found.room_id is not None
        }
        for room, found in parts.rooms.items():
            summary = found.summary
            tally = Tally(
                first_at_ns=summary.first_at_ns,
                last_at_ns=summary.last_at_ns,
                messages=summary.messages,
                events=summary.events,
                is_open=summary.open,
            )
            self._ledger.load(room, found.head, tally)
            if found.damage is not None:
                self._ledger.mark_damaged(found.damage)
        if parts.damage is not None:
            self._ledger.mark_damaged(parts.damage)
        self._archives = Archives(parts.directory)
        self._readers: list[sqlite3.Connection] = []
        self._reading = trio.CapacityLimiter(READERS_MAX)
        self._writer = Writer(parts.connection, parts.heads, self._room_ids, self._hand_back)
        self._writer.start()
        self._closing = False
        self._closed = trio.Event()

    @classmethod
    async def open(
        cls, directory: Path | str, *, pending_envelopes_max: int = PENDING_ENVELOPES_MAX
    ) -> Self:
        """Open the store in `directory`, which is made if need be.

        Raises `StoreLocked`, `StoreReadOnly`, `StoreFull`, `StoreVersionUnknown`, and
        `LogDamaged` when nothing of the database can be read; all with nothing changed.
        """
        parts = await trio.to_thread.run_sync(_open, Path(directory))
        return cls(parts, pending_envelopes_max=pending_envelopes_max)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def damage(self) -> Mapping[str | None, LogDamaged]:
        """See `EventStore.damage`."""
        return self._ledger.damage

    def next_position(self, room: str) -> int:
        """See `EventStore.next_position`."""
        return self._ledger.next_position(room)

    def append_nowait(
        self, room: str, drafts: Sequence[Draft], *, expected_position: int | None = None
    ) -> Receipt:
        """See `EventStore.append_nowait`."""
        append = self._ledger.assign(room, drafts, expected_position)
        self._writer.submit(append)
        return append.receipt

    async def append(
        self, room: str, expected_position: int, drafts: Sequence[Draft]
    ) -> tuple[Envelope, ...]:
        """See `EventStore.append`."""
        receipt = self.append_nowait(room, drafts, expected_position=expected_position)
        return await receipt.wait_durable()

    async def read(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> list[Envelope]:
        """See `EventStore.read`."""
        walk = self._walk(room, after, up_to, actor=actor, types=types)
        found: list[Envelope] = []
        await trio.lowlevel.checkpoint()
        while limit is None or len(found) < limit:
            left = None if limit is None else limit - len(found)
            batch = await self.in_reader(partial(walk.step, limit=left))
            if not batch:
                break
            found += batch
        return found

    async def batches(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        batch: int = BATCH_ENVELOPES,
    ) -> AsyncIterator[list[Envelope]]:
        """See `EventStore.batches`."""
        walk = self._walk(room, after, up_to, actor=actor, types=types, batch=batch)
        while envelopes := await self.in_reader(walk.step):
            yield envelopes

    async def session_start(self, room: str) -> int:
        """See `EventStore.session_start`."""
        end = self._ledger.head(room).position
        return await self.in_reader(partial(self._session_start, room, end))

    def _session_start(self, room: str, end: int, connection: sqlite3.Connection) -> int:
        try:
            with snapshot(connection):
                return session_start(connection, self._room_ids.get(room), end)
        except sqlite3.Error as error:
            raise translated_read(error, room, None) from error

    async def head(self, room: str) -> Head:
        """See `EventStore.head`."""
        await trio.lowlevel.checkpoint()
        if (damage := self.damage.get(room)) is not None:
            raise damage.again()
        return self._ledger.head(room)

    async def rooms(self) -> list[RoomSummary]:
        """See `EventStore.rooms`."""
        await trio.lowlevel.checkpoint()
        return list(self._ledger.summaries())

    async def verify_chain(self, room: str) -> Head:
        """See `EventStore.verify_chain`."""
        walk = self._walk(room, 0, None)
        head = Head(0, genesis(room))
        while envelopes := await self.in_reader(walk.step):
            head = Head(envelopes[-1].position, envelopes[-1].hash)
        return head

    async def aclose(self) -> None:
        """See `EventStore.aclose`."""
        self._ledger.refuse(StoreClosed("the store is closed"))
        with trio.CancelScope(shield=True):
            if not self._closing:
                self._closing = True
                await trio.to_thread.run_sync(self._writer.stop)
                for turn in range(READERS_MAX):  # let the reads that run come to their end
                    await self._reading.acquire_on_behalf_of((self, turn))
                # Outcomes were posted before the writer ended; this comes behind them.
                self._token.run_sync_soon(self._finish_closing)
            await self._closed.wait()

    def fail_next_append(self, error: StoreError, room: str | None = None) -> None:
        """See `FaultInjection.fail_next_append`."""
        self._writer.fail_next(error, room)

    def _finish_closing(self) -> None:
        for connection in self._readers:
            connection.close()
        self._readers.clear()
        self._archives.close()
        os.close(self._lock_fd)
        self._closed.set()

    def _hand_back(self, outcomes: list[tuple[Append, StoreError | None]]) -> None:
        """Pass outcomes on to the trio thread, from the recorder's."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._settle, outcomes)

    def _settle(self, outcomes: list[tuple[Append, StoreError | None]]) -> None:
        for append, error in outcomes:
            if isinstance(error, StoreFailed):
                self._ledger.refuse(error)
            self._ledger.settle(append, error)

    def _walk(
        self,
        room: str,
        after: int,
        up_to: int | None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        batch: int = BATCH_ENVELOPES,
    ) -> Walk:
        damage = self.damage.get(room)
        end = self._ledger.head(room).position
        if damage is not None and up_to is not None and up_to <= end:
            damage = None
        return Walk(
            room,
            self._room_ids.get(room),
            after,
            end if up_to is None else min(up_to, end),
            actor=actor,
            types=types,
            batch=batch,
            ends_with=damage,
            archives=self._archives,
        )

    def room_id(self, room: str) -> int | None:
        """Tell a room's key in the database."""
        return self._room_ids.get(room)

    async def in_writer(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Make a short change in a transaction of its own, between two commits of appends.

        For upkeep that leaves rooms and heads as they are; every room's appends wait meanwhile.
        Raises what the change raises, with SQLite's errors as `StoreError`: nothing was changed
        then. A cancelled wait undoes nothing.
        """
        if self._closing:
            raise StoreClosed("the store is closed")
        done = trio.Event()
        outcome: list[_T | BaseException] = []

        def job(connection: sqlite3.Connection) -> None:
            try:
                broken = self._writer.broken
                outcome.append(
                    _transacted(connection, change) if broken is None else broken.again()
                )
            except BaseException as error:  # noqa: BLE001 - raised in the task that waits
                met = translated(error) if isinstance(error, sqlite3.Error) else error
                if isinstance(met, StoreFailed):
                    self._writer.break_off(met)
                outcome.append(met)
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(done.set)

        self._writer.submit_job(job)
        await done.wait()
        if isinstance(outcome[0], StoreFailed):
            self._ledger.refuse(outcome[0])
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    async def in_reader(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a read in a worker thread, on a connection that no other read uses."""
        if self._closing:
            raise StoreClosed("the store is closed")
        async with self._reading:
            return await trio.to_thread.run_sync(self._read, read)

    def _read(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        connection = self._readers.pop() if self._readers else connect_reader(self._path)
        try:
            return read(connection)
        finally:
            self._readers.append(connection)


def _transacted(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], _T]) -> _T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    return result


class _Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What opening finds and holds."""

    directory: Path
    lock_fd: int
    connection: sqlite3.Connection
    heads: HeadsFile
    rooms: dict[str, RoomFound]
    damage: LogDamaged | None


def _open(directory: Path) -> _Opened:
    with contextlib.ExitStack() as undo:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock_fd = _lock(directory)
            undo.callback(os.close, lock_fd)
            recorded = read_heads(directory / HEADS_FILE_NAME)
            known = {} if recorded is None else recorded.heads
            connection = _connect(directory, known)
            undo.callback(connection.close)
            rooms = survey(connection, known)
            damage = heads_damage(recorded, has_rooms=bool(rooms))
            if recorded is not None and recorded.damage is not None:
                _keep(directory / HEADS_FILE_NAME)
            if any(found.damage is not None for found in rooms.values()):
                _keep(directory / f"{FILE_NAME}-wal")
            try_writing(connection)
            add_indexes(connection)
            ends = {room: found.head for room, found in rooms.items() if found.damage is None}
            heads = HeadsFile(directory, known | ends)
            sync_directory(directory)
        except OSError as error:
            raise _translated_opening(directory, error) from error
        undo.pop_all()
    return _Opened(
        directory=directory,
        lock_fd=lock_fd,
        connection=connection,
        heads=heads,
        rooms=rooms,
        damage=damage,
    )


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory that no store has open. Raises `StoreLocked` or `StoreReadOnly`."""
    try:
        lock_fd = _lock(directory)
    except OSError as error:
        raise _translated_opening(directory, error) from error
    try:
        yield
    finally:
        os.close(lock_fd)


def _lock(directory: Path) -> int:
    """Take the directory for this process; the system gives it back however the process ends."""
    lock_fd = os.open(directory / LOCK_FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(lock_fd, 20, 0).decode(errors="replace").strip()
        os.close(lock_fd)
        raise StoreLocked(f"{directory} is in use by another server (process {owner})") from error
    except OSError:
        os.close(lock_fd)
        raise
    return lock_fd


def _connect(directory: Path, known: Mapping[str, Head]) -> sqlite3.Connection:
    """Open the database; raise `LogDamaged` rather than begin anew where a full one should be.

    SQLite would also throw away the write-ahead log that lies beside an empty file.
    """
    path = directory / FILE_NAME
    lost = LogDamaged(
        None, None, f"{path} is empty or missing, but {HEADS_FILE_NAME} knows {len(known)} rooms"
    )
    if known and not (path.is_file() and path.stat().st_size):
        raise lost
    connection = connect_writer(path, may_create=not known)
    if connection is None:
        raise lost
    return connection


def _keep(path: Path) -> None:
    """Put a copy of a file that bears damage aside, before it is written; the first one stays."""
    kept = path.with_name(path.name + ".damaged")
    if path.is_file() and path.stat().st_size and not kept.exists():
        shutil.copyfile(path, kept)


def _translated_opening(directory: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"the disk that holds {directory} is full")
    return StoreReadOnly(f"cannot write in {directory}: {error.strerror}")
