"""The media plane as a process: `python -m media.plane`.

Reads its few settings and hands over to native code at once; no Python runs
while packets flow. It prints nothing unless it fails: then one line on stderr,
and exit code 1 (2 for a wrong command line). It ends with code 0 when it is
told to quit, at SIGTERM, and when no controller came back in time.

Its packets cannot wait: where the system allows it (CAP_SYS_NICE, or a limit such as systemd's
LimitNICE), it goes before other processes of the machine, the control process among them.

It outlives who started it: SIGINT, SIGHUP and SIGPIPE are ignored, and it
waits for another controller to take it over.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from media import _native
from protocol.orders import PLANE_PROTOCOL

GRACE_MS = 30_000
"""How long a plane waits for its first controller, in ms."""
NICENESS = -15
"""Where it is allowed: 28 times a usual process's share of a core that both want. The kernel hands
such a share out in ticks, up to 4 ms at a time, and who is to be sent to waits for each."""


def port_range(text: str) -> tuple[int, int]:
    """Read `first-last` or a single port."""
    first, _, last = text.partition("-")
    ports = int(first), int(last or first)
    if not 0 <= ports[0] <= ports[1] <= 65_535:
        raise ValueError(text)
    return ports


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m media.plane", description="The media plane.")
    parser.add_argument("--socket", required=True, metavar="PATH", help="socket for controllers")
    parser.add_argument("--host", default="127.0.0.1", help="IP address of the UDP sockets")
    parser.add_argument("--ports", type=port_range, default=(10_000, 10_100), metavar="FIRST-LAST")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--version", default="", help="what the plane says its version is")
    parser.add_argument("--no-telemetry", action="store_true", help="do not measure streams")
    parser.add_argument("--recorder-bytes", type=int, default=64 * 1024 * 1024, metavar="N")
    parser.add_argument("--recorder-seconds", type=int, default=30, metavar="N")
    parser.add_argument("--keyframe-interval-ms", type=int, default=4_000, metavar="N")
    parser.add_argument("--grace-ms", type=int, default=GRACE_MS, help="wait for a controller")
    return parser


def _precede() -> None:
    """Take the niceness that is wanted, or as much of it as is allowed (RLIMIT_NICE)."""
    for niceness in range(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a plane until it ends; the exit code."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    _precede()
    try:
        _native.run_plane(
            socket_path=options.socket,
            host=options.host,
            ports=options.ports,
            workers=options.workers,
            version=options.version or f"plane protocol {PLANE_PROTOCOL}",
            grace_ms=options.grace_ms,
            telemetry=not options.no_telemetry,
            recorder_bytes=options.recorder_bytes,
            recorder_seconds=options.recorder_seconds,
            keyframe_interval_ms=options.keyframe_interval_ms,
        )
    except (OSError, ValueError, OverflowError) as error:
        print(f"media.plane: {error}", file=sys.stderr)  # noqa: T201 - its one line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
