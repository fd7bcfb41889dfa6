"""The ends of all rooms' logs: who gets which position, and what a failure takes back.

Both backends keep one `Ledger`, touched in the trio thread only. It assigns positions and hashes,
bounds what is pending, and settles receipts in the order in which the backend finished them.

A *lane* is one run of appends of a room that stand or fall together, each chained to the one
before. The backend's writer must finish a lane's appends in order and, after the first failure,
fail all others of the lane; it marks that on the lane itself (`Lane.failure`), because appends
may still arrive on it until the ledger hears. Then the room gets a new lane at its durable end.
"""

from collections.abc import Iterator, Mapping, Sequence

from protocol.envelope import Draft, Envelope, genesis, seal
from replay.store.errors import (
    InvalidDraft,
    LogDamaged,
    PositionConflict,
    StoreClosed,
    StoreError,
    StoreOverloaded,
)
from replay.store.interface import Head, Receipt, RoomSummary

APPEND_DRAFTS_MAX = 32_768
"""Drafts in one append: it is one transaction, and every other room waits for it. A host who leaves
2,000 viewers of eight tracks closes 16,000 consumers in one decision."""
ROOM_BYTES_MAX = 255
"""UTF-8 bytes of a room's name."""
DATA_BYTES_MAX = 1 << 20
"""Payload of one draft. Signaling messages are bounded far below."""
PENDING_ENVELOPES_MAX = 65_536
"""Envelopes that wait to be written: about one second of a busy disk. Beyond, refuse."""
PENDING_BYTES_MAX = 64 << 20
"""Payload bytes that wait to be written. Beyond, refuse."""

ROOM_ACTOR = "room"
CLOSING_TYPE = "RoomClosed"


class Lane:
    """One run of appends that stand or fall together. `failure` is the writer's to set."""

    __slots__ = ("failure",)

    def __init__(self) -> None:
        self.failure: StoreError | None = None


class Tally:
    """Running summary of a room's envelopes, or of some of them: then `open` may be None."""

    __slots__ = ("events", "first_at_ns", "last_at_ns", "messages", "open")

    def __init__(
        self,
        *,
        first_at_ns: int = 0,
        last_at_ns: int = 0,
        messages: int = 0,
        events: int = 0,
        is_open: bool | None = True,
    ) -> None:
        self.first_at_ns = first_at_ns
        self.last_at_ns = last_at_ns
        self.messages = messages
        self.events = events
        self.open = is_open

    def add(self, envelopes: Sequence[Envelope]) -> None:
        """Count envelopes that follow those already counted."""
        if not self.messages and not self.events:
            self.first_at_ns = envelopes[0].at_ns
        self.last_at_ns = envelopes[-1].at_ns
        for envelope in envelopes:
            if envelope.kind == "message":
                self.messages += 1
            else:
                self.events += 1
                if envelope.actor == ROOM_ACTOR:
                    self.open = envelope.type != CLOSING_TYPE

    def summary(self, room: str, position: int, damage: LogDamaged | None) -> RoomSummary:
        """Sum up `room`, which ends at `position`."""
        return RoomSummary(
            room=room,
            position=position,
            first_at_ns=self.first_at_ns,
            last_at_ns=self.last_at_ns,
            messages=self.messages,
            events=self.events,
            open=bool(self.open),
            damage=None if damage is None else damage.reason,
        )


class Append:
    """One append on its way: what the backend's writer is handed and hands back."""

    __slots__ = ("lane", "receipt", "size_bytes")

    def __init__(self, receipt: Receipt, lane: Lane, size_bytes: int) -> None:
        self.receipt = receipt
        self.lane = lane
        self.size_bytes = size_bytes


class _Room:
    __slots__ = ("assigned", "durable", "lane", "pending", "tally")

    def __init__(self, durable: Head, tally: Tally) -> None:
        self.durable = durable
        self.assigned = durable
        self.tally = tally
        self.lane = Lane()
        self.pending = 0


