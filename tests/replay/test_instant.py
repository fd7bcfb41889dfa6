"""Instants as a person writes them."""

from __future__ import annotations

import pytest

from replay.errors import WrongInstant
from replay.instant import Place, parse_instant, resolve, time_of

S = 1_000_000_000
NOON_NS = 1_772_366_400 * S  # 2026-03-01 12:00:00 UTC


class TenSeconds:
    """A log with a position a second, 11 to 20; the last session begins at 13, noon."""

    def session_start(self):
        return Place(13, NOON_NS)

    last_position = 20

    def end(self):
        return Place(20, NOON_NS + 7 * S)

    def position_at(self, at_ns):
        if at_ns < NOON_NS - 2 * S:
            return 0
        return min(20, 13 + (at_ns - NOON_NS) // S)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0", 0),
        ("17", 17),
        ("20", 20),
        ("start", 13),
        ("end", 20),
        ("+0s", 13),
        ("+2.5s", 15),
        ("+2500ms", 15),
        ("+1m", 20),
        ("+1h2m3.5s", 20),
        ("-3s", 17),
        ("-9s", 11),
        ("2026-03-01T12:00:03Z", 16),
        ("2026-03-01 12:00:03", 16),
        ("2026-03-01T13:00:02.999+01:00", 15),
        ("2030-01-01", 20),
        ("12:00:04", 17),
        ("12:00:04.5Z", 17),
        ("11:00", 20),
    ],
)
def test_an_instant_names_a_position(text, position):
    assert resolve(parse_instant(text), TenSeconds()) == position


def test_a_time_as_shown_covers_its_whole_microsecond():
    instant = parse_instant("2026-03-01T12:00:00.000001Z")
    assert time_of(instant, TenSeconds()) == NOON_NS + 1_999


@pytest.mark.parametrize("text", ["21", "9" * 18, "-10s", "2020-01-01", "2026-03-01T11:59:57Z"])
def test_an_instant_outside_the_log_is_refused(text):
    with pytest.raises(WrongInstant):
        resolve(parse_instant(text), TenSeconds())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "12s",
        "+",
        "+1",
        "+1d",
        "-",
        "25:00",
        "2026-13-01",
        "9" * 19,
        "+1s2",
        "\u0663",
        "1:2",
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(WrongInstant, match="is no instant"):
        parse_instant(text)


def test_a_position_is_no_time():
    with pytest.raises(WrongInstant, match="a time is needed"):
        time_of(parse_instant("17"), TenSeconds())
