"""A report, and a run's progress, for people. Pure."""

from __future__ import annotations

from load.options import LoadOptions
from load.report import Delivery, Distribution, Report
from load.tester import Record, Sample
from load.thresholds import Verdict
from load.viewers import Viewers

RATE_OVER_MIN_S = 0.5


def progress_line(record: Record, options: LoadOptions) -> str:
    """One line that says how a run stands."""
    viewers = options.viewers_total
    if not record.samples:
        return f"{record.publishers_joined} publishers, {record.viewers_now}/{viewers} viewers"
    sample = record.samples[-1]
    snapshot = sample.snapshot
    lost, expected, freezes = _counts(sample)
    phase = "joining"
    if record.steady_from is not None:
        measured_s = sample.at_s - record.steady_from.at_s
        before = _counts(record.steady_from)
        lost, expected, freezes = (
            now - then for now, then in zip((lost, expected, freezes), before, strict=True)
        )
        phase = f"measured {measured_s:.0f} of {options.duration_s:.0f} s"
    parts = [
        phase,
        f"{sample.joined}/{viewers} viewers",
        f"{sample.joining} joining" if sample.joining else "",
        f"{record.failures.total()} failed" if record.failures else "",
        _rate(record.samples),
        f"loss {max(0, lost) / max(1, expected):.3%}",
        f"latency p50 {_ms(snapshot.video_latency.p50_ns / 1e6)}"
        f" p99 {_ms(snapshot.video_latency.p99_ns / 1e6)}"
        if snapshot.video_latency.count
        else "",
        f"{freezes} freezes",
        f"{snapshot.frozen} frozen" if snapshot.frozen else "",
        f"{snapshot.behind} catching up" if snapshot.behind else "",
    ]
    return "  ".join(part for part in parts if part)


def _counts(sample: Sample) -> tuple[int, int, int]:
    """Packets lost and expected, and freezes, so far."""
    video, audio = sample.snapshot.totals.video, sample.snapshot.totals.audio
    return video.lost + audio.lost, video.expected + audio.expected, video.freezes


def _rate(samples: list[Sample]) -> str:
    """Payload that all viewers received of late: between samples that are not too near."""
    last = samples[-1]
    before = (one for one in reversed(samples) if last.at_s - one.at_s > RATE_OVER_MIN_S)
    first = next(before, None)
    if first is None:
        return ""
    early, late = first.snapshot.totals, last.snapshot.totals
    received = sum(
        after.payload_bytes - before.payload_bytes
        for before, after in ((early.video, late.video), (early.audio, late.audio))
    )
    return f"{8 * received / (last.at_s - first.at_s) / 1e6:.1f} Mbit/s"


def summary(report: Report, verdicts: tuple[Verdict, ...] = ()) -> str:
    """What a run brought, on a page."""
    joins, tool = report.joins, report.tool
    lines = [
        f"server        {report.server}" + ("  (stopped early)" if report.stopped else ""),
        (
            f"viewers       {joins.joined} of {joins.asked} joined in {joins.seconds:.1f} s, "
            f"{joins.failed} failed, {joins.lost} lost their seat, {joins.left} left by churn"
        ),
        f"join          {_distribution(joins.join_ms)}",
        f"keyframe      {_distribution(joins.first_keyframe_ms)}",
        *(f"  failed      {count} x {reason}" for reason, count in joins.failures.items()),
        *(f"  lost        {count} x {reason}" for reason, count in joins.losses.items()),
        "",
        *_delivery("steady time", report.steady),
        *_viewers(report.viewers),
        "",
        *_delivery("whole run", report.whole),
        "",
        (
            f"publishers    {report.sent.packets:,} packets, {report.sent.frames:,} frames, "
            f"{report.sent.keyframes} keyframes for {report.sent.keyframe_requests} requests, "
            f"{report.sent.retransmitted} packets sent again"
        ),
        (
            f"this tool     {tool.cpu:.0%} of a core, its media thread {tool.media_cpu:.0%}"
            f" ({tool.media_cpu_wait:.0%} of the time it waited for one); "
            f"a turn of its loop p99 {_ms(tool.media_turn_p99_ms)}"
            f" max {_ms(tool.media_turn_max_ms)}; "
            f"{tool.queue_drops} datagrams dropped for it, {tool.send_errors} not sent"
        ),
    ]
    usage = report.server_usage
    if usage is not None:
        per_packet = usage.cpu_us_per_packet
        lines.append(
            f"the server    {usage.cpu:.0%} of a core"
            + ("" if per_packet is None else f", {per_packet:.2f} µs a delivered packet")
            + f", {usage.memory_mb:.0f} MB in {usage.processes} processes"
            + (
                ""
                if usage.memory_kb_per_viewer is None
                else f", {usage.memory_kb_per_viewer:.0f} KB a viewer"
            )
        )
    lines += [f"WARNING       {warning}" for warning in tool.warnings]
    for verdict in verdicts:
        value = "not measured" if verdict.value is None else f"{verdict.value:g}"
        word = "FAILED" if verdict.failed else "ok"
        lines.append(f"{word:13} {verdict.threshold}  (it is {value})")
    return "\n".join(lines)


def _delivery(title: str, delivery: Delivery) -> list[str]:
    return [
        f"{title}, {delivery.seconds:.1f} s",
        (
            f"  received    {delivery.packets:,} packets, {delivery.packets_per_s:,.0f} a second, "
            f"{delivery.bitrate_bps / 1e6:,.1f} Mbit/s; "
            f"{delivery.bitrate_per_viewer_bps / 1e6:.2f} Mbit/s a viewer"
        ),
        (
            f"  lost        {delivery.lost:,} packets, {delivery.loss:.4%}; {delivery.recovered:,} "
            f"recovered by {delivery.nacked:,} NACKed numbers; {delivery.plis} PLIs"
        ),
        (
            f"  pictures    {delivery.frames:,} video frames, {delivery.freezes} freezes, "
            f"{delivery.freeze_s:.1f} s in all; {delivery.frozen_at_end} frozen at the end"
        ),
        f"  latency     {_distribution(delivery.latency_ms)}",
        *([f"  past        {delivery.past:,} packets out of caches"] if delivery.past else []),
    ]


def _viewers(viewers: Viewers) -> list[str]:
    if viewers.slowest_bps is None or viewers.median_bps is None or viewers.fastest_bps is None:
        return []
    slowest, median, fastest = (
        bps / 1e6 for bps in (viewers.slowest_bps, viewers.median_bps, viewers.fastest_bps)
    )
    return [
        (
            f"  each        {slowest:.2f} Mbit/s the slowest, {median:.2f} the median viewer,"
            f" {fastest:.2f} the fastest; {viewers.freezing} of {viewers.count} had a freeze"
        )
    ]


def _distribution(values: Distribution) -> str:
    if values.p50 is None or values.p99 is None or values.max is None:
        return "nothing measured"
    return f"p50 {_ms(values.p50)}  p99 {_ms(values.p99)}  max {_ms(values.max)}"


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if value < 100 else f"{value:,.0f} ms"
