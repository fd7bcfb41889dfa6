"""A helper process that speaks in JSON lines."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.serving import ROOT

STOP_S = 15.0


class Child:
    """A running module of tests.support. `wait` takes what it said, in order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.said: list[dict[str, Any]] = []
        self._process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, event: str, timeout_s: float = 30.0, **wanted: Any) -> dict[str, Any]:
        """The next that it says of this name and with these values."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event} {wanted}; it said {self.said[-20:]}") from None
            assert line is not None, f"it ended; it said {self.said[-20:]}"
            said = json.loads(line)
            self.said.append(said)
            assert said["event"] != "error", said
            if said["event"] == event and wanted.items() <= said.items():
                return dict(said)

    def leave(self) -> None:
        """Tell it to leave, and see that it ends well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(STOP_S) == 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextlib.contextmanager
def child(module: str, *arguments: str, log: Path) -> Iterator[Child]:
    """Run `python -m MODULE`; what it writes to standard error goes to `log`."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Child(process)
        finally:
            process.kill()
