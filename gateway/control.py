"""The control plane as the gateway sees it: `actors.system` is one, tests have another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from protocol.answers import Answer
from protocol.commands import Command
from protocol.messages import Message
from protocol.notifications import Notification
from protocol.refusals import Refusal
from protocol.signaling import Subprotocol


class Answered(Protocol):
    """A request that was met, durably."""

    @property
    def answer(self) -> Answer:
        """What its client is told."""
        ...

    @property
    def position(self) -> int:
        """The room's position as of the answer."""
        ...


class Told(Protocol):
    """One notification for one peer; all sessions of the room share it."""

    @property
    def position(self) -> int:
        """Position of the event that it tells of."""
        ...

    @property
    def notification(self) -> Notification:
        """What is told."""
        ...

    @property
    def passing(self) -> bool:
        """Whether it holds for a moment only and stands in no log; missing it loses nothing."""
        ...

    def frame(self, subprotocol: Subprotocol) -> bytes | str:
        """The frame to send; encoded once for all sessions of the room."""
        ...


Deliver = Callable[[Told], None]
"""Takes a live notification. Never waits, never raises."""


class RoomFeed(Protocol):
    """What happens in a room, for its peers."""

    def subscribe(self, peer: str, deliver: Deliver) -> int:
        """Deliver what concerns `peer` from now on, in order of position.

        Returns the position up to which events had been published before.
        """
        ...

    def unsubscribe(self, peer: str, deliver: Deliver) -> None:
        """Deliver nothing more. No error when it was not subscribed."""
        ...

    async def missed(self, peer: str, after: int, up_to: int) -> Sequence[Told]:
        """From the log, what concerns `peer` with `after` < position <= `up_to`."""
        ...


class Control(Protocol):
    """Rooms that take requests."""

    async def request(self, room: str, command: Command, *, correlation: str) -> Answered | Refusal:
        """Hand a command to the actor that it is for; the answer is durable.

        The command is in the actor's mailbox before the call first waits, so requests are taken
        in the order of their calls. Does not raise for anything that a client did.
        """
        ...

    def post(self, room: str, message: Message) -> None:
        """Tell a room something; ignored when there is no such room."""
        ...

    def feed(self, room: str) -> RoomFeed | None:
        """The feed of a room that is there."""
        ...
