"""`reprise replay archive` and `prune`, and every command on what they leave."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
import trio

from protocol.notices import Recording
from replay.reader import LogReader
from replay.recording_store import RecordingStore
from replay.recordings import Recordings
from replay.side_store import Retention
from replay.snapshots import Snapshots
from replay.store import SqliteStore
from replay.telemetry import Telemetry
from replay.timeline import cache
from replay.timeline.build import build, keep_snapshots
from replay.verify import verify
from tests.replay.conftest import Commands
from tests.replay.measured import with_telemetry
from tests.replay.page.desk import desk
from tests.replay.sessions import S, call, store

KEEP = Retention(days_max=36500, bytes_max=1 << 30)


def closed_call(room="lobby", seed=0):
    session = call(room, seed=seed)
    session.wait(60)
    session.close()
    session.wait(30)
    return session


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A room of two sessions that are over, and one that is open."""
    twice = closed_call()
    middle = twice.position
    twice.wait(3600)
    twice.open()
    host = twice.join("Zoe")
    twice.produce(host, twice.transport(host))
    twice.wait(10)
    twice.close()
    directory = tmp_path_factory.mktemp("made") / "data"
    return store(directory, twice, call("running")), twice, middle


@pytest.fixture
def log(made, tmp_path):
    directory, session, middle = made
    shutil.copytree(directory, tmp_path / "data")
    return tmp_path / "data", session, middle


def rows(directory):
    with closing(sqlite3.connect(directory / "events.sqlite3")) as connection:
        return dict(
            connection.execute(
                "SELECT room, count(*) FROM envelope JOIN room USING (room_id) GROUP BY room"
            ).fetchall()
        )


def asked(run, middle, end):
    """What all commands say of the room."""
    questions = [
        ("show", "lobby"),
        ("show", "lobby", "--type", "PeerJoined"),
        ("show", "lobby", "--since", "start"),
        ("state", "lobby"),
        ("state", "lobby", "--at", middle - 20),
        ("state", "lobby", "--at", "+2s"),
        ("diff", "lobby", 20, middle - 20),
        ("find", "lobby", "length(room.peers) > `1`"),
        ("why", "lobby", middle - 2),
        ("stats", "lobby", "--all"),
        ("export", "lobby", "--format", "jsonl"),
        ("export", "lobby", "--format", "chrome-trace"),
        ("what-if", "lobby", "--from", middle + 2, "--until", end, "--set", "peers_max=1"),
    ]
    said = {}
    for question in questions:
        result = run(*question)
        assert result.stderr == "", question
        said[question] = (result.exit_code, result.stdout)
    assert sum(code == 0 for code, _ in said.values()) >= len(questions) - 1, said
    return said


def test_all_commands_say_the_same_of_an_archived_room(log):
    directory, session, middle = log
    run = Commands(directory)
    before = asked(run, middle, session.position)
    told = run.text("archive", "lobby")
    assert f"lobby: positions 1-{middle} are in lobby-" in told
    assert f"positions {middle + 1}-{session.position}" in told
    assert rows(directory) == {"running": len(call("running").drafts)}
    assert asked(run, middle, session.position) == before
    assert "lobby: equal" in run.text("verify", "--all")
    lobby, running = [json.loads(line) for line in run.text("rooms", "--json").splitlines()]
    files = list((directory / "archive").iterdir())
    assert lobby["archived_up_to"] == session.position
    assert lobby["archive_bytes"] == sum(file.stat().st_size for file in files)
    assert running["archived_up_to"] == running["archive_bytes"] == 0
    states = [line.split()[1] for line in run.text("rooms").splitlines()]
    assert states == ["STATE", "archived", "open"]


def test_a_session_is_much_smaller_in_its_archive(log):
    directory, _, _ = log
    (first, second) = Commands(directory).text("archive", "lobby", "--json").splitlines()
    size = json.loads(first)["bytes"] + json.loads(second)["bytes"]
    with LogReader(directory) as reader:
        raw = sum(len(e.data) + 32 for batch in reader.batches("lobby") for e in batch)
    assert size < raw / 3


def test_all_closed_takes_what_is_over_and_nothing_else(log):
    directory, _, _ = log
    run = Commands(directory)
    assert len(run.text("archive", "--all-closed").splitlines()) == 2
    assert rows(directory).keys() == {"running"}
    again = run.text("archive", "--all-closed")
    assert again == "Nothing to archive: no session is over that is not archived already.\n"


def test_pruned_sessions_are_gone_and_the_rest_verifies(log):
    directory, session, middle = log
    run = Commands(directory)
    with LogReader(directory) as reader:
        end_ns = reader.end("lobby")[0].at_ns
    run.text("archive", "lobby")
    age_s = 900 + (now_ns() - session.drafts[middle - 1].at_ns) // S
    assert "Nothing to remove" in run.text("prune", "--older-than", f"{age_s}s")
    told = run.text("prune", "--older-than", f"{age_s - 1800}s")
    assert f"lobby: positions 1-{middle} removed" in told
    assert "1 sessions removed" in told
    (verdict,) = [run.json("verify", "lobby")]
    assert (verdict["equal"], verdict["position"]) == (True, session.position)
    assert run.json("state", "lobby")["at_ns"] == end_ns
    first, *_ = run.text("show", "lobby", "--json").splitlines()
    assert json.loads(first)["position"] == middle + 1
    assert len(run.text("stats", "lobby", "--all", "--json").splitlines()) == 1
    for command in (("state", "lobby", "--at", 5), ("why", "lobby", 5), ("diff", "lobby", 3, 5)):
        assert f"positions 1-{middle} of room 'lobby' were pruned on" in run.fails(*command)
    run.text("prune", "--larger-than", "0B")
    states = {line.split()[0]: line.split()[1] for line in run.text("rooms").splitlines()}
    assert states == {"ROOM": "STATE", "lobby": "pruned", "running": "open"}
    assert "pruned on" in run.fails("show", "lobby")
    assert run.json("verify", "lobby")["equal"]
    assert list((directory / "archive").iterdir()) == []


