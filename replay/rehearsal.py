"""A rehearsal: a room run by its deciders alone, without store, plane, clock or tasks.

Messages are decided one at a time, what they tell other actors right after them in the order of
telling. Nothing leaves: replies and orders are dropped. Counterfactuals run on it, and so do tests
and measurements that need a log without a server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from actors.core.decider import Context, Decision, Start, Tell
from actors.core.deciders import decider_at
from actors.core.recovery import States
from protocol import codec
from protocol.events import CommandRefused
from protocol.ids import ROOM, Address, Draw
from protocol.refusals import Refusal


class Letter(Struct, frozen=True, kw_only=True):
    """A message on its way. `source` is the number of the step that sent it, None from outside."""

    address: Address
    message: Any
    source: int | None = None
    starts: bool = False
    """Whether it is the first message of its actor."""


class Step(Struct, frozen=True, kw_only=True):
    """One decision, in the order of deciding."""

    number: int
    address: Address
    message: Any
    source: int | None
    at_ns: int
    entropy: bytes
    """Drawn by this decision; empty if it made no choice."""
    events: tuple[Any, ...]
    """With `CommandRefused` for a refusal."""
    refusal: Refusal | None
    told: tuple[Letter, ...]
    """What it sends to other actors."""


class Rehearsal:
    """The actors of one room. `entropy` gives 16 bytes whenever a decision wants some."""

    def __init__(self, entropy: Callable[[], bytes], states: States | None = None) -> None:
        self.states: States = {} if states is None else states
        self._entropy = entropy
        self._steps = 0

    def there(self, address: Address) -> bool:
        """Whether an actor lives at an address; the room's always does."""
        return address == ROOM or address in self.states

    def decide(
        self, letter: Letter, at_ns: int, entropy: Callable[[], bytes] | None = None
    ) -> Step | None:
        """Decide one message, and let the state move on; None if its actor is not there.

        What it tells others is in the step and is not delivered.
        """
        address = letter.address
        if not (letter.starts or self.there(address)):
            return None
        decider = decider_at(address)
        state = self.states.get(address)
        state = decider.initial() if state is None else state
        draw = Draw(self._entropy if entropy is None else entropy)
        message = codec.decode(
            codec.type_of(letter.message),
            codec.version_of(codec.type_of(letter.message)),
            codec.encode(letter.message),
        )
        outcome = decider.decide(state, message, Context(at_ns, draw))
        refusal = outcome if isinstance(outcome, Refusal) else None
        events: tuple[Any, ...]
        if isinstance(outcome, Refusal):
            events = (CommandRefused(code=outcome.code.value, message=outcome.message),)
        else:
            events = outcome.events
            for event in events:
                state = decider.evolve(state, event)
        if decider.ended(state) and address != ROOM:
            self.states.pop(address, None)
        else:
            self.states[address] = state
        number, self._steps = self._steps, self._steps + 1
        return Step(
            number=number,
            address=address,
            message=message,
            source=letter.source,
            at_ns=at_ns,
            entropy=draw.entropy,
            events=events,
            refusal=refusal,
            told=_told(outcome, number),
        )

    def run(self, address: Address, message: Any, at_ns: int) -> list[Step]:
        """Decide a message from outside and all that follows from it."""
        queue = deque([Letter(address=address, message=message)])
        steps = []
        while queue:
            step = self.decide(queue.popleft(), at_ns)
            if step is not None:
                steps.append(step)
                queue.extend(step.told)
        return steps

    def deadlines(self) -> list[tuple[int, Address, str]]:
        """All timers that are wanted: time, actor and name, the earliest first."""
        return sorted(
            (due_ns, address, name)
            for address, state in self.states.items()
            for name, due_ns in decider_at(address).deadlines(state).items()
            if not decider_at(address).ended(state)
        )


def _told(outcome: Decision | Refusal, number: int) -> tuple[Letter, ...]:
    if isinstance(outcome, Refusal):
        return ()
    letters = []
    for effect in outcome.effects:
        match effect:
            case Tell(to, message):
                letters.append(Letter(address=to, message=message, source=number))
            case Start(address, message):
                letters.append(Letter(address=address, message=message, source=number, starts=True))
    return tuple(letters)
