"""A report as one HTML file with plots in SVG: no script, no network, light and dark. Pure."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from load.report import Report, Second
from load.text import summary
from load.thresholds import Verdict

WIDTH, HEIGHT = 480, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 20, 22
_SLOTS = 32
_COLORS = ("var(--first)", "var(--second)", "var(--third)")

_STYLE = """
:root { color-scheme: light dark; --ink: #1a202c; --paper: #fff; --faint: #667085;
  --first: #2b6cb0; --second: #c05621; --third: #2f855a; --bad: #c53030; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --paper: #14181f; --faint: #8a94a6;
  --first: #63b3ed; --second: #f6ad55; --third: #68d391; --bad: #fc8181; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1320px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1.5rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; margin: 1rem 0; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.2; }
svg { width: 100%; height: auto; } text { fill: var(--faint); font-size: 13px; }
line { stroke: var(--faint); stroke-width: .5; } polyline { fill: none; stroke-width: 1.6; }
.steady { fill: var(--faint); opacity: .12; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
pre span { display: block; min-height: 1lh; padding-left: 14ch; text-indent: -14ch; }
.warning { color: var(--second); } .failed { color: var(--bad); }
@media (max-width: 600px) { pre { font-size: 12px; } h1 { font-size: 1.1rem; } }
.key { font-size: .85rem; color: var(--faint); }
"""


class Line(Struct, frozen=True):
    """One line of a plot; a value of None leaves a gap."""

    name: str
    value: Callable[[Second], float | None]


class Plot(Struct, frozen=True):
    """Lines over the time of a run."""

    title: str
    unit: str
    lines: tuple[Line, ...]


PLOTS = (
    Plot("Viewers", "", (Line("joined", lambda s: s.joined), Line("joining", lambda s: s.joining))),
    Plot(
        "One-way latency in each second",
        "ms",
        (
            Line("p50", lambda s: s.latency_p50_ms),
            Line("p99", lambda s: s.latency_p99_ms),
            Line("max", lambda s: s.latency_max_ms),
        ),
    ),
    Plot("Loss", "%", (Line("lost of expected", lambda s: 100 * s.loss),)),
    Plot("Payload received", "Mbit/s", (Line("all viewers", lambda s: s.bitrate_bps / 1e6),)),
    Plot("Packets received", "1/s", (Line("all viewers", lambda s: s.packets_per_s),)),
    Plot(
        "Freezes",
        "",
        (Line("ended in the second", lambda s: s.freezes), Line("frozen now", lambda s: s.frozen)),
    ),
    Plot(
        "CPU",
        "% of a core",
        (
            Line("this tool", lambda s: 100 * s.tool_cpu),
            Line("server", lambda s: None if s.server_cpu is None else 100 * s.server_cpu),
        ),
    ),
    Plot(
        "This tool: longest turn of its loop", "ms", (Line("max", lambda s: s.media_turn_max_ms),)
    ),
    Plot("Memory of the server", "MB", (Line("all processes", lambda s: s.server_memory_mb),)),
)


def page(report: Report, verdicts: Sequence[Verdict] = ()) -> str:
    """The whole file."""
    title = f"Load test of {report.options.get('url', '')}, {report.started_at}"
    ended_s = report.timeline[-1].at_s if report.timeline else 0.0
    steady = (ended_s - report.steady.seconds, ended_s)
    plots = [_figure(plot, report.timeline, steady) for plot in PLOTS]
    histograms = [_latency_histogram(report), _viewers_histogram(report)]
    options = ", ".join(f"{name} {value}" for name, value in report.options.items())
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1>",
            *(f'<p class="warning">{html.escape(one)}</p>' for one in report.tool.warnings),
            *(
                f'<p class="failed">Failed: {html.escape(one.threshold)}</p>'
                for one in verdicts
                if one.failed
            ),
            f'<div class="tiles">{_tiles(report)}</div>',
            f"<pre>{_rows(summary(report, tuple(verdicts)))}</pre>",
            '<p class="key">Shaded: the steady time, in which all viewers were there.</p>'
            if report.timeline
            else "",
            '<div class="plots">',
            *(plot for plot in [*plots, *histograms] if plot),
            "</div>",
            f'<p class="key">{html.escape(options)}</p>',
            "</body></html>\n",
        ]
    )


def _rows(text: str) -> str:
    """Lines; the rest of one that is too long for a screen stands beneath what it says."""
    return "".join(f"<span>{html.escape(line)}</span>" for line in text.split("\n"))


def _tiles(report: Report) -> str:
    """The figures that are looked for first."""
    steady, used = report.steady, report.server_usage
    tiles = [
        (f"{report.joins.joined:,}", f"of {report.joins.asked:,} viewers joined"),
        (f"{steady.loss:.3%}", "lost"),
        (f"{steady.packets_per_s:,.0f}", "packets a second"),
        (f"{steady.bitrate_per_viewer_bps / 1e6:.2f} Mbit/s", "a viewer"),
        (f"{steady.freezes:,}", "freezes"),
    ]
    if steady.latency_ms.p99 is not None:
        tiles.insert(2, (f"{steady.latency_ms.p99:.1f} ms", "latency, p99"))
    if used is not None and used.cpu_us_per_packet is not None:
        tiles.append((f"{used.cpu_us_per_packet:.2f} µs", "of the server's CPU a packet"))
    return "".join(
        f"<span><b>{html.escape(value)}</b>{html.escape(words)}</span>" for value, words in tiles
    )


def _figure(plot: Plot, timeline: Sequence[Second], steady: tuple[float, float]) -> str:
    """One plot; nothing where nothing was measured."""
    series = [(line.name, [(one.at_s, line.value(one)) for one in timeline]) for line in plot.lines]
    series = [(name, points) for name, points in series if any(y is not None for _, y in points)]
    if not series or len(timeline) < 2:
        return ""
    values = [y for _, points in series for _, y in points if y is not None]
    top = _round_up(max(values))
    began_s, ended_s = timeline[0].at_s, timeline[-1].at_s
    span_s = max(1e-9, ended_s - began_s)
    left, right = (_x(max(0.0, min(1.0, (at_s - began_s) / span_s))) for at_s in steady)
    lines = [
        (
            f'<rect class="steady" x="{left:.1f}" y="{_y(1):.1f}" width="{right - left:.1f}"'
            f' height="{_y(0) - _y(1):.1f}"/>'
        )
    ]
    for (_, points), color in zip(series, _COLORS, strict=False):
        for run in _runs(points):
            path = " ".join(f"{_x((x - began_s) / span_s):.1f},{_y(y / top):.1f}" for x, y in run)
            lines.append(f'<polyline points="{path}" style="stroke:{color}"/>')
    key = " · ".join(
        f'<span style="color:{color}">{html.escape(name)}</span>'
        for (name, _), color in zip(series, _COLORS, strict=False)
    )
    axes = _axes(top, plot.unit, f"{began_s:.0f} s", f"{ended_s:.0f} s")
    return _svg(plot.title, key, axes + "".join(lines))


def _latency_histogram(report: Report) -> str:
    """How many packets of the steady time took how long; the time is on a logarithmic scale."""
    buckets: dict[int, int] = {}
    for bound, count in [*report.steady_latency.video, *report.steady_latency.audio]:
        slot = round(8 * math.log2(max(1.0, bound / 1e3)))
        buckets[slot] = buckets.get(slot, 0) + count
    if len(buckets) < 2:
        return ""
    low, high = min(buckets), max(buckets)
    ends = (f"{2 ** (low / 8) / 1e3:.3g} ms", f"{2 ** ((high + 1) / 8) / 1e3:.3g} ms")
    counts = [buckets.get(slot, 0) for slot in range(low, high + 1)]
    key = "how many packets of the steady time took how long; the scale is logarithmic"
    return _bars("One-way latency", "packets", counts, ends, key)


def _viewers_histogram(report: Report) -> str:
    """How many viewers received how much: those who see a smaller layer stand apart."""
    bitrates = report.viewers.bitrates_bps
    if len(bitrates) < 2 or bitrates[-1] <= 0:
        return ""
    counts = [0] * _SLOTS
    for bps in bitrates:
        counts[min(_SLOTS - 1, _SLOTS * bps // bitrates[-1])] += 1
    ends = ("0", f"{bitrates[-1] / 1e6:.3g} Mbit/s")
    key = "how many viewers received how much in the steady time"
    return _bars("Viewers by what they received", "viewers", counts, ends, key)


def _bars(title: str, unit: str, counts: Sequence[int], ends: tuple[str, str], key: str) -> str:
    top = _round_up(max(counts))
    width = (WIDTH - _LEFT - _RIGHT) / len(counts)
    bars = [
        f'<rect x="{_LEFT + slot * width:.1f}" y="{_y(count / top):.1f}"'
        f' width="{max(0.5, width - 1):.1f}" height="{_y(0) - _y(count / top):.1f}"'
        f' style="fill:{_COLORS[0]}"/>'
        for slot, count in enumerate(counts)
        if count
    ]
    return _svg(title, key, _axes(top, unit, *ends) + "".join(bars))


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Parts of a line without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _svg(title: str, key: str, content: str) -> str:
    return (
        f'<figure style="margin:0"><h2>{html.escape(title)}</h2>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f'{content}</svg><figcaption class="key">{key}</figcaption></figure>'
    )


def _axes(top: float, unit: str, left: str, right: str) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{_short(top * share)}</text>'
        )
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">{html.escape(left)}</text>')
    parts.append(
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{html.escape(right)}</text>'
    )
    parts.append(f'<text x="{_LEFT}" y="{_TOP - 7}">{html.escape(unit)}</text>')
    return "".join(parts)


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _short(value: float) -> str:
    for bound, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g}{letter}"
    return f"{value:.3g}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(value))
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)
