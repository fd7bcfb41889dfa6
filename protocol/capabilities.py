"""Capabilities that were seen before are not read again.

A thousand viewers who join have a handful of browsers between them, and each says with each
`consume` the same two to five kilobytes, which are read twice: as the client's words and from the
letter to the room. Reading and checking takes a hundred microseconds, looking up one or two. What
is found is the same value that reading would give, so nothing decided on it can differ.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from protocol.commands import Consume, Priority
from protocol.ids import EntityId, PeerId
from protocol.rtp_parameters import RtpCapabilities

KEPT = 64
"""Different capabilities that are kept, those used last; each is smaller than a message."""


class _ConsumeRead(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """`Consume`, but for capabilities that are still to be read."""

    peer: PeerId
    transport: EntityId
    producer: EntityId
    rtp_capabilities: msgspec.Raw
    priority: Priority = 1


_decode = msgspec.msgpack.Decoder(RtpCapabilities).decode
_decode_consume = msgspec.msgpack.Decoder(_ConsumeRead).decode
_encode = msgspec.msgpack.Encoder().encode


@lru_cache(maxsize=KEPT)
def _read(packed: bytes) -> RtpCapabilities:
    return _decode(packed)


@lru_cache(maxsize=KEPT)
def _converted(packed: bytes) -> RtpCapabilities:
    return msgspec.convert(msgspec.msgpack.decode(packed), RtpCapabilities)


def with_known_capabilities(tree: Any) -> Any:
    """Capabilities from a client's map, as `msgspec.convert` gives them; or what came, if bad.

    Who converts the request after that passes the one and refuses the other.
    """
    try:
        return _converted(_encode(tree))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return tree


def decode_consume(data: bytes) -> Consume:
    """The command in a payload. Raises `msgspec.ValidationError` and `msgspec.DecodeError`."""
    read = _decode_consume(data)
    return Consume(
        peer=read.peer,
        transport=read.transport,
        producer=read.producer,
        rtp_capabilities=_read(bytes(read.rtp_capabilities)),
        priority=read.priority,
    )
