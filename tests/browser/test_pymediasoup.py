"""pymediasoup, unmodified, publishes to the viewer page and watches the host page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.child import child
from tests.support.chromium import Studio
from tests.support.serving import Server

pytestmark = pytest.mark.browser

PEER = "tests.support.pymediasoup_peer"


def test_a_viewer_page_watches_pymediasoup(studio: Studio, server: Server, output: Path) -> None:
    with child(
        PEER, "publish", server.signaling_url, studio.room, log=output / "pymediasoup.log"
    ) as publisher:
        assert publisher.wait("published")["codec"].lower() == "video/vp8"
        viewer = studio.watching()
        viewer.assert_plays()
        viewer.assert_sounds()
        received = viewer.now()
        assert received["receivedCodecs"] == ["video/VP8"]
        assert (received["width"], received["height"]) == (640, 360)
        publisher.leave()
        viewer.wait_state("ended")


def test_pymediasoup_watches_a_host_page(studio: Studio, server: Server, output: Path) -> None:
    host = studio.live_host()
    with child(
        PEER, "watch", server.signaling_url, studio.room, log=output / "pymediasoup.log"
    ) as watcher:
        host.wait_text("#viewer-list", "pymediasoup watch")
        first = watcher.wait("video")
        moved = 0
        while moved < 3:
            seen = watcher.wait("video")
            moved += seen["changed"] > 0.002
            assert seen["contrast"] > 50
        assert seen["frames"] > first["frames"]
        while watcher.wait("audio")["loudest"] < 100:
            pass
        watcher.leave()
        host.wait_text("#viewer-count", "^0$")
