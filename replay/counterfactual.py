"""What if: a session forked at an instant, and decided on with other settings.

A counterfactual is no replay. The recorded inputs after the fork (requests, notices, messages of
the server) are given to the same deciders, in a room whose settings are others; what actors tell
each other follows from what they decide now, and so do timers. It stays comparable as long as the
recorded inputs make sense: one to an actor that would not exist is noted and passed over, and from
there on nobody knows what that client would have done instead.

Ids stay those of the recorded session, for decisions draw from the recorded entropy.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Literal

import msgspec

from actors.core.deciders import decider_at
from actors.core.recovery import States
from protocol import codec, events
from protocol.envelope import ENTROPY_BYTES, Envelope
from protocol.ids import ROOM, Address
from protocol.messages import (
    OpenConsumer,
    OpenProducer,
    OpenRoom,
    OpenTransport,
    RoomSettings,
    TimerFired,
)
from replay.errors import ReplayError
from replay.fold import Fold, event_of
from replay.rehearsal import Letter, Rehearsal, Step
from replay.text import payload

SETTINGS = tuple(
    name
    for name in RoomSettings.__struct_fields__
    if name not in ("router_rtp_capabilities", "transport")
)
"""Settings that can be changed; those of transports under `transport.NAME`."""

_S = 1_000_000_000
_FIRST = (OpenRoom, OpenTransport, OpenProducer, OpenConsumer)

Sort = Literal["differs", "only_then", "only_now", "no_actor", "failed"]
_Letter = tuple[int, str, str]
"""Position of the message that sent it, address and type."""
_Timer = tuple[Address, str]


class WrongSetting(ReplayError):
    """A setting that is unknown, or a value that it cannot have."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An input whose outcome differs, or that has none."""

    position: int | None
    """Of the input in the recorded log; None for what only happens in the counterfactual."""
    at_ns: int
    actor: str
    message: str
    sort: Sort
    """`differs`: other events. `only_then`: a message or timer that does not come about.
    `only_now`: one that comes about now alone. `no_actor`: its actor would not exist. `failed`: a
    decider broke on it."""
    recorded: tuple[Any, ...]
    """Events then, as maps with their type."""
    decided: tuple[Any, ...]
    """Events now."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a counterfactual came to."""

    counterfactual: bool
    """Always true, so that nobody takes it for what happened."""
    room: str
    position: int
    """The fork: inputs after it are decided anew."""
    settings: dict[str, Any]
    """What was changed: by name, before and after."""
    decisions: int
    """Recorded decisions after the fork."""
    same: int
    """Those that come out the same."""
    comparable_until: int | None
    """Position of the first input to an actor that would not exist; None: all stayed comparable."""
    outcomes: tuple[Outcome, ...]
    """At most `OUTCOMES_MAX`, the first ones."""
    outcomes_left_out: int
    differing: dict[str, int]
    """How often each sort came."""


OUTCOMES_MAX = 1000


def changed(settings: RoomSettings, wanted: Iterable[str]) -> tuple[RoomSettings, dict[str, Any]]:
    """Settings with `key=value` changes, and what they change. Raises `WrongSetting`.

    Values are JSON, or plain words; durations may be given in seconds: `resume_grace_s=5`. `codecs`
    is the list of codecs that the router knows, by name: `codecs=opus,VP8`.
    """
    plain = msgspec.to_builtins(settings)
    told: dict[str, Any] = {}
    for each in wanted:
        key, equals, text = each.partition("=")
        if not equals:
            raise WrongSetting(f"{each!r} is no setting: write KEY=VALUE")
        name, value = _named(key, text, plain)
        place, leaf = plain, name
        if name.startswith("transport."):
            place, leaf = plain["transport"], name.removeprefix("transport.")
        told[name] = {"before": place[leaf], "after": value}
        place[leaf] = value
    try:
        return msgspec.convert(plain, RoomSettings), told
    except msgspec.ValidationError as error:
        raise WrongSetting(f"no room can have these settings: {error}") from error


