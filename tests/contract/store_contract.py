"""What every event store must keep. A backend's test class inherits these and gives `opened`."""

import contextlib
import random
from collections import deque
from itertools import chain as chain_lists

import pytest
import trio

from protocol.envelope import Draft, chain, genesis
from replay.store import Head
from replay.store.errors import (
    InvalidDraft,
    PositionConflict,
    StoreClosed,
    StoreFull,
    StoreOverloaded,
    StoreWriteFailed,
)
from replay.store.ledger import APPEND_DRAFTS_MAX


def draft(n=0, *, actor="room", kind="event", type="PeerJoined", **fields):  # noqa: A002
    fields.setdefault("data", b"\x81\xa1n" + bytes([n % 128]))
    return Draft(at_ns=1_000 + n, actor=actor, kind=kind, type=type, **fields)


def drafts(count, first=0):
    return [draft(n) for n in range(first, first + count)]


def assert_chained(room, envelopes):
    previous = genesis(room)
    for position, envelope in enumerate(envelopes, 1):
        assert envelope.position == position
        assert envelope.hash == chain(previous, room, position, envelope)
        previous = envelope.hash


class Publisher:
    """Publishes a room's durable envelopes in order, as the actors' kernel does."""

    def __init__(self):
        self.queue = deque()
        self.published = []
        self.failures = 0

    def publish(self):
        while self.queue and (self.queue[0].durable or self.queue[0].error is not None):
            receipt = self.queue.popleft()
            if receipt.durable:
                self.published += receipt.envelopes
            else:
                self.failures += 1


