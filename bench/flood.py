"""What floods from one socket cost the others: `python -m bench.flood [--viewers N] [--rate N]`.

A router with one worker on the first core, `reprise load` and the flood on the second. The flood is
of one kind at a time, as many datagrams a second as told: forged connectivity checks for a ufrag
that there is not, garbage, DTLS hellos, and RTP, all from one address that no check has verified.
One line a kind: the CPU time of the router a second, and what viewers noticed.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time

from bench.load_runs import RAMP_PER_S, on_cores, report_of, router, start_load
from bench.sampler import sampling

BURST = 20
"""Datagrams that are sent between two looks at the clock."""


def kinds() -> dict[str, bytes]:
    """One datagram of each kind; none for comparison."""
    username = b"nobody12:somebody"
    attribute = b"\x00\x06" + len(username).to_bytes(2) + username + bytes(-len(username) % 4)
    integrity = b"\x00\x08\x00\x14" + bytes(20)
    body = attribute + integrity
    stun = b"\x00\x01" + len(body).to_bytes(2) + b"\x21\x12\xa4\x42" + bytes(12) + body
    return {
        "nothing": b"",
        "forged checks": stun,
        "garbage": b"\xff" * 100,
        "DTLS hellos": b"\x16\xfe\xfd" + bytes(8) + b"\x00\x64" + bytes(100),
        "RTP": b"\x80\x60" + bytes(10) + b"\xaa" * 1000,
    }


class Flood(threading.Thread):
    """Sends one datagram again and again."""

    def __init__(self, port: int, datagram: bytes, rate: int) -> None:
        super().__init__(daemon=True)
        self._address = ("127.0.0.1", port)
        self._datagram = datagram
        self._rate = rate
        self._ended = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Send until told to end, at the rate in the mean."""
        began_s = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while self._datagram and not self._ended.is_set():
                for _ in range(BURST):
                    out.sendto(self._datagram, self._address)
                self.sent += BURST
                time.sleep(max(0.0, began_s + self.sent / self._rate - time.monotonic()))

    def end(self) -> None:
        """End."""
        self._ended.set()
        self.join()


def measure(kind: str, datagram: bytes, viewers: int, rate: int, duration_s: int) -> str:
    """Flood a fresh router while so many viewers watch; a line about it."""
    cores = sorted(os.sched_getaffinity(0))
    load = (f"--viewers={viewers}", f"--duration={duration_s}s")
    load += (f"--ramp={max(1, viewers // RAMP_PER_S)}s",)
    with router(cores[:1], workers=1, viewers=viewers) as server, sampling(server) as sampler:
        with on_cores(cores[-1:]):
            flood = Flood(server.rtc_port, datagram, rate)
            flood.start()
        report = report_of(start_load(server.signaling_url, *load, cores=cores[-1:]))
        flood.end()
    steady = report["steady"]
    used = sampler.steady(report)
    latency = steady["latency_ms"]
    return (
        f"{kind}: {report['joins']['joined']} joined, the router used"
        f" {sum(used['cpu'].values()):.1%} of a core, p50 {latency['p50']:.2f} p99"
        f" {latency['p99']:.2f} ms, loss {steady['loss']:.4%}, {flood.sent} sent"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what floods cost the others.")
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--rate", type=int, default=20_000, help="datagrams a second")
    parser.add_argument("--duration", type=int, default=6, help="seconds that all watch")
    options = parser.parse_args()
    for kind, datagram in kinds().items():
        print(measure(kind, datagram, options.viewers, options.rate, options.duration), flush=True)


if __name__ == "__main__":
    main()
