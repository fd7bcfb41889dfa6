"""Read-only access to an event log, also while a server writes to it.

Sessions that lie in archives are read as if they were in the database. Of what was pruned nothing
can be read: walks that go on beyond it begin behind it, others raise `LogPruned`.

For the commands of `reprise replay` and whatever else looks at a log from outside its server. It
changes nothing, takes no lock that a writer would wait for, and holds no snapshot between batches.
All methods block; on trio, run them in a thread.
"""

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from protocol.envelope import Envelope
from replay.instant import Place
from replay.revealer import Revealer
from replay.store.errors import LogDamaged, StoreMissing, StoreReadFailed, UnknownRoom
from replay.store.heads import FILE_NAME as HEADS_FILE_NAME
from replay.store.heads import HeadsFound, HeadsReader
from replay.store.interface import BATCH_ENVELOPES, Head, RoomSummary
from replay.store.sqlite_file import FILE_NAME, connect_reader, translated_read
from replay.store.sqlite_read import (
    RoomFound,
    Walk,
    find_room,
    heads_damage,
    read_some,
    session_start,
    snapshot,
    survey,
)
from replay.store.stretches import Archives, Stretch, stretch_at, stretches_of
from replay.store.ways import effects, knows_effects

_CAUSES_AT_ONCE = 50_000


