"""What is wanted of forwarding, and whether a run has it.

Times were set for a machine where the plain loop (`bench.floor`) costs `FLOOR_US` a packet. Where
it costs more, nobody can have them, so each stands there as it is and in proportion to the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from bench.load_runs import Figures
from bench.page import table

FLOOR_US = 1.5


class Wanted(Struct, frozen=True):
    """A figure, and what it may be at most."""

    name: str
    viewers: int
    simulcast: bool
    most: float
    unit: str
    scales: bool
    """It is time that the floor's cost is part of."""
    of: Callable[[Figures], float]


WANTED = (
    Wanted("CPU a packet", 500, False, 1.75 * FLOOR_US, "µs", True, lambda row: row["cost_us"]),
    Wanted("CPU a packet", 500, True, 1.75 * FLOOR_US, "µs", True, lambda row: row["cost_us"]),
    Wanted("p99 latency", 100, False, 1.0, "ms", True, lambda row: row["latency_p99_ms"]),
    Wanted("p99 latency", 1_000, False, 10.0, "ms", True, lambda row: row["latency_p99_ms"]),
    Wanted("lost", 1_000, False, 0.1, "%", False, lambda row: 100 * row["loss"]),
    Wanted("memory", 1_000, False, 150, "KB a viewer", False, lambda row: row["rss_kb_per_viewer"]),
)


def verdicts(rows: Sequence[Figures]) -> list[str]:
    """A table of what is wanted and what was measured, for the rows of one worker; lines."""
    cells = []
    for one in WANTED:
        for row in rows:
            if (row["viewers"], row["simulcast"], row["workers"]) != (
                one.viewers,
                one.simulcast,
                1,
            ):
                continue
            scaled = one.most * (row["floor_us"] / FLOOR_US if one.scales else 1)
            value = one.of(row)
            met = "yes" if value <= one.most else "in proportion" if value <= scaled else "no"
            layers = ", three layers" if one.simulcast else ""
            cells.append(
                [
                    f"{one.name}, {one.viewers:,} viewers{layers}",
                    f"{one.most:.4g} {one.unit}",
                    f"{scaled:.4g}" if one.scales else "",
                    f"{value:.3g}",
                    met,
                ]
            )
    if not cells:
        return []
    return [
        "",
        f"Times were set for a machine where the floor costs {FLOOR_US} µs; *here* is the same in",
        "proportion to this machine's floor.",
        "",
        table(["figure", "at most", "here", "measured", "met"], cells),
    ]
