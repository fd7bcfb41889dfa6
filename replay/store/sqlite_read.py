"""Reading the database: what each room holds, whether it is sound, and walks along a room's log.

Used by the store and, in other processes, by the read-only reader. Everything here blocks.
"""

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from protocol.envelope import Envelope, chain, genesis
from replay.store.errors import LogDamaged, LogPruned, StoreError
from replay.store.heads import HeadsFound
from replay.store.interface import BATCH_ENVELOPES, Head, RoomSummary
from replay.store.sqlite_file import translated_read
from replay.store.stretches import Archives, Stretch, base_of, stretch_at, stretches_of
from replay.store.walk import WRONG_HASH, follow_positions, follow_rows
from replay.store.ways import last_opening

TAIL_ENVELOPES = 256
"""How much of the end of an open room's log is checked at opening."""
TAILS_ENVELOPES_MAX = 20_000
"""How much is checked at opening in all, latest rooms first: about a tenth of a second."""

_COLUMNS = """e.position, e.at_ns, e.actor, e.kind, e.type, e.version, e.cause, e.correlation,
    e.data, e.entropy, e.hash"""


class RoomFound(msgspec.Struct, frozen=True):
    """A room as it stands in the database. `head` is the last envelope that can be trusted."""

    room_id: int | None
    head: Head
    summary: RoomSummary
    damage: LogDamaged | None


def find_room(connection: sqlite3.Connection, room: str) -> int | None:
    """Look up the key of a room."""
    row = connection.execute("SELECT room_id FROM room WHERE room = ?", (room,)).fetchone()
    return None if row is None else int(row[0])


def survey(
    connection: sqlite3.Connection, heads: Mapping[str, Head], *, only: str | None = None
) -> dict[str, RoomFound]:
    """Look at all rooms (or `only` one) and hold them against the durable heads.

    Raises `LogDamaged` without a room when the list of rooms itself cannot be read.
    """
    found = {}
    budget = TAILS_ENVELOPES_MAX
    try:
        connection.execute("BEGIN")  # one snapshot, for a writer may be at work
        for row in connection.execute(
            "SELECT room_id, room, position, hash, first_at_ns, last_at_ns, messages, events, open "
            "FROM room WHERE ?1 IS NULL OR room = ?1 ORDER BY last_at_ns DESC",
            (only,),
        ).fetchall():
            found[row[1]] = _examine(connection, row, heads, check_tail=budget > 0)
            budget -= min(row[2], TAIL_ENVELOPES) if row[8] else 0
    except sqlite3.Error as error:
        raise translated_read(error, None, None) from error
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    for room, head in heads.items():
        if room not in found and only in (None, room):
            found[room] = _lost_room(room, head)
    return found


def _examine(
    connection: sqlite3.Connection,
    row: tuple[Any, ...],
    heads: Mapping[str, Head],
    *,
    check_tail: bool,
) -> RoomFound:
    room_id, room, position, digest, first_at_ns, last_at_ns, messages, events, is_open = row
    try:
        base = base_of(connection, room_id, room)
        top, damage = _check_end(connection, room_id, room, base, Head(position, digest), heads)
        if damage is None and is_open and check_tail:
            damage = _check_tail(connection, room_id, room, base, top.position)
    except sqlite3.Error as error:
        cause = translated_read(error, room, None)
        if not isinstance(cause, LogDamaged):
            raise
        base, top, damage = Head(0, b""), Head(position, digest), cause
    if damage is not None and damage.position is not None:
        top = _head_before(connection, room_id, room, damage.position)
        if top.position <= base.position:
            top = base
    summary = RoomSummary(
        room=room,
        position=top.position,
        first_at_ns=first_at_ns,
        last_at_ns=last_at_ns,
        messages=messages,
        events=events,
        open=bool(is_open),
        damage=None if damage is None else damage.reason,
    )
    return RoomFound(room_id, top, summary, damage)


