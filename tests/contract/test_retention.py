"""Sessions leave the database, and nothing is lost that was not to go, whenever it is killed."""

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing

import pytest
import trio

from replay.reader import LogReader
from replay.store import SqliteStore
from replay.store.errors import LogDamaged, LogPruned, StoreFailed
from replay.store.retention import Retention
from tests.contract.store_contract import assert_chained, draft

S = 1_000_000_000


def session(count, at_s):
    """Drafts of a room that is opened and closed."""
    kinds = [("message", "OpenRoom"), ("event", "RoomOpened")]
    kinds += [("event", "PeerJoined")] * (count - 3) + [("event", "RoomClosed")]
    return [
        draft(at_s * S - 1_000 + n, kind=kind, type=name, cause=n or None, data=os.urandom(20))
        for n, (kind, name) in enumerate(kinds)
    ]


async def filled(store, room="lobby", sessions=3, count=40):
    for n in range(sessions):
        after = store.next_position(room) - 1
        await store.append(room, after, session(count, 1000 * (n + 1)))
    return await store.read(room)


async def archive(store, room="lobby", **options):
    return [each async for each in Retention(store).archive(room, reason="a test", **options)]


async def prune(store, **options):
    return [each async for each in Retention(store).prune(**options)]


def rows(directory):
    with closing(sqlite3.connect(directory / "events.sqlite3")) as connection:
        return connection.execute("SELECT count(*) FROM envelope").fetchone()[0]


async def test_archived_sessions_are_read_as_before_by_the_store_and_from_outside(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store)
        head, summaries = await store.head("lobby"), await store.rooms()
        done = await archive(store)
        assert [(s.session.first, s.session.last) for s in done] == [(1, 40), (41, 80), (81, 120)]
        assert await store.read("lobby") == log
        assert await store.verify_chain("lobby") == head
    assert rows(tmp_path) == 0
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert (await store.head("lobby"), await store.rooms()) == (head, summaries)
        for after, up_to in itertools.product((0, 1, 39, 40, 41, 100, 119), (1, 40, 80, 81, 120)):
            assert await store.read("lobby", after, up_to) == log[after:up_to]
        assert await store.read("lobby", types=["OpenRoom"]) == [log[0], log[40], log[80]]
        assert await store.read("lobby", actor="nobody") == []
        assert (
            await store.read("lobby", 3, types=["PeerJoined"], limit=50)
            == [each for each in log[3:] if each.type == "PeerJoined"][:50]
        )
    with LogReader(tmp_path) as reader:
        batches = list(reader.batches("lobby", batch=7))
        assert [e for batch in batches for e in batch] == log
        assert max(map(len, batches)) == 7
        assert reader.head("lobby") == head
        assert reader.some("lobby", [1, 40, 41, 120, 121]) == [log[0], log[39], log[40], log[119]]
        assert [reader.hash_at("lobby", n) for n in (1, 40, 77)] == [
            log[0].hash,
            log[39].hash,
            log[76].hash,
        ]
        assert reader.hash_at("lobby", 121) is None
        assert reader.session_start("lobby").position == 81
        for position in (1, 2, 40, 41, 99, 120):
            assert reader.position_at("lobby", log[position - 1].at_ns) == position
        wanted = [(e.position, e.cause) for e in log if e.cause is not None]
        assert list(reader.causes("lobby", 0, 120)) == wanted
        assert list(reader.causes("lobby", 50, 90)) == [w for w in wanted if 50 < w[0] <= 90]


async def test_a_room_goes_on_in_the_same_log_after_it_was_archived(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store)
        await archive(store)
        more = await store.append("lobby", 120, session(10, 9000)[:9])  # open now
        assert_chained("lobby", [*log, *more])
        assert await archive(store) == []
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert (await store.rooms())[0].open
        assert await store.read("lobby") == [*log, *more]
        assert await store.read("lobby", types=["OpenRoom"], after=80) == [log[80], more[0]]
        await store.append("lobby", 129, [draft(9000 * S, type="RoomClosed")])
        assert [s.session.first for s in await archive(store)] == [121]
        assert_chained("lobby", await store.read("lobby"))
    with LogReader(tmp_path) as reader:
        assert reader.session_start("lobby").position == 121
        assert reader.end("lobby")[0].at_ns == 9000 * S + 1000


