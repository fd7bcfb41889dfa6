"""While the heads of one group are on their way to the disk, the next is committed already.

A gate stands before the heads file: what is handed to it is written, or fails, when a test says so.
"""

import errno
import queue
import sqlite3
import threading

import pytest
import trio
import trio.testing

from replay.store import SqliteStore
from replay.store.errors import StoreFailed, StoreFull
from replay.store.heads import FILE_NAME, HeadsFile, read_heads
from replay.store.recorder import GROUPS_AHEAD_MAX, Recorder
from replay.store.sqlite_writer import SPLIT_APPENDS
from tests.contract.store_contract import draft


class Gate:
    """Holds every write of heads until it is let through or made to fail."""

    def __init__(self, monkeypatch):
        self._arrived = queue.SimpleQueue()
        self._verdicts = queue.SimpleQueue()
        self._committed = queue.SimpleQueue()
        self._open = threading.Event()
        write, hand_over = HeadsFile.write, Recorder.hand_over

        def held(heads_file, heads):
            self._arrived.put(dict(heads))
            error = None if self._open.is_set() else self._verdicts.get()
            if error is not None:
                raise error
            write(heads_file, heads)

        def told(recorder, outcomes, heads):
            hand_over(recorder, outcomes, heads)
            self._committed.put([error for _, error in outcomes])

        monkeypatch.setattr(HeadsFile, "write", held)
        monkeypatch.setattr(Recorder, "hand_over", told)

    async def arrival(self):
        """Wait for the next write of heads; tell what it records."""
        heads = await trio.to_thread.run_sync(self._arrived.get)
        return {room: head.position for room, head in heads.items()}

    async def commit(self):
        """Wait for the next commit; tell how its appends fared in it."""
        return await trio.to_thread.run_sync(self._committed.get)

    def let_through(self):
        """Let one write go on."""
        self._verdicts.put(None)

    def fail(self):
        """Let one write fail."""
        self._verdicts.put(OSError(errno.EIO, "Input/output error"))

    def open(self):
        """Let all writes go on from now on, one that waits too."""
        self._open.set()
        self._verdicts.put(None)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


async def committed_behind_heads(store, gate, rooms):
    """Have the first room's heads held at the gate, and the others committed behind them."""
    receipts = []
    for room in rooms:
        receipts.append(store.append_nowait(room, [draft()]))
        assert await gate.commit() == [None]
        if len(receipts) == 1:
            assert await gate.arrival() == {room: 1}
    return receipts


def rows(directory):
    """Count what is committed, whether or not it was acknowledged."""
    connection = sqlite3.connect(directory / "events.sqlite3")
    try:
        return connection.execute("SELECT count(*) FROM envelope").fetchone()[0]
    finally:
        connection.close()


