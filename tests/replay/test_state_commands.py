"""`state`, `diff` and `find` on the command line."""

from __future__ import annotations

import sqlite3

import jmespath
import msgspec
import pytest

from replay.difference import difference, path_text
from replay.errors import WrongExpression
from replay.history import History
from replay.reader import LogReader
from replay.search import Expression
from replay.search import find as find_first
from tests.replay.conftest import Commands
from tests.replay.sessions import call, store


def first(lobby, type):  # noqa: A002
    return next(n for n, draft in enumerate(lobby.drafts, 1) if draft.type == type)


def nth(lobby, type, n):  # noqa: A002
    return [at for at, draft in enumerate(lobby.drafts, 1) if draft.type == type][n]


def test_the_state_is_told_as_people_and_streams(run, lobby):
    lines = run.text("state", "lobby").splitlines()
    assert lines[0].startswith(f"lobby at position {lobby.position}, 2026-03-01 12:00:0")
    assert lines[1] == "3 peers, live, worker 0"
    assert lines[2].endswith(" Ann")
    assert " send · ICE connected 198.51.100." in lines[3]
    assert lines[3].endswith("DTLS AEAD_AES_128_GCM")
    assert "audio simple · packets flow · 2 consumers" in lines[4]
    assert lines[-1].endswith("· flows")


def test_the_state_as_json_is_what_the_actors_know(run, lobby):
    shown = run.json("state", "lobby", "--at", "end")
    assert shown["position"] == lobby.position
    assert {len(shown["state"][s]) for s in ("transports", "producers", "consumers")} == {3, 2, 4}
    assert shown["state"]["room"]["streaming"] is True
    consumer = next(iter(shown["state"]["consumers"]))
    one = run.json("state", "lobby", "--actor", f"consumer/{consumer}")
    assert one["state"] == shown["state"]["consumers"][consumer]
    assert one["state"]["viewer_paused"] is False


def test_a_state_before_anything_says_so(run):
    assert run.text("state", "lobby", "--at", "0").splitlines() == [
        "lobby at position 0, before the log begins",
        "not opened yet",
    ]


def test_one_actor_is_shown_with_all_it_knows(run, lobby):
    joined = first(lobby, "PeerJoined")
    lines = run.text("state", "lobby", "--actor", "room", "--at", joined).splitlines()
    assert "streaming: False" in lines
    assert any(line.startswith("peers:") for line in lines)


def test_a_difference_is_a_tree_and_a_list(run, lobby):
    before = first(lobby, "ConsumerResumed") - 1
    consumer = lobby.drafts[before].actor.partition("/")[2]
    assert run.json("diff", "lobby", before, before + 1)["changes"] == [
        {
            "path": f"consumers.{consumer}.viewer_paused",
            "change": "changed",
            "before": True,
            "after": False,
        }
    ]
    lines = run.text("diff", "lobby", before, before + 1).splitlines()
    assert lines[1:] == ["  consumers", f"    {consumer}", "~     viewer_paused: True → False"]
    assert run.text("diff", "lobby", 5, 5).splitlines()[1:] == ["Nothing changed."]


def test_a_difference_takes_instants_that_look_like_options(run):
    forth = run.json("diff", "lobby", "-300ms", "end")
    assert forth["before"]["position"] < forth["after"]["position"]
    back = run.json("diff", "lobby", "end", "-300ms")
    swap = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(c["path"], swap[c["change"]]) for c in forth["changes"]} == {
        (c["path"], c["change"]) for c in back["changes"]
    }


def test_differences_undo_each_other_and_name_paths_that_find_takes():
    old = {"a": {"b-c": [1, {"d": None}], "e": True}, "gone": [1]}
    new = {"a": {"b-c": [1, {"d": 0}], "e": 1}, "new": {}}
    changes = difference(old, new)
    assert [(path_text(c.path), c.change, c.before, c.after) for c in changes] == [
        ('a."b-c"[1].d', "changed", None, 0),
        ("a.e", "changed", True, 1),
        ("gone", "removed", [1], None),
        ("new", "added", None, {}),
    ]
    assert jmespath.search(path_text(changes[0].path), new) == 0
    assert difference(old, old) == []


@pytest.mark.parametrize(
    ("expression", "type", "n"),
    [
        ("room.streaming", "StreamingStarted", 0),
        ("length(room.peers) == `3`", "PeerJoined", 2),
        ("consumers.*[] | [?!viewer_paused] | length(@) >= `2`", "ConsumerResumed", 1),
        ("transports.* | length([?ice_state == 'connected']) == `2`", "IceChanged", 1),
        ("keys(@) && room.settings", "RoomOpened", 0),
        ("producers.* | [?active] | [1]", "ProducerActive", 1),
    ],
)  # fmt: skip
def test_an_expression_is_found_where_it_begins_to_hold(run, lobby, expression, type, n):  # noqa: A002
    found = run.json("find", "lobby", expression)
    assert found["position"] == nth(lobby, type, n)
    assert found["envelope"]["type"] == type


