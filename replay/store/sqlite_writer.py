"""The one thread that writes: group commit of all rooms' appends.

It takes whatever waits, up to a bound, writes it in one transaction, and hands the outcome to the
`Recorder`, which records the rooms' new ends in the heads file and hands the outcome back. While
one commit is on its way to the disk the next group gathers; so the busier the store, the larger
the groups. And while the heads of one group are on their way, the next is being committed.

Steps of a commit, and what is there when the power goes (or the process) at each:

1. `HeadsFile.prepare`: space for the heads. Nothing of the group is on the disk.
2. SQLite COMMIT, which fsyncs the write-ahead log: the group is there whole or not at all.
   Nobody heard of it yet, so both are right.
3. `HeadsFile.write` in the recorder's thread, with an fdatasync: from here on a database without
   the group is damaged. The writer goes on to step 1 of the next group meanwhile.
4. The trio thread settles the receipts: only now does anyone hear of it.

The heads must not come before the commit, or a power failure between the two would look like
damage; and not after the receipts, or a flipped bit in the write-ahead log could take acknowledged
envelopes away unnoticed. Should step 3 fail, the group is on the disk and yet cannot be
acknowledged, nor can those committed since, so the store takes nothing more (`StoreFailed`) until
it is opened again.

Jobs, and the replacing of a full heads file, wait until the heads of all groups are recorded: they
have the database and the heads file to themselves.

Rows are bound many to a statement. Python's sqlite3 gives up the interpreter lock around each
statement and, beside a busy trio thread, waits a switch interval to have it back: one row to a
statement would make a group of a hundred wait half a second.
"""

import errno
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from protocol.envelope import Envelope
from replay.store.errors import LogDamaged, StoreError, StoreFailed, StoreFull
from replay.store.heads import HeadsFile
from replay.store.interface import Head
from replay.store.ledger import Append, Tally
from replay.store.recorder import Recorder, Settle
from replay.store.sqlite_file import translated

GROUP_ENVELOPES_MAX = 4096
"""Envelopes in one commit, but for a single append that is larger."""
SPLIT_APPENDS = 64
"""So many appends that wait all at once, with no group under way, become two groups.

Where all who append wait for the same commit they would go on doing so, and no two groups would
ever overlap; once split, they take turns.
"""
_ROWS_MAX = 128

Job = Callable[[sqlite3.Connection], None]
"""Work between two groups, in the writer's thread. It must be short, and must not raise."""

_ENVELOPE_SQL = (
    "INSERT INTO envelope (room_id, position, at_ns, actor, kind, type, version, cause,"
    " correlation, data, entropy, hash) VALUES "
)
_ROOM_SQL = (
    "INSERT INTO room (room_id, room, position, hash, first_at_ns, last_at_ns, messages, events,"
    " open) VALUES "
)
_ROOM_CONFLICT_SQL = (
    " ON CONFLICT (room_id) DO UPDATE SET position = excluded.position, hash = excluded.hash,"
    " last_at_ns = excluded.last_at_ns, messages = messages + excluded.messages,"
    " events = events + excluded.events,"
    " open = CASE excluded.open WHEN 2 THEN open ELSE excluded.open END"
)


