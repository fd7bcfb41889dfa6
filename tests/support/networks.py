"""Network namespaces that lie behind a bottleneck: what runs in one reaches this machine through
a link that can be narrowed, and, where wanted, loses and delays packets.

The link's capacity is `tc`'s token bucket on the near end, so it binds what flows to the namespace;
loss, delay and jitter are those of a wire (`tests.support.wire`) between two TUN devices, in both
directions. It needs the rights of root in its own network namespace, iproute2 and util-linux;
`why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.serving import ROOT

UNLIMITED_BPS = 1_000_000_000
BURST_BYTES = 3_000
"""What may leave at once: less than a run of UDP GSO, which the bucket then takes apart."""

QUEUE_S = 0.3
"""How long a packet may wait in the bottleneck's queue; what would wait longer is dropped."""

PRECEDENCE = -15
"""As a nice value."""

_NAMES = random.Random(os.getpid())


class Namespace:
    """A network namespace behind a link of its own.

    `here` is this machine's address on the link, `there` the namespace's. Made by `behind_veth`
    and `behind_wire`, which take it away again.
    """

    def __init__(self, name: str, subnet: str) -> None:
        self.name = name
        self.here = f"{subnet}.1"
        self.there = f"{subnet}.2"
        self.device = f"{name}h"
        self._wire: subprocess.Popen[str] | None = None

    def launcher(self, directory: Path) -> Callable[[str], str]:
        """Turns a program's path into that of one in `directory` that runs it inside."""
        return urgent(directory, f"nsenter --net=/run/netns/{self.name}", self.name)

    def narrow(self, bits_per_s: int | None) -> None:
        """Let so much through to the namespace from now on, or all there is (None)."""
        rate = bits_per_s or UNLIMITED_BPS
        queue = BURST_BYTES + int(rate / 8 * QUEUE_S)
        burst = max(BURST_BYTES, rate // 8 // 1000)
        bucket = f"tbf rate {rate}bit burst {burst} limit {min(queue, 10_000_000)}"
        _run(f"tc qdisc replace dev {self.device} root {bucket}")

    def disturb(self, *, loss: float = 0.0, delay_ms: float = 0.0, jitter_ms: float = 0.0) -> None:
        """Lose this share of packets and delay the others, each way; needs a wire.

        The delay of each packet is drawn evenly from `delay_ms` ± `jitter_ms`, but none overtakes
        another.
        """
        assert self._wire is not None
        assert self._wire.stdin is not None
        assert self._wire.stdout is not None
        now = {"loss": loss, "delay_ms": delay_ms, "jitter_ms": jitter_ms}
        self._wire.stdin.write(json.dumps(now) + "\n")
        self._wire.stdin.flush()
        assert json.loads(self._wire.stdout.readline()) == now

    def dropped(self) -> int:
        """Packets that the bottleneck's queue has refused so far."""
        said = _run(f"tc -s -j qdisc show dev {self.device} root")
        return int(json.loads(said)[0]["drops"])

    def _tie(self, far: str) -> None:
        """Give both ends of the link their addresses and set them up."""
        _run(f"ip address add {self.here} peer {self.there} dev {self.device}")
        _run(f"ip link set {self.device} up")
        _run(f"ip link set {far} netns {self.name}")
        for command in (
            f"address add {self.there} peer {self.here} dev {far}",
            f"link set {far} up",
            "link set lo up",
        ):
            _run(f"ip -n {self.name} {command}")
        self.narrow(None)


def urgent(directory: Path, prefix: str = "", name: str = "urgent") -> Callable[[str], str]:
    """Turns a program's path into that of one in `directory` that runs it with precedence.

    Its session's autogroup (sched(7)) goes before others, so that what is measured is the network
    and not what else the machine does.
    """

    def wrap(executable: str) -> str:
        path = directory / f"{Path(executable).name}-{name}"
        precede = f"echo {PRECEDENCE} 2>/dev/null >/proc/self/autogroup"
        path.write_text(f'#!/bin/sh\n({precede})\nexec {prefix} {executable} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return wrap


@contextlib.contextmanager
def preceding() -> Iterator[None]:
    """Give this process's session, and what it starts in it, precedence as `urgent` does."""
    group = Path("/proc/self/autogroup")
    with contextlib.suppress(OSError):
        group.write_text(str(PRECEDENCE))
    yield
    with contextlib.suppress(OSError):
        group.write_text("0")


@contextlib.contextmanager
def behind_veth() -> Iterator[Namespace]:
    """A namespace behind a pair of virtual Ethernet devices: capacity alone, the kernel's."""
    with _namespace() as namespace:
        far = f"{namespace.name}f"
        _run(f"ip link add {namespace.device} type veth peer name {far}")
        try:
            namespace._tie(far)
            yield namespace
        finally:
            _run(f"ip link delete {namespace.device}")


@contextlib.contextmanager
def behind_wire(seed: int = 1) -> Iterator[Namespace]:
    """A namespace behind a wire that can lose and delay packets; the seed draws which."""
    with _namespace() as namespace:
        far = f"{namespace.name}f"
        command = [sys.executable, "-m", "tests.support.wire", namespace.device, far, str(seed)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as wire:
            try:
                assert wire.stdout is not None
                assert wire.stdout.readline() == "ready\n", "the wire did not come up"
                namespace._wire = wire
                namespace._tie(far)
                yield namespace
            finally:
                wire.terminate()


@functools.cache
def why_not() -> str | None:
    """What keeps this process from making namespaces, or None."""
    missing = [tool for tool in ("ip", "tc", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"needs {', '.join(missing)} (Debian: iproute2, util-linux)"
    try:
        with behind_veth(), behind_wire():
            return None
    except (AssertionError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f"network namespaces, veth, TUN or tbf are not permitted here: {said.strip()}"


@contextlib.contextmanager
def _namespace() -> Iterator[Namespace]:
    subnet = f"10.{_NAMES.randint(190, 250)}.{_NAMES.randint(1, 250)}"
    namespace = Namespace(f"rp{os.getpid() % 100_000}x{_NAMES.randrange(4096):x}", subnet)
    _run(f"ip netns add {namespace.name}")
    try:
        yield namespace
    finally:
        _run(f"ip netns delete {namespace.name}")


def _run(command: str) -> str:
    done = subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=10)
    return done.stdout
