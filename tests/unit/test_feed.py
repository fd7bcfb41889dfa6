"""What peers are told: live, and again from the log, each thing once."""

from __future__ import annotations

from typing import Any

from actors.kernel.feed import LEFT_MAX, RECENT_MAX, RoomFeed, Told
from actors.kernel.journal import Entry, Journal
from protocol import codec, events
from protocol.commands import Rights
from protocol.envelope import Draft
from protocol.signaling import JSON, MSGPACK
from replay.store.memory import MemoryStore
from tests.control.samples import WORKERS, room_settings


def joined(peer: str) -> events.PeerJoined:
    return events.PeerJoined(peer=peer, name=peer, rights=Rights())


def left(peer: str, reason: str = "requested") -> events.PeerLeft:
    return events.PeerLeft(peer=peer, reason=reason)


class House:
    """A feed that a journal publishes to."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.feed = RoomFeed("room", self.store)
        self.journal = Journal("room", self.store, self.feed)

    async def happen(self, *happenings: Any) -> int:
        """Let events happen; the last position."""
        await self.journal.append(
            [
                Entry(
                    Draft(
                        at_ns=0,
                        actor="room",
                        kind="event",
                        type=codec.type_of(event),
                        data=codec.encode(event),
                    ),
                    event,
                )
                for event in happenings
            ]
        )
        return self.feed.published


def words(told: list[Told]) -> list[tuple[int, str]]:
    return [(one.position, one.notification.name) for one in told]


async def test_each_is_told_what_concerns_it() -> None:
    house = House()
    heard: dict[str, list[Told]] = {"a": [], "b": []}
    await house.happen(joined("a"), joined("b"))
    assert house.feed.subscribe("a", heard["a"].append) == 2
    house.feed.subscribe("b", heard["b"].append)
    await house.happen(
        joined("c"),
        left("b"),
        events.ConsumerPaused(consumer="x", peer="a", by="producer"),
        events.ConsumerPaused(consumer="y", peer="nobody", by="producer"),
        events.KeyFrameAsked(encoding=0, requests=1),
    )
    assert words(heard["a"]) == [(3, "peerJoined"), (4, "peerLeft"), (5, "consumerPaused")]
    assert words(heard["b"]) == [(3, "peerJoined")]


async def test_a_later_subscriber_takes_the_place_of_an_earlier_one() -> None:
    house = House()
    first: list[Told] = []
    second: list[Told] = []
    deliver = first.append
    house.feed.subscribe("a", deliver)
    house.feed.subscribe("a", second.append)
    house.feed.unsubscribe("a", deliver)
    await house.happen(joined("b"))
    assert (len(first), len(second)) == (0, 1)
    house.feed.unsubscribe("nobody", deliver)


async def test_one_who_unsubscribes_while_others_are_told_does_no_harm() -> None:
    house = House()
    heard: list[Told] = []

    def deliver(told: Told) -> None:
        heard.append(told)
        house.feed.unsubscribe("a", deliver)

    house.feed.subscribe("a", deliver)
    other: list[Told] = []
    house.feed.subscribe("b", other.append)
    await house.happen(joined("c"), joined("d"))
    assert len(heard) == 1
    assert len(other) == 2


async def test_missed_and_live_are_all_there_is_once_each() -> None:
    house = House()
    await house.happen(joined("a"))
    position = await house.happen(joined("b"), left("b"), joined("c"))
    live: list[Told] = []
    up_to = house.feed.subscribe("a", live.append)
    await house.happen(left("c"))
    missed = await house.feed.missed("a", 2, up_to)
    assert up_to == position == 4
    assert words(missed) + words(live) == [
        (3, "peerLeft"),
        (4, "peerJoined"),
        (5, "peerLeft"),
    ]
    assert await house.feed.missed("a", up_to, up_to) == []
    assert await house.feed.missed("a", 99, up_to) == []


async def test_nobody_hears_of_the_time_before_it_joined() -> None:
    house = House()
    opened = events.RoomOpened(settings=room_settings(), workers=WORKERS, closes_at_ns=0)
    await house.happen(opened, joined("x"), left("x"), events.RoomClosed(reason="empty"))
    await house.happen(opened, joined("y"), joined("a"))
    up_to = await house.happen(joined("b"))
    assert words(await house.feed.missed("a", 0, up_to)) == [(8, "peerJoined")]
    assert await house.feed.missed("x", 0, up_to) == []
    assert await house.feed.missed("nobody", 0, up_to) == []


async def test_one_who_left_while_it_resumed_hears_what_it_missed() -> None:
    house = House()
    await house.happen(joined("a"), joined("b"))
    up_to = await house.happen(left("b"), left("a", "evicted"))
    assert words(await house.feed.missed("a", 1, up_to)) == [
        (2, "peerJoined"),
        (3, "peerLeft"),
        (4, "peerLeft"),
    ]


async def test_where_others_joined_is_forgotten_in_time() -> None:
    house = House()
    for number in range(LEFT_MAX + 10):
        house.feed.note(number, joined(f"p{number}"))
        house.feed.note(number, left(f"p{number}"))
    assert len(house.feed._left) == LEFT_MAX
    assert house.feed.peers == 0


async def test_a_feed_counts_what_is_there() -> None:
    house = House()
    note = house.feed.note
    note(1, joined("a"))
    note(2, joined("b"))
    note(3, events.StreamingStarted(producer="s", peer="a"))
    feed = house.feed
    assert (feed.peers, feed.producers, feed.streaming) == (2, 0, True)
    note(4, events.ProducerRemoved(producer="s", peer="a", reason="requested"))
    note(5, events.StreamingStopped(reason="requested"))
    note(6, left("a"))
    assert (feed.peers, feed.producers, feed.streaming) == (1, -1, False)
    note(7, events.RoomOpened(settings=room_settings(), workers=(), closes_at_ns=0))
    assert (feed.peers, feed.producers, feed.streaming) == (0, 0, False)


async def test_a_notification_is_encoded_once_for_each_subprotocol() -> None:
    house = House()
    heard: list[Told] = []
    house.feed.subscribe("a", heard.append)
    house.feed.subscribe("b", heard.append)
    await house.happen(joined("c"))
    assert heard[0] is heard[1]
    binary, text = heard[0].frame(MSGPACK), heard[0].frame(JSON)
    assert isinstance(binary, bytes)
    assert isinstance(text, str)
    assert heard[0].frame(MSGPACK) is binary
    assert heard[0].frame(JSON) is text
    assert '"position":1' in text


async def test_what_was_told_lately_is_found_without_the_log_and_is_the_same() -> None:
    house = House()
    await house.happen(joined("a"), joined("b"))
    for number in range(RECENT_MAX + 40):
        await house.happen(
            events.KeyFrameAsked(encoding=0, requests=1),
            events.ConsumerPaused(consumer="x", peer="ab"[number % 2], by="producer"),
            joined(f"p{number}"),
        )
    last, reads = house.feed.published, 0
    read = house.store.read

    async def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*arguments, **more)

    house.store.read = counted  # type: ignore[method-assign]
    spans = [(last - 7, last), (last - 1, last), (last - 90, last - 30), (2, last), (2, 40)]
    from_memory = [words(await house.feed.missed("a", *span)) for span in spans]
    assert reads == 2, "the last two spans reach back too far"
    house.feed.forget_recent()
    assert [words(await house.feed.missed("a", *span)) for span in spans] == from_memory
    assert reads == 2 + len(spans)
    assert from_memory[1] == [(last, "peerJoined")]
    await house.happen(joined("late"))
    assert words(await house.feed.missed("a", last, last + 1)) == [(last + 1, "peerJoined")]
    assert reads == 2 + len(spans)
