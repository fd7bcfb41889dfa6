"""Everything that can go wrong with the event log, each with a code from a closed list.

Whoever may not import this package (the actors) catches `protocol.store_error.StoreError`.
"""

from datetime import UTC, datetime

from protocol.store_error import StoreError

__all__ = [
    "InvalidDraft",
    "LogDamaged",
    "LogPruned",
    "PositionConflict",
    "StoreClosed",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "StoreLocked",
    "StoreMissing",
    "StoreOverloaded",
    "StoreReadFailed",
    "StoreReadOnly",
    "StoreVersionUnknown",
    "StoreWriteFailed",
    "UnknownRoom",
]


class PositionConflict(StoreError):
    """The room's log does not end where the caller expected. Nothing was appended."""

    code = "position_conflict"

    def __init__(self, room: str, expected_position: int, position: int) -> None:
        super().__init__(
            f"room {room!r} ends at position {position}, not at the expected {expected_position}"
        )
        self.room = room
        self.expected_position = expected_position
        self.position = position


class InvalidDraft(StoreError):
    """A draft or a set of drafts that no log may hold. Nothing was appended."""

    code = "invalid_draft"


class StoreOverloaded(StoreError):
    """Too much waits to be written. Nothing was appended; try again when receipts came back."""

    code = "store_overloaded"


class StoreFull(StoreError):
    """The disk is full. Nothing was appended; the store goes on once there is space again."""

    code = "store_full"


class StoreWriteFailed(StoreError):
    """The system refused a write. Nothing was appended; later appends may succeed."""

    code = "store_write_failed"


class StoreFailed(StoreError):
    """Whether an append is on the disk is unknown, so the store takes no more until reopened.

    After a failed fsync the kernel may have dropped the very pages that a second one would report
    as written. The pending appends were not acknowledged; the next open finds them or not.
    """

    code = "store_failed"


class StoreClosed(StoreError):
    """The store was closed before the call."""

    code = "store_closed"


class StoreLocked(StoreError):
    """Another process writes in this data directory."""

    code = "store_locked"


class StoreReadOnly(StoreError):
    """The data directory cannot be created or written."""

    code = "store_read_only"


class StoreMissing(StoreError):
    """There is no event log in this directory."""

    code = "store_missing"


class StoreVersionUnknown(StoreError):
    """The file was written by a newer release, or is no event log at all."""

    code = "store_version_unknown"


class UnknownRoom(StoreError):
    """The log has no such room."""

    code = "unknown_room"

    def __init__(self, room: str) -> None:
        super().__init__(f"no room {room!r} in the log")
        self.room = room


class LogDamaged(StoreError):
    """The log is not what was acknowledged. What stands before `position` can be read.

    `room` is None when the damage cannot be put down to one room; `position` is the first that is
    missing or wrong, None when it is not known.
    """

    code = "log_damaged"

    def __init__(self, room: str | None, position: int | None, reason: str) -> None:
        where = "the event log" if room is None else f"the log of room {room!r}"
        at = "" if position is None else f" from position {position}"
        super().__init__(f"{where} is damaged{at}: {reason}")
        self.room = room
        self.position = position
        self.reason = reason


class LogPruned(StoreError):
    """All that was asked for was removed on purpose: nothing but its end is known.

    Positions `first` to `last` of a room; `at_ns` and `reason` say when and why.
    """

    code = "log_pruned"

    def __init__(self, room: str, first: int, last: int, at_ns: int, reason: str) -> None:
        on = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).date()
        super().__init__(
            f"positions {first}-{last} of room {room!r} were pruned on {on} ({reason})"
        )
        self.room = room
        self.first = first
        self.last = last
        self.at_ns = at_ns
        self.reason = reason


class StoreReadFailed(StoreError):
    """The system refused a read, which says nothing about the log itself."""

    code = "store_read_failed"
