"""`why`: causes and effects, told in sentences."""

from __future__ import annotations

import re
import sqlite3
from typing import get_args

import pytest

from protocol import codec, events
from protocol.commands import PauseConsumer, ResumeConsumer, SetPreferredLayers, SetPriority
from protocol.envelope import Draft, genesis, seal
from protocol.ids import ROOM, transport_address
from protocol.messages import PlaneStarted, SocketEnd, SocketLost
from protocol.notices import (
    BandwidthEstimated,
    IceStateChanged,
    KeyFrameRequested,
    LayersChanged,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
)
from replay.causes import story, tree_map
from replay.explain import because, sentence
from replay.reader import LogReader
from tests.replay.conftest import Commands
from tests.replay.samples import TYPES, sample
from tests.replay.sessions import WORKERS, Session, call, store


def envelope_of(value, actor="consumer/c_1", **more):
    fields = {
        "at_ns": 0, "actor": actor, "kind": "event", "type": codec.type_of(value),
        "data": codec.encode(value),
    }  # fmt: skip
    return seal(genesis("lobby"), "lobby", 1, Draft(**(fields | more)))


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_a_sentence(name):
    told = sentence(envelope_of(sample(TYPES[name])))
    assert re.fullmatch(r"\S+( \S+)+", told), told
    assert "{" not in told
    assert not told.startswith(name), "a sentence, not the type's name"
    assert not told.endswith(".")


def test_a_sentence_names_what_it_is_about():
    session = call(viewers=1)
    told = {e.type: sentence(e) for e in session.envelopes()}
    peer, consumer = (list(session.states["room"].peers)[1], *session.states["room"].consumers)[:2]
    assert told["Join"] == "A client asked to join as 'viewer 0'"
    assert told["PeerJoined"].startswith(f"Peer {peer} joined as 'viewer 0', and may publish and")
    assert re.fullmatch(
        rf"Peer {peer} asked to watch producer s_\w+ over transport t_\w+", told["Consume"]
    )
    last = list(session.states["room"].consumers)[-1]
    assert (
        told["ConsumerResumed"] == f"Consumer {last} of peer {peer} was resumed as its viewer asked"
    )
    assert consumer != last


def test_layers_and_bandwidth_are_told_with_their_reason():
    layers = events.ConsumerLayersChanged(
        consumer="c_1", peer="p_1", spatial_layer=1, temporal_layer=None, reason="bandwidth"
    )
    told = sentence(envelope_of(layers))
    assert told == (
        "Spatial layer 1 is sent by consumer c_1 now, for the viewer's bandwidth allows no more"
    )
    less = events.BandwidthChanged(bitrate_bps=700_000, limit="delay", wanted_bps=1_600_000)
    told = sentence(envelope_of(less, actor="transport/t_1"))
    assert told == (
        "The way to transport t_1 takes 700 kbit/s, as far as queues on the way let it; "
        "the next layers need 1600 kbit/s"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"probes": 1}, "; a probe found no more room"),
        ({"probes": 1, "probes_found": 1}, "; a probe found more room"),
        ({"probes": 4}, "; 4 probes found no more room"),
        ({"probes": 4, "probes_found": 1}, "; 1 of 4 probes found more room"),
        ({"probes": 2, "probes_found": 2}, "; all of 2 probes found more room"),
        ({"on_trial": True}, "; it was last full long ago: what was paused comes back on trial"),
    ],
)
def test_what_probes_found_and_a_trial_are_told(more, said):
    told = events.BandwidthChanged(bitrate_bps=94_000, limit="loss", **more)
    assert sentence(envelope_of(told, actor="transport/t_1")) == (
        f"The way to transport t_1 takes 94 kbit/s, for packets are lost{said}"
    )


def test_text_from_clients_is_escaped_and_cut():
    session = Session()
    session.join("\x1b[31m" + "x" * 100)
    told = next(sentence(e) for e in session.envelopes() if e.type == "Join")
    assert "\x1b" not in told
    assert r"\x1b[31mxxx" in told.replace("\\\\", "\\")
    assert len(told) < 100


def test_what_is_not_understood_is_told_by_its_type():
    unknown = envelope_of(sample(TYPES["Join"]), type="FromTheFuture")
    assert sentence(unknown) == "FromTheFuture at consumer/c_1"
    newer = envelope_of(sample(TYPES["Join"]), version=9)
    assert sentence(newer) == "Join at consumer/c_1, in a shape that is not understood"


def test_reasons_are_told_in_words():
    assert because("peer_left") == "because its peer left"
    assert because("dtls_fingerprint_mismatch") == "because DTLS failed (fingerprint_mismatch)"
    assert because("operator said so") == "because of operator said so"


