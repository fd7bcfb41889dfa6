"""What bench/results.md says of forwarding, with a plot."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.machine import machine
from bench.most import told
from bench.page import rounds_of, write_section
from bench.wanted import verdicts

HERE = Path(__file__).parent
PLOT = HERE / "results.svg"
SVG = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12"'
COLUMNS = (
    "viewers",
    "workers",
    "layers",
    "floor µs",
    "router µs",
    "ratio",
    "of it plane",
    "control",
    "packets/s",
    "core",
    "p50 ms",
    "p99 ms",
    "max ms",
    "floor p99",
    "Mbit/s",
    "loss",
    "RSS MB",
    "KB a viewer",
    "plane's KB",
)


def write_page(
    rows: list[dict[str, Any]],
    most: dict[str, Any] | None,
    *,
    rounds: int,
    duration_s: int,
    note: str,
) -> None:
    """Write the section and the plot."""
    PLOT.write_text(_plot([row for row in rows if _is_plain(row)]))
    write_section("forwarding", _section(rows, most, rounds, duration_s, note))


def _is_plain(row: dict[str, Any]) -> bool:
    return row["workers"] == 1 and not row["simulcast"]


def _section(
    rows: list[dict[str, Any]],
    most: dict[str, Any] | None,
    rounds: int,
    duration_s: int,
    note: str,
) -> str:
    lines = [
        "## What forwarding costs",
        "",
        "The router on one core, the load tester on the other: `python -m bench.forwarding`, whose",
        f"head says what is counted. {rounds_of(rounds, duration_s)}",
        "",
        f"- {machine()} at the end",
        f"- trio {version('trio')}, {_rust()}",
        *([f"- {note}"] if note else []),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " ---: |" * len(COLUMNS),
    ]
    for row in rows:
        cells = [
            f"{row['viewers']:,}",
            f"{row['workers']}",
            "3" if row["simulcast"] else "1",
            f"{row['floor_us']:.2f}",
            f"{row['cost_us']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['plane_us']:.2f}",
            f"{row['control_us']:.2f}",
            f"{row['packets_per_s']:,.0f}",
            f"{row['core']:.0%}",
            f"{row['latency_p50_ms']:.2f}",
            f"{row['latency_p99_ms']:.2f}",
            f"{row['latency_max_ms']:.1f}",
            f"{row['floor_latency_p99_ms']:.2f}",
            f"{row['mbps_per_viewer']:.2f}",
            f"{row['loss']:.4%}",
            f"{row['rss_mb']:.0f}",
            f"{row['rss_kb_per_viewer']:.0f}",
            f"{row['plane_kb_per_viewer']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "*floor p99* is the latency of the plain loop, from when a burst is due until it is sent:",
        "the last viewer waits for all others, whatever the router does.",
        "*Mbit/s* is what a viewer received; with three layers, the largest is that of the other",
        "rows. *KB a viewer* is resident memory of both processes beyond that of the idle router.",
        "",
        "![CPU time a packet](results.svg)",
    ]
    lines += verdicts(rows)
    if most is not None:
        lines += ["", "### The most viewers of one core", "", told(most), "", *_trials(most)]
    return "\n".join(lines) + "\n"


def _trials(most: dict[str, Any]) -> list[str]:
    """What was tried, as a table."""
    lines = [
        "| viewers | carried | core | p99 ms | tester's core |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for row in sorted(most["trials"], key=lambda one: one["viewers"]):
        missed = row["missed"] or "yes"
        if row["tester"]:
            missed += f" ({row['tester']})"
        lines.append(
            f"| {row['viewers']:,} | {missed} | {row['core']:.0%} | {row['latency_p99_ms']:.1f} |"
            f" {row['tool_core']:.0%} |"
        )
    return lines


def _rust() -> str:
    shown = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or "rustc unknown"


def _plot(rows: list[dict[str, Any]]) -> str:
    """Stacked bars: the router's processes beside the floor."""
    width, height, base, left = 640, 320, 270, 60
    highest = max(max(row["cost_us"], row["floor_us"]) for row in rows) * 1.15
    scale = (base - 30) / highest
    step = (width - left - 20) / len(rows)
    bar = min(60.0, step / 3)
    parts = [
        f'<svg {SVG} viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(left, 18, "CPU time a delivered packet, µs", anchor="start"),
    ]
    tick = 0.5 if highest < 5 else 1.0
    for number in range(int(highest / tick) + 1):
        y = base - number * tick * scale
        parts.append(
            f'<line x1="{left}" y1="{y:.1f}" x2="{width - 20}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_text(left - 8, y + 4, f"{number * tick:.1f}", anchor="end"))
    colours = {"floor": "#9aa5b1", "plane": "#2563eb", "control": "#f59e0b"}
    for place, row in enumerate(rows):
        middle = left + step * (place + 0.5)
        parts += _bar(middle - bar - 3, bar, base, scale, [(row["floor_us"], colours["floor"])])
        pair = [(row["plane_us"], colours["plane"]), (row["control_us"], colours["control"])]
        parts += _bar(middle + 3, bar, base, scale, pair)
        parts.append(_text(middle, base + 18, f"{row['viewers']:,} viewers"))
    for place, (name, colour) in enumerate(colours.items()):
        x = left + place * 110
        parts.append(f'<rect x="{x}" y="{height - 22}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 18, height - 12, name, anchor="start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(
    x: float, width: float, base: float, scale: float, pieces: list[tuple[float, str]]
) -> list[str]:
    parts, total = [], 0.0
    for value, colour in pieces:
        top = base - (total + value) * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{value * scale:.1f}"'
            f' fill="{colour}"/>'
        )
        total += value
    parts.append(_text(x + width / 2, base - total * scale - 5, f"{total:.2f}"))
    return parts


def _text(x: float, y: float, words: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit("run python -m bench.forwarding --write")
