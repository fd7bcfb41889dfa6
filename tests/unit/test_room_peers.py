"""Given events of a room, when peers come and go, then …"""

from __future__ import annotations

from typing import Any

import pytest

from actors.core.decider import Reply
from actors.core.room import ROOM_DECIDER
from protocol import events
from protocol.answers import Done, Entered, Joined, PeerView, ProducerView
from protocol.commands import (
    CreateTransport,
    Join,
    Leave,
    Resume,
    Rights,
)
from protocol.ids import consumer_address, producer_address, transport_address
from protocol.messages import (
    ControlRestarted,
    EvictPeer,
    SocketLost,
    TimerFired,
)
from protocol.refusals import RefusalCode
from tests.control.given import draw, given
from tests.control.samples import (
    EPOCH_NS,
    ROUTER,
    WORKERS,
    S,
    consume,
    produce,
    room_settings,
)
from tests.unit.room_deciding import (
    OPENED,
    closings,
    live,
    peer,
)


def test_joining_shows_who_and_what_is_there() -> None:
    joining = Join(room="room", name="Third")
    third = draw().id("p")
    after = (
        live()
        .when(joining)
        .then(
            events.PeerJoined(peer=third, name="Third", rights=Rights()),
            Reply(
                Entered(
                    joined=Joined(
                        peer=third,
                        router_rtp_capabilities=ROUTER,
                        peers=(
                            PeerView(id="host", name="HOST"),
                            PeerView(id="viewer", name="VIEWER"),
                        ),
                        producers=(
                            ProducerView(
                                id="track",
                                peer="host",
                                kind="video",
                                paused=False,
                                app_data={"source": "camera"},
                            ),
                        ),
                        streaming=True,
                        peer_count=3,
                    ),
                    attachment=1,
                )
            ),
        )
    )
    assert third in after.state.peers
    after.when(joining).refused(RefusalCode.LIMIT_REACHED, "3")


def test_the_first_who_joins_takes_the_deadline_away() -> None:
    outcome = given(ROOM_DECIDER, OPENED).when(Join(room="room"))
    assert outcome.after.deadlines == {}


def test_a_peer_that_lost_its_socket_leaves_after_its_grace() -> None:
    lost = SocketLost(peer="viewer", attachment=1)
    detached = events.PeerDetached(peer="viewer", leaves_at_ns=EPOCH_NS + 10 * S)
    after = live().when(lost).then(detached)
    assert after.deadlines == {"leaves": EPOCH_NS + 10 * S}
    after.when(lost).then_nothing()
    fired = TimerFired(name="leaves")
    after.when(fired, at_ns=EPOCH_NS + 10 * S - 1).then_nothing()
    after.when(fired, at_ns=EPOCH_NS + 10 * S).then(
        events.PeerLeft(peer="viewer", reason="connection_lost"),
        events.TransportRemoved(transport="recv", peer="viewer", reason="peer_left"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="peer_left"),
        *closings((transport_address("recv"), "peer_left"), (consumer_address("see"), "peer_left")),
    )


def test_all_whose_grace_is_over_leave_at_once_and_the_last_empties_the_room() -> None:
    at_ns = EPOCH_NS + 20 * S
    after = given(
        ROOM_DECIDER,
        OPENED,
        peer("a"),
        peer("b"),
        peer("c"),
        events.PeerDetached(peer="b", leaves_at_ns=EPOCH_NS + 10 * S),
        events.PeerDetached(peer="a", leaves_at_ns=at_ns),
        events.PeerDetached(peer="c", leaves_at_ns=at_ns),
    )
    assert after.deadlines == {"leaves": EPOCH_NS + 10 * S}
    after = after.when(TimerFired(name="leaves"), at_ns=at_ns).then(
        events.PeerLeft(peer="b", reason="connection_lost"),
        events.PeerLeft(peer="a", reason="connection_lost"),
        events.PeerLeft(peer="c", reason="connection_lost", room_closes_at_ns=at_ns + 5 * S),
    )
    assert after.deadlines == {"empty": at_ns + 5 * S}


