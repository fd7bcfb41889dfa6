"""`stats`: figures of a session, held against one whose course is known."""

from __future__ import annotations

import pytest

from protocol.commands import (
    Consume,
    PauseConsumer,
    PauseProducer,
    RequestConsumerKeyFrame,
    RestartIce,
    Resume,
    ResumeProducer,
)
from protocol.ids import ROOM, transport_address
from protocol.messages import PlaneStopped, SocketLost
from protocol.notices import IceStateChanged, KeyFrameRequested
from replay.commands.stats import duration
from replay.session_stats import sessions
from tests.replay.conftest import Commands
from tests.replay.sessions import ROUTER, S, Session, room_settings, store

MS = 1_000_000


@pytest.fixture(scope="module")
def session():
    """Ann sends, Bea watches; each step takes a millisecond, and `wait` as long as it says."""
    session = Session(settings=room_settings(consumers_per_peer_max=1))
    ann = session.join("Ann")
    session.wait(2)
    sending = session.transport(ann)
    session.wait(1)
    video = session.produce(ann, sending)
    bea = session.join("Bea")
    receiving = session.transport(bea, "recv", connect=False)
    consumer = session.consume(bea, receiving, video)
    session.wait(3)
    session.connect(bea, receiving)
    for producer in (video, "s_none", "s_none"):
        session.ask(
            Consume(peer=bea, transport=receiving, producer=producer, rtp_capabilities=ROUTER)
        )
    session.ask(PauseProducer(peer=ann, producer=video))
    session.ask(ResumeProducer(peer=ann, producer=video))
    session.ask(PauseConsumer(peer=bea, consumer=consumer))
    session.ask(RequestConsumerKeyFrame(peer=bea, consumer=consumer))
    session.to_producer(video, KeyFrameRequested(producer=video, encoding=0, requests=5))
    for state in ("disconnected", "connected", "disconnected", "connected"):
        notice = IceStateChanged(transport=receiving, state=state, remote="198.51.100.7:1")
        session.tell(transport_address(receiving), notice)
    session.ask(RestartIce(peer=bea, transport=receiving))
    session.tell(ROOM, SocketLost(peer=bea, attachment=1))
    session.ask(Resume(peer=bea, position=0))
    session.tell(ROOM, PlaneStopped(reason="crashed"))
    session.wait(10)
    session.leave(ann)
    session.wait(5)
    session.close("server_stopped")
    session.open()
    session.join("Cem")
    return session


@pytest.fixture(scope="module")
def run(session, tmp_path_factory):
    return Commands(store(tmp_path_factory.mktemp("stats") / "data", session))


@pytest.fixture(scope="module")
def figures(session):
    return list(sessions(session.envelopes()))


def test_each_session_is_told_by_itself(figures, session):
    first, second = figures
    assert (first.first_position, second.last_position) == (1, session.position)
    assert second.first_position == first.last_position + 1
    assert first.closed_because == "server_stopped"
    assert second.closed_at_ns is None
    assert [peer.name for peer in second.peers] == ["Cem"]
    assert first.messages + first.events + second.messages + second.events == session.position
    assert first.duration_ns == first.closed_at_ns - first.opened_at_ns


def test_the_room_is_counted(figures):
    first = figures[0]
    assert (first.peers_max, first.producers_max, first.consumers_max) == (2, 1, 1)
    assert first.refusals == {"limit_reached": 1, "producer_not_found": 2}
    assert (first.plane_losses, first.control_restarts, first.actor_failures) == (1, 0, 0)
    assert first.closings == {
        "peer": {"requested": 1},
        "transport": {"peer_left": 1},
        "producer": first.closings["producer"],
        "consumer": {"producer_closed": 1},
    }
    assert sum(first.closings["producer"].values()) == 1
    assert 13 * S < first.live_ns < 13.1 * S


def test_a_publisher_is_counted(figures):
    ann = figures[0].peers[0]
    assert ann.name == "Ann"
    assert 2 * S < ann.connected_ns < 2.01 * S
    assert 3 * S < ann.first_media_sent_ns < 3.02 * S
    assert ann.first_media_received_ns is None
    assert (ann.producers, ann.consumers, ann.producer_pauses) == (1, 0, 1)
    assert (ann.keyframes_asked_of, ann.keyframes_requested) == (1, 0)
    assert ann.left_because == "requested"
    assert ann.duration_ns == ann.left_at_ns - ann.joined_at_ns
    assert 16 * S < ann.duration_ns < 16.1 * S
    assert ann.refusals == {}


def test_a_viewer_is_counted(figures):
    bea = figures[0].peers[1]
    assert 3 * S < bea.first_media_received_ns < 3.02 * S
    assert bea.first_media_received_ns == bea.connected_ns
    assert bea.first_media_sent_ns is None
    assert (bea.sockets_lost, bea.reconnects, bea.ice_disconnects, bea.ice_restarts) == (1, 1, 2, 1)
    assert (bea.consumers, bea.consumer_pauses, bea.keyframes_requested) == (1, 1, 1)
    assert bea.refusals == {"limit_reached": 1, "producer_not_found": 2}
    assert (bea.left_at_ns, bea.left_because) == (None, None)
    assert bea.joined_at_ns + bea.duration_ns == figures[0].closed_at_ns


def test_the_command_tells_the_last_session_or_all(run):
    last = run.json("stats", "lobby")
    assert [peer["name"] for peer in last["peers"]] == ["Cem"]
    both = run.text("stats", "lobby", "--all", "--json").splitlines()
    assert len(both) == 2
    lines = run.text("stats", "lobby", "--all").splitlines()
    assert lines[0].startswith("lobby, positions 1-")
    assert lines[0].endswith("closed (server_stopped)")
    assert "refused: limit_reached 1, producer_not_found 2" in lines
    header, ann = next(
        (line, lines[n + 1]) for n, line in enumerate(lines) if line.startswith("PEER")
    )
    assert ann.split()[1] == "Ann"
    assert ann[header.index("STAYED") :].startswith("16.")


@pytest.mark.parametrize(
    ("ns", "shown"),
    [(0, "0 ms"), (120 * MS, "120 ms"), (2_345 * MS, "2.35 s"), (250 * S, "4 min 10 s"),
     (3_720 * S, "1 h 2 min")],
)  # fmt: skip
def test_durations_are_for_people(ns, shown):
    assert duration(ns) == shown


def test_an_unknown_room_is_one_line(run):
    assert "no room 'attic'" in run.fails("stats", "attic")
