"""The report of a run, made of its record. Pure.

Times are milliseconds, shares are 0 to 1. `steady` is the time from when all
had joined to the end; `whole` reaches back to the first publisher. A report is
also what `reprise load merge` reads, so it bears its histograms.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from load.options import LoadOptions
from load.snapshot import Latencies, ReceiveCounts
from load.tester import Record, Sample
from load.viewers import Viewers, viewers_between

VERSION = 2


class Distribution(Struct, frozen=True, kw_only=True):
    """Values in milliseconds; all None without one."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p99: float | None = None
    max: float | None = None


class Joins(Struct, frozen=True, kw_only=True):
    """How viewers came."""

    asked: int
    """Who joined or failed to; who was about to join when the run ended is neither."""
    joined: int
    failed: int
    left: int
    """By churn."""
    lost: int
    """Seats that ended without being left, publishers' as well."""
    at_end: int
    seconds: float
    """From the first join to the last one's end."""
    join_ms: Distribution
    first_keyframe_ms: Distribution
    """From the begin of a join to the first whole keyframe."""
    failures: dict[str, int]
    losses: dict[str, int]


class Delivery(Struct, frozen=True, kw_only=True):
    """What viewers received in a time."""

    began_s: float
    """When that time began, from the begin of the run."""
    seconds: float
    packets: int
    expected: int
    """Between the first and the last number of each stream."""
    lost: int
    loss: float
    """Lost of expected."""
    recovered: int
    """By retransmission; they count as packets, not as lost."""
    nacked: int
    plis: int
    past: int
    """Packets of the past, which newcomers and those who climb a layer are given, stamped too long
    ago to tell a latency."""
    frames: int
    """Of video, that could be decoded."""
    freezes: int
    freeze_s: float
    frozen_at_end: int
    """Viewers' videos that stood still when the time ended, beyond those freezes."""
    bitrate_bps: float
    """Of payload, of all viewers together."""
    viewer_s: float
    """How long viewers had their seats, all together."""
    bitrate_per_viewer_bps: float
    """Of payload, while one had its seat."""
    packets_per_s: float
    latency_ms: Distribution
    """One way, from the publisher's stamp to the viewer's kernel; video and audio."""
    video_latency_ms: Distribution
    audio_latency_ms: Distribution


class Sent(Struct, frozen=True, kw_only=True):
    """What publishers sent in the whole run."""

    packets: int
    frames: int
    keyframes: int
    retransmitted: int
    keyframe_requests: int
    frames_skipped: int
    """Frames that the tool was too late for: its own fault."""


class Tool(Struct, frozen=True, kw_only=True):
    """How the tester itself fared in the steady time: beyond its bounds, figures are its own."""

    cpu: float
    """Of one core, 1 is all of it; all threads together."""
    media_cpu: float
    """Of one core: the thread that carries packets."""
    media_cpu_wait: float
    """Share of the time that this thread waited for a core that others used."""
    media_turn_p99_ms: float
    media_turn_max_ms: float
    """A packet waited so long for the tool at most; latencies do not include it."""
    timer_lag_p99_ms: float
    signaling_lag_max_ms: float
    queue_drops: int
    """Datagrams that the kernel dropped before the tool took them: they are in `lost`."""
    send_errors: int
    undecryptable: int
    datagrams_per_receive: float
    foreign_stamps: int
    """Packets that another process stamped: their latency depends on two clocks."""
    warnings: tuple[str, ...]


class Server(Struct, frozen=True, kw_only=True):
    """Of the processes that `--watch-pid` names, and all that they started, in the steady time."""

    cpu: float
    """Of one core."""
    cpu_us_per_packet: float | None
    """CPU time for each packet that viewers received."""
    memory_mb: float
    memory_kb_per_viewer: float | None
    """What it grew since before the first viewer, by viewers at the end."""
    processes: int


class Second(Struct, frozen=True, kw_only=True):
    """One sample, about a second after the one before."""

    at_s: float
    joined: int
    joining: int
    packets_per_s: float
    bitrate_bps: float
    loss: float
    freezes: int
    frozen: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_max_ms: float | None
    tool_cpu: float
    media_turn_max_ms: float
    server_cpu: float | None
    server_memory_mb: float | None


