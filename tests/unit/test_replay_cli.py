"""`reprise replay rooms` and `show`: what they print, and how they fail."""

import contextlib
import json
import sqlite3

import msgpack
import pytest
import trio
from click.testing import CliRunner

from protocol.envelope import Draft
from replay.cli import replay
from replay.store import SqliteStore
from replay.text import compact, payload, printable, utc

START_NS = 1_772_366_400_000_000_000  # 2026-03-01 12:00:00 UTC


def draft(n, type, *, actor="room", kind="event", correlation=None, cause=None, **fields):  # noqa: A002
    return Draft(
        at_ns=START_NS + n * 1_000,
        actor=actor,
        kind=kind,
        type=type,
        correlation=correlation,
        cause=cause,
        data=msgpack.packb(fields),
        entropy=bytes(16) if kind == "message" else b"",
    )


async def fill(directory):
    async with await SqliteStore.open(directory) as store:
        await store.append(
            "lobby",
            0,
            [
                draft(0, "Join", kind="message", correlation="c1", name="Ann\x1b[31m"),
                draft(1, "PeerJoined", correlation="c1", cause=1, peer="p1"),
                draft(2, "TransportCreated", actor="transport/t1", cause=1, owner={"peer": "p1"}),
                draft(3, "PeerJoined", correlation="c2", peer="p2", key=b"\x01\xff"),
            ],
        )
        await store.append("attic", 0, [draft(9, "RoomClosed")])


@pytest.fixture
def directory(tmp_path):
    trio.run(fill, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def run(directory):
    def run(*arguments, data=directory):
        return CliRunner().invoke(replay, [*arguments, "--data", str(data)])

    return run


def shown(result):
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rooms_are_listed_in_aligned_columns(run):
    result = run("rooms")
    assert result.exit_code == 0
    header, attic, lobby = result.stdout.splitlines()
    assert header.split() == ["ROOM", "STATE", "POSITION", "MESSAGES", "EVENTS", "FIRST", "LAST"]
    assert attic.split()[:5] == ["attic", "closed", "1", "0", "1"]
    assert lobby.split()[:5] == ["lobby", "open", "4", "1", "3"]
    assert "2026-03-01 12:00:00.000003Z" in lobby
    assert header.index("FIRST") == lobby.index("2026") == attic.index("2026")


def test_rooms_as_json_are_one_object_a_line(run):
    attic, lobby = shown(run("rooms", "--json"))
    assert attic["open"] is False
    assert lobby == {
        "room": "lobby",
        "position": 4,
        "first_at_ns": START_NS,
        "last_at_ns": START_NS + 3_000,
        "messages": 1,
        "events": 3,
        "open": True,
        "damage": None,
        "archived_up_to": 0,
        "pruned_up_to": 0,
        "archive_bytes": 0,
    }


def test_a_room_is_shown_in_order_with_its_payloads(run):
    result = run("show", "lobby")
    assert result.exit_code == 0
    header, day, *rows = result.stdout.splitlines()
    assert header.split()[0] == "POSITION"
    assert "2026-03-01" in day
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert "→ Join" in rows[0]
    assert rows[2].split()[:4] == ["3", "12:00:00.000002Z", "1", "transport/t1"]
    assert rows[2].split()[4:] == ["TransportCreated", "-", "owner={peer=p1}"]
    assert "key=01ff" in rows[3]
    assert len({row.index(":00:00") for row in rows}) == 1


def test_text_from_outside_cannot_reach_the_terminal_as_control_characters(run):
    result = run("show", "lobby")
    assert "\x1b" not in result.stdout
    assert r"Ann\x1b" in result.stdout


def test_json_bears_every_field(run):
    first = shown(run("show", "lobby", "--json"))[0]
    assert len(first.pop("hash")) == 64
    assert first == {
        "room": "lobby",
        "position": 1,
        "at_ns": START_NS,
        "actor": "room",
        "kind": "message",
        "type": "Join",
        "version": 1,
        "cause": None,
        "correlation": "c1",
        "data": {"name": "Ann\x1b[31m"},
        "entropy": "00" * 16,
    }


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        (["--peer", "p1"], [2, 3]),
        (["--peer", "p"], []),
        (["--actor", "transport/t1"], [3]),
        (["--type", "PeerJoined"], [2, 4]),
        (["--type", "PeerJoined", "--type", "Join"], [1, 2, 4]),
        (["--correlation", "c1"], [1, 2]),
        (["--after", "2"], [3, 4]),
        (["--after", "4"], []),
        (["--limit", "2"], [1, 2]),
        (["--peer", "p1", "--limit", "1"], [2]),
        (["--type", "PeerJoined", "--after", "2", "--peer", "p2"], [4]),
    ],
)
def test_options_choose_what_is_shown(run, options, positions):
    result = run("show", "lobby", "--json", *options)
    assert [line["position"] for line in shown(result)] == positions


