"""given events, when a message comes, then events and effects, or a refusal.

    given(TRANSPORT, opened()).when(RestartIce(…)).then(IceRestarting(…), Reply(…))

Messages pass through the codec, as letters do, and each outcome's events are
folded into the state, so that `rows`, `deadlines` and `ended` show what follows.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from actors.core.decider import Context, Decider, Decision
from protocol import codec
from protocol.ids import Draw
from protocol.orders import Row
from protocol.refusals import Refusal, RefusalCode
from tests.control.samples import EPOCH_NS

ENTROPY = bytes(range(16))


def draw(entropy: bytes = ENTROPY) -> Draw:
    """The choices that a decision makes which is given `entropy`."""
    return Draw(lambda: entropy)


class Given:
    """An actor's state after some events."""

    def __init__(self, decider: Decider, *events: Any) -> None:
        self.decider = decider
        self.state = decider.initial()
        for event in events:
            self._evolve(event)

    def _evolve(self, event: Any) -> None:
        codec.encode(event)
        self.state = self.decider.evolve(self.state, deepcopy(event))

    def when(self, message: Any, *, at_ns: int = EPOCH_NS, entropy: bytes = ENTROPY) -> Outcome:
        """Decide a message; deciding must leave the state alone."""
        before = codec.state_bytes(self.state)
        letter = codec.decode(codec.type_of(message), 1, codec.encode(message))
        outcome = self.decider.decide(self.state, letter, Context(at_ns, draw(entropy)))
        assert codec.state_bytes(self.state) == before, "deciding changed the state"
        return Outcome(self, outcome)

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.decider.rows(self.state)

    @property
    def deadlines(self) -> dict[str, int]:
        return dict(self.decider.deadlines(self.state))

    @property
    def ended(self) -> bool:
        return self.decider.ended(self.state)


class Outcome:
    """What was decided, and the state that follows."""

    def __init__(self, given: Given, outcome: Decision | Refusal) -> None:
        self.decided = outcome
        self.after = deepcopy(given)
        for event in outcome.events if isinstance(outcome, Decision) else ():
            self.after._evolve(event)

    @property
    def events(self) -> tuple[Any, ...]:
        assert isinstance(self.decided, Decision), self.decided
        return self.decided.events

    @property
    def effects(self) -> tuple[Any, ...]:
        assert isinstance(self.decided, Decision), self.decided
        return self.decided.effects

    def then(self, *expected: Any) -> Given:
        """These events and effects, in this order, and nothing else."""
        assert [*self.events, *self.effects] == list(expected)
        return self.after

    def then_events(self, *expected: Any) -> Given:
        """These events; the effects are looked at elsewhere."""
        assert list(self.events) == list(expected)
        return self.after

    def then_nothing(self) -> None:
        """It was of no consequence."""
        assert self.decided == Decision()

    def refused(self, code: RefusalCode, *words: str) -> None:
        """A refusal with this code, whose message says these words."""
        assert isinstance(self.decided, Refusal), self.decided
        assert self.decided.code == code
        for word in words:
            assert word in self.decided.message


def given(decider: Decider, *events: Any) -> Given:
    """The state of a decider's actor after `events`."""
    return Given(decider, *events)