def _check_end(  # noqa: PLR0917
    connection: sqlite3.Connection,
    room_id: int,
    room: str,
    base: Head,
    said: Head,
    heads: Mapping[str, Head],
) -> tuple[Head, LogDamaged | None]:
    """Find the end of the log, and hold it against what the room's row and the heads file say."""
    row = connection.execute(
        "SELECT position, hash FROM envelope WHERE room_id = ? ORDER BY position DESC LIMIT 1",
        (room_id,),
    ).fetchone()
    top = base if row is None or row[0] <= base.position else Head(*row)
    acknowledged = heads.get(room)
    if acknowledged is not None and acknowledged.position > top.position:
        reason = f"it was acknowledged up to position {acknowledged.position}"
        return top, LogDamaged(room, top.position + 1, f"{reason} and ends at {top.position}")
    if top != said:
        first_wrong = min(top.position, said.position) + (top.position != said.position)
        return top, LogDamaged(room, first_wrong, f"it does not end at position {said.position}")
    if acknowledged is not None and acknowledged.position >= base.position:
        at = base
        if acknowledged.position > base.position:
            at = _head_at(connection, room_id, room, acknowledged.position) or Head(0, b"")
        if at != acknowledged:
            reason = "the hash is not the one that was acknowledged"
            return top, LogDamaged(room, acknowledged.position, reason)
    return top, None


def _check_tail(
    connection: sqlite3.Connection, room_id: int, room: str, base: Head, position: int
) -> LogDamaged | None:
    """Walk the end of a log, as far as it is in the database."""
    walk = Walk(room, room_id, max(base.position, position - TAIL_ENVELOPES), position)
    try:
        while walk.step(connection):
            pass
    except LogDamaged as damage:
        return damage
    return None


def _head_at(
    connection: sqlite3.Connection, room_id: int | None, room: str, position: int
) -> Head | None:
    """Tell the hash at a position; None if there is no such envelope."""
    if position == 0:
        return Head(0, genesis(room))
    row = connection.execute(
        "SELECT position, hash FROM envelope WHERE room_id = ? AND position = ?",
        (room_id, position),
    ).fetchone()
    return None if row is None else Head(*row)


def _head_before(connection: sqlite3.Connection, room_id: int, room: str, position: int) -> Head:
    try:
        head = _head_at(connection, room_id, room, position - 1)
    except sqlite3.Error:
        head = None
    return Head(position - 1, b"") if head is None else head


def _lost_room(room: str, head: Head) -> RoomFound:
    damage = LogDamaged(
        room, 1, f"it was acknowledged up to position {head.position} and is not in the database"
    )
    summary = RoomSummary(
        room=room,
        position=0,
        first_at_ns=0,
        last_at_ns=0,
        messages=0,
        events=0,
        open=False,
        damage=damage.reason,
    )
    return RoomFound(None, Head(0, genesis(room)), summary, damage)


def heads_damage(found: HeadsFound | None, *, has_rooms: bool) -> LogDamaged | None:
    """Say whether the heads file itself is missing or damaged."""
    if found is None:
        if not has_rooms:
            return None
        reason = "events.heads is missing, so the ends of the rooms' logs cannot be checked"
    elif found.damage is not None:
        reason = f"events.heads cannot be trusted ({found.damage}); the ends of the rooms' logs "
        reason += "were checked as far as it goes"
    else:
        return None
    return LogDamaged(None, None, reason)


