"""How what the way to a viewer takes was divided among all that it is sent, over time.

Of one transport: its estimate, and each of its consumers with what it was sent, its spatial layer
and its priority. Bitrates are measured, so they are there as long as telemetry is; layers,
priorities and the estimates that were written down come from the log, and stay with it.
"""

from __future__ import annotations

import importlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from replay.errors import ReplayError
from replay.store.errors import StoreError
from replay.timeline.index import TimelineIndex
from replay.timeline.lanes import Lane
from replay.timeline.queries import below

POINTS = 400
"""Of each measured series."""
STEPS_MAX = 2_000
"""Changes of a layer, a priority or an estimate that are told: the latest."""
SHARES_MAX = 40
"""Consumers that are told one by one: audio first, then those that lasted longest."""
_S = 1_000_000_000

Steps = list[list[int]]
"""Time and value, which holds until the next one."""


class Share(Struct, frozen=True):
    """One consumer of a transport, as the log knows it."""

    lane: str
    about: str
    """`audio` or `video`."""
    owner: str
    """Lane of the peer that publishes what it shows; empty if it is not known."""
    begin_ns: int
    end_ns: int
    layers: Steps
    """Spatial layers; -1: nothing was sent."""
    priorities: Steps


class Way(Struct, frozen=True):
    """A transport to a viewer, and what goes over it between two times."""

    lane: str
    estimates: Steps
    """As the log has them: where they moved by a fourth, bits a second."""
    shares: list[Share]
    more: int
    """Consumers beyond `SHARES_MAX`."""


def way_of(index: TimelineIndex, keys: Iterable[str], from_ns: int, to_ns: int) -> Way | None:
    """The first transport to a viewer that some lanes are, belong to or have below them."""
    for key in keys:
        lane = _transport(index, key)
        if lane is not None:
            return _way(index, lane, from_ns, to_ns)
    return None


def _transport(index: TimelineIndex, key: str) -> Lane | None:
    lane = index.lane(key)
    if lane is None:
        return None
    candidates: list[Lane] = []
    if lane.kind == "consumer" and lane.parent >= 0:
        candidates = [index.lanes[lane.parent]]
    elif lane.kind == "transport":
        candidates = [lane]
    elif lane.kind == "peer":
        candidates = [index.lanes[child] for child in reversed(lane.children)]
    return next((one for one in candidates if _carries(index, one)), None)


def _carries(index: TimelineIndex, lane: Lane) -> bool:
    return lane.kind == "transport" and any(
        index.lanes[child].kind == "consumer" for child in lane.children
    )


def _way(index: TimelineIndex, transport: Lane, from_ns: int, to_ns: int) -> Way:
    lanes = [index.lanes[each] for each, _ in below(index, index.number(transport.key))]
    first, last = bisect_left(index.times, from_ns) + 1, bisect_right(index.times, to_ns)
    seen = [
        lane
        for lane in lanes
        if lane.kind == "consumer"
        and lane.begin <= last
        and (lane.end or index.position + 1) >= first
    ]
    seen.sort(key=lambda lane: (lane.about != "audio", _lasted(index, lane), lane.begin))
    shares = [_share(index, lane, first, last) for lane in seen[:SHARES_MAX]]
    estimates = _steps(index, transport.estimate_at, transport.estimate, first, last)
    return Way(
        transport.key,
        [[at_ns, kbps * 1000] for at_ns, kbps in estimates],
        shares,
        len(seen) - len(shares),
    )


def _lasted(index: TimelineIndex, lane: Lane) -> int:
    """The longest first."""
    return lane.begin - (lane.end or index.position)


def _share(index: TimelineIndex, lane: Lane, first: int, last: int) -> Share:
    source = index.lane(f"producer/{lane.source}")
    owner = index.owner(source).key if source is not None else ""
    given = _steps(index, lane.priority_at, lane.priority, first, last)
    begin_ns = index.time(lane.begin)
    if not given or given[0][0] > index.time(max(first, lane.begin)):
        given.insert(0, [begin_ns, 1])  # what every consumer begins with
    return Share(
        lane=lane.key,
        about=lane.about,
        owner=owner,
        begin_ns=begin_ns,
        end_ns=index.time(lane.end or index.position),
        layers=_steps(index, lane.layer_at, lane.layer, first, last),
        priorities=given,
    )


def _steps(
    index: TimelineIndex, at: array[int], values: Sequence[int], first: int, last: int
) -> Steps:
    """What changed from a position to another, with what held before it."""
    begin, end = max(bisect_left(at, first) - 1, 0), bisect_right(at, last)
    begin = max(begin, end - STEPS_MAX)
    return [[index.time(at[n]), values[n]] for n in range(begin, end)]


def divided(directory: Path, room: str, way: Way, from_ns: int, to_ns: int) -> dict[str, Any]:
    """A way with what was measured of it, for JSON. Blocks."""
    measured = _measured(directory, room, way, from_ns, to_ns)
    bucket_ns = max((to_ns - from_ns) // POINTS, _S)
    return {
        "lane": way.lane,
        "hold_ns": bucket_ns * 2,
        "estimated": measured.get((way.lane, "estimated_bps")) or way.estimates,
        "estimate_from": "telemetry" if (way.lane, "estimated_bps") in measured else "log",
        "more": way.more,
        "shares": [
            {
                "lane": share.lane,
                "about": share.about,
                "owner": share.owner,
                "begin_ns": share.begin_ns,
                "end_ns": share.end_ns,
                "layers": share.layers,
                "priorities": share.priorities,
                "points": measured.get((share.lane, "bitrate_bps"), []),
            }
            for share in way.shares
        ],
    }


def _measured(
    directory: Path, room: str, way: Way, from_ns: int, to_ns: int
) -> dict[tuple[str, str], list[list[float]]]:
    """Points by lane and metric; none without telemetry."""
    ids = {lane.partition("/")[2] for lane in (way.lane, *(share.lane for share in way.shares))}
    try:
        telemetry = importlib.import_module("replay.telemetry")  # needs the native core
        folded = telemetry.Telemetry(directory).fold(
            room,
            from_ns,
            to_ns,
            points=POINTS,
            ids=ids,
            metrics={"estimated_bps", "bitrate_bps"},
        )
    except (ImportError, StoreError, ReplayError):
        return {}
    found = {}
    for entity in folded.entities():
        for metric in ("estimated_bps", "bitrate_bps"):
            points = folded.series(entity, metric)
            if points:
                found[f"{entity.kind}/{entity.id}", metric] = [
                    [point.at_ns, round(point.mean)] for point in points
                ]
    return found
