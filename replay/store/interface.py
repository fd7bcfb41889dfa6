"""What every event store offers, and what it promises. Backends pass tests/contract.

Theory of operation. A room's log has two ends. The *assigned* end moves at once when someone
appends: `append_nowait` gives positions and hashes in the order of calls, before it returns. The
*durable* end follows when the envelopes can no longer be lost, and only then is the receipt
settled. What the caller may rely on:

- Receipts of a room settle in the order of their appends. When one is durable, so are all before
  it; so whoever keeps a room's receipts in a queue and publishes from its front while the front
  is `durable` publishes every envelope once, in order, without a gap.
- When an append fails, every later append of that room which was assigned before the failure was
  settled fails with it, because it was chained to it; then the assigned end falls back to the
  durable one, and the next append takes up there. A gap is impossible.
- Other rooms fail only when they shared a commit that failed as a whole (a full disk).
- Readers, `head` and `rooms` show durable envelopes only.
- A cancelled wait undoes nothing: the append goes on and may become durable.

All methods belong to one trio run and its thread.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from protocol.envelope import Draft, Envelope
from replay.store.errors import LogDamaged, StoreError

BATCH_ENVELOPES = 2048
"""Most envelopes that a reader holds at a time, unless it is told another number."""


class Head(msgspec.Struct, frozen=True):
    """An end of a room's log: its last position (0: empty) and the hash there."""

    position: int
    hash: bytes


class RoomSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds of one room, durable envelopes only."""

    room: str
    position: int
    """Last position; as the log is dense, also the number of envelopes."""
    first_at_ns: int
    last_at_ns: int
    messages: int
    events: int
    open: bool
    """Whether the room still runs: its actor's last event was not the one that closes it."""
    damage: str | None = None
    """Why the log of this room takes no more appends; None when it is sound."""


class Receipt:
    """An append that has its place and waits to become durable.

    `envelopes` bear their final positions and hashes, but nothing may leave (no reply, order or
    notification) before `wait_durable` returned.
    """

    __slots__ = ("_durable", "_error", "_settled", "_waiter", "envelopes", "room")

    def __init__(self, room: str, envelopes: tuple[Envelope, ...]) -> None:
        self.room = room
        self.envelopes = envelopes
        self._durable = False
        self._error: StoreError | None = None
        self._waiter: trio.lowlevel.Task | None = None
        self._settled: trio.Event | None = None

    @property
    def durable(self) -> bool:
        """Whether the envelopes can no longer be lost."""
        return self._durable

    @property
    def error(self) -> StoreError | None:
        """Why the append failed; None while it waits or when it is durable."""
        return self._error

    async def wait_durable(self) -> tuple[Envelope, ...]:
        """Wait until the append is settled and return its envelopes.

        Any number of tasks may wait, before and after. Raises the `StoreError` that made the
        append fail: then none of its envelopes is in the log.
        """
        if self._durable or self._error is not None:
            await trio.lowlevel.checkpoint()
        elif self._waiter is None:
            # Nearly always one task waits, the one that appended: an event would cost more.
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        else:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        if self._error is not None:
            raise self._error.again()
        return self.envelopes

    def settle(self, error: StoreError | None = None) -> None:
        """Say how the append ended, once. For stores only."""
        assert not self._durable, "a receipt is settled once"
        assert self._error is None, "a receipt is settled once"
        self._error = error
        self._durable = error is None
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None
        if self._settled is not None:
            self._settled.set()

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    def __repr__(self) -> str:
        first, last = self.envelopes[0].position, self.envelopes[-1].position
        state = "durable" if self._durable else "pending" if self._error is None else "failed"
        return f"<Receipt {self.room!r} {first}-{last} {state}>"


class EventStore(Protocol):
    """The log of all rooms. See the module's theory of operation."""

    @property
    def damage(self) -> Mapping[str | None, LogDamaged]:
        """Rooms found damaged so far, at opening or at use; under None what is not of one room.

        A damaged room refuses appends with its `LogDamaged`; all others go on.
        """
        ...

    def next_position(self, room: str) -> int:
        """Position that the next `append_nowait` of this room will begin with.

        Without an await between the two it cannot move: so drafts of one append can name the
        first of them as their cause.
        """
        ...

    def append_nowait(
        self, room: str, drafts: Sequence[Draft], *, expected_position: int | None = None
    ) -> Receipt:
        """Give the drafts their places at the assigned end of the room, all or none.

        Raises, with nothing appended: `PositionConflict` when the assigned end is not
        `expected_position`, `InvalidDraft`, `StoreOverloaded` when too much waits,
        `LogDamaged` for a damaged room, `StoreFailed`, `StoreClosed`.
        """
        ...

    async def append(
        self, room: str, expected_position: int, drafts: Sequence[Draft]
    ) -> tuple[Envelope, ...]:
        """`append_nowait` and `Receipt.wait_durable` in one."""
        ...

    async def read(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> list[Envelope]:
        """Envelopes after `after` up to and with `up_to` in order of position, at most `limit`.

        `actor` and `types` choose by exact match. Every envelope is checked against the hash
        before it. Raises `LogDamaged` when damage stands before the end of what was asked for:
        then ask again with `up_to` below its `position`. An unknown room is an empty one.
        """
        ...

    def batches(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        batch: int = BATCH_ENVELOPES,
    ) -> AsyncIterator[list[Envelope]]:
        """As `read`, but in lists of at most `batch`, none empty, up to the end as of the call.

        Gives what is sound before it raises `LogDamaged`. Holds nothing between two batches, so
        it may be dropped at any time.
        """
        ...

    async def session_start(self, room: str) -> int:
        """Tell where the last session of a room begins: its last `OpenRoom`, or position 1.

        0 for an unknown room. Raises `LogDamaged` if the database cannot tell.
        """
        ...

    async def head(self, room: str) -> Head:
        """Tell the durable end of the room; position 0 and `genesis` for an unknown one.

        Raises `LogDamaged` for a damaged room.
        """
        ...

    async def rooms(self) -> list[RoomSummary]:
        """List all rooms with at least one durable envelope, and all damaged ones, by name."""
        ...

    async def verify_chain(self, room: str) -> Head:
        """Walk the whole durable log of a room, and return its sound end.

        Raises `LogDamaged` with the first position that is missing or wrong.
        """
        ...

    async def aclose(self) -> None:
        """Settle all that was appended, then close. More appends raise `StoreClosed`.

        May be called again. Not interrupted by cancellation.
        """
        ...


class FaultInjection(Protocol):
    """What stores offer to tests beside `EventStore`."""

    def fail_next_append(self, error: StoreError, room: str | None = None) -> None:
        """Let the next commit that holds an append (of `room`, when given) fail with `error`."""
        ...