async def test_only_what_ended_before_the_time_is_archived_and_open_sessions_stay(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        await filled(store)
        assert len(await archive(store, before_ns=1500 * S)) == 1
        assert len(await archive(store, before_ns=2500 * S)) == 1
        await store.append("lobby", 120, session(10, 9000)[:9])
        assert len(await archive(store)) == 1
    assert rows(tmp_path) == 9


async def test_readers_and_writers_go_on_while_sessions_are_archived_and_pruned(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store, sessions=4, count=1500)
        walks = [store.batches("lobby", batch=100) for _ in range(3)]
        got = [[*await anext(walk)] for walk in walks]
        appended = []

        async def append(stop):
            while not stop.is_set():
                appended.extend(await store.append_nowait("other", [draft()]).wait_durable())

        with LogReader(tmp_path) as reader:
            outside = reader.batches("lobby", batch=100)
            seen = next(outside)
            async with trio.open_nursery() as nursery:
                stop = trio.Event()
                nursery.start_soon(append, stop)
                for n, _ in enumerate([1, 2, 3]):
                    await archive(store, before_ns=(1000 * n + 1500) * S)
                    got[n] += [e async for batch in walks[n] for e in batch]
                await archive(store)
                seen += [e for batch in outside for e in batch]
                stop.set()
        assert got == [log] * 3
        assert seen == log
        assert appended
        assert_chained("other", await store.read("other"))


async def test_pruning_leaves_a_tombstone_and_what_follows_still_verifies(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store, sessions=4)
        head = await store.head("lobby")
        await archive(store, before_ns=2500 * S)
        done = await prune(store, before_ns=1500 * S)
        assert [(each.first, each.last) for each in done] == [(1, 40)]
        done = await prune(store, before_ns=3500 * S)
        assert [(each.first, each.last) for each in done] == [(41, 80), (81, 120)]
        assert await store.verify_chain("lobby") == head
        assert await store.read("lobby") == log[120:]
        assert await store.read("lobby", 60, 130) == log[120:130]
        with pytest.raises(LogPruned, match="positions 41-80 of room 'lobby' were pruned on"):
            await store.read("lobby", 45, 50)
    assert rows(tmp_path) == 40
    assert list((tmp_path / "archive").iterdir()) == []
    with LogReader(tmp_path) as reader:
        assert [e for batch in reader.batches("lobby") for e in batch] == log[120:]
        assert [(t.first, t.last, t.state, t.file) for t in reader.stretches("lobby")] == [
            (1, 40, "pruned", None),
            (41, 80, "pruned", None),
            (81, 120, "pruned", None),
        ]
        assert reader.hash_at("lobby", 5) is None
        assert reader.some("lobby", [1, 121]) == [log[120]]
        assert reader.position_at("lobby", log[125].at_ns) == 126
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as connection, connection:
        connection.execute("UPDATE stretch SET hash = zeroblob(32) WHERE first = 81")
    with LogReader(tmp_path) as reader, pytest.raises(LogDamaged) as caught:
        list(reader.batches("lobby"))
    assert caught.value.position == 121


async def test_a_wholly_pruned_room_keeps_its_place(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store)
        await prune(store, before_ns=9999 * S)
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert (await store.head("lobby")).hash == log[-1].hash
        more = await store.append("lobby", 120, session(5, 9000))
        assert_chained("lobby", [*log, *more])
        assert await store.read("lobby") == list(more)


async def test_pruning_by_size_takes_archives_first_and_the_oldest_first(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        await filled(store, "old, not archived", count=1000)
        for name, start in (("b", 5), ("a", 7)):
            for n in range(2):
                after = store.next_position(name) - 1
                await store.append(name, after, session(200, 10_000 * (start + n)))
            await archive(store, name)
        retention = Retention(store)
        full = await retention.bytes_used()
        assert await prune(store, bytes_max=full) == []
        (one,) = await prune(store, bytes_max=full - 1)
        assert (one.room, one.first) == ("b", 1)
        rest = await prune(store, bytes_max=0)
        assert [(each.room, each.first) for each in rest] == [
            ("b", 201),
            ("a", 1),
            ("a", 201),
            ("old, not archived", 1),
            ("old, not archived", 1001),
            ("old, not archived", 2001),
        ]
        assert await retention.bytes_used() < full / 4


async def test_damage_in_an_archive_is_told_and_does_not_stop_the_room(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store)
        _, second, _ = await archive(store)
    path = tmp_path / "archive" / second.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        with pytest.raises(LogDamaged, match=second.file) as caught:
            await store.read("lobby")
        assert caught.value.position == 41
        assert await store.read("lobby", 0, 40) == log[:40]
        assert await store.read("lobby", 80) == log[80:]
        await store.append("lobby", 120, session(5, 9000))
        path.unlink()
    with LogReader(tmp_path) as reader:
        read = []
        with pytest.raises(LogDamaged, match="is missing"):
            read.extend(e for batch in reader.batches("lobby") for e in batch)
        assert reader.end("lobby")[0].position == 125


async def test_a_damaged_room_is_left_alone(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        await filled(store)
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM envelope WHERE position = 120")
    async with await SqliteStore.open(tmp_path) as store:
        assert await archive(store) == []
        assert await prune(store, before_ns=9999 * S) == []
    assert rows(tmp_path) == 119


async def test_damage_within_a_session_keeps_it_in_the_database(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        await filled(store)
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as connection, connection:
        connection.execute("UPDATE envelope SET data = x'00' WHERE position = 60")
    async with await SqliteStore.open(tmp_path) as store:
        with pytest.raises(LogDamaged) as caught:
            await archive(store)
        assert caught.value.position == 60
        assert len(await store.read("lobby", 0, 59)) == 59
    assert rows(tmp_path) == 80


async def test_upkeep_that_the_disk_does_not_confirm_stops_the_store(tmp_path):
    def change(connection):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = 10 | 4 << 8  # SQLITE_IOERR_FSYNC
        raise error

    async with await SqliteStore.open(tmp_path) as store:
        log = await filled(store)
        with pytest.raises(StoreFailed):
            await store.in_writer(change)
        with pytest.raises(StoreFailed):
            await store.append("lobby", 120, [draft()])
        with pytest.raises(StoreFailed):
            await archive(store)
    async with await SqliteStore.open(tmp_path) as store:
        assert await store.read("lobby") == log


CHILD = "tests.contract.retention_child"


@pytest.mark.parametrize("work", ["archive", "prune"])
async def test_killed_at_any_step_nothing_is_lost_and_the_next_run_ends_it(tmp_path, work):
    """The child is killed at the n-th thing that it does to disk or database, for every n."""
    async with await SqliteStore.open(tmp_path / "whole") as store:
        log = await filled(store, count=1100)
        await filled(store, "pruned", sessions=1, count=1100)
        if work == "prune":
            await archive(store, before_ns=2500 * S)
    killed = 0
    for step in itertools.count(1):
        directory = tmp_path / f"{work}-{step}"
        shutil.copytree(tmp_path / "whole", directory)
        command = [sys.executable, "-m", CHILD, work, directory, str(step)]
        done = await trio.run_process(command, check=False)
        async with await SqliteStore.open(directory) as store:
            assert not store.damage
            await Retention(store).tidy()
            left = await store.read("lobby")
            assert left == log[len(log) - len(left) :]
            assert len(left) % 1100 == 0
            assert work == "prune" or left == log
            assert (await store.head("lobby")).hash == log[-1].hash
            if work == "archive":
                await archive(store)
                assert await store.read("lobby") == log
            else:
                await prune(store, before_ns=2500 * S)
                assert await store.read("lobby") == log[2200:]
            await store.append("lobby", 3300, session(5, 9000))
        files = sorted(path.name for path in (directory / "archive").iterdir())
        assert len(files) == (3 if work == "archive" else 0), files
        assert rows(directory) == {"archive": 5 + 1100, "prune": 1100 + 5}[work]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        killed += 1
    assert killed >= 8
