"""Measure a crowd: how fast a thousand viewers join while a stream runs, and what each costs.

    python -m bench.crowd [--viewers N] [--rate N] [--linger S] [--leave] [--json] [-- OPTIONS]

The router (control process and plane) is pinned to the first core, this client to the second. A
join is a socket, `join`, `createTransport`, `connectTransport`, ICE and DTLS, two `consume` and two
`resumeConsumer`. Viewers read their sockets and leave media packets to the kernel. OPTIONS go to
`reprise serve`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

from bench.crowd_viewer import Viewer
from load.client import connect
from load.endpoint import Endpoint
from load.parameters import viewer_capabilities
from media.certificate import DtlsCertificate
from media.dtls import DtlsContext
from tests.support.serving import Server

ROOM = "crowd"
CONSENT_S = 4.0
"""How often viewers renew their consent to receive (RFC 7675)."""


class Usage(NamedTuple):
    """What a process has used so far."""

    cpu_s: float
    rss_kb: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return cls(cpu_s, int(rss.split()[1]))


class Router:
    """The two processes of a server."""

    def __init__(self, server: Server) -> None:
        self.pids = {"control": server.pid, "plane": _plane_of(server.data)}

    def usage(self) -> dict[str, Usage]:
        """What each has used."""
        return {name: Usage.of(pid) for name, pid in self.pids.items()}


def _plane_of(data: Path) -> int:
    wanted = os.fsencode(data / "plane.sock")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("no plane")


class Crowd:
    """A publisher and many viewers of one room."""

    def __init__(self, url: str, viewers: int, rate: float) -> None:
        self.viewers: list[Viewer] = []
        self.failed: list[str] = []
        self._url = url
        self._wanted = viewers
        self._rate = rate
        self._context = DtlsContext(DtlsCertificate.generate())

    async def publish(self, nursery: trio.Nursery) -> None:
        """Send one video and one audio stream from now on."""
        nursery.start_soon(self._publisher)
        while not getattr(self, "_producers", None):  # noqa: ASYNC110 - once, at the start
            await trio.sleep(0.05)

    async def _publisher(self) -> None:
        async with connect(self._url) as client, trio.open_nursery() as nursery:
            peer = Endpoint(client, nursery, context=self._context)
            joined = await peer.join(ROOM, name="host")
            audio = await peer.publish("audio/opus", bitrate_bps=32_000)
            video = await peer.publish("video/VP8", bitrate_bps=1_000_000)
            capabilities = viewer_capabilities(joined.router_rtp_capabilities)
            self._capabilities = msgspec.to_builtins(capabilities)
            self._producers = (audio.producer, video.producer)
            await trio.sleep_forever()

    async def join(self, nursery: trio.Nursery) -> float:
        """Have all viewers join; the seconds until the last one has."""
        begun_s = trio.current_time()
        nursery.start_soon(self._keep_consent)
        async with trio.open_nursery() as joining:
            for number in range(self._wanted):
                joining.start_soon(self._join_one, nursery, number)
                if self._rate:
                    await trio.sleep_until(begun_s + (number + 1) / self._rate)
        return trio.current_time() - begun_s

    async def _join_one(self, nursery: trio.Nursery, number: int) -> None:
        viewer = Viewer(self._url, self._context)
        try:
            with trio.fail_after(120):
                await nursery.start(viewer.run)
                await viewer.join(ROOM, f"viewer {number}", self._producers, self._capabilities)
        except (trio.TooSlowError, OSError, RuntimeError) as error:
            self.failed.append(f"{viewer.step}: {error!r}")
            return
        self.viewers.append(viewer)

    async def _keep_consent(self) -> None:
        while True:
            await trio.sleep(CONSENT_S)
            for viewer in list(self.viewers):
                viewer.send_consent()

    async def leave(self) -> None:
        """Have all viewers leave."""
        async with trio.open_nursery() as leaving:
            for viewer in self.viewers:
                leaving.start_soon(viewer.leave)


async def run(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """Let the crowd come, stay for a while and go; returns the figures."""
    crowd = Crowd(server.signaling_url, options.viewers, options.rate)
    router = Router(server)
    steps: dict[str, dict[str, Usage]] = {}
    async with trio.open_nursery() as nursery:
        await crowd.publish(nursery)
        await trio.sleep(1)
        steps["idle"] = router.usage()
        took_s = await crowd.join(nursery)
        steps["joined"] = router.usage()
        await trio.sleep(options.linger)
        steps["watching"] = router.usage()
        closed = sum(viewer.closed for viewer in crowd.viewers)
        if options.leave:
            await crowd.leave()
            await trio.sleep(3)
            steps["left"] = router.usage()
        nursery.cancel_scope.cancel()
    return _figures(crowd, steps, took_s, options) | {"closed": closed}


def _figures(
    crowd: Crowd, steps: dict[str, dict[str, Usage]], took_s: float, options: argparse.Namespace
) -> dict[str, Any]:
    joined = len(crowd.viewers)
    waits = sorted(viewer.joined_s for viewer in crowd.viewers)
    figures: dict[str, Any] = {
        "viewers": joined,
        "failed": len(crowd.failed),
        "failures": sorted(set(crowd.failed))[:5],
        "all_joined_s": round(took_s, 2),
        "join_p50_s": round(statistics.median(waits), 3) if waits else None,
        "join_p99_s": round(waits[int(len(waits) * 0.99)], 3) if waits else None,
        "notifications": sum(viewer.notifications for viewer in crowd.viewers),
        "bytes_of_signaling": sum(viewer.bytes_received for viewer in crowd.viewers),
        "load": os.getloadavg()[0],
    }
    for name in ("control", "plane"):
        idle, after, later = (steps[step][name] for step in ("idle", "joined", "watching"))
        figures[name] = {
            "join_cpu_ms": round((after.cpu_s - idle.cpu_s) / max(joined, 1) * 1e3, 2),
            "cpu_of_joining": round((after.cpu_s - idle.cpu_s) / took_s, 2),
            "cpu_of_watching": round((later.cpu_s - after.cpu_s) / max(options.linger, 0.1), 3),
            "rss_mb": round(later.rss_kb / 1024, 1),
            "rss_kb_per_viewer": round((later.rss_kb - idle.rss_kb) / max(joined, 1), 1),
        }
        if "left" in steps:
            figures[name]["leave_cpu_ms"] = round(
                (steps["left"][name].cpu_s - later.cpu_s) / max(joined, 1) * 1e3, 2
            )
    figures["rss_kb_per_viewer"] = round(
        sum(figures[name]["rss_kb_per_viewer"] for name in ("control", "plane")), 1
    )
    return figures


def _problems(log: Path) -> dict[str, int]:
    """What the server logged as a warning or worse, counted."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    worse = [line["event"] for line in lines if line["level"] not in ("debug", "info")]
    return dict(Counter(worse))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure a crowd of viewers.")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="joins a second; 0: all at once")
    parser.add_argument("--linger", type=float, default=5.0, help="seconds that all watch")
    parser.add_argument("--leave", action="store_true", help="have them leave one by one")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("serve", nargs="*", help="options of `reprise serve`")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="crowd-") as directory:
        where = Path(directory)
        server = Server(where / "data", where, options=options.serve)
        os.sched_setaffinity(0, cores[:1])
        try:
            server.start()
            os.sched_setaffinity(0, cores[-1:])
            figures = trio.run(run, server, options)
        finally:
            server.close()
        figures["problems"] = _problems(server.log_path)
    if options.json:
        print(json.dumps(figures))
        return
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
