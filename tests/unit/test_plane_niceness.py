"""The plane goes before other processes as far as the system lets it."""

from __future__ import annotations

import os

import pytest

from media import plane


@pytest.mark.parametrize(
    ("present", "allowed", "taken"),
    [(0, -20, -15), (0, -10, -10), (0, 0, None), (5, 5, None), (-15, -20, None), (-19, -20, None)],
)
def test_the_plane_takes_as_much_precedence_as_is_allowed(
    monkeypatch: pytest.MonkeyPatch, present: int, allowed: int, taken: int | None
) -> None:
    niceness = []

    def setpriority(which: int, who: int, wanted: int) -> None:
        if wanted < allowed:
            raise PermissionError
        niceness.append(wanted)

    monkeypatch.setattr(os, "getpriority", lambda which, who: present)
    monkeypatch.setattr(os, "setpriority", setpriority)
    plane._precede()
    assert niceness == ([] if taken is None else [taken])
