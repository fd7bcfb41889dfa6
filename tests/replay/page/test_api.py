"""The replay API: what the page asks, and what nobody may ask."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time

import pytest
import trio

from gateway import tokens
from gateway.keys import Secret
from gateway.tokens import Claims
from protocol.notices import LayersChanged
from tests.replay import pcapng_reader
from tests.replay.conftest import Commands
from tests.replay.divided import (
    END_S,
    LAYER_BPS,
    LAYERS,
    NARROW_BPS,
    PRIORITIES,
    WIDE_BPS,
    divided_session,
    measure,
)
from tests.replay.measured import with_telemetry
from tests.replay.page.desk import desk
from tests.replay.sessions import START_NS, S, Session, call, store
from tests.replay.test_measured import watched_call
from tests.replay.test_recordings import frozen as frozen_recording
from tests.replay.test_recordings import stored as stored_recordings
from tests.support.big_log import big_session

SECRET = Secret("a secret of at least thirty-two bytes")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    closed = call("closed-room")
    closed.close()
    return store(tmp_path_factory.mktemp("log") / "data", call(viewers=3), closed)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    session = big_session(30_000, viewers=200)
    return store(tmp_path_factory.mktemp("log") / "data", session)


async def stored(path, session):
    """Write a session's log, or what came to it since; writing runs a trio of its own."""
    return await trio.to_thread.run_sync(store, path / "data", session)


