"""A host is live on the real page, and viewers watch on theirs."""

from __future__ import annotations

import re

import pytest

from tests.support.chromium import Studio

pytestmark = pytest.mark.browser


def test_three_viewers_see_the_host_move_and_hear_it(studio: Studio) -> None:
    host = studio.live_host()
    assert host.status == "Live (SFU)"
    viewers = [studio.viewer() for _ in range(3)]
    for viewer in viewers:
        viewer.wait_state("live")
        assert viewer.status == "Watching Live Stream (SFU)"
        viewer.assert_plays()
        viewer.assert_sounds()
    for viewer in viewers:
        assert viewer.now()["receivedCodecs"] == ["video/VP8"]


def test_a_tap_turns_the_sound_on(studio: Studio) -> None:
    studio.live_host()
    viewer = studio.watching()
    video = "document.querySelector('video.is-main')"
    assert viewer.page.evaluate(f"{video}.muted") is True
    viewer.page.click("#tap")
    viewer.wait(f"!{video}.muted && !{video}.paused")
    viewer.wait("document.querySelector('#tap').hidden")
    viewer.page.evaluate(
        """() => {
            const context = new AudioContext();
            const analyser = context.createAnalyser();
            const { srcObject } = document.querySelector('video.is-main');
            context.createMediaStreamSource(srcObject).connect(analyser);
            const wave = new Float32Array(analyser.fftSize);
            window.loudest = 0;
            setInterval(() => {
                analyser.getFloatTimeDomainData(wave);
                window.loudest = Math.max(window.loudest, ...wave);
            }, 20);
        }"""
    )
    viewer.wait("window.loudest > 0.01")


def test_the_host_sees_who_watches(studio: Studio) -> None:
    host = studio.live_host()
    assert host.text("#viewer-count") == "0"
    studio.watching("name=Mira%20Okafor")
    guest = studio.watching()
    host.wait_text("#viewer-count", "^2$")
    names = host.page.locator("#viewer-list .name").all_inner_texts()
    assert names[0].strip() == "Mira Okafor"
    assert re.fullmatch(r"Guest \S{4}", names[1].strip()), names
    guest.close()
    host.wait_text("#viewer-count", "^1$")


def test_the_host_sees_how_its_stream_leaves(studio: Studio) -> None:
    host = studio.live_host()
    host.wait_text("#bitrate", r"^[1-9][\d.]* (kbit|Mbit)/s$")
    host.wait_text("#picture", r"^\d+\u00d7\d+ · [1-9]\d* fps$")
    host.wait_text("#round-trip", r"^\d+ ms$")
    host.wait_text("#loss", r"^0 %$")


def test_room_id_and_link_can_be_copied(studio: Studio) -> None:
    host = studio.host(permissions=["clipboard-read", "clipboard-write"])
    link = f"{studio.url}/viewer/{studio.room}"
    assert host.page.input_value("#room") == studio.room
    assert host.page.input_value("#link") == link
    for button, text in (("#copy-room", studio.room), ("#copy-link", link)):
        host.page.click(button)
        host.wait_text(".toast", "^Copied$")
        assert host.page.evaluate("navigator.clipboard.readText()") == text


def test_a_viewer_who_joins_later_sees_the_stream_within_seconds(studio: Studio) -> None:
    studio.live_host()
    first = studio.watching()
    first.assert_plays(frames=40)
    late = studio.viewer()
    late.wait_state("live", timeout_s=8)
    late.assert_plays()


def test_a_viewer_who_came_first_sees_the_stream_as_soon_as_it_starts(studio: Studio) -> None:
    host = studio.live_host()
    host.page.click("#stop")
    host.wait_state("ended")
    viewer = studio.viewer()
    viewer.wait_state("waiting")
    assert viewer.status == "Waiting for the host"
    host.page.click("#start")
    viewer.wait_state("live")
    viewer.assert_plays()


def test_viewers_are_told_when_the_stream_has_ended(studio: Studio) -> None:
    host = studio.live_host()
    viewers = [studio.watching() for _ in range(2)]
    host.page.click("#stop")
    host.wait_state("ended")
    for viewer in viewers:
        viewer.wait_state("ended")
        assert viewer.status == "The stream has ended"


def test_a_host_who_closes_the_tab_ends_the_stream(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    host.close()
    viewer.wait_state("ended", timeout_s=10)


def test_viewers_watch_again_when_the_host_starts_again(studio: Studio) -> None:
    host = studio.live_host()
    viewers = [studio.watching() for _ in range(2)]
    host.page.click("#stop")
    for viewer in viewers:
        viewer.wait_state("ended")
    host.page.click("#start")
    host.wait_state("live")
    for viewer in viewers:
        viewer.wait_state("live")
        viewer.assert_plays()
    host.wait_text("#viewer-count", "^2$")


def test_viewers_see_that_the_camera_is_off_and_on_again(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    host.page.click("#camera")
    viewer.wait_state("paused")
    assert viewer.status == "The camera is off"
    assert viewer.text("#detail") == "You still hear the host."
    viewer.mark("off")
    viewer.wait_grown("audioBytes", 2_000, "off")
    assert host.text("#detail") == "Your camera is off."
    host.page.click("#camera")
    viewer.wait_state("live")
    viewer.assert_plays()


def test_viewers_hear_nothing_while_the_host_is_muted(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    viewer.assert_sounds()
    host.page.click("#mute")
    viewer.wait(
        "reprise.session.roster.remoteProducers.some((p) => p.kind === 'audio' && p.paused)"
    )
    assert host.text("#detail") == "Your microphone is muted."
    viewer.mark("muted")
    viewer.wait_grown("framesDecoded", 20, "muted")
    # What was on its way when the server was told may still come.
    viewer.mark("silent")
    viewer.wait_grown("framesDecoded", 40, "silent")
    assert viewer.page.evaluate("probe.grown('silent', 'audioBytes')") == 0
    host.page.click("#mute")
    viewer.wait_grown("audioBytes", 2_000, "silent")
    viewer.assert_sounds()


def test_a_host_with_camera_off_and_muted_is_paused(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    host.page.click("#mute")
    host.page.click("#camera")
    viewer.wait_status("Paused by the host")
    host.page.click("#mute")
    host.page.click("#camera")
    viewer.wait_state("live")
    viewer.assert_plays()


def test_viewers_see_a_shared_screen_beside_the_camera(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    host.page.click("#share")
    viewer.wait("document.querySelector('video.is-main.is-screen')?.videoWidth > 0")
    viewer.wait("document.querySelector('video.is-inset')?.videoWidth > 0")
    studio.shot(viewer, "screen-and-camera")
    host.page.click("#share")
    viewer.wait("document.querySelectorAll('video').length === 1")
    viewer.assert_plays()
