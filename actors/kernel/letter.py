"""Letters: messages on their way to an actor, with what the log wants to know of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import trio
from msgspec import Struct

from protocol import codec
from protocol.answers import Answer
from protocol.refusals import Refusal


class Answered(NamedTuple):
    """A request that was met, and the position of the last event of its decision."""

    answer: Answer
    position: int


Outcome = Answered | Refusal


class ReplySlot:
    """Where the answer to one request is put, once, and waited for."""

    __slots__ = ("_event", "_outcome")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._outcome: Outcome | None = None

    def resolve(self, outcome: Outcome) -> None:
        """Give the answer; a second one is ignored."""
        if self._outcome is None:
            self._outcome = outcome
            self._event.set()

    async def wait(self) -> Outcome:
        """Wait for the answer."""
        await self._event.wait()
        assert self._outcome is not None
        return self._outcome


class Letter(NamedTuple):
    """A message, encoded when it was posted: sender and receiver share nothing.

    `data` is what the log keeps, byte for byte, and what the receiver decodes.
    """

    type: str
    data: bytes
    cause: int | None = None
    """Position that caused it, within the room; None from outside."""
    correlation: str | None = None
    """Id of the client's request that all this began with."""
    slot: ReplySlot | None = None
    """For requests that are still to be answered."""
    request: bool = False
    """Whether it comes straight from a client, and may be refused for want of space."""

    @classmethod
    def of(
        cls,
        message: Struct,
        *,
        cause: int | None = None,
        correlation: str | None = None,
        slot: ReplySlot | None = None,
        request: bool = False,
    ) -> Letter:
        """Encode a message into a letter."""
        return cls(codec.type_of(message), codec.encode(message), cause, correlation, slot, request)

    def message(self) -> Any:
        """Decode the message."""
        return codec.decode(self.type, codec.version_of(self.type), self.data)
