"""Scripts of the histories: whole, in order, and each thing made before it is used."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from protocol import script
from protocol.ids import ROOM
from protocol.script_order import order_of
from replay.cli import replay
from replay.errors import ReplayError
from replay.reader import LogReader
from replay.scripting.build import FAULTS
from replay.scripting.source import duration_ns, read_script
from replay.store.errors import LogDamaged
from tests.histories.test_histories import SOUND, opened

HISTORIES = Path(__file__).parents[2] / "histories"
GOLDEN = Path(__file__).parent / "golden"
NOWHERE = Path("/nonexistent")


def script_of(name, **more):
    return read_script(str(HISTORIES / f"{name}.zip"), NOWHERE, **more)


def told(made):
    """A script as text, without ids."""
    names, lines = {}, []
    for number, peer in enumerate(made.peers, 1):
        names[peer.peer] = f"peer-{number}"
        for step in peer.steps:
            for field in ("transport", "producer", "consumer"):
                label = getattr(step.action, field, None)
                if label is not None and label not in names:
                    names[label] = f"{field}-{len(names)}"
    for step, owner in sorted(
        ((step, peer) for peer in made.peers for step in peer.steps),
        key=lambda pair: (pair[0].at_ns, pair[0].position),
    ):
        fields = {
            key: names.get(value, value) if isinstance(value, str) else value
            for key, value in msgspec.to_builtins(step.action).items()
            if value not in (None, {}) and key not in ("rtp_parameters", "rtp_capabilities")
        }
        kind = fields.pop("type")
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in sorted(fields.items()))
        marks = [*([f"refused={step.refused}"] if step.refused else [])]
        marks += ["tolerant"] if step.tolerant else []
        at = f"{step.at_ns / 1e9:9.3f} {step.position:4} {names[owner.peer]}"
        lines.append(" ".join([at, kind, *([words] if words else []), *marks]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_history_gives_a_script_in_order_whose_things_are_made_before_they_are_used(path):
    made = read_script(str(path), NOWHERE)
    assert made.peers
    assert made.steps >= len(made.peers)
    assert made.duration_ns >= max(step.at_ns for peer in made.peers for step in peer.steps)
    born = {}
    for peer in made.peers:
        assert isinstance(peer.steps[0].action, script.Enter), "who comes, comes by joining"
        times = [step.at_ns for step in peer.steps]
        assert times == sorted(times)
        assert times[0] >= 0
        for step in peer.steps:
            match step.action:
                case script.OpenTransport(transport=label) | script.Publish(producer=label):
                    assert born.setdefault(label, step.at_ns) == step.at_ns
                case script.Watch(consumer=label):
                    assert born.setdefault(label, step.at_ns) == step.at_ns
                case _:
                    pass
    for peer in made.peers:
        for step in peer.steps:
            for field in ("transport", "producer", "label"):
                label = getattr(step.action, field, None)
                if label is not None and step.refused is None:
                    assert born[label] <= step.at_ns, step
            assert step.refused not in FAULTS


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_script_counts_what_the_log_says_of_its_last_session(path, tmp_path):
    about, directory = opened(path, tmp_path)
    made = read_script(about["room"], directory)
    with LogReader(directory) as reader:
        begin = reader.session_start(about["room"]).position - 1
        types = [e.type for batch in reader.batches(about["room"], begin) for e in batch]
    recorded = [peer.recorded for peer in made.peers]
    for name, event in (
        ("joins", "PeerJoined"),
        ("returns", "PeerAttached"),
        ("transports", "TransportAdded"),
        ("producers", "ProducerAdded"),
        ("consumers", "ConsumerAdded"),
    ):
        assert sum(getattr(one, name) for one in recorded) == types.count(event), name


@pytest.mark.parametrize("name", ["chromium-lost-socket", "refused", "plane-crash", "ice-restart"])
def test_the_script_of_a_history_stays_the_same(name):
    golden = GOLDEN / f"{name}.txt"
    assert told(script_of(name)) == golden.read_text()


def test_simulcast_and_codecs_are_those_of_the_publisher():
    made = script_of("chromium-call")
    streams = {
        step.action.kind: step.action
        for peer in made.peers
        for step in peer.steps
        if isinstance(step.action, script.Publish)
    }
    assert streams["video"].mime_type == "video/VP8"
    assert [one.rid for one in streams["video"].encodings] == ["r0", "r1", "r2"]
    rates = [one.bitrate_bps for one in streams["video"].encodings]
    assert rates == sorted(rates)
    assert streams["audio"].mime_type == "audio/opus"
    assert len(streams["audio"].encodings) == 1


def test_what_only_the_server_did_is_left_out_and_clients_close_what_it_took():
    made = script_of("chromium-plane-killed")
    assert made.left_out["PlaneStopped"] == 1
    assert made.left_out["requests refused for a fault"] == 2
    closed = [
        step.action
        for peer in made.peers
        for step in peer.steps
        if step.tolerant and isinstance(step.action, script.Ask)
    ]
    assert {one.method for one in closed} >= {"closeTransport"}
    evicted = script_of("join-and-leave")
    assert evicted.left_out == {"EvictPeer": 1}
    leaves = [
        step.tolerant
        for peer in evicted.peers
        for step in peer.steps
        if isinstance(step.action, script.Leave)
    ]
    assert True in leaves


def test_a_bundle_gives_the_script_of_its_log_redacted_or_not(tmp_path):
    about, directory = opened(HISTORIES / "chromium-lost-socket.zip", tmp_path)
    whole = read_script(about["room"], directory)
    for redact in ((), ("--redact",)):
        target = tmp_path / f"bundle{len(redact)}.zip"
        arguments = ["export", about["room"], "--data", str(directory), "--format", "bundle"]
        done = CliRunner().invoke(replay, [*arguments, "-o", str(target), *redact])
        assert done.exit_code == 0, done.output
        made = read_script(str(target), NOWHERE)
        assert made.duration_ns == whole.duration_ns
        assert [len(peer.steps) for peer in made.peers] == [len(peer.steps) for peer in whole.peers]
        kinds = [[type(step.action) for step in peer.steps] for peer in made.peers]
        assert kinds == [[type(step.action) for step in peer.steps] for peer in whole.peers]
        if not redact:
            assert told(made) == told(whole)


def test_it_can_be_cut_by_duration_and_by_instant(tmp_path):
    whole = script_of("chromium-lost-socket")
    cut = script_of("chromium-lost-socket", lasting_ns=2_000_000_000)
    assert cut.duration_ns == 2_000_000_000
    assert 0 < cut.steps < whole.steps
    assert all(step.at_ns <= 2_000_000_000 for peer in cut.peers for step in peer.steps)
    position = whole.peers[0].steps[3].position
    early = script_of("chromium-lost-socket", until=str(position))
    assert max(step.position for peer in early.peers for step in peer.steps) <= position


def test_what_is_no_source_is_said_in_one_line(tmp_path):
    def line(source, kind=ReplayError, **more):
        with pytest.raises(kind) as caught:
            read_script(str(source), NOWHERE, **more)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    nothing = tmp_path / "nothing.zip"
    assert "No such file" in line(nothing)
    nothing.write_bytes(b"nothing")
    assert "is no zip that can be read" in line(nothing)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "hello")
    assert "holds neither" in line(tmp_path / "other.zip")
    for text in ("hello", "[1]", '{"room": "r"}', '{"room":"r","position":1,"type":"Odd"}'):
        with zipfile.ZipFile(tmp_path / "odd.zip", "w") as odd:
            odd.writestr("log.jsonl", text)
        assert "odd.zip" in line(tmp_path / "odd.zip")
    assert "is damaged from position 120" in line(
        HISTORIES / "corrupted-on-purpose.zip", LogDamaged
    )


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("90s", 90e9), ("1.5m", 90e9), ("250ms", 25e7), ("2h", 7200e9), ("3", 3e9)],
)
def test_durations_are_read(text, nanoseconds):
    assert duration_ns(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "1y", "s", "1e9", "99999h", "nan"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        duration_ns(text)


def test_viewers_and_publisher_of_a_stream_take_turns_as_recorded():
    made = script_of("publish-and-watch")
    order = order_of(made)
    assert sum(order.sizes.values()) == sum(len(turns) for turns in order.turns.values())
    by_stream = {}
    for position in sorted(order.turns):
        for turn in order.turns[position]:
            by_stream.setdefault(turn.producer, []).append(turn.number)
    for numbers in by_stream.values():
        assert numbers == sorted(numbers), "turns follow the recorded order"
        assert set(numbers) == set(range(numbers[-1] + 1)), "no turn is empty: it would never end"
    assert max(numbers[-1] for numbers in by_stream.values()) == 2, "published, watched, closed"
    assert str(ROOM) not in by_stream
