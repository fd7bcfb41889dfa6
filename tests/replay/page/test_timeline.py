"""The index of a room's log: lanes, densities, anomalies; the same however it came about."""

from __future__ import annotations

import contextlib
from collections import Counter

import msgspec
import pytest

from protocol.commands import PauseConsumer, RestartIce
from protocol.ids import ROOM, transport_address
from protocol.messages import SocketLost
from protocol.notices import (
    ConsumerFrozen,
    ConsumerScore,
    IceStateChanged,
    KeyFrameRequested,
    LayersChanged,
    ProducerActivityChanged,
    ProducerDemandChanged,
)
from replay.reader import LogReader
from replay.store.errors import LogDamaged
from replay.timeline import cache, queries
from replay.timeline.build import build
from replay.timeline.categories import CATEGORIES, category_of
from replay.timeline.index import TimelineIndex
from tests.histories.test_histories import HISTORIES, opened
from tests.replay.samples import TYPES
from tests.replay.sessions import S, Session, call, store


def index_of(session):
    index = TimelineIndex(session.room)
    for envelope in session.envelopes():
        index.take(envelope)
    return index


def kinds(index):
    return [anomaly.kind for anomaly in index.anomalies]


def test_every_envelope_is_in_one_lane_and_one_category():
    session = call(viewers=3)
    index = index_of(session)
    everywhere = Counter(
        position for lane in index.lanes for rows in lane.rows.values() for position in rows
    )
    assert everywhere == Counter(range(1, session.position + 1))
    assert sum(len(rows) for rows in index.all.values()) == session.position
    assert sum(len(rows) for rows in index.types.values()) == session.position


def test_a_peer_has_its_transports_and_they_their_streams():
    session = call(viewers=1)
    index = index_of(session)
    host, viewer = (number for number, lane in enumerate(index.lanes) if lane.kind == "peer")
    shapes = [
        [
            (depth, index.lanes[n].kind, index.lanes[n].about)
            for n, depth in queries.below(index, peer)
        ]
        for peer in (host, viewer)
    ]
    assert shapes == [
        [(1, "transport", "send"), (2, "producer", "audio"), (2, "producer", "video")],
        [(1, "transport", "recv"), (2, "consumer", "audio"), (2, "consumer", "video")],
    ]


def test_a_folded_peer_counts_all_that_lies_in_it():
    index = index_of(call(viewers=1))
    for number, lane in enumerate(index.lanes):
        if lane.kind == "peer":
            below = [index.lanes[n] for n, _ in queries.below(index, number)]
            inside = sorted(p for rows in lane.inside.values() for p in rows)
            assert inside == sorted(
                p for each in (lane, *below) for rows in each.rows.values() for p in rows
            )


def test_a_request_to_join_lies_with_the_peer_that_came_of_it():
    session = Session()
    peer = session.join("Ann")
    index = index_of(session)
    lane = index.lane(f"peer/{peer}")
    envelopes = session.envelopes()
    joined = next(e for e in envelopes if e.type == "PeerJoined")
    assert lane.begin == joined.cause
    for envelope in envelopes:
        assert index.place(envelope)[0].key == ("room" if envelope.position < 3 else lane.key)


def test_lives_end_with_what_ends_them():
    session = call(viewers=1)
    viewer = next(
        lane.key.partition("/")[2] for lane in index_of(session).lanes[::-1] if lane.kind == "peer"
    )
    session.leave(viewer)
    index = index_of(session)
    gone = index.lane(f"peer/{viewer}")
    assert gone.end
    assert gone.reason == "requested"
    assert all(
        index.lanes[n].end >= gone.end for n, _ in queries.below(index, index.number(gone.key))
    )
    assert index.lane("room").end == 0


def test_a_room_that_opens_again_begins_another_session():
    session = call(viewers=1)
    session.close()
    session.at_ns += 3600 * S
    session.open()
    session.join("Zoe")
    index = index_of(session)
    assert [(each.peers, bool(each.end)) for each in index.sessions] == [(2, True), (1, False)]
    assert [lane.session for lane in index.lanes if lane.kind == "peer"] == [0, 0, 1]
    assert [lane.ordinal for lane in index.lanes if lane.kind == "peer"] == [0, 1, 0]


