"""What is wanted of forwarding is held against what was measured, and against the floor."""

from __future__ import annotations

from typing import Any

from bench.wanted import verdicts


def row(viewers: int, **figures: Any) -> dict[str, Any]:
    common = {"workers": 1, "simulcast": False, "floor_us": 3.0, "cost_us": 2.0, "loss": 0.0}
    return {**common, "viewers": viewers, "latency_p99_ms": 0.5, "rss_kb_per_viewer": 90, **figures}


def met(rows: list[dict[str, Any]]) -> list[str]:
    lines = [line for line in verdicts(rows) if line.startswith("| figure")]
    return [line.rsplit("|", 2)[1].strip() for line in "".join(lines).splitlines()[2:]]


def test_a_figure_is_met_as_it_is_or_in_proportion_to_the_floor_or_not() -> None:
    assert met([row(500, cost_us=2.6)]) == ["yes"]
    assert met([row(500, cost_us=5.2)]) == ["in proportion"]
    assert met([row(500, cost_us=5.3)]) == ["no"]
    assert met([row(100, latency_p99_ms=1.9)]) == ["in proportion"]


def test_memory_and_loss_have_no_proportion() -> None:
    assert met([row(1_000, latency_p99_ms=9, rss_kb_per_viewer=151, loss=0.002)]) == [
        "yes",
        "no",
        "no",
    ]


def test_rows_that_nothing_is_wanted_of_are_left_out() -> None:
    assert verdicts([row(500, workers=2), row(700)]) == []
