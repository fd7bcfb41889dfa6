"""A wire between two TUN devices that loses and delays packets, as netem does in kernels that have
it: `python -m tests.support.wire NEAR FAR SEED`.

Says `ready` once both devices are there; they vanish with it. Each line on standard input is a JSON
map of `loss` (0 to 1), `delay_ms` and `jitter_ms`, which holds from then on in both directions, and
is said again when it does. Ends when its input ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import sys
import time
from collections import deque
from random import Random

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_BYTES_MAX = 65_535
QUEUE_MAX = 5_000
"""Packets under way in one direction; more are lost."""


def device(name: str) -> int:
    """Make a TUN device; its file descriptor works wherever the device is moved."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


def say(line: str) -> None:
    """Tell whoever started this."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Direction:
    """Packets on their way from one device to the other, in the order in which they leave."""

    def __init__(self, source: int, sink: int, random: Random) -> None:
        self.source = source
        self._sink = sink
        self._random = random
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._last_s = 0.0

    @property
    def next_s(self) -> float | None:
        """When the next packet arrives."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now_s: float, *, loss: float, delay_ms: float, jitter_ms: float) -> None:
        """Take in what the source has sent."""
        with contextlib.suppress(BlockingIOError):
            while packet := os.read(self.source, PACKET_BYTES_MAX):
                if self._random.random() < loss or len(self._waiting) >= QUEUE_MAX:
                    continue
                delay_s = (delay_ms + self._random.uniform(-jitter_ms, jitter_ms)) / 1e3
                self._last_s = max(self._last_s, now_s + max(0.0, delay_s))
                self._waiting.append((self._last_s, packet))

    def give(self, now_s: float) -> None:
        """Hand on what has arrived."""
        while self._waiting and self._waiting[0][0] <= now_s:
            packet = self._waiting.popleft()[1]
            with contextlib.suppress(OSError):  # a device that is not up yet
                os.write(self._sink, packet)


def run(near: int, far: int, seed: int) -> None:
    """Be the wire until standard input ends."""
    random = Random(seed)
    directions = {
        near: Direction(near, far, random),
        far: Direction(far, near, random),
    }
    now = {"loss": 0.0, "delay_ms": 0.0, "jitter_ms": 0.0}
    poll = select.poll()
    for file in (near, far, sys.stdin.fileno()):
        poll.register(file, select.POLLIN)
    while True:
        due = [each.next_s for each in directions.values() if each.next_s is not None]
        wait_ms = max(0.0, min(due) - time.monotonic()) * 1e3 if due else None
        for file, _ in poll.poll(wait_ms):
            if file in directions:
                directions[file].take(time.monotonic(), **now)
            elif line := sys.stdin.readline():
                now = json.loads(line)
                say(json.dumps(now))
            else:
                return
        for each in directions.values():
            each.give(time.monotonic())


def main() -> None:
    """Make the devices and relay between them, ahead of other work: a wire waits for no core."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    near, far = device(sys.argv[1]), device(sys.argv[2])
    say("ready")
    run(near, far, int(sys.argv[3]))


if __name__ == "__main__":
    main()