def test_what_is_odd_is_found():
    session = Session()
    host = session.join("Ann")
    sending = session.transport(host)
    producer = session.produce(host, sending)
    viewer = session.join("Ben")
    receiving = session.transport(viewer, "recv")
    consumer = session.consume(viewer, receiving, producer)
    assert kinds(index_of(session)) == []
    session.ask(PauseConsumer(peer="p_nobody", consumer=consumer))
    for score in (3, 2, 9, 1):
        session.to_consumer(
            consumer, ConsumerScore(consumer=consumer, score=score, producer_score=9)
        )
    for state in ("disconnected", "failed", "connected"):
        changed = IceStateChanged(transport=receiving, state=state)
        session.tell(transport_address(receiving), changed)
    session.ask(RestartIce(peer=viewer, transport=receiving))
    for layer in (1, None):
        layers = LayersChanged(consumer=consumer, spatial_layer=layer, temporal_layer=None)
        session.to_consumer(consumer, layers)
    for frozen in (True, False):
        session.to_consumer(consumer, ConsumerFrozen(consumer=consumer, frozen=frozen))
    for _ in range(9):
        session.to_producer(producer, KeyFrameRequested(producer=producer, encoding=0, requests=1))
    session.to_producer(producer, ProducerActivityChanged(producer=producer, active=False))
    session.tell(ROOM, SocketLost(peer=viewer, attachment=1))
    found = kinds(index_of(session))
    assert found == [
        "refused", "low_score", "low_score", "ice_lost", "nothing_sent", "frozen",
        "keyframe_storm", "silent", "peer_lost",
    ]  # fmt: skip


def test_keyframes_that_were_asked_for_and_those_from_the_cache_are_charted():
    session = Session()
    host, viewer = session.join("Ann"), session.join("Bob")
    producer = session.produce(host, session.transport(host))
    consumer = session.consume(viewer, session.transport(viewer, "recv"), producer)
    for requests in (7, 0, 70_000):
        asked = KeyFrameRequested(producer=producer, encoding=0, requests=requests)
        session.to_producer(producer, asked)
    for layer, age_ns in ((0, 3_260_000_000), (1, None), (2, 40_000_000)):
        shown = LayersChanged(
            consumer=consumer, spatial_layer=layer, temporal_layer=None, keyframe_age_ns=age_ns
        )
        session.to_consumer(consumer, shown)
    packed = msgspec.msgpack.encode(index_of(session).packed())
    index = TimelineIndex.unpacked(msgspec.msgpack.decode(packed))
    found = {}
    for key in (f"producer/{producer}", f"consumer/{consumer}"):
        for metric in queries.METRICS:
            points = queries.series(index, index.lane(key), metric, 0, index.times[-1] + 1)
            if points:
                found[metric] = [value for _, value in points]
    assert found == {
        "keyframes_asked": [7, 0, 70_000],
        "layer": [0, 1, 2],
        "keyframe_age_ms": [3_200, 0],
    }


def test_a_publisher_that_rests_for_want_of_viewers_is_not_odd():
    session = Session()
    host = session.join("Ann")
    producer = session.produce(host, session.transport(host))
    session.to_producer(producer, ProducerDemandChanged(producer=producer, spatial_layer=None))
    session.to_producer(producer, ProducerActivityChanged(producer=producer, active=False))
    session.to_producer(producer, ProducerDemandChanged(producer=producer, spatial_layer=0))
    assert kinds(index_of(session)) == []


def test_densities_count_each_envelope_once_at_any_resolution():
    session = call(viewers=4)
    index = index_of(session)
    begin, end = index.times[0], index.times[-1] + 1
    for buckets in (1, 7, 60, 1999):
        told = queries.density(index, ["*", "room", "peer/none"], begin, end, buckets)
        assert set(told) == {"*", "room"}
        counts = [count for each in told["*"].values() for count in each[1::2]]
        assert sum(counts) == session.position
        assert all(0 <= b < buckets for each in told["*"].values() for b in each[::2])


