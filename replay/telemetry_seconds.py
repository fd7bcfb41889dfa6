"""Telemetry second by second, for exports that plot it.

Frames are folded a stretch at a time, so that an hour of a thousand viewers is never held at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from replay.telemetry import Entity, Point, Telemetry

_S = 1_000_000_000
_POINTS_MAX = 100_000
"""Seconds and entities that are held at a time."""
_STRETCH_S_MAX = 600

METRICS = {
    "transport": (
        "sent_bps", "received_bps", "packets_sent", "packets_received", "packets_dropped",
        "ice_state", "estimated_bps",
    ),
    "producer": (
        "bitrate_bps", "packets", "packets_lost", "jitter_ms", "nacks", "plis", "key_frames",
        "retransmitted_packets", "packets_discarded", "score", "live",
    ),
    "consumer": (
        "bitrate_bps", "packets", "packets_lost", "jitter_ms", "round_trip_time_ms", "nacks",
        "plis", "key_frames", "retransmitted_packets", "score", "spatial_layer", "temporal_layer",
        "paused", "frozen",
    ),
}  # fmt: skip
"""What is measured of each kind, in the order of the native core's `telemetry_metrics`."""


_IN_ALL = ("bitrate_bps", "sent_bps")


class Second(Struct, frozen=True):
    """What was measured in a second of a room."""

    at_ns: int
    """When it ended: nanoseconds since the Unix epoch."""
    samples: dict[Entity, dict[str, Point]]
    """Points by metric. One holds two samples if two frames fell into the same second."""


def seconds(telemetry: Telemetry, room: str, since_ns: int, until_ns: int) -> Iterator[Second]:
    """The seconds of a stretch of time, in order; those without a frame are left out.

    Raises `StoreError` and `ReplayError` as `Telemetry` does.
    """
    span = telemetry.span(room, since_ns, until_ns)
    if span is None:
        return
    every = telemetry.fold(room, span[0], span[1] + 1, points=1, metrics=_IN_ALL)
    entities = len(every.entities())
    stretch_s = min(max(_POINTS_MAX // max(entities, 1), 10), _STRETCH_S_MAX)
    at_ns, end_ns = span[0], span[1] + 1
    while at_ns < end_ns:
        folded = telemetry.fold(room, at_ns, at_ns + stretch_s * _S, points=stretch_s)
        found: dict[int, dict[Entity, dict[str, Point]]] = {}
        ends: dict[int, int] = {}
        for entity in folded.entities():
            for metric in METRICS[entity.kind]:
                for point in folded.series(entity, metric):
                    bucket = (point.at_ns - at_ns) // _S
                    found.setdefault(bucket, {}).setdefault(entity, {})[metric] = point
                    ends[bucket] = max(ends.get(bucket, 0), point.at_ns)
        for bucket in sorted(found):
            if ends[bucket] < end_ns:
                yield Second(ends[bucket], found[bucket])
        at_ns += stretch_s * _S
