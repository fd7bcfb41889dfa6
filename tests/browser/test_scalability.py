"""Layers inside of one stream (SVC) go from a host page to viewer pages, and down and up there.

Each mode is encoded, sent in layers by the router, and decoded by a real Chromium.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Studio, Tab

pytestmark = pytest.mark.browser

MODES = [
    ("vp9", "L1T2"),
    ("vp9", "L1T3"),
    ("vp9", "L2T2"),
    ("vp9", "L2T3_KEY"),
    ("vp9", "L3T3"),
    ("vp9", "L3T3_KEY"),
    ("av1", "L1T2"),
    ("av1", "L1T3"),
    ("av1", "L2T2_KEY"),
    ("av1", "L3T3"),
    ("av1", "L3T3_KEY"),
]
HEIGHT = 540
"""Lines of the picture that is sent: Chromium makes three layers of no smaller one, and the machine
encodes AV1 in time."""
SWITCH_S = 12.0
"""Until a layer is there that was asked for: a viewer waits for a keyframe 4 s at most, unless the
machine is slow."""
MEASURED_MAX = 10
"""How often a share of frames is measured until it is what it should be."""
PICTURES_MEASURED = 8
"""That a viewer should get while a share is measured: one more or less is within the bounds."""
FPS = 20
"""Of Chromium's camera."""
GAP_MS_MAX = 2_500
"""Between two pictures. A decoder that misses one stops until the next keyframe, many seconds."""
FROZEN_S_MAX = 3.0

SHRINK = """async (by) => {
  const sender = reprise.session.producer('camera').rtpSender;
  const parameters = sender.getParameters();
  parameters.encodings[0].scaleResolutionDownBy = by;
  await sender.setParameters(parameters);
}"""
SEND_ALL = """() => {
  const sender = reprise.session.producer('camera').rtpSender;
  const set = sender.setParameters.bind(sender);
  sender.setParameters = async (parameters, options) => options && set(parameters, options);
}"""
"""Has a page send all layers, whether anybody takes them or not."""
PREFER = """([spatialLayer, temporalLayer]) => {
  const all = [...reprise.session.consumers.values()];
  const { id } = all.find(({ kind }) => kind === 'video');
  return reprise.request('setPreferredLayers', { consumer: id, spatialLayer, temporalLayer });
}"""
STREAM = """async (direction) => {
  const report = (await reprise.stats())[direction];
  const type = direction === 'send' ? 'outbound-rtp' : 'inbound-rtp';
  return report.find((one) => one.type === type && one.kind === 'video');
}"""


def layered_host(studio: Studio, codec: str, mode: str) -> Tab:
    """A host that is live in that mode, with a picture of so many lines."""
    host = studio.live_host(f"codec={codec}&scalability={mode}")
    host.page.evaluate(SHRINK, 720 / HEIGHT)
    host.wait(f"probe.now?.layers[0]?.frameHeight === {HEIGHT}")
    return host


def stream(tab: Tab, direction: str) -> dict[str, Any]:
    """What W3C webrtc-stats say of the video that a page sends or receives."""
    found: dict[str, Any] = tab.page.evaluate(STREAM, direction)
    return found


def consumer_types(tab: Tab) -> dict[str, str]:
    """Types of what a viewer was given, by kind."""
    answers = [frame["data"] for frame in tab.heard if frame.get("ok") and "type" in frame["data"]]
    return {answer["kind"]: answer["type"] for answer in answers}


def share_of_frames(tab: Tab, host: Tab, spatial_layers: int, seconds: float) -> float:
    """Of the pictures that a host makes, how many a viewer decodes, over that time."""

    def counts() -> tuple[float, float]:
        made: float = stream(host, "send")["framesEncoded"]
        decoded: float = stream(tab, "recv")["framesDecoded"]
        return made / spatial_layers, decoded

    began = counts()
    tab.page.wait_for_timeout(seconds * 1000)
    ended = counts()
    return (ended[1] - began[1]) / (ended[0] - began[0])