def test_dense_and_sparse_ways_of_counting_agree():
    index = index_of(call(viewers=6))
    begin, end = index.times[0], index.times[-1] + 1
    coarse = queries.density(index, ["*"], begin, end, 3)["*"]
    fine = queries.density(index, ["*"], begin, end, 3 * 500)["*"]
    for category, counts in coarse.items():
        summed: Counter[int] = Counter()
        for bucket, count in zip(fine[category][::2], fine[category][1::2], strict=True):
            summed[bucket // 500] += count
        assert dict(zip(counts[::2], counts[1::2], strict=True)) == dict(summed)


def test_an_index_goes_on_where_it_was_written_down():
    session = call(viewers=3)
    envelopes = session.envelopes()
    whole = msgspec.msgpack.encode(index_of(session).packed())
    for cut in (1, 7, len(envelopes) // 2, len(envelopes) - 1):
        index = TimelineIndex(session.room)
        for envelope in envelopes[:cut]:
            index.take(envelope)
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(index.packed()))
        index = TimelineIndex.unpacked(again)
        for envelope in envelopes[cut:]:
            index.take(envelope)
        assert msgspec.msgpack.encode(index.packed()) == whole


def test_a_cache_file_is_used_only_if_it_belongs_to_this_log(tmp_path):
    directory = store(tmp_path / "data", call())
    built = build(directory, "lobby")
    path = cache.path_of(directory, "lobby")
    with LogReader(directory) as reader:
        assert cache.load(directory, "lobby", reader).packed() == built.packed()
        sound = path.read_bytes()
        path.write_bytes(sound[:-1] + bytes((sound[-1] ^ 1,)))
        assert cache.load(directory, "lobby", reader) is None
        path.write_bytes(b"")
        assert cache.load(directory, "lobby", reader) is None
        other = TimelineIndex("lobby")
        for envelope in call(seed=9).envelopes():
            other.take(envelope)
        cache.save(directory, other)
        assert cache.load(directory, "lobby", reader) is None
    assert build(directory, "lobby").packed() == built.packed()


def test_an_index_holds_no_names_and_no_addresses(tmp_path):
    directory = store(tmp_path / "data", call())
    build(directory, "lobby")
    content = cache.path_of(directory, "lobby").read_bytes()
    for word in (b"Ann", b"viewer 0", b"198.51.100", b"192.0.2.1"):
        assert word not in content


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Join", "people"), ("PeerLeft", "people"), ("ResumeConsumer", "media"),
        ("RequestConsumerKeyFrame", "quality"), ("ConsumerScored", "quality"),
        ("DtlsConnected", "connection"), ("CommandRefused", "trouble"), ("TimerFired", "house"),
        ("OfALaterRelease", "house"),
    ],
)  # fmt: skip
def test_types_have_categories(name, category):
    assert CATEGORIES[category_of(name)] == category


def test_no_type_that_is_about_a_stream_or_a_transport_falls_to_the_house():
    house = {name for name in TYPES if CATEGORIES[category_of(name)] == "house"}
    assert not [
        n for n in house if any(word in n for word in ("Producer", "Consumer", "Transport"))
    ]


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_real_sessions_are_laid_out_as_far_as_they_are_sound(path, tmp_path):
    about, directory = opened(path, tmp_path)
    index = build(directory, about["room"])
    with LogReader(directory) as reader:
        with contextlib.suppress(LogDamaged):
            count = 0
            for batch in reader.batches(about["room"]):
                count += len(batch)
        assert index.position == count > 0
        placed = {
            position: lane.key
            for lane in index.lanes
            for rows in lane.rows.values()
            for position in rows
        }
        assert sorted(placed) == list(range(1, index.position + 1))
        for envelope in reader.some(about["room"], placed):
            assert index.place(envelope)[0].key == placed[envelope.position]
