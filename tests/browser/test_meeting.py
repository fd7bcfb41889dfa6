"""People meet on the real page: all see and hear each other, and sizes decide the layers."""

from __future__ import annotations

import json

import pytest

from tests.support.chromium import Studio, Tab

pytestmark = pytest.mark.browser


def enter(studio: Studio, name: str, **options: object) -> Tab:
    """Join the test's meeting by that name."""
    tab = studio.tab(name, **options).open(f"{studio.url}/meet/{studio.room}")
    assert tab.status == "Ready to join"
    tab.page.fill("#name", name)
    tab.page.click("#start")
    tab.wait_state("live")
    return tab


def seats(tab: Tab) -> list[str]:
    """The names on the floor, in order."""
    names: list[str] = tab.page.locator(".seat-name").all_inner_texts()
    return [name.strip() for name in names]


def wait_playing(tab: Tab, count: int) -> None:
    """Wait until so many seats show a picture that moves."""
    tab.wait(
        "[...document.querySelectorAll('.seat video')].filter((video) =>"
        f" video.videoWidth > 0 && video.currentTime > 0.2).length === {count}"
    )


def test_three_people_see_and_hear_each_other(studio: Studio) -> None:
    tabs = [enter(studio, name) for name in ("Ann", "Bob", "Cid")]
    ann, bob, cid = tabs
    for tab in tabs:
        wait_playing(tab, 3)
        tab.wait("probe.now.audioLevel > 0.01")
        tab.wait_text("#detail", "3 people here")
    assert seats(ann) == ["You", "Bob", "Cid"]
    assert seats(cid)[0] == "You"
    # The fake microphones beep alike: somebody speaks, and is large on the others' pages.
    ann.wait("window.reprise.session.roster.speaker !== null")
    ann.wait("document.querySelectorAll('.seat.is-main').length === 1")
    ann.wait("document.querySelectorAll('.seat.is-heard').length > 0")
    studio.shot(ann, "spotlight")
    ann.page.click("#layout")
    ann.wait("document.querySelector('#floor').dataset.layout === 'grid'")
    studio.shot(ann, "grid")
    bob.page.click("#mute")
    ann.wait(
        "[...document.querySelectorAll('.seat-muted')].filter((one) => !one.hidden).length === 1"
    )
    cid.page.click("#camera")
    ann.wait("document.querySelectorAll('.seat.is-dark').length === 1")
    cid.page.click("#stop")
    cid.wait_state("ended")
    ann.wait_text("#detail", "2 people here")
    assert seats(ann) == ["You", "Bob"]


def asked(tab: Tab, method: str) -> int:
    """How often a page has sent this request."""
    tab.tick()
    return sum(methods.count(method) for methods in tab.asked)


def test_small_pictures_come_small_and_unseen_ones_not_at_all(studio: Studio) -> None:
    ann = enter(studio, "Ann")
    enter(studio, "Bob")
    wait_playing(ann, 2)
    ann.page.click("#layout")
    ann.wait("probe.now.frameHeight >= 360")
    ann.page.set_viewport_size({"width": 420, "height": 400})
    ann.wait("probe.now.frameHeight > 0 && probe.now.frameHeight <= 180")
    assert asked(ann, "setPreferredLayers") >= 1
    ann.show(False)
    wait_asked(ann, "pauseConsumer", 1)
    ann.show(True)
    wait_asked(ann, "resumeConsumer", 3)
    ann.mark("seen")
    ann.wait_grown("framesDecoded", 10, "seen")


def wait_asked(tab: Tab, method: str, count: int) -> None:
    """Wait until a page has sent a request so often."""
    for _ in range(300):
        if asked(tab, method) >= count:
            return
        tab.page.wait_for_timeout(50)
    pytest.fail(f"{method} was not asked {count} times: {json.dumps(tab.asked)}")


def test_a_shared_screen_is_large(studio: Studio) -> None:
    ann, bob = enter(studio, "Ann"), enter(studio, "Bob")
    wait_playing(bob, 2)
    ann.page.evaluate(
        """() => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [1280, 720];
            const context = canvas.getContext('2d');
            setInterval(() => {
                context.fillStyle = `hsl(${performance.now() / 20 % 360} 80% 50%)`;
                context.fillRect(0, 0, 1280, 720);
            }, 50);
            navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(15);
        }"""
    )
    ann.page.click("#share")
    bob.wait(
        "document.querySelector('.seat.is-main.is-screen')?.querySelector('video').videoWidth > 0"
    )
    assert "Ann\N{RIGHT SINGLE QUOTATION MARK}s screen" in seats(bob)
    studio.shot(bob, "screen")
    wait_asked(bob, "setPriority", 1)
    ann.page.click("#share")
    bob.wait("document.querySelectorAll('.seat.is-screen').length === 0")


def test_the_page_fits_a_phone(studio: Studio) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    ann = enter(studio, "Ann", **phone)
    enter(studio, "Bob")
    wait_playing(ann, 2)
    widths = ann.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1]


def test_a_room_that_cannot_be_is_said_at_once(studio: Studio) -> None:
    tab = studio.tab("bad").open(f"{studio.url}/meet/a%20b")
    tab.wait_status("This room does not exist")
    assert tab.page.is_hidden("#lobby")
