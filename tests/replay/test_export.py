"""Exports, read back by the rules of their formats."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import zipfile

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from protocol.commands import PauseProducer, Produce
from protocol.ids import ROOM
from protocol.messages import SocketLost
from protocol.notices import ConsumerScore, KeyFrameRequested
from tests.replay import trace_reader
from tests.replay.conftest import Commands
from tests.replay.sessions import call, rtp_parameters, store
from tests.support.serving import ROOT

HISTORIES = ("chromium-call", "chromium-plane-killed", "chromium-control-killed", "refused")
FORMATS = ("jsonl", "chrome-trace", "mermaid", "rtcstats", "otlp", "bundle")


def eventful():
    """A call in which somebody is lost, something is refused, and everything closes."""
    session = call(viewers=2)
    room = session.states["room"]
    host = next(iter(room.peers))
    producer = list(room.producers)[-1]
    consumer = next(iter(room.consumers))
    session.to_consumer(consumer, ConsumerScore(consumer=consumer, score=4, producer_score=9))
    session.to_producer(producer, KeyFrameRequested(producer=producer, encoding=0, requests=3))
    session.ask(PauseProducer(peer=host, producer=producer))
    unknown = Produce(
        peer=host, transport="t_none", kind="video", rtp_parameters=rtp_parameters("video", 9)
    )
    session.ask(unknown)
    session.tell(ROOM, SocketLost(peer=host, attachment=1))
    session.wait(31)
    session.close()
    return session


@pytest.fixture(scope="module")
def session():
    return eventful()


@pytest.fixture(scope="module")
def run(session, tmp_path_factory):
    return Commands(store(tmp_path_factory.mktemp("export") / "data", session))


def exported(run, form, *options):
    return run.text("export", "lobby", "--format", form, *options)


def test_jsonl_is_what_show_gives(run):
    assert exported(run, "jsonl") == run.text("show", "lobby", "--json")


def test_a_stretch_can_be_chosen(run):
    shown = exported(run, "jsonl", "--since", 10, "--until", 19)
    assert [json.loads(line)["position"] for line in shown.splitlines()] == list(range(10, 20))


# chrome-trace


@pytest.fixture(scope="module")
def trace(run):
    return json.loads(exported(run, "chrome-trace"))["traceEvents"]


def test_a_trace_has_a_track_for_each_actor(trace, session):
    names = {e["args"]["name"]: e["tid"] for e in trace if e.get("name") == "thread_name"}
    assert set(names) == {draft.actor for draft in session.drafts}
    assert len(set(names.values())) == len(names)
    decisions = [e for e in trace if e["ph"] == "X"]
    messages = [d for d in session.drafts if d.kind == "message"]
    assert [e["name"] for e in sorted(decisions, key=lambda e: e["args"]["position"])] == [
        d.type for d in messages
    ]
    for event in decisions:
        assert names[session.drafts[event["args"]["position"] - 1].actor] == event["tid"]


def test_slices_of_a_track_nest(trace):
    for tid in {e["tid"] for e in trace if "ts" in e}:
        open_slices, last_end = 0, 0.0
        for event in (e for e in trace if e.get("tid") == tid and e["ph"] in "BEX"):
            assert event["ts"] >= last_end - 1e-6 or event["ph"] == "E"
            if event["ph"] == "X":
                assert open_slices == 1
                assert event["dur"] >= 1
                last_end = event["ts"] + event["dur"]
            else:
                open_slices += 1 if event["ph"] == "B" else -1
                last_end = max(last_end, event["ts"])
        assert open_slices == 0


def caused_by(drafts):
    """The cause of each message that has one, by position."""
    return {
        n: d.cause for n, d in enumerate(drafts, 1) if d.kind == "message" and d.cause is not None
    }


def test_arrows_lead_from_causes_to_effects(trace, session):
    found = {}
    for flow in trace_reader.read(trace):
        assert flow.source["ph"] == flow.target["ph"] == "X"
        found[flow.target["args"]["position"]] = flow.source["args"]["position"]
    assert found == caused_by(session.drafts)


@pytest.mark.parametrize("name", HISTORIES)
def test_traces_of_real_sessions_keep_the_rules_of_the_format(name, tmp_path):
    with zipfile.ZipFile(ROOT / "tests" / "histories" / f"{name}.zip") as history:
        history.extractall(tmp_path)
    room = json.loads((tmp_path / "about.json").read_text())["room"]
    run = Commands(tmp_path)
    events = json.loads(run.text("export", room, "--format", "chrome-trace"))["traceEvents"]
    found = {
        flow.target["args"]["position"]: flow.source["args"]["position"]
        for flow in trace_reader.read(events)
    }
    lines = [json.loads(line) for line in run.text("show", room, "--json").splitlines()]
    assert found == {
        line["position"]: line["cause"]
        for line in lines
        if line["kind"] == "message" and line["cause"] is not None
    }


# mermaid


def test_a_diagram_says_who_told_whom(run, session):
    lines = exported(run, "mermaid").splitlines()
    assert lines[0] == "sequenceDiagram"
    names = dict(
        re.fullmatch(r"    participant (n\d+) as (.+)", line).groups()
        for line in lines
        if line.startswith("    participant")
    )
    arrows = [re.fullmatch(r"    (n\d+)->>(n\d+): (\d+) (\w+)", line) for line in lines]
    told = {
        int(found[3]): (names[found[1]], names[found[2]], found[4]) for found in arrows if found
    }
    messages = {n: d for n, d in enumerate(session.drafts, 1) if d.kind == "message"}
    assert set(told) == set(messages)
    for position, draft in messages.items():
        sender, receiver, type_name = told[position]
        assert (receiver, type_name) == (draft.actor, draft.type)
        if draft.type != "TimerFired" and draft.cause is not None:
            assert sender == session.drafts[draft.cause - 1].actor
    assert told[next(n for n, d in messages.items() if d.type == "Join")][0] == "a client"
    assert any(sender.startswith("peer p_") for sender, _, _ in told.values())
    assert any(sender == "media plane" for sender, _, _ in told.values())
    assert "    Note over n1: RoomOpened" in lines or "    Note over n0: RoomOpened" in lines


def test_a_diagram_ends_where_nobody_would_read_it(run, monkeypatch):
    monkeypatch.setattr("replay.export.mermaid.ARROWS_MAX", 10)
    lines = exported(run, "mermaid").splitlines()
    assert sum("->>" in line for line in lines) == 10
    assert lines[-1].endswith("more messages are left out")


# rtcstats


def read_dump(text):
    """Read a dump as its format's description has it."""
    magic, about, *lines = text.splitlines()
    assert magic == "RTCStatsDump"
    at_ms, events, stats = 0.0, [], {}
    for line in lines:
        method, connection, value, *extra = json.loads(line)
        at_ms += extra.pop()
        assert not extra
        if method == "getStats":
            known = stats.setdefault(connection, {})
            assert value["t"] == pytest.approx(at_ms, abs=1)
            for name, report in value.items():
                if report is None:
                    del known[name]
                elif name != "t":
                    known[name] = known.get(name, {}) | report
        events.append(
            (method, connection, value, at_ms, json.loads(json.dumps(stats.get(connection))))
        )
    return json.loads(about), events