async def test_what_is_committed_behind_heads_on_their_way_is_not_durable_yet(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        first, second = await committed_behind_heads(store, gate, ["a", "b"])
        assert rows(tmp_path) == 2
        assert not first.durable
        assert not second.durable
        assert await store.rooms() == []
        assert await store.read("b") == []
        assert read_heads(tmp_path / FILE_NAME).heads == {}
        gate.let_through()
        await first.wait_durable()
        assert await gate.arrival() == {"b": 1}
        assert not second.durable
        assert set(read_heads(tmp_path / FILE_NAME).heads) == {"a"}
        gate.let_through()
        await second.wait_durable()
        assert set(read_heads(tmp_path / FILE_NAME).heads) == {"a", "b"}


async def test_the_heads_of_several_groups_become_one_record(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        receipts = await committed_behind_heads(store, gate, ["a", "b", "c"])
        receipts.append(store.append_nowait("b", [draft()]))
        assert await gate.commit() == [None]
        gate.let_through()
        await receipts[0].wait_durable()
        assert await gate.arrival() == {"b": 2, "c": 1}
        gate.let_through()
        for receipt in receipts:
            await receipt.wait_durable()
    found = read_heads(tmp_path / FILE_NAME)
    assert found.damage is None
    assert {room: head.position for room, head in found.heads.items()} == {"a": 1, "b": 2, "c": 1}


async def test_when_heads_fail_what_was_committed_behind_them_fails_too(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        receipts = await committed_behind_heads(store, gate, ["a", "b"])
        receipts.append(store.append_nowait("a", [draft()]))
        assert await gate.commit() == [None]
        gate.fail()
        for receipt in receipts:
            with pytest.raises(StoreFailed):
                await receipt.wait_durable()
        with pytest.raises(StoreFailed):
            store.append_nowait("c", [draft()])
        with pytest.raises(StoreFailed):
            await store.in_writer(lambda connection: connection.execute("DELETE FROM envelope"))
        assert await store.rooms() == []
    assert rows(tmp_path) == 3
    assert read_heads(tmp_path / FILE_NAME).heads == {}
    gate.open()
    async with await SqliteStore.open(tmp_path) as store:  # ahead of its heads, and sound
        assert not store.damage
        assert {room.room: room.position for room in await store.rooms()} == {"a": 2, "b": 1}
        assert (await store.verify_chain("a")).position == 2
        assert (await store.append("a", 2, [draft()]))[0].position == 3


async def test_a_commit_that_fails_is_told_behind_the_heads_on_their_way(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        (first,) = await committed_behind_heads(store, gate, ["a"])
        store.fail_next_append(StoreFull("the disk is full"))
        second = store.append_nowait("a", [draft()])
        assert [type(error) for error in await gate.commit()] == [StoreFull]
        third = store.append_nowait("a", [draft()])  # chained to the one that failed
        assert [type(error) for error in await gate.commit()] == [StoreFull]
        assert second.error is None
        gate.let_through()
        await first.wait_durable()
        for receipt in (second, third):
            with pytest.raises(StoreFull):
                await receipt.wait_durable()
        gate.open()
        assert (await store.append("a", 1, [draft()]))[0].position == 2
        assert (await store.verify_chain("a")).position == 2


async def test_upkeep_waits_until_all_heads_are_recorded(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        receipts = await committed_behind_heads(store, gate, ["a", "b"])

        found = []

        def look(_connection):
            found.extend(read_heads(tmp_path / FILE_NAME).heads)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.in_writer, look)
            await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert sorted(found) == ["a", "b"]
        assert all(receipt.durable for receipt in receipts)


async def test_a_full_heads_file_is_replaced_when_all_heads_are_recorded(
    tmp_path, gate, monkeypatch
):
    monkeypatch.setattr("replay.store.heads._SPACE_BYTES", 400)
    async with await SqliteStore.open(tmp_path) as store:
        path = tmp_path / FILE_NAME
        receipts = await committed_behind_heads(store, gate, ["a", "b", "c"])
        with path.open("rb") as first:  # held, so that its inode is not given again
            receipts.append(store.append_nowait("d" * 250, [draft()]))
            gate.open()
            for receipt in receipts:
                await receipt.wait_durable()
            assert path.read_bytes()[:40] != first.read(40)
    found = read_heads(tmp_path / FILE_NAME)
    assert found.damage is None
    assert set(found.heads) == {"a", "b", "c", "d" * 250}


async def test_closing_settles_what_waits_for_its_heads(tmp_path, gate):
    store = await SqliteStore.open(tmp_path)
    receipts = await committed_behind_heads(store, gate, ["a", "b", "c"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(receipt.durable for receipt in receipts)
        gate.open()
    assert all(receipt.durable for receipt in receipts)


async def test_only_so_many_groups_run_ahead_of_their_heads(tmp_path, gate, monkeypatch):
    full = threading.Event()

    class Space(threading.Semaphore):
        """Tells when the writer has to wait."""

        def acquire(self, blocking=True, timeout=None):
            if not super().acquire(blocking=False):
                full.set()
                return super().acquire(blocking, timeout)
            return True

    monkeypatch.setattr(threading, "Semaphore", Space)
    async with await SqliteStore.open(tmp_path) as store:
        rooms = [f"room {n}" for n in range(GROUPS_AHEAD_MAX)]
        receipts = await committed_behind_heads(store, gate, rooms)
        assert not full.is_set()
        receipts.append(store.append_nowait("one more", [draft()]))
        assert await trio.to_thread.run_sync(full.wait, 30)
        gate.open()
        for receipt in receipts:
            await receipt.wait_durable()


async def test_many_who_wait_for_one_commit_are_split_in_two(tmp_path, gate):
    async with await SqliteStore.open(tmp_path) as store:
        held = threading.Event()
        begun = threading.Event()

        def hold(_connection):
            begun.set()
            held.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.in_writer, hold)
            await trio.to_thread.run_sync(begun.wait)
            receipts = [store.append_nowait("a", [draft()]) for _ in range(SPLIT_APPENDS)]
            held.set()
        assert await gate.commit() == [None] * (SPLIT_APPENDS // 2)
        assert await gate.arrival() == {"a": SPLIT_APPENDS // 2}
        assert await gate.commit() == [None] * (SPLIT_APPENDS // 2)
        gate.open()
        for receipt in receipts:
            await receipt.wait_durable()
