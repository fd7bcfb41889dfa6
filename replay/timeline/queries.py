"""Questions to an index: densities over time, stretches of events, series, lanes.

All answers are bounded by what is asked for; none looks at the log.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from replay.timeline.categories import CATEGORIES
from replay.timeline.index import TimelineIndex
from replay.timeline.lanes import Lane, Rows

ALL = "*"
"""Stands for all lanes together."""
SERIES_POINTS_MAX = 2000


def density(
    index: TimelineIndex, keys: Iterable[str], from_ns: int, to_ns: int, buckets: int
) -> dict[str, dict[str, list[int]]]:
    """Count what happened in each lane from a time up to another, in equal `buckets`.

    Lane by lane and category by category, as `[bucket, count, bucket, count, …]` where there is
    anything. A key with `/*` behind it is a lane with all below it; `*` is everything.
    """
    edges = _edges(index, from_ns, to_ns, buckets)
    found = {}
    for key in keys:
        rows = _rows_of(index, key)
        if rows is not None:
            found[key] = {
                CATEGORIES[category]: counts
                for category, each in sorted(rows.items())
                if (counts := _counts(index, each, edges, from_ns, to_ns, buckets))
            }
    return found


def _rows_of(index: TimelineIndex, key: str) -> Rows | None:
    if key == ALL:
        return index.all
    lane = index.lane(key.removesuffix("/*"))
    if lane is None:
        return None
    return lane.inside if key.endswith("/*") else lane.rows


def _edges(index: TimelineIndex, from_ns: int, to_ns: int, buckets: int) -> list[int]:
    """The first position of each bucket, and the one behind the last."""
    span = to_ns - from_ns
    return [
        bisect_left(index.times, from_ns - (-span * number // buckets)) + 1
        for number in range(buckets + 1)
    ]


def _counts(  # noqa: PLR0917
    index: TimelineIndex,
    rows: array[int],
    edges: list[int],
    from_ns: int,
    to_ns: int,
    buckets: int,
) -> list[int]:
    begin, end = bisect_left(rows, edges[0]), bisect_left(rows, edges[-1])
    counts: list[int] = []
    if end - begin <= 2 * buckets:
        times, span = index.times, to_ns - from_ns
        for at in range(begin, end):
            bucket = (times[rows[at] - 1] - from_ns) * buckets // span
            if counts and counts[-2] == bucket:
                counts[-1] += 1
            else:
                counts += (bucket, 1)
        return counts
    for bucket in range(buckets):
        after = bisect_left(rows, edges[bucket + 1], begin, end)
        if after > begin:
            counts += (bucket, after - begin)
        begin = after
    return counts


def stretch(
    index: TimelineIndex, keys: Iterable[str], from_ns: int, to_ns: int, limit: int
) -> list[tuple[int, int, str]] | None:
    """Position, category and lane of all that happened in the lanes; None if more than `limit`."""
    first = bisect_left(index.times, from_ns)
    last = bisect_right(index.times, to_ns)
    found: list[tuple[int, int, str]] = []
    for key in keys:
        rows = _rows_of(index, key)
        for category, each in (rows or {}).items():
            begin, end = bisect_left(each, first + 1), bisect_right(each, last)
            if len(found) + end - begin > limit:
                return None
            found.extend((position, category, key) for position in each[begin:end])
    found.sort()
    return found


def lane_map(index: TimelineIndex, number: int, *, name: str | None = None) -> dict[str, Any]:
    """A lane for JSON, with the positions and times of its life."""
    lane = index.lanes[number]
    end = lane.end or index.position
    told: dict[str, Any] = {
        "key": lane.key,
        "kind": lane.kind,
        "begin": lane.begin,
        "begin_ns": index.time(lane.begin),
        "end": lane.end or None,
        "end_ns": index.time(end),
        "about": lane.about,
        "reason": lane.reason,
        "children": len(lane.children),
        "count": sum(len(rows) for rows in lane.rows.values()),
        "inside": sum(len(rows) for rows in lane.inside.values()),
        "spans": [
            [word, index.time(begin), index.time(last or end)]
            for word, begin, last in lane.spans[-200:]
        ],
    }
    if name is not None:
        told["name"] = name
    if lane.source:
        told["source"] = lane.source
    return told


def below(index: TimelineIndex, number: int) -> list[tuple[int, int]]:
    """All lanes below one, in the order of a tree: number and depth from 1."""
    found: list[tuple[int, int]] = []
    rest = [(child, 1) for child in reversed(index.lanes[number].children)]
    while rest:
        child, depth = rest.pop()
        found.append((child, depth))
        rest.extend((each, depth + 1) for each in reversed(index.lanes[child].children))
    return found


def runs(index: TimelineIndex) -> list[dict[str, Any]]:
    """The last 500 sessions of a room for JSON, the oldest first."""
    told = []
    for number, session in enumerate(index.sessions[-500:], max(0, len(index.sessions) - 500)):
        following = index.sessions[number + 1 : number + 2]
        last = following[0].begin - 1 if following else index.position
        told.append(
            {
                "number": number,
                "begin": session.begin,
                "begin_ns": index.time(session.begin),
                "end": last,
                "end_ns": index.time(last),
                "closed": bool(session.end),
                "peers": session.peers,
                "peers_max": session.peers_max,
            }
        )
    return told


def with_transports(index: TimelineIndex, keys: Iterable[str]) -> list[Lane]:
    """These lanes, and the transports of the consumers among them: the ways to their viewers."""
    found: dict[str, Lane] = {}
    for key in keys:
        lane = index.lane(key)
        if lane is None:
            continue
        found[key] = lane
        if lane.kind == "consumer" and lane.parent >= 0:
            way = index.lanes[lane.parent]
            found.setdefault(way.key, way)
    return list(found.values())


METRICS = ("score", "layer", "keyframes_asked", "keyframe_age_ms")
"""What is charted of the log."""


def series(
    index: TimelineIndex, lane: Lane, metric: str, from_ns: int, to_ns: int
) -> list[list[int]]:
    """A metric of `METRICS` of a lane as `[time, value]`, with what held at the beginning.

    At most about `SERIES_POINTS_MAX` points: where there are more, the lowest of neighbours stay;
    of keyframes, the highest.
    """
    scale, choose = 1, min
    match metric:
        case "score":
            at, values = lane.score_at, lane.score
        case "layer":
            at, values = lane.layer_at, lane.layer
        case "keyframes_asked" if lane.kind == "producer":
            at, values, choose = lane.keyframe_at, lane.keyframe, max
        case "keyframe_age_ms" if lane.kind == "consumer":
            at, values, choose, scale = lane.keyframe_at, lane.keyframe, max, 100
        case _:
            return []
    first = bisect_left(index.times, from_ns) + 1
    last = bisect_right(index.times, to_ns)
    begin, end = max(bisect_left(at, first) - 1, 0), bisect_right(at, last)
    step = -(-(end - begin) // SERIES_POINTS_MAX) or 1
    points = []
    for n in range(begin, end, step):
        chosen = choose(range(n, min(n + step, end)), key=values.__getitem__)
        points.append([index.time(at[chosen]), values[chosen] * scale])
    return points
