"""Processes die and come back, and pages recover by themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.chromium import Studio
from tests.support.line import line_to
from tests.support.ports import free_port
from tests.support.serving import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

GAP_MS_MAX = 1_500
JOINED = "window.reprise.session?.joined === true"
NOT_JOINED = "window.reprise.session.joined === false"


@pytest.fixture
def server(own_server: Server) -> Server:
    return own_server


def test_viewers_recover_when_the_plane_is_killed(studio: Studio, server: Server) -> None:
    server.expected_errors.add("plane_down")
    host = studio.live_host()
    viewers = [studio.watching() for _ in range(2)]
    before = [viewer.consumers() for viewer in viewers]
    dead = server.kill_plane()
    assert wait_until("another plane is there", lambda: set(server.plane_pids()) - {dead})
    for viewer, consumers in zip(viewers, before, strict=True):
        viewer.wait_other_consumers(consumers)
        viewer.wait_state("live")
        viewer.assert_plays()
    host.wait_state("live")
    host.wait_text("#viewer-count", "^2$")


def test_video_goes_on_while_the_control_process_is_dead(studio: Studio, server: Server) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    viewer.assert_plays()
    consumers = viewer.consumers()
    plane = server.plane_pid()
    viewer.page.evaluate("probe.startGaps()")

    server.kill()
    viewer.wait(NOT_JOINED)
    viewer.mark("alone")
    viewer.wait_grown("framesDecoded", 60, "alone")
    viewer.assert_plays()

    server.start()
    assert server.plane_pid() == plane
    for tab in (host, viewer):
        tab.wait(JOINED)
        tab.wait_state("live")
        assert tab.asked[-1][0] == "resume"
    viewer.assert_plays()
    assert viewer.page.evaluate("probe.gap_ms") < GAP_MS_MAX
    assert viewer.consumers() == consumers
    assert viewer.notifications("streamingStopped") == []


def test_a_room_that_was_taken_over_goes_on_like_any_other(studio: Studio, server: Server) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    server.kill()
    server.start()
    viewer.wait(JOINED)
    late = studio.watching()
    late.assert_plays()
    host.wait_text("#viewer-count", "^2$")
    host.page.click("#camera")
    late.wait_status("The camera is off")
    viewer.wait_status("The camera is off")
    host.page.click("#camera")
    late.wait_state("live")
    late.assert_plays()
    host.page.click("#stop")
    for tab in (viewer, late):
        tab.wait_state("ended")


def test_video_goes_on_while_the_control_process_is_stalled(studio: Studio, server: Server) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    viewer.assert_plays()
    viewer.page.evaluate("probe.startGaps()")
    server.signal(signal.SIGSTOP)
    viewer.mark("stalled")
    viewer.wait_grown("framesDecoded", 60, "stalled")
    assert viewer.page.evaluate("probe.gap_ms") < GAP_MS_MAX
    server.signal(signal.SIGCONT)
    host.page.click("#camera")
    viewer.wait_status("The camera is off")


def test_viewers_recover_when_the_plane_was_stalled(studio: Studio, server: Server) -> None:
    studio.live_host()
    viewer = studio.watching()
    viewer.assert_plays()
    plane = server.plane_pid()
    os.kill(plane, signal.SIGSTOP)
    viewer.wait_state("reconnecting")
    os.kill(plane, signal.SIGCONT)
    viewer.wait_state("live")
    viewer.assert_plays()
    assert server.plane_pid() == plane


def test_pages_are_told_of_a_stop_and_come_back_after_the_start(
    studio: Studio, server: Server
) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    before = viewer.consumers()
    server.stop()
    viewer.wait_state("reconnecting")
    reasons = [frame["data"]["reason"] for frame in viewer.notifications("roomClosed")]
    assert reasons == ["server_stopped"]
    host.wait_state("reconnecting")
    server.start()
    host.wait_state("live")
    viewer.wait_other_consumers(before)
    viewer.wait_state("live")
    viewer.assert_plays()


def test_a_host_who_cannot_reach_the_server_is_told_and_goes_live_later(
    studio: Studio, server: Server
) -> None:
    host = studio.host()
    server.stop()
    host.page.click("#start")
    host.wait_status("The server cannot be reached")
    assert "keeps trying" in host.text("#detail")
    server.start()
    host.wait_state("live")
    viewer = studio.watching()
    viewer.assert_plays()


def test_a_viewer_who_is_away_for_longer_than_the_grace_joins_afresh(
    browser, output: Path, tmp_path: Path
) -> None:
    server = Server(tmp_path / "data", output, options=["--resume-grace-s=1"])
    studio = Studio(browser, server.url, "away", output)
    try:
        server.start()
        with line_to(free_port(), server.signal_port) as line:
            host = studio.live_host()
            viewer = studio.tab("viewer")
            viewer.signal_through(line.url)
            viewer.open(f"{server.url}/viewer/away")
            viewer.wait_state("live")
            before = viewer.consumers()
            line.cut()
            host.wait_text("#viewer-count", "^0$")
            line.mend()
            viewer.wait_other_consumers(before)
            viewer.wait_state("live")
            viewer.assert_plays()
            assert viewer.asked[-1][:2] == ["resume", "join"]
            host.wait_text("#viewer-count", "^1$")
        server.stop()
        studio.keep()
    finally:
        studio.close()
        server.close()
