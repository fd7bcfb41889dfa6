"""Merging reports of runs that went on at the same time on several machines. Pure.

Sums are added, histograms merged, and the tools' own health is that of the
worst. What one server process used is told by one machine at most: the one
that watched it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from load.report import (
    VERSION,
    Delivery,
    Joins,
    Report,
    Second,
    Sent,
    Tool,
    distribution,
    histogram_distribution,
)
from load.snapshot import Latencies
from load.viewers import merged

Histogram = list[tuple[int, int]]


def read(text: bytes | str) -> Report:
    """Read a report of `--json` or `--output`. Raises `ValueError` with what is wrong."""
    try:
        report = msgspec.json.decode(text, type=Report)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no report of reprise load: {error}") from None
    if report.version != VERSION:
        raise ValueError(f"a report of version {report.version}; this tool reads {VERSION}")
    return report


def merge(reports: Sequence[Report]) -> Report:
    """Make one report of several, of which there is at least one."""
    first = reports[0]
    join_ms = tuple(value for one in reports for value in one.join_ms)
    keyframe_ms = tuple(value for one in reports for value in one.first_keyframe_ms)
    steady = Latencies(
        video=_merged(one.steady_latency.video for one in reports),
        audio=_merged(one.steady_latency.audio for one in reports),
    )
    whole = Latencies(
        video=_merged(one.whole_latency.video for one in reports),
        audio=_merged(one.whole_latency.audio for one in reports),
    )
    return Report(
        version=VERSION,
        started_at=min(one.started_at for one in reports),
        server=first.server,
        stopped=any(one.stopped for one in reports),
        options=first.options,
        joins=_joins([one.joins for one in reports], join_ms, keyframe_ms),
        steady=_delivery([one.steady for one in reports], steady),
        whole=_delivery([one.whole for one in reports], whole),
        sent=Sent(**_sums([one.sent for one in reports])),
        tool=_tool([one.tool for one in reports]),
        server_usage=next(
            (one.server_usage for one in reports if one.server_usage is not None), None
        )
        if len(reports) == 1
        else None,
        timeline=_timeline(reports),
        steady_latency=steady,
        whole_latency=whole,
        join_ms=join_ms,
        first_keyframe_ms=keyframe_ms,
        viewers=merged([one.viewers for one in reports]),
        parts=sum(one.parts for one in reports),
    )


def _merged(histograms: Iterable[Histogram]) -> Histogram:
    buckets: Counter[int] = Counter()
    for histogram in histograms:
        for bound, count in histogram:
            buckets[bound] += count
    return sorted(buckets.items())


def _sums(parts: Sequence[msgspec.Struct]) -> dict[str, int]:
    return {name: sum(getattr(part, name) for part in parts) for name in parts[0].__struct_fields__}


def _joins(
    parts: Sequence[Joins], join_ms: tuple[float, ...], keyframe_ms: tuple[float, ...]
) -> Joins:
    failures: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    for part in parts:
        failures.update(part.failures)
        losses.update(part.losses)
    return Joins(
        asked=sum(part.asked for part in parts),
        joined=sum(part.joined for part in parts),
        failed=sum(part.failed for part in parts),
        left=sum(part.left for part in parts),
        lost=sum(part.lost for part in parts),
        at_end=sum(part.at_end for part in parts),
        seconds=max(part.seconds for part in parts),
        join_ms=distribution(join_ms),
        first_keyframe_ms=distribution(keyframe_ms),
        failures=dict(failures),
        losses=dict(losses),
    )


def _delivery(parts: Sequence[Delivery], latency: Latencies) -> Delivery:
    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    expected = sum(part.expected for part in parts)
    bitrate_bps = sum(part.bitrate_bps for part in parts)
    viewer_s = sum(part.viewer_s for part in parts)
    bits = sum(part.bitrate_per_viewer_bps * part.viewer_s for part in parts)
    return Delivery(
        began_s=max(part.began_s for part in parts),
        seconds=max(part.seconds for part in parts),
        packets=total("packets"),
        expected=expected,
        lost=total("lost"),
        loss=total("lost") / max(1, expected),
        recovered=total("recovered"),
        nacked=total("nacked"),
        plis=total("plis"),
        past=total("past"),
        frames=total("frames"),
        freezes=total("freezes"),
        freeze_s=sum(part.freeze_s for part in parts),
        frozen_at_end=total("frozen_at_end"),
        bitrate_bps=bitrate_bps,
        viewer_s=viewer_s,
        bitrate_per_viewer_bps=bits / viewer_s if viewer_s else 0.0,
        packets_per_s=sum(part.packets_per_s for part in parts),
        latency_ms=histogram_distribution(latency.video, latency.audio),
        video_latency_ms=histogram_distribution(latency.video),
        audio_latency_ms=histogram_distribution(latency.audio),
    )


def _tool(parts: Sequence[Tool]) -> Tool:
    def worst(name: str) -> float:
        return max(float(getattr(part, name)) for part in parts)

    return Tool(
        cpu=worst("cpu"),
        media_cpu=worst("media_cpu"),
        media_cpu_wait=worst("media_cpu_wait"),
        media_turn_p99_ms=worst("media_turn_p99_ms"),
        media_turn_max_ms=worst("media_turn_max_ms"),
        timer_lag_p99_ms=worst("timer_lag_p99_ms"),
        signaling_lag_max_ms=worst("signaling_lag_max_ms"),
        queue_drops=sum(part.queue_drops for part in parts),
        send_errors=sum(part.send_errors for part in parts),
        undecryptable=sum(part.undecryptable for part in parts),
        datagrams_per_receive=min(part.datagrams_per_receive for part in parts),
        foreign_stamps=sum(part.foreign_stamps for part in parts),
        warnings=tuple(
            f"part {index + 1}: {warning}" if len(parts) > 1 else warning
            for index, part in enumerate(parts)
            for warning in part.warnings
        ),
    )


def _timeline(reports: Sequence[Report]) -> tuple[Second, ...]:
    """Timelines of several machines share no clock: only a single one is kept."""
    return reports[0].timeline if len(reports) == 1 else ()
