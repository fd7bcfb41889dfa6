"""What a decider is: the pure half of an actor.

Theory of operation. A decider is a set of functions over a state:

- `decide(state, message, context)` looks at a state and a message and says what
  happens (events), what is to be done about it (effects), or why not
  (a `Refusal`). It changes nothing.
- `evolve(state, event)` gives the next state. It may change the state that it
  was given and return it: the caller never looks at the old one again.
- `rows(state)` are the entries of the media plane's table that the state wants.
  The kernel sends what changed, so deciders never order rows about.
- `deadlines(state)` are the timers that the state wants, by name. A deadline
  that is reached comes back as `TimerFired`.
- `ended(state)` says that the actor has nothing more to do.

None of them reads a clock, a source of randomness, or anything beyond its
arguments: the same messages give the same events on every machine and day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from protocol.answers import Answer
from protocol.events import Event
from protocol.ids import Address, Draw
from protocol.orders import FreezeRecorder, Kind, RequestKeyFrame, Row
from protocol.refusals import Refusal


class Context(NamedTuple):
    """What comes with a message from outside the state, and is in the log with it."""

    at_ns: int
    """Wall clock, nanoseconds since the Unix epoch."""
    draw: Draw
    """Random choices."""


def is_due(deadline_ns: int | None, context: Context) -> bool:
    """Whether a deadline is reached: a timer's message may come after the deadline was moved."""
    return deadline_ns is not None and deadline_ns <= context.at_ns


class Reply(NamedTuple):
    """Tell the client yes."""

    answer: Answer


class ReplyStats(NamedTuple):
    """Tell the client what the media plane has counted for an entry.

    `kind` and `transport` are what the plane does not say of a producer or a consumer.
    """

    id: str
    kind: Kind | None = None
    transport: str | None = None


class Tell(NamedTuple):
    """Post a message to another actor of the room; it is lost if that one has ended."""

    to: Address
    message: Any


class Start(NamedTuple):
    """Start an actor with its first message; that actor answers the client."""

    address: Address
    message: Any


class Act(NamedTuple):
    """Send the media plane an order that is no row."""

    order: RequestKeyFrame | FreezeRecorder


Effect = Reply | ReplyStats | Tell | Start | Act


class Decision(NamedTuple):
    """Events, in order, and what to do once they are durable."""

    events: tuple[Event, ...] = ()
    effects: tuple[Effect, ...] = ()


NOTHING = Decision()
"""The message was of no consequence."""


class Decider(NamedTuple):
    """The functions of one kind of actor."""

    initial: Callable[[], Any]
    decide: Callable[[Any, Any, Context], Decision | Refusal]
    evolve: Callable[[Any, Any], Any]
    rows: Callable[[Any], tuple[Row, ...]]
    deadlines: Callable[[Any], Mapping[str, int]]
    ended: Callable[[Any], bool]
