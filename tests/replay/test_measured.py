"""Telemetry joined to the log: in `stats`, and in every export that can hold it."""

from __future__ import annotations

import itertools
import json
import sqlite3
import zipfile

import pytest

from media._native import telemetry_metrics
from protocol.notices import ConsumerFrozen, LayersChanged
from replay.telemetry import Entity, Telemetry
from replay.telemetry_seconds import METRICS, seconds
from replay.telemetry_store import path_in
from tests.replay.conftest import Commands
from tests.replay.measured import CONSUMED, PRODUCED, key_frame, store_frames, with_telemetry
from tests.replay.sessions import S, Session, call, store
from tests.replay.test_export import attribute, read_dump

FROZEN = (5, 6, 9)
"""Seconds of one viewer's life in which nothing reached it."""


def watched_call() -> Session:
    """A call of a minute; the first viewer's picture begins late, and freezes twice."""
    session = call(viewers=2)
    video = [
        key.partition("/")[2]
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    ]
    for consumer in video:
        session.wait(0.25)
        shown = LayersChanged(consumer=consumer, spatial_layer=0, temporal_layer=None)
        session.to_consumer(consumer, shown)
    for frozen in (True, False, True, False):
        session.wait(2)
        session.to_consumer(video[0], ConsumerFrozen(consumer=video[0], frozen=frozen))
    session.wait(50)
    session.close()
    return session


@pytest.fixture(scope="module")
def session():
    return watched_call()


@pytest.fixture(scope="module")
def frozen(session):
    """The consumer that froze."""
    return next(d.actor.partition("/")[2] for d in session.drafts if d.type == "ConsumerFrozen")


@pytest.fixture(scope="module")
def data(session, frozen, tmp_path_factory):
    directory = store(tmp_path_factory.mktemp("measured") / "data", session)
    return with_telemetry(directory, session, frozen={frozen: FROZEN})


@pytest.fixture(scope="module")
def run(data):
    return Commands(data)


@pytest.fixture(scope="module")
def figures(run):
    return run.json("stats", "lobby")


def streams_of(figures, sort):
    return {
        stream["id"]: (peer, stream)
        for peer in figures["peers"]
        for stream in peer["streams"]
        if stream["sort"] == sort
    }


def test_the_names_of_metrics_are_the_native_cores():
    assert {kind: tuple(telemetry_metrics(kind)) for kind in METRICS} == METRICS


def test_seconds_are_read_one_by_one(data, session, monkeypatch):
    monkeypatch.setattr("replay.telemetry_seconds._POINTS_MAX", 100)  # several stretches
    found = list(seconds(Telemetry(data), "lobby", 0, 2**62))
    span = Telemetry(data).span("lobby")
    assert [second.at_ns for second in found] == list(range(span[0], span[1] + 1, S))
    for second in found:
        for entity, points in second.samples.items():
            assert points["packets" if entity.kind != "transport" else "packets_sent"].count == 1
    part = list(seconds(Telemetry(data), "lobby", span[0] + 10 * S, span[0] + 20 * S))
    assert part == found[10:20]


def test_each_stream_has_its_figures(figures, session, frozen):
    consumers, producers = streams_of(figures, "consumer"), streams_of(figures, "producer")
    assert (len(consumers), len(producers)) == (4, 2)
    for _, stream in producers.values():
        (measured,) = stream["measured"]
        assert measured["bitrate_bps"] == PRODUCED["bitrate_bps"]
        assert measured["seconds"] == measured["live_s"] > 55
        assert measured["packets"] == 100 * measured["seconds"]
        assert (measured["loss"], measured["score"]) == (0.0, 9.0)
    for name, (_, stream) in consumers.items():
        (measured,) = stream["measured"]
        still = len(FROZEN) if name == frozen else 0
        assert measured["frozen_s"] == still
        assert stream["freezes"] == (2 if name == frozen else 0)
        watched = measured["seconds"]
        assert measured["packets"] == 100 * (watched - still)
        assert measured["bitrate_bps"] == pytest.approx(
            CONSUMED["bitrate_bps"] * (watched - still) / watched, abs=1
        )
        # Of 10 lost in a second 5 were sent again.
        lost = 10 * (watched - still) - 5 * watched
        assert measured["loss"] == pytest.approx(lost / (measured["packets"] + lost), abs=1e-6)
        assert (measured["jitter_ms"], measured["round_trip_time_ms"]) == (4.0, 30.0)
        if stream["kind"] == "audio":
            assert stream["first_key_frame_ns"] is None