def test_too_many_that_leave_at_once_leave_in_turns() -> None:
    settings = room_settings(peers_max=2000)
    many = [f"p{number}" for number in range(600)]
    crowd = given(
        ROOM_DECIDER,
        events.RoomOpened(settings=settings, workers=WORKERS, closes_at_ns=0),
        *(peer(name) for name in many),
        *(events.PeerDetached(peer=name, leaves_at_ns=EPOCH_NS) for name in many),
    )
    outcome = crowd.when(TimerFired(name="leaves"))
    assert [event.peer for event in outcome.events] == many[:513]
    assert outcome.after.deadlines == {"leaves": EPOCH_NS}
    outcome = outcome.after.when(TimerFired(name="leaves"))
    assert [event.peer for event in outcome.events] == many[513:]
    assert outcome.after.deadlines == {"empty": EPOCH_NS + 5 * S}


def test_a_peer_that_comes_back_stays() -> None:
    lost = live(events.PeerDetached(peer="viewer", leaves_at_ns=EPOCH_NS + 10 * S))
    outcome = lost.when(Resume(peer="viewer", position=7))
    assert outcome.events == (events.PeerAttached(peer="viewer", attachment=2),)
    (reply,) = outcome.effects
    assert reply.answer.attachment == 2
    assert [view.id for view in reply.answer.joined.peers] == ["host"]
    assert [view.id for view in reply.answer.joined.producers] == ["track"]
    after = outcome.after
    assert after.deadlines == {}
    after.when(TimerFired(name="leaves"), at_ns=EPOCH_NS + 99 * S).then_nothing()
    after.when(SocketLost(peer="viewer", attachment=1)).then_nothing()
    assert after.when(SocketLost(peer="viewer", attachment=2)).events


def test_who_resumes_is_not_shown_its_own_producers() -> None:
    (reply,) = live().when(Resume(peer="host", position=0)).effects
    assert reply.answer.joined.producers == ()


def test_leaving_takes_along_all_that_one_has() -> None:
    after = (
        live()
        .when(Leave(peer="host"))
        .then(
            events.PeerLeft(peer="host", reason="requested"),
            events.TransportRemoved(transport="send", peer="host", reason="peer_left"),
            events.ProducerRemoved(producer="track", peer="host", reason="peer_left"),
            events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
            events.StreamingStopped(reason="requested"),
            *closings(
                (transport_address("send"), "peer_left"),
                (producer_address("track"), "peer_left"),
                (consumer_address("see"), "producer_closed"),
            ),
            Reply(Done()),
        )
    )
    assert list(after.state.peers) == ["viewer"]
    assert after.state.transports["recv"].consumers == {}
    assert not after.state.streaming
    assert after.deadlines == {}
    last = after.when(Leave(peer="viewer"), at_ns=EPOCH_NS + S)
    assert last.events[0].room_closes_at_ns == EPOCH_NS + 6 * S
    assert last.after.deadlines == {"empty": EPOCH_NS + 6 * S}


def test_evicting_gives_its_reason_and_takes_the_grace_away() -> None:
    gone = live(events.PeerDetached(peer="viewer", leaves_at_ns=EPOCH_NS + 10 * S)).when(
        EvictPeer(peer="viewer", reason="evicted")
    )
    assert gone.events[0] == events.PeerLeft(peer="viewer", reason="evicted")
    assert gone.after.deadlines == {}
    live().when(EvictPeer(peer="nobody", reason="evicted")).then_nothing()


@pytest.mark.parametrize(
    "command",
    [
        Resume(peer="nobody", position=0),
        Leave(peer="nobody"),
        CreateTransport(peer="nobody", direction="send"),
        produce("nobody", "send"),
        consume("nobody", "recv", "track"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_who_is_not_in_the_room_has_no_session(command: Any) -> None:
    live().when(command).refused(RefusalCode.SESSION_NOT_FOUND)


def test_the_loss_of_a_socket_of_nobody_is_of_no_consequence() -> None:
    live().when(SocketLost(peer="nobody", attachment=1)).then_nothing()


def test_after_a_restart_of_control_nobody_has_a_socket() -> None:
    lost = events.PeerDetached(peer="viewer", leaves_at_ns=EPOCH_NS + S)
    live(lost).when(ControlRestarted()).then(
        events.PeerDetached(peer="host", leaves_at_ns=EPOCH_NS + 10 * S)
    )
    given(ROOM_DECIDER, OPENED).when(ControlRestarted()).then_nothing()
