"""`what-if`: forks of sessions whose course is known."""

from __future__ import annotations

import pytest

from protocol.ids import ROOM, consumer_address
from protocol.messages import SocketLost
from protocol.notices import ConsumerScore, IceStateChanged
from replay.counterfactual import Counterfactual, WrongSetting, changed
from replay.history import History
from replay.reader import LogReader
from tests.replay.conftest import Commands
from tests.replay.sessions import ROUTER, Session, call, room_settings, store
from tests.replay.test_export import eventful
from tests.replay.test_history import busy_session


def reported(directory, position, *wanted):
    with LogReader(directory) as reader:
        history = History(reader, "lobby")
        position = history.decision_end(position)
        fork = Counterfactual(history.at(position), history.at(position), wanted)
        return fork.run(lambda: (e for batch in reader.batches("lobby", position) for e in batch))


@pytest.mark.parametrize("make", [call, eventful, busy_session])
def test_with_the_same_settings_nothing_differs(make, tmp_path):
    session = make()
    directory = store(tmp_path / "data", session)
    for position in range(2, session.position, 37):
        closed = next((n for n, d in enumerate(session.drafts, 1) if d.type == "RoomClosed"), None)
        opened = [n for n, d in enumerate(session.drafts, 1) if d.type == "OpenRoom"][-1]
        if closed is not None and (closed <= position < opened or opened < closed <= position):
            continue
        report = reported(directory, position, "peers_max=2000")
        assert report.differing == {}, (position, report.outcomes[:3])
        messages = [d for d in session.drafts[report.position :] if d.kind == "message"]
        assert report.decisions == report.same == len(messages)
        assert report.comparable_until is None


def joins(session):
    return [n for n, d in enumerate(session.drafts, 1) if d.type == "Join"]


def test_a_smaller_room_refuses_who_came_last(run, lobby):
    first, _, third = joins(lobby)
    report = run.json("what-if", "lobby", "--from", first + 1, "--set", "peers_max=2")
    assert report["counterfactual"] is True
    assert report["settings"] == {"peers_max": {"before": 2000, "after": 2}}
    refused = report["outcomes"][0]
    assert (refused["position"], refused["sort"]) == (third, "differs")
    assert refused["recorded"][0]["type"] == "PeerJoined"
    assert refused["decided"][0]["data"]["code"] == "limit_reached"
    transport = next(
        n for n, d in enumerate(lobby.drafts, 1) if n > third and d.type == "ConnectTransport"
    )
    assert report["comparable_until"] == transport
    by_position = {outcome["position"]: outcome for outcome in report["outcomes"]}
    assert by_position[transport]["sort"] == "no_actor"
    opened = next(
        n for n, d in enumerate(lobby.drafts, 1) if n > third and d.type == "OpenTransport"
    )
    assert by_position[opened]["sort"] == "only_then"
    asked = [o for o in report["outcomes"] if o["message"] == "CreateTransport"]
    assert asked[0]["decided"][0]["data"]["code"] == "session_not_found"
    assert all(position >= third for position in by_position)
    assert report["same"] + len(report["outcomes"]) == report["decisions"]


def test_a_fork_after_the_fact_changes_nothing(run, lobby):
    report = run.json("what-if", "lobby", "--from", joins(lobby)[-1] + 1, "--set", "peers_max=2")
    assert report["differing"] == {}


def lost_for(seconds, **settings):
    """A viewer loses its socket, something happens `seconds` later, and the room closes."""
    session = Session(settings=room_settings(**settings))
    host = session.join("Ann")
    video = session.produce(host, session.transport(host))
    viewer = session.join("Bea")
    consumer = session.consume(viewer, session.transport(viewer, "recv"), video)
    fork = session.position
    session.tell(ROOM, SocketLost(peer=viewer, attachment=1))
    session.wait(seconds)
    if consumer_address(consumer) in session.states:
        score = ConsumerScore(consumer=consumer, score=3, producer_score=8)
        session.to_consumer(consumer, score)
    session.wait(1)
    session.close()
    return session, fork, viewer