@pytest.mark.parametrize("arguments", [["show", "nobody"], ["show", "nobody", "--json"]])
def test_an_unknown_room_is_one_line_and_a_failure(run, arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: no room 'nobody' in the log\n"


@pytest.mark.parametrize("arguments", [["rooms"], ["rooms", "--json"], ["show", "lobby"]])
def test_a_missing_directory_is_one_line_and_a_failure(run, tmp_path, arguments):
    result = run(*arguments, data=tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no event log: there is no directory ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_room_is_shown_as_far_as_it_is_sound(run, directory):
    with contextlib.closing(sqlite3.connect(directory / "events.sqlite3")) as database:
        database.execute("UPDATE envelope SET type = 'Forged' WHERE position = 3")
        database.commit()
    before = (directory / "events.sqlite3").read_bytes()
    result = run("show", "lobby", "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["position"] for line in result.stdout.splitlines()] == [1, 2]
    assert result.stderr.startswith("Error: the log of room 'lobby' is damaged from position 3: ")
    assert result.stderr.count("\n") == 1
    result = run("rooms")
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
        ["attic", "closed"],
        ["lobby", "damaged"],
    ]
    assert result.stderr.count("\n") == 1
    assert (directory / "events.sqlite3").read_bytes() == before


def test_a_file_that_is_no_database_is_one_line_and_a_failure(run, directory):
    (directory / "events.sqlite3").write_bytes(b"not a database, but long enough" * 200)
    for arguments in (["rooms"], ["show", "lobby"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "Error: the event log is damaged: file is not a database\n"


def test_the_directory_may_come_from_the_environment(directory):
    result = CliRunner().invoke(replay, ["rooms"], env={"REPRISE_DATA": str(directory)})
    assert result.stdout.count("\n") == 3


def test_a_log_without_rooms_says_so(run, tmp_path):
    async def make():
        await (await SqliteStore.open(tmp_path / "new")).aclose()

    trio.run(make)
    assert run("rooms", data=tmp_path / "new").stdout == "No rooms yet.\n"
    assert shown(run("rooms", "--json", data=tmp_path / "new")) == []


def test_the_lines_above_the_rows_count_for_every_day(run, tmp_path):
    async def make():
        async with await SqliteStore.open(tmp_path / "days") as store:
            sent = [draft(n * 86_400_000_000 // 2, "A") for n in range(4)]
            await store.append("lobby", 0, sent)

    trio.run(make)
    lines = run("show", "lobby", data=tmp_path / "days").stdout.splitlines()
    days = [line.removeprefix("── ") for line in lines if line.startswith("──")]
    assert days == ["2026-03-01", "2026-03-02", "2026-03-03"]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (msgpack.packb({1: b"\x00", "a": [1.5, None, True]}), {"1": "00", "a": [1.5, None, True]}),
        (msgpack.packb({b"k": msgpack.ExtType(5, b"\x01")}), {"6b": {"ext": 5, "data": "01"}}),
        (msgpack.packb("text"), "text"),
        (b"\x81\xa1", {"raw": "81a1"}),
        (b"", {"raw": ""}),
        (b"\x01\x02", {"raw": "0102"}),
        (b"\xa1\xff", {"raw": "a1ff"}),
        (b"\x91" * 5_000, {"raw": "91" * 5_000}),
    ],
    ids=["map", "extension", "text", "cut short", "empty", "too long", "not text", "too deep"],
)  # fmt: skip
def test_any_payload_is_decoded_or_given_raw(data, wanted):
    assert payload(data) == wanted


def test_a_payload_is_written_in_one_line():
    value = {"peer": "p 1", "codecs": ["opus", {"name": "VP8"}], "none": None, "empty": ""}
    assert compact(value) == "peer='p 1' codecs=[opus, {name=VP8}] none=- empty=''"
    assert compact("a\nb") == r"a\nb"


def test_unprintable_text_is_escaped():
    assert printable("ok é") == "ok é"
    assert printable("\x1b]0;x\x07\u202e\ud800") == r"\x1b]0;x\x07\u202e\ud800"


def test_times_beyond_the_calendar_are_given_in_nanoseconds():
    assert utc(2**63 - 1).startswith("2262-")
    assert utc(-(2**62)).startswith("1823-")
    assert utc(10**30) == f"{10**30} ns"
