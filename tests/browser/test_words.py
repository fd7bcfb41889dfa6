"""What keeps a person from hosting or watching is said in clear words, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import opened
from tests.support.chromium import FAKE_DEVICES, Launch, Studio
from tests.support.serving import Server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """Chromium with a camera that nobody allows to use."""
    return launch(*FAKE_DEVICES)


def test_a_room_that_nobody_opened_does_not_exist(studio: Studio) -> None:
    viewer = studio.viewer()
    viewer.wait_state("error")
    assert viewer.status == "This room does not exist"
    assert "Check the link" in viewer.text("#detail")


def test_an_address_that_names_no_room_does_not_exist(studio: Studio) -> None:
    viewer = studio.tab("viewer").open(f"{studio.url}/viewer/%20")
    viewer.wait_state("error")
    assert viewer.status in {"This room does not exist", "The server refused"}


def test_a_camera_that_is_not_allowed_is_said_so(studio: Studio) -> None:
    host = studio.host()
    host.page.click("#start")
    host.wait_state("error")
    assert host.status == "The camera is not allowed"
    assert "Allow camera and microphone" in host.text("#detail")
    assert host.text("#start") == "Try again"


def test_a_machine_without_camera_is_said_so(launch: Launch, server: Server, output: Path) -> None:
    with opened(Studio(launch(), server.url, "no-camera", output)) as studio:
        host = studio.host()
        host.page.click("#start")
        host.wait_state("error")
        assert host.status == "No camera found"
        assert "Plug one in" in host.text("#detail")


def test_a_page_that_is_not_there_is_said_so(studio: Studio) -> None:
    tab = studio.tab("nothing").open(f"{studio.url}/nothing/here")
    assert tab.page.locator("h1").count() == 1
    assert tab.page.locator("a[href='/']").count() >= 1


def test_the_start_page_refuses_what_is_no_room(studio: Studio) -> None:
    tab = studio.tab("start").open(studio.url)
    tab.page.fill("#room", "no such / room")
    tab.page.press("#room", "Enter")
    tab.wait_text("#room-hint", "^A room id has letters")


def test_the_start_page_leads_to_a_room_by_its_link(studio: Studio) -> None:
    tab = studio.tab("start").open(studio.url)
    tab.page.fill("#room", f"{studio.url}/viewer/{studio.room}")
    tab.page.press("#room", "Enter")
    tab.page.wait_for_url(f"**/viewer/{studio.room}")
    tab.wait_status("This room does not exist")