def test_a_dump_has_a_connection_for_each_transport(run, session):
    about, events = read_dump(exported(run, "rtcstats"))
    assert about["fileFormat"] == 3
    opened = [d.actor.partition("/")[2] for d in session.drafts if d.type == "TransportOpened"]
    assert [connection for method, connection, *_ in events if method == "create"] == opened
    assert [connection for method, connection, *_ in events if method == "close"]
    assert {connection for _, connection, *_ in events} == set(opened)
    times = [at_ms for *_, at_ms, _ in events]
    assert times == sorted(times)
    assert times[0] == pytest.approx(session.drafts[0].at_ns / 1e6, abs=100)
    assert times[-1] == pytest.approx(session.drafts[-1].at_ns / 1e6, abs=1)


def test_a_dump_tells_states_and_streams(run, session):
    _, events = read_dump(exported(run, "rtcstats"))
    host = events[0][1]
    mine = [event for event in events if event[1] == host]
    states = [value for method, _, value, *_ in mine if method == "onconnectionstatechange"]
    assert states == ["connecting", "connected", "closed"]
    stats = next(e[4] for e in mine if e[0] == "getStats" and len(e[4]) == 6)
    assert {report["type"] for report in stats.values()} == {
        "transport", "candidate-pair", "local-candidate", "remote-candidate", "inbound-rtp",
    }  # fmt: skip
    assert stats[host]["selectedCandidatePairId"] in stats
    assert stats[host]["dtlsState"] == "connected"
    asked = [e[4] for e in mine if e[0] == "getStats" and "pliCount" in json.dumps(e[4])]
    assert [r["pliCount"] for r in asked[0].values() if "pliCount" in r] == [1]
    viewer = next(e[1] for e in events if e[0] == "addTransceiver")
    told = next(e[4] for e in events if e[1] == viewer and "outbound-rtp" in json.dumps(e[4]))
    assert any(r["type"] == "outbound-rtp" and r["ssrc"] > 0 for r in told.values())
    gone = [e for e in events if e[0] == "getStats" and None in e[2].values()]
    assert gone, "reports that are no more are said to be"


# otlp


