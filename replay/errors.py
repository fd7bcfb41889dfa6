"""What readers of the log cannot do, beside what the store itself reports."""

from __future__ import annotations


class ReplayError(Exception):
    """A question that the log cannot answer. Its text is one clear line for a person."""


class LogNotUnderstood(ReplayError):
    """The log is sound, but says something that this release cannot read or apply."""

    def __init__(self, room: str, position: int, reason: str) -> None:
        super().__init__(
            f"the log of room {room!r} is not understood at position {position}: {reason}"
        )
        self.room = room
        self.position = position
        self.reason = reason


class WrongInstant(ReplayError):
    """An instant that is malformed, or lies outside the room's log."""


class WrongExpression(ReplayError):
    """An expression that is malformed or could never be evaluated."""