class Report(Struct, frozen=True, kw_only=True):
    """All of it."""

    version: int
    started_at: str
    server: str
    stopped: bool
    """It was ended early."""
    options: dict[str, Any]
    joins: Joins
    steady: Delivery
    whole: Delivery
    sent: Sent
    tool: Tool
    server_usage: Server | None
    timeline: tuple[Second, ...]
    steady_latency: Latencies
    """Histograms of the steady time: upper bounds of buckets in ns, and how many each holds."""
    whole_latency: Latencies
    join_ms: tuple[float, ...]
    first_keyframe_ms: tuple[float, ...]
    viewers: Viewers = Viewers()
    """How evenly they were served in the steady time."""
    parts: int = 1
    """Reports that were merged."""


def report_of(options: LoadOptions, record: Record) -> Report:
    """Make the report of a run, also of one that did not come far."""
    samples = record.samples
    last = samples[-1] if samples else None
    first = record.steady_from
    steady_latency = _difference(record.latencies, record.latencies_before)
    join_ms = tuple(value / 1e6 for value in record.join_ns)
    keyframe_ms = tuple(value / 1e6 for value in record.keyframe_ns)
    return Report(
        version=VERSION,
        started_at=dt.datetime.fromtimestamp(record.started_unix_s, dt.UTC).isoformat(
            timespec="seconds"
        ),
        server=record.server,
        stopped=record.stopped or record.abandoned is not None,
        options=_told(options),
        joins=Joins(
            asked=record.viewers_joined + record.failures.total(),
            joined=record.viewers_joined,
            failed=record.failures.total(),
            left=record.viewers_left,
            lost=record.losses.total(),
            at_end=record.viewers_now,
            seconds=record.joined_at_s or 0.0,
            join_ms=distribution(join_ms),
            first_keyframe_ms=distribution(keyframe_ms),
            failures=dict(record.failures),
            losses=dict(record.losses),
        ),
        steady=_delivery(first, last, steady_latency),
        whole=_delivery(None, last, record.latencies),
        sent=_sent(last),
        tool=_tool(first, last, samples),
        server_usage=_server(samples, first, last),
        timeline=_timeline(samples),
        steady_latency=steady_latency,
        whole_latency=record.latencies,
        join_ms=join_ms,
        first_keyframe_ms=keyframe_ms,
        viewers=viewers_between(
            record.rows_before,
            record.rows,
            0.0 if first is None or last is None else last.at_s - first.at_s,
        ),
    )