def _named(key: str, text: str, plain: dict[str, Any]) -> tuple[str, Any]:
    """A setting's own name, and its value as that setting has it."""
    if key == "codecs":
        return "router_rtp_capabilities", _with_codecs(plain["router_rtp_capabilities"], text)
    own = key.removeprefix("transport.")
    known = plain["transport"] if own != key else {name: plain[name] for name in SETTINGS}
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    if own not in known and own.endswith("_s") and own[:-2] + "_ns" in known:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise WrongSetting(f"{key} is a number of seconds, not {text!r}")
        return key[:-2] + "_ns", round(value * _S)
    if own not in known:
        names = sorted([*SETTINGS, "codecs", *(f"transport.{name}" for name in plain["transport"])])
        raise WrongSetting(f"there is no setting {key!r}; there are {', '.join(names)}")
    return key, value


def _with_codecs(capabilities: dict[str, Any], text: str) -> dict[str, Any]:
    """Capabilities with the named codecs alone, and their RTX."""
    wanted = {name.strip().lower() for name in text.split(",") if name.strip()}
    by_type = {codec["preferredPayloadType"]: codec for codec in capabilities["codecs"]}
    names = {codec["mimeType"].partition("/")[2].lower() for codec in by_type.values()} - {"rtx"}
    if not wanted or wanted - names:
        raise WrongSetting(f"codecs is a list of {', '.join(sorted(names))}, not {text!r}")

    def stays(codec: dict[str, Any]) -> bool:
        apt = codec.get("parameters", {}).get("apt")
        carried = codec if apt is None else by_type.get(apt, codec)
        return carried["mimeType"].partition("/")[2].lower() in wanted

    return capabilities | {"codecs": [each for each in capabilities["codecs"] if stays(each)]}


