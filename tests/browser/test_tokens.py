"""A server with a secret lets pages in that have a token for the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Studio
from tests.support.serving import Server, reprise

pytestmark = pytest.mark.browser

SECRET = {"REPRISE_SECRET": "a-secret-of-the-tests-with-32-bytes-or-more"}


@pytest.fixture(scope="module")
def shared_server(
    module_output: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"), module_output, env=SECRET)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


def token(room: str, *options: str) -> str:
    made = reprise("token", f"--room={room}", *options, env=SECRET)
    assert made.returncode == 0, made.stderr
    return f"token={made.stdout.strip()}"


def test_nobody_hosts_without_a_token(studio: Studio) -> None:
    host = studio.host()
    host.page.click("#start")
    host.wait_status("You are not allowed in here")
    assert "no valid token" in host.text("#detail")


def test_nobody_watches_without_a_token(studio: Studio) -> None:
    viewer = studio.viewer()
    viewer.wait_status("You are not allowed in here")


def test_nobody_watches_with_a_token_for_another_room(studio: Studio) -> None:
    viewer = studio.viewer(fragment=token("another"))
    viewer.wait_status("You are not allowed in here")


def test_those_who_have_a_token_host_and_watch(studio: Studio) -> None:
    host = studio.live_host(fragment=token(studio.room, "--name=The Host"))
    watch = token(studio.room, "--no-publish", "--name=Mira")
    viewer = studio.watching(fragment=watch)
    viewer.assert_plays()
    host.wait_text("#viewer-list", "Mira")


def test_nobody_hosts_with_a_token_for_watching(studio: Studio) -> None:
    host = studio.host(fragment=token(studio.room, "--no-publish"))
    host.page.click("#start")
    host.wait_status("You are not allowed in here")
