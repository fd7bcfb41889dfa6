"""What nobody watches is not sent, and comes back before anybody misses it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_scalability import HEIGHT, layered_host, stream
from tests.support.chromium import Studio, Tab

pytestmark = pytest.mark.browser

RESTS_S = 30.0
"""How long Chromium may take for its upper layers, and the server to see that they are unused."""
PICTURE_MS_MAX = 500
"""From the request to resume a consumer until its first picture, when its producer was resting."""
METER = """() => {
  let last = performance.now();
  window.held_ms = 0;
  setInterval(() => {
    const now = performance.now();
    window.held_ms += Math.max(0, now - last - 30);
    last = now;
  }, 10);
}"""
"""Measures how long a busy machine holds a page up: by how much a timer of 10 ms comes late."""
IDLE_BPS_MAX = 30_000
"""What a host may send that nobody watches: reports and checks, on both media and RTCP."""

ACTIVE = "JSON.stringify(probe.now.layers.map((one) => one.active))"
LARGE = {"width": 1280, "height": 800}
SMALL = {"width": 320, "height": 480}
"""Windows that are worth the highest and the lowest layer."""

FIRST_PICTURE = """() => new Promise((resolve, reject) => {
  const { session } = reprise;
  const frames = async () => {
    const { recv } = await session.stats();
    const streams = [...recv.values()].filter(({ type }) => type === 'inbound-rtp');
    return streams.reduce((total, { framesDecoded }) => total + (framesDecoded ?? 0), 0);
  };
  (async () => {
    const before = await frames();
    const asked = performance.now();
    Object.defineProperty(document, 'hidden', { value: false, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
    while ((await frames()) === before) {
      await new Promise((next) => setTimeout(next, 20));
      if (performance.now() - asked > 10_000) throw new Error('no picture came');
    }
    return performance.now() - asked;
  })().then(resolve, reject);
})"""

PICTURES = """() => {
  const seen = (window.pictures = []);
  window.addEventListener('resize', () => (window.resized_ms = performance.now()));
  const video = [...document.querySelectorAll('video')].find(({ videoWidth }) => videoWidth);
  const look = () => {
    seen.push([performance.now(), video.videoHeight]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""
WOKE_MS_MAX = 2_000
"""From the window growing until the first picture of a layer that rested."""
FREEZE_MS_MAX = 1_000

UPLINK = """async () => {
  const { send } = await reprise.session.stats();
  const pair = [...send.values()].find((one) => one.type === 'transport');
  return [performance.now(), pair.bytesSent];
}"""


def wait_active(host: Tab, *states: bool) -> None:
    """Wait until just these encodings of the camera are switched on, the smallest first."""
    wanted = json.dumps(states, separators=(",", ":"))
    host.wait(f"probe.now && {ACTIVE} === '{wanted}'", RESTS_S)


def wait_layers(host: Tab) -> None:
    """Wait until Chromium sends all three encodings."""
    host.wait(
        "probe.now?.layers.length === 3 && probe.now.layers.every((one) => one.bytesSent > 0)",
        RESTS_S,
    )


def sent(host: Tab, seconds: float = 2.0) -> list[int]:
    """What each encoding of the camera sends in that time, in bytes."""

    def now() -> list[int]:
        host.page.wait_for_timeout(400)  # two samples: what is seen is no older than the call
        return [one["bytesSent"] for one in host.now()["layers"]]

    before = now()
    host.page.wait_for_timeout(seconds * 1000)
    return [after - then for then, after in zip(before, now(), strict=True)]


def uplink_bps(host: Tab, seconds: float = 3.0) -> float:
    """What a host sends in all, measured over that time."""
    began, before = host.page.evaluate(UPLINK)
    host.page.wait_for_timeout(seconds * 1000)
    ended, after = host.page.evaluate(UPLINK)
    return float((after - before) * 8000 / (ended - began))


def demands(host: Tab, source: str) -> list[Any]:
    """What a host was told of its camera or microphone, in order."""
    own = host.page.evaluate("(source) => reprise.session.producer(source).id", source)
    told = [one["data"] for one in host.notifications("producerDemand")]
    return [one["maxSpatialLayer"] for one in told if one["producer"] == own]


def held_ms(*tabs: Tab) -> float:
    """How long the machine has held these pages up since their meters run."""
    return sum(float(tab.page.evaluate("held_ms")) for tab in tabs)


def test_layers_that_nobody_wants_rest_and_come_back(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    wait_layers(host)
    viewer.page.set_viewport_size(SMALL)
    wait_active(host, True, False, False)
    viewer.wait("probe.now.frameHeight > 0 && probe.now.frameHeight <= 180")
    low, middle, high = sent(host)
    assert low > 1_000
    assert (middle, high) == (0, 0)
    viewer.page.set_viewport_size(LARGE)
    wait_active(host, True, True, True)
    viewer.wait("probe.now.frameHeight >= 720", RESTS_S)
    viewer.assert_plays()
    assert all(count > 0 for count in sent(host))
    assert demands(host, "camera")[-2:] == [0, 2]


def test_a_host_whom_nobody_watches_sends_nearly_nothing(studio: Studio, output: Path) -> None:
    host = studio.live_host()
    wait_active(host, False, False, False)
    assert demands(host, "camera") == [None]
    host.wait("probe.now.layers.length > 0")
    idle_bps = uplink_bps(host)
    assert idle_bps < IDLE_BPS_MAX
    assert host.state == "live"
    assert host.notifications("streamingStopped") == []

    viewer = studio.watching()
    viewer.assert_plays()
    viewer.assert_sounds()
    wait_layers(host)
    for tab in (host, viewer):
        tab.page.evaluate(METER)
    viewer.show(False)
    wait_active(host, False, False, False)
    assert sent(host) == [0, 0, 0]
    before_ms = held_ms(host, viewer)
    first_ms = round(viewer.page.evaluate(FIRST_PICTURE))
    held = round(held_ms(host, viewer) - before_ms)
    viewer.assert_plays()
    viewer.assert_sounds()
    shown = {"idle_bps": round(idle_bps), "first_picture_ms": first_ms, "held_ms": held}
    (output / "demand.json").write_text(json.dumps(shown))
    assert first_ms - held < PICTURE_MS_MAX, shown


def test_what_the_host_switched_off_stays_off_when_it_is_wanted(studio: Studio) -> None:
    host = studio.live_host()
    viewer = studio.watching()
    host.page.click("#mute")
    viewer.wait(
        "reprise.session.roster.remoteProducers.some((p) => p.kind === 'audio' && p.paused)"
    )
    viewer.show(False)
    wait_active(host, False, False, False)
    viewer.show(True)
    wait_active(host, True, True, True)
    viewer.mark("muted")
    viewer.wait_grown("framesDecoded", 40, "muted")
    assert viewer.page.evaluate("probe.grown('muted', 'audioBytes')") == 0
    host.page.click("#mute")
    viewer.wait_grown("audioBytes", 2_000, "muted")


def wait_mode(host: Tab, mode: str) -> dict[str, Any]:
    """Wait until the camera's only stream is encoded in that mode; returns its figures."""
    for _ in range(int(RESTS_S * 10)):
        figures = stream(host, "send")
        if figures["scalabilityMode"] == mode:
            return figures
        host.page.wait_for_timeout(100)
    raise AssertionError((mode, figures))


@pytest.mark.parametrize(("codec", "mode"), [("vp9", "L3T3_KEY"), ("av1", "L3T3")])
def test_layers_inside_of_a_stream_rest_and_come_back(
    studio: Studio, output: Path, codec: str, mode: str
) -> None:
    host = layered_host(studio, codec, mode)
    small = studio.watching(viewport=SMALL)
    other = studio.watching(viewport=SMALL)
    wait_mode(host, "L1T3")
    for tab in (small, other):
        tab.wait(f"Math.abs(probe.now.frameHeight - {HEIGHT / 4}) <= 2")
        tab.page.evaluate(PICTURES)
        tab.page.evaluate(METER)
    resting_bps = uplink_bps(host, 2.0)
    other.page.set_viewport_size(LARGE)
    other.wait(f"pictures.some(([, lines]) => lines >= {HEIGHT - 2})", RESTS_S)
    held = round(held_ms(other))
    woke_ms = other.page.evaluate(
        f"pictures.find(([, lines]) => lines >= {HEIGHT - 2})[0] - resized_ms"
    )
    assert wait_mode(host, mode)["frameHeight"] == HEIGHT
    other.mark("large")
    other.wait_grown("framesDecoded", 20, "large")
    busy_bps = uplink_bps(host, 2.0)
    other.page.set_viewport_size(SMALL)
    wait_mode(host, "L1T3")
    other.wait(f"Math.abs(probe.now.frameHeight - {HEIGHT / 4}) <= 2")

    pictures = small.page.evaluate("pictures")
    gaps = [at_ms - before_ms for (before_ms, _), (at_ms, _) in pairwise(pictures)]
    figures = {
        "woke_ms": round(woke_ms),
        "held_ms": held,
        "resting_bps": round(resting_bps),
        "busy_bps": round(busy_bps),
        "gap_ms": round(max(gaps)),
        "lines": sorted({lines for _, lines in pictures}),
        "told": demands(host, "camera"),
        "plis": stream(host, "send")["pliCount"],
    }
    (output / "figures.json").write_text(json.dumps(figures, indent=1))
    assert woke_ms - held < WOKE_MS_MAX, figures
    assert 2 * resting_bps < busy_bps, figures
    assert all(abs(lines - HEIGHT / 4) <= 2 for lines in figures["lines"]), figures
    assert max(gaps) - held < FREEZE_MS_MAX, figures
    assert figures["told"][-3:] == [0, 2, 0], figures
    assert host.notifications("streamingStopped") == []
    studio.assert_faultless()