class Walk:
    """A walk along a room's log, some envelopes a `step`, holding nothing in between.

    Every envelope is checked against the hash before it. Damage is raised after all that is sound
    before it was given. `ends_with` is damage known beforehand, at the end of the walk.
    """

    def __init__(
        self,
        room: str,
        room_id: int | None,
        after: int,
        up_to: int,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        correlation: str | None = None,
        batch: int = BATCH_ENVELOPES,
        ends_with: LogDamaged | None = None,
        archives: Archives | None = None,
        checked: bool = True,
    ) -> None:
        self._room = room
        self._checked = checked
        self._archives = archives
        self._room_id = room_id
        self._after = max(after, 0)
        self._up_to = up_to
        self._batch = batch
        self._damage: StoreError | None = None
        self._ends_with = ends_with
        self._head: Head | None = None
        self._base: Head | None = None
        self._given = False
        self._conditions = ""
        self._parameters: tuple[Any, ...] = ()
        self._actor, self._correlation = actor, correlation
        self._types = None if types is None else frozenset(types)
        if actor is not None:
            self._conditions += " AND e.actor = ?"
            self._parameters += (actor,)
        if correlation is not None:
            self._conditions += " AND e.correlation = ?"
            self._parameters += (correlation,)
        if types is not None:
            self._conditions += " AND e.type IN (SELECT value FROM json_each(?))"
            self._parameters += (json.dumps(list(types)),)

    def step(self, connection: sqlite3.Connection, limit: int | None = None) -> list[Envelope]:
        """Give the next envelopes, at most `limit`; none once the end is reached.

        Raises `LogDamaged` or `StoreReadFailed`, and again if called again.
        """
        if self._damage is None and self._after < self._up_to:
            limit = self._batch if limit is None else min(limit, self._batch)
            if envelopes := self._next(connection, limit):
                self._given = True
                return envelopes
        if self._damage is None:
            self._damage = self._ends_with
        if self._damage is not None:
            raise self._damage.again()
        return []

    def _next(self, connection: sqlite3.Connection, limit: int) -> list[Envelope]:
        """Read on from wherever the next envelope is, all within one snapshot."""
        with snapshot(connection):
            while self._damage is None and self._after < self._up_to:
                try:
                    stretch = stretch_at(connection, self._room_id, self._after + 1)
                    self._base = base_of(connection, self._room_id, self._room)
                except sqlite3.Error as error:
                    self._damage = translated_read(error, self._room, self._after + 1)
                    break
                if stretch is None:
                    read = self._filtered if self._conditions else self._dense
                    return read(connection, limit)
                if envelopes := self._elsewhere(stretch, limit):
                    return envelopes
        return []

    def _elsewhere(self, stretch: Stretch, limit: int) -> list[Envelope]:
        """Read on in an archive; leave out what was pruned, unless all that was asked for was."""
        if stretch.pruned:
            if self._up_to <= stretch.last and not self._given:
                self._damage = LogPruned(
                    self._room, stretch.first, stretch.last, stretch.at_ns, stretch.reason
                )
            self._after = min(stretch.last, self._up_to)
            self._head = Head(stretch.last, stretch.hash)
            return []
        assert self._archives is not None, "whoever walks along archives says where they are"
        try:
            count = BATCH_ENVELOPES if self._conditions else limit
            found = self._archives.read(self._room, stretch, self._after, self._up_to, count)
        except StoreError as error:
            self._damage = error
            return []
        chosen = [envelope for envelope in found if self._chosen(envelope)]
        last = found[-1] if len(chosen) <= limit else chosen[limit - 1]
        self._after, self._head = last.position, Head(last.position, last.hash)
        return chosen[:limit]

    def _chosen(self, envelope: Envelope) -> bool:
        return (
            (self._actor is None or envelope.actor == self._actor)
            and (self._correlation is None or envelope.correlation == self._correlation)
            and (self._types is None or envelope.type in self._types)
        )

    def _dense(self, connection: sqlite3.Connection, limit: int) -> list[Envelope]:
        """Read all envelopes of a stretch: positions and hashes must follow each other."""
        try:
            if not self._checked:
                self._head = Head(self._after, b"")
            if self._head is None and self._base is not None:
                at_base = self._after == self._base.position
                self._head = self._base if at_base else None
            if self._head is None:
                self._head = _head_at(connection, self._room_id, self._room, self._after)
        except sqlite3.Error as error:
            self._damage = translated_read(error, self._room, self._after)
            return []
        if self._head is None:
            self._damage = LogDamaged(self._room, self._after, "this position is missing")
            return []
        up_to = min(self._up_to, self._after + limit)
        rows = self._fetch(
            connection,
            f"SELECT {_COLUMNS} FROM envelope e WHERE e.room_id = ? AND e.position > ? "  # noqa: S608
            "AND e.position <= ? ORDER BY e.position",
            (self._room_id, self._after, up_to),
        )
        follow_next = follow_rows if self._checked else follow_positions
        self._head, wrong = follow_next(self._head, self._room, rows)
        sound = self._head.position - self._after
        self._after = self._head.position
        if wrong is not None:
            self._damage = wrong
        elif self._damage is None and self._after < up_to:
            self._damage = LogDamaged(self._room, self._after + 1, "this position is missing")
        return [_envelope(self._room, row) for row in rows[:sound]]

    def _filtered(self, connection: sqlite3.Connection, limit: int) -> list[Envelope]:
        """Read envelopes that meet the conditions, each checked against its predecessor's hash."""
        rows = self._fetch(
            connection,
            f"SELECT {_COLUMNS}, p.hash FROM envelope e LEFT JOIN envelope p "  # noqa: S608
            "ON p.room_id = e.room_id AND p.position = e.position - 1 "
            f"WHERE e.room_id = ? AND e.position > ? AND e.position <= ? {self._conditions} "
            "ORDER BY e.position LIMIT ?",
            (self._room_id, self._after, self._up_to, *self._parameters, limit),
        )
        envelopes = []
        for row in rows:
            envelope = _envelope(self._room, row)
            follows = self._base is not None and envelope.position == self._base.position + 1
            previous = self._base.hash if self._base is not None and follows else row[11]
            if not _fits(previous, envelope):
                self._damage = LogDamaged(self._room, envelope.position, WRONG_HASH)
                break
            envelopes.append(envelope)
            self._after = envelope.position
        if len(rows) < limit and self._damage is None:
            self._after = self._up_to
        return envelopes

    def _fetch(
        self, connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        """Fetch rows; if the database cannot give them all, those before the first it cannot."""
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error:
            rows = []
            try:
                for row in connection.execute(sql, parameters):
                    rows.append(row)  # noqa: PERF402  what came before the error is kept
            except sqlite3.Error as error:
                wrong = rows[-1][0] + 1 if rows else self._after + 1
                self._damage = translated_read(
                    error, self._room, None if self._conditions else wrong
                )
            return rows


def session_start(connection: sqlite3.Connection, room_id: int | None, end: int) -> int:
    """Find where the last session up to `end` begins; 0 in an empty log. Raises `sqlite3.Error`.

    A stretch that left the database is a session.
    """
    position = last_opening(connection, room_id, end) or 0
    left = stretches_of(connection, room_id)
    if left and position <= left[-1].last:
        return left[-1].first
    return position or min(1, end)


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """See the database as of one moment, within the caller's snapshot if there is one."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def read_some(
    connection: sqlite3.Connection, room: str, positions: Collection[int], archives: Archives
) -> list[Envelope]:
    """Read the envelopes at some positions, in order; those that are not there are left out.

    Raises `LogDamaged` for one that does not fit the hash before it.
    """
    with snapshot(connection):
        room_id = find_room(connection, room)
        base = base_of(connection, room_id, room)
        envelopes = [
            envelope
            for stretch in stretches_of(connection, room_id)
            if not stretch.pruned
            for envelope in archives.some(room, stretch, positions)
        ]
        rows = connection.execute(
            f"SELECT {_COLUMNS}, p.hash FROM json_each(?2) w "  # noqa: S608
            "JOIN envelope e ON e.room_id = ?1 AND e.position = w.value "
            "LEFT JOIN envelope p ON p.room_id = ?1 AND p.position = w.value - 1 "
            "ORDER BY e.position",
            (room_id, json.dumps(sorted({n for n in positions if n > base.position}))),
        ).fetchall()
    for row in rows:
        envelope = _envelope(room, row)
        previous = base.hash if envelope.position == base.position + 1 else row[11]
        if not _fits(previous, envelope):
            raise LogDamaged(room, envelope.position, WRONG_HASH)
        envelopes.append(envelope)
    return envelopes


def _fits(previous_hash: Any, envelope: Envelope) -> bool:
    if not isinstance(previous_hash, bytes):
        return False
    return chain(previous_hash, envelope.room, envelope.position, envelope) == envelope.hash


def _envelope(room: str, row: tuple[Any, ...]) -> Envelope:
    return Envelope(
        room=room,
        position=row[0],
        at_ns=row[1],
        actor=row[2],
        kind=row[3],
        type=row[4],
        version=row[5],
        cause=row[6],
        correlation=row[7],
        data=row[8],
        entropy=row[9],
        hash=row[10],
    )
