"""Recordings: stored in parts, listed, read, exported and forgotten."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from media import _native
from protocol.notices import Recording as Part
from protocol.orders import FreezeRecorder, IceCredentials, SetTransport
from replay.cli import replay
from replay.errors import ReplayError
from replay.export import pcapng
from replay.recording_store import RecordingStore, forget
from replay.recordings import Recordings
from replay.side_store import Retention
from tests.replay import pcapng_reader

S = 1_000_000_000
START_NS = 1_800_000_000 * S
PASSWORD = "p" * 24


def frozen(transport="t1", position=5, checks=20):
    """The parts of a transport that saw only connectivity checks."""
    engine = _native.Engine(seed=1, unix_offset_ns=START_NS)
    credentials = (IceCredentials(ufrag="canaryufrag", pwd=PASSWORD),)
    row = SetTransport(
        transport=transport, worker=0, direction="recv", ice=credentials, room="lobby"
    )
    order(engine, 10 * S, row)
    for n in range(checks):
        check = _native.stun_binding_request(
            bytes(12), username="canaryufrag:peer", password=PASSWORD, **CHECK
        )
        engine.handle_datagram(11 * S + n * S // 10, "198.51.100.7:4000", check)
    freeze = FreezeRecorder(transport=transport, reason="ice_lost", position=position)
    order(engine, 20 * S, freeze)
    found = msgspec.msgpack.decode(engine.poll_notices())
    return [msgspec.convert(one, Part) for one in found if one["type"] == "Recording"]


CHECK = {"priority": 1, "controlling": True, "tie_breaker": 1, "use_candidate": True}


def order(engine, at_ns, one):
    engine.handle_orders(at_ns, msgspec.msgpack.encode({"seq": 1, "orders": [one]}))


def stored(directory, parts):
    store = RecordingStore(
        directory, Retention(days_max=1, bytes_max=1 << 30), now_ns=lambda: START_NS
    )
    for part in parts:
        store.put_part(part)
    store.close()
    return Recordings(directory)


def test_checks_and_answers_are_read_back_in_order_with_the_peers_address(tmp_path):
    reader = stored(tmp_path, frozen())
    (one,) = reader.of_room("lobby")
    assert (one.transport, one.reason, one.position, one.missing) == ("t1", "ice_lost", 5, 0)
    packets = list(reader.packets("lobby", one))
    assert [packet.out for packet in packets[:4]] == [False, True, False, True]
    assert {packet.kind for packet in packets} == {"stun"}
    assert {packet.remote for packet in packets} == {("198.51.100.7", 4000)}
    assert packets[0].at_ns == START_NS + 11 * S
    assert one.at_ns == START_NS + 20 * S
    assert all(len(packet.captured) == 20 < packet.length for packet in packets)


def test_nothing_secret_is_stored_or_exported(tmp_path):
    reader = stored(tmp_path, frozen())
    (one,) = reader.of_room("lobby")
    written = b"".join(pcapng.export([(one, reader.packets("lobby", one))]))
    raw = b"".join(packet.captured for packet in reader.packets("lobby", one))
    for secret in (b"canaryufrag", PASSWORD.encode()):
        assert secret not in written + raw


def test_pcapng_names_reason_position_and_direction(tmp_path):
    reader = stored(tmp_path, frozen())
    (one,) = reader.of_room("lobby")
    about, frames = pcapng_reader.read(
        b"".join(pcapng.export([(one, reader.packets("lobby", one))]))
    )
    assert about == ["transport t1: ice_lost, position 5"]
    assert len(frames) == 40
    assert frames[0].source == "198.51.100.7:4000"
    assert frames[0].target == "192.0.2.1:10000"
    assert frames[1].source == "192.0.2.1:10000"
    assert "log position 5" in frames[0].comment


def test_a_missing_part_is_said(tmp_path):
    (part,) = frozen()
    reader = stored(tmp_path, [msgspec.structs.replace(part, parts=3)])
    (one,) = reader.of_room("lobby")
    assert one.missing == 2
    about, _ = pcapng_reader.read(b"".join(pcapng.export([(one, ())])))
    assert "2 of 3 parts are missing" in about[0]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_broken_recording_is_an_error_of_one_line(tmp_path, cut):
    (part,) = frozen()
    reader = stored(tmp_path, [msgspec.structs.replace(part, data=part.data[:-cut])])
    (one,) = reader.of_room("lobby")
    with pytest.raises(ReplayError, match="recording"):
        list(reader.packets("lobby", one))


def test_a_person_is_forgotten_by_their_transports(tmp_path):
    stored(tmp_path, [*frozen("t1", 5), *frozen("t2", 6)])
    assert forget(tmp_path, "lobby", ["t1"]) == 1
    assert [one.transport for one in Recordings(tmp_path).of_room("lobby")] == ["t2"]
    assert forget(tmp_path / "nowhere", "lobby", ["t1"]) == 0


def test_the_command_lists_recordings(tmp_path):
    stored(tmp_path, frozen())
    done = CliRunner().invoke(replay, ["recordings", "lobby", "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "ice_lost" in done.output
    listed = CliRunner().invoke(replay, ["recordings", "lobby", "--json", "--data", str(tmp_path)])
    assert msgspec.json.decode(listed.output)["packets"] == 40


def test_without_recordings_and_without_a_server_one_line_says_so(tmp_path):
    done = CliRunner().invoke(replay, ["recordings", "lobby", "--data", str(tmp_path)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    done = CliRunner().invoke(replay, ["capture", "lobby", "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    assert "no server at http://127.0.0.1:9" in done.output
