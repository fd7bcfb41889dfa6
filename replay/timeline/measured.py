"""Charts of what was measured on the wire, beside those of what the log says."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from replay.errors import ReplayError
from replay.store.errors import StoreError
from replay.timeline.lanes import Lane

POINTS = 400
_METRICS: dict[str, str] = {
    "bitrate_bps": "mean",
    "packets_lost": "sum",
    "round_trip_time_ms": "mean",
    "estimated_bps": "mean",
}
"""What is charted, and which figure of a bucket is drawn."""
_S = 1_000_000_000


def measured(
    directory: Path, room: str, lanes: Sequence[Lane], from_ns: int, to_ns: int
) -> list[dict[str, Any]]:
    """Series of the streams of some lanes between two times; none without telemetry. Blocks."""
    ids = {lane.key.partition("/")[2]: lane for lane in lanes}
    try:
        telemetry = importlib.import_module("replay.telemetry")  # needs the native core
        folded = telemetry.Telemetry(directory).fold(
            room, from_ns, to_ns, points=POINTS, ids=set(ids), metrics=set(_METRICS)
        )
    except (ImportError, StoreError, ReplayError):
        return []
    bucket_ns = max((to_ns - from_ns) // POINTS, _S)
    told = []
    for entity in folded.entities():
        lane = ids.get(entity.id)
        if lane is None:
            continue
        for metric, figure in _METRICS.items():
            points = folded.series(entity, metric)
            if points:
                told.append(
                    {
                        "lane": lane.key,
                        "about": f"{lane.about} {entity.encoding}"
                        if entity.encoding
                        else lane.about,
                        "metric": metric,
                        "end_ns": points[-1].at_ns + bucket_ns,
                        "hold_ns": bucket_ns * 2,
                        "points": [
                            [point.at_ns, round(getattr(point, figure), 2)] for point in points
                        ],
                    }
                )
    return told