class Counterfactual:
    """A fork of a room, beside what was recorded of it.

    Messages between actors are delivered where the recorded ones stand in the log, if the fork
    sends them too, and at once if it alone does; so with unchanged settings nothing differs.
    """

    def __init__(self, fork: Fold, recorded: Fold, wanted: Iterable[str]) -> None:
        """Take two folds at the same position, the end of a decision. Raises `ReplayError`."""
        settings = fork.room.settings
        if settings is None or fork.room.closed is not None:
            raise ReplayError(f"the room is not open at position {fork.position}")
        self._wanted = tuple(wanted)
        after, self._changes = changed(settings, self._wanted)
        self._fork_position = fork.position
        self._recorded = recorded
        self._rehearsal = Rehearsal(_NONE.entropy, fork.states)
        fork.states[ROOM].settings = after
        self._then = _Deadlines(recorded.states)
        self._now = _Deadlines(fork.states)
        self._awaited: Counter[_Letter] = Counter()
        self._parked: dict[_Letter, deque[Letter]] = {}
        self._late: dict[Address, deque[Letter]] = {}
        """Letters that were sent then as well, and never taken: their actor ended before."""
        self._positions: dict[int, int] = {}
        """The recorded message that a step of the fork stands for."""
        self._decisions = 0
        self._same = 0
        self._comparable_until: int | None = None
        self._outcomes: list[Outcome] = []
        self._counts: Counter[str] = Counter()

    def run(self, log: Callable[[], Iterable[Envelope]]) -> Report:
        """Decide the inputs of the log after the fork anew; goes over it twice."""
        self._awaited = Counter(
            (envelope.cause, envelope.actor, envelope.type)
            for envelope in log()
            if envelope.kind == "message"
            and envelope.cause is not None
            and envelope.cause > self._fork_position
        )
        for message, told in _decisions(log()):
            self._fire_own_timers(message.at_ns)
            self._take(message, told)
            for envelope in (message, *told):
                self._recorded.apply(envelope)
            address = Address(message.actor)
            self._then.note(address, self._recorded.states)
            if address in self._late and self._has_ended(address):
                self._send(self._late.pop(address), message.at_ns)
        return Report(
            counterfactual=True,
            room=self._recorded.name,
            position=self._fork_position,
            settings=self._changes,
            decisions=self._decisions,
            same=self._same,
            comparable_until=self._comparable_until,
            outcomes=tuple(self._outcomes),
            outcomes_left_out=self._counts.total() - len(self._outcomes),
            differing=dict(self._counts),
        )

    def _take(self, message: Envelope, told: list[Envelope]) -> None:
        """Decide a recorded message anew, if it would come about at all."""
        self._decisions += 1
        letter = self._letter(message)
        if letter is None:
            if told:
                self._note("only_then", message, told, ())
            else:
                self._same += 1
            return
        if isinstance(letter.message, OpenRoom):
            self._rehearsal.states.clear()
        if not (letter.starts or self._rehearsal.there(letter.address)):
            if self._comparable_until is None:
                self._comparable_until = message.position
            self._note("no_actor", message, told, ())
            return
        step = self._decide(letter, message.at_ns, message)
        if step is None:
            if any(envelope.type == events.ActorFailed.__name__ for envelope in told):
                self._same += 1
            else:
                self._note("failed", message, told, ())
            return
        self._positions[step.number] = message.position
        then = [(envelope.type, _today(envelope)) for envelope in told]
        same = then == [(codec.type_of(event), codec.encode(event)) for event in step.events]
        if same:
            self._same += 1
        else:
            self._note("differs", message, told, step.events)
        self._deliver(step, same=same)

    def _letter(self, message: Envelope) -> Letter | None:
        """What the fork takes in place of a recorded message; None: it does not come about."""
        address = Address(message.actor)
        if message.type == TimerFired.__name__:
            timer = (address, event_of(message).name)
            if self._now.at_ns(timer) != self._then.at_ns(timer):
                return None
        elif message.cause is not None and message.cause > self._fork_position:
            parked = self._parked.get((message.cause, message.actor, message.type))
            return parked.popleft() if parked else None
        value = event_of(message)
        if isinstance(value, OpenRoom):
            opened, _ = changed(value.settings, self._wanted)
            value = msgspec.structs.replace(value, settings=opened)
        return Letter(address=address, message=value, starts=isinstance(value, _FIRST))

    def _decide(self, letter: Letter, at_ns: int, source: Envelope | None) -> Step | None:
        """Let the fork decide; None if its decider broke, or its actor is not there."""
        entropy = _NONE if source is None else _Entropy(source)
        try:
            step = self._rehearsal.decide(letter, at_ns, entropy.entropy)
        except Exception:  # noqa: BLE001 - whatever a decider raises is an outcome
            return None
        self._now.note(letter.address, self._rehearsal.states)
        return step

    def _deliver(self, step: Step, *, same: bool) -> None:
        """Park what the recorded actor sent as well; let the rest take effect at once.

        What the `same` decision sent then and nobody ever took, was on its way when its actor
        ended, so it is late in the fork too.
        """
        position = self._positions.pop(step.number, 0)
        own: deque[Letter] = deque()
        for letter in step.told:
            key = (position, str(letter.address), codec.type_of(letter.message))
            if self._awaited[key] > 0:
                self._awaited[key] -= 1
                self._parked.setdefault(key, deque()).append(letter)
            elif same and not self._has_ended(letter.address):
                self._late.setdefault(letter.address, deque()).append(letter)
            else:
                own.append(letter)
        self._send(own, step.at_ns)

    def _send(self, letters: deque[Letter], at_ns: int) -> None:
        """Let letters take effect that are not in the recorded log, and what follows from them."""
        while letters:
            step = self._decide(letters.popleft(), at_ns, None)
            if step is not None:
                self._note_own(step)
                letters.extend(step.told)

    def _has_ended(self, address: Address) -> bool:
        """Whether an actor has ended in the recorded session."""
        state = self._recorded.states.get(address)
        return state is None or decider_at(address).ended(state)

    def _fire_own_timers(self, until_ns: int) -> None:
        """Fire what the fork alone has set, as its time comes."""
        while (due := self._now.first_other(self._then, until_ns)) is not None:
            at_ns, (address, name) = due
            self._now.forget((address, name))
            letter = Letter(address=address, message=TimerFired(name=name))
            step = self._decide(letter, at_ns, None)
            if step is not None:
                self._note_own(step)
                self._send(deque(step.told), at_ns)

    def _note(
        self, sort: Sort, message: Envelope, told: list[Envelope], decided: Iterable[Any]
    ) -> None:
        recorded = tuple({"type": each.type, "data": payload(each.data)} for each in told)
        self._add(
            Outcome(
                position=message.position,
                at_ns=message.at_ns,
                actor=message.actor,
                message=message.type,
                sort=sort,
                recorded=recorded,
                decided=tuple(map(_plain, decided)),
            )
        )

    def _note_own(self, step: Step) -> None:
        if step.events:
            self._add(
                Outcome(
                    position=None,
                    at_ns=step.at_ns,
                    actor=step.address,
                    message=codec.type_of(step.message),
                    sort="only_now",
                    recorded=(),
                    decided=tuple(map(_plain, step.events)),
                )
            )

    def _add(self, outcome: Outcome) -> None:
        self._counts[outcome.sort] += 1
        if len(self._outcomes) < OUTCOMES_MAX:
            self._outcomes.append(outcome)


