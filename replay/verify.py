"""Verifying a room: whether its log is whole, and today's code decides as was decided then.

Two questions, and both are asked of every envelope: does the hash chain hold up to the end that was
acknowledged, and do today's deciders, given the recorded inputs, say what was said then.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from protocol import codec
from replay.difference import difference
from replay.history import Progress
from replay.reader import LogReader
from replay.redecide import Divergence, Redecider, Said
from replay.store.errors import LogDamaged, LogPruned
from replay.text import payload


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


def verify(reader: LogReader, room: str, progress: Progress = _ignore) -> RoomVerdict:
    """Verify a room's log. Raises `UnknownRoom`, `StoreReadFailed`.

    Damage does not end it: what stands before is decided again as well.
    """
    redecider = Redecider()
    take, knows = redecider.take, codec.knows
    position = 0
    damage: str | None = None
    unknown: str | None = None
    started = time.perf_counter()
    try:
        for batch in reader.batches(room):
            for envelope in batch:
                if unknown is None:
                    if knows(envelope.type, envelope.version):
                        take(envelope)
                    else:
                        what = f"{envelope.type} version {envelope.version}"
                        unknown = f"position {envelope.position}: {what} is of a newer release"
            position = batch[-1].position
            progress(position)
    except LogPruned as error:  # all of it: only the tombstones are left to look at
        position = error.last
    except LogDamaged as error:
        damage = str(error)
    verdict = redecider.finish(cut=damage is not None or unknown is not None)
    return RoomVerdict(
        room=room,
        position=position,
        messages=verdict.messages,
        failures=verdict.failures,
        damage=damage,
        unknown=unknown,
        divergence=verdict.divergence,
        seconds=time.perf_counter() - started,
    )


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
