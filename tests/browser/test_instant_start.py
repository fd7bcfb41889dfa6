"""Who joins sees the stream at once, and the host is not asked for a picture."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.chromium import Studio, Tab
from tests.support.serving import COMMAND, ROOT, Server

pytestmark = pytest.mark.browser

JOINS = 5
BEHIND_MS_MAX = 250
"""How long frames may wait in a newcomer's jitter buffer once it has caught up."""

ASKED = """async () => {
  const { send } = await reprise.stats();
  const streams = send.filter(({ type }) => type === 'outbound-rtp');
  return streams.reduce((total, { pliCount = 0, firCount = 0 }) => total + pliCount + firCount, 0);
}"""

BUFFERED = """async () => {
  const { recv } = await reprise.stats();
  const video = recv.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
  return [video.jitterBufferDelay, video.jitterBufferEmittedCount, video.pliCount];
}"""


def requests_in_log(server: Server, room: str) -> int:
    """How often the host was asked for a keyframe, by the log."""
    command = [*COMMAND, "replay", "show", room, f"--data={server.data}", "--json"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sum(json.loads(line)["type"] == "KeyFrameAsked" for line in shown.splitlines())


def behind_ms(viewer: Tab) -> float:
    """How long each of the next frames waits before it is decoded, in the mean."""
    delay_s, count, _ = viewer.page.evaluate(BUFFERED)
    viewer.mark("behind")
    viewer.wait_grown("framesDecoded", 40, "behind")
    delay_after_s, count_after, _ = viewer.page.evaluate(BUFFERED)
    return 1000 * float(delay_after_s - delay_s) / (count_after - count)


def test_who_joins_begins_from_the_cache_and_the_host_is_not_asked(
    studio: Studio, server: Server
) -> None:
    host = studio.live_host()
    resident = studio.watching()
    resident.assert_plays()
    host.wait("probe.now?.layers.filter((layer) => layer.framesEncoded > 60).length === 3")
    asked, in_log = host.page.evaluate(ASKED), requests_in_log(server, studio.room)
    for _ in range(JOINS):
        newcomer = studio.watching()
        newcomer.assert_plays()
        assert newcomer.page.evaluate(BUFFERED)[2] == 0, "it never lacked a picture"
        assert behind_ms(newcomer) < BEHIND_MS_MAX
        newcomer.close()
    assert host.page.evaluate(ASKED) == asked
    assert requests_in_log(server, studio.room) == in_log
    studio.assert_faultless()
