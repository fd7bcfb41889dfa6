"""What a router's processes use while a load runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime

from bench.crowd import Router, Usage
from bench.load_runs import Figures
from tests.support.serving import Server

SAMPLE_S = 0.25
EDGE_S = 1.0
"""Left out at both ends of the steady time: a report tells when it began in whole seconds."""


class Sampler(threading.Thread):
    """Notes what the router's processes have used, a few times a second."""

    def __init__(self, router: Router) -> None:
        super().__init__(daemon=True)
        self._router = router
        self._ended = threading.Event()
        self.samples: list[tuple[float, dict[str, Usage]]] = []

    def run(self) -> None:
        """Sample until told to end."""
        while not self._ended.wait(SAMPLE_S):
            self.samples.append((time.time(), self._router.usage()))

    def end(self) -> None:
        """End."""
        self._ended.set()
        self.join()

    def steady(self, report: Figures) -> Figures:
        """Of each process: CPU seconds a second in the steady time, and memory at its end."""
        steady = report["steady"]
        started_s = datetime.fromisoformat(report["started_at"]).timestamp()
        start_s = started_s + steady["began_s"] + EDGE_S
        end_s = started_s + steady["began_s"] + steady["seconds"] - EDGE_S
        inside = [sample for sample in self.samples if start_s <= sample[0] <= end_s]
        (first_s, first), (last_s, last) = inside[0], inside[-1]
        took_s = last_s - first_s
        cpu = {name: (last[name].cpu_s - first[name].cpu_s) / took_s for name in last}
        return {"cpu": cpu, "rss_kb": {name: usage.rss_kb for name, usage in last.items()}}


@contextlib.contextmanager
def sampling(server: Server) -> Iterator[Sampler]:
    """A sampler that samples meanwhile."""
    sampler = Sampler(Router(server))
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.end()
