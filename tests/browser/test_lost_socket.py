"""A page that loses its signaling socket resumes; media never stops, and nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.chromium import Studio, Tab
from tests.support.line import Line, line_to
from tests.support.ports import free_port
from tests.support.serving import Server

pytestmark = pytest.mark.browser

GAP_MS_MAX = 1_500
"""The longest time without a new frame that still counts as going on, on a busy machine."""
JOINED = "window.reprise.session?.joined === true"
NOT_JOINED = "window.reprise.session.joined === false"


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    """A line to the server's signaling port that can be cut."""
    with line_to(free_port(), server.signal_port) as line:
        yield line


def on_line(studio: Studio, line: Line, page: str = "viewer") -> Tab:
    """A page whose signaling goes through the line."""
    tab = studio.tab(page)
    tab.signal_through(line.url)
    return tab.open(f"{studio.url}/viewer/{studio.room}")


def test_video_goes_on_while_a_viewer_has_no_socket(studio: Studio, line: Line) -> None:
    studio.live_host()
    viewer = on_line(studio, line)
    viewer.wait_state("live")
    viewer.assert_plays()
    viewer.page.evaluate("probe.startGaps()")
    consumers = viewer.consumers()
    line.cut()
    viewer.wait(NOT_JOINED)
    viewer.mark("alone")
    viewer.wait_grown("framesDecoded", 40, "alone")
    viewer.wait_grown("audioBytes", 2_000, "alone")
    viewer.assert_plays()
    line.mend()
    viewer.wait(JOINED)
    viewer.wait_state("live")
    viewer.assert_plays()
    assert viewer.page.evaluate("probe.gap_ms") < GAP_MS_MAX
    assert viewer.consumers() == consumers
    assert [methods[0] for methods in viewer.asked if methods] == ["join", "resume"]
    assert viewer.asked[-1] == ["resume"]


def test_missed_notifications_come_exactly_once(studio: Studio, line: Line) -> None:
    host = studio.live_host()
    viewer = on_line(studio, line)
    viewer.wait_state("live")
    line.cut()
    viewer.wait(NOT_JOINED)
    told_before = len(viewer.notifications())

    witness = studio.watching("name=Witness")
    host.page.click("#mute")
    witness.wait("reprise.session.roster.remoteProducers.some(({ paused }) => paused)")
    witness.close()
    host.wait_text("#viewer-count", "^1$")
    assert len(viewer.notifications()) == told_before

    line.mend()
    viewer.wait(JOINED)
    host.page.click("#mute")
    viewer.wait("!reprise.session.roster.remoteProducers.some(({ paused }) => paused)")
    told = viewer.notifications()
    of_the_room = [
        frame["event"]
        for frame in told[told_before:]
        if frame["event"].startswith(("peer", "producer"))
    ]
    assert of_the_room == ["peerJoined", "producerPaused", "peerLeft", "producerResumed"]
    positions = [frame["position"] for frame in told]
    assert positions == sorted(set(positions))


def test_a_socket_that_is_lost_again_and_again_resumes_each_time(
    studio: Studio, line: Line
) -> None:
    studio.live_host()
    viewer = on_line(studio, line)
    viewer.wait_state("live")
    for _ in range(3):
        line.cut()
        viewer.wait(NOT_JOINED)
        line.mend()
        viewer.wait(JOINED)
    viewer.assert_plays()
    assert [methods[0] for methods in viewer.asked if methods] == ["join"] + 3 * ["resume"]


def test_a_host_without_socket_stays_live(studio: Studio, line: Line) -> None:
    host = studio.tab("host")
    host.signal_through(line.url)
    host.open(f"{studio.url}/host?room={studio.room}")
    host.page.click("#start")
    host.wait_state("live")
    viewer = studio.watching()
    viewer.page.evaluate("probe.startGaps()")
    line.cut()
    host.wait_status("Reconnecting…")
    viewer.mark("alone")
    viewer.wait_grown("framesDecoded", 40, "alone")
    line.mend()
    host.wait_state("live")
    viewer.assert_plays()
    assert viewer.page.evaluate("probe.gap_ms") < GAP_MS_MAX
    assert viewer.notifications("streamingStopped") == []


def test_what_a_host_does_without_socket_comes_into_effect_later(
    studio: Studio, line: Line
) -> None:
    host = studio.tab("host")
    host.signal_through(line.url)
    host.open(f"{studio.url}/host?room={studio.room}")
    host.page.click("#start")
    host.wait_state("live")
    viewer = studio.watching()
    line.cut()
    host.wait_status("Reconnecting…")
    host.page.click("#camera")
    line.mend()
    viewer.wait_status("The camera is off")
    host.page.click("#camera")
    viewer.wait_state("live")
    viewer.assert_plays()


def test_a_viewer_who_cannot_reach_the_server_is_told_and_tries_on(
    studio: Studio, line: Line
) -> None:
    studio.live_host()
    line.cut()
    viewer = on_line(studio, line)
    viewer.wait_status("The server cannot be reached")
    assert "keeps trying" in viewer.text("#detail")
    line.mend()
    viewer.wait_state("live")
    viewer.assert_plays()
