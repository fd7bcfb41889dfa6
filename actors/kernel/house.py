"""What an actor has around it: the services of its room, as far as an actor may use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors.core.decider import ReplyStats
from actors.kernel.interfaces import Clock, Plane, Store
from actors.kernel.journal import Journal
from actors.kernel.letter import Letter, ReplySlot
from protocol.ids import Address


class House(Protocol):
    """An actor's room, seen from within."""

    room: str
    journal: Journal
    store: Store
    plane: Plane
    clock: Clock
    entropy: Callable[[], bytes]
    """16 random bytes a call."""
    log: Any
    """A structlog logger bound to the room."""

    def post(self, to: Address, letter: Letter) -> None:
        """Post to another actor of the room; dropped if that one has ended."""
        ...

    def start(self, address: Address, letter: Letter) -> None:
        """Start an actor with its first letter."""
        ...

    def answer_stats(self, asked: Address, wanted: ReplyStats, slot: ReplySlot) -> None:
        """Ask the plane for an entry's statistics and answer a request to `asked` with them."""
        ...

    def set_timer(self, address: Address, name: str, at_ns: int) -> None:
        """Have `Actor.fire` called at a time; a timer of that name is moved."""
        ...

    def cancel_timer(self, address: Address, name: str) -> None:
        """Forget a timer."""
        ...

    def addresses(self) -> Sequence[Address]:
        """Addresses of all living actors of the room."""
        ...