class StoreContract:
    """Inherit, and give `opened(tmp_path, **options)`: an async context manager of a store."""

    @contextlib.asynccontextmanager
    async def opened(self, tmp_path, **options):
        raise NotImplementedError
        yield

    @pytest.fixture
    async def store(self, tmp_path):
        async with self.opened(tmp_path) as store:
            yield store

    async def test_an_append_returns_its_envelopes_chained_from_genesis(self, store):
        sent = [draft(1, kind="message", type="Join", entropy=bytes(16)), draft(2, cause=1)]
        got = await store.append("lobby", 0, sent)
        assert_chained("lobby", got)
        for wanted, envelope in zip(sent, got, strict=True):
            assert envelope.room == "lobby"
            for field in Draft.__struct_fields__:
                assert getattr(envelope, field) == getattr(wanted, field)

    async def test_what_was_appended_can_be_read_back_unchanged(self, store):
        odd = draft(
            3,
            actor="consumer/ü\x00\n",
            type="Ω",
            version=7,
            cause=1,
            correlation="",
            data=bytes(range(256)),
            entropy=bytes(range(16)),
        )
        first = await store.append("lobby", 0, [draft(1), draft(2, correlation="c")])
        second = await store.append("lobby", 2, [odd, draft(4, data=b"")])
        assert await store.read("lobby") == [*first, *second]

    async def test_positions_are_dense_over_many_appends(self, store):
        for n in range(20):
            await store.append("lobby", 3 * n, drafts(3, 3 * n))
        envelopes = await store.read("lobby")
        assert len(envelopes) == 60
        assert_chained("lobby", envelopes)
        assert await store.verify_chain("lobby") == Head(60, envelopes[-1].hash)

    async def test_rooms_have_logs_of_their_own(self, store):
        (a,) = await store.append("a", 0, [draft(1)])
        (b,) = await store.append("b", 0, [draft(1)])
        assert (a.position, b.position) == (1, 1)
        assert a.hash != b.hash
        assert await store.read("a") == [a]

    async def test_an_append_after_another_position_is_refused(self, store):
        await store.append("lobby", 0, drafts(2))
        for expected in (0, 1, 3):
            with pytest.raises(PositionConflict) as caught:
                await store.append("lobby", expected, [draft()])
            assert caught.value.code == "position_conflict"
            assert caught.value.position == 2
        assert (await store.head("lobby")).position == 2

    async def test_of_two_appends_that_expect_the_same_position_one_wins(self, store):
        outcomes = []

        async def append(n):
            try:
                await store.append("lobby", 0, [draft(n)])
                outcomes.append("won")
            except PositionConflict:
                outcomes.append("lost")

        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(append, n)
        assert sorted(outcomes) == ["lost"] * 4 + ["won"]
        assert len(await store.read("lobby")) == 1

    async def test_positions_are_assigned_at_the_call_in_the_order_of_calls(self, store):
        receipts = []
        for n in range(10):
            assert store.next_position("lobby") == 2 * n + 1
            receipts.append(store.append_nowait("lobby", drafts(2, n)))
        assert not any(receipt.durable for receipt in receipts)
        assert_chained("lobby", [e for receipt in receipts for e in receipt.envelopes])
        await receipts[-1].wait_durable()
        assert all(receipt.durable for receipt in receipts)
        assert await store.read("lobby") == [e for r in receipts for e in r.envelopes]

    async def test_a_receipt_can_be_awaited_by_many_and_afterwards(self, store):
        receipt = store.append_nowait("lobby", [draft()])
        got = []

        async def wait():
            got.append(await receipt.wait_durable())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert got == [receipt.envelopes] * 3
        assert await receipt.wait_durable() == receipt.envelopes
        assert receipt.error is None

    async def test_an_unknown_room_is_empty(self, store):
        assert await store.head("nobody") == Head(0, genesis("nobody"))
        assert await store.read("nobody") == []
        assert [batch async for batch in store.batches("nobody")] == []
        assert await store.verify_chain("nobody") == Head(0, genesis("nobody"))
        assert await store.rooms() == []
        assert store.next_position("nobody") == 1

    async def test_reading_chooses_by_position_actor_and_type(self, store):
        sent = [
            draft(n, actor=("room", "transport/t1")[n % 2], type=("A", "B", "C")[n % 3])
            for n in range(12)
        ]
        log = list(await store.append("lobby", 0, sent))
        assert await store.read("lobby", 4) == log[4:]
        assert await store.read("lobby", 4, 9) == log[4:9]
        assert await store.read("lobby", 4, 9, limit=2) == log[4:6]
        assert await store.read("lobby", 12) == []
        assert await store.read("lobby", 9, 4) == []
        assert await store.read("lobby", limit=0) == []
        assert await store.read("lobby", up_to=99) == log
        assert await store.read("lobby", actor="room") == log[::2]
        assert await store.read("lobby", types=["B"]) == log[1::3]
        assert await store.read("lobby", types={"B", "C"}, limit=3) == [log[1], log[2], log[4]]
        assert await store.read("lobby", types=[]) == []
        assert await store.read("lobby", 2, actor="transport/t1", types=["A"]) == [log[3], log[9]]

    async def test_batches_are_bounded_and_none_is_empty(self, store):
        log = list(await store.append("lobby", 0, drafts(25)))
        got = [batch async for batch in store.batches("lobby", 2, batch=10)]
        assert [len(batch) for batch in got] == [10, 10, 3]
        assert list(chain_lists.from_iterable(got)) == log[2:]
        filtered = [b async for b in store.batches("lobby", types=["PeerJoined"], batch=7)]
        assert list(chain_lists.from_iterable(filtered)) == log
        assert max(len(batch) for batch in filtered) == 7

    async def test_batches_end_where_the_log_ended_at_the_call(self, store):
        log = list(await store.append("lobby", 0, drafts(4)))
        got = []
        async for batch in store.batches("lobby", batch=2):
            got += batch
            await store.append("lobby", store.next_position("lobby") - 1, [draft()])
        assert got == log

    async def test_room_summaries_count_and_say_who_is_open(self, store):
        await store.append("b", 0, [draft(1, kind="message", type="Join"), draft(2), draft(3)])
        await store.append("a", 0, [draft(4), draft(5, type="RoomClosed")])
        a, b = await store.rooms()
        assert (a.room, a.position, a.messages, a.events, a.open) == ("a", 2, 0, 2, False)
        assert (b.room, b.position, b.messages, b.events, b.open) == ("b", 3, 1, 2, True)
        assert (b.first_at_ns, b.last_at_ns, b.damage) == (1_001, 1_003, None)

    async def test_a_room_is_closed_by_its_own_actor_and_opens_again(self, store):
        async def is_open():
            return (await store.rooms())[0].open

        await store.append("a", 0, [draft(1), draft(2, actor="transport/t", type="RoomClosed")])
        assert await is_open()
        await store.append("a", 2, [draft(3, kind="message", type="RoomClosed")])
        assert await is_open()
        await store.append("a", 3, [draft(4, type="RoomClosed"), draft(5, actor="transport/t")])
        assert not await is_open()
        await store.append("a", 5, [draft(6, type="RoomOpened")])
        assert await is_open()

    async def test_the_last_session_begins_with_the_last_opening_of_the_room(self, store):
        opening = draft(kind="message", type="OpenRoom")
        assert await store.session_start("a") == 0
        await store.append("a", 0, drafts(2))
        assert await store.session_start("a") == 1
        await store.append("a", 2, [opening, draft(3), opening, draft(4, type="OpenRoom")])
        await store.append("a", 6, [draft(5, kind="message", type="OpenRoom", actor="peer")])
        await store.append("b", 0, [draft(6), opening])
        assert await store.session_start("a") == 5
        assert await store.session_start("b") == 2

    async def test_a_failed_append_leaves_nothing_and_the_next_takes_its_place(self, store):
        kept = await store.append("lobby", 0, drafts(2))
        store.fail_next_append(StoreFull("no space"))
        with pytest.raises(StoreFull) as caught:
            await store.append("lobby", 2, [draft(8)])
        assert caught.value.code == "store_full"
        assert await store.head("lobby") == Head(2, kept[-1].hash)
        assert store.next_position("lobby") == 3
        after = await store.append("lobby", 2, [draft(9)])
        log = await store.read("lobby")
        assert log == [*kept, *after]
        assert_chained("lobby", log)

    async def test_all_pending_appends_of_a_room_fail_with_the_first(self, store):
        await store.append("lobby", 0, [draft()])
        store.fail_next_append(StoreWriteFailed("refused"), room="lobby")
        failed = [store.append_nowait("lobby", [draft(n)]) for n in range(5)]
        sound = store.append_nowait("other", [draft()])
        for receipt in failed:
            with pytest.raises(StoreWriteFailed, match="refused"):
                await receipt.wait_durable()
            assert isinstance(receipt.error, StoreWriteFailed)
            assert not receipt.durable
        await sound.wait_durable()
        assert store.next_position("lobby") == 2
        (retried,) = await store.append("lobby", 1, [draft(9)])
        assert retried.position == 2
        assert await store.verify_chain("lobby") == Head(2, retried.hash)

    async def test_a_failed_first_append_leaves_no_room(self, store):
        store.fail_next_append(StoreFull("no space"))
        with pytest.raises(StoreFull):
            await store.append("lobby", 0, [draft()])
        assert await store.rooms() == []
        assert (await store.append("lobby", 0, [draft()]))[0].position == 1

    async def test_each_waiter_gets_an_error_of_its_own(self, store):
        store.fail_next_append(PositionConflict("lobby", 1, 2))
        receipt = store.append_nowait("lobby", [draft()])
        caught = []
        for _ in range(2):
            with pytest.raises(PositionConflict) as info:
                await receipt.wait_durable()
            caught.append(info.value)
        assert caught[0] is not caught[1]
        assert str(caught[0]) == str(caught[1])
        assert caught[1].expected_position == 1

    @pytest.mark.parametrize(
        "sent",
        [
            [],
            [draft()] * (APPEND_DRAFTS_MAX + 1),
            [draft(), draft(cause=2)],
            [draft(), draft(version=0)],
            [draft(), draft(entropy=b"12")],
            [draft(), draft(actor="\udc80")],
            [draft(), draft(data=bytes((1 << 20) + 1))],
        ],
        ids=["none", "too many", "own cause", "version", "entropy", "text", "too large"],
    )
    async def test_invalid_drafts_are_refused_as_a_whole(self, store, sent):
        with pytest.raises(InvalidDraft) as caught:
            await store.append("lobby", 0, sent)
        assert caught.value.code == "invalid_draft"
        assert store.next_position("lobby") == 1
        assert await store.rooms() == []

    @pytest.mark.parametrize("room", ["", "r" * 256, "\ud800"])
    async def test_a_room_without_a_proper_name_is_refused(self, store, room):
        with pytest.raises(InvalidDraft):
            store.append_nowait(room, [draft()])

    async def test_the_largest_append_is_taken(self, store):
        sent = [draft(n % 100) for n in range(APPEND_DRAFTS_MAX)]
        assert len(await store.append("lobby", 0, sent)) == APPEND_DRAFTS_MAX
        assert await store.verify_chain("lobby") == await store.head("lobby")
        assert (await store.head("lobby")).position == APPEND_DRAFTS_MAX

    async def test_too_much_pending_is_refused_and_taken_later(self, tmp_path):
        async with self.opened(tmp_path, pending_envelopes_max=10) as store:
            first = store.append_nowait("lobby", drafts(9))
            with pytest.raises(StoreOverloaded) as caught:
                store.append_nowait("lobby", drafts(2))
            assert caught.value.code == "store_overloaded"
            with pytest.raises(StoreOverloaded):
                store.append_nowait("other", drafts(2))
            last = store.append_nowait("other", drafts(1))
            await first.wait_durable()
            await last.wait_durable()
            assert len(await store.append("lobby", 9, drafts(2))) == 2

    async def test_a_failed_append_gives_its_share_of_the_bound_back(self, tmp_path):
        async with self.opened(tmp_path, pending_envelopes_max=10) as store:
            for _ in range(3):
                store.fail_next_append(StoreFull("no space"))
                with pytest.raises(StoreFull):
                    await store.append("lobby", 0, drafts(10))
            assert len(await store.append("lobby", 0, drafts(10))) == 10

    async def test_cancelling_the_wait_does_not_undo_the_append(self, store):
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.append("lobby", 0, [draft()])
        assert scope.cancelled_caught
        await store.append("lobby", 1, [draft()])
        assert len(await store.read("lobby")) == 2

    async def test_closing_settles_what_was_appended(self, store):
        receipts = [store.append_nowait(f"r{n % 3}", [draft(n)]) for n in range(9)]
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.aclose()
        assert all(receipt.durable for receipt in receipts)

    async def test_a_closed_store_takes_nothing_and_may_be_closed_again(self, store):
        await store.aclose()
        await store.aclose()
        with pytest.raises(StoreClosed) as caught:
            store.append_nowait("lobby", [draft()])
        assert caught.value.code == "store_closed"

    @pytest.mark.parametrize("seed", range(6))
    async def test_publishing_from_a_queue_of_receipts_never_sees_a_gap(self, store, seed):
        """Many actors, several rooms, failing commits: what the actors' kernel relies on."""
        choose = random.Random(seed)
        kernels = {room: Publisher() for room in ("a", "b", "c")}

        async def actor(name):
            for _ in range(30):
                room = choose.choice(list(kernels))
                if choose.random() < 0.1:
                    store.fail_next_append(StoreFull("no space"), choose.choice([None, room]))
                first = store.next_position(room)
                sent = [draft(0, actor=name, kind="message", type="M")]
                sent += [draft(n, actor=name, cause=first) for n in range(choose.randrange(3))]
                receipt = store.append_nowait(room, sent)
                assert receipt.envelopes[0].position == first
                kernels[room].queue.append(receipt)
                if choose.random() < 0.7:
                    with contextlib.suppress(StoreFull):
                        await receipt.wait_durable()
                    kernels[room].publish()

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(actor, f"peer/{n}")
        await store.aclose()
        async with self.reopened(store) as again:
            for room, kernel in kernels.items():
                kernel.publish()
                assert not kernel.queue
                assert_chained(room, kernel.published)
                assert await again.read(room) == kernel.published
                assert await again.verify_chain(room) == await again.head(room)
        assert sum(kernel.failures for kernel in kernels.values()) > 0

    def reopened(self, store):
        """What a closed store kept, for reading. Backends that close their files override it."""
        return contextlib.nullcontext(store)
