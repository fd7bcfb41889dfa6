"""The pages take for a room's name what the server takes for one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from protocol.ids import RoomId

WEB = Path(__file__).parents[2] / "gateway" / "web"


def test_pages_and_server_have_the_same_pattern():
    said = re.search(
        r"^const ROOM = /(.+)/;$", (WEB / "core" / "address.js").read_text(), re.MULTILINE
    )
    (pattern,) = (meta.pattern for meta in get_args(RoomId)[1:])
    assert said is not None
    assert said[1] == pattern.removesuffix(r"\Z") + "$"


@pytest.mark.parametrize("name", ["a.b", "a~b", ".a", "", "a" * 65, "a b", "a/b", "_a"])
def test_names_that_the_pattern_refuses(name):
    (pattern,) = (meta.pattern for meta in get_args(RoomId)[1:])
    assert re.match(pattern, name) is None
