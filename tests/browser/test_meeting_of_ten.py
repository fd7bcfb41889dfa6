"""Ten people meet, one of them shares a screen: each page is sent what it shows, and no more.

Eight of the ten have their pages in the background, as people do: they send, and take sound alone.
"""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Launch, Studio, Tab

pytestmark = pytest.mark.browser

NAMES = ("Ann", "Bob", "Cid", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jule")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 3}
SMALL = {"viewport": {"width": 480, "height": 320}}
SETTLES_S = 40.0
"""How long Chromium may take for the layers that are wanted, on a busy machine."""
POLL_MS = 100

BEHIND = """
Object.defineProperty(document, 'hidden', { value: true, configurable: true });
window.probePeriod_ms = 1000;
"""
"""A page that opens behind another."""
SPEECHLESS = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  if (wanted.audio) throw new DOMException('no microphone', 'NotFoundError');
  return open(wanted);
};
"""
"""A machine without a microphone."""

SHARE = """() => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [1280, 720];
  const context = canvas.getContext('2d');
  setInterval(() => {
    context.fillStyle = '#fff';
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = '#234';
    context.font = '30px sans-serif';
    const lines = ['Agenda', '', '1  Who takes which layers', '2  What rests', '3  Questions'];
    lines.forEach((line, row) => context.fillText(line, 90, 120 + row * 60));
    context.fillText(String(Math.floor(performance.now() / 200)), 1100, 660);
  }, 200);
  navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(5);
}"""

RECEIVED = """async () => {
  const { recv } = await reprise.stats();
  const producers = new Map();
  for (const [id, { track }] of reprise.session.consumers) producers.set(track.id, id);
  const { roster } = reprise.session;
  const found = {};
  for (const one of recv ?? []) {
    if (one.type !== 'inbound-rtp' || one.kind !== 'video') continue;
    const { peer, appData } = roster.producers.get(producers.get(one.trackIdentifier)) ?? {};
    const name = roster.peers.get(peer)?.name;
    if (name) found[`${name} ${appData.source}`] = [one.frameHeight ?? 0, one.bytesReceived ?? 0];
  }
  return found;
}"""
"""Lines and bytes of each picture that came in, by who sent it."""


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """Chromium with a camera of few pictures a second, to spare the machine."""
    return launch(f"{FAKE_DEVICES[0]}=fps=5", *FAKE_CONSENT)


def enter(studio: Studio, name: str, *scripts: str, **options: object) -> Tab:
    """Join the meeting by that name, on a page with these scripts."""
    tab = studio.tab(name, **options)
    for script in scripts:
        tab.context.add_init_script(script)
    tab.open(f"{studio.url}/meet/{studio.room}")
    tab.page.fill("#name", name)
    tab.page.click("#start")
    tab.wait_state("live")
    return tab


PLAYING = """(count) => {
  const seats = [...document.querySelectorAll('.seat')];
  const floor = document.querySelector('#floor').getBoundingClientRect();
  return seats.length === count && seats.every((seat) => {
    const { left, right, top, bottom } = seat.getBoundingClientRect();
    const video = seat.querySelector('video');
    const off = right <= floor.left || left >= floor.right;
    const under = bottom <= floor.top || top >= floor.bottom;
    return off || under || (video.videoWidth > 0 && video.currentTime > 0.2);
  });
}"""


def wait_playing(tab: Tab, seats: int) -> None:
    """Wait until there are so many seats, and those on the screen show pictures that move."""
    tab.wait(f"({PLAYING})({seats})")


def lines(tab: Tab) -> dict[str, int]:
    """Lines of each picture that came in lately."""
    return {name: height for name, (height, _) in tab.page.evaluate(RECEIVED).items()}


def flows(tab: Tab, seconds: float) -> dict[str, int]:
    """What each picture brought in that time, in bytes."""
    before = tab.page.evaluate(RECEIVED)
    tab.page.wait_for_timeout(seconds * 1000)
    after = tab.page.evaluate(RECEIVED)
    return {name: count - before.get(name, (0, 0))[1] for name, (_, count) in after.items()}


def wait_large(tab: Tab, seat: str) -> None:
    """Wait until that seat is the large one."""
    tab.wait(f"document.querySelector('.seat.is-main .seat-name')?.textContent === {seat!r}")


def wait_lines(tab: Tab, wanted: dict[str, int]) -> None:
    """Wait until the pictures that come in have so many lines."""

    deadline = time.monotonic() + SETTLES_S
    while (found := lines(tab)) != wanted:
        assert time.monotonic() < deadline, f"{tab.name} is sent {found}, not {wanted}"
        tab.page.wait_for_timeout(POLL_MS)


def wait_sending(tab: Tab, *states: bool) -> None:
    """Wait until just these encodings of the camera are switched on, the smallest first."""
    wanted = json.dumps(states, separators=(",", ":"))
    tab.wait(
        "JSON.stringify((probe.now?.layers ?? []).filter(({ rid }) => rid)"
        f".map(({{ active }}) => active)) === '{wanted}'"
    )


def cameras(but: str, *, large: str | None = None, of: int = 180) -> dict[str, int]:
    """Lines of everybody's camera but one's own: the lowest layer's, but for the large one."""
    low = {f"{name} camera": 180 for name in NAMES if name != but}
    return low | ({f"{large} camera": of} if large else {})


def test_each_page_is_sent_what_it_shows_and_no_more(studio: Studio) -> None:
    ann = enter(studio, "Ann")
    cid, bob = enter(studio, "Cid", BEHIND), enter(studio, "Bob", SPEECHLESS, **PHONE)
    rest = [enter(studio, name, BEHIND, SPEECHLESS, **SMALL) for name in NAMES[3:]]
    ann.wait_text("#detail", "10 people here")

    # Cid speaks, and is large everywhere. Small pictures come as the lowest layer, and a phone's
    # largest as the middle one.
    ann.page.click("#mute")
    wait_large(ann, "Cid")
    wait_large(bob, "Cid")
    wait_playing(ann, 10)
    wait_lines(ann, cameras("Ann", large="Cid", of=720))
    wait_lines(bob, cameras("Bob", large="Cid", of=360))
    studio.shot(ann, "spotlight")
    studio.shot(bob, "phone")

    # In the background nothing comes; and what nobody shows large is not sent large by anybody.
    assert all(lines(tab) == {} for tab in (cid, *rest))
    wait_sending(cid, True, True, True)
    for tab in rest:
        wait_sending(tab, True, False, False)

    ann.page.click("#layout")
    wait_lines(ann, cameras("Ann"))
    wait_sending(cid, True, True, False)
    studio.shot(ann, "grid")
    ann.page.click("#layout")

    # A screen is large beside its owner's camera, which goes on.
    cid.page.evaluate(SHARE)
    cid.page.click("#share")
    wait_large(ann, "Cid\N{RIGHT SINGLE QUOTATION MARK}s screen")
    wait_lines(ann, cameras("Ann") | {"Cid screen": 720})
    wait_playing(ann, 11)
    studio.shot(ann, "screen")

    # Brought behind, the last pages that show anything let everybody rest.
    ann.show(False)
    bob.show(False)
    for tab in (ann, bob, cid, *rest):
        wait_sending(tab, False, False, False)
    assert set(flows(ann, 1).values()) == {0}
    ann.show(True)
    ann.mark("back")
    ann.wait_grown("framesDecoded", 30, "back")
    wait_playing(ann, 11)
    wait_sending(bob, True, False, False)
