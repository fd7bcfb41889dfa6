"""Fixtures of the browser tests: a real server, a real Chromium, and the pages in it.

What a test shows and says is kept in test-output/browser/MODULE/TEST/, passed or failed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import FAKE_CONSENT, FAKE_DEVICES, Launch, Studio, launching
from tests.support.serving import ROOT, Server

OUTPUT = ROOT / "test-output" / "browser"
LOG_LINES_SHOWN = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """Show the end of the server's log beside a failure."""
    report: pytest.TestReport = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server) and server.log_path.exists():
        lines = server.log_path.read_text().splitlines()[-LOG_LINES_SHOWN:]
        report.sections.append(("the server's log", "\n".join(lines)))
    return report


@pytest.fixture(scope="module")
def module_output(request: pytest.FixtureRequest) -> Path:
    """Where what a module's tests leave behind is kept; empty at first."""
    path = OUTPUT / request.path.stem.removeprefix("test_")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@pytest.fixture
def output(request: pytest.FixtureRequest, module_output: Path) -> Path:
    """Where what this test leaves behind is kept."""
    path = module_output / re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Launches Chromium."""
    with launching() as launch:
        yield launch


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """Chromium with a camera, a microphone, and a user who allows both."""
    return launch(*FAKE_DEVICES, *FAKE_CONSENT)


@pytest.fixture(scope="module")
def shared_server(
    module_output: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests of a module that leave it as it was."""
    with _running(Server(tmp_path_factory.mktemp("data"), module_output)) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The server of this test: a shared one, unless its module says otherwise."""
    return shared_server


@pytest.fixture
def own_server(output: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may kill and start again."""
    with _running(Server(tmp_path / "data", output)) as server:
        yield server


@pytest.fixture
def studio(
    request: pytest.FixtureRequest, browser: Browser, server: Server, output: Path
) -> Iterator[Studio]:
    """The pages of this test, in a room of its own."""
    room = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:60]
    with opened(Studio(browser, server.url, room.strip("-"), output)) as studio:
        yield studio


@contextlib.contextmanager
def opened(studio: Studio) -> Iterator[Studio]:
    """Keep what the pages show, close them, and fail if one threw what nobody caught."""
    try:
        yield studio
    finally:
        studio.keep()
        studio.close()
    studio.assert_faultless()


@contextlib.contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
        if server.running:
            server.stop()
    finally:
        server.close()