class _Entropy:
    """The recorded choice of a message, or one that follows from it if there was none."""

    def __init__(self, source: Envelope | None) -> None:
        self._source = source

    def entropy(self) -> bytes:
        if self._source is not None and self._source.entropy:
            return self._source.entropy
        seed = b"" if self._source is None else self._source.hash
        return sha256(b"counterfactual" + seed).digest()[:ENTROPY_BYTES]


_NONE = _Entropy(None)


class _Deadlines:
    """The timers of all actors of a room: when each is due."""

    def __init__(self, states: States) -> None:
        self._by_actor: dict[Address, dict[str, int]] = {}
        for address in states:
            self.note(address, states)

    def note(self, address: Address, states: States) -> None:
        """Look again at an actor that has decided something."""
        decider = decider_at(address)
        state = states.get(address)
        wanted = {} if state is None or decider.ended(state) else decider.deadlines(state)
        if wanted:
            self._by_actor[address] = dict(wanted)
        else:
            self._by_actor.pop(address, None)
        if address == ROOM and state is None:
            self._by_actor.clear()

    def at_ns(self, timer: _Timer) -> int | None:
        """When a timer is due; None if it is not set."""
        return self._by_actor.get(timer[0], {}).get(timer[1])

    def forget(self, timer: _Timer) -> None:
        """Take a timer out that has fired."""
        self._by_actor[timer[0]].pop(timer[1], None)

    def first_other(self, others: _Deadlines, until_ns: int) -> tuple[int, _Timer] | None:
        """The first timer due up to a time that is not set for the same time elsewhere."""
        due = [
            (at_ns, (address, name))
            for address, timers in self._by_actor.items()
            for name, at_ns in timers.items()
            if at_ns <= until_ns and others.at_ns((address, name)) != at_ns
        ]
        return min(due, default=None)


def _decisions(log: Iterable[Envelope]) -> Iterator[tuple[Envelope, list[Envelope]]]:
    """Each message with the events that were decided upon it."""
    message: Envelope | None = None
    told: list[Envelope] = []
    for envelope in log:
        if envelope.kind == "message":
            if message is not None:
                yield message, told
            message, told = envelope, []
        else:
            told.append(envelope)
    if message is not None:
        yield message, told


def _today(envelope: Envelope) -> bytes:
    return codec.encode(event_of(envelope))


def _plain(event: Any) -> dict[str, Any]:
    return {"type": codec.type_of(event), "data": payload(codec.encode(event))}
