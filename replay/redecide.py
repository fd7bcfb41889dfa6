"""Decide a room's journaled messages again, and see whether the same events come out.

The log has for each message all that its actor decided by: the state (from the events before it),
the payload, the time and the entropy. So today's deciders, given the log alone, must say what was
said then, byte for byte. Where they do not, either the log is not what an honest run wrote, or
the code has changed its mind since.

The work is pure: envelopes in, a verdict out. `Redecider` takes them in order, from position 1
or from any `RoomOpened` message's position, for every room by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.core.decider import Context, Decider
from actors.core.deciders import decider_at
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
        self._states: dict[str, Any] = {}
        self._deciders = _Deciders()
        self._message: Envelope | None = None
        self._events: list[Envelope] = []
        self._messages = 0
        self._failures = 0
        self._divergence: Divergence | None = None

    def take(self, envelopes: Iterable[Envelope]) -> None:
        """Take the next envelopes; those behind a divergence are not looked at."""
        if self._divergence is not None:
            return
        message = self._message
        for envelope in envelopes:
            if envelope.kind == "message":
                if message is not None and not self._settle(message):
                    return
                message = self._message = envelope
            elif (
                message is None
                or envelope.cause != message.position
                or envelope.actor != message.actor
                or envelope.correlation != message.correlation
                or envelope.at_ns != message.at_ns
            ):
                self._divergence = _stray(envelope)
                return
            else:
                self._events.append(envelope)

    def finish(self, *, cut: bool = False) -> Verdict:
        """Tell what came of it, when all envelopes were taken.

        `cut` says that the log goes on where it cannot be read: then the events of the last
        message may be missing, and it is left out.
        """
        if self._message is not None and self._divergence is None and not cut:
            self._settle(self._message)
        return Verdict(
            messages=self._messages, failures=self._failures, divergence=self._divergence
        )

    def _settle(self, message: Envelope) -> bool:
        """Decide a message again, now that all its events are known; then fold those.

        Tells whether they are the same.
        """
        recorded, self._events = self._events, []
        self._message = None
        actor = message.actor
        if recorded and recorded[0].type == _FAILED:
            self._failures += 1
            for envelope in recorded:
                event = codec.decode(envelope.type, envelope.version, envelope.data)
                self._evolve(actor, event)
            return True
        self._messages += 1
        try:
            decided = self._decide(actor, message)
            equal = _are_equal(recorded, decided)
        except Exception as raised:  # noqa: BLE001 - what a changed decider raises is a finding
            self._divergence = _divergence(message, recorded, (), raised)
            return False
        if not equal:
            self._divergence = _divergence(message, recorded, decided, None)
            return False
        for event in decided:
            self._evolve(actor, event)
        return True

    def _decide(self, actor: str, message: Envelope) -> tuple[Any, ...]:
        decider = self._deciders[actor]
        state = self._states.get(actor)
        if state is None:
            state = decider.initial()
        entropy = message.entropy
        draw = Draw(lambda: entropy) if entropy else _NO_CHOICE
        outcome = decider.decide(
            state,
            codec.decode(message.type, message.version, message.data),
            Context(message.at_ns, draw),
        )
        if entropy and draw.entropy != entropy:
            raise ValueError("choices were drawn then that are not drawn now")
        if isinstance(outcome, Refusal):
            return (events.CommandRefused(code=outcome.code.value, message=outcome.message),)
        return outcome.events

    def _evolve(self, actor: str, event: Any) -> None:
        """Take an event as `actors.core.recovery.Rebuild` does."""
        if type(event) is events.RoomOpened:
            self._states.clear()
        decider = self._deciders[actor]
        state = self._states.get(actor)
        if state is None:
            state = decider.initial()
        self._states[actor] = decider.evolve(state, event)


class _Deciders(dict[str, Decider]):
    """The decider of each address."""

    def __missing__(self, actor: str) -> Decider:
        decider = self[actor] = decider_at(Address(actor))
        return decider


_FAILED = events.ActorFailed.__name__


def _no_choice() -> bytes:
    raise ValueError("a choice is drawn now that was not drawn then")


_NO_CHOICE = Draw(_no_choice)
"""For messages upon which nothing was drawn: the most."""


def _are_equal(recorded: list[Envelope], decided: tuple[Any, ...]) -> bool:
    """Whether the same events were decided: as written then, or else in today's shape."""
    if len(recorded) != len(decided):
        return False
    for envelope, event in zip(recorded, decided, strict=True):
        if type(event).__name__ != envelope.type:
            return False
        data = codec.encode(event)
        if data != envelope.data:
            then = codec.decode(envelope.type, envelope.version, envelope.data)
            if data != codec.encode(then):
                return False
    return True


def _divergence(
    message: Envelope,
    recorded: list[Envelope],
    decided: tuple[Any, ...],
    error: Exception | None,
) -> Divergence:
    """What is told of a message whose events differ."""
    now = tuple(Said(codec.type_of(event), codec.encode(event)) for event in decided)
    then = tuple(_said(envelope, today=error is None) for envelope in recorded)
    differing = (at for at, (old, new) in enumerate(zip(then, now, strict=False)) if old != new)
    return Divergence(
        position=message.position,
        actor=message.actor,
        message=message.type,
        index=next(differing, min(len(then), len(now))),
        recorded=then,
        decided=now,
        error=None if error is None else f"{type(error).__name__}: {error}",
    )


def redecide(envelopes: Iterable[Envelope]) -> Verdict:
    """Decide all messages of one room's envelopes again."""
    redecider = Redecider()
    redecider.take(envelopes)
    return redecider.finish()


def _said(envelope: Envelope, *, today: bool) -> Said:
    """The event as the log has it, or as today's codec writes it."""
    if not today:
        return Said(envelope.type, envelope.data)
    event: Any = codec.decode(envelope.type, envelope.version, envelope.data)
    return Said(envelope.type, codec.encode(event))


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
