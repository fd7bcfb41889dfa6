"""Measure how soon a newcomer sees the stream: viewers in Chromium join one after another.

    python -m bench.first_frame [--joins N] [--json]

From the moment when the page sends `join` on its WebSocket to its first decoded frame
(`requestVideoFrameCallback`), on loopback, with the host's three layers live. Beside the times
stands how often the host was asked for a keyframe meanwhile, by the room's log, and when
the median viewer had got how far. Chromium and the
server go before other work of the machine where they may (root).
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

from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Studio, launching
from tests.support.networks import preceding, urgent
from tests.support.serving import COMMAND, ROOT, Server

ROOM = "first-frame"

WATCH = """(() => {
    const times = (window.joining_ms = {});
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
            });
        }
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true });
})();"""
"""Notes when a page that joins gets where: the first that it sends on a socket is `join`."""


def run(server: Server, joins: int, output: Path) -> dict[str, Any]:
    """Have viewers join one after another; the figures."""
    with launching() as launch:
        browser = launch(*FAKE_DEVICES, *FAKE_CONSENT, launcher=urgent(output))
        studio = Studio(browser, server.url, ROOM, output)
        host = studio.live_host()
        host.wait("probe.now?.layers.filter((layer) => layer.framesEncoded > 30).length === 3")
        before = keyframe_requests(server)
        waits_ms: list[float] = []
        steps_ms: dict[str, list[float]] = {}
        for _ in range(joins):
            viewer = studio.tab("viewer")
            viewer.context.add_init_script(WATCH)
            viewer.open(f"{studio.url}/viewer/{ROOM}")
            viewer.wait("window.joining_ms['frame shown'] !== undefined")
            times_ms: dict[str, float] = viewer.page.evaluate("window.joining_ms")
            assert viewer.asked[0][0] == "join"
            for step, at_ms in times_ms.items():
                steps_ms.setdefault(step, []).append(at_ms - times_ms["join sent"])
            waits_ms.append(times_ms["frame shown"] - times_ms["join sent"])
            viewer.close()
        asked = keyframe_requests(server) - before
        studio.close()
    waits_ms.sort()
    return {
        "joins": joins,
        "p50_ms": round(statistics.median(waits_ms)),
        "p95_ms": round(waits_ms[max(0, -(-joins * 95 // 100) - 1)]),
        "max_ms": round(waits_ms[-1]),
        "keyframe_requests_to_the_host": asked,
        "steps_p50_ms": {
            step: round(statistics.median(each))
            for step, each in sorted(steps_ms.items(), key=lambda one: statistics.median(one[1]))
        },
        "load": round(os.getloadavg()[0], 1),
    }


def keyframe_requests(server: Server) -> int:
    """How often the host was asked for a keyframe, by the log."""
    command = [*COMMAND, "replay", "show", ROOM, f"--data={server.data}", "--json"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = (json.loads(line) for line in shown.splitlines())
    return sum(each["type"] == "KeyFrameAsked" for each in entries)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the time to a viewer's first frame.")
    parser.add_argument("--joins", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-frame-") as directory:
        where = Path(directory)
        server = Server(where / "data", where)
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