def test_caches_of_what_was_pruned_go_with_it(log):
    directory, session, middle = log
    keep_snapshots(directory, "lobby")
    build(directory, "lobby")
    with Snapshots(directory) as snapshots, LogReader(directory) as reader:
        from replay.history import History  # noqa: PLC0415

        snapshots.save(History(reader, "lobby").at(middle - 5))
        assert list(snapshots.before("lobby", session.position))
    assert cache.path_of(directory, "lobby").is_file()
    age_s = (now_ns() - session.drafts[middle - 1].at_ns) // S - 600
    Commands(directory).text("prune", "--older-than", f"{age_s}s")
    assert not cache.path_of(directory, "lobby").exists()
    with Snapshots(directory) as snapshots:
        assert not list(snapshots.before("lobby", middle))
    index = build(directory, "lobby")
    assert index.position == session.position
    assert len(index.times) == session.position
    assert [each.begin for each in index.sessions] == [middle + 1]


def test_telemetry_and_recordings_of_what_was_pruned_go_with_it(log):
    directory, session, middle = log
    with_telemetry(directory, session)
    with_telemetry(directory, call("running"))
    recordings = RecordingStore(directory, KEEP, now_ns=lambda: session.at_ns)
    for position in (9, middle + 9):
        part = Recording(
            room="lobby", transport="t", reason="operator", position=position,
            at_ns=session.at_ns, part=0, parts=1, data=b"x",
        )  # fmt: skip
        recordings.put_part(part)
    recordings.close()
    last_ns = session.drafts[middle - 1].at_ns
    telemetry = Telemetry(directory)
    before = telemetry.span("running")
    assert telemetry.span("lobby")[0] < last_ns
    age_s = (now_ns() - last_ns) // S - 600
    run = Commands(directory)
    run.text("prune", "--older-than", f"{age_s}s")
    assert telemetry.span("lobby")[0] > last_ns + S
    assert telemetry.span("running") == before
    assert [one.position for one in Recordings(directory).of_room("lobby")] == [middle + 9]
    (left,) = run.text("stats", "lobby", "--all", "--json").splitlines()
    assert json.loads(left)["telemetry"]["first_at_ns"] == telemetry.span("lobby")[0]


async def test_the_page_reads_archived_sessions_and_what_is_left_after_pruning(log):
    directory, session, middle = log
    for command in (["archive", "lobby"], None, ["prune", "--older-than"]):
        if command is None:
            async with desk(directory) as ask:
                told = await ask.indexed("lobby")
                assert [each["begin"] for each in told["sessions"]] == [1, middle + 1]
                found = await ask("/lobby/search", q="type:PeerJoined")
                assert next(e["position"] for e in found["events"]) < middle
                row = (await ask("/lobby/events", around=10, count=4))["events"][0]
                assert (await ask(f"/lobby/event/{row['position']}"))["position"] == row["position"]
            continue
        if command[0] == "prune":
            command.append(f"{(now_ns() - session.drafts[middle - 1].at_ns) // S - 600}s")
        await trio.to_thread.run_sync(lambda words=command: Commands(directory).text(*words))
    async with desk(directory) as ask:
        told = await ask.indexed("lobby")
        assert [each["begin"] for each in told["sessions"]] == [middle + 1]
        found = await ask("/lobby/search", q="type:PeerJoined")
        assert [e["position"] > middle for e in found["events"]] == [True]
        assert not (await ask("/lobby/search", q="viewer 0"))["events"]
        await ask("/lobby/event/5", status=400)


async def test_a_server_that_holds_the_log_is_named_in_one_line(log):
    directory, _, _ = log
    async with await SqliteStore.open(directory):
        for command in (["archive", "--all-closed"], ["prune", "--older-than", "1d"]):
            said = await trio.to_thread.run_sync(Commands(directory).fails, *command)
            assert "is in use by another server (process" in said
    assert "lobby" in rows(directory)


def test_wrong_usage_is_one_line_and_leaves_the_log_untouched(log, tmp_path):
    directory, _, _ = log
    run = Commands(directory)
    for words in (["archive"], ["archive", "lobby", "--all-closed"], ["prune"]):
        assert run(*words).exit_code == 2
    for words in (["--older-than", "30"], ["--older-than", "-3d"], ["--larger-than", "10"]):
        result = run("prune", *words)
        assert result.exit_code == 2
        assert "such as" in result.stderr
    assert run.fails("archive", "nobody") == "no room 'nobody' in the log"
    assert "lobby" in rows(directory)
    nowhere = Commands(tmp_path / "nowhere")
    for words in (["archive", "--all-closed"], ["prune", "--older-than", "1d"]):
        assert "no event log" in nowhere.fails(*words)
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_archive_is_found_by_verify_at_its_position(log):
    directory, _, middle = log
    run = Commands(directory)
    run.text("archive", "lobby")
    (file,) = (directory / "archive").glob(f"*.{middle + 1}-*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    result = run("verify", "lobby")
    assert result.exit_code == 1
    assert f"damaged from position {middle + 1}" in result.stdout
    assert file.name in result.stdout
    assert run.json("state", "lobby", "--at", middle)["position"] == middle
    with LogReader(directory) as reader:
        assert verify(reader, "lobby").position == middle


def now_ns():
    import time  # noqa: PLC0415

    return time.time_ns()