def test_keyframes_and_freezes_are_the_logs(figures, session, frozen):
    peer, stream = streams_of(figures, "consumer")[frozen]
    shown = next(d.at_ns for d in session.drafts if d.type == "ConsumerLayersChanged")
    assert stream["first_key_frame_ns"] == shown - stream["added_at_ns"]
    assert peer["first_key_frame_ns"] == shown - peer["joined_at_ns"] > 0.7 * S
    assert peer["freezes"] == 2
    host = figures["peers"][0]
    assert (host["first_key_frame_ns"], host["freezes"], host["quality"]) == (None, 0, None)


def test_a_viewers_quality_is_what_telemetry_says(figures, data, frozen):
    viewer, _ = streams_of(figures, "consumer")[frozen]
    other = next(p for p in figures["peers"][1:] if p["peer"] != viewer["peer"])
    assert viewer["quality"]["frozen_s"] == len(FROZEN)
    assert 0 < viewer["quality"]["score"] < other["quality"]["score"] <= 100
    span = figures["telemetry"]
    consumers = [each["id"] for each in viewer["streams"]]
    alone = Telemetry(data).quality(
        "lobby", {"it": consumers}, span["first_at_ns"], span["last_at_ns"] + 1
    )["it"]
    assert viewer["quality"]["score"] == alone.score
    assert viewer["quality"]["freezes"] == alone.freezes == 2


def test_the_table_tells_quality_and_with_streams_all_of_them(run, figures):
    lines = run.text("stats", "lobby").splitlines()
    at = next(n for n, line in enumerate(lines) if "QUALITY" in line)
    assert len(lines[at + 1 :]) == 3
    assert "1.8 Mbit/s" in lines[at + 2]
    assert "2.0 Mbit/s" in lines[at + 1]
    assert "30.0 ms" in lines[at + 2]
    more = run.text("stats", "lobby", "--streams").splitlines()
    assert sum(name in line for name in streams_of(figures, "consumer") for line in more) == 4


