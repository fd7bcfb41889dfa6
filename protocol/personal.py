"""Personal data: values that tell who somebody is, concealed under a key of that person.

A person here is a peer: whoever joins gets a random key. What a client says of itself (its name,
its application's data, its certificate's fingerprints, its cname and stream ids) and where it is
(its addresses) is concealed before an actor takes it, so deciders, states, log, archives and
snapshots only ever hold `Concealed` values, and it is revealed again on the way out. When the key
is destroyed nobody can reveal them any more, and yet the log is what it was: its chain holds, and
deciding again gives the same, for deciders take these values as they are.

The same value under the same key is concealed alike, so that two can be compared without a key;
who has the log alone learns nothing else of a value than its length, in steps of `BLOCK_BYTES`.

`protocol.personal_key` has the key itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

KEY_ID_BYTES = 16
BLOCK_BYTES = 32

FORGOTTEN = "(forgotten)"
"""What is shown of a value whose key is gone, or is not at hand."""

_TAG = "concealed"
_MARK = bytes((0x94, 0xA0 | len(_TAG))) + _TAG.encode()


class Concealed(Struct, frozen=True, array_like=True, tag=_TAG, gc=False):
    """A value that only the key with the id `key` reveals."""

    key: bytes
    """`KEY_ID_BYTES` of chance; the same for all values of a person."""
    nonce: bytes
    text: bytes
    """The value in msgpack, padded and encrypted."""


class CannotReveal(Exception):
    """The key that is needed is not there, or the value was not concealed under it."""


Reveal = Callable[[Concealed], Any]
"""Gives the value in a concealed one; raises `CannotReveal`."""


def shown(value: Any) -> Any:
    """A value as it is, or `FORGOTTEN` for one that stayed concealed."""
    return FORGOTTEN if isinstance(value, Concealed) else value


def holds_concealed(data: bytes) -> bool:
    """Whether a msgpack payload may hold a concealed value; never misses one."""
    return _MARK in data


def concealed_in(value: Any) -> Concealed | None:
    """The concealed value that a decoded list stands for, if it does."""
    if (
        isinstance(value, list | tuple)
        and len(value) == 4
        and value[0] == _TAG
        and all(isinstance(part, bytes) for part in value[1:])
    ):
        return Concealed(*value[1:])
    return None


def revealed(value: Any, reveal: Reveal) -> Any:
    """Plain decoded values with all that can be revealed in them revealed; the rest stays."""
    match value:
        case dict():
            return {key: revealed(item, reveal) for key, item in value.items()}
        case list() | tuple():
            concealed = concealed_in(value)
            if concealed is None:
                return [revealed(item, reveal) for item in value]
            try:
                return reveal(concealed)
            except CannotReveal:
                return list(value)
    return value