def leaving():
    """A host whose socket is lost, which is gone when the grace period is over."""
    session = call(viewers=2)
    host = next(iter(session.states["room"].peers))
    session.tell(ROOM, SocketLost(peer=host, attachment=1))
    session.wait(31)
    return session, host


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    session, host = leaving()
    return session, host, Commands(store(tmp_path_factory.mktemp("left") / "data", session))


def test_a_chain_leads_back_to_what_began_it(left):
    session, _, run = left
    closed = [n for n, d in enumerate(session.drafts, 1) if d.type == "ConsumerClosed"]
    told = run.json("why", "lobby", closed[-1])
    assert [link["type"] for link in told["causes"]] == [
        "SocketLost", "TimerFired", "Close", "ConsumerClosed",
    ]  # fmt: skip
    assert told["causes"][0]["cause"] is None
    for cause, effect in zip(told["causes"], told["causes"][1:], strict=False):
        assert effect["cause"] == cause["position"]
    assert told["causes"][-1]["sentence"].endswith("closed because its producer closed")
    assert told["effects"]["type"] == "Close"
    assert [effect["type"] for effect in told["effects"]["effects"]] == ["ConsumerClosed"]


def flat(tree):
    yield tree
    for effect in tree["effects"]:
        assert effect["cause"] == tree["position"]
        yield from flat(effect)


def test_all_that_followed_is_in_the_tree_once(left):
    session, _, run = left
    lost = next(n for n, d in enumerate(session.drafts, 1) if d.type == "SocketLost")
    told = run.json("why", "lobby", lost)
    found = sorted(node["position"] for node in flat(told["effects"]))
    expected = {lost}
    for position, draft in enumerate(session.drafts, 1):
        if draft.cause in expected:
            expected.add(position)
    assert found == sorted(expected)
    types = {node["type"] for node in flat(told["effects"])}
    assert {
        "TimerFired",
        "PeerLeft",
        "ProducerRemoved",
        "ConsumerClosed",
        "StreamingStopped",
    } <= types


def test_a_request_is_named_with_its_correlation(left):
    session, _, run = left
    opened = next(n for n, d in enumerate(session.drafts, 1) if d.type == "ConsumerOpened")
    told = run.json("why", "lobby", opened)
    assert [link["type"] for link in told["causes"]] == [
        "Consume",
        "OpenConsumer",
        "ConsumerOpened",
    ]
    assert told["correlation"] == session.drafts[opened - 1].correlation
    lines = run.text("why", "lobby", opened).splitlines()
    assert lines[0] == f"Why position {opened} of lobby, request {told['correlation']}"
    assert re.match(r"\d+ Peer p_\w+ asked to watch producer s_\w+ over transport", lines[1])
    assert lines[2].startswith("└ ")
    assert lines[3].startswith(f"  └ {opened} ")
    assert lines[4] == "What came of it: 1 more"


def test_why_takes_any_instant_and_refuses_what_is_none(left):
    _, _, run = left
    assert run.json("why", "lobby", "start")["position"] == 1
    assert "nothing at position 0" in run.fails("why", "lobby", 0)
    assert "past the end" in run.fails("why", "lobby", 99999)
    assert "no room 'attic'" in run.fails("why", "attic", 1)


def without_index(directory):
    with sqlite3.connect(directory / "events.sqlite3") as database:
        database.execute("DROP INDEX envelope_effect")
        database.execute("DROP INDEX envelope_opening")
    database.close()


def test_effects_are_the_same_with_the_index_and_by_a_scan(tmp_path):
    session, _ = leaving()
    indexed = store(tmp_path / "indexed", session)
    scanned = store(tmp_path / "scanned", session)
    without_index(scanned)
    with LogReader(indexed) as quick, LogReader(scanned) as slow:
        assert quick.effects("lobby", 1, session.position) is not None
        assert slow.effects("lobby", 1, session.position) is None
        assert quick.session_start("lobby") == slow.session_start("lobby")
        for position in range(1, session.position + 1):
            for end in (session.position, position + 5):
                told = [
                    tree_map(story(reader, "lobby", position, end).effects)
                    for reader in (quick, slow)
                ]
                assert told[0] == told[1]


def test_an_older_log_gets_its_indexes_when_a_server_opens_it(tmp_path):
    session, _ = leaving()
    directory = store(tmp_path / "data", session)
    without_index(directory)
    store(directory, session)
    with LogReader(directory) as reader:
        assert reader.effects("lobby", 1, session.position) is not None


