# ruff: noqa: PYI021 - the native module has its docstrings nowhere else
"""The native core: a Rust crate in media/native, built by maturin."""

import os
from typing import Literal, final

@final
class Engine:
    """The packet plane of one worker, without sockets and clocks.

    Feed it with `handle_*`, always with the time in ns, then drain it:
    `poll_transmit` until None, and `poll_notices`. The same seed and the same
    calls give the same output.
    """

    def __new__(cls, *, worker: int = 0, seed: int = 0, unix_offset_ns: int = 0) -> Engine:
        """Begin with empty tables.

        `unix_offset_ns` is Unix time at time zero, for sender reports.
        """

    def handle_orders(self, at_ns: int, frame_body: bytes) -> bytes:
        """Carry out an order frame's body (`{"seq", "orders"}`) and give its answer's body.

        Raises ValueError for a malformed body; nothing of it is carried out then.
        """

    def handle_datagram(self, at_ns: int, remote: str, data: bytes) -> None:
        """Take a datagram from `ip:port` or `[ip6]:port`. Raises ValueError for another form."""

    def handle_timeout(self, at_ns: int) -> None:
        """Do what is due."""

    def poll_transmit(self) -> tuple[str, bytes] | None:
        """Take the next datagram to send, and where to."""

    def poll_notices(self) -> bytes:
        """Take all notices, a msgpack list."""

    def next_deadline_ns(self) -> int | None:
        """Say when `handle_timeout` is due; may be early, never late."""

    def drops(self) -> dict[str, int]:
        """Count what was dropped and belonged to no transport, by reason."""

def run_plane(
    *,
    socket_path: str | os.PathLike[str],
    host: str,
    ports: tuple[int, int],
    workers: int,
    version: str,
    grace_ms: int,
) -> Literal["quit", "signal", "grace"]:
    """Run a plane in this process until it ends, and say why it did. Holds no GIL.

    Raises OSError (a port in use, a socket that can't be had, a worker that
    failed) or ValueError (a setting out of its range), with one line to print.
    """
