"""Verifying a room: whether its log is whole, and today's code decides as was decided then.

Two questions, and both are asked of every envelope: does the hash chain hold up to the end that was
acknowledged, and do today's deciders, given the recorded inputs, say what was said then.
"""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from replay.decide_process import DecideAgain, Decided, beside
from replay.difference import difference
from replay.history import Progress
from replay.reader import LogReader
from replay.redecide import Divergence, Said
from replay.store.errors import LogDamaged, LogPruned
from replay.text import payload

ASIDE_ENVELOPES = 150_000
"""Length of a log from which on starting a process pays: about a second's work."""


class RoomVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of verifying a room."""

    room: str
    position: int
    """Up to which the log was looked at and is whole."""
    messages: int
    """Decided again."""
    failures: int
    """Messages that had broken their actor then; they are not decided again."""
    damage: str | None
    """Why the log is not whole."""
    unknown: str | None
    """What of it only a newer release understands."""
    divergence: Divergence | None
    """The first message upon which today's code decides otherwise."""
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether the log is whole and was decided again, all of it, with the same events."""
        return self.damage is None and self.unknown is None and self.divergence is None

    def as_map(self) -> dict[str, Any]:
        """For JSON."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.divergence is not None:
            plain["divergence"] = divergence_map(self.divergence)
        return {"room": self.room, "equal": self.equal} | plain


def _ignore(_position: int) -> None:
    pass


def verify(
    reader: LogReader, room: str, progress: Progress = _ignore, *, aside_from: int = ASIDE_ENVELOPES
) -> RoomVerdict:
    """Verify a room's log. Raises `UnknownRoom`, `StoreReadFailed`.

    Damage does not end it: what stands before is decided again as well. A log of `aside_from`
    envelopes or more is decided again by a process beside this one, while this one checks its
    chain. Should either stumble, all is done again by this one alone; so the verdict is the same.
    """
    started = time.perf_counter()
    end, known = reader.end(room)
    found = None
    if known is None and end.position >= aside_from and len(os.sched_getaffinity(0)) > 1:
        found = _verified_by_two(reader, room, end.position, progress)
    if found is None:
        found = _verified_alone(reader, room, progress)
    decided, position, damage = found
    return RoomVerdict(
        room=room,
        position=position,
        messages=decided.verdict.messages,
        failures=decided.verdict.failures,
        damage=damage,
        unknown=decided.unknown,
        divergence=decided.verdict.divergence,
        seconds=time.perf_counter() - started,
    )


_Found = tuple[Decided, int, str | None]
"""What was decided, up to which position the log was looked at, and why it is not whole."""


def _verified_alone(reader: LogReader, room: str, progress: Progress) -> _Found:
    again = DecideAgain()
    position = 0
    damage: str | None = None
    try:
        for batch in reader.batches(room):
            again.take(batch)
            position = batch[-1].position
            progress(position)
    except LogPruned as error:  # all of it: only the tombstones are left to look at
        position = error.last
    except LogDamaged as error:
        damage = str(error)
    return again.finish(cut=damage is not None), position, damage


def _verified_by_two(reader: LogReader, room: str, end: int, progress: Progress) -> _Found | None:
    """Verify up to `end` with a process beside this one; None if it is not plainly sound."""
    with beside(reader.directory, room, end) as helper:
        try:
            for batch in reader.batches(room, up_to=end):
                # Two go along the log; what is told is how far both have come, more or less.
                progress(batch[-1].position // 2)
        except (LogDamaged, LogPruned):
            return None
        decided = helper.result(lambda position: progress((end + position) // 2))
        progress(end)
    return None if decided is None else (decided, end, None)


def divergence_map(divergence: Divergence) -> dict[str, Any]:
    """A divergence with both versions of the events, for JSON."""
    return {
        "position": divergence.position,
        "actor": divergence.actor,
        "message": divergence.message,
        "index": divergence.index,
        "error": divergence.error,
        "recorded": [_plain(said) for said in divergence.recorded],
        "decided": [_plain(said) for said in divergence.decided],
        "changes": [change.as_map() for change in changes(divergence)],
    }


def changes(divergence: Divergence) -> list[Any]:
    """What differs in the first event that does, if it is of the same type."""
    index = divergence.index
    if index >= min(len(divergence.recorded), len(divergence.decided)):
        return []
    then, now = divergence.recorded[index], divergence.decided[index]
    return difference(payload(then.data), payload(now.data)) if then.type == now.type else []


def _plain(said: Said) -> dict[str, Any]:
    return {"type": said.type, "data": payload(said.data)}
