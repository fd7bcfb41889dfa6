"""The actor: the loop that runs a decider over a mailbox.

Theory of operation. The actor takes a batch of letters. For each it calls
`decide`, and `evolve` for the events that come out, and notes message and events
for the log. Then it appends all of them at once and waits until they are
durable. Only then do effects leave: answers, messages, orders, timers.
Its state may be ahead of the log while it waits, but nobody can see that.

What can go wrong, and what then happens:

- A decider raises: an invariant is broken. The message is journaled with an
  `ActorFailed`, its client gets `internal_error`, and the actor goes on from a
  state that is built anew from its events. Too many failures, and it is given
  up: the room is told, or closed if it was the room's own actor.
- The log cannot be written for now (disk full, overload): clients' requests of
  the batch are refused, the house's own letters are kept and tried again.
- The log cannot be written ever again (damage): the room ends.
"""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

import trio

from actors.core.decider import Act, Context, Decision, Effect, Reply, ReplyStats, Start, Tell
from actors.core.deciders import decider_at
from actors.kernel.feed import event_in
from actors.kernel.house import House
from actors.kernel.journal import Entry
from actors.kernel.letter import Answered, Letter
from actors.kernel.mailbox import Mailbox
from actors.kernel.supervisor import RestartPolicy
from protocol import codec
from protocol.envelope import Draft
from protocol.events import ActorFailed, CommandRefused, RoomClosed
from protocol.ids import ROOM, Address, Draw, kind_of
from protocol.messages import ChildFailed, TimerFired
from protocol.orders import Remove, Row, removal_of
from protocol.refusals import Refusal, RefusalCode
from protocol.store_error import StoreError

BATCH_MAX = 64
"""Letters that share one append."""

RETRY_S = 0.5
"""How often kept letters are tried while the log cannot be written."""

FAILED = "actor_failed"
"""The reason for closing what belonged to an actor that was given up."""

_LOST_CODES = ("log_damaged", "store_failed", "store_closed")
"""Errors of the store after which a room's log takes no more."""

_STORE_REFUSALS = {
    "log_damaged": Refusal(RefusalCode.LOG_DAMAGED, "the room's log is damaged"),
    "store_overloaded": Refusal(RefusalCode.OVERLOADED, "the event log is behind"),
}
_STORE_REFUSAL = Refusal(RefusalCode.STORAGE_UNAVAILABLE, "the event log cannot be written")
_FAILURE_REFUSAL = Refusal(RefusalCode.INTERNAL_ERROR, "a fault of ours; nothing was done")
_GONE_REFUSALS = {
    "room": Refusal(RefusalCode.ROOM_NOT_FOUND, "the room is closed"),
    "transport": Refusal(RefusalCode.TRANSPORT_NOT_FOUND, "there is no such transport"),
    "producer": Refusal(RefusalCode.PRODUCER_NOT_FOUND, "there is no such producer"),
    "consumer": Refusal(RefusalCode.CONSUMER_NOT_FOUND, "there is no such consumer"),
}


def gone(address: Address) -> Refusal:
    """What a client is told that addresses an actor which is not there."""
    return _GONE_REFUSALS[kind_of(address)]


class _Decided(NamedTuple):
    """One letter's outcome, before it is durable."""

    letter: Letter
    outcome: Decision | Refusal
    position: int
    """Of the message."""
    entries: list[Entry]


