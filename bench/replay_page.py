"""Measure the replay page on a long log: how soon Chromium shows the first picture, and the API.

    python -m bench.replay_page [--data DIR] [--envelopes N] [--viewers N] [--rounds N] [--json]

The log is one hour of a thousand viewers, made by the real deciders (`tests.support.big_log`); with
`--data` an existing one of room `arena` is used. *Cold* is the first opening: the index is not
there, and is built beside the server. *Warm* has it on disk, and a server that was just started.
The first picture is the moment at which overview and first lanes are on the canvas, in milliseconds
since the navigation began. Figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bench.machine import machine
from replay.snapshots import FILE_NAME as SNAPSHOTS
from replay.timeline.cache import DIRECTORY as INDEXES
from tests.support.big_log import make
from tests.support.ports import free_port

ROOM = "arena"
ROOT = Path(__file__).resolve().parents[1]


class Shelf:
    """A server of pages and API, and nothing else."""

    def __init__(self, data: Path) -> None:
        self.url = f"http://localhost:{(port := free_port())}"
        command = [sys.executable, "-m", "tests.replay.page.child", str(data), str(port)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def ask(self, path: str) -> tuple[dict[str, object], float]:
        """An answer, and how many milliseconds it took."""
        started = time.perf_counter()
        with urllib.request.urlopen(f"{self.url}/api/replay{path}", timeout=120) as answer:
            told = json.load(answer)
        return told, (time.perf_counter() - started) * 1e3

    def indexed(self) -> float:
        """Wait until the index is whole; the seconds that it took from now on."""
        started = time.perf_counter()
        while True:
            told, _ = self.ask(f"/{ROOM}")
            if not told["building"] and told["indexed"] == told["end"]:
                return time.perf_counter() - started
            time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def first_picture_ms(browser: Browser, shelf: Shelf) -> float:
    """Open the page in a fresh context."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{shelf.url}/replay/{ROOM}")
    page.wait_for_selector("html[data-painted]", state="attached")
    painted = float(page.locator("html").get_attribute("data-painted") or "nan")
    context.close()
    return painted


def measure(data: Path, rounds: int) -> dict[str, float]:
    """All figures of one log."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    flags = ["--no-sandbox", "--headless=new", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        first_picture_of_nothing(browser)
        for _ in range(rounds):
            shutil.rmtree(data / INDEXES, ignore_errors=True)
            for path in data.glob(f"{SNAPSHOTS}*"):
                path.unlink()
            shelf = Shelf(data)
            note("cold_first_picture_ms", first_picture_ms(browser, shelf))
            note("index_built_s", shelf.indexed())
            shelf.close()
            shelf = Shelf(data)
            note("warm_first_picture_ms", first_picture_ms(browser, shelf))
            note("again_first_picture_ms", first_picture_ms(browser, shelf))
            ask_around(shelf, note)
            shelf.close()
        browser.close()
    return {name: statistics.median(values) for name, values in found.items()}


def first_picture_of_nothing(browser: Browser) -> None:
    """Let Chromium load what it loads once."""
    page = browser.new_page()
    page.goto("about:blank")
    page.close()


def ask_around(shelf: Shelf, note: object) -> None:
    """What the page asks while one looks around."""
    assert callable(note)
    told, _ = shelf.ask(f"/{ROOM}")
    begin, end, last = told["begin_ns"], told["end_ns"], int(str(told["end"]))
    lanes, took = shelf.ask(f"/{ROOM}/lanes?limit=40")
    note("lanes_ms", took)
    keys = ",".join(lane["key"] + "/*" for lane in lanes["lanes"])  # type: ignore[attr-defined]
    span = f"from={begin}&to={end}"
    note("density_of_40_lanes_ms", shelf.ask(f"/{ROOM}/density?lanes={keys}&{span}&buckets=400")[1])
    note("state_anywhere_ms", shelf.ask(f"/{ROOM}/state?at={last // 3}&viewer=a")[1])
    note("state_next_step_ms", shelf.ask(f"/{ROOM}/state?at={last // 3 + 1}&viewer=a")[1])
    note("why_ms", shelf.ask(f"/{ROOM}/why/{last // 2}")[1])


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--envelopes", type=int, default=1_000_000)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data
        if data is None:
            data = make(Path(scratch) / "data", options.envelopes, viewers=options.viewers)
        figures = measure(data, options.rounds)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"replay page: {machine()}, {options.rounds} rounds")
    for name, value in figures.items():
        print(f"  {name:<28}{value:>10.1f}")


if __name__ == "__main__":
    main()
