"""Telemetry: what is stored, what is read back, what ages, and what must not break."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from media import _native
from protocol.notices import Telemetry as Frame
from protocol.orders import IceCredentials, Remove, SetTransport
from replay.errors import ReplayError
from replay.side_store import Retention, open_writer, sweep
from replay.store.errors import StoreMissing, StoreVersionUnknown
from replay.telemetry import Entity, Telemetry
from replay.telemetry_store import LAYOUT, TelemetryStore, path_in

S = 1_000_000_000
START_NS = 1_800_000_000 * S
KEEP = Retention(days_max=14, bytes_max=100_000_000)


class Plane:
    """An engine in virtual time, with transports that nobody connects to."""

    def __init__(self, start_s=10):
        self.engine = _native.Engine(seed=1, unix_offset_ns=START_NS)
        self.now_s = start_s
        self.orders = 0

    def order(self, *orders):
        body = msgspec.msgpack.encode({"seq": self.orders, "orders": list(orders)})
        self.orders += 1
        self.engine.handle_orders(self.now_s * S, body)

    def open(self, room, *names):
        ice = {name: (IceCredentials(ufrag=name, pwd="x" * 22),) for name in names}
        self.order(
            *(
                SetTransport(transport=name, worker=0, direction="recv", ice=ice[name], room=room)
                for name in names
            )
        )

    def seconds(self, count):
        """Let time pass and return the frames of it."""
        found = []
        for _ in range(count):
            self.now_s += 1
            self.engine.handle_timeout(self.now_s * S)
            notices = msgspec.msgpack.decode(self.engine.poll_notices(), type=list[Frame])
            found += [one for one in notices if isinstance(one, Frame)]
        return found


def stored(directory, frames, **options):
    store = TelemetryStore(directory, KEEP, **{"now_ns": lambda: START_NS} | options)
    for frame in frames:
        store.put_frame(frame)
    store.close()
    return store


def test_what_was_measured_is_read_back_in_as_many_points_as_wanted(tmp_path):
    plane = Plane()
    plane.open("lobby", "t1", "t2")
    frames = plane.seconds(200)
    stored(tmp_path, frames)
    telemetry = Telemetry(tmp_path)
    first, last = telemetry.span("lobby")
    assert (first, last) == (frames[0].at_ns, frames[-1].at_ns)
    one = Entity("transport", "t1")
    every = telemetry.series("lobby", one, "ice_state", first, last + 1, points=200)
    assert [point.at_ns for point in every] == [frame.at_ns for frame in frames]
    few = telemetry.series("lobby", one, "ice_state", first, last + 1, points=7)
    assert len(few) == 7
    assert sum(point.count for point in few) == 200


def test_a_stretch_in_the_middle_is_read_from_the_key_frame_before_it(tmp_path):
    plane = Plane()
    plane.open("lobby", "t1")
    frames = plane.seconds(100)
    stored(tmp_path, frames)
    since, until = frames[30].at_ns, frames[40].at_ns
    points = Telemetry(tmp_path).series(
        "lobby", Entity("transport", "t1"), "packets_sent", since, until, points=10
    )
    assert [point.at_ns for point in points] == [frame.at_ns for frame in frames[30:40]]


def test_rooms_are_apart_and_come_and_go(tmp_path):
    plane = Plane()
    plane.open("a", "t1")
    frames = plane.seconds(2)
    plane.open("b", "t2")
    frames += plane.seconds(2)
    plane.order(Remove(kind="transport", id="t1"))
    frames += plane.seconds(2)
    assert [frame.room for frame in frames] == ["a", "a", "a", "b", "a", "b", "b", "b"]
    stored(tmp_path, frames)
    folded = Telemetry(tmp_path).fold("b", 0, 2 * START_NS)
    assert folded.entities() == [Entity("transport", "t2")]
    assert Telemetry(tmp_path).span("nobody") is None


def test_an_unknown_metric_and_an_unknown_entity_have_no_points(tmp_path):
    plane = Plane()
    plane.open("lobby", "t1")
    stored(tmp_path, plane.seconds(3))
    telemetry = Telemetry(tmp_path)
    for entity, metric in (("t1", "nothing"), ("t9", "packets_sent"), ("t1", "estimated_bps")):
        assert not telemetry.series("lobby", Entity("transport", entity), metric, 0, 2 * START_NS)


def test_without_telemetry_one_line_says_so(tmp_path):
    with pytest.raises(StoreMissing, match="no telemetry at"):
        Telemetry(tmp_path).span("lobby")


def test_a_broken_frame_is_an_error_of_one_line(tmp_path):
    plane = Plane()
    plane.open("lobby", "t1")
    frames = plane.seconds(2)
    frames[1] = msgspec.structs.replace(frames[1], data=frames[1].data[:-1])
    stored(tmp_path, frames)
    with pytest.raises(ReplayError, match="malformed telemetry frame"):
        Telemetry(tmp_path).fold("lobby", 0, 2 * START_NS)


def test_frames_of_the_future_and_of_the_past_are_told_apart_by_age(tmp_path):
    now_ns = START_NS + 20 * 86_400 * S
    plane = Plane()
    plane.open("lobby", "t1")
    old = plane.seconds(5)
    plane.now_s += 10 * 86_400
    young = plane.seconds(1)
    stored(tmp_path, [*old, *young], now_ns=lambda: now_ns)
    assert Telemetry(tmp_path).span("lobby") == (young[0].at_ns, young[0].at_ns)


def test_a_file_that_is_too_large_loses_its_oldest_frames(tmp_path):
    connection = open_writer(path_in(tmp_path), LAYOUT)
    connection.execute("INSERT INTO room (room) VALUES ('lobby')")
    for n in range(1000):
        row = (START_NS + n, bytes(2000))
        connection.execute("INSERT INTO frame (room_id, at_ns, data) VALUES (1, ?, ?)", row)
    sweep(connection, LAYOUT, Retention(days_max=1, bytes_max=500_000), START_NS)
    first, last, count = connection.execute(
        "SELECT min(at_ns), max(at_ns), count(*) FROM frame"
    ).fetchone()
    connection.close()
    assert last == START_NS + 999
    assert first == START_NS + 1000 - count
    assert 100 < count < 250
    assert path_in(tmp_path).stat().st_size < 600_000


def test_what_cannot_be_written_is_counted_and_told_and_stops_nobody(tmp_path):
    (tmp_path / LAYOUT.file_name).mkdir()
    problems = []
    plane = Plane()
    plane.open("lobby", "t1")
    store = stored(tmp_path, plane.seconds(3), report=problems.append)
    assert store.dropped == 3
    assert len(problems) == 1


def test_too_much_at_once_drops_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr("replay.side_store.WAITING_BYTES_MAX", 100)
    monkeypatch.setattr("replay.side_store.GROUP_S", 0.0)
    monkeypatch.setattr(TelemetryStore, "_run", lambda self: None)
    store = TelemetryStore(tmp_path, KEEP)
    for n in range(5):
        store.put_frame(Frame(room="lobby", at_ns=n, data=bytes(40)))
    assert store.dropped == 3
    assert [item.at_ns for item in store._next_batch()] == [3, 4]


def test_a_file_of_a_newer_release_is_left_alone(tmp_path):
    with sqlite3.connect(path_in(tmp_path)) as connection:
        connection.execute("CREATE TABLE frame (x)")
        connection.execute(f"PRAGMA application_id = {LAYOUT.application_id}")
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreVersionUnknown):
        Telemetry(tmp_path).span("lobby")
    store = stored(tmp_path, [Frame(room="lobby", at_ns=1, data=b"x")])
    assert store.dropped == 1


def test_nothing_to_see_has_no_score(tmp_path):
    plane = Plane()
    plane.open("lobby", "t1")
    stored(tmp_path, plane.seconds(3))
    quality = Telemetry(tmp_path).quality("lobby", {"p1": ["c1"]}, 0, 2 * START_NS)
    assert quality["p1"].score is None
