"""What the actors are handed from outside: a store, a plane, a clock, a keyring.

Never a module of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from protocol.envelope import Draft, Envelope
from protocol.orders import Order, Stats
from protocol.personal_key import PersonalKey


class Receipt(Protocol):
    """An append that has its positions and waits to become durable."""

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """With their final positions."""
        ...

    @property
    def durable(self) -> bool:
        """Whether they can no longer be lost."""
        ...

    @property
    def error(self) -> Exception | None:
        """Why the append failed, if it did: a `StoreError`."""
        ...

    async def wait_durable(self) -> tuple[Envelope, ...]:
        """Wait until the append is settled; raises the `StoreError` that made it fail."""
        ...


class Store(Protocol):
    """The event store: receipts of one room settle in the order of their appends."""

    def next_position(self, room: str) -> int:
        """Position that the next append of the room begins with."""
        ...

    def append_nowait(self, room: str, drafts: Sequence[Draft]) -> Receipt:
        """Give drafts their places; raises a `StoreError` if it cannot."""
        ...

    async def read(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Envelope]:
        """Durable envelopes in order of position, at most `limit`."""
        ...

    async def session_start(self, room: str) -> int:
        """Position at which the room's last session begins; 0 if there is none."""
        ...


class Plane(Protocol):
    """The media plane's face."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Send orders; never waits, never raises."""
        ...

    async def query_stats(self, ids: Sequence[str]) -> tuple[Stats, ...]:
        """Statistics of entries, unknown ones left out."""
        ...


class Clock(Protocol):
    """The wall clock, which tests may turn."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch; never runs backwards."""
        ...

    async def sleep_until(self, at_ns: int) -> None:
        """Wait until `now_ns` is at least `at_ns`."""
        ...


class Keyring(Protocol):
    """The keys of persons, see `protocol.personal`. What is not `async` never waits."""

    @property
    def stranger(self) -> PersonalKey:
        """A key that is kept nowhere: what is concealed under it nobody ever reveals."""
        ...

    async def take(self) -> PersonalKey:
        """A key that nobody has had, durable. Raises a `StoreError` if there can be none."""
        ...

    def discard(self, key: PersonalKey) -> None:
        """Destroy a key that was taken in vain, soon."""
        ...

    def key(self, key_id: bytes) -> PersonalKey | None:
        """The key of an id if it is at hand: one in use is, or it can be loaded."""
        ...

    async def load(self, key_ids: Collection[bytes]) -> None:
        """Have keys at hand, as far as they have not been destroyed. Raises a `StoreError`."""
        ...
