"""Telemetry for tests: frames of any content, written as the format has it.

    with_telemetry(directory, session)

gives a session of `tests.replay.sessions` telemetry of the time in which it ran: each second of
each transport, producer and consumer that was there, with values that a test can reckon with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from protocol.notices import Telemetry as Frame
from replay.side_store import Retention
from replay.telemetry import Entity
from replay.telemetry_seconds import METRICS
from replay.telemetry_store import TelemetryStore
from tests.replay.sessions import S, Session

SCALES = {
    "sent_bps": 1000.0, "received_bps": 1000.0, "estimated_bps": 1000.0, "bitrate_bps": 1000.0,
    "jitter_ms": 0.1, "round_trip_time_ms": 0.1,
}  # fmt: skip
OPTIONAL = {
    "estimated_bps", "jitter_ms", "round_trip_time_ms", "score", "spatial_layer", "temporal_layer",
}  # fmt: skip

Row = Mapping[str, float]


def key_frame(rows: Mapping[Entity, Row], sequence: int = 0) -> bytes:
    """A frame that stands for itself; metrics that a row lacks are unknown or 0."""
    out = bytearray((1, 1, 0))
    out += _unsigned(sequence) + _unsigned(1_000_000)
    tables = {
        kind: [(entity, row) for entity, row in rows.items() if entity.kind == kind]
        for kind in METRICS
    }
    for table in tables.values():
        out += _unsigned(0) + _unsigned(len(table))
        for entity, _ in table:
            out += _unsigned(len(entity.id)) + entity.id.encode() + _unsigned(entity.encoding)
    for kind, table in tables.items():
        for metric in METRICS[kind]:
            out += _column([_coded(metric, row.get(metric)) for _, row in table])
    return bytes(out)


def _coded(metric: str, value: float | None) -> int:
    known = 0 if value is None else round(value / SCALES.get(metric, 1.0))
    return known + (metric in OPTIONAL and value is not None)


def _column(values: Sequence[int]) -> bytes:
    out, zeros = bytearray(), 0
    for value in [*values, None]:
        if value == 0:
            zeros += 1
            continue
        if zeros:
            out += b"\x00" + _unsigned(zeros - 1)
            zeros = 0
        if value is not None:
            out += _unsigned(value * 2 if value > 0 else -value * 2 - 1)
    return bytes(out)


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def store_frames(directory: Path, room: str, frames: Sequence[tuple[int, bytes]]) -> None:
    """Write frames (at_ns, data) into the telemetry of a data directory."""
    last_ns = max((at_ns for at_ns, _ in frames), default=0)
    keep = Retention(days_max=14, bytes_max=1 << 30)
    store = TelemetryStore(directory, keep, now_ns=lambda: last_ns)
    for at_ns, data in frames:
        store.put_frame(Frame(room=room, at_ns=at_ns, data=data))
    store.close()
    assert store.dropped == 0


PRODUCED = {
    "bitrate_bps": 1_000_000, "packets": 100, "packets_lost": 1, "jitter_ms": 2.5, "nacks": 1,
    "plis": 0, "key_frames": 1, "retransmitted_packets": 1, "score": 9, "live": 1,
}  # fmt: skip
CONSUMED = {
    "bitrate_bps": 900_000, "packets": 100, "packets_lost": 10, "jitter_ms": 4.0,
    "round_trip_time_ms": 30.0, "nacks": 2, "plis": 1, "key_frames": 1,
    "retransmitted_packets": 5, "score": 8, "spatial_layer": 0,
}  # fmt: skip
CARRIED = {
    "sent_bps": 2_000_000, "received_bps": 50_000, "packets_sent": 210, "packets_received": 12,
    "packets_dropped": 1, "ice_state": 1, "estimated_bps": 2_500_000,
}  # fmt: skip


def with_telemetry(
    directory: Path, session: Session, *, frozen: Mapping[str, Sequence[int]] | None = None
) -> Path:
    """Measure a session, from its first envelope to its last.

    `frozen` has, by consumer, the seconds after its first in which nothing was sent to it.
    """
    there: dict[Entity, int] = {}
    frames = []
    drafts = iter(session.drafts)
    draft = next(drafts)
    at_ns = draft.at_ns
    while at_ns <= session.drafts[-1].at_ns:
        at_ns += S
        while draft is not None and draft.at_ns < at_ns:
            kind, _, entity = draft.actor.partition("/")
            if draft.type in ("TransportOpened", "ProducerOpened", "ConsumerOpened"):
                there[Entity(kind, entity)] = 0
            elif draft.type in ("TransportClosed", "ProducerClosed", "ConsumerClosed"):
                there.pop(Entity(kind, entity), None)
            draft = next(drafts, None)
        rows: dict[Entity, Row] = {}
        for entity, second in there.items():
            values = {"transport": CARRIED, "producer": PRODUCED, "consumer": CONSUMED}[entity.kind]
            still = second in (frozen or {}).get(entity.id, ())
            nothing = {"bitrate_bps": 0, "packets": 0, "packets_lost": 0, "frozen": 1}
            rows[entity] = values | nothing if still else values
            there[entity] = second + 1
        if rows:
            frames.append((at_ns, key_frame(rows, len(frames))))
    store_frames(directory, session.room, frames)
    return directory
