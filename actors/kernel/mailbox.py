"""Mailboxes: the bounded queue of messages in front of each actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

REQUESTS_MAX = 1024
"""Clients' requests that may wait for one actor; one more is refused as `overloaded`."""

LETTERS_MAX = 65_536
"""Letters of any kind that may wait. The house's own are bounded by what exists in a room, so
that more of them means a broken invariant."""


class MailboxFull(Exception):
    """The mailbox takes no more of this kind."""


class MailboxClosed(Exception):
    """The actor has ended."""


class Mailbox(Generic[T]):
    """Bounded queue of letters for one actor.

    Posting never waits: a full mailbox raises `MailboxFull`, because a sender
    that waits on a slow room would stall every other room. Requests have the
    lower bound, so that a flood of them leaves room for what the house itself
    has to say.
    """

    def __init__(self, *, requests_max: int = REQUESTS_MAX, letters_max: int = LETTERS_MAX) -> None:
        # A list, as an empty deque takes 600 bytes, and nearly all mailboxes are empty.
        self._letters: list[T] = []
        self._requests_max = requests_max
        self._letters_max = letters_max
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False

    def __len__(self) -> int:
        return len(self._letters)

    def post_nowait(self, letter: T, *, request: bool) -> None:
        """Put a letter at the end. Raises `MailboxFull` or `MailboxClosed`."""
        if self._closed:
            raise MailboxClosed
        if len(self._letters) >= (self._requests_max if request else self._letters_max):
            raise MailboxFull
        self._letters.append(letter)
        self._lot.unpark()

    async def receive(self, most: int) -> list[T]:
        """Wait for letters and take at most `most`, oldest first. One task receives."""
        if not self._letters:
            await self._lot.park()
        else:
            await trio.lowlevel.checkpoint()
        taken = self._letters[:most]
        del self._letters[:most]
        return taken

    def take_nowait(self, wanted: Callable[[T], bool]) -> list[T]:
        """Take out the letters that are wanted, oldest first; the others stay in their order."""
        taken = [letter for letter in self._letters if wanted(letter)]
        if taken:
            self._letters = [letter for letter in self._letters if not wanted(letter)]
        return taken

    def close(self) -> list[T]:
        """Take no more letters, and give back those that nobody will read."""
        self._closed = True
        left, self._letters = self._letters, []
        return left
