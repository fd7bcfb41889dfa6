"""The page of measurements, section by section; and how the most throughput is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import two_cores
from bench.page import ORDER, rounds_of, table, write_section
from bench.two_cores import (
    DELIVERED_MIN,
    FIRST,
    PACKETS_PER_S,
    RUNS_MAX,
    Run,
    Setting,
    most,
    section,
)

ONE = Setting("one core", (0,), ("a", "b"))
TWO = Setting("two cores, rooms spread", (0, 1), ("a", "b"))


def test_a_section_takes_the_place_of_the_one_before_and_leaves_the_others(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    last, first = ORDER[-1], ORDER[0]
    write_section(last, "## Last\n\nwords", page)
    write_section(first, "## First\n\n| a |", page)
    write_section(last, "## Last again\n", page)
    text = page.read_text()
    assert text.index("## First") < text.index("## Last again"), "in the page's own order"
    assert "words" not in text
    before = text
    write_section(first, "## First\n\n| a |", page)
    assert page.read_text() == before, "the same again changes nothing"


def test_a_page_without_sections_gets_its_first(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Something older\n")
    write_section("janus", table(["router", "µs"], [["one", "1.0"]]), page)
    assert "| one | 1.0 |" in page.read_text()
    assert "older" not in page.read_text()


def test_rounds_are_said_as_they_were() -> None:
    assert rounds_of(1, 8) == "One round of 8 s."
    assert rounds_of(3, 12) == "Medians of 3 rounds of 12 s."


def carrying(viewers_max: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine that carries so many viewers, and uses all cores at that; what was tried."""
    tried: list[int] = []

    def run(setting: Setting, viewers: int, steady_s: int) -> Run:
        tried.append(viewers)
        carried = min(viewers, viewers_max)
        return Run(
            viewers=viewers,
            packets_per_s=float(carried * PACKETS_PER_S),
            delivered=carried / viewers,
            loss=0.0,
            joined=viewers,
            p99_ms=1.0,
            core=len(setting.cores) * carried / viewers_max,
        )

    monkeypatch.setattr(two_cores, "run", run)
    return tried


@pytest.mark.parametrize("viewers_max", [210, 290, 333, 600, 1_000, 1_500])
def test_the_most_is_found_within_a_step(viewers_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = carrying(viewers_max, monkeypatch)
    best = most(ONE, 6)
    assert best.carried
    assert 0.9 * viewers_max <= best.viewers <= viewers_max / DELIVERED_MIN
    assert len(tried) <= RUNS_MAX


def test_nothing_carried_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    carrying(FIRST // 20, monkeypatch)
    with pytest.raises(SystemExit, match="one core: no run was carried"):
        most(ONE, 6)


def test_the_table_says_how_many_times_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    carrying(500, monkeypatch)
    one = two_cores.run(ONE, 400, 6)
    two = two_cores.run(TWO, 500, 6)
    text = section([(ONE, one), (TWO, two)], 1.9)
    assert "| two cores, rooms spread | 115,000 | 1.25 | 500 |" in text
    assert "carries 1.90 times" in text
