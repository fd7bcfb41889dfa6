"""A log to look at, and the command line that looks at it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from replay.cli import replay
from tests.replay.sessions import call, store


@pytest.fixture(scope="session")
def lobby():
    """A call of three, without anything odd; see `tests.replay.sessions.call`."""
    return call()


@pytest.fixture(scope="session")
def lobby_data(lobby, tmp_path_factory):
    return store(tmp_path_factory.mktemp("log") / "data", lobby)


class Commands:
    """Runs `reprise replay` on a data directory."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(self, *arguments):
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(replay, [*words, "--data", str(self.directory)])

    def text(self, *arguments):
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    def json(self, *arguments):
        return json.loads(self.text(*arguments, "--json"))

    def fails(self, *arguments, code=1):
        """The one line on stderr, with nothing on stdout."""
        result = self(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("Error: ").strip()


@pytest.fixture
def run(lobby_data):
    return Commands(lobby_data)
