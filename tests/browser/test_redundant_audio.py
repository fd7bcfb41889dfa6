"""Chromium hears opus with redundancy (RFC 2198) that another client publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.child import child
from tests.support.chromium import Studio
from tests.support.serving import Server

pytestmark = pytest.mark.browser


def test_a_viewer_page_hears_redundant_audio(studio: Studio, server: Server, output: Path) -> None:
    log = output / "red.log"
    with child("tests.support.red_peer", server.signaling_url, studio.room, log=log) as publisher:
        publisher.wait("published")
        viewer = studio.watching()
        viewer.assert_plays()
        viewer.assert_sounds()
        viewer.mark("sound")
        viewer.wait_grown("audioBytes", 30_000, "sound")
        assert viewer.page.evaluate(CODECS) == ["audio/red", "audio/opus"]
        received = viewer.page.evaluate(AUDIO)
        # A fourth of all packets is missing, and hardly any sound: the next ones bear it.
        assert received["packetsLost"] > 0.2 * received["packetsReceived"], received
        assert received["concealedSamples"] < 0.05 * received["totalSamplesReceived"], received
        publisher.leave()
        viewer.wait_state("ended")


CODECS = """
[...window.reprise.session.consumers.values()]
  .find(({ kind }) => kind === 'audio').rtpParameters.codecs.map(({ mimeType }) => mimeType)
"""
AUDIO = """
async () => {
  const { recv } = await window.reprise.stats();
  return recv.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
}
"""
