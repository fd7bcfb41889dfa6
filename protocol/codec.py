"""How messages and events are written in the log: msgpack maps under a type name and a version.

Names are those of the classes, and stay what they are for ever. A class whose
shape changes gets a higher version in `_VERSIONS` and an upcaster from the one
before in `_UPCASTERS`; old payloads are upcast when they are read, never
rewritten. Readers of another version than they know raise `UnknownType`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec

from protocol import commands, events, messages, notices
from protocol.capabilities import decode_consume


class UnknownType(Exception):
    """A type, or a version of it, that this program does not know: the log is of a newer one."""


_TYPES: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind
    for kind in (
        *get_args(commands.Command),
        *get_args(messages.Message),
        *get_args(notices.Notice),
        *get_args(events.Event),
    )
}
_VERSIONS: dict[str, int] = dict.fromkeys(
    (
        "Join", "PeerJoined", "Produce", "ProducerAdded", "OpenConsumer", "ConsumerOpened",
        "ConnectTransport", "TransportConnecting", "IceStateChanged", "IceTupleChanged",
        "IceChanged",
    ),
    2,
)  # fmt: skip
"""Versions above 1. Version 2 of all of these may hold `protocol.personal.Concealed` values."""
_UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a type's version to the next; none where today's shape takes the older one as it is."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decode_today: dict[str, Callable[[bytes], Any]] = {
    name: msgspec.msgpack.Decoder(kind).decode for name, kind in _TYPES.items()
}
_decode_today[commands.Consume.__name__] = decode_consume


def encode(value: msgspec.Struct) -> bytes:
    """The payload of a message or an event: the same bytes for the same value, always."""
    assert type(value).__name__ in _TYPES
    return _encoder.encode(value)


def type_of(value: msgspec.Struct) -> str:
    """Name under which `value` stands in the log."""
    return type(value).__name__


def version_of(type_name: str) -> int:
    """The version of a type that this program writes."""
    return _VERSIONS.get(type_name, 1)


def knows(type_name: str, version: int) -> bool:
    """Whether this program can decode a version of a type."""
    return type_name in _TYPES and version <= version_of(type_name)


def decode(type_name: str, version: int, data: bytes) -> Any:
    """The message or event in a payload, upcast to today's shape.

    Raises `UnknownType` for names and versions of the future, and
    `msgspec.ValidationError` or `msgspec.DecodeError` for payloads that do not fit.
    """
    decode_today = _decode_today.get(type_name)
    today = _VERSIONS.get(type_name, 1)
    if decode_today is None or version > today:
        raise UnknownType(f"{type_name} version {version}")
    if version == today or not any(
        (type_name, step) in _UPCASTERS for step in range(version, today)
    ):
        return decode_today(data)
    payload = msgspec.msgpack.decode(data)
    for step in range(version, today):
        upcast = _UPCASTERS.get((type_name, step))
        payload = payload if upcast is None else upcast(payload)
    return msgspec.convert(payload, _TYPES[type_name])


def state_bytes(state: object) -> bytes:
    """A state in the one form that is hashed and compared: msgpack with sorted keys."""
    return _encoder.encode(state)