def test_a_shorter_grace_lets_a_peer_go_earlier(tmp_path):
    session, fork, viewer = lost_for(20)
    run = Commands(store(tmp_path / "data", session))
    report = run.json("what-if", "lobby", "--from", fork, "--set", "resume_grace_s=5")
    assert report["settings"] == {
        "resume_grace_ns": {"before": 30_000_000_000, "after": 5_000_000_000}
    }
    detached, timer, *rest = report["outcomes"]
    assert detached["sort"] == "differs"
    lost_ns = detached["at_ns"]
    assert detached["decided"][0]["data"]["leaves_at_ns"] == lost_ns + 5_000_000_000
    assert (timer["sort"], timer["message"]) == ("only_now", "TimerFired")
    assert timer["at_ns"] == lost_ns + 5_000_000_000
    assert timer["decided"][0]["data"]["peer"] == viewer
    scored = next(o for o in rest if o["message"] == "ConsumerScore")
    assert scored["sort"] == "no_actor"
    assert report["comparable_until"] == scored["position"]
    assert {o["actor"].partition("/")[0] for o in rest if o["sort"] == "only_now"} == {
        "transport", "consumer",
    }  # fmt: skip


def test_a_longer_grace_keeps_a_peer_that_had_left(tmp_path):
    session, fork, _ = lost_for(40)
    run = Commands(store(tmp_path / "data", session))
    report = run.json("what-if", "lobby", "--from", fork, "--set", "resume_grace_s=600")
    timer = next(o for o in report["outcomes"] if o["message"] == "TimerFired")
    assert timer["sort"] == "only_then"
    assert timer["recorded"][0]["type"] == "PeerLeft"
    closed = [o for o in report["outcomes"] if o["message"] == "Close"]
    assert {o["sort"] for o in closed} == {"only_then", "only_now"}
    assert report["comparable_until"] is None


def test_other_settings_of_transports_hold_for_new_ones(tmp_path):
    session = call(viewers=1)
    fork = session.position
    viewer = session.join("late")
    transport = session.transport(viewer, "recv")
    failed = IceStateChanged(transport=transport, state="failed", remote=None)
    session.tell(f"transport/{transport}", failed)
    session.wait(60)
    run = Commands(store(tmp_path / "data", session))
    report = run.json("what-if", "lobby", "--from", fork, "--set", "transport.ice_failed_grace_s=1")
    timers = [o for o in report["outcomes"] if o["message"] == "TimerFired"]
    assert [o["sort"] for o in timers if o["sort"] != "differs"][:2] == ["only_now", "only_then"]


def test_fewer_codecs_refuse_what_needed_them(run, lobby):
    added = next(n for n, d in enumerate(lobby.drafts, 1) if d.type == "Join")
    report = run.json("what-if", "lobby", "--from", added, "--set", "codecs=opus,VP9")
    produced = [o for o in report["outcomes"] if o["message"] == "Produce"]
    assert [o["decided"][0]["data"]["code"] for o in produced] == ["unsupported_codec"]


def test_codecs_keep_their_rtx():
    settings, _ = changed(room_settings(), ["codecs=vp8"])
    kept = [codec.mime_type for codec in settings.router_rtp_capabilities.codecs]
    assert kept == ["video/VP8", "video/rtx"]
    assert len(kept) < len(ROUTER.codecs)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("peers_max", "is no setting: write KEY=VALUE"),
        ("peers=3", "there is no setting 'peers'; there are "),
        ("peers_max=three", "no room can have these settings"),
        ("peers_max=1.5", "no room can have these settings"),
        ("resume_grace_s=soon", "is a number of seconds"),
        ("codecs=MP3", "codecs is a list of av1, h264, opus"),
        ("codecs=", "codecs is a list of"),
        ("transport.ports=1", "there is no setting 'transport.ports'"),
        ("transport=1", "there is no setting 'transport'"),
    ],
)
def test_a_wrong_setting_is_one_line(run, wanted, words):
    with pytest.raises(WrongSetting):
        changed(room_settings(), [wanted])
    assert words in run.fails("what-if", "lobby", "--from", "start", "--set", wanted)


def test_a_fork_of_a_closed_room_is_one_line(tmp_path):
    session = call()
    session.close()
    run = Commands(store(tmp_path / "data", session))
    told = run.fails("what-if", "lobby", "--from", "end", "--set", "peers_max=1")
    assert told == f"the room is not open at position {session.position}"


def test_it_is_labelled_for_a_person(run, lobby):
    lines = run.text("what-if", "lobby", "--from", 4, "--set", "peers_max=2").splitlines()
    assert lines[0] == "COUNTERFACTUAL: lobby from position 4, with"
    assert lines[1] == "  peers_max: 2000 → 2"
    assert "recorded decisions would have been the same." in lines[2]
    assert any(line.startswith("Comparable up to position ") for line in lines)
    assert any(line.startswith("  - PeerJoined peer=") for line in lines)
    assert any(line.startswith("  + CommandRefused code=limit_reached") for line in lines)
