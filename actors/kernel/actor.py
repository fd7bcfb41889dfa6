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
from collections.abc import Mapping
from typing import Any, NamedTuple

import trio
from msgspec import Struct
from msgspec.structs import replace

from actors.core.closing import ROOM_CLOSED
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
from protocol.messages import ChildFailed, Close, TimerFired
from protocol.orders import FreezeRecorder, Remove, Row, removal_of
from protocol.refusals import Refusal, RefusalCode
from protocol.store_error import StoreError

BATCH_MAX = 64
"""Letters that share one append."""

BATCH_ENTRIES_MAX = 1024
"""Entries after which a batch takes no further letter: other rooms wait for the disk too."""

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


def unwritten(error: StoreError) -> Refusal:
    """What a client is told whose request could not be written down."""
    return _STORE_REFUSALS.get(error.code, _STORE_REFUSAL)


class _Decided(NamedTuple):
    """One letter's outcome, before it is durable."""

    letter: Letter
    outcome: Decision | Refusal
    position: int
    """Of the message."""
    entries: list[Entry]
    deadlines: dict[str, int]
    """Those that were set by it."""


class Actor:
    """One room, transport, producer or consumer at work. `run` is its task, then comes `finish`."""

    def __init__(
        self,
        address: Address,
        house: House,
        recovered: Any | None = None,
        deadline_causes: Mapping[str, int] | None = None,
    ) -> None:
        """Make an actor, with the state that its log has if it is `recovered` from one.

        A recovered actor takes its rows for told: whoever takes over the plane compares its
        table with them.
        """
        self.address = address
        self.mailbox: Mailbox[Letter] = Mailbox()
        self._house = house
        self._decider = decider_at(address)
        self._state = self._decider.initial() if recovered is None else recovered
        self._policy = RestartPolicy()
        self._held: list[Letter] = []
        """Letters that were taken from the mailbox and have no outcome yet, oldest first."""
        self._careful = False
        """Whether letters are decided one by one, to find the one that no log may hold."""
        self._rows = {removal_of(row): row for row in self._decider.rows(self._state)}
        self._deadlines: Mapping[str, int] = dict(self._decider.deadlines(self._state))
        self._deadline_causes: dict[str, int] = dict(deadline_causes or {})
        """Positions of the messages that set the deadlines."""
        self._timers: dict[str, int] = {}
        """Deadlines that the room's timers know."""
        self._given_up = False

    @property
    def state(self) -> Any:
        """The state as of the last letter; for its room and for tests, never for other actors."""
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
        """Work until the state has ended or the actor is given up.

        Raises the `StoreError` after which the room's log takes no more.
        """
        self._settle()
        while not self._over():
            if not self._held:
                self._held += await self.mailbox.receive(BATCH_MAX)
            await self._take(self._held[: 1 if self._careful else BATCH_MAX])

    def finish(self, refusal: Refusal) -> None:
        """Take no more letters, and refuse the requests that are left."""
        for letter in (*self._held, *self.mailbox.close()):
            if letter.slot is not None:
                letter.slot.resolve(refusal)
        for name in self._timers:
            self._house.cancel_timer(self.address, name)

    def _over(self) -> bool:
        return self._given_up or self._decider.ended(self._state)

    async def _take(self, letters: list[Letter]) -> None:
        """Decide the oldest letters, make it durable, and let the effects leave."""
        decided: list[_Decided] = []
        begin = position = self._house.journal.next_position()
        failure: Exception | None = None
        for letter in letters:
            if self._decider.ended(self._state) or position - begin > BATCH_ENTRIES_MAX:
                break
            try:
                step = self._decide(letter, position)
            except Exception as error:  # noqa: BLE001 - whatever a decider raises is a fault of it
                failure = error
                break
            decided.append(step)
            position += len(step.entries)
        try:
            if decided:
                await self._house.journal.append([e for step in decided for e in step.entries])
        except StoreError as error:
            if error.code != "invalid_draft":
                await self._storage_failed(letters, error)
                return
            await self._rebuild()
            self._careful = len(decided) > 1
            if self._careful:
                return
            decided, failure = [], error
        self._careful = False
        for step in decided:
            self._perform(step)
        del self._held[: len(decided)]
        if failure is not None:
            await self._failed(failure)
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
        deadlines: dict[str, int] = {}
        if events:
            for event in events:
                self._state = self._decider.evolve(self._state, event)
                entries.append(self._event_entry(event, letter, at_ns, position))
            before, self._deadlines = self._deadlines, self._decider.deadlines(self._state)
            deadlines = {
                name: deadline_ns
                for name, deadline_ns in self._deadlines.items()
                if before.get(name) != deadline_ns
            }
        return _Decided(letter, outcome, position, entries, deadlines)

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
        for name in step.deadlines:
            self._deadline_causes[name] = step.position
        self._note_fired(step.letter)
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
            case ReplyStats():
                if letter.slot is not None:
                    self._house.answer_stats(self.address, effect, letter.slot)
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
            case Act(FreezeRecorder() as order):
                position = step.position + order.position
                self._house.plane.submit((replace(order, position=position),))
            case Act(order):
                self._house.plane.submit((order,))

    def _settle(self) -> None:
        """Bring the plane's rows and the timers in line with the state."""
        rows = () if self._given_up else self._decider.rows(self._state)
        wanted = {removal_of(row): row for row in rows}
        orders: list[Any] = [key for key in self._rows if key not in wanted]
        orders += [row for key, row in wanted.items() if self._rows.get(key) != row]
        self._rows = wanted
        if orders:
            self._house.plane.submit(orders)
        deadlines = {} if self._over() else self._deadlines
        for name in [name for name in self._timers if name not in deadlines]:
            del self._timers[name]
            self._house.cancel_timer(self.address, name)
        for name, at_ns in deadlines.items():
            if self._timers.get(name) != at_ns:
                self._timers[name] = at_ns
                self._house.set_timer(self.address, name, at_ns)

    def fire(self, name: str) -> None:
        """Post `TimerFired`; for the timers. Until it is decided, the timer counts as set."""
        cause = self._deadline_causes.get(name)
        self._house.post(self.address, Letter.of(TimerFired(name=name), cause=cause))

    def _note_fired(self, letter: Letter) -> None:
        """Have a deadline that is still wanted after its timer fired set again."""
        if letter.type == TimerFired.__name__:
            self._timers.pop(letter.message().name, None)

    async def _storage_failed(self, letters: list[Letter], error: StoreError) -> None:
        """Nothing of a batch is in the log: refuse what may be refused, keep the rest."""
        self._house.log.error(
            "log_not_written", actor=self.address, code=error.code, letters=len(letters)
        )
        if error.code in _LOST_CODES:
            raise error
        kept = []
        for letter in letters:
            if not letter.request:
                kept.append(letter)
            elif letter.slot is not None:
                letter.slot.resolve(unwritten(error))
        self._held[: len(letters)] = kept
        await self._rebuild()
        if not kept:
            return
        await trio.sleep(RETRY_S)
        # Clients need not wait behind what is tried until it succeeds.
        waiting = [letter for letter in self._held if letter.request]
        waiting += self.mailbox.take_nowait(lambda letter: letter.request)
        self._held = [letter for letter in self._held if not letter.request]
        for letter in waiting:
            if letter.slot is not None:
                letter.slot.resolve(unwritten(error))

    async def _failed(self, error: Exception) -> None:
        """The oldest letter broke the decider: say so in the log, and go on from the events."""
        letter = self._held[0]
        at_ns = self._house.clock.now_ns()
        failures = self._policy.note_failure(at_ns)
        give_up = self._policy.gives_up()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        event = ActorFailed(
            message=letter.type,
            error=f"{type(error).__name__} in {frame.name}, line {frame.lineno}",
            failures=failures,
        )
        self._house.log.error("actor_failed", actor=self.address, failure=event, exc_info=error)
        try:
            await self._rebuild()
        except StoreError:
            raise
        except Exception as rebuild_error:
            self._house.log.error("actor_lost", actor=self.address, exc_info=rebuild_error)
            give_up = True
        position = self._house.journal.next_position()
        entries = [
            self._message_entry(letter, at_ns),
            self._event_entry(event, letter, at_ns, position),
        ]
        if give_up and self.address == ROOM:
            entries.append(self._event_entry(RoomClosed(reason=FAILED), letter, at_ns, position))
        try:
            await self._house.journal.append(entries)
        except StoreError as store_error:
            self._policy.take_back()
            await self._storage_failed([letter], store_error)
            return
        del self._held[0]
        self._note_fired(letter)
        if letter.slot is not None:
            letter.slot.resolve(_FAILURE_REFUSAL)
        if give_up:
            self._give_up(letter, position)

    def _give_up(self, letter: Letter, position: int) -> None:
        """End the actor; tell the room, or all that is in it."""
        self._given_up = True
        if self.address == ROOM:
            message: Struct = Close(reason=ROOM_CLOSED)
            receivers = [address for address in self._house.addresses() if address != ROOM]
        else:
            message, receivers = ChildFailed(child=self.address, reason=FAILED), [ROOM]
        told = Letter.of(message, cause=position, correlation=letter.correlation)
        for address in receivers:
            self._house.post(address, told)

    async def _rebuild(self) -> None:
        """Build the state anew from the actor's own events."""
        envelopes = await self._house.store.read(self._house.room, actor=self.address)
        state = self._decider.initial()
        for envelope in envelopes:
            if envelope.kind == "event":
                state = self._decider.evolve(state, event_in(envelope))
        self._state = state
        self._deadlines = self._decider.deadlines(state)
