"""One room's end of the store: order, durability, publishing."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.kernel.feed import RoomFeed
from actors.kernel.journal import Entry, Journal
from protocol import codec, events
from protocol.envelope import Draft
from protocol.store_error import StoreError
from replay.store.errors import StoreFull, StoreOverloaded
from replay.store.memory import MemoryStore


def entry(number: int) -> Entry:
    event = events.PeerLeft(peer="p", reason=f"r{number}")
    draft = Draft(
        at_ns=number, actor="room", kind="event", type="PeerLeft", data=codec.encode(event)
    )
    return Entry(draft, event)


def message() -> Entry:
    return Entry(Draft(at_ns=0, actor="room", kind="message", type="Leave", data=b""), None)


class Feed(RoomFeed):
    """Keeps what is published."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__("room", store)
        self.seen: list[tuple[int, str | None]] = []

    def publish(self, position: int, event: Any | None) -> None:
        self.published = position
        self.seen.append((position, None if event is None else event.reason))


async def test_what_is_durable_is_published_once_in_order_of_position() -> None:
    store = MemoryStore()
    feed = Feed(store)
    journal = Journal("room", store, feed)
    assert journal.next_position() == 1
    async with trio.open_nursery() as nursery:
        for number in range(0, 20, 2):
            nursery.start_soon(journal.append, [entry(number), message()])
    reasons = [reason for _, reason in feed.seen]
    assert [position for position, _ in feed.seen] == list(range(1, 21))
    log = [codec.decode(e.type, 1, e.data).reason for e in await store.read("room") if e.data]
    assert [reason for reason in reasons if reason] == log
    assert reasons[1::2] == [None] * 10


async def test_nothing_is_published_before_it_is_durable() -> None:
    store = MemoryStore()
    feed = Feed(store)
    journal = Journal("room", store, feed)
    store.hold_commits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.append, [entry(1)])
        nursery.start_soon(journal.append, [entry(2)])
        await wait_all_tasks_blocked()
        assert feed.seen == []
        assert journal.next_position() == 3
        store.release_commits()
    assert [position for position, _ in feed.seen] == [1, 2]


async def test_what_a_cancelled_task_appended_is_published_by_the_next() -> None:
    store = MemoryStore()
    feed = Feed(store)
    journal = Journal("room", store, feed)
    store.hold_commits()
    with trio.CancelScope() as scope:
        scope.cancel()
        await journal.append([entry(1)])
    store.release_commits()
    await journal.append([entry(2)])
    assert [reason for _, reason in feed.seen] == ["r1", "r2"]


async def test_a_failed_append_raises_and_leaves_no_gap() -> None:
    store = MemoryStore()
    feed = Feed(store)
    journal = Journal("room", store, feed)
    await journal.append([entry(1)])
    store.fail_next_append(StoreFull("no space"))
    failed: list[StoreError] = []

    async def append(number: int) -> None:
        try:
            await journal.append([entry(number)])
        except StoreError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, 2)
        nursery.start_soon(append, 3)
    assert len(failed) == 2
    assert journal.next_position() == 2
    await journal.append([entry(4)])
    assert feed.seen == [(1, "r1"), (2, "r4")]


async def test_an_append_that_is_refused_at_once_leaves_nothing_pending() -> None:
    store = MemoryStore(pending_envelopes_max=1)
    feed = Feed(store)
    journal = Journal("room", store, feed)
    with pytest.raises(StoreOverloaded):
        await journal.append([entry(1), entry(2)])
    await journal.append([entry(3)])
    assert feed.seen == [(1, "r3")]


async def test_a_room_that_goes_on_begins_where_its_log_ends() -> None:
    store = MemoryStore()
    await Journal("room", store, Feed(store)).append([entry(1), entry(2)])
    feed = Feed(store)
    assert Journal("room", store, feed).next_position() == 3
    assert feed.published == 2
