"""`show`: filters by time, and following a live room."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import trio

from replay.store import SqliteStore
from replay.text import utc
from tests.replay.conftest import Commands
from tests.replay.sessions import START_NS, S, Session, call, store


def positions(text):
    return [json.loads(line)["position"] for line in text.splitlines()]


def between(lobby, since_ns, until_ns):
    return [n for n, d in enumerate(lobby.drafts, 1) if since_ns <= d.at_ns <= until_ns]


def test_times_choose_what_is_shown(run, lobby):
    at = lobby.drafts[20].at_ns
    end = lobby.drafts[-1].at_ns
    start = lobby.drafts[0].at_ns
    for options, expected in (
        (["--since", utc(at)], between(lobby, at, end)),
        (["--until", utc(at)], between(lobby, start, at)),
        (["--since", utc(at), "--until", utc(at)], between(lobby, at, at)),
        (["--since", "+500ms"], between(lobby, start + S // 2, end)),
        (["--until", "-0.1s"], between(lobby, start, end - S // 10)),
        (["--since", "1999-01-01"], between(lobby, start, end)),
        (["--until", "1999-01-01"], []),
        (["--since", "2999-01-01"], []),
        (["--since", 30, "--until", 32], [30, 31, 32]),
        (["--since", 30, "--after", 31, "--until", 32], [32]),
    ):
        assert positions(run.text("show", "lobby", "--json", *options)) == expected, options
    assert len(between(lobby, at, at)) > 1


def test_times_go_with_the_other_filters(run, lobby):
    shown = run.text("show", "lobby", "--json", "--since", "+500ms", "--type", "PeerJoined")
    joins = [n for n, d in enumerate(lobby.drafts, 1) if d.type == "PeerJoined"]
    assert positions(shown) == [n for n in joins if lobby.drafts[n - 1].at_ns >= START_NS + S // 2]


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_wrong_time_is_one_line(run, option):
    assert "is no instant" in run.fails("show", "lobby", option, "soon")


def test_following_needs_no_end(run):
    result = run("show", "lobby", "--follow", "--until", "end")
    assert result.exit_code == 2
    assert "cannot be used with --until" in result.stderr


def command(directory, *options):
    return [
        sys.executable, "-m", "gateway.cli", "replay", "show", "lobby", "--json", "--follow",
        "--data", str(directory), *options,
    ]  # fmt: skip


class Lines:
    """The lines of a process's output, as they come."""

    def __init__(self, stream):
        self.stream = stream
        self.rest = b""

    async def next(self):
        while b"\n" not in self.rest:
            more = await self.stream.receive_some()
            assert more, "the output ended"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


async def test_a_live_room_is_followed_until_it_closes(tmp_path):
    session = Session()
    session.join("Ann")
    async with await SqliteStore.open(tmp_path / "data") as log:
        await log.append("lobby", 0, session.drafts)
        written = session.position
        process = await trio.lowlevel.open_process(
            command(tmp_path / "data"), stdout=subprocess.PIPE
        )
        lines = Lines(process.stdout)
        for position in range(1, written + 1):
            assert (await lines.next())["position"] == position
        for name in ("Bea", "Cem"):
            session.join(name)
            await log.append("lobby", written, session.drafts[written:])
            for position in range(written + 1, session.position + 1):
                assert (await lines.next())["position"] == position
            written = session.position
        session.close()
        await log.append("lobby", written, session.drafts[written:])
        for position in range(written + 1, session.position + 1):
            assert (await lines.next())["position"] == position
        assert await process.wait() == 0
        assert await process.stdout.receive_some() == b""


async def test_an_interrupt_ends_following_without_a_word(tmp_path):
    session = call()
    async with await SqliteStore.open(tmp_path / "data") as log:
        await log.append("lobby", 0, session.drafts)
        process = await trio.lowlevel.open_process(
            command(tmp_path / "data", "--after", "70"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await Lines(process.stdout).next()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert await process.stderr.receive_some() == b""


def test_following_a_closed_room_shows_it_and_ends(tmp_path):
    session = Session()
    session.close()
    closed = Commands(store(tmp_path / "data", session))
    assert positions(closed.text("show", "lobby", "--json", "--follow")) == [1, 2, 3, 4]
