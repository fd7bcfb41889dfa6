"""Free ports below the ephemeral range, each handed out once."""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST = 20_000, 31_999
_random = random.Random(os.getpid())
_given: set[int] = set()


def free_port() -> int:
    """A port that is free for TCP and UDP on 127.0.0.1."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that are free for TCP and UDP on 127.0.0.1."""
    for _ in range(1000):
        first = _random.randint(FIRST, LAST - count)
        wanted = range(first, first + count)
        if _given.isdisjoint(wanted) and all(map(_is_free, wanted)):
            _given.update(wanted)
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
