"""Who climbs to a larger picture goes on where it was: what it has seen is not shown again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import opened
from tests.browser.test_instant_start import ASKED
from tests.support.camera import CLOCK_BITS, CLOCK_LINES, CLOCK_SPAN, FPS, HEIGHT, grainy_film
from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Launch, Studio, Tab
from tests.support.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ROOM = "climbing"
SMALL = {"width": 320, "height": 480}
LARGE = {"width": 1280, "height": 800}
CLIMBS = 3
AGAIN_MS_MAX = 250
"""A keyframe of the last 200 ms is begun with: three pictures of this camera may be shown again."""
FREEZE_MS_MAX = 1_000

CLOCK = """([bits, part]) => {
  const seen = (window.clock = []);
  const canvas = new OffscreenCanvas(3 * bits, 3);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const video = [...document.querySelectorAll('video')].find(({ videoWidth }) => videoWidth);
  const look = (now) => {
    const { videoWidth, videoHeight } = video;
    context.drawImage(video, 0, 0, videoWidth, videoHeight * part, 0, 0, canvas.width, 3);
    const { data } = context.getImageData(0, 1, canvas.width, 1);
    let number = 0;
    for (let bit = 0; bit < bits; bit += 1) number |= (data[4 * (3 * bit + 1)] > 128) << bit;
    seen.push([now, number, videoHeight]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""


@pytest.fixture
def studio(launch: Launch, server: Server, output: Any, tmp_path: Any) -> Iterator[Studio]:
    """Pages with a camera whose pictures are numbered."""
    film = grainy_film(tmp_path / "film.y4m", has_clock=True)
    browser = launch(*FAKE_DEVICES, *FAKE_CONSENT, f"--use-file-for-fake-video-capture={film}")
    with opened(Studio(browser, server.url, ROOM, output)) as studio:
        yield studio


def shown(viewer: Tab) -> list[tuple[float, int, int]]:
    """When which picture was shown (ms, number, lines); but for those that can't be read."""
    pictures = []
    for at_ms, bits, lines in viewer.page.evaluate("clock"):
        number = bits % CLOCK_SPAN
        if number.bit_count() % 2 == bits // CLOCK_SPAN:
            pictures.append((at_ms, number, lines))
    return pictures


def test_who_climbs_is_not_shown_again_what_it_has_seen(studio: Studio, output: Path) -> None:
    host = studio.live_host()
    resident = studio.watching(viewport=LARGE)  # so that all layers are wanted, and come
    host.wait("probe.now?.layers.filter((layer) => layer.framesEncoded > 30).length === 3")
    resident.close()
    viewer = studio.watching(viewport=SMALL)
    viewer.wait("probe.now.frameHeight === 180")
    viewer.mark("begun")
    viewer.wait_grown("framesDecoded", 2 * FPS, "begun")
    asked = host.page.evaluate(ASKED)
    viewer.page.evaluate(CLOCK, [CLOCK_BITS, CLOCK_LINES / HEIGHT])
    for _ in range(CLIMBS):
        for size, lines in ((LARGE, HEIGHT), (SMALL, HEIGHT // 4)):
            viewer.page.set_viewport_size(size)
            viewer.wait(f"probe.now.frameHeight === {lines}")
            viewer.mark("switched")
            viewer.wait_grown("framesDecoded", FPS // 2, "switched")
    pictures = shown(viewer)
    read = len(pictures) / len(viewer.page.evaluate("clock"))
    assert read > 0.95, f"{read:.0%} of the numbers can be read"
    assert {lines for _, _, lines in pictures} >= {HEIGHT, HEIGHT // 4}
    back, gaps = [], []
    for (before_ms, before, _), (at_ms, number, lines) in pairwise(pictures):
        step = (number - before + CLOCK_SPAN // 2) % CLOCK_SPAN - CLOCK_SPAN // 2
        gaps.append((at_ms - before_ms, lines))
        if step < 0:
            back.append((-step * 1000 / FPS, lines))
    figures = {"longest_ms": max(gaps)[0], "gaps": sorted(gaps)[-4:], "back": back}
    (output / "climbing.json").write_text(json.dumps(figures))
    assert all(back_ms <= AGAIN_MS_MAX for back_ms, _ in back), back
    assert max(gaps)[0] < FREEZE_MS_MAX, sorted(gaps)[-4:]
    assert host.page.evaluate(ASKED) - asked <= 2 * CLIMBS
    assert viewer.now().get("pliCount", 0) == 0
    studio.assert_faultless()
