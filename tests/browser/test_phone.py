"""The pages on a phone's screen, and by keyboard alone."""

from __future__ import annotations

import pytest

from tests.support.chromium import Studio, Tab

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "device_scale_factor": 2}
TAB_STOPS_MAX = 20


def test_nothing_is_wider_than_a_phone(studio: Studio) -> None:
    start = studio.tab("start", **PHONE).open(studio.url)
    assert_fits(start)
    host = studio.host(**PHONE)
    assert_fits(host)
    host.page.tap("#start")
    host.wait_state("live")
    host.wait_text("#picture", "fps")
    assert_fits(host)
    viewer = studio.watching(**PHONE)
    viewer.wait_text("#picture", "fps")
    assert_fits(viewer)
    studio.shot(host, "host-live-all", full_page=True)
    studio.shot(viewer, "viewer-live-all", full_page=True)
    host.page.tap("#stop")
    viewer.wait_state("ended")
    assert_fits(viewer)
    assert_fits(host)


@pytest.mark.parametrize("size", [PHONE, {}], ids=["phone", "desktop"])
def test_a_stream_is_begun_and_ended_by_keyboard(studio: Studio, size: dict[str, object]) -> None:
    host = studio.host(**size)
    press_at(host, "start")
    host.wait_state("live")
    viewer = studio.watching(**size)
    press_at(host, "mute", key="Space")
    host.wait_text("#detail", "muted")
    press_at(viewer, "tap")
    viewer.wait("!document.querySelector('video.is-main').muted")
    press_at(host, "stop")
    viewer.wait_state("ended")
    host.wait("document.activeElement.id === 'start'")


def assert_fits(tab: Tab) -> None:
    """No horizontal scrolling, and nothing beyond the edge."""
    widths = tab.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1], (tab.name, widths)


def press_at(tab: Tab, element: str, key: str = "Enter") -> None:
    """Go to an element by Tab, see that it shows that it has the focus, and press it."""
    for _ in range(TAB_STOPS_MAX):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.id") == element:
            break
    else:
        pytest.fail(f"{element} cannot be reached by keyboard")
    assert tab.page.evaluate(
        "document.activeElement.matches(':focus-visible') &&"
        " (({ outlineStyle, boxShadow }) => outlineStyle !== 'none' || boxShadow !== 'none')"
        "(getComputedStyle(document.activeElement))"
    ), f"{element} does not show its focus"
    tab.page.keyboard.press(key)
