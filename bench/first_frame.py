"""Measure how soon a newcomer sees the stream: viewers in Chromium join one after another.

    python -m bench.first_frame [--joins N] [--json]

From the moment when the page sends `join` on its WebSocket to its first decoded frame
(`requestVideoFrameCallback`), on loopback, with the host's three layers live. Beside the times
stands how often the host was asked for a keyframe meanwhile, by the room's log. Chromium and the
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
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        window.joinSent_ms ??= performance.now();
        return send.call(this, data);
    };
    const watched = new WeakSet();
    const look = () => {
        for (const video of document.querySelectorAll('video')) {
            if (watched.has(video)) continue;
            watched.add(video);
            video.requestVideoFrameCallback(() => (window.firstFrame_ms ??= performance.now()));
        }
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true });
})();"""
"""The first that a page sends on a socket is `join`."""


def run(server: Server, joins: int, output: Path) -> dict[str, Any]:
    """Have viewers join one after another; the figures."""
    with launching() as launch:
        browser = launch(*FAKE_DEVICES, *FAKE_CONSENT, launcher=urgent(output))
        studio = Studio(browser, server.url, ROOM, output)
        host = studio.live_host()
        host.wait("probe.now?.layers.filter((layer) => layer.framesEncoded > 30).length === 3")
        before = keyframe_requests(server)
        waits_ms = []
        for _ in range(joins):
            viewer = studio.tab("viewer")
            viewer.context.add_init_script(WATCH)
            viewer.open(f"{studio.url}/viewer/{ROOM}")
            viewer.wait("window.firstFrame_ms !== undefined")
            took_ms = viewer.page.evaluate("window.firstFrame_ms - window.joinSent_ms")
            assert viewer.asked[0][0] == "join"
            waits_ms.append(took_ms)
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
