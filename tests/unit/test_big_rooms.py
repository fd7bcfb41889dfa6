"""Big rooms: who comes late is counted and not announced, unless it publishes."""

from __future__ import annotations

from typing import Any

from actors.core.counting import COUNT, EVERYONE_EVERY_NS, PUBLISHERS_EVERY_NS
from actors.core.room import ROOM_DECIDER
from protocol import events
from protocol.commands import Join, Leave, Produce, Rights
from protocol.messages import EvictPeer, TimerFired
from protocol.notifications import Only, Several, notification_of
from tests.control.given import Given, given
from tests.control.samples import EPOCH_NS, WORKERS, S, produce, room_settings

ROOM = events.RoomOpened(
    settings=room_settings(announced_peers_max=2), workers=WORKERS, closes_at_ns=EPOCH_NS
)
LATE = EPOCH_NS + EVERYONE_EVERY_NS


def joined(peer: str, *, announced: bool = True) -> events.PeerJoined:
    return events.PeerJoined(peer=peer, name=peer.upper(), rights=Rights(), announced=announced)


def transport(peer: str) -> events.TransportAdded:
    return events.TransportAdded(transport=f"t-{peer}", peer=peer, direction="send", worker=0)


def published(room: Given, peer: str) -> Given:
    """The room after a peer published."""
    room._evolve(transport(peer))
    return room.when(produce(peer, f"t-{peer}")).after


def told(event: Any) -> tuple[str, Any]:
    notification = notification_of(event)
    assert notification is not None
    return notification.name, notification.audience


def big(*more: Any) -> Given:
    return given(ROOM_DECIDER, ROOM, joined("a"), joined("b"), joined("c", announced=False), *more)


def test_the_first_peers_are_announced_and_who_comes_later_is_not() -> None:
    room = given(ROOM_DECIDER, ROOM)
    for announced in (True, True, False, False):
        outcome = room.when(Join(room="r"), entropy=bytes([len(room.state.peers)] * 16))
        (event,) = outcome.events
        assert event.announced is announced
        assert (notification_of(event) is not None) is announced
        (reply,) = outcome.effects
        answer = reply.answer.joined
        assert answer.peer_count == len(room.state.peers) + 1
        assert len(answer.peers) == min(len(room.state.peers), 2)
        room = outcome.after


def test_rooms_of_before_announce_everybody() -> None:
    room = events.RoomOpened(settings=room_settings(), workers=WORKERS, closes_at_ns=EPOCH_NS)
    many = [joined(f"p{number}") for number in range(500)]
    (event,) = given(ROOM_DECIDER, room, *many).when(Join(room="r")).events
    assert event.announced


def test_who_publishes_is_announced_right_before() -> None:
    room = big(transport("c"))
    announced, added = room.when(produce("c", "t-c")).events
    assert announced == events.PeerAnnounced(peer="c", name="C")
    assert told(announced)[0] == "peerJoined"
    assert isinstance(added, events.ProducerAdded)
    after = room.when(produce("c", "t-c")).after
    left = after.when(Leave(peer="c")).events[0]
    assert told(left)[0] == "peerLeft"


def test_it_is_announced_once() -> None:
    room = published(big(), "c")
    audio = Produce(
        peer="c",
        transport="t-c",
        kind="audio",
        rtp_parameters=produce("c", "t-c", "audio", number=1).rtp_parameters,
    )
    (added,) = room.when(audio).events
    assert isinstance(added, events.ProducerAdded)


def test_of_who_was_not_announced_only_the_evicted_one_itself_hears() -> None:
    asked = big().when(Leave(peer="c")).events[0]
    assert asked.announced is False
    assert notification_of(asked) is None
    evicted = big().when(EvictPeer(peer="c", reason="evicted")).events[0]
    assert told(evicted) == ("peerLeft", Only("c"))


def test_publishers_hear_the_number_a_second_apart_and_everyone_now_and_then() -> None:
    room = published(big(), "a")
    first = room.when(TimerFired(name=COUNT), at_ns=LATE)
    (counted,) = first.events
    assert counted == events.PeersCounted(peers=3, at_ns=LATE, publishers=None)
    assert COUNT not in first.after.deadlines  # all know it
    room = first.after
    room._evolve(joined("d", announced=False))
    assert room.deadlines[COUNT] == LATE + PUBLISHERS_EVERY_NS
    assert room.when(TimerFired(name=COUNT), at_ns=LATE + S // 2).events == ()
    second = room.when(TimerFired(name=COUNT), at_ns=LATE + S)
    (counted,) = second.events
    assert told(counted) == ("peerCount", Several(("a",)))
    assert counted.peers == 4
    assert second.after.deadlines[COUNT] == LATE + EVERYONE_EVERY_NS
    (counted,) = second.after.when(TimerFired(name=COUNT), at_ns=LATE + EVERYONE_EVERY_NS).events
    assert counted.publishers is None


def test_without_a_publisher_only_everyone_is_told() -> None:
    room = big(events.PeersCounted(peers=3, at_ns=LATE, publishers=None))
    room._evolve(joined("d", announced=False))
    assert room.deadlines[COUNT] == LATE + EVERYONE_EVERY_NS


def test_a_new_publisher_hears_the_number_soon() -> None:
    room = big(events.PeersCounted(peers=3, at_ns=LATE, publishers=None))
    assert COUNT not in room.deadlines
    assert published(room, "b").deadlines[COUNT] == LATE + PUBLISHERS_EVERY_NS


def test_small_rooms_count_nothing() -> None:
    room = given(ROOM_DECIDER, ROOM, joined("a"), joined("b"))
    assert COUNT not in published(room, "a").deadlines