class Viewer:
    """A viewer who asks for layers, and what came of it."""

    def __init__(self, tab: Tab, host: Tab, mode: str) -> None:
        self.tab = tab
        self.host = host
        self.highest = (int(mode[1]) - 1, int(mode[3]) - 1)
        self.seen: list[dict[str, Any]] = []

    def take(self, spatial: int, temporal: int) -> None:
        """Ask for layers up to these, and wait for them: the picture's height, its share of all
        frames, and what the page is told."""
        top, fastest = self.highest
        height = HEIGHT / 2 ** (top - spatial)
        self.tab.page.evaluate(PREFER, [spatial, temporal])
        # Heights of lower layers are rounded.
        self.tab.wait(f"Math.abs(probe.now.frameHeight - {height}) <= 2", SWITCH_S)
        self._wait_told(spatial, temporal if fastest else None)
        share = 1 / 2 ** (fastest - temporal)
        seconds = max(1.0, PICTURES_MEASURED / (FPS * share))
        measured: list[float] = []
        while not measured or not 0.7 * share < measured[-1] < 1.3 * share:
            assert len(measured) < MEASURED_MAX, (spatial, temporal, measured)
            measured.append(share_of_frames(self.tab, self.host, top + 1, seconds))
        assert abs(self.tab.now()["frameHeight"] - height) <= 2, "it stays"
        self.seen.append({"layers": [spatial, temporal], "shares": measured})

    def _wait_told(self, *layers: int | None) -> None:
        for _ in range(100):
            told = self.tab.notifications("layersChanged")[-1]["data"]
            if (told["spatialLayer"], told["temporalLayer"]) == layers:
                return
            self.tab.page.wait_for_timeout(100)
        raise AssertionError((layers, self.tab.notifications("layersChanged")))


@pytest.mark.parametrize(("codec", "mode"), MODES)
def test_a_stream_of_layers_is_thinned_and_filled_up_again(
    studio: Studio, output: Path, codec: str, mode: str
) -> None:
    host = layered_host(studio, codec, mode)
    host.page.evaluate(SEND_ALL)
    tab = studio.watching()
    tab.assert_plays()
    viewer = Viewer(tab, host, mode)
    top, fastest = viewer.highest
    assert consumer_types(tab)["video"] == "svc"
    assert stream(host, "send")["scalabilityMode"] == mode
    assert host.now()["sentCodecs"] == tab.now()["receivedCodecs"] == [f"video/{codec.upper()}"]
    viewer.take(top, fastest)
    tab.page.evaluate("probe.gap_ms = 0")
    before = stream(tab, "recv")
    asked = stream(host, "send")["pliCount"]

    for spatial in range(top - 1, -1, -1):
        viewer.take(spatial, fastest)
    if top > 0:
        viewer.take(top, fastest)
    for temporal in range(fastest - 1, -1, -1):
        viewer.take(top, temporal)
    if top > 0:
        viewer.take(0, 0)
    viewer.take(top, fastest)

    after, sent = stream(tab, "recv"), stream(host, "send")
    gap_ms = tab.page.evaluate("probe.gap_ms")
    figures = {
        "turns": viewer.seen,
        "gap_ms": round(gap_ms),
        **{name: after[name] for name in ("pliCount", "nackCount", "framesDropped", "freezeCount")},
        "frozen_s": after["totalFreezesDuration"] - before["totalFreezesDuration"],
        "plis_to_host": sent["pliCount"],
        "encoder": sent.get("encoderImplementation"),
    }
    (output / "figures.json").write_text(json.dumps(figures, indent=1))
    assert after["pliCount"] - before["pliCount"] <= 1, figures
    assert sent["pliCount"] - asked <= len(viewer.seen), figures
    # A busy machine is late for some; a decoder that lacks one loses all until the next keyframe.
    lost, decoded = (after[name] - before[name] for name in ("framesDropped", "framesDecoded"))
    assert lost < 0.25 * decoded, figures
    assert gap_ms < GAP_MS_MAX, figures
    assert figures["frozen_s"] < FROZEN_S_MAX, figures


@pytest.mark.parametrize(("codec", "mode"), [("vp9", "L3T3_KEY"), ("av1", "L3T3")])
def test_each_viewer_has_the_layers_that_its_window_is_worth(
    studio: Studio, codec: str, mode: str
) -> None:
    layered_host(studio, codec, mode)
    small = studio.watching(viewport={"width": 320, "height": 480})
    large = studio.watching(viewport={"width": 1280, "height": 800})
    for tab, height in ((small, HEIGHT / 4), (large, HEIGHT)):
        tab.wait(f"Math.abs(probe.now.frameHeight - {height}) <= 2", SWITCH_S)
        tab.assert_plays()
    marks = [tab.mark("both")["videoBytes"] for tab in (small, large)]
    large.wait_grown("framesDecoded", 60, "both")
    small.wait_grown("framesDecoded", 60, "both")
    few, many = (
        tab.now()["videoBytes"] - mark for tab, mark in zip((small, large), marks, strict=True)
    )
    assert 3 * few < many


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("codec=vp9&scalability=L9T9", "There is no such scalability mode"),
        ("codec=vp9&scalability=", "There is no such scalability mode"),
        ("codec=vp8&scalability=L3T3", "This browser cannot send these layers"),
        ("codec=h263&scalability=L1T2", "This browser cannot send these layers"),
    ],
)
def test_a_mode_that_cannot_be_sent_is_refused_with_words(
    studio: Studio, query: str, words: str
) -> None:
    host = studio.host(query)
    host.page.click("#start")
    host.wait_status(words)
    assert host.state == "error"
    assert host.asked == [], "it never joined"
