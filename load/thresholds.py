"""Thresholds: conditions under which a run counts as failed, such as `loss>0.1%`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from msgspec import Struct

from load.report import Report

_FORM = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*([0-9]*\.?[0-9]+)\s*(%|us|ms|s|k|M)?\s*\Z")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_FACTORS = {"share": {"%": 0.01}, "ms": {"us": 0.001, "ms": 1.0, "s": 1000.0}}
_PLAIN = {"k": 1e3, "M": 1e6}

Reader = Callable[[Report], float | None]

METRICS: dict[str, tuple[str, Reader, str]] = {
    "loss": ("share", lambda r: r.steady.loss, "packets lost of those expected, steady time"),
    "loss_whole": ("share", lambda r: r.whole.loss, "the same of the whole run"),
    "joined": ("count", lambda r: r.joins.joined, "viewers that joined"),
    "failed": ("count", lambda r: r.joins.failed, "viewers that could not join"),
    "seats_lost": ("count", lambda r: r.joins.lost, "seats that ended without being left"),
    "join_p50": ("ms", lambda r: r.joins.join_ms.p50, "time to join"),
    "join_p99": ("ms", lambda r: r.joins.join_ms.p99, "time to join"),
    "join_max": ("ms", lambda r: r.joins.join_ms.max, "time to join"),
    "keyframe_p50": ("ms", lambda r: r.joins.first_keyframe_ms.p50, "time to first keyframe"),
    "keyframe_p99": ("ms", lambda r: r.joins.first_keyframe_ms.p99, "time to first keyframe"),
    "latency_p50": ("ms", lambda r: r.steady.latency_ms.p50, "one-way latency, steady time"),
    "latency_p99": ("ms", lambda r: r.steady.latency_ms.p99, "one-way latency, steady time"),
    "latency_max": ("ms", lambda r: r.steady.latency_ms.max, "one-way latency, steady time"),
    "freezes": ("count", lambda r: r.steady.freezes, "freezes of all viewers, steady time"),
    "frozen": ("count", lambda r: r.steady.frozen_at_end, "videos that stand still at the end"),
    "bitrate": (
        "count",
        lambda r: r.steady.bitrate_per_viewer_bps,
        "payload bits a second of a viewer",
    ),
    "bitrate_min": (
        "count",
        lambda r: r.viewers.slowest_bps,
        "payload bits a second of the viewer who got the least",
    ),
    "packet_cpu": (
        "count",
        lambda r: None if r.server_usage is None else r.server_usage.cpu_us_per_packet,
        "µs of the server's CPU for each received packet",
    ),
    "tool_cpu": ("share", lambda r: r.tool.media_cpu, "of a core, by the tool's media thread"),
    "tool_drops": ("count", lambda r: r.tool.queue_drops, "datagrams the tool was too slow for"),
}
"""By name: in which unit it is, where it stands in the report, and what it is."""


class Threshold(Struct, frozen=True, kw_only=True):
    """A condition that fails the run when it holds."""

    text: str
    metric: str
    comparison: str
    bound: float


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a threshold."""

    threshold: str
    value: float | None
    """In the metric's own unit: a share, milliseconds, or a count. None: nothing was measured."""
    failed: bool


def parse(text: str) -> Threshold:
    """Read a condition. Raises `ValueError` with what is wrong."""
    matched = _FORM.match(text)
    if matched is None:
        raise ValueError(f"{text!r} is no condition such as 'loss>0.1%' or 'latency_p99>10ms'")
    metric, comparison, number, unit = matched.groups()
    if metric not in METRICS:
        raise ValueError(f"no such figure: {metric!r}; there are {', '.join(METRICS)}")
    kind = METRICS[metric][0]
    units = _FACTORS.get(kind, _PLAIN)
    if unit is not None and unit not in units:
        raise ValueError(f"{metric!r} is not measured in {unit!r}, but in {', '.join(units)}")
    factor = 1.0 if unit is None else units[unit]
    return Threshold(text=text, metric=metric, comparison=comparison, bound=float(number) * factor)


def judge(threshold: Threshold, report: Report) -> Verdict:
    """Compare; what was not measured fails, for it was asked about."""
    value = METRICS[threshold.metric][1](report)
    failed = value is None or _OPERATORS[threshold.comparison](value, threshold.bound)
    return Verdict(threshold=threshold.text, value=value, failed=failed)