def test_effects_in_a_long_log_are_found_without_going_through_it(tmp_path):
    session, _ = leaving()
    lost = next(n for n, d in enumerate(session.drafts, 1) if d.type == "SocketLost")
    expected = story_of(store(tmp_path / "short", session), lost)
    for _ in range(20_000):
        session.tell(ROOM, PlaneStarted(workers=WORKERS))
    directory = store(tmp_path / "long", session)
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    with LogReader(directory) as reader:
        reader._connection.set_progress_handler(count, 1000)
        assert tree_map(story(reader, "lobby", lost, session.position).effects) == expected
        assert 0 < steps < 100, "a scan of the whole log takes thousands"


def story_of(directory, position):
    with LogReader(directory) as reader:
        return tree_map(story(reader, "lobby", position, reader.end("lobby")[0].position).effects)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        (0, "was asked for again, for none had come"),
        (1, "was asked for, for one asker"),
        (2, "was asked for once, for 2 askers: 1 more request was held back"),
        (9, "was asked for once, for 9 askers: 8 more requests were held back"),
    ],
)
def test_keyframe_requests_that_were_held_back_are_told(requests, said):
    asked = events.KeyFrameAsked(encoding=0, requests=requests)
    assert sentence(envelope_of(asked, "producer/s_1")) == f"A keyframe of producer s_1 {said}"


def test_layers_are_told_with_their_grounds(tmp_path):
    session = call(viewers=1)
    consumer, peer = next(
        (key.partition("/")[2], state.peer)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    )
    transport = session.states[f"consumer/{consumer}"].row.transport
    producer = session.states[f"consumer/{consumer}"].row.producer
    told = []

    def layer(spatial, said, reason=None, age_ns=None):
        shown = LayersChanged(
            consumer=consumer,
            spatial_layer=spatial,
            temporal_layer=None,
            reason=reason,
            keyframe_age_ns=age_ns,
        )
        session.to_consumer(consumer, shown)
        told.append((session.position, said))

    layer(0, "a keyframe of layer 0 came, with which it can begin; its viewer set no limit")
    past = (
        "the last keyframe of layer 1 was in the cache, and all that followed:"
        " its publisher was not asked"
    )
    layer(1, f"{past}; its viewer set no limit", age_ns=1_260_000_000)
    begun = session.position
    layer(2, "a keyframe of the higher layer 2 came; its viewer set no limit")
    session.to_producer(producer, ProducerScore(producer=producer, scores=(10, 8, 0)))
    layer(1, "layer 2 does not flow any more, and a keyframe of layer 1 came; scores (10, 8, 0)")
    session.ask(
        SetPreferredLayers(peer=peer, consumer=consumer, spatial_layer=0, temporal_layer=None)
    )
    layer(0, "its viewer wants at most layer 0, and a keyframe of layer 0 came")
    session.ask(PauseConsumer(peer=peer, consumer=consumer))
    layer(None, "its viewer paused it")
    session.ask(SetPriority(peer=peer, consumer=consumer, priority=4))
    layer(None, "its priority is 4, and no other video shares its transport", "bandwidth")
    session.ask(ResumeConsumer(peer=peer, consumer=consumer))
    layer(0, "a keyframe of layer 0 came, with which it can begin; its viewer wants at most 0")
    session.to_producer(producer, ProducerActivityChanged(producer=producer, active=False))
    layer(None, "no packets of its producer come")
    lost = IceStateChanged(transport=transport, state="disconnected", remote=None)
    session.tell(transport_address(transport), lost)
    layer(None, "its transport cannot send")
    run = Commands(store(tmp_path / "data", session))
    for position, said in told:
        assert run.json("why", "lobby", position)["grounds"] == said
        assert f"Grounds: {said}" in run.text("why", "lobby", position)
    assert run.json("why", "lobby", 2)["grounds"] is None
    assert ", from a keyframe on that had come 1.3 s before" in run.text("why", "lobby", begun)


EMPTY = "a viewer has nothing to see, and "
OLD = "the last one became old while people come or wait to climb"


@pytest.mark.parametrize(
    ("causes", "said"),
    [
        (("began",), f" ({EMPTY}nothing in the cache to begin with)"),
        (
            ("began", "clock", "aged"),
            f" ({EMPTY}the last keyframe is too old to begin with, and {OLD})",
        ),
        (
            ("began", "slow"),
            f" ({EMPTY}to catch up from the last keyframe would take too long)",
        ),
        (
            ("began", "full"),
            f" ({EMPTY}its way was full: nothing of the past is sent into it)",
        ),
        (("viewer", "lost"), " (a viewer asked for one, and packets of the publisher are missing)"),
        (("of the future",), ""),
    ],
)
def test_why_a_keyframe_was_asked_for_is_told(causes, said):
    asked = events.KeyFrameAsked(encoding=0, requests=1, causes=causes)
    told = sentence(envelope_of(asked, "producer/s_1"))
    assert told == f"A keyframe of producer s_1 was asked for, for one asker{said}"


