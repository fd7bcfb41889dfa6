"""Instants in a room's log, as a person writes them.

    1234                       a position
    2026-03-01T12:00:00.5Z     a time; without a zone it is UTC
    12:00:00.5                 a time on the day the session began, or on the next one
    +12.5s   -3s   +1m30s      from the beginning of the last session, or back from the log's end
    start   end                the first position of the last session, the last of the log

A time stands for all that happened up to and with it, so it names the last position that is not
later. Times of day and dates are shown to the microsecond, so they cover that whole microsecond:
what `show` prints can be pasted back. Units of durations are h, m, s and ms.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Protocol

from msgspec import Struct

from replay.errors import WrongInstant

_NS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_OFFSET = re.compile(rf"[+-](?:{_PART.pattern})+")
_DIGITS_MAX = 18
MICROSECOND_NS = 1_000


class AtPosition(Struct, frozen=True):
    """A position; 0 is before everything."""

    position: int


class AtTime(Struct, frozen=True):
    """A time, in nanoseconds since the Unix epoch."""

    at_ns: int


class AtTimeOfDay(Struct, frozen=True):
    """Nanoseconds since midnight, UTC."""

    since_midnight_ns: int


class AtOffset(Struct, frozen=True):
    """Nanoseconds after the session's beginning, or, if negative, before the log's end."""

    offset_ns: int
    from_end: bool


class AtEdge(Struct, frozen=True):
    """The beginning of the last session, or the end of the log."""

    end: bool


Instant = AtPosition | AtTime | AtTimeOfDay | AtOffset | AtEdge


class Place(Struct, frozen=True):
    """A position and its time."""

    position: int
    at_ns: int


class Log(Protocol):
    """What must be known of a room's log to find an instant in it."""

    def session_start(self) -> Place:
        """Where the last session begins."""
        ...

    @property
    def last_position(self) -> int:
        """The last position that can be read."""
        ...

    def end(self) -> Place:
        """The last position; raises what keeps the log from being read to its end."""
        ...

    def position_at(self, at_ns: int) -> int:
        """The last position that is not later than a time; 0 if there is none."""
        ...


def parse_instant(text: str) -> Instant:
    """Read an instant. Raises `WrongInstant`."""
    word = text.strip()
    if word in ("start", "end"):
        return AtEdge(word == "end")
    if word.isdecimal() and word.isascii() and len(word) <= _DIGITS_MAX:
        return AtPosition(int(word))
    if _OFFSET.fullmatch(word):
        return AtOffset(_duration_ns(word), word[0] == "-")
    try:
        return _parse_time(word)
    except (ValueError, OverflowError):
        raise WrongInstant(
            f"{text!r} is no instant: give a position, a time such as 2026-03-01T12:00:00Z, "
            "+12.5s from the session's beginning, -3s from its end, start or end"
        ) from None


def _duration_ns(word: str) -> int:
    amount = sum(round(float(number) * _NS[unit]) for number, unit in _PART.findall(word))
    return -amount if word[0] == "-" else amount


def _parse_time(word: str) -> Instant:
    if ":" in word and "-" not in word.partition(":")[0]:
        of_day = time.fromisoformat(word)
        if of_day.tzinfo not in (None, UTC):
            raise ValueError(word)
        since_midnight = timedelta(
            hours=of_day.hour,
            minutes=of_day.minute,
            seconds=of_day.second,
            microseconds=of_day.microsecond,
        )
        return AtTimeOfDay(_in_ns(since_midnight))
    moment = datetime.fromisoformat(word)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return AtTime(_in_ns(moment - datetime.fromtimestamp(0, UTC)))


def _in_ns(duration: timedelta) -> int:
    """Nanoseconds up to the end of the microsecond."""
    return duration // timedelta(microseconds=1) * MICROSECOND_NS + MICROSECOND_NS - 1


def resolve(instant: Instant, log: Log) -> int:
    """The position that an instant names.

    Raises `WrongInstant` for a position past the end and a time before the log's beginning; a
    time after the end means the end.
    """
    match instant:
        case AtPosition(position):
            if position > log.last_position:
                end = log.end().position
                raise WrongInstant(f"position {position} is past the end of the log, {end}")
            return position
        case AtEdge(end=True):
            return log.end().position
        case AtEdge():
            return log.session_start().position
        case _:
            position = log.position_at(_time_of(instant, log))
            if position == 0:
                raise WrongInstant("that is before the log begins")
            return position


def time_of(instant: Instant, log: Log) -> int:
    """The time that an instant means, in nanoseconds since the Unix epoch, for filters by time.

    Raises `WrongInstant` for a position: it is none.
    """
    match instant:
        case AtPosition():
            raise WrongInstant("a time is needed here, not a position")
        case AtEdge(end):
            return (log.end() if end else log.session_start()).at_ns
        case _:
            return _time_of(instant, log)


def _time_of(instant: AtTime | AtTimeOfDay | AtOffset, log: Log) -> int:
    match instant:
        case AtTime(at_ns):
            return at_ns
        case AtOffset(offset_ns, from_end):
            return (log.end() if from_end else log.session_start()).at_ns + offset_ns
        case AtTimeOfDay(since_midnight_ns):
            start_ns, day_ns = log.session_start().at_ns, 24 * _NS["h"]
            at_ns = start_ns - start_ns % day_ns + since_midnight_ns
            return at_ns if at_ns >= start_ns else at_ns + day_ns
