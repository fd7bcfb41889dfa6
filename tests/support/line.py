"""A line that can be cut: a TCP relay between a client and a server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_CHUNK = 65_536


class Line:
    """Relays connections from its own `port` to `target_port`, both on loopback.

    `cut` breaks what is connected, and refuses whatever comes, until `mend`. `accepted` counts
    the connections that were relayed.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self.accepted = 0
        self._target_port = target_port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.mend()

    @property
    def url(self) -> str:
        """Where a client signals through this line."""
        return f"ws://localhost:{self.port}/"

    def cut(self) -> None:
        """Break all connections and stop listening."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets, self._open = self._open, set()
        if listener is not None:
            _shut(listener)
        for each in sockets:
            _shut(each)

    def mend(self) -> None:
        """Listen again."""
        listener = socket.create_server(("127.0.0.1", self.port))
        with self._lock:
            assert self._listener is None
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                if self._listener is not listener:
                    near.close()
                    far.close()
                    return
                self._open |= {near, far}
                self.accepted += 1
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
        for each in (source, sink):
            _shut(each)
        with self._lock:
            self._open -= {source, sink}


@contextlib.contextmanager
def line_to(port: int, target_port: int) -> Iterator[Line]:
    """A line that is cut at the end."""
    line = Line(port, target_port)
    try:
        yield line
    finally:
        line.cut()


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