def test_for_whom_a_keyframe_was_asked_for_is_told_and_who_needed_none(tmp_path):
    session = call(viewers=5)
    consumers = [
        (key.partition("/")[2], state)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    ]
    producer = consumers[0][1].row.producer
    told = []

    def begin(count, age_ns):
        for consumer, _ in consumers[:count]:
            shown = LayersChanged(
                consumer=consumer,
                spatial_layer=0,
                temporal_layer=None,
                reason="preferred",
                keyframe_age_ns=age_ns,
            )
            session.to_consumer(consumer, shown)

    def asked(causes, said):
        notice = KeyFrameRequested(producer=producer, encoding=0, requests=1, causes=causes)
        session.to_producer(producer, notice)
        told.append((session.position, said))

    peers = [state.peer for _, state in consumers]
    asked(("began",), f"5 of 5 who watch it have nothing to see: {', '.join(peers[:3])} and 2 more")
    begin(4, None)
    asked(("began",), f"1 of 5 who watch it have nothing to see: {peers[4]}")
    begin(5, 1_200_000_000)
    seen = "all who watch it (5) have something to see until it comes"
    served = "since the request before 5 beginnings were served from the cache"
    asked(("clock",), f"{seen}; {served}, of which the publisher heard nothing")
    for consumer, state in consumers:
        session.ask(PauseConsumer(peer=state.peer, consumer=consumer))
    asked(("viewer",), "nobody watches it")
    run = Commands(store(tmp_path / "data", session))
    for position, said in told:
        assert run.json("why", "lobby", position)["grounds"] == said
    assert "(the last one became old while people come" in run.text("why", "lobby", told[2][0])


def test_how_bandwidth_was_shared_is_told_by_priority(tmp_path):
    session = call(viewers=1)
    [(first, state)] = [
        (key.partition("/")[2], state)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    ]
    peer, transport = state.peer, state.row.transport
    for priority, layer in ((3, 2), (1, None)):
        added = session.consume(peer, transport, state.row.producer)
        session.ask(SetPriority(peer=peer, consumer=added, priority=priority))
        shown = LayersChanged(consumer=added, spatial_layer=layer, temporal_layer=None)
        session.to_consumer(added, shown)
    less = LayersChanged(consumer=first, spatial_layer=0, temporal_layer=None, reason="bandwidth")
    session.to_consumer(first, less)
    run = Commands(store(tmp_path / "data", session))
    assert run.json("why", "lobby", session.position)["grounds"].endswith(
        "its priority is 1; of the other videos of its transport:"
        " priority 3 has layer 2, priority 1 has nothing"
    )


def test_a_fall_for_want_of_bandwidth_is_told_with_the_estimate(tmp_path):
    session = call(viewers=1)
    consumer, row = next(
        (key.partition("/")[2], state.row)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    )

    def shown(layer, temporal, reason):
        told = LayersChanged(
            consumer=consumer, spatial_layer=layer, temporal_layer=temporal, reason=reason
        )
        session.to_consumer(consumer, told)
        return session.position

    def estimated(bitrate_bps, limit):
        told = BandwidthEstimated(
            transport=row.transport, bitrate_bps=bitrate_bps, limit=limit, wanted_bps=None
        )
        session.tell(transport_address(row.transport), told)

    shown(2, 2, "preferred")
    unknown = shown(1, 2, "bandwidth")
    session.at_ns += 60_000_000_000
    estimated(430_000, "loss")
    session.at_ns += 2_000_000_000
    cases = {
        unknown: "it fell from layer 2 to 1; its",
        shown(0, 2, "bandwidth"): "it fell from layer 1 to 0; " + WAY,
        shown(0, 1, "bandwidth"): "of layer 0 it had temporal layer 2; " + WAY,
        shown(None, None, "bandwidth"): "it had layer 0; " + WAY,
        shown(0, 1, "bandwidth"): "it had nothing; " + WAY,
        shown(1, 1, "bandwidth"): "it rose from layer 0 to 1; " + WAY,
    }
    run = Commands(store(tmp_path / "data", session))
    for position, said in cases.items():
        told = run.json("why", "lobby", position)["grounds"]
        assert told.startswith(said), told
        assert told.endswith("no other video shares its transport")


