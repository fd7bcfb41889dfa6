"""Each video codec goes from host page to viewer page, in three layers and over their switches."""

from __future__ import annotations

import pytest

from tests.support.chromium import Studio

pytestmark = pytest.mark.browser


WINDOWS = {
    180: {"width": 320, "height": 480},
    360: {"width": 640, "height": 600},
    720: {"width": 1280, "height": 800},
}
"""Windows that are worth a layer of so many lines."""


@pytest.mark.parametrize("codec", ["VP8", "H264", "VP9", "AV1"])
def test_a_simulcast_host_is_watched_and_pictures_go_on_over_switches_of_layers(
    studio: Studio, codec: str
) -> None:
    host = studio.live_host(f"codec={codec.lower()}")
    # Chromium raises its upper layers once transport-cc tells it that there is room.
    host.wait("probe.now?.layers.filter(({ framesEncoded }) => framesEncoded > 5).length === 3")
    sent = host.now()
    assert sent["sentCodecs"] == [f"video/{codec}"]
    assert [layer["frameHeight"] for layer in sent["layers"]] == [180, 360, 720]
    viewer = studio.watching()
    viewer.assert_plays()
    received = viewer.now()
    assert received["receivedCodecs"] == [f"video/{codec}"]
    assert received["frameHeight"] in {180, 360, 720}
    consumers = viewer.page.evaluate(
        "[...reprise.session.consumers.values()].map(({ kind, rtpParameters }) =>"
        " [kind, rtpParameters.encodings.length])"
    )
    assert sorted(consumers) == [["audio", 1], ["video", 1]]
    for turn, height in enumerate((180, 720, 360, 180, 720)):
        viewer.page.set_viewport_size(WINDOWS[height])
        viewer.wait(f"probe.now.frameHeight === {height}")
        viewer.mark(f"turn{turn}")
        viewer.wait_grown("framesDecoded", 15, f"turn{turn}")
    # A busy machine makes a picture late; a decoder that waits for a keyframe is later by far.
    assert viewer.now()["freezes_s"] < 3
