"""The store on SQLite keeps the contract, also over closing and opening again."""

import contextlib
import sqlite3

from replay.store import SqliteStore
from replay.store.errors import StoreFull
from tests.contract.store_contract import StoreContract, draft, drafts


class TestSqliteStore(StoreContract):
    @contextlib.asynccontextmanager
    async def opened(self, tmp_path, **options):
        async with await SqliteStore.open(tmp_path / "data", **options) as store:
            yield store

    @contextlib.asynccontextmanager
    async def reopened(self, store):
        await store.aclose()
        async with await SqliteStore.open(store.directory) as again:
            assert not again.damage
            yield again

    async def test_everything_is_there_after_opening_again(self, store):
        log = [*await store.append("a", 0, drafts(3)), *await store.append("a", 3, drafts(2))]
        await store.append("b", 0, [draft(type="RoomClosed")])
        summaries = await store.rooms()
        async with self.reopened(store) as again:
            assert await again.rooms() == summaries
            assert await again.read("a") == log
            assert (await again.append("a", 5, [draft()]))[0].position == 6
            assert (await again.append("c", 0, [draft()]))[0].position == 1
            assert (await again.verify_chain("a")).position == 6

    async def test_a_failed_new_room_does_not_confuse_the_others_after_opening_again(self, store):
        await store.append("a", 0, [draft(1)])
        store.fail_next_append(StoreFull("no space"), "b")
        with contextlib.suppress(StoreFull):
            await store.append("b", 0, [draft(2)])
        await store.append("c", 0, [draft(3)])
        async with self.reopened(store) as again:
            await again.append("b", 0, [draft(4)])
            await again.append("d", 0, [draft(5)])
            got = {s.room: (await again.read(s.room))[0].at_ns for s in await again.rooms()}
            assert got == {"a": 1_001, "c": 1_003, "b": 1_004, "d": 1_005}

    async def test_any_engineer_can_read_the_file(self, store):
        await store.append("lobby", 0, [draft(7, correlation="c1"), draft(8, cause=1)])
        await store.aclose()
        with contextlib.closing(sqlite3.connect(store.directory / "events.sqlite3")) as database:
            rows = database.execute(
                "SELECT position, at_utc, actor, kind, type, cause, correlation FROM event_log"
            ).fetchall()
            assert rows == [
                (1, "1970-01-01 00:00:00.000001007", "room", "event", "PeerJoined", None, "c1"),
                (2, "1970-01-01 00:00:00.000001008", "room", "event", "PeerJoined", 1, None),
            ]
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