class Writer:
    """The writing thread, and its recorder's. Own connection and heads file until they end.

    `settle` is called in the recorder's thread with outcomes in the order of `submit`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        heads: HeadsFile,
        room_ids: dict[str, int],
        settle: Settle,
    ) -> None:
        self._connection = connection
        self._heads = heads
        self._room_ids = room_ids
        self._next_room_id = max(room_ids.values(), default=0) + 1
        self._recorder = Recorder(heads, settle)
        self._queue: queue.SimpleQueue[Append | Job | None] = queue.SimpleQueue()
        self._broken: StoreFailed | None = None
        self._fault: tuple[StoreError, str | None] | None = None
        self._thread = threading.Thread(target=self._run, name="event log writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._recorder.start()
        self._thread.start()

    def submit(self, append: Append) -> None:
        """Queue an append. Never blocks: the ledger bounds what is pending."""
        self._queue.put(append)

    def submit_job(self, job: Job) -> None:
        """Queue work on the connection, behind the appends that were submitted before it."""
        self._queue.put(job)

    def break_off(self, failure: StoreFailed) -> None:
        """Write nothing more: a job met what leaves the disk unknown. In the writer's thread."""
        self._broken = self._broken or failure

    @property
    def broken(self) -> StoreFailed | None:
        """Why nothing more is written."""
        return self._broken or self._recorder.failure

    def stop(self) -> None:
        """Write all that was submitted, then close connection and file. Blocks until that is done.

        Submit nothing afterwards.
        """
        self._queue.put(None)
        self._thread.join()

    def fail_next(self, error: StoreError, room: str | None) -> None:
        """Fail the next group that holds an append (of `room`). For tests."""
        self._fault = (error, room)

    def _run(self) -> None:
        last = False
        while not last:
            group, job, last = self._gather()
            if group:
                heads = self._commit_group(group)
                outcomes = [(append, append.lane.failure) for append in group]
                self._recorder.hand_over(outcomes, heads)
                del group, outcomes
            if job is not None:
                self._recorder.wait_idle()
                job(self._connection)
                del job
        self._recorder.stop()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # a full disk, say: the write-ahead log stays, and the next open goes on from it
        finally:
            self._connection.close()
            self._heads.close()

    def _gather(self) -> tuple[list[Append], Job | None, bool]:
        """Take what waits: appends for one commit, the job behind them, whether it is the end."""
        group: list[Append] = []
        size = 0
        item = self._queue.get()
        waiting = self._queue.qsize() + 1
        split = waiting >= SPLIT_APPENDS and self._recorder.idle
        appends_max = waiting // 2 if split else GROUP_ENVELOPES_MAX
        while item is not None:
            if not isinstance(item, Append):
                return group, item, False
            group.append(item)
            size += len(item.receipt.envelopes)
            if size >= GROUP_ENVELOPES_MAX or len(group) >= appends_max:
                return group, None, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, None, False
        return group, None, True

    def _commit_group(self, group: Sequence[Append]) -> dict[str, Head]:
        """Commit what can be committed of a group, and mark the lanes of what cannot.

        Gives the ends of what was committed, prepared to be recorded.
        """
        alive = [append for append in group if append.lane.failure is None]
        alive = self._inject_fault(alive)
        if not alive:
            return {}
        heads: dict[str, Head] = {}
        error = self._commit(alive, heads)
        if isinstance(error, LogDamaged):
            # One room's damage must not stop the others: each on its own.
            for room in dict.fromkeys(append.receipt.room for append in alive):
                own = [append for append in alive if append.receipt.room == room]
                known = own[0].receipt.envelopes[0].position > 1
                _fail(own, self._commit(own, heads, room if known else None))
        else:
            _fail(alive, error)
        return heads

    def _inject_fault(self, alive: list[Append]) -> list[Append]:
        if self._fault is None or not alive:
            return alive
        error, room = self._fault
        struck = [append for append in alive if room in (None, append.receipt.room)]
        if struck:
            self._fault = None
            _fail(struck, error)
        return [append for append in alive if append.lane.failure is None]

    def _commit(
        self, appends: Sequence[Append], committed: dict[str, Head], room: str | None = None
    ) -> StoreError | None:
        """Commit appends, all or none; the error if none, else their ends are in `committed`."""
        if self.broken is not None:
            return self.broken
        by_room: dict[str, list[Envelope]] = {}
        for append in appends:
            by_room.setdefault(append.receipt.room, []).extend(append.receipt.envelopes)
        heads = {name: Head(own[-1].position, own[-1].hash) for name, own in by_room.items()}
        try:
            self._prepare(heads, committed)
        except OSError as error:
            return _translated_preparation(error)
        failure: StoreError
        try:
            self._transact(by_room)
        except sqlite3.Error as error:
            failure = translated(error, room)
        except StoreFailed as error:
            failure = error
        except Exception as error:  # noqa: BLE001  a fault of ours must reach those who wait
            failure = StoreFailed(f"the event log's writer failed: {error!r}")
            failure.__cause__ = error
        else:
            committed.update(heads)
            return None
        self._heads.abandon(heads)
        if isinstance(failure, StoreFailed):
            self._broken = failure
        return failure

    def _prepare(self, heads: dict[str, Head], committed: dict[str, Head]) -> None:
        if self._heads.is_full_for(heads):
            self._recorder.wait_idle()
        self._heads.prepare(heads, committed)

    def _transact(self, by_room: dict[str, list[Envelope]]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            rooms = [self._room_row(room, own) for room, own in by_room.items()]
            rows = [
                row
                for room, own in by_room.items()
                for row in _envelope_rows(self._room_ids[room], own)
            ]
            _insert(connection, _ROOM_SQL, _ROOM_CONFLICT_SQL, rooms)
            _insert(connection, _ENVELOPE_SQL, "", rows)
            connection.execute("COMMIT")
        except BaseException:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise StoreFailed(f"a failed write could not be taken back: {error}") from error
            raise

    def _room_row(self, room: str, own: Sequence[Envelope]) -> tuple[Any, ...]:
        room_id = self._room_ids.get(room)
        if room_id is None:
            room_id = self._room_ids[room] = self._next_room_id
            self._next_room_id += 1
        tally = Tally(is_open=None if own[0].position > 1 else True)
        tally.add(own)
        return (
            room_id,
            room,
            own[-1].position,
            own[-1].hash,
            tally.first_at_ns,
            tally.last_at_ns,
            tally.messages,
            tally.events,
            2 if tally.open is None else int(tally.open),
        )


def _fail(appends: Sequence[Append], error: StoreError | None) -> None:
    for append in appends:
        if append.lane.failure is None:
            append.lane.failure = error


def _translated_preparation(error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("the disk that holds the event log is full")
    if error.errno == errno.EIO:
        return StoreFailed(f"the heads of the event log could not be recorded: {error}")
    return translated(error)


def _envelope_rows(room_id: int, own: Sequence[Envelope]) -> Iterator[tuple[Any, ...]]:
    for e in own:
        yield (
            room_id,
            e.position,
            e.at_ns,
            e.actor,
            e.kind,
            e.type,
            e.version,
            e.cause,
            e.correlation,
            e.data,
            e.entropy,
            e.hash,
        )


def _insert(
    connection: sqlite3.Connection, sql: str, conflict_sql: str, rows: list[tuple[Any, ...]]
) -> None:
    """Insert rows in statements of 128, 64, … 1 of them, which SQLite's cache keeps prepared."""
    start = 0
    size = _ROWS_MAX
    place = "(" + ",".join("?" * len(rows[0])) + ")"
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        flat = [value for row in rows[start : start + size] for value in row]
        connection.execute(sql + ",".join([place] * size) + conflict_sql, flat)
        start += size
