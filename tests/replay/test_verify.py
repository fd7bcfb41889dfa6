"""`verify`: whole logs, altered ones, and code that changed its mind."""

from __future__ import annotations

import json
import sqlite3

import msgspec
import pytest

from actors.core import deciders
from actors.core.decider import Decision
from actors.core.room_state import RoomState
from protocol import codec, events
from protocol.behaviours import CURRENT
from protocol.commands import Join
from protocol.messages import RoomSettings
from replay.decide_process import DecideAgain, beside
from replay.reader import LogReader
from replay.verify import verify
from tests.replay.conftest import Commands
from tests.replay.sessions import Session, call, room_settings, store

GREETING = 1
"""The number of a behaviour that only these tests know: peers are greeted by another name."""


def greeting(decide, *, always):
    """A room's `decide` that has changed its mind about names, with or without its number."""

    def changed(state: RoomState, message, context):
        outcome = decide(state, message, context)
        if not isinstance(message, Join) or not isinstance(outcome, Decision):
            return outcome
        if not (always or GREETING in state.settings.behaviours):
            return outcome
        told = tuple(
            msgspec.structs.replace(event, name=f"dear {event.name}")
            if isinstance(event, events.PeerJoined)
            else event
            for event in outcome.events
        )
        return outcome._replace(events=told)

    return changed


@pytest.fixture
def change_of_mind(monkeypatch):
    """Make today's room decider one that greets."""

    def change(*, always):
        room = deciders._DECIDERS["room"]
        changed = room._replace(decide=greeting(room.decide, always=always))
        monkeypatch.setitem(deciders._DECIDERS, "room", changed)

    return change


@pytest.fixture
def old(tmp_path):
    """A log of before the change."""
    return Commands(store(tmp_path / "old", call()))


def test_a_sound_log_is_equal(old):
    assert old.text("verify", "lobby").startswith("lobby: equal (77 envelopes, ")
    told = old.json("verify", "lobby")
    assert told["equal"] is True
    assert told["divergence"] is told["damage"] is told["unknown"] is None
    assert told["messages"] == sum(d.kind == "message" for d in call().drafts)


