"""What the clients of one set share: their room, ids of what was made there, differences."""

from __future__ import annotations

from collections.abc import Callable

import trio
from msgspec import Struct

from load.drive.clock import ScriptClock
from protocol import script
from protocol.script import Script, ScriptedPeer, Step
from protocol.script_order import Order, Turn

WAIT_S = 15.0
"""How long a step waits for what another client is to make."""


class Difference(Struct, frozen=True, kw_only=True):
    """Something that went otherwise than in the recorded session."""

    room: str
    """The driven one."""
    peer: str
    """The recorded id; empty where it is about the whole set."""
    position: int
    """In the recorded log; 0 where it is about a peer's whole session."""
    what: str


class NotMade(Exception):
    """What a step is about could not be made."""


class _Slot:
    def __init__(self) -> None:
        self.settled = trio.Event()
        self.id: str | None = None


class _TurnState:
    def __init__(self, steps: int) -> None:
        self.steps_left = steps
        self.over = trio.Event()


class Stage:
    """One set's room."""

    def __init__(
        self,
        room: str,
        script_: Script,
        order: Order,
        clock: ScriptClock,
        note: Callable[[Difference], None],
    ) -> None:
        self.room = room
        self.clock = clock
        self.ends_at_ns = script_.duration_ns
        self._first = script_.peers[0].peer
        self._begun = trio.Event()
        self._note = note
        self._order = order
        self._turns = {turn: _TurnState(size) for turn, size in order.sizes.items()}
        self._to_finish = len(script_.peers)
        self._finished = trio.Event()
        self._slots: dict[str, _Slot] = {
            label: _Slot()
            for peer in script_.peers
            for step in peer.steps
            if (label := makes(step.action)) is not None
        }

    def begins_with(self, part: ScriptedPeer) -> bool:
        """Whether this is who comes first, and opens the room."""
        return part.peer == self._first

    def begin(self) -> None:
        """The first one has come, or failed to."""
        self._begun.set()

    async def wait_begun(self) -> None:
        """Wait until the first one has come."""
        await self._begun.wait()

    def settle(self, label: str, made: str | None = None) -> None:
        """Something was made, with this id here; None: it was not. The first call counts."""
        slot = self._slots.get(label)
        if slot is not None and not slot.settled.is_set():
            slot.id = made
            slot.settled.set()

    async def id_of(self, label: str) -> str:
        """The id here of what was recorded as `label`, once it is made.

        What the recorded session never made keeps its id: asking for it was refused there, and
        will be here. Raises `NotMade`, `trio.TooSlowError`.
        """
        slot = self._slots.get(label)
        if slot is None:
            return label
        with trio.fail_after(WAIT_S):
            await slot.settled.wait()
        if slot.id is None:
            raise NotMade
        return slot.id

    async def wait_turn(self, step: Step) -> None:
        """Wait until the steps of others that must come before this one are done.

        Not for ever: a client that hangs may not hold up all others.
        """
        with trio.move_on_after(WAIT_S):
            for turn in self._order.turns.get(step.position, ()):
                if turn.number:
                    await self._turns[Turn(turn.producer, turn.number - 1)].over.wait()

    def done(self, step: Step) -> None:
        """A step is done, however it went."""
        for turn in self._order.turns.get(step.position, ()):
            state = self._turns[turn]
            state.steps_left -= 1
            if not state.steps_left:
                state.over.set()

    async def finish(self) -> None:
        """One client is through its steps; wait until all are, so that none sees others go."""
        self._to_finish -= 1
        if not self._to_finish:
            self._finished.set()
        await self._finished.wait()

    def differs(self, part: ScriptedPeer, step: Step, what: str) -> None:
        """Note that a step went otherwise."""
        method = script.method_of(step.action)
        self._note(
            Difference(
                room=self.room,
                peer=part.peer,
                position=step.position,
                what=f"{method} {what}",
            )
        )


def makes(action: script.Action) -> str | None:
    """The label of what an action makes, whether it was refused or not."""
    match action:
        case script.OpenTransport(transport=label):
            return label
        case script.Publish(producer=label) | script.Watch(consumer=label):
            return label
        case _:
            return None
