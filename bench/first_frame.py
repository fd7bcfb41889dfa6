"""Measure how soon a newcomer sees the stream: viewers in Chromium join one after another.

    python -m bench.first_frame [--joins N] [--data DIR] [--json]

From the moment when the page sends `join` on its WebSocket to its first decoded frame
(`requestVideoFrameCallback`), on loopback, with the host's three layers live. Beside the times
stand those since the page was opened (its scripts are not in any cache), how often the host was
asked for a keyframe meanwhile and why, by the room's log, and when the median viewer and the
slowest had got how far. What the server waits for its disk is a part of the time; `--data` on a
file system in memory shows how large a part. Each viewer is a process of its own in a window that
was open before. Chromium and the server go before other work of the machine where they may (root),
and the tests' probe rests.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Studio, launching
from tests.support.networks import preceding, urgent
from tests.support.serving import COMMAND, ROOT, Server

ROOM = "first-frame"

WATCH = """(() => {
    const times = {};
    const note = (name) => (times[name] ??= performance.now());
    const methods = ['createTransport', 'connectTransport', 'consume', 'resumeConsumer', 'join'];
    const { send } = WebSocket.prototype;
    const asked = new Map();
    const text = (data) => String.fromCharCode(...new Uint8Array(data.buffer ?? data).slice(0, 99));
    WebSocket.prototype.send = function (data) {
        const frame = text(data);
        const method = methods.find((one) => frame.includes(one));
        const id = frame.slice(0, 9);
        if (method) {
            if (method === 'join') {
                this.addEventListener('message', (event) => {
                    const answer = text(event.data);
                    for (const [key, name] of asked) {
                        if (!answer.startsWith('id', 2) || answer.slice(4, 5) !== key[4]) continue;
                        asked.delete(key);
                        note(`${name} answered`);
                    }
                });
            }
            asked.set(id, method);
            note(`${method} sent`);
        }
        return send.call(this, data);
    };
    const Peer = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Peer {
        constructor(...given) {
            super(...given);
            const ice = () => this.iceConnectionState === 'connected' && note('ICE connected');
            this.addEventListener('iceconnectionstatechange', ice);
            const dtls = () => this.connectionState === 'connected' && note('DTLS connected');
            this.addEventListener('connectionstatechange', dtls);
        }
    };
    const watched = new WeakSet();
    const look = () => {
        for (const video of document.querySelectorAll('video')) {
            if (watched.has(video)) continue;
            watched.add(video);
            video.requestVideoFrameCallback((now, { receiveTime, presentationTime }) => {
                if (receiveTime) times['frame received'] ??= receiveTime;
                if (presentationTime) times['frame decoded'] ??= presentationTime;
                note('frame shown');
                console.log(`first frame ${JSON.stringify(times)}`);
            });
        }
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true });
})();"""
"""Notes when a page that joins gets where, and says so once it shows a frame. Times count from when
the page was opened."""

SAID = "first frame "


class Visitor:
    """Somebody with a browser window open, who follows a link to the room in a new tab.

    Each tab is a new process without a cache. The window stays, for opening one keeps Chromium
    busy with its own popups for a second. Nothing is asked of a page while it is timed: it says
    by itself when it is done.
    """

    def __init__(self, browser: Browser, address: str) -> None:
        self._address = address
        self._context = browser.new_context(viewport={"width": 1280, "height": 800})
        self._context.add_init_script(WATCH)
        self._context.new_page()

    def join(self) -> dict[str, float]:
        """Open the page and watch until it shows a frame; when it had got where, in ms."""
        page = self._context.new_page()
        self._context.new_cdp_session(page).send("Network.clearBrowserCache")
        with page.expect_console_message(lambda message: message.text.startswith(SAID)) as said:
            page.goto(self._address, wait_until="commit")
        times_ms: dict[str, float] = json.loads(said.value.text.removeprefix(SAID))
        page.close()
        return times_ms


def run(server: Server, joins: int, output: Path) -> dict[str, Any]:
    """Have viewers join one after another; the figures."""
    with launching() as launch:
        browser = launch(*FAKE_DEVICES, *FAKE_CONSENT, launcher=urgent(output))
        studio = Studio(browser, server.url, ROOM, output)
        host = studio.live_host()
        resident = studio.watching()  # so that all layers are wanted, and come
        visitor = Visitor(browser, f"{studio.url}/viewer/{ROOM}")
        host.wait("probe.now?.layers.filter((layer) => layer.framesEncoded > 30).length === 3")
        host.page.evaluate("window.probePeriod_ms = 3_600_000")
        resident.close()
        before = keyframe_requests(server)
        waits_ms: list[float] = []
        opened_ms: list[float] = []
        slowest_ms: dict[str, float] = {"join sent": 0.0, "frame shown": 0.0}
        steps_ms: dict[str, list[float]] = {}
        for _ in range(joins):
            times_ms = visitor.join()
            for step, at_ms in times_ms.items():
                steps_ms.setdefault(step, []).append(at_ms - times_ms["join sent"])
            waits_ms.append(times_ms["frame shown"] - times_ms["join sent"])
            slowest_ms = max(slowest_ms, times_ms, key=_wait_ms)
            opened_ms.append(times_ms["frame shown"])
        asked = keyframe_requests(server)[len(before) :]
        studio.close()
    return {
        "joins": joins,
        **_spread(waits_ms),
        "keyframe_requests_to_the_host": len(asked),
        "why_they_were_made": asked,
        "since_the_page_was_opened": _spread(opened_ms),
        "steps_p50_ms": {
            step: round(statistics.median(each))
            for step, each in sorted(steps_ms.items(), key=lambda one: statistics.median(one[1]))
        },
        "steps_of_the_slowest_ms": {
            step: round(at_ms - slowest_ms["join sent"])
            for step, at_ms in sorted(slowest_ms.items(), key=lambda one: one[1])
        },
        "load": round(os.getloadavg()[0], 1),
    }


def _wait_ms(times_ms: dict[str, float]) -> float:
    return times_ms["frame shown"] - times_ms["join sent"]


def _spread(each_ms: list[float]) -> dict[str, int]:
    ranked = sorted(each_ms)
    return {
        "p50_ms": round(statistics.median(ranked)),
        "p95_ms": round(ranked[max(0, -(-len(ranked) * 95 // 100) - 1)]),
        "max_ms": round(ranked[-1]),
    }


def keyframe_requests(server: Server) -> list[str]:
    """The causes of each request for a keyframe that the host was sent, by the log."""
    command = [*COMMAND, "replay", "show", ROOM, f"--data={server.data}", "--json"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = (json.loads(line) for line in shown.splitlines())
    asked = (each["data"] for each in entries if each["type"] == "KeyFrameAsked")
    return [" ".join(each.get("causes", ["repeated"])) for each in asked]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the time to a viewer's first frame.")
    parser.add_argument("--joins", type=int, default=20)
    parser.add_argument("--data", type=Path, help="directory for the server's, such as /dev/shm")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="first-frame-") as directory,
        tempfile.TemporaryDirectory(prefix="first-frame-", dir=options.data) as data,
    ):
        where = Path(directory)
        server = Server(Path(data) / "data", where)
        try:
            with preceding():
                server.start()
                figures = run(server, options.joins, where)
                server.stop()
        finally:
            server.close()
    print(json.dumps(figures, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