def test_a_change_of_mind_without_a_number_diverges(old, change_of_mind):
    change_of_mind(always=True)
    result = old("verify", "lobby", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    joined = next(n for n, d in enumerate(call().drafts, 1) if d.type == "Join")
    divergence = told["divergence"]
    assert (divergence["position"], divergence["message"], divergence["index"]) == (
        joined,
        "Join",
        0,
    )
    assert divergence["recorded"][0]["data"]["name"] == "Ann"
    assert divergence["decided"][0]["data"]["name"] == "dear Ann"
    assert divergence["changes"] == [
        {"path": "name", "change": "changed", "before": "Ann", "after": "dear Ann"}
    ]
    lines = old("verify", "lobby").stdout.splitlines()
    assert lines[0].startswith("lobby: diverges (77 envelopes, ")
    assert lines[1].startswith(f"  position {joined}, room: Join gave PeerJoined as event 1")
    assert lines[2].split() == ["THEN", "NOW"]
    assert lines[3].startswith("  ≠ PeerJoined peer=")
    assert lines[4].endswith("name: Ann → 'dear Ann'")


def test_a_change_of_mind_with_a_number_leaves_old_sessions_equal(old, change_of_mind, tmp_path):
    change_of_mind(always=False)
    assert old.json("verify", "lobby")["equal"] is True
    session = Session(settings=room_settings(behaviours=(GREETING,)))
    session.join("Ann")
    new = Commands(store(tmp_path / "new", session))
    assert new.json("verify", "lobby")["equal"] is True
    shown = new.json("state", "lobby")["state"]["room"]
    assert [peer["name"] for peer in shown["peers"].values()] == ["dear Ann"]
    assert shown["settings"]["behaviours"] == [GREETING]


def test_a_session_with_a_number_diverges_in_code_that_does_not_know_it(change_of_mind, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        room = deciders._DECIDERS["room"]
        changed = room._replace(decide=greeting(room.decide, always=False))
        patch.setitem(deciders._DECIDERS, "room", changed)
        session = Session(settings=room_settings(behaviours=(GREETING,)))
        session.join("Ann")
    run = Commands(store(tmp_path / "new", session))
    assert run("verify", "lobby").exit_code == 1


def test_fields_that_were_not_there_then_are_no_divergence(tmp_path):
    """Logs of before the settings had behaviours say nothing of them."""
    session = call()
    for n, draft in enumerate(session.drafts):
        if draft.type in ("OpenRoom", "RoomOpened"):
            plain = msgspec.msgpack.decode(draft.data)
            del plain["settings"]["behaviours"]
            session.drafts[n] = msgspec.structs.replace(draft, data=codec.state_bytes(plain))
    run = Commands(store(tmp_path / "data", session))
    assert run.json("verify", "lobby")["equal"] is True
    assert "behaviours" not in run.text("show", "lobby", "--type", "RoomOpened", "--json")


def test_settings_of_new_rooms_bear_the_current_numbers():
    assert list(CURRENT) == sorted(set(CURRENT))
    names, defaults = RoomSettings.__struct_fields__, RoomSettings.__struct_defaults__
    by_name = dict(zip(names[-len(defaults) :], defaults, strict=True))
    assert by_name["behaviours"] == (), "what an old log does not say, it was decided without"


def test_damage_fails_with_its_position_and_what_stands_before_is_verified(tmp_path):
    run = Commands(store(tmp_path / "data", call()))
    with sqlite3.connect(tmp_path / "data" / "events.sqlite3") as database:
        database.execute("UPDATE envelope SET correlation = 'other' WHERE position = 40")
    database.close()
    result = run("verify", "lobby", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["equal"], told["position"]) == (1, False, 39)
    assert "is damaged from position 40" in told["damage"]
    assert told["divergence"] is None
    assert "is damaged from position 40" in run("verify", "lobby").stdout


def test_a_torn_log_fails(tmp_path):
    run = Commands(store(tmp_path / "data", call()))
    with sqlite3.connect(tmp_path / "data" / "events.sqlite3") as database:
        database.execute("DELETE FROM envelope WHERE position > 70")
        database.execute(
            "UPDATE room SET position = 70, hash = (SELECT hash FROM envelope WHERE position = 70)"
        )
    database.close()
    result = run("verify", "--all", "--json")
    assert result.exit_code == 1
    assert "was acknowledged up to position 77" in json.loads(result.stdout)["damage"]


def test_a_forged_log_whose_chain_fits_diverges(tmp_path):
    """Who rewrites a log, hashes and all, must still decide as the deciders do."""
    session = call()
    at = next(n for n, d in enumerate(session.drafts) if d.type == "ConsumerResumed")
    paused = codec.decode("ConsumerResumed", 1, session.drafts[at].data)
    forged = msgspec.structs.replace(paused, by="producer")
    session.drafts[at] = msgspec.structs.replace(session.drafts[at], data=codec.encode(forged))
    run = Commands(store(tmp_path / "data", session))
    told = json.loads(run("verify", "lobby", "--json").stdout)
    assert told["damage"] is None
    assert told["divergence"]["position"] == at
    assert told["divergence"]["changes"][0]["path"] == "by"


def test_a_log_of_a_newer_release_fails_with_the_position(tmp_path):
    session = call()
    session.drafts[50] = msgspec.structs.replace(session.drafts[50], version=8)
    with LogReader(store(tmp_path / "data", session)) as reader:
        verdict = verify(reader, "lobby")
    assert (
        verdict.unknown == f"position 51: {session.drafts[50].type} version 8 is of a newer release"
    )
    assert not verdict.equal


def test_several_rooms_are_told_one_by_one(tmp_path):
    run = Commands(store(tmp_path / "data", call(), call("attic", viewers=1)))
    told = run.text("verify", "--all").splitlines()
    assert [line.partition(":")[0] for line in told] == ["attic", "lobby"]
    assert run.text("verify", "lobby", "attic").count("equal") == 2
    assert "no room 'cellar'" in run("verify", "lobby", "cellar").stderr
    assert run("verify").exit_code == 2
    assert run("verify", "lobby", "--all").exit_code == 2


def plain(_session, _directory):
    """Leave a log as it is."""


def forge(session, _directory):
    at = next(n for n, d in enumerate(session.drafts) if d.type == "ConsumerResumed")
    resumed = codec.decode("ConsumerResumed", 1, session.drafts[at].data)
    forged = msgspec.structs.replace(resumed, by="producer")
    session.drafts[at] = msgspec.structs.replace(session.drafts[at], data=codec.encode(forged))


def age(session, _directory):
    session.drafts[50] = msgspec.structs.replace(session.drafts[50], version=8)


def alter(_session, directory):
    with sqlite3.connect(directory / "events.sqlite3") as database:
        database.execute("UPDATE envelope SET correlation = 'other' WHERE position = 40")
    database.close()


def tear(_session, directory):
    with sqlite3.connect(directory / "events.sqlite3") as database:
        database.execute("DELETE FROM envelope WHERE position > 70")
    database.close()


@pytest.mark.parametrize("harm", [plain, forge, age, alter, tear])
def test_two_processes_come_to_the_same_verdict_as_one(tmp_path, harm):
    session = call()
    harm_before = harm in (forge, age)
    if harm_before:
        harm(session, None)
    directory = store(tmp_path / "data", session)
    if not harm_before:
        harm(session, directory)
    with LogReader(directory) as reader:
        alone, both = (
            msgspec.structs.replace(verify(reader, "lobby", aside_from=length), seconds=0)
            for length in (10**9, 1)
        )
    assert both == alone
    assert both.equal == (harm is plain)


@pytest.mark.parametrize("harm", [plain, forge, age])
def test_a_process_beside_decides_all_that_stands_in_the_log(tmp_path, harm):
    session = call()
    harm(session, None)
    directory = store(tmp_path / "data", session)
    alone = DecideAgain()
    with LogReader(directory) as reader, beside(directory, "lobby", 77) as helper:
        for batch in reader.batches("lobby"):
            alone.take(batch)
        assert helper.result(lambda _position: None) == alone.finish()


def test_a_process_beside_that_meets_a_gap_gives_up(tmp_path):
    directory = store(tmp_path / "data", call())
    tear(None, directory)
    with beside(directory, "lobby", 77) as helper:
        assert helper.result(lambda _position: None) is None


def test_progress_of_two_processes_rises_to_the_end(tmp_path):
    told = []
    with LogReader(store(tmp_path / "data", call())) as reader:
        verify(reader, "lobby", told.append, aside_from=1)
    assert told == sorted(told)
    assert told[-1] == 77