def test_without_telemetry_the_rest_is_told_and_that_it_lacks(session, tmp_path):
    run = Commands(store(tmp_path / "data", session))
    text = run.text("stats", "lobby", "--streams")
    assert "not known how well media came: there is no telemetry" in text
    figures = run.json("stats", "lobby")
    assert figures["telemetry"]["problem"] == "there is no telemetry"
    assert all(not stream["measured"] for p in figures["peers"] for stream in p["streams"])
    assert "no telemetry" in run.fails("export", "lobby", "--format", "telemetry")
    run.text("export", "lobby", "--format", "bundle", "-o", tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
    assert manifest["missing"] == {
        "telemetry": "there is no telemetry",
        "recordings": "there are no recordings",
    }
    assert not {"telemetry.jsonl", "recordings.pcapng"} & set(manifest["files"])


def test_telemetry_of_another_time_is_not_this_sessions(session, tmp_path):
    directory = store(tmp_path / "data", session)
    store_frames(directory, "lobby", [(1_000 * S, key_frame({Entity("consumer", "c"): CONSUMED}))])
    figures = Commands(directory).json("stats", "lobby")
    assert figures["telemetry"]["problem"] == "nothing was measured in this session"


def test_broken_telemetry_is_said_and_the_log_is_told(session, data, tmp_path):
    directory = with_telemetry(store(tmp_path / "data", session), session)
    with sqlite3.connect(path_in(directory)) as database:
        database.execute("UPDATE frame SET data = x'00' WHERE arrival = 7")
    database.close()
    run = Commands(directory)
    assert "frame at" in run.json("stats", "lobby")["telemetry"]["problem"]
    assert "frame at" in run.text("stats", "lobby")
    assert "frame at" in run("export", "lobby", "--format", "telemetry").stderr
    assert len(run.text("export", "lobby", "--format", "rtcstats").splitlines()) > 20


def test_archived_sessions_are_joined_as_well(session, frozen, tmp_path, figures):
    directory = with_telemetry(store(tmp_path / "data", session), session, frozen={frozen: FROZEN})
    run = Commands(directory)
    run.text("archive", "lobby")
    assert "archived" in run.text("rooms")
    assert run.json("stats", "lobby") == figures


# Exports.


def test_a_dump_has_a_report_a_second_with_totals_that_rise(run, session, frozen):
    _, events = read_dump(run.text("export", "lobby", "--format", "rtcstats"))
    carried = {d.actor.partition("/")[2] for d in session.drafts if d.type == "TransportOpened"}
    for transport in carried:
        reports = [e for e in events if e[0] == "getStats" and e[1] == transport]
        times = [event[3] for event in reports]
        assert len(times) > 55
        assert all(
            later - sooner == pytest.approx(1000, abs=1)
            for sooner, later in itertools.pairwise(times[-40:])
        )
        sent = [event[4][transport].get("packetsSent", 0) for event in reports]
        assert sent == sorted(sent)
        assert sent[-1] == 210 * sum("packetsSent" in event[4][transport] for event in reports)
    last = next(
        event[4]
        for event in reversed(events)
        if event[0] == "getStats" and f"media-source/{frozen}" in event[4]
    )
    (out,) = (r for name, r in last.items() if name.startswith(f"outbound-rtp/{frozen}"))
    (far,) = (r for name, r in last.items() if name.startswith(f"remote-inbound-rtp/{frozen}"))
    n = out["packetsSent"] // 100 + len(FROZEN)
    assert out["bytesSent"] == 112_500 * (n - len(FROZEN))
    assert (out["nackCount"], out["pliCount"], out["keyFramesSent"]) == (2 * n, n, n)
    assert (far["jitter"], far["roundTripTime"]) == (0.004, 0.03)
    assert far["packetsLost"] == 10 * (n - len(FROZEN))
    assert last[far["localId"]] == out
    assert last[out["codecId"]]["mimeType"].startswith("video/")


def test_a_stretch_has_the_telemetry_of_its_time_alone(run, session):
    until = next(n for n, d in enumerate(session.drafts, 1) if d.type == "ConsumerFrozen")
    text = run.text("export", "lobby", "--format", "telemetry", "--until", until)
    lines = [json.loads(line) for line in text.splitlines()]
    last_ns = session.drafts[until - 1].at_ns
    assert lines
    assert all(line["at_ns"] <= last_ns for line in lines)
    _, events = read_dump(run.text("export", "lobby", "--format", "rtcstats", "--until", until))
    assert events[-1][3] <= last_ns / 1e6 + 0.01


def test_a_trace_has_spans_of_who_took_part_with_their_figures(run, figures, frozen):
    trace = json.loads(run.text("export", "lobby", "--format", "otlp"))
    spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len({span["spanId"] for span in spans}) == len(spans)
    root = spans[0]
    peers = {attribute(s, "reprise.peer"): s for s in spans[1:] if attribute(s, "reprise.peer")}
    assert set(peers) == {peer["peer"] for peer in figures["peers"]}
    for peer in figures["peers"]:
        span = peers[peer["peer"]]
        assert span["parentSpanId"] == root["spanId"]
        assert int(span["startTimeUnixNano"]) == peer["joined_at_ns"]
        assert int(span["endTimeUnixNano"]) == figures["closed_at_ns"]
        if peer["quality"]:
            assert attribute(span, "reprise.quality.score") == peer["quality"]["score"]
    stream = next(s for s in spans[1:] if attribute(s, "reprise.stream") == frozen)
    viewer, known = streams_of(figures, "consumer")[frozen]
    assert stream["parentSpanId"] == peers[viewer["peer"]]["spanId"]
    assert attribute(stream, "reprise.measured.loss") == known["measured"][0]["loss"]
    assert int(attribute(stream, "reprise.measured.frozen_s")) == len(FROZEN)


def test_a_bundle_holds_what_was_measured(run, figures, tmp_path):
    for name in ("one.zip", "two.zip"):
        run.text("export", "lobby", "--format", "bundle", "-o", tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["files"] == sorted(bundle.namelist())
        lines = [json.loads(line) for line in bundle.read("telemetry.jsonl").splitlines()]
        assert json.loads(bundle.read("stats.json"))[0] == figures
    assert manifest["missing"] == {"recordings": "there are no recordings"}
    consumers = streams_of(figures, "consumer")
    sums = dict.fromkeys(consumers, 0)
    for line in lines:
        if line["kind"] == "consumer":
            sums[line["id"]] += line["packets"]
    assert sums == {name: s["measured"][0]["packets"] for name, (_, s) in consumers.items()}
