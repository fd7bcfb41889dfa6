"""What telemetry knows of a connection, as W3C webrtc-stats names and counts it.

Telemetry has the counts of each second; `getStats` has totals since the beginning, from which the
importers make rates again. Times are seconds there. Bytes are made from bitrates, which telemetry
keeps to a kilobit a second. `keyFramesReceived`, `keyFramesSent`, `packetsDropped`, `frozen` and
`score` are ours: the server neither decodes nor encodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.telemetry import Entity, Point

_TOTALS: dict[str, dict[str, str]] = {
    "transport": {
        "packets_sent": "packetsSent",
        "packets_received": "packetsReceived",
        "packets_dropped": "packetsDropped",
    },
    "producer": {
        "packets": "packetsReceived",
        "packets_lost": "packetsLost",
        "nacks": "nackCount",
        "plis": "pliCount",
        "key_frames": "keyFramesReceived",
        "retransmitted_packets": "retransmittedPacketsReceived",
        "packets_discarded": "packetsDiscarded",
    },
    "consumer": {
        "packets": "packetsSent",
        "nacks": "nackCount",
        "plis": "pliCount",
        "key_frames": "keyFramesSent",
        "retransmitted_packets": "retransmittedPacketsSent",
    },
}
_BYTES: dict[str, dict[str, str]] = {
    "transport": {"sent_bps": "bytesSent", "received_bps": "bytesReceived"},
    "producer": {"bitrate_bps": "bytesReceived"},
    "consumer": {"bitrate_bps": "bytesSent"},
}
_LAST: dict[str, dict[str, str]] = {
    "transport": {},
    "producer": {"score": "score"},
    "consumer": {"score": "score", "spatial_layer": "spatialLayer", "frozen": "frozen"},
}
_MS_PER_S = 1000.0


class Counters:
    """Totals of the entities of one dump."""

    def __init__(self) -> None:
        self._totals: dict[tuple[Entity, str], float] = {}

    def report(self, entity: Entity, points: Mapping[str, Point]) -> dict[str, Any]:
        """Take a second of an entity, and give what its report says now."""
        said: dict[str, Any] = {}
        for metric, name in _TOTALS[entity.kind].items():
            if metric in points:
                said[name] = round(self._add(entity, name, points[metric].sum))
        for metric, name in _BYTES[entity.kind].items():
            if metric in points:
                said[name] = round(self._add(entity, name, points[metric].sum / 8))
        for metric, name in _LAST[entity.kind].items():
            if metric in points:
                said[name] = points[metric].last
        if entity.kind == "producer" and "jitter_ms" in points:
            said["jitter"] = points["jitter_ms"].last / _MS_PER_S
        return said

    def remote(self, entity: Entity, points: Mapping[str, Point]) -> dict[str, Any]:
        """Take what a viewer reported in a second: `remote-inbound-rtp`; empty if it did not."""
        known: dict[str, Any] = {}
        if "jitter_ms" in points:
            known["jitter"] = points["jitter_ms"].last / _MS_PER_S
        if "round_trip_time_ms" in points:
            known["roundTripTime"] = points["round_trip_time_ms"].last / _MS_PER_S
        if "packets_lost" in points:
            known["packetsLost"] = round(
                self._add(entity, "packetsLost", points["packets_lost"].sum)
            )
        return known

    def _add(self, entity: Entity, name: str, amount: float) -> float:
        total = self._totals.get((entity, name), 0.0) + amount
        self._totals[entity, name] = total
        return total
