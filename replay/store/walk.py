"""Walking a room's log: every envelope must follow the one before, in position and in hash."""

from collections.abc import Sequence
from typing import Any

from protocol.envelope import Envelope, chain, chain_fields
from replay.store.errors import LogDamaged
from replay.store.interface import Head

WRONG_HASH = "the hash does not fit the content and the hash before it"


def follow_rows(
    head: Head, room: str, rows: Sequence[tuple[Any, ...]]
) -> tuple[Head, LogDamaged | None]:
    """Do as `follow` does for rows of the database: an envelope's fields in order, `hash` last.

    What is hashed is what the row says, so no envelope need be made for it.
    """
    position, previous_hash = head.position, head.hash
    for row in rows:
        if row[0] != position + 1:
            return Head(position, previous_hash), LogDamaged(
                room, position + 1, f"next is position {row[0]}"
            )
        digest = chain_fields(previous_hash, (room, *row[:-1]))
        if digest != row[-1]:
            return Head(position, previous_hash), LogDamaged(room, position + 1, WRONG_HASH)
        position, previous_hash = row[0], digest
    return Head(position, previous_hash), None


def follow_positions(
    head: Head, room: str, rows: Sequence[tuple[Any, ...]]
) -> tuple[Head, LogDamaged | None]:
    """Do as `follow_rows` does, but look at positions alone."""
    position = head.position
    for row in rows:
        if row[0] != position + 1:
            found = LogDamaged(room, position + 1, f"next is position {row[0]}")
            return Head(position, b""), found
        position += 1
    return Head(position, b""), None


def follow(head: Head, room: str, envelopes: Sequence[Envelope]) -> tuple[Head, LogDamaged | None]:
    """Walk `envelopes` from `head`; give the sound end and, if they go on from there, the damage.

    The sound ones are those up to the position of the head that is returned.
    """
    position, previous_hash = head.position, head.hash
    for envelope in envelopes:
        if envelope.position != position + 1:
            found = LogDamaged(room, position + 1, f"next is position {envelope.position}")
            return Head(position, previous_hash), found
        if chain(previous_hash, room, envelope.position, envelope) != envelope.hash:
            return Head(position, previous_hash), LogDamaged(room, position + 1, WRONG_HASH)
        position, previous_hash = envelope.position, envelope.hash
    return Head(position, previous_hash), None