def contents(directory):
    """Digests of the log's own files."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name.startswith("events.") and not path.name.endswith("-shm")
    }


async def test_sessions_are_listed_searched_and_counted(data):
    async with desk(data) as ask:
        told = await ask("")
        assert [each["room"] for each in told["sessions"]] == ["lobby", "closed-room"]
        assert told["counts"] == {"open": 1, "closed": 1, "damaged": 0}
        assert [e["room"] for e in (await ask("", q="CLOSED"))["sessions"]] == ["closed-room"]
        assert [e["room"] for e in (await ask("", state="open"))["sessions"]] == ["lobby"]
        assert (await ask("", offset=1, limit=1))["sessions"][0]["room"] == "closed-room"
        assert (await ask("", q="nothing"))["total"] == 0


async def test_an_empty_data_directory_has_no_sessions(tmp_path):
    async with desk(tmp_path) as ask:
        assert (await ask(""))["sessions"] == []
        assert (await ask("/lobby", 404))["error"]["code"] == "room_not_found"


async def test_a_room_is_told_with_its_lanes(data):
    async with desk(data) as ask:
        told = await ask.indexed("lobby")
        assert told["open"]
        assert told["begin_ns"] == START_NS + 1_000_000
        assert told["sessions"][0]["peers"] == 4
        page = await ask("/lobby/lanes", limit=2, offset=1)
        assert (page["total"], len(page["lanes"]), page["room"]["key"]) == (4, 2, "room")
        assert [lane["name"] for lane in page["lanes"]] == ["viewer 0", "viewer 1"]
        key = page["lanes"][0]["key"]
        below = (await ask("/lobby/lanes", lane=key))[key]
        assert [(lane["kind"], lane["depth"]) for lane in below] == [
            ("transport", 1), ("consumer", 2), ("consumer", 2),
        ]  # fmt: skip


async def test_marks_come_with_their_place_and_too_many_are_refused(data):
    async with desk(data) as ask:
        told = await ask.indexed("lobby")
        span = {"from": told["begin_ns"], "to": told["end_ns"]}
        found = await ask("/lobby/events", lanes="*", **span)
        assert [mark[0] for mark in found["marks"]] == list(range(1, told["end"] + 1))
        assert (await ask("/lobby/events", lanes="*", limit=5, **span))["too_many"]
        around = (await ask("/lobby/events", around=10, count=6))["events"]
        assert [event["position"] for event in around] == [7, 8, 9, 10, 11, 12]
        assert all(event["sentence"] for event in around)


async def test_the_state_tells_what_changed_since_the_step_before(data):
    async with desk(data) as ask:
        joined = (await ask("/lobby/search", q="type:PeerJoined"))["events"][1]
        told = await ask(
            "/lobby/state", at=joined["position"], open='[[],["room"],["room","peers"]]'
        )
        assert told["event"]["sentence"] == joined["sentence"]
        peer = joined["lane"].partition("/")[2]
        assert {"path": ["room", "peers", peer], "change": "added"} in [
            {"path": each["path"], "change": each["change"]} for each in told["changes"]
        ]
        rooms = dict(told["tree"]["items"])["room"]
        peers = dict(dict(rooms["items"])["peers"]["items"])
        assert len(peers) == 2
        before = await ask("/lobby/state", at=joined["position"] - 1)
        assert before["changes"] == []
        start = await ask("/lobby/state", at=0)
        assert (start["event"], start["tree"]["map"]) == (None, 4)


async def test_stepping_jumping_and_starting_anew_show_the_same_states(data):
    async with desk(data) as ask:
        end = (await ask.indexed("lobby"))["end"]
        everything = json.dumps([[], ["room"], ["room", "peers"], ["consumers"]])
        anew = [
            await ask("/lobby/state", at=at, viewer=f"v{at}", open=everything)
            for at in range(1, end + 1)
        ]
        for order in (range(1, end + 1), range(end, 0, -1), range(1, end + 1, 7)):
            for at in order:
                told = await ask("/lobby/state", at=at, viewer="one", open=everything)
                assert told == anew[at - 1]
        jump = await ask("/lobby/state", at=end, since=1, viewer="one", open=everything)
        assert jump["tree"] == anew[-1]["tree"]
        assert jump["since"] == 1
        assert jump["changed"] > anew[-1]["changed"]


async def test_a_time_is_a_position(data):
    async with desk(data) as ask:
        told = await ask.indexed("lobby")
        state = await ask("/lobby/state", time=told["end_ns"] + S)
        assert state["position"] == told["end"]
        state = await ask("/lobby/state", time=told["begin_ns"] - S)
        assert state["position"] == 1


async def test_why_tells_causes_and_effects_with_their_lanes(data):
    async with desk(data) as ask:
        opened = (await ask("/lobby/search", q="type:ConsumerOpened"))["events"][0]
        told = await ask(f"/lobby/why/{opened['position']}")
        assert [each["type"] for each in told["causes"]] == [
            "Consume",
            "OpenConsumer",
            "ConsumerOpened",
        ]
        assert told["causes"][1]["lane"] == opened["lane"]
        assert told["correlation"] == opened["correlation"]
        root = await ask(f"/lobby/why/{told['causes'][0]['position']}")
        assert root["effects_total"] == len(root["effects"]) == 4
        assert {each["depth"] for each in root["effects"]} == {0, 1, 2}
        await ask("/lobby/why/999999", 400)
        await ask("/lobby/why/0", 400)


async def test_searching_finds_names_requests_types_and_states(data):
    async with desk(data) as ask:
        assert [lane["name"] for lane in (await ask("/lobby/search", q="viewer 1"))["lanes"]] == [
            "viewer 1"
        ]
        request = (await ask("/lobby/search", q="request:request-2"))["events"]
        assert {event["correlation"] for event in request} == {"request-2"}
        assert (await ask("/lobby/search", q="type:PeerJoined"))["total"] == 4
        found = await ask("/lobby/search", q="=length(room.peers) >= `3`")
        assert [event["type"] for event in found["events"]] == ["PeerJoined"]
        wrong = await ask("/lobby/search", 400, q="=room.[")
        assert "JMESPath" in wrong["error"]["message"]
        assert (await ask("/lobby/search", q="no such thing"))["events"] == []


async def test_a_peer_is_found_by_the_beginning_of_its_id(data):
    async with desk(data) as ask:
        lane = (await ask("/lobby/lanes"))["lanes"][2]
        found = await ask("/lobby/search", q="peer:" + lane["key"].partition("/")[2][:8])
        assert [each["key"] for each in found["lanes"]] == [lane["key"]]
        assert found["total"] == lane["inside"]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/lobby/density", {"lanes": "*"}),
        ("/lobby/density", {"lanes": "*", "from": 5, "to": 5}),
        ("/lobby/density", {"lanes": "*", "from": 1, "to": 9, "buckets": 5000}),
        ("/lobby/density", {"lanes": ",".join("x" * 200), "from": 1, "to": 9}),
        ("/lobby/state", {}),
        ("/lobby/state", {"at": "x"}),
        ("/lobby/state", {"at": -1}),
        ("/lobby/state", {"at": 10**30}),
        ("/lobby/state", {"at": 10**9}),
        ("/lobby/state", {"at": 1, "open": "[["}),
        ("/lobby/state", {"at": 1, "open": json.dumps([["x"]] * 500)}),
        ("/lobby/event/999999", {}),
        ("/lobby/events", {"around": "soon"}),
        ("", {"limit": 10**6}),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_clear_words(data, path, parameters):
    async with desk(data) as ask:
        error = (await ask(path, 400, **parameters))["error"]
        assert error["message"].endswith(".")
        assert "Traceback" not in error["message"]


async def test_unknown_rooms_are_refused(data):
    async with desk(data) as ask:
        for path in ("", "/lanes", "/state", "/tail"):
            told = await ask(f"/nowhere{path}", 404, at=1, after=0)
            assert told["error"]["code"] == "room_not_found"


async def test_looking_changes_nothing_in_the_log(data):
    before = contents(data)
    async with desk(data) as ask:
        end = (await ask.indexed("lobby"))["end"]
        await ask("/lobby/state", at=end)
        await ask("/lobby/search", q="viewer")
    assert contents(data) == before


async def test_with_a_secret_an_operators_token_is_needed(data):
    def bearer(token):
        return {"authorization": f"Bearer {token}"}

    now = time.time()
    operator = tokens.issue_operator(SECRET, now_s=now, lifetime_s=60)
    expired = tokens.issue_operator(SECRET, now_s=now - 999, lifetime_s=60)
    forged = tokens.issue_operator(
        Secret("another secret of thirty-two bytes"), now_s=now, lifetime_s=60
    )
    join = tokens.issue(SECRET, Claims(room="lobby"), now_s=now, lifetime_s=60)
    async with desk(data, secret=SECRET) as ask:
        for path in ("", "/lobby", "/lobby/state"):
            error = (await ask(path, 401))["error"]
            assert "reprise token --operator" in error["message"]
        for token, words in (
            (expired, "expired"),
            (forged, "not valid"),
            (join, "not an operator"),
        ):
            assert words in (await ask("", 401, headers=bearer(token)))["error"]["message"]
        await ask("", headers=bearer(operator))
        await ask("/lobby", headers=bearer(operator))
        await ask("", headers=bearer(SECRET.reveal()))
    assert isinstance(tokens.check(SECRET, operator, room="lobby"), tokens.Refusal)


async def test_without_a_secret_only_this_machine_may_look(data):
    async with desk(data) as ask:
        for headers in (
            {"host": "evil.example"},
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"host": ""},
        ):
            assert (await ask("", 403, headers=headers))["error"]["code"] == "forbidden"
        await ask("", headers={"host": "localhost:3000", "origin": "http://localhost:3000"})
    async with desk(data, loopback_only=False) as ask:
        assert "Set a secret" in (await ask("", 403))["error"]["message"]


async def test_a_live_session_is_followed(tmp_path):
    session = call()
    directory = await stored(tmp_path, session)
    async with desk(directory) as ask:
        before = (await ask("/lobby"))["end"]
        assert (await ask("/lobby/tail", after=before, wait=1))["end"] == before
        session.join("late")
        await stored(tmp_path, session)
        told = await ask("/lobby/tail", after=before)
        assert told["end"] == session.position
        assert (await ask("/lobby"))["indexed"] == session.position
        assert (await ask("/lobby/lanes"))["lanes"][-1]["name"] == "late"


async def test_followers_are_bounded(data, monkeypatch):
    monkeypatch.setattr("gateway.replay_api.library.FOLLOWERS_MAX", 0)
    async with desk(data) as ask:
        assert (await ask("/lobby/tail", 503, after=0))["error"]["code"] == "overloaded"


async def test_a_long_log_is_laid_out_beside_and_shows_how_far_it_is(big):
    async with desk(big) as ask:
        first = await ask("/arena")
        assert first["building"]
        assert first["begin_ns"] == START_NS + 1_000
        told = await ask.indexed("arena")
        assert told["sessions"][0]["peers"] == 201
        assert {"refused", "keyframe_storm", "silent"} <= set(told["anomalies"])
        span = {"from": told["begin_ns"], "to": told["end_ns"]}
        counts = await ask("/arena/density", lanes="*", buckets=100, **span)
        total = sum(sum(each[1::2]) for each in counts["lanes"]["*"].values())
        assert told["end"] - 5 < total <= told["end"]
    async with desk(big) as ask:
        again = await ask("/arena")
        assert (again["building"], again["indexed"]) == (False, told["end"])


async def test_one_anomaly_after_another_is_found_both_ways(big):
    async with desk(big) as ask:
        await ask.indexed("arena")
        total = (await ask("/arena/anomalies"))["total"]
        seen, at = [], 0
        while found := (await ask("/arena/anomalies", after=at, limit=1))["anomalies"]:
            at = found[0]["position"]
            seen.append(at)
            assert found[0]["category"] == "trouble"
        assert len(seen) == total > 5
        back = (await ask("/arena/anomalies", after=at, limit=1, direction="back"))["anomalies"]
        assert back[0]["position"] == seen[-2]


async def test_scores_are_charted(big):
    async with desk(big) as ask:
        told = await ask.indexed("arena")
        span = {"from": told["begin_ns"], "to": told["end_ns"]}
        series = (await ask("/arena/series", **span))["series"]
        assert [each["metric"] for each in series] == ["score", "keyframes_asked"]
        points = series[0]["points"]
        assert [time_ns for time_ns, _ in points] == sorted(time_ns for time_ns, _ in points)
        assert {value for _, value in points} <= set(range(11))


async def test_what_a_viewer_was_sent_is_charted_beside_what_its_way_took(tmp_path):
    session = call(viewers=1)
    session.wait(3)
    name, row = next(
        (key, state.row)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    )
    fell = LayersChanged(
        consumer=row.consumer, spatial_layer=0, temporal_layer=None, reason="bandwidth"
    )
    session.to_consumer(row.consumer, fell)
    position = session.position
    session.wait(3)
    session.to_consumer(row.consumer, fell)
    directory = await stored(tmp_path, session)
    await trio.to_thread.run_sync(with_telemetry, directory, session)
    async with desk(directory) as ask:
        told = await ask.indexed("lobby")
        span = {"from": told["begin_ns"], "to": told["end_ns"]}
        series = (await ask("/lobby/series", lanes=name, **span))["series"]
        lanes = {each["metric"]: each["lane"] for each in series}
        assert lanes["bitrate_bps"] == lanes["layer"] == name
        assert lanes["estimated_bps"] == f"transport/{row.transport}"
        estimated = next(each for each in series if each["metric"] == "estimated_bps")
        assert {value for _, value in estimated["points"]} == {2_500_000}
        known = (await ask(f"/lobby/why/{position}"))["grounds"]
        assert "the way to its viewer was estimated at 2,500 kbit/s 0." in known
        assert (await ask("/lobby/why/2"))["grounds"] is None


async def test_how_a_viewers_way_was_divided_is_told_with_priorities_and_layers(tmp_path):
    session, names = divided_session()
    directory = await stored(tmp_path, session)
    way = f"transport/{names['transport']}"
    async with desk(directory) as ask:
        told = await ask.indexed(session.room)
        span = {"from": told["begin_ns"], "to": told["end_ns"]}
        before = (await ask("/meeting/division", lanes=way, **span))["division"]
        assert before["estimate_from"] == "log"
        assert [value for _, value in before["estimated"]] == [WIDE_BPS, NARROW_BPS, WIDE_BPS]
        assert not any(share["points"] for share in before["shares"]), "nothing was measured"
        await trio.to_thread.run_sync(measure, directory, session, names)
        division = (await ask("/meeting/division", lanes=way, **span))["division"]
        assert (division["lane"], division["more"]) == (way, 0)
        assert division["estimate_from"] == "telemetry"
        assert {value for _, value in division["estimated"]} == {WIDE_BPS, NARROW_BPS}
        shares = {share["lane"]: share for share in division["shares"]}
        assert len(shares) == 4
        assert division["shares"][0]["lane"] == f"consumer/{names['audio']}", "audio is first"
        for video, priority in PRIORITIES.items():
            share = shares[f"consumer/{names[video]}"]
            assert share["priorities"][-1][1] == priority
            assert share["name"] == ("Bob" if video == "other" else "Ann")
            layers = [-1 if layer is None else layer for _, layer in LAYERS[video]]
            assert [layer for _, layer in share["layers"]] == layers
            assert len(share["points"]) == END_S
            sent = {value for _, value in share["points"]}
            assert sent == {0 if layer < 0 else LAYER_BPS[layer] for layer in layers}
        # The same is told of a consumer that it carries, and of its peer; nothing of a publisher.
        viewer = next(
            lane for lane in (await ask("/meeting/lanes"))["lanes"] if "Vera" in lane["name"]
        )
        for lane in (f"consumer/{names['other']}", viewer["key"]):
            again = (await ask("/meeting/division", lanes=lane, **span))["division"]
            assert again["shares"] == division["shares"]
        host = (await ask("/meeting/lanes"))["lanes"][0]
        assert (await ask("/meeting/division", lanes=host["key"], **span))["division"] is None
        # What held before the stretch that is looked at is known in it.
        late = {"from": int(names["begin_ns"]) + 30 * S, "to": int(names["begin_ns"]) + 40 * S}
        part = (await ask("/meeting/division", lanes=way, **late))["division"]
        speaker = next(s for s in part["shares"] if s["lane"] == f"consumer/{names['speaker']}")
        assert [layer for _, layer in speaker["layers"]] == [1]
        assert [value for _, value in speaker["priorities"]] == [PRIORITIES["speaker"]]
        await ask("/meeting/division", status=400, lanes=way)


async def test_a_log_that_is_damaged_is_shown_as_far_as_it_is_sound(tmp_path):
    directory = await stored(tmp_path, call())
    connection = sqlite3.connect(directory / "events.sqlite3")
    connection.execute("UPDATE envelope SET data = x'80' WHERE position = 40")
    connection.commit()
    connection.close()
    async with desk(directory) as ask:
        told = await ask("/lobby")
        assert told["damage"]
        assert told["end"] == told["indexed"] == 39
        assert (await ask("/lobby/state", at=39))["position"] == 39
        assert (await ask(""))["counts"]["damaged"] == 1


async def test_an_empty_room_has_a_page(tmp_path):
    directory = await stored(tmp_path, Session("quiet"))
    async with desk(directory) as ask:
        told = await ask.indexed("quiet")
        assert (told["end"], told["sessions"][0]["peers"]) == (2, 0)
        assert (await ask("/quiet/lanes"))["total"] == 0


async def ready(library, room):
    """The index of a room once it was made ready, though nobody asked for it."""
    shelves = library._shelves
    with trio.fail_after(30):
        while not (room in shelves and shelves[room].index.position):  # noqa: ASYNC110
            await trio.sleep(0.01)
    return shelves[room].index


async def test_the_index_is_made_ready_when_the_page_is_opened(data):
    async with desk(data) as ask:
        for room in ("nowhere", "lobby"):
            await ask.client.get(f"/replay/{room}")
        index = await ready(ask.library, "lobby")
        assert index.position == (await ask("/lobby"))["end"]
        assert "nowhere" not in ask.library._shelves


async def test_nothing_is_made_ready_for_those_who_may_not_look(data):
    async with desk(data, secret=SECRET) as ask:
        await ask.client.get("/replay/lobby")
        token = {"authorization": f"Bearer {SECRET.reveal()}"}
        await ask.client.get("/replay/closed-room", headers=token)
        await ready(ask.library, "closed-room")
        assert "lobby" not in ask.library._shelves


@pytest.fixture(scope="module")
def measured_data(tmp_path_factory):
    session = watched_call()
    directory = store(tmp_path_factory.mktemp("media") / "data", session)
    stored_recordings(with_telemetry(directory, session), frozen_recording("t1", 9))
    return directory, session


async def test_media_tells_the_figures_of_stats_for_the_time_that_is_seen(measured_data):
    directory, session = measured_data
    figures = await trio.to_thread.run_sync(lambda: Commands(directory).json("stats", "lobby"))
    begin, end = session.drafts[0].at_ns, session.drafts[-1].at_ns
    async with desk(directory) as ask:
        await ask.indexed("lobby")
        told = await ask("/lobby/media", **{"from": begin, "to": end + 3 * S})
        assert (told["problem"], told["total"]) == (None, 3)
        assert [peer["name"] for peer in told["peers"]] == ["Ann", "viewer 0", "viewer 1"]
        for peer, known in zip(told["peers"], figures["peers"], strict=True):
            assert peer["lane"] == f"peer/{known['peer']}"
            assert peer["quality"] == known["quality"]
            streams = {stream["lane"].partition("/")[2]: stream for stream in peer["streams"]}
            assert set(streams) == {stream["id"] for stream in known["streams"]}
            for stream in known["streams"]:
                (measured,) = stream["measured"]
                assert {key: streams[stream["id"]][key] for key in measured} == measured
        lane = told["peers"][1]["streams"][0]["lane"]
        one = await ask("/lobby/media", **{"from": begin, "to": end}, lanes=lane)
        assert [peer["name"] for peer in one["peers"]] == ["viewer 0"]
        none = await ask("/lobby/media", **{"from": begin - 9 * S, "to": begin - 5 * S})
        assert none["problem"].startswith("Nothing was measured")
        assert [each["position"] for each in told["recordings"]] == [9]


async def test_a_recording_is_given_without_addresses(measured_data):
    directory, _ = measured_data
    async with desk(directory) as ask:
        answer = await ask.client.get("/api/replay/lobby/recording/9/t1")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert 'filename="9.pcapng"' in answer.headers["content-disposition"]
        _, frames = pcapng_reader.read(answer.content)
        assert len(frames) == 40
        assert b"198.51.100.7" not in answer.content
        assert bytes((198, 51, 100, 7)) not in answer.content
        for path in ("/lobby/recording/8/t1", "/lobby/recording/9/t2", "/none/recording/9/t1"):
            await ask(path, status=400)
    async with desk(directory, secret=SECRET) as ask:
        await ask("/lobby/recording/9/t1", status=401)
        await ask("/lobby/media", status=401)
