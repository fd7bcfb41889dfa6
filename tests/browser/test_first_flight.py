"""What a viewer's page asks for on its way to the first picture, and in how many round trips."""

from __future__ import annotations

import pytest

from tests.support.chromium import Studio
from tests.support.serving import Server

pytestmark = pytest.mark.browser

FETCHED = """performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"""
NAMED = """[...document.querySelectorAll('script[src], link[rel=modulepreload]')]
    .map(({ src, href }) => new URL(src || href).pathname)"""


def test_a_viewer_asks_for_what_it_can_before_it_is_answered(studio: Studio) -> None:
    studio.live_host()
    viewer = studio.watching()
    viewer.assert_plays()
    asked = viewer.asked[0]
    assert asked[:3] == ["join", "createTransport", "connectTransport"]
    assert asked[3:5] == ["consume", "consume"], "who connects is told before it is described"
    assert asked.count("createTransport") == asked.count("connectTransport") == 1


def test_a_page_names_all_scripts_and_settings_that_it_needs_once(studio: Studio) -> None:
    viewer = studio.viewer()
    viewer.wait_state("error")  # there is no such room, says the server
    fetched = viewer.page.evaluate(FETCHED)
    assert sorted(path for path in fetched if path.endswith(".js")) == sorted(
        viewer.page.evaluate(NAMED)
    )
    assert fetched.count("/config.json") == 1


def test_who_waits_for_a_room_is_refused_without_a_fault_and_then_watches(
    studio: Studio, server: Server
) -> None:
    viewer = studio.viewer()
    viewer.wait_state("error")
    codes = [frame["error"]["code"] for frame in viewer.heard if not frame.get("ok", True)]
    assert codes[:2] == ["room_not_found", "not_joined"]
    studio.live_host()
    viewer.wait_state("live")
    viewer.assert_plays()
    assert viewer.console == []
    server.check_log()