def test_an_estimate_is_told_with_the_one_before_and_with_who_uses_it(tmp_path):
    session = call(viewers=1)
    consumer, state = next(
        (key.partition("/")[2], state)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    )
    transport = state.row.transport
    session.to_consumer(
        consumer, LayersChanged(consumer=consumer, spatial_layer=1, temporal_layer=None)
    )
    session.ask(SetPriority(peer=state.peer, consumer=consumer, priority=3))

    def estimated(bitrate_bps):
        session.at_ns += 5_000_000_000
        told = BandwidthEstimated(transport=transport, bitrate_bps=bitrate_bps, limit="delay")
        session.tell(transport_address(transport), told)
        return session.position

    uses = "of its videos priority 3 has layer 1; audio comes first (1)"
    cases = {
        estimated(900_000): uses,
        estimated(300_000): f"it fell from 900 kbit/s 5.0 s before; {uses}",
        estimated(1_200_000): f"it rose from 300 kbit/s 5.0 s before; {uses}",
        estimated(1_200_000): f"it was told as 1200 kbit/s 5.0 s before; {uses}",
    }
    higher = LayersChanged(
        consumer=consumer, spatial_layer=2, temporal_layer=None, reason="preferred"
    )
    session.to_consumer(consumer, higher)
    cases[session.position] = (
        "a keyframe of the higher layer 2 came; its viewer set no limit; the way to its viewer was "
        "estimated at 1,200 kbit/s 0.0 s before, as far as queues on the way let it"
    )
    run = Commands(store(tmp_path / "data", session))
    for position, said in cases.items():
        assert run.json("why", "lobby", position)["grounds"] == said


THIN = "as who catches up or has little bandwidth"


def test_layers_within_the_one_that_is_sent_are_not_told_as_another_one(tmp_path):
    session = call(viewers=1)
    consumer = next(
        key.partition("/")[2]
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    )
    cases = {}
    for temporal, said in (
        (0, None),
        (
            2,
            f"of layer 2 it had no more than temporal layer 0, {THIN}; its viewer set no limit",
        ),
        (1, "of layer 2 it had temporal layer 2; its viewer set no limit"),
        (None, "within layer 2 its frame rate changed; its viewer set no limit"),
    ):
        told = LayersChanged(
            consumer=consumer, spatial_layer=2, temporal_layer=temporal, reason="preferred"
        )
        session.to_consumer(consumer, told)
        if said is not None:
            cases[session.position] = said
    run = Commands(store(tmp_path / "data", session))
    for position, said in cases.items():
        assert run.json("why", "lobby", position)["grounds"] == said


def test_what_viewers_want_of_a_producer_is_told_with_its_demand(tmp_path):
    session = call(viewers=3)
    consumers = [
        (key.partition("/")[2], state)
        for key, state in session.states.items()
        if key.startswith("consumer/") and state.row.kind == "video"
    ]
    producer = consumers[0][1].row.producer
    cases = {}

    def demanded(layer, said):
        notice = ProducerDemandChanged(producer=producer, spatial_layer=layer)
        steps = session.to_producer(producer, notice)
        told = next(e for e in steps[0].events if isinstance(e, events.ProducerDemandNoted))
        assert told.spatial_layer == layer
        noted = [n for n, d in enumerate(session.drafts, 1) if d.type == "ProducerDemandNoted"]
        cases[noted[-1]] = said

    demanded(2, "3 of 3 who consume it have not paused it; 3 of them set no limit")
    for consumer, state in consumers:
        session.ask(
            SetPreferredLayers(
                peer=state.peer, consumer=consumer, spatial_layer=1, temporal_layer=None
            )
        )
    session.ask(PauseConsumer(peer=consumers[0][1].peer, consumer=consumers[0][0]))
    demanded(
        1,
        "2 of 3 who consume it have not paused it; the highest layer that any of them wants is 1",
    )
    for consumer, state in consumers[1:]:
        session.ask(PauseConsumer(peer=state.peer, consumer=consumer))
    demanded(None, "all who consume it (3) have paused it, for three seconds or more")
    run = Commands(store(tmp_path / "data", session))
    for position, said in cases.items():
        assert run.json("why", "lobby", position)["grounds"] == said


WAY = (
    "the way to its viewer was estimated at 430 kbit/s 2.0 s before"
    ", for packets are lost; its priority"
)


@pytest.mark.parametrize("reason", get_args(SocketEnd))
def test_why_a_socket_went_is_told(reason):
    told = sentence(envelope_of(SocketLost(peer="p", attachment=1, reason=reason), "room"))
    assert told.startswith("The socket of peer p (number 1) was lost")
    assert (": " in told) == bool(reason)
    assert "_" not in told
