"""Telemetry as JSON Lines: one line a second and stream.

A line bears `at_ns`, `kind`, `id`, `encoding` and the metrics of docs/telemetry.md by name; what is
not known is left out. Counts are of the second, the rest is its last sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from replay.export.source import Source, json_text

COUNTS = frozenset(
    (
        "packets", "packets_sent", "packets_received", "packets_dropped", "packets_lost", "nacks",
        "plis", "key_frames", "retransmitted_packets", "packets_discarded",
    )
)  # fmt: skip
"""Metrics that are counted; two frames in one second add up."""


def export(source: Source) -> Iterator[str]:
    """Write what was measured while the log of the source was written."""
    if source.beside is None:
        return
    first = last = 0
    closed = False
    for envelope in source.envelopes():
        first, last = first or envelope.at_ns, envelope.at_ns
        closed = envelope.type == "RoomClosed" and envelope.kind == "event"
    if not last:
        return
    for second in source.beside.seconds(first, source.beside.until_ns(last, closed=closed)):
        for entity, points in second.samples.items():
            about = {
                "at_ns": second.at_ns,
                "kind": entity.kind,
                "id": entity.id,
                "encoding": entity.encoding,
            }
            values = {
                metric: round(point.sum if metric in COUNTS else point.last, 3)
                for metric, point in points.items()
            }
            yield json_text(about | values) + "\n"