@pytest.fixture(scope="module")
def spans(run):
    traces = json.loads(exported(run, "otlp"))
    found = traces["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in json.loads(json.dumps(found)):
        assert re.fullmatch(r"[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch(r"[0-9a-f]{16}", span["spanId"])
    return traces, found


def test_a_trace_is_what_the_protocol_defines(spans):
    traces, found = spans

    def as_protobuf_has_it(value, key=""):
        """OTLP writes ids in hex where protobuf's own JSON form has base64."""
        if isinstance(value, dict):
            return {name: as_protobuf_has_it(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [as_protobuf_has_it(item) for item in value]
        if key in ("traceId", "spanId", "parentSpanId"):
            return base64.b64encode(bytes.fromhex(value)).decode()
        return value

    parsed = ParseDict(as_protobuf_has_it(traces), TracesData())
    assert len(parsed.resource_spans[0].scope_spans[0].spans) == len(found)


def attribute(span, key):
    return next(
        (next(iter(a["value"].values())) for a in span["attributes"] if a["key"] == key), None
    )


def test_spans_hang_on_their_causes(spans, session):
    _, (root, *others) = spans
    rest = [span for span in others if attribute(span, "reprise.position") is not None]
    assert "parentSpanId" not in root
    by_position = {int(attribute(span, "reprise.position")): span for span in rest}
    assert set(by_position) == {n for n, d in enumerate(session.drafts, 1) if d.kind == "message"}
    for position, span in by_position.items():
        draft = session.drafts[position - 1]
        if draft.type == "TimerFired" or draft.cause is None:
            assert span["parentSpanId"] == root["spanId"]
            if draft.type == "TimerFired":
                assert span["links"][0]["spanId"] == by_position[draft.cause]["spanId"]
        else:
            above = by_position[draft.cause]
            assert span["parentSpanId"] == above["spanId"]
        assert int(root["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        events = [e["name"] for e in span["events"]]
        decided = [d.type for d in session.drafts if d.kind == "event" and d.cause == position]
        assert events == decided
    requests = [s for s in rest if s["kind"] == 2]
    asked = [d for d in session.drafts if d.kind == "message" and d.correlation and d.cause is None]
    assert len(requests) == len(asked)
    failed = [s for s in rest if s.get("status", {}).get("code") == 2]
    assert [s["name"] for s in failed] == ["Produce"]
    assert len({s["spanId"] for s in rest}) == len(rest)


# bundle


def test_a_bundle_has_everything_and_is_the_same_each_time(run, session, tmp_path):
    for name in ("one.zip", "two.zip"):
        exported(run, "bundle", "-o", tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as bundle:
        assert bundle.testzip() is None
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["files"] == sorted(bundle.namelist())
        assert bundle.read("log.jsonl").decode() == exported(run, "jsonl")
        assert bundle.read("otlp.json").decode() == exported(run, "otlp")
        assert json.loads(bundle.read("state.json"))["state"] == run.json("state", "lobby")["state"]
        assert json.loads(bundle.read("stats.json"))[0] == run.json("stats", "lobby")
        settings = json.loads(bundle.read("settings.json"))
        assert settings["1"]["peers_max"] == 2000
    assert manifest["last_position"] == session.position
    assert manifest["head"] == session.envelopes()[-1].hash.hex()
    assert manifest["problem"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "two.zip"]


def test_a_bundle_of_a_stretch_says_what_it_lacks(run, tmp_path):
    exported(run, "bundle", "--since", 20, "-o", tmp_path / "part.zip")
    with zipfile.ZipFile(tmp_path / "part.zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        assert "need its beginning" in manifest["problem"]
        assert "state.json" not in bundle.namelist()
        assert manifest["files"] == sorted(bundle.namelist())


# whatever the format


@pytest.mark.parametrize("form", FORMATS)
def test_damage_ends_an_export_with_a_failure(form, tmp_path):
    session = call()
    run = Commands(store(tmp_path / "data", session))
    with sqlite3.connect(tmp_path / "data" / "events.sqlite3") as database:
        database.execute(
            "UPDATE envelope SET data = CAST(data || x'00' AS BLOB) WHERE position = 30"
        )
    database.close()
    result = run("export", "lobby", "--format", form, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "is damaged from position 30" in result.stderr
    content = (tmp_path / "out").read_bytes()
    if form == "jsonl":
        assert len(content.splitlines()) == 29
    elif form == "bundle":
        assert zipfile.ZipFile(tmp_path / "out").testzip() is None
    elif form in ("chrome-trace", "otlp"):
        json.loads(content)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_cannot_be_written_is_one_line(run, form, tmp_path):
    told = run.fails("export", "lobby", "--format", form, "-o", tmp_path / "nowhere" / "out")
    assert told.startswith("cannot write ")
    assert "no room 'attic'" in run.fails("export", "attic", "--format", form)


def test_an_unknown_format_is_refused(run):
    assert run("export", "lobby", "--format", "pdf").exit_code == 2