class Actor:
    """One room, transport, producer or consumer at work. `run` is its task."""

    def __init__(self, address: Address, house: House, state: Any | None = None) -> None:
        self.address = address
        self.mailbox: Mailbox[Letter] = Mailbox()
        self._house = house
        self._decider = decider_at(address)
        self._state = self._decider.initial() if state is None else state
        self._policy = RestartPolicy()
        self._held: list[Letter] = []
        self._rows: dict[Remove, Row] = {}
        self._deadlines: dict[str, int] = {}
        self._deadline_causes: dict[str, int] = {}
        """Positions of the messages that set the deadlines."""
        self._given_up = False

    @property
    def state(self) -> Any:
        """The state as of the last letter; for tests and inspection, never for other actors."""
        return self._state

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows that the media plane has been told."""
        return tuple(self._rows.values())

    @property
    def row_keys(self) -> tuple[Remove, ...]:
        """The orders that would take those rows out again."""
        return tuple(self._rows)

    async def run(self) -> None:
        """Work until the state has ended or the actor is given up."""
        try:
            self._settle()
            while not self._over():
                await self._take(await self._next_letters())
        finally:
            self._finish()

    def _over(self) -> bool:
        return self._given_up or self._decider.ended(self._state)

    async def _next_letters(self) -> list[Letter]:
        """Letters that were held back, then new ones."""
        if not self._held:
            return await self.mailbox.receive(BATCH_MAX)
        letters: list[Letter] = self._held
        self._held = []
        if len(self.mailbox):
            letters += await self.mailbox.receive(BATCH_MAX)
        return letters

    async def _take(self, letters: list[Letter]) -> None:
        decided: list[_Decided] = []
        position = self._house.journal.next_position()
        failure: Exception | None = None
        for letter in letters:
            if self._decider.ended(self._state):
                break
            try:
                step = self._decide(letter, position)
            except Exception as error:  # noqa: BLE001 - whatever a decider raises is a fault of it
                failure = error
                break
            decided.append(step)
            position += len(step.entries)
        rest = letters[len(decided) :]
        try:
            if decided:
                await self._house.journal.append([e for step in decided for e in step.entries])
        except StoreError as error:
            await self._storage_failed(letters, error)
            return
        for step in decided:
            self._perform(step)
        self._held = rest
        if failure is not None:
            await self._failed(self._held.pop(0), failure)
        self._settle()

    def _decide(self, letter: Letter, position: int) -> _Decided:
        """Run the decider on one letter; the state moves on."""
        message = letter.message()
        at_ns = self._house.clock.now_ns()
        draw = Draw(self._house.entropy)
        outcome = self._decider.decide(self._state, message, Context(at_ns, draw))
        if isinstance(outcome, Refusal):
            events: tuple[Any, ...] = (
                CommandRefused(code=outcome.code.value, message=outcome.message),
            )
        else:
            events = outcome.events
        entries = [self._message_entry(letter, at_ns, draw.entropy)]
        for event in events:
            self._state = self._decider.evolve(self._state, event)
            entries.append(self._event_entry(event, letter, at_ns, position))
        if events:
            for name, deadline_ns in self._decider.deadlines(self._state).items():
                if self._deadlines.get(name) != deadline_ns:
                    self._deadline_causes[name] = position
        return _Decided(letter, outcome, position, entries)

    def _message_entry(self, letter: Letter, at_ns: int, entropy: bytes = b"") -> Entry:
        draft = Draft(
            at_ns=at_ns,
            actor=self.address,
            kind="message",
            type=letter.type,
            version=codec.version_of(letter.type),
            cause=letter.cause,
            correlation=letter.correlation,
            data=letter.data,
            entropy=entropy,
        )
        return Entry(draft, None)

    def _event_entry(self, event: Any, letter: Letter, at_ns: int, cause: int) -> Entry:
        name = codec.type_of(event)
        draft = Draft(
            at_ns=at_ns,
            actor=self.address,
            kind="event",
            type=name,
            version=codec.version_of(name),
            cause=cause,
            correlation=letter.correlation,
            data=codec.encode(event),
        )
        return Entry(draft, event)

    def _perform(self, step: _Decided) -> None:
        """Let the effects of one letter leave."""
        slot = step.letter.slot
        if isinstance(step.outcome, Refusal):
            if slot is not None:
                slot.resolve(step.outcome)
            return
        for effect in step.outcome.effects:
            self._perform_effect(effect, step)
        passed_on = any(isinstance(e, Start | ReplyStats) for e in step.outcome.effects)
        if slot is not None and not passed_on:
            slot.resolve(gone(self.address))  # of no consequence: the actor was not open

    def _perform_effect(self, effect: Effect, step: _Decided) -> None:
        letter = step.letter
        match effect:
            case Reply(answer):
                if letter.slot is not None:
                    last = step.position + len(step.entries) - 1
                    letter.slot.resolve(Answered(answer, last))
            case ReplyStats(entity):
                if letter.slot is not None:
                    self._house.answer_stats(entity, letter.slot)
            case Tell(to, message):
                self._house.post(
                    to,
                    Letter.of(message, cause=step.position, correlation=letter.correlation),
                )
            case Start(address, message):
                self._house.start(
                    address,
                    Letter.of(
                        message,
                        cause=step.position,
                        correlation=letter.correlation,
                        slot=letter.slot,
                    ),
                )
            case Act(order):
                self._house.plane.submit((order,))

    def _settle(self) -> None:
        """Bring the plane's rows and the timers in line with the state."""
        gone_up = self._given_up
        rows = () if gone_up else self._decider.rows(self._state)
        wanted = {removal_of(row): row for row in rows}
        orders: list[Any] = [key for key in self._rows if key not in wanted]
        orders += [row for key, row in wanted.items() if self._rows.get(key) != row]
        self._rows = wanted
        if orders:
            self._house.plane.submit(orders)
        deadlines = {} if self._over() else dict(self._decider.deadlines(self._state))
        for name in self._deadlines.keys() - deadlines.keys():
            self._house.cancel_timer(self.address, name)
        for name, at_ns in deadlines.items():
            if self._deadlines.get(name) != at_ns:
                self._house.set_timer(self.address, name, at_ns)
        self._deadlines = deadlines

    async def _storage_failed(self, letters: list[Letter], error: StoreError) -> None:
        """Nothing of a batch is in the log: refuse what may be refused, keep the rest."""
        self._house.log.error(
            "log_not_written", actor=self.address, code=error.code, letters=len(letters)
        )
        refusal = _STORE_REFUSALS.get(error.code, _STORE_REFUSAL)
        lost = error.code in _LOST_CODES
        for letter in letters:
            if letter.slot is not None and (letter.request or lost):
                letter.slot.resolve(refusal)
        if lost:
            raise error
        self._held = [letter for letter in letters if not letter.request] + self._held
        await self._rebuild()
        if self._held:
            await trio.sleep(RETRY_S)

    async def _failed(self, letter: Letter, error: Exception) -> None:
        """A letter broke the decider: say so in the log, and go on from the events."""
        at_ns = self._house.clock.now_ns()
        failures = self._policy.note_failure(at_ns)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        event = ActorFailed(
            message=letter.type,
            error=f"{type(error).__name__} in {frame.name}, line {frame.lineno}",
            failures=failures,
        )
        self._house.log.error("actor_failed", actor=self.address, failure=event, exc_info=error)
        position = self._house.journal.next_position()
        entries = [
            self._message_entry(letter, at_ns),
            self._event_entry(event, letter, at_ns, position),
        ]
        give_up = self._policy.gives_up()
        if give_up and self.address == ROOM:
            entries.append(self._event_entry(RoomClosed(reason=FAILED), letter, at_ns, position))
        try:
            await self._house.journal.append(entries)
        except StoreError as store_error:
            await self._storage_failed([letter], store_error)
            return
        if letter.slot is not None:
            letter.slot.resolve(_FAILURE_REFUSAL)
        try:
            await self._rebuild()
        except Exception as rebuild_error:
            self._house.log.error("actor_lost", actor=self.address, exc_info=rebuild_error)
            give_up = True
        if give_up:
            self._give_up(letter, position)

    def _give_up(self, letter: Letter, position: int) -> None:
        self._given_up = True
        if self.address != ROOM:
            failed = ChildFailed(child=self.address, reason=FAILED)
            told = Letter.of(failed, cause=position, correlation=letter.correlation)
            self._house.post(ROOM, told)

    async def _rebuild(self) -> None:
        """Build the state anew from the actor's own events."""
        envelopes = await self._house.store.read(self._house.room, actor=self.address)
        state = self._decider.initial()
        for envelope in envelopes:
            if envelope.kind == "event":
                state = self._decider.evolve(state, event_in(envelope))
        self._state = state

    def fire(self, name: str) -> None:
        """Post `TimerFired`; for the timers."""
        self._deadlines.pop(name, None)
        cause = self._deadline_causes.pop(name, None)
        self._house.post(self.address, Letter.of(TimerFired(name=name), cause=cause))

    def _finish(self) -> None:
        for letter in (*self._held, *self.mailbox.close()):
            if letter.slot is not None:
                letter.slot.resolve(gone(self.address))
        for name in self._deadlines:
            self._house.cancel_timer(self.address, name)
        self._house.forget(self.address)
