"""Spans of an OTLP trace for who took part, and for what they sent and watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from protocol.messages import OpenRoom
from replay.errors import LogNotUnderstood
from replay.export.source import Source
from replay.session_figures import PeerStats, SessionStats, StreamStats
from replay.session_stats import sessions

_INTERNAL = 1
_MS_PER_NS = 1e-6


def participants(source: Source, trace: str, root: str, end_ns: int) -> Iterator[dict[str, Any]]:
    """The spans of all sessions of the source; none of a stretch that lacks its beginning."""
    first = next(iter(source.envelopes()), None)
    if first is None or first.type != OpenRoom.__name__:
        return
    try:
        figures = list(sessions(source.envelopes()))
    except LogNotUnderstood:
        return
    for session in figures:
        if source.beside is not None:
            source.beside.join(session)
        yield from _session(session, trace, root, end_ns)


def _session(session: SessionStats, trace: str, root: str, end_ns: int) -> Iterator[dict[str, Any]]:
    until_ns = session.closed_at_ns or end_ns
    for peer in session.peers:
        above = span_id(trace, f"{session.first_position}/{peer.peer}")
        yield {
            "traceId": trace,
            "spanId": above,
            "parentSpanId": root,
            "name": f"peer {peer.name or peer.peer}",
            "kind": _INTERNAL,
            "startTimeUnixNano": str(peer.joined_at_ns),
            "endTimeUnixNano": str(peer.left_at_ns or until_ns),
            "attributes": attributes(_of_peer(peer)),
        }
        for stream in peer.streams:
            yield {
                "traceId": trace,
                "spanId": span_id(trace, f"{session.first_position}/{stream.id}"),
                "parentSpanId": above,
                "name": f"{stream.kind} {stream.sort}",
                "kind": _INTERNAL,
                "startTimeUnixNano": str(stream.added_at_ns),
                "endTimeUnixNano": str(stream.removed_at_ns or peer.left_at_ns or until_ns),
                "attributes": attributes(_of_stream(stream)),
            }


def _of_peer(peer: PeerStats) -> dict[str, Any]:
    known: dict[str, Any] = {
        "reprise.peer": peer.peer,
        "reprise.peer.name": peer.name,
        "reprise.peer.left": peer.left_because,
        "reprise.peer.connected_ms": _ms(peer.connected_ns),
        "reprise.peer.first_media_sent_ms": _ms(peer.first_media_sent_ns),
        "reprise.peer.first_media_received_ms": _ms(peer.first_media_received_ns),
        "reprise.peer.first_key_frame_ms": _ms(peer.first_key_frame_ns),
        "reprise.peer.freezes": peer.freezes,
        "reprise.peer.reconnects": peer.reconnects,
    }
    if peer.quality is not None:
        quality = msgspec.structs.asdict(peer.quality)
        del quality["freezes"]  # the log's, above
        known |= {f"reprise.quality.{name}": value for name, value in quality.items()}
    return known


def _of_stream(stream: StreamStats) -> dict[str, Any]:
    known: dict[str, Any] = {
        "reprise.stream": stream.id,
        "reprise.stream.kind": stream.kind,
        "reprise.stream.transport": stream.transport,
        "reprise.stream.producer": stream.producer,
        "reprise.stream.removed": stream.removed_because,
        "reprise.stream.first_key_frame_ms": _ms(stream.first_key_frame_ns),
        "reprise.stream.freezes": stream.freezes,
    }
    for measured in stream.measured:
        number = f".{measured.encoding}" if len(stream.measured) > 1 else ""
        values = msgspec.structs.asdict(measured)
        del values["encoding"]
        known |= {f"reprise.measured{number}.{name}": value for name, value in values.items()}
    return known


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns * _MS_PER_NS, 3)


def span_id(trace: str, what: str) -> str:
    """Eight bytes in hex, the same each time for the same thing in the same trace."""
    return sha256(f"{trace}/{what}".encode()).hexdigest()[:16]


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Values as OTLP's JSON form has them; None is left out."""
    return [
        {"key": key, "value": _value(value)} for key, value in values.items() if value is not None
    ]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
    return {"stringValue": value}
