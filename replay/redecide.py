"""Decide a room's journaled messages again, and see whether the same events come out.

The log has for each message all that its actor decided by: the state (from the events before it),
the payload, the time and the entropy. So today's deciders, given the log alone, must say what was
said then, byte for byte. Where they do not, either the log is not what an honest run wrote, or
the code has changed its mind since.

The work is pure: envelopes in, a verdict out. `Redecider` takes them one by one, from position 1
or from any `RoomOpened` message's position, for every room by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.core.decider import Context
from actors.core.deciders import decider_at
from actors.core.recovery import Rebuild
from protocol import codec, events
from protocol.envelope import Envelope
from protocol.ids import Address, Draw
from protocol.refusals import Refusal


class Said(msgspec.Struct, frozen=True):
    """An event, as the log names and keeps it."""

    type: str
    data: bytes


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first message whose events differ."""

    position: int
    """Of the message, or of an event that no message caused."""
    actor: str
    message: str
    """Type of the message."""
    index: int
    """Of the first event that differs among those of the message."""
    recorded: tuple[Said, ...]
    decided: tuple[Said, ...]
    error: str | None = None
    """Why nothing was decided, where a decider or the codec raised."""

    def __str__(self) -> str:
        """One line for a terminal."""
        then, now = (
            said[self.index].type if self.index < len(said) else "nothing"
            for said in (self.recorded, self.decided)
        )
        now = self.error or (f"another {now}" if then == now else now)
        return (
            f"position {self.position}, {self.actor}: {self.message} gave {then} as event "
            f"{self.index + 1}, and gives {now}"
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of deciding a log again."""

    messages: int
    """Decided again."""
    failures: int
    """Messages that had broken their actor then; they are not decided again."""
    divergence: Divergence | None
    """The first one; nothing behind it was looked at."""


class Redecider:
    """Takes one room's envelopes in order of position, and keeps the first divergence."""

    def __init__(self) -> None:
        self._rebuild = Rebuild()
        self._message: Envelope | None = None
        self._events: list[Envelope] = []
        self._messages = 0
        self._failures = 0
        self._divergence: Divergence | None = None

    def take(self, envelope: Envelope) -> None:
        """Take the next envelope."""
        if self._divergence is not None:
            return
        if envelope.kind == "message":
            self._settle()
            self._message = envelope
            return
        message = self._message
        if (
            message is None
            or envelope.cause != message.position
            or envelope.actor != message.actor
            or envelope.correlation != message.correlation
            or envelope.at_ns != message.at_ns
        ):
            self._divergence = _stray(envelope)
            return
        self._events.append(envelope)

    def finish(self, *, cut: bool = False) -> Verdict:
        """Tell what came of it, when all envelopes were taken.

        `cut` says that the log goes on where it cannot be read: then the events of the last
        message may be missing, and it is left out.
        """
        if not cut:
            self._settle()
        return Verdict(
            messages=self._messages, failures=self._failures, divergence=self._divergence
        )

    def _settle(self) -> None:
        """Decide the last message again, now that all its events are known; then fold those."""
        message, recorded = self._message, self._events
        self._message, self._events = None, []
        if message is None or self._divergence is not None:
            return
        if recorded and recorded[0].type == events.ActorFailed.__name__:
            self._failures += 1
        else:
            self._messages += 1
            self._divergence = self._compare(message, recorded)
            if self._divergence is not None:
                return
        for envelope in recorded:
            event = codec.decode(envelope.type, envelope.version, envelope.data)
            self._rebuild.apply(Address(envelope.actor), event)

    def _compare(self, message: Envelope, recorded: list[Envelope]) -> Divergence | None:
        decided: tuple[Said, ...] = ()
        error = None
        try:
            decided = self._decide(message)
            then = tuple(map(_said, recorded))
        except Exception as raised:  # noqa: BLE001 - what a changed decider raises is a finding
            error = f"{type(raised).__name__}: {raised}"
            then = tuple(Said(envelope.type, envelope.data) for envelope in recorded)
        if error is None and (then == decided or tuple(map(_today, then)) == decided):
            return None
        pairs = zip(then, decided, strict=False)
        index = next(
            (at for at, (old, new) in enumerate(pairs) if old != new),
            min(len(then), len(decided)),
        )
        return Divergence(
            position=message.position,
            actor=message.actor,
            message=message.type,
            index=index,
            recorded=then,
            decided=decided,
            error=error,
        )

    def _decide(self, message: Envelope) -> tuple[Said, ...]:
        address = Address(message.actor)
        draw = Draw(lambda: message.entropy)
        outcome = decider_at(address).decide(
            self._rebuild.state(address),
            codec.decode(message.type, message.version, message.data),
            Context(message.at_ns, draw),
        )
        if draw.entropy != message.entropy:
            raise ValueError("choices were drawn then that are not drawn now")
        if isinstance(outcome, Refusal):
            refused = events.CommandRefused(code=outcome.code.value, message=outcome.message)
            return (Said(codec.type_of(refused), codec.encode(refused)),)
        return tuple(Said(codec.type_of(event), codec.encode(event)) for event in outcome.events)


def redecide(envelopes: Iterable[Envelope]) -> Verdict:
    """Decide all messages of one room's envelopes again."""
    redecider = Redecider()
    for envelope in envelopes:
        redecider.take(envelope)
    return redecider.finish()


def _said(envelope: Envelope) -> Said:
    """The event as today's codec writes it: an older version is upcast."""
    if envelope.version == codec.version_of(envelope.type):
        return Said(envelope.type, envelope.data)
    event: Any = codec.decode(envelope.type, envelope.version, envelope.data)
    return Said(envelope.type, codec.encode(event))


def _today(said: Said) -> Said:
    """The same with what today's shape has beside it: fields that were not there then."""
    event: Any = codec.decode(said.type, codec.version_of(said.type), said.data)
    return Said(said.type, codec.encode(event))


def _stray(envelope: Envelope) -> Divergence:
    """An event that does not follow the message that caused it."""
    return Divergence(
        position=envelope.position,
        actor=envelope.actor,
        message="no message",
        index=0,
        recorded=(Said(envelope.type, envelope.data),),
        decided=(),
    )