class LogReader:
    """An event log opened for reading. A context manager; `close` ends it.

    Raises on opening `StoreMissing`, `StoreVersionUnknown`, `StoreReadFailed`, or `LogDamaged`
    when nothing of the database can be read.
    """

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)
        self._archives = Archives(self._directory)
        self._heads = HeadsReader(self._directory / HEADS_FILE_NAME)
        self.revealer = Revealer(self._directory)
        """Reveals personal data in what this gives, which is as the log has it."""
        if not self._directory.is_dir():
            raise StoreMissing(f"no event log: there is no directory {self._directory}")
        try:
            self._connection: sqlite3.Connection = connect_reader(self._directory / FILE_NAME)
        except StoreMissing as error:
            recorded = self._recorded()
            if recorded is None or not recorded.heads:
                raise
            reason = f"{error}, but {HEADS_FILE_NAME} knows {len(recorded.heads)} rooms"
            raise LogDamaged(None, None, reason) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """Where the log is."""
        return self._directory

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()
        self._archives.close()
        self.revealer.close()

    def rooms(self) -> tuple[list[RoomSummary], list[LogDamaged]]:
        """List all rooms by name, and everything that is damaged (see `RoomSummary.damage`)."""
        recorded = self._recorded()
        found = survey(self._connection, {} if recorded is None else recorded.heads)
        general = heads_damage(recorded, has_rooms=bool(found))
        ordered = [found[room] for room in sorted(found)]
        damage = [general, *(room.damage for room in ordered)]
        return [room.summary for room in ordered], [each for each in damage if each is not None]

    def head(self, room: str) -> Head:
        """Tell the end of a room's log.

        Raises `UnknownRoom`; `LogDamaged` if the log does not reach its recorded end, or if its
        last envelopes do not check.
        """
        found = self._found(room)
        if found.damage is not None:
            raise found.damage.again()
        return found.head

    def is_open(self, room: str) -> bool:
        """Tell whether the room's session still runs. Raises `UnknownRoom`."""
        return self._found(room).summary.open

    def batches(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        correlation: str | None = None,
        batch: int = BATCH_ENVELOPES,
        checked: bool = True,
    ) -> Iterator[list[Envelope]]:
        """Give envelopes as `EventStore.batches` does, up to the end as of the call.

        Without `checked`, hashes are not looked at: for whoever has them checked elsewhere.

        Raises `UnknownRoom`; `LogDamaged` after everything sound before it was given;
        `LogPruned` if all of it was pruned.
        """
        found = self._found(room)
        end = found.head.position
        reaches_end = up_to is None or up_to > end
        walk = Walk(
            room,
            found.room_id,
            after,
            end if up_to is None else min(up_to, end),
            actor=actor,
            types=types,
            correlation=correlation,
            batch=batch,
            ends_with=found.damage if reaches_end else None,
            archives=self._archives,
            checked=checked,
        )
        return iter(lambda: walk.step(self._connection), [])

    def end(self, room: str) -> tuple[Place, LogDamaged | None]:
        """Tell the last position that can be trusted, and the damage behind it if any is known.

        Raises `UnknownRoom`.
        """
        found = self._found(room)
        position = found.head.position
        return Place(position, self._time(found.room_id, position)), found.damage

    def session_start(self, room: str) -> Place:
        """Tell where the last session begins: its `OpenRoom`.

        Raises `UnknownRoom`. In a file of an older release, which lacks the index of that, it goes
        through the whole session.
        """
        found = self._found(room)
        try:
            with snapshot(self._connection):
                position = session_start(self._connection, found.room_id, found.head.position)
        except sqlite3.Error as error:
            raise translated_read(error, room, None) from error
        return Place(position, self._time(found.room_id, position))

    def stretches(self, room: str) -> list[Stretch]:
        """Tell which sessions of a room left the database, and where they are now."""
        try:
            return stretches_of(self._connection, find_room(self._connection, room))
        except sqlite3.Error as error:
            raise translated_read(error, room, None) from error

    def position_at(self, room: str, at_ns: int) -> int:
        """Tell the last position that is not later than a time; 0 if there is none.

        Within a log times do not fall, unless the server's clock was set back between two of its
        runs: then it is one of the positions around that time.
        """
        found = self._found(room)
        low, high = 0, found.head.position
        while low < high:
            middle = (low + high + 1) // 2
            if self._time(found.room_id, middle) <= at_ns:
                low = middle
            else:
                high = middle - 1
        return low

    def hash_at(self, room: str, position: int) -> bytes | None:
        """Tell the hash at a position as it stands there, unchecked; None if there is none."""
        row = self._row(
            "SELECT e.hash FROM envelope e JOIN room r USING (room_id) "
            "WHERE r.room = ? AND e.position = ?",
            room,
            position,
        )
        if row is not None:
            return bytes(row[0])
        stretch = self._stretch_at(room, position)
        if stretch is None or (stretch.pruned and position != stretch.last):
            return None
        if position == stretch.last:
            return stretch.hash
        return self._archives.one(room, stretch, position).hash

    def causes(self, room: str, after: int, up_to: int) -> Iterator[tuple[int, int]]:
        """Give position and cause of every envelope of a stretch that has one, unchecked."""
        sql = (
            "SELECT e.position, e.cause FROM envelope e JOIN room r USING (room_id) "
            "WHERE r.room = ? AND e.position > ? AND e.position <= ? AND e.cause IS NOT NULL "
            "ORDER BY e.position LIMIT ?"
        )
        while after < up_to:
            with snapshot(self._connection):
                stretch = self._stretch_at(room, after + 1)
                rows = (
                    self._rows(sql, room, after, up_to, _CAUSES_AT_ONCE) if stretch is None else []
                )
            if stretch is not None:
                end = min(up_to, stretch.last)
                while after < end and not stretch.pruned:
                    found = self._archives.read(room, stretch, after, end, BATCH_ENVELOPES)
                    yield from ((e.position, e.cause) for e in found if e.cause is not None)
                    after = found[-1].position
                after = end
                continue
            yield from rows
            if len(rows) < _CAUSES_AT_ONCE:
                return
            after = rows[-1][0]

    def effects(self, room: str, root: int, up_to: int) -> list[tuple[int, int]] | None:
        """Tell position and cause of all that followed from a message, in order, unchecked.

        None where that takes a scan (see `causes`): in an archive, or a file of an older release.
        """
        try:
            with snapshot(self._connection):
                room_id = find_room(self._connection, room)
                if stretch_at(self._connection, room_id, root) is not None:
                    return None
                if not knows_effects(self._connection):
                    return None
                return effects(self._connection, room_id, root, up_to)
        except sqlite3.Error as error:
            raise translated_read(error, room, None) from error

    def some(self, room: str, positions: Collection[int]) -> list[Envelope]:
        """Give the envelopes at some positions, in order, each checked against the hash before it.

        What is not there is left out. Raises `LogDamaged` for one that does not check.
        """
        try:
            return read_some(self._connection, room, positions, self._archives)
        except sqlite3.Error as error:
            raise translated_read(error, room, None) from error

    def _time(self, room_id: int | None, position: int) -> int:
        row = self._row(
            "SELECT at_ns FROM envelope WHERE room_id = ? AND position = ?", room_id, position
        )
        if row is not None or not position:
            return 0 if row is None else int(row[0])
        name = self._row("SELECT room FROM room WHERE room_id = ?", room_id)
        stretch = None if name is None else self._stretch_at(name[0], position)
        if name is None or stretch is None:
            return 0
        if position == stretch.last:
            return stretch.last_at_ns
        if position == stretch.first or stretch.pruned:
            return stretch.first_at_ns
        return self._archives.one(name[0], stretch, position).at_ns

    def _stretch_at(self, room: str, position: int) -> Stretch | None:
        try:
            return stretch_at(self._connection, find_room(self._connection, room), position)
        except sqlite3.Error as error:
            raise translated_read(error, room, position) from error

    def _row(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *parameters)
        return rows[0] if rows else None

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise translated_read(error, None, None) from error

    def _found(self, room: str) -> RoomFound:
        recorded = self._recorded()  # before the database: it may only be ahead of its heads
        heads = {} if recorded is None else recorded.heads
        found = survey(self._connection, heads, only=room).get(room)
        if found is None:
            raise UnknownRoom(room)
        return found

    def _recorded(self) -> HeadsFound | None:
        try:
            return self._heads.read()
        except OSError as error:
            raise StoreReadFailed(f"cannot read {HEADS_FILE_NAME}: {error.strerror}") from error
