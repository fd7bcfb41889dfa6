"""Envelopes as text: rows for a person at a terminal, plain maps for JSON.

Payloads are decoded from msgpack without knowing their types, so that a log of any release can be
shown. What comes from outside (names, ids) cannot reach the terminal with control characters.
"""

from datetime import UTC, datetime
from typing import Any

import msgpack
import msgspec

from protocol.envelope import Envelope
from protocol.personal import FORGOTTEN, concealed_in


def payload(data: bytes) -> Any:
    """Decode a msgpack payload into plain values; bytes become hex. Undecodable: `{"raw": hex}`.

    Values that are concealed (see `replay.revealer`) are shown as `FORGOTTEN`.
    """
    try:
        return _plain(msgpack.unpackb(data, strict_map_key=False))
    except (ValueError, msgpack.UnpackException, RecursionError):
        return {"raw": data.hex()}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {_key(key): _plain(item) for key, item in value.items()}
        case msgpack.ExtType():
            return {"ext": value.code, "data": value.data.hex()}
        case list() | tuple() if concealed_in(value) is not None:
            return FORGOTTEN
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return value.hex()
        case msgpack.Timestamp():
            return value.to_unix_nano()
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(_plain(key))


def as_map(envelope: Envelope) -> dict[str, Any]:
    """Turn an envelope into plain values for JSON: bytes as hex, the payload decoded."""
    values = msgspec.structs.asdict(envelope)
    return values | {
        "data": payload(envelope.data),
        "entropy": envelope.entropy.hex(),
        "hash": envelope.hash.hex(),
    }


def mentions_peer(value: Any, peer: str) -> bool:
    """Whether a decoded payload names this peer, at any depth, as `peer` or `peer_id`."""
    if isinstance(value, dict):
        if peer in (value.get("peer"), value.get("peer_id"), value.get("peerId")):
            return True
        return any(mentions_peer(item, peer) for item in value.values())
    return isinstance(value, list) and any(mentions_peer(item, peer) for item in value)


def compact(value: Any) -> str:
    """Write a decoded payload in one line: `peer=p1 codecs=[opus, vp8]`."""
    if isinstance(value, dict):
        return " ".join(f"{printable(key)}={_inner(item)}" for key, item in value.items())
    return _inner(value)


def _inner(value: Any) -> str:
    match value:
        case dict():
            return "{" + compact(value) + "}"
        case list():
            return "[" + ", ".join(_inner(item) for item in value) + "]"
        case str():
            return printable(value) if value and not set(value) & set(" =,[]{}") else repr(value)
        case None:
            return "-"
    return str(value)


def printable(text: str) -> str:
    r"""Write control and other unprintable characters as escapes: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def utc(at_ns: int, *, date: bool = True) -> str:
    """Write a time to the microsecond, as `2026-03-01 12:00:00.000001Z`, or without its date."""
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ns} ns"
    pattern = "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    return f"{moment.strftime(pattern)}.{rest_ns // 1000:06d}Z"
