"""Given events of a room, when a message comes, then …"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.core.decider import Reply, Start, Tell
from actors.core.room import ROOM_DECIDER, TRANSPORTS_TOGETHER
from protocol import events
from protocol.answers import Done, Entered, Joined, PeerView, ProducerView
from protocol.behaviours import SPREAD_OVER_WORKERS
from protocol.commands import (
    Consume,
    CreateTransport,
    Join,
    Leave,
    PauseProducer,
    Produce,
    Resume,
    Rights,
)
from protocol.ids import ROOM, consumer_address, producer_address, transport_address
from protocol.messages import (
    ChildClosed,
    ChildFailed,
    Close,
    CloseRoom,
    ControlRestarted,
    EvictPeer,
    OpenConsumer,
    OpenProducer,
    OpenRoom,
    OpenTransport,
    PlaneStarted,
    PlaneStopped,
    ProducerPauseChanged,
    ProducerWentLive,
    SocketLost,
    TimerFired,
)
from protocol.negotiation import negotiate_producer
from protocol.notices import ProducerScore
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities
from tests.control.given import Given, draw, given
from tests.control.samples import (
    EPOCH_NS,
    ROUTER,
    WORKERS,
    S,
    consume,
    produce,
    room_settings,
    rtp_parameters,
)

SETTINGS = room_settings(
    peers_max=3,
    transports_per_peer_max=2,
    producers_per_peer_max=2,
    consumers_per_peer_max=2,
)
OPENED = events.RoomOpened(settings=SETTINGS, workers=WORKERS, closes_at_ns=EPOCH_NS + 5 * S)
NEGOTIATED = negotiate_producer("video", rtp_parameters(), ROUTER)
assert not isinstance(NEGOTIATED, Refusal)


def peer(name: str, **rights: bool) -> events.PeerJoined:
    return events.PeerJoined(peer=name, name=name.upper(), rights=Rights(**rights))


def transport(name: str, owner: str, direction: Any, worker: int = 0) -> events.TransportAdded:
    return events.TransportAdded(transport=name, peer=owner, direction=direction, worker=worker)


def producer(name: str, owner: str, carrier: str, number: int = 0) -> events.ProducerAdded:
    assert not isinstance(NEGOTIATED, Refusal)
    parameters = rtp_parameters(number=number)
    return events.ProducerAdded(
        producer=name,
        peer=owner,
        transport=carrier,
        kind="video",
        paused=False,
        app_data={"source": "camera"},
        rtp_parameters=parameters,
        consumable=NEGOTIATED.consumable_rtp_parameters,
        type="simple",
    )


def consumer(
    name: str, owner: str, carrier: str, source: str, ssrcs: tuple[int, ...] = (1, 2)
) -> events.ConsumerAdded:
    return events.ConsumerAdded(
        consumer=name, peer=owner, transport=carrier, producer=source, ssrcs=ssrcs
    )


LIVE = (
    OPENED,
    peer("host"),
    peer("viewer"),
    transport("send", "host", "send"),
    transport("recv", "viewer", "recv"),
    producer("track", "host", "send"),
    events.StreamingStarted(producer="track", peer="host"),
    consumer("see", "viewer", "recv", "track"),
)


def live(*more: Any) -> Given:
    return given(ROOM_DECIDER, *LIVE, *more)


def closings(*pairs: tuple[Any, str]) -> list[Tell]:
    return [Tell(address, Close(reason=reason)) for address, reason in pairs]


# Opening and closing.


def test_opening_sets_the_deadline_of_an_empty_room() -> None:
    opening = OpenRoom(settings=SETTINGS, workers=WORKERS)
    after = given(ROOM_DECIDER).when(opening).then(OPENED)
    assert after.deadlines == {"empty": EPOCH_NS + 5 * S}
    assert after.rows == ()
    assert not after.ended


def test_a_room_that_stays_empty_closes() -> None:
    fired = TimerFired(name="empty")
    empty = given(ROOM_DECIDER, OPENED)
    empty.when(fired, at_ns=EPOCH_NS + 5 * S - 1).then_nothing()
    after = empty.when(fired, at_ns=EPOCH_NS + 5 * S).then(events.RoomClosed(reason="empty"))
    assert after.ended
    assert after.deadlines == {}


def test_a_room_with_someone_in_it_does_not_close() -> None:
    occupied = given(ROOM_DECIDER, OPENED, peer("host"))
    assert occupied.deadlines == {}
    occupied.when(TimerFired(name="empty"), at_ns=EPOCH_NS + 9 * S).then_nothing()


def test_closing_tells_everyone_and_all_that_is_in_it() -> None:
    after = (
        live()
        .when(CloseRoom(reason="shutting_down"))
        .then(
            events.StreamingStopped(reason="shutting_down"),
            events.RoomClosed(reason="shutting_down"),
            *closings(
                (transport_address("send"), "room_closed"),
                (transport_address("recv"), "room_closed"),
                (producer_address("track"), "room_closed"),
                (consumer_address("see"), "room_closed"),
            ),
        )
    )
    assert after.ended
    assert after.state.peers == {}


@pytest.mark.parametrize("before", [(), (OPENED, events.RoomClosed(reason="empty"))])
def test_a_room_that_is_not_open_refuses_requests_and_ignores_the_rest(before: Any) -> None:
    shut = given(ROOM_DECIDER, *before)
    shut.when(Join(room="room")).refused(RefusalCode.ROOM_NOT_FOUND)
    shut.when(Leave(peer="host")).refused(RefusalCode.ROOM_NOT_FOUND)
    shut.when(PlaneStopped(reason="exit 1")).then_nothing()
    shut.when(CloseRoom(reason="shutting_down")).then_nothing()
    shut.when(TimerFired(name="empty"), at_ns=EPOCH_NS + 99 * S).then_nothing()


def test_a_room_that_is_opened_again_begins_anew() -> None:
    reopened = live(events.RoomClosed(reason="empty"), OPENED)
    assert reopened.state == given(ROOM_DECIDER, OPENED).state


# Peers.


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


# Transports.


def test_a_transport_is_made_on_a_worker_of_the_plane() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"))
    choice = draw()
    worker = WORKERS[int.from_bytes(choice.bytes("worker")[:4]) % 2]
    name = choice.id("t")
    after = room.when(CreateTransport(peer="host", direction="send")).then(
        transport(name, "host", "send", worker.worker),
        Start(
            transport_address(name),
            OpenTransport(
                transport=name,
                peer="host",
                direction="send",
                worker=worker.worker,
                port=worker.port,
                ice_ufrag=choice.ufrag(),
                settings=SETTINGS.transport,
            ),
        ),
    )
    assert list(after.state.peers["host"].transports) == [name]


def workers_of_next(room: Given) -> set[int]:
    command = CreateTransport(peer="host", direction="send")
    return {
        room.when(command, entropy=bytes([number]) * 16).events[0].worker for number in range(20)
    }


def on_workers(*counts: int, **settings: Any) -> Given:
    """A room with so many transports on each worker, one after the other."""
    opened = events.RoomOpened(
        settings=room_settings(**settings), workers=WORKERS, closes_at_ns=EPOCH_NS + 5 * S
    )
    added = [
        transport(f"t{worker}-{n}", "guest", "recv", worker)
        for worker, count in enumerate(counts)
        for n in range(count)
    ]
    return given(ROOM_DECIDER, opened, peer("host"), peer("guest"), *added)


def test_rooms_begin_on_any_worker_and_a_small_one_stays_there() -> None:
    spread = (SPREAD_OVER_WORKERS,)
    assert workers_of_next(on_workers(0, 0, behaviours=spread)) == {0, 1}
    assert workers_of_next(on_workers(1, 0, behaviours=spread)) == {0}
    assert workers_of_next(on_workers(0, TRANSPORTS_TOGETHER - 1, behaviours=spread)) == {1}


def test_a_large_room_spans_workers_and_loads_them_alike() -> None:
    spread = (SPREAD_OVER_WORKERS,)
    full = TRANSPORTS_TOGETHER
    assert workers_of_next(on_workers(full, 0, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(full, full - 1, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(40, 39, behaviours=spread)) == {1}
    assert workers_of_next(on_workers(39, 40, behaviours=spread)) == {0}


def test_rooms_of_before_stay_on_their_first_worker() -> None:
    assert workers_of_next(on_workers(40, 0)) == {0}
    assert workers_of_next(on_workers(0, 40)) == {1}


def test_a_worker_that_is_no_more_is_not_chosen() -> None:
    room = given(
        ROOM_DECIDER,
        OPENED,
        peer("host"),
        transport("t", "host", "recv", 1),
        events.PlaneAttached(workers=WORKERS[:1]),
    )
    (added,) = room.when(CreateTransport(peer="host", direction="send")).events
    assert added.worker == 0


@pytest.mark.parametrize(
    ("rights", "direction", "verb"),
    [({"publish": False}, "send", "publish"), ({"subscribe": False}, "recv", "subscribe")],
)
def test_rights_decide_the_direction(rights: Any, direction: Any, verb: str) -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host", **rights))
    room.when(CreateTransport(peer="host", direction=direction)).refused(
        RefusalCode.FORBIDDEN, verb
    )
    other: Any = "recv" if direction == "send" else "send"
    assert room.when(CreateTransport(peer="host", direction=other)).events


def test_transports_of_a_peer_are_limited() -> None:
    room = given(
        ROOM_DECIDER, OPENED, peer("a"), transport("t1", "a", "send"), transport("t2", "a", "recv")
    )
    room.when(CreateTransport(peer="a", direction="send")).refused(
        RefusalCode.LIMIT_REACHED, "transports of a peer", "2"
    )


def test_without_a_plane_no_transport_is_made() -> None:
    down = given(ROOM_DECIDER, OPENED, peer("host"))
    down = down.when(PlaneStopped(reason="exit 1")).then(events.PlaneDetached(reason="exit 1"))
    command = CreateTransport(peer="host", direction="send")
    down.when(command).refused(RefusalCode.PLANE_UNAVAILABLE)
    up = down.when(PlaneStarted(workers=WORKERS)).then(events.PlaneAttached(workers=WORKERS))
    assert up.when(command).events


# Producers.


def test_producing_starts_a_producer_with_its_row() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"), transport("send", "host", "send"))
    outcome = room.when(produce("host", "send", paused=True, app_data={"a": 1}))
    name = draw().id("s")
    (added,) = outcome.events
    assert (added.producer, added.peer, added.transport) == (name, "host", "send")
    assert (added.kind, added.type, added.paused, added.app_data) == (
        "video",
        "simple",
        True,
        {"a": 1},
    )
    assert added.consumable.codecs[0].payload_type == 101
    (start,) = outcome.effects
    assert start.address == producer_address(name)
    assert isinstance(start.message, OpenProducer)
    row = start.message.row
    assert (row.producer, row.transport, row.paused) == (name, "send", True)
    assert row.encodings[0].ssrc == 1000
    assert list(outcome.after.state.transports["send"].producers) == [name]


def test_simulcast_is_told_by_its_encodings() -> None:
    room = given(ROOM_DECIDER, OPENED, peer("host"), transport("send", "host", "send"))
    (added,) = room.when(produce("host", "send", layers=3)).events
    assert added.type == "simulcast"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (produce("host", "nothing"), RefusalCode.TRANSPORT_NOT_FOUND),
        (produce("host", "recv"), RefusalCode.FORBIDDEN),
        (produce("viewer", "recv"), RefusalCode.WRONG_DIRECTION),
        (produce("host", "send"), RefusalCode.INVALID_RTP_PARAMETERS),
        (
            Produce(peer="host", transport="send", kind="audio", rtp_parameters=rtp_parameters()),
            RefusalCode.INVALID_RTP_PARAMETERS,
        ),
        (
            Produce(
                peer="host",
                transport="send",
                kind="video",
                rtp_parameters=msgspec.structs.replace(
                    rtp_parameters(number=5),
                    codecs=(
                        msgspec.structs.replace(
                            rtp_parameters().codecs[0], mime_type="video/theora"
                        ),
                    ),
                ),
            ),
            RefusalCode.UNSUPPORTED_CODEC,
        ),
    ],
    ids=["no transport", "another's", "direction", "in use", "kind", "codec"],
)
def test_producing_is_refused(command: Produce, code: RefusalCode) -> None:
    live().when(command).refused(code)


def test_producers_of_a_peer_are_limited_over_all_its_transports() -> None:
    room = live(transport("more", "host", "send"), producer("second", "host", "more", 1))
    room.when(produce("host", "more", number=2)).refused(
        RefusalCode.LIMIT_REACHED, "producers of a peer", "2"
    )


def test_a_pause_is_noted_and_passed_on_to_consumers() -> None:
    changed = ProducerPauseChanged(producer="track", paused=True)
    after = (
        live()
        .when(changed)
        .then(
            events.ProducerPauseNoted(producer="track", peer="host", paused=True),
            Tell(consumer_address("see"), changed),
        )
    )
    assert after.state.producers["track"].paused
    (reply,) = after.when(Join(room="room")).effects
    assert reply.answer.joined.producers[0].paused


def test_streaming_starts_with_the_first_producer_that_goes_live() -> None:
    quiet = given(ROOM_DECIDER, *LIVE[:6])
    after = quiet.when(ProducerWentLive(producer="track")).then(
        events.StreamingStarted(producer="track", peer="host")
    )
    after.when(ProducerWentLive(producer="track")).then_nothing()


def test_news_of_a_producer_that_is_gone_is_of_no_consequence() -> None:
    live().when(ProducerWentLive(producer="gone")).then_nothing()
    live().when(ProducerPauseChanged(producer="gone", paused=True)).then_nothing()


# Consumers.


def test_consuming_starts_a_paused_consumer_with_its_row() -> None:
    choice = draw()
    name, ssrcs = choice.id("c"), (choice.ssrc("0"), choice.ssrc("1"))
    outcome = live().when(consume("viewer", "recv", "track"))
    assert outcome.events == (consumer(name, "viewer", "recv", "track", ssrcs),)
    (start,) = outcome.effects
    assert start.address == consumer_address(name)
    opening = start.message
    assert isinstance(opening, OpenConsumer)
    assert (opening.row.ssrc, opening.row.rtx_ssrc) == ssrcs
    assert (opening.row.mid, opening.row.cname, opening.row.paused) == ("1", "host", True)
    assert not opening.producer_paused
    assert list(outcome.after.state.producers["track"].consumers) == ["see", name]
    assert outcome.after.state.transports["recv"].mids == 2


def test_mids_are_never_given_twice() -> None:
    room = live(events.ConsumerRemoved(consumer="see", peer="viewer", reason="requested"))
    (start,) = room.when(consume("viewer", "recv", "track")).effects
    assert start.message.row.mid == "1"


def test_ssrcs_that_the_transport_has_are_drawn_again() -> None:
    taken = draw().ssrc("0")
    room = given(ROOM_DECIDER, *LIVE[:7], consumer("see", "viewer", "recv", "track", (taken, 2)))
    (start,) = room.when(consume("viewer", "recv", "track")).effects
    assert (start.message.row.ssrc, start.message.row.rtx_ssrc) == (
        draw().ssrc("1"),
        draw().ssrc("2"),
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (consume("viewer", "nothing", "track"), RefusalCode.TRANSPORT_NOT_FOUND),
        (consume("viewer", "send", "track"), RefusalCode.FORBIDDEN),
        (consume("host", "send", "track"), RefusalCode.WRONG_DIRECTION),
        (consume("viewer", "recv", "nothing"), RefusalCode.PRODUCER_NOT_FOUND),
        (consume("viewer", "recv", "track", RtpCapabilities()), RefusalCode.CANNOT_CONSUME),
    ],
    ids=["no transport", "another's", "direction", "no producer", "no codec"],
)
def test_consuming_is_refused(command: Consume, code: RefusalCode) -> None:
    live().when(command).refused(code)


def test_consuming_a_closed_producer_is_refused() -> None:
    room = live(
        events.ProducerRemoved(producer="track", peer="host", reason="requested"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
    )
    room.when(consume("viewer", "recv", "track")).refused(RefusalCode.PRODUCER_NOT_FOUND)


def test_consumers_of_a_peer_are_limited() -> None:
    room = live(consumer("hear", "viewer", "recv", "track", (3, 4)))
    room.when(consume("viewer", "recv", "track")).refused(
        RefusalCode.LIMIT_REACHED, "consumers of a peer", "2"
    )


# Children that end.


@pytest.mark.parametrize("message", [ChildClosed, ChildFailed])
def test_a_child_that_ended_is_removed_with_what_hung_on_it_and_not_told(message: Any) -> None:
    live().when(message(child=transport_address("send"), reason="why")).then(
        events.TransportRemoved(transport="send", peer="host", reason="why"),
        events.ProducerRemoved(producer="track", peer="host", reason="transport_closed"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
        events.StreamingStopped(reason="why"),
        *closings(
            (producer_address("track"), "transport_closed"),
            (consumer_address("see"), "producer_closed"),
        ),
    )
    live().when(message(child=producer_address("track"), reason="why")).then(
        events.ProducerRemoved(producer="track", peer="host", reason="why"),
        events.ConsumerRemoved(consumer="see", peer="viewer", reason="producer_closed"),
        events.StreamingStopped(reason="why"),
        *closings((consumer_address("see"), "producer_closed")),
    )
    after = (
        live()
        .when(message(child=consumer_address("see"), reason="why"))
        .then(events.ConsumerRemoved(consumer="see", peer="viewer", reason="why"))
    )
    assert after.state.producers["track"].consumers == {}
    assert after.state.transports["recv"].consumers == {}


@pytest.mark.parametrize("kind", ["transport", "producer", "consumer"])
def test_a_child_that_is_gone_already_is_of_no_consequence(kind: Any) -> None:
    child: Any = f"{kind}/gone"
    live().when(ChildClosed(child=child, reason="requested")).then_nothing()


def test_a_consumer_on_both_closings_goes_once() -> None:
    """A peer that consumes itself: its transport and its producer both take the consumer."""
    room = given(
        ROOM_DECIDER,
        OPENED,
        peer("host"),
        transport("send", "host", "send"),
        transport("recv", "host", "recv"),
        producer("track", "host", "send"),
        consumer("see", "host", "recv", "track"),
    )
    outcome = room.when(Leave(peer="host"))
    removed = [e.consumer for e in outcome.events if isinstance(e, events.ConsumerRemoved)]
    assert removed == ["see"]
    assert outcome.after.state.transports == {}


def test_streaming_goes_on_while_a_producer_is_left() -> None:
    room = live(producer("second", "host", "send", 1))
    outcome = room.when(ChildClosed(child=producer_address("track"), reason="requested"))
    assert outcome.after.state.streaming
    last = outcome.after.when(ChildClosed(child=producer_address("second"), reason="requested"))
    assert last.events[-1] == events.StreamingStopped(reason="requested")


def test_messages_for_another_kind_break_an_invariant() -> None:
    for message in (
        ProducerScore(producer="track", scores=(1,)),
        PauseProducer(peer="host", producer="track"),
        Close(reason="x"),
    ):
        with pytest.raises(AssertionError, match="a room takes no"):
            live().when(message)
    assert ROOM == "room"