def distribution(values_ms: Sequence[float]) -> Distribution:
    """Sum up values."""
    if not values_ms:
        return Distribution()
    ordered = sorted(values_ms)
    return Distribution(
        count=len(ordered),
        mean=sum(ordered) / len(ordered),
        p50=ordered[(len(ordered) - 1) // 2],
        p99=ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        max=ordered[-1],
    )


def histogram_distribution(*histograms: Iterable[tuple[int, int]]) -> Distribution:
    """Sum up histograms of nanoseconds; every figure is the upper bound of its bucket."""
    buckets: dict[int, int] = {}
    for histogram in histograms:
        for bound, count in histogram:
            buckets[bound] = buckets.get(bound, 0) + count
    total = sum(buckets.values())
    if not total:
        return Distribution()
    ordered = sorted(buckets.items())
    return Distribution(
        count=total,
        mean=sum(bound * count for bound, count in ordered) / total / 1e6,
        p50=_quantile_ns(ordered, total, 0.5) / 1e6,
        p99=_quantile_ns(ordered, total, 0.99) / 1e6,
        max=ordered[-1][0] / 1e6,
    )


def _quantile_ns(ordered: list[tuple[int, int]], total: int, share: float) -> int:
    below = 0
    for bound, count in ordered:
        below += count
        if below >= share * total:
            return bound
    return ordered[-1][0]


def _difference(late: Latencies, early: Latencies) -> Latencies:
    def less(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        before = dict(theirs)
        return [
            (bound, count - before.get(bound, 0))
            for bound, count in ours
            if count > before.get(bound, 0)
        ]

    return Latencies(video=less(late.video, early.video), audio=less(late.audio, early.audio))


def _told(options: LoadOptions) -> dict[str, Any]:
    """Options without what is secret."""
    tree: dict[str, Any] = msgspec.to_builtins(options)
    return {name: value for name, value in tree.items() if name not in ("token", "secret")}


def _both(sample: Sample | None) -> dict[str, int]:
    """Counts of received video and audio, added up."""
    if sample is None:
        return dict.fromkeys(ReceiveCounts.__struct_fields__, 0)
    totals = sample.snapshot.totals
    return {
        name: getattr(totals.video, name) + getattr(totals.audio, name)
        for name in ReceiveCounts.__struct_fields__
    }


def _delivery(first: Sample | None, last: Sample | None, latency: Latencies) -> Delivery:
    after, before = _both(last), _both(first)
    delta = {name: after[name] - before[name] for name in after}
    seconds = 0.0 if last is None else last.at_s - (0.0 if first is None else first.at_s)
    lost = max(0, delta["lost"])
    bitrate_bps = 8 * delta["payload_bytes"] / seconds if seconds else 0.0
    viewer_s = 0.0 if last is None else last.viewer_s - (0.0 if first is None else first.viewer_s)
    return Delivery(
        began_s=0.0 if first is None else first.at_s,
        seconds=seconds,
        packets=delta["packets"],
        expected=delta["expected"],
        lost=lost,
        loss=lost / max(1, delta["expected"]),
        recovered=delta["recovered"],
        nacked=delta["nacked"],
        plis=delta["plis"],
        past=delta["past"],
        frames=_video_frames(last) - _video_frames(first),
        freezes=delta["freezes"],
        freeze_s=delta["freeze_ns"] / 1e9,
        frozen_at_end=0 if last is None else last.snapshot.frozen,
        bitrate_bps=bitrate_bps,
        viewer_s=viewer_s,
        bitrate_per_viewer_bps=8 * delta["payload_bytes"] / viewer_s if viewer_s else 0.0,
        packets_per_s=delta["packets"] / seconds if seconds else 0.0,
        latency_ms=histogram_distribution(latency.video, latency.audio),
        video_latency_ms=histogram_distribution(latency.video),
        audio_latency_ms=histogram_distribution(latency.audio),
    )


def _video_frames(sample: Sample | None) -> int:
    return 0 if sample is None else sample.snapshot.totals.video.frames


def _sent(last: Sample | None) -> Sent:
    if last is None:
        return Sent(
            packets=0,
            frames=0,
            keyframes=0,
            retransmitted=0,
            keyframe_requests=0,
            frames_skipped=0,
        )
    sent = last.snapshot.totals.sent
    return Sent(
        packets=sent.packets,
        frames=sent.frames,
        keyframes=sent.keyframes,
        retransmitted=sent.retransmitted,
        keyframe_requests=sent.keyframe_requests,
        frames_skipped=sent.frames_skipped,
    )


def _tool(first: Sample | None, last: Sample | None, samples: Sequence[Sample]) -> Tool:
    steady = [one for one in samples if first is not None and one.at_s > first.at_s]
    seconds = last.at_s - first.at_s if first is not None and last is not None else 0.0
    cpu = media_cpu = media_cpu_wait = 0.0
    if first is not None and last is not None and seconds:
        cpu = (last.tool_cpu_s - first.tool_cpu_s) / seconds
        early, late = first.snapshot.health, last.snapshot.health
        media_cpu = (late.cpu_ns - early.cpu_ns) / 1e9 / seconds
        media_cpu_wait = (late.cpu_wait_ns - early.cpu_wait_ns) / 1e9 / seconds
    health = None if last is None else last.snapshot.health
    clients = None if last is None else last.snapshot.totals.clients
    told = {
        "cpu": cpu,
        "media_cpu": media_cpu,
        "media_cpu_wait": media_cpu_wait,
        "media_turn_p99_ms": _max(one.snapshot.health.turns.p99_ns for one in steady),
        "media_turn_max_ms": _max(one.snapshot.health.turns.max_ns for one in steady),
        "timer_lag_p99_ms": _max(one.snapshot.health.timer_lag.p99_ns for one in steady),
        "signaling_lag_max_ms": _max(one.signaling_lag_ns for one in steady),
    }
    queue_drops = 0 if health is None else health.queue_drops
    frames_skipped = 0 if last is None else last.snapshot.totals.sent.frames_skipped
    warnings = []
    if queue_drops:
        warnings.append(
            f"the tool was too slow for {queue_drops} datagrams: the kernel dropped them, and"
            " they count as lost"
        )
    if frames_skipped:
        warnings.append(f"the tool was too late to send {frames_skipped} frames")
    foreign_stamps = 0 if last is None else last.snapshot.foreign_stamps
    if foreign_stamps:
        warnings.append(
            "another process stamped the packets: if it runs on another machine, latency is only"
            " as true as the two clocks agree"
        )
    if media_cpu_wait > 0.05 or told["media_turn_max_ms"] > 50:
        warnings.append(
            f"the tool waited for a core {media_cpu_wait:.0%} of the time, and was away for"
            f" {told['media_turn_max_ms']:.0f} ms once: latencies and freezes may be its own"
        )
    if media_cpu > 0.85:
        warnings.append(
            f"the tool's media thread used {media_cpu:.0%} of a core: the load may be its limit,"
            " not the server's"
        )
    return Tool(
        **told,
        queue_drops=queue_drops,
        send_errors=0 if health is None else health.send_errors,
        undecryptable=0 if clients is None else clients.undecryptable,
        datagrams_per_receive=0.0 if health is None else health.datagrams / max(1, health.receives),
        foreign_stamps=foreign_stamps,
        warnings=tuple(warnings),
    )


def _max(values_ns: Iterable[int]) -> float:
    return max(values_ns, default=0) / 1e6


def _server(samples: Sequence[Sample], first: Sample | None, last: Sample | None) -> Server | None:
    if first is None or last is None or first.server is None or last.server is None:
        return None
    seconds = last.at_s - first.at_s
    cpu_s = last.server.cpu_s - first.server.cpu_s
    packets = _both(last)["packets"] - _both(first)["packets"]
    before = next((one.server for one in samples if one.server is not None), last.server)
    grown = last.server.memory_bytes - before.memory_bytes
    return Server(
        cpu=cpu_s / seconds if seconds else 0.0,
        cpu_us_per_packet=1e6 * cpu_s / packets if packets else None,
        memory_mb=last.server.memory_bytes / 1e6,
        memory_kb_per_viewer=grown / 1e3 / last.joined if last.joined else None,
        processes=last.server.processes,
    )


def _timeline(samples: Sequence[Sample]) -> tuple[Second, ...]:
    seconds = []
    for early, late in zip([None, *samples], samples, strict=False):
        before, after = _both(early), _both(late)
        began_s = 0.0 if early is None else early.at_s
        span = max(1e-9, late.at_s - began_s)
        if early is not None and span < 0.05:
            continue
        expected = after["expected"] - before["expected"]
        latency = [
            one for one in (late.snapshot.video_latency, late.snapshot.audio_latency) if one.count
        ]
        server_cpu = None
        if late.server is not None and early is not None and early.server is not None:
            server_cpu = (late.server.cpu_s - early.server.cpu_s) / span
        tool_cpu_s = late.tool_cpu_s - (late.tool_cpu_s if early is None else early.tool_cpu_s)
        seconds.append(
            Second(
                at_s=late.at_s,
                joined=late.joined,
                joining=late.joining,
                packets_per_s=(after["packets"] - before["packets"]) / span,
                bitrate_bps=8 * (after["payload_bytes"] - before["payload_bytes"]) / span,
                loss=max(0, after["lost"] - before["lost"]) / max(1, expected),
                freezes=after["freezes"] - before["freezes"],
                frozen=late.snapshot.frozen,
                latency_p50_ms=_largest(one.p50_ns for one in latency),
                latency_p99_ms=_largest(one.p99_ns for one in latency),
                latency_max_ms=_largest(one.max_ns for one in latency),
                tool_cpu=tool_cpu_s / span,
                media_turn_max_ms=late.snapshot.health.turns.max_ns / 1e6,
                server_cpu=server_cpu,
                server_memory_mb=None if late.server is None else late.server.memory_bytes / 1e6,
            )
        )
    return tuple(seconds)


def _largest(values_ns: Iterable[int]) -> float | None:
    largest = max(values_ns, default=None)
    return None if largest is None else largest / 1e6