class Ledger:
    """The ends of all rooms, durable and assigned, and the bounds of what is pending."""

    def __init__(
        self,
        *,
        pending_envelopes_max: int = PENDING_ENVELOPES_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        self._pending_envelopes_max = pending_envelopes_max
        self._pending_bytes_max = pending_bytes_max
        self._pending_envelopes = 0
        self._pending_bytes = 0
        self._rooms: dict[str, _Room] = {}
        self._damage: dict[str | None, LogDamaged] = {}
        self._refusal: StoreError | None = None

    @property
    def damage(self) -> Mapping[str | None, LogDamaged]:
        """Damage by room."""
        return self._damage

    @property
    def pending_envelopes(self) -> int:
        """Envelopes that have a position but are not durable yet."""
        return self._pending_envelopes

    def load(self, room: str, durable: Head, tally: Tally) -> None:
        """Take over a room as it stands on the disk."""
        assert room not in self._rooms
        self._rooms[room] = _Room(durable, tally)

    def mark_damaged(self, damage: LogDamaged) -> None:
        """Remember damage; a damaged room takes no more appends. The first report stands."""
        self._damage.setdefault(damage.room, damage)

    def refuse(self, reason: StoreError) -> None:
        """Refuse all appends from now on with `reason`. The first reason stands."""
        if self._refusal is None or isinstance(reason, StoreClosed):
            self._refusal = reason

    def head(self, room: str) -> Head:
        """Tell the durable end of a room."""
        entry = self._rooms.get(room)
        return Head(0, genesis(room)) if entry is None else entry.durable

    def next_position(self, room: str) -> int:
        """Where the next append of a room begins."""
        entry = self._rooms.get(room)
        return 1 if entry is None else entry.assigned.position + 1

    def summaries(self) -> Iterator[RoomSummary]:
        """Summaries of all rooms that hold something or are damaged, by name."""
        damaged = {room for room in self._damage if room is not None}
        for room in sorted(self._rooms.keys() | damaged):
            entry = self._rooms.get(room)
            tally = Tally() if entry is None else entry.tally
            position = 0 if entry is None else entry.durable.position
            if position or room in damaged:
                yield tally.summary(room, position, self._damage.get(room))

    def assign(
        self, room: str, drafts: Sequence[Draft], expected_position: int | None = None
    ) -> Append:
        """Give drafts their places, all or none. Raises as `EventStore.append_nowait`."""
        if self._refusal is not None:
            raise self._refusal.again()
        if (damage := self._damage.get(room)) is not None:
            raise damage.again()
        entry = self._rooms.get(room)
        if entry is None:
            _check_name(room)
        size_bytes = _measure(drafts)
        assigned = Head(0, genesis(room)) if entry is None else entry.assigned
        if expected_position is not None and assigned.position != expected_position:
            raise PositionConflict(room, expected_position, assigned.position)
        if (
            self._pending_envelopes + len(drafts) > self._pending_envelopes_max
            or self._pending_bytes + size_bytes > self._pending_bytes_max
        ):
            raise StoreOverloaded(
                f"{self._pending_envelopes} envelopes ({self._pending_bytes} bytes) already wait "
                "to be written"
            )
        envelopes = _seal_all(room, assigned, drafts)
        if entry is None:
            entry = self._rooms[room] = _Room(assigned, Tally())
        last = envelopes[-1]
        entry.assigned = Head(last.position, last.hash)
        entry.pending += 1
        self._pending_envelopes += len(envelopes)
        self._pending_bytes += size_bytes
        return Append(Receipt(room, envelopes), entry.lane, size_bytes)

    def settle(self, append: Append, error: StoreError | None) -> None:
        """Take in how one append ended, in the order in which the writer finished them."""
        receipt = append.receipt
        entry = self._rooms[receipt.room]
        entry.pending -= 1
        self._pending_envelopes -= len(receipt.envelopes)
        self._pending_bytes -= append.size_bytes
        if error is None:
            last = receipt.envelopes[-1]
            assert receipt.envelopes[0].position == entry.durable.position + 1
            entry.durable = Head(last.position, last.hash)
            entry.tally.add(receipt.envelopes)
        else:
            if isinstance(error, LogDamaged) and error.room == receipt.room:
                self.mark_damaged(error)
            if entry.lane is append.lane:
                assert append.lane.failure is not None
                entry.lane = Lane()
                entry.assigned = entry.durable
            if not entry.pending and not entry.durable.position:
                del self._rooms[receipt.room]
        receipt.settle(error)


def _check_name(room: str) -> None:
    try:
        room_bytes = len(room.encode())
    except UnicodeEncodeError as error:
        raise InvalidDraft(f"room {room!r} is not Unicode text") from error
    if not 1 <= room_bytes <= ROOM_BYTES_MAX:
        raise InvalidDraft(f"a room's name takes 1 to {ROOM_BYTES_MAX} bytes, not {room_bytes}")


def _measure(drafts: Sequence[Draft]) -> int:
    if not 1 <= len(drafts) <= APPEND_DRAFTS_MAX:
        raise InvalidDraft(f"an append takes 1 to {APPEND_DRAFTS_MAX} drafts, {len(drafts)=}")
    size_bytes = 0
    for draft in drafts:
        draft_bytes = len(draft.data)
        if draft_bytes > DATA_BYTES_MAX:
            raise InvalidDraft(f"{draft.type} of {draft_bytes} bytes is too large")
        size_bytes += draft_bytes
    return size_bytes


def _seal_all(room: str, head: Head, drafts: Sequence[Draft]) -> tuple[Envelope, ...]:
    position, previous_hash = head.position, head.hash
    envelopes = []
    try:
        for draft in drafts:
            position += 1
            envelope = seal(previous_hash, room, position, draft)
            previous_hash = envelope.hash
            envelopes.append(envelope)
    except ValueError as error:
        raise InvalidDraft(str(error)) from error
    return tuple(envelopes)
