"""A room's history: its states at any instant, from the log and the snapshots beside it.

All methods block; on trio, run them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from protocol.envelope import Envelope
from replay.fold import Fold
from replay.instant import (
    MICROSECOND_NS,
    AtEdge,
    AtPosition,
    Place,
    parse_instant,
    resolve,
    time_of,
)
from replay.reader import LogReader
from replay.revealer import Revealer
from replay.snapshots import Snapshots, distance

Progress = Callable[[int], None]
"""Told the position that was reached, now and then."""


def _ignore(_position: int) -> None:
    pass


class History:
    """The states of one room at any position of its log.

    Raises on making `UnknownRoom`. Damage is raised as `LogDamaged` only by what needs the
    damaged stretch. Without `snapshots` everything is folded from the log's beginning; the
    states are the same.
    """

    def __init__(self, reader: LogReader, room: str, snapshots: Snapshots | None = None) -> None:
        self._reader = reader
        self._snapshots = snapshots
        self.room = room
        self._end, self._damage = reader.end(room)
        self._session_start: Place | None = None

    @property
    def revealer(self) -> Revealer:
        """Reveals personal data in states and envelopes, which are as the log has them."""
        return self._reader.revealer

    @property
    def last_position(self) -> int:
        """The last position that can be read, as of the making of this."""
        return self._end.position

    @property
    def damaged(self) -> bool:
        """Whether the log is known not to reach its end."""
        return self._damage is not None

    def end(self) -> Place:
        """The end of the log as of the making of this. Raises `LogDamaged` if it is torn off."""
        if self._damage is not None:
            raise self._damage.again()
        return self._end

    def session_start(self) -> Place:
        """Where the last session begins."""
        if self._session_start is None:
            self._session_start = self._reader.session_start(self.room)
        return self._session_start

    def position_at(self, at_ns: int) -> int:
        """The last position that is not later than a time; 0 if there is none."""
        position = min(self._reader.position_at(self.room, at_ns), self.last_position)
        return self.end().position if position == self.last_position else position

    def position_of(self, instant: str) -> int:
        """The position that an instant (see `replay.instant`) names. Raises `WrongInstant`."""
        return resolve(parse_instant(instant), self)

    def before(self, instant: str) -> int:
        """The last position before an instant: what is asked for since then comes after it.

        Times count to the microsecond. Raises `WrongInstant`.
        """
        found = parse_instant(instant)
        if isinstance(found, AtPosition | AtEdge):
            return max(0, resolve(found, self) - 1)
        return self._reader.position_at(self.room, time_of(found, self) - MICROSECOND_NS)

    def up_to(self, instant: str) -> int:
        """The last position up to and with an instant, 0 for a time before the log's beginning.

        Raises `WrongInstant`.
        """
        found = parse_instant(instant)
        if isinstance(found, AtPosition | AtEdge):
            return resolve(found, self)
        return self._reader.position_at(self.room, time_of(found, self))

    def decision_end(self, position: int) -> int:
        """The position of the last event of the decision that a position belongs to."""
        for batch in self._reader.batches(self.room, position):
            for envelope in batch:
                if envelope.kind == "message":
                    return envelope.position - 1
            position = batch[-1].position
        return position

    def at(self, position: int, progress: Progress = _ignore) -> Fold:
        """Fold the log up to and with a position; the result is the caller's to go on with."""
        fold, size = self._nearest(position)
        next_save = fold.position + distance(size)
        for batch in self._reader.batches(self.room, fold.position, position):
            apply = fold.apply
            for envelope in batch:
                apply(envelope)
            if self._snapshots is not None and fold.position >= next_save:
                next_save = fold.position + distance(self._snapshots.save(fold))
            progress(fold.position)
        return fold

    def events(
        self, fold: Fold, up_to: int | None = None, progress: Progress = _ignore
    ) -> Iterator[tuple[Envelope, Any | None]]:
        """Take a fold further, and yield each envelope with its event once it is applied."""
        for batch in self._reader.batches(self.room, fold.position, up_to):
            for envelope in batch:
                event = fold.apply(envelope)
                yield envelope, event
            progress(fold.position)

    def _nearest(self, position: int) -> tuple[Fold, int]:
        """Find the latest sound snapshot up to a position, or the log's beginning."""
        if self._snapshots is not None:
            for kept, chained in self._snapshots.before(self.room, position):
                if self._reader.hash_at(self.room, kept) != chained:
                    self._snapshots.forget(self.room, kept)
                    continue
                found = self._snapshots.load(self.room, kept)
                if found is not None:
                    return found
            self._snapshots.forget_other_code(self.room)
        return Fold(self.room), 0
