"""What the event log is made of: one envelope for each message and each event.

A room's log is one dense sequence of envelopes, `position` 1, 2, 3, … Each envelope's `hash`
covers all its other fields and the hash before it, back to `genesis(room)`; so a changed, lost,
added or moved envelope is noticed by whoever walks the chain.

A `Draft` is what an actor wants to have appended; the store gives it its room, position and hash.

Payloads (`data`) are opaque here and must not contain secrets (SRTP keys, ICE passwords, tokens):
that is the duty of whoever writes a draft, for the log is kept, copied and exported.
"""

from hashlib import sha256
from typing import Any, Literal

import msgspec

HASH_BYTES = 32
ENTROPY_BYTES = 16
INT64_MAX = 2**63 - 1

_GENESIS_PREFIX = b"reprise/room-log/1\x00"
_encode = msgspec.msgpack.Encoder().encode

Kind = Literal["message", "event"]

# Neither struct can be part of a cycle, so the garbage collector need not look at them (gc=False);
# logs are walked by the million.


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message or event that waits for its place in a room's log."""

    at_ns: int
    """When it happened: nanoseconds since the Unix epoch, by the writer's clock."""
    actor: str
    """Address of the actor that took the message or decided the event: "room", "transport/t_1"."""
    kind: Kind
    type: str
    """Class name of the message or event."""
    version: int = 1
    """Version of that type's schema, from 1. Old versions are upcast on read."""
    cause: int | None = None
    """Position in the same room that caused this one; None for input from outside.

    Less than the position that the draft will get. An actor that appends a message together with
    its events finds the message's position with the store's `next_position`.
    """
    correlation: str | None = None
    """Id of the client's request that all this began with."""
    data: bytes
    """Msgpack payload of the typed message or event."""
    entropy: bytes = b""
    """The random choice that came with a message: empty or `ENTROPY_BYTES` long."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message or event in its place in a room's log. See `Draft` for the shared fields."""

    room: str
    position: int
    """Place in the room's log, from 1, without gaps."""
    at_ns: int
    actor: str
    kind: Kind
    type: str
    version: int
    cause: int | None
    correlation: str | None
    data: bytes
    entropy: bytes
    hash: bytes
    """`chain` of the hash before it and all fields above; `HASH_BYTES` long."""


def genesis(room: str) -> bytes:
    """Hash that stands before position 1 of `room`; no two rooms share one."""
    return sha256(_GENESIS_PREFIX + room.encode()).digest()


def chain(previous_hash: bytes, room: str, position: int, content: Draft | Envelope) -> bytes:
    """Hash of the envelope at `position` that bears `content`, given the hash before it.

    SHA-256 over `previous_hash` and a msgpack array (shortest forms, UTF-8 strings, binary bytes)
    of room, position, at_ns, actor, kind, type, version, cause, correlation, data, entropy.
    `content.hash`, where there is one, does not enter.
    """
    return chain_fields(
        previous_hash,
        (
            room,
            position,
            content.at_ns,
            content.actor,
            content.kind,
            content.type,
            content.version,
            content.cause,
            content.correlation,
            content.data,
            content.entropy,
        ),
    )


def chain_fields(previous_hash: bytes, fields: tuple[Any, ...]) -> bytes:
    """`chain` of an envelope's fields in its order: room, position, at_ns … entropy."""
    return sha256(previous_hash + _encode(fields)).digest()


def seal(previous_hash: bytes, room: str, position: int, draft: Draft) -> Envelope:
    """Give `draft` its place: the envelope at `position`, chained to `previous_hash`.

    Raises `ValueError` for a draft that no log may hold: a position that could not have caused
    it, a version below 1, entropy of another length, numbers beyond 64 bits, text that is not
    Unicode.
    """
    at_ns, version, cause, entropy = draft.at_ns, draft.version, draft.cause, draft.entropy
    if not 1 <= position <= INT64_MAX:
        raise ValueError(f"position {position} is out of range")
    if cause is not None and not 1 <= cause < position:
        raise ValueError(f"{draft.type} at position {position} cannot have cause {cause}")
    if not 1 <= version <= INT64_MAX or not -INT64_MAX <= at_ns <= INT64_MAX:
        raise ValueError(f"{draft.type}: version {version} or time {at_ns} is invalid")
    if entropy and len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"{draft.type}: entropy has {len(entropy)} bytes")
    actor, kind, type_ = draft.actor, draft.kind, draft.type
    correlation, data = draft.correlation, draft.data
    content = _encode(
        (room, position, at_ns, actor, kind, type_, version, cause, correlation, data, entropy)
    )
    return Envelope(
        room=room,
        position=position,
        at_ns=at_ns,
        actor=actor,
        kind=kind,
        type=type_,
        version=version,
        cause=cause,
        correlation=correlation,
        data=data,
        entropy=entropy,
        hash=sha256(previous_hash + content).digest(),
    )
