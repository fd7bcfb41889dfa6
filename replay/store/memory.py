"""Event store that forgets: for tests and simulations. It keeps all promises but durability.

Appends become "durable" one turn of the trio loop later, in order, so that whoever uses it lives
with pending receipts as with the real one. `hold_commits` keeps them pending for as long as a
test needs.
"""

from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

import trio

from protocol.envelope import Draft, Envelope, genesis
from replay.store.errors import LogDamaged, StoreClosed, StoreError
from replay.store.interface import BATCH_ENVELOPES, Head, Receipt, RoomSummary
from replay.store.ledger import PENDING_ENVELOPES_MAX, Append, Ledger
from replay.store.walk import follow


class MemoryStore:
    """`EventStore` and `FaultInjection` in memory."""

    def __init__(self, *, pending_envelopes_max: int = PENDING_ENVELOPES_MAX) -> None:
        self._ledger = Ledger(pending_envelopes_max=pending_envelopes_max)
        self._logs: dict[str, list[Envelope]] = {}
        self._queue: deque[Append] = deque()
        self._held = False
        self._commit_is_due = False
        self._fault: tuple[StoreError, str | None] | None = None

    @property
    def damage(self) -> Mapping[str | None, LogDamaged]:
        """See `EventStore.damage`."""
        return self._ledger.damage

    def next_position(self, room: str) -> int:
        """See `EventStore.next_position`."""
        return self._ledger.next_position(room)

    def append_nowait(
        self, room: str, drafts: Sequence[Draft], *, expected_position: int | None = None
    ) -> Receipt:
        """See `EventStore.append_nowait`."""
        append = self._ledger.assign(room, drafts, expected_position)
        self._queue.append(append)
        self._schedule_commit()
        return append.receipt

    async def append(
        self, room: str, expected_position: int, drafts: Sequence[Draft]
    ) -> tuple[Envelope, ...]:
        """See `EventStore.append`."""
        receipt = self.append_nowait(room, drafts, expected_position=expected_position)
        return await receipt.wait_durable()

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
        """See `EventStore.read`."""
        await trio.lowlevel.checkpoint()
        end = self._ledger.head(room).position
        up_to = end if up_to is None else max(min(up_to, end), 0)
        found = [
            envelope
            for envelope in self._logs.get(room, [])[max(after, 0) : up_to]
            if (actor is None or envelope.actor == actor)
            and (types is None or envelope.type in types)
        ]
        return found if limit is None else found[:limit]

    async def batches(
        self,
        room: str,
        after: int = 0,
        up_to: int | None = None,
        *,
        actor: str | None = None,
        types: Collection[str] | None = None,
        batch: int = BATCH_ENVELOPES,
    ) -> AsyncIterator[list[Envelope]]:
        """See `EventStore.batches`."""
        end = self._ledger.head(room).position
        up_to = end if up_to is None else min(up_to, end)
        found = await self.read(room, after, up_to, actor=actor, types=types)
        for start in range(0, len(found), batch):
            yield found[start : start + batch]

    async def session_start(self, room: str) -> int:
        """See `EventStore.session_start`."""
        await trio.lowlevel.checkpoint()
        log = self._logs.get(room, [])
        for envelope in reversed(log):
            if (envelope.kind, envelope.actor, envelope.type) == ("message", "room", "OpenRoom"):
                return envelope.position
        return min(1, len(log))

    async def head(self, room: str) -> Head:
        """See `EventStore.head`."""
        await trio.lowlevel.checkpoint()
        return self._ledger.head(room)

    async def rooms(self) -> list[RoomSummary]:
        """See `EventStore.rooms`."""
        await trio.lowlevel.checkpoint()
        return list(self._ledger.summaries())

    async def verify_chain(self, room: str) -> Head:
        """See `EventStore.verify_chain`."""
        await trio.lowlevel.checkpoint()
        head, damage = follow(Head(0, genesis(room)), room, self._logs.get(room, []))
        if damage is not None:
            raise damage
        return head

    async def aclose(self) -> None:
        """See `EventStore.aclose`."""
        self._ledger.refuse(StoreClosed("the store is closed"))
        self._held = False
        self._commit()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    def fail_next_append(self, error: StoreError, room: str | None = None) -> None:
        """See `FaultInjection.fail_next_append`."""
        self._fault = (error, room)

    def hold_commits(self) -> None:
        """Keep appends pending from now on, until `release_commits` or `aclose`."""
        self._held = True

    def release_commits(self) -> None:
        """Let what waits, and what comes, become durable again."""
        self._held = False
        self._schedule_commit()

    def _schedule_commit(self) -> None:
        if self._queue and not self._held and not self._commit_is_due:
            self._commit_is_due = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._commit)

    def _commit(self) -> None:
        self._commit_is_due = False
        if self._held:
            return
        while self._queue:
            append = self._queue.popleft()
            room = append.receipt.room
            failed = append.lane.failure is not None
            if not failed and self._fault is not None and self._fault[1] in (None, room):
                append.lane.failure = self._fault[0]
                self._fault = None
            elif not failed:
                self._logs.setdefault(room, []).extend(append.receipt.envelopes)
            self._ledger.settle(append, append.lane.failure)