def test_what_is_found_holds_there_and_not_before(lobby_data, lobby):
    """Looking only where something touched what it looks at finds what looking everywhere does."""
    with LogReader(lobby_data) as reader:
        history = History(reader, "lobby")
        for text in ("consumers.*.row[]", "room.closes_at_ns", "*.*[] | [?closed]", "`1`"):
            quick, slow = Expression(text), Expression(text)
            slow.sections = None
            found, expected = find_first(history, quick), find_first(history, slow)
            assert (found and found.envelope.position) == (expected and expected.envelope.position)


@pytest.mark.parametrize(
    ("expression", "sections"),
    [
        ("consumers.*.row", {"consumers"}),
        ("length(room.peers) > `1` && !producers.x", {"room", "producers"}),
        ("room | transports", {"room"}),
        ("max_by(room.peers.*, &name)", {"room"}),
        ("[room.a, {b: consumers}]", {"room", "consumers"}),
        ("producers.*[] | [?paused]", {"producers"}),
        ("*.x", None),
        ("keys(@)", None),
        ("@.room", None),
    ],
)
def test_an_expression_knows_what_it_looks_at(expression, sections):
    assert Expression(expression).sections == sections


def test_a_search_begins_after_and_ends_before_instants(run, lobby):
    first_join, second_join = nth(lobby, "PeerJoined", 0), nth(lobby, "PeerJoined", 1)
    found = run.json("find", "lobby", "room.peers", "--after", first_join)
    assert found["position"] == first_join + 1
    result = run("find", "lobby", "length(room.peers) > `1`", "--before", second_join)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"length(room.peers) > `1` holds nowhere in 1-{second_join - 1}\n"
    assert (
        run("find", "lobby", "length(room.peers) > `1`", "--before", second_join + 1).exit_code == 0
    )


def test_found_is_told_with_its_envelope(run, lobby):
    lines = run.text("find", "lobby", "room.streaming").splitlines()
    assert lines[0] == f"room.streaming holds from position {first(lobby, 'StreamingStarted')}"
    assert lines[1] == "value: True"
    assert "StreamingStarted" in lines[-1]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("room.[", "is no JMESPath expression"),
        ("", "is no JMESPath expression"),
        ("nothing(room)", "Unknown function"),
        ("length(room, room)", "Expected 1 argument"),
        ("abs(room)", "could be evaluated nowhere"),
    ],
)
def test_a_wrong_expression_is_one_line(run, expression, words):
    assert words in run.fails("find", "lobby", expression)


def test_an_expression_that_cannot_be_evaluated_yet_does_not_hold_yet(lobby_data, lobby):
    with LogReader(lobby_data) as reader:
        expression = Expression("length(room.settings)")
        found = find_first(History(reader, "lobby"), expression)
        assert found.envelope.position == first(lobby, "RoomOpened")
        with pytest.raises(WrongExpression):
            Expression("][")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["state", "nobody"], "no room 'nobody' in the log"),
        (["state", "lobby", "--at", "99999"], "position 99999 is past the end of the log"),
        (["state", "lobby", "--at", "tomorrow"], "'tomorrow' is no instant"),
        (["state", "lobby", "--at", "1999-01-01"], "before the log begins"),
        (["state", "lobby", "--actor", "consumer/x"], "there is no actor 'consumer/x'"),
        (["diff", "lobby", "1", "99999"], "past the end"),
        (["find", "nobody", "room"], "no room 'nobody'"),
        (["find", "lobby", "room", "--after", "zz"], "no instant"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_a_failure(run, arguments, words):
    assert words in run.fails(*arguments)
    assert words in run.fails(*arguments, "--json")


@pytest.mark.parametrize("arguments", [["state"], ["diff", 1, 40], ["find", "room.closed"]])
def test_a_damaged_stretch_is_one_line_and_what_stands_before_is_told(tmp_path, arguments):
    session = call()
    run = Commands(store(tmp_path / "data", session))
    with sqlite3.connect(tmp_path / "data" / "events.sqlite3") as database:
        database.execute("UPDATE envelope SET at_ns = at_ns + 1 WHERE position = 30")
    database.close()
    before = (tmp_path / "data" / "events.sqlite3").read_bytes()
    command, *rest = arguments
    end = ["--at", 40] if command == "state" else []
    assert "is damaged from position 30" in run.fails(command, "lobby", *rest, *end)
    assert run.json("state", "lobby", "--at", 29)["position"] == 29
    assert (tmp_path / "data" / "events.sqlite3").read_bytes() == before


def test_a_newer_log_is_one_line(tmp_path):
    session = call()
    event = next(n for n in range(20, 40) if session.drafts[n].kind == "event")
    session.drafts[event] = msgspec.structs.replace(session.drafts[event], version=7)
    run = Commands(store(tmp_path / "data", session))
    assert "of a newer release" in run.fails("state", "lobby")
    assert run.json("state", "lobby", "--at", event)["position"] == event
    with sqlite3.connect(tmp_path / "data" / "events.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    for command in ("rooms", "state", "diff", "find"):
        arguments = {"rooms": [], "diff": ["lobby", 1, 2], "find": ["lobby", "room"]}
        assert "this release knows 2" in run.fails(command, *arguments.get(command, ["lobby"]))
