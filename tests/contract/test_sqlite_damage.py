"""Flipped bits and lost ends: told, never passed off as a log, and other rooms go on."""

import contextlib
import os
import random
import shutil
import sqlite3

import pytest

from protocol.envelope import chain
from replay.reader import LogReader
from replay.store import SqliteStore
from replay.store.errors import LogDamaged, StoreError, StoreReadOnly, StoreVersionUnknown
from tests.contract.store_contract import draft, drafts

ROOMS = ("a", "b", "c")
DATABASE, WAL, HEADS = "events.sqlite3", "events.sqlite3-wal", "events.heads"


async def fill(store, rounds=40):
    """Append in turn to three rooms, so that their envelopes share pages."""
    choose = random.Random(1)
    for n in range(rounds):
        for room in ROOMS:
            sent = [draft(n, data=choose.randbytes(choose.randrange(400))) for _ in range(3)]
            await store.append(room, 3 * n, sent)
    return {room: await store.read(room) for room in ROOMS}


@pytest.fixture
async def killed(tmp_path):
    """A data directory as a killed server leaves it, and what it acknowledged."""
    async with await SqliteStore.open(tmp_path / "live") as store:
        logs = await fill(store)
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    (tmp_path / "killed" / f"{DATABASE}-shm").unlink()
    return tmp_path / "killed", logs


@pytest.fixture
async def closed(tmp_path):
    """A data directory as a server leaves it that ended in order, and what it acknowledged."""
    async with await SqliteStore.open(tmp_path / "closed") as store:
        logs = await fill(store)
    return tmp_path / "closed", logs


def flip(path, offset, bit=0):
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


@contextlib.contextmanager
def copied(directory, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


async def assert_honest(directory, logs):
    """Open, and hold everything that the store gives against what was acknowledged.

    Returns the rooms in which it told of damage; None when it told of damage as a whole.
    """
    try:
        store = await SqliteStore.open(directory)
    except (LogDamaged, StoreVersionUnknown, StoreReadOnly):  # a bit of the header may say so
        return None
    damaged = set()
    async with store:
        for room, log in logs.items():
            got = []
            told = None
            try:
                async for batch in store.batches(room, batch=16):
                    got += batch
            except LogDamaged as error:
                told = error
                damaged.add(room)
            if told is not None:
                assert told.room == room
                assert told.position in (None, len(got) + 1)
            assert got == log[: len(got)]
            assert told is not None or got == log
            if room in store.damage:
                assert told is not None
                with pytest.raises(LogDamaged):
                    store.append_nowait(room, drafts(1))
                with pytest.raises(LogDamaged):
                    await store.head(room)
            elif told is None:
                (after,) = await store.append(room, len(log), drafts(1))
                assert after.hash == chain(log[-1].hash, room, len(log) + 1, after)
        try:
            assert (await store.append("new", 0, drafts(1)))[0].position == 1
        except LogDamaged:  # the root of a table or an index is what is damaged
            damaged.add("new")
    return damaged


async def test_a_flipped_bit_in_the_wal_is_told(killed, tmp_path):
    directory, logs = killed
    size = (directory / WAL).stat().st_size
    choose = random.Random(2)
    offsets = [0, 4, 17, 31, 32, 40, 50, *(choose.randrange(size) for _ in range(40))]
    outcomes = []
    for offset in offsets:
        with copied(directory, tmp_path) as copy:
            flip(copy / WAL, offset, choose.randrange(8))
            outcomes.append(await assert_honest(copy, logs))
    # Each of them makes SQLite drop what follows, of which all three rooms have something.
    told = [outcome == set(ROOMS) for outcome in outcomes]
    assert sum(told) > 0.9 * len(told), outcomes


async def test_a_flipped_bit_in_the_database_is_told(closed, tmp_path):
    directory, logs = closed
    size = (directory / DATABASE).stat().st_size
    choose = random.Random(3)
    offsets = [0, 16, 18, 28, 60, 68, 100, 105, *(choose.randrange(size) for _ in range(70))]
    outcomes = []
    for offset in offsets:
        with copied(directory, tmp_path) as copy:
            flip(copy / DATABASE, offset, choose.randrange(8))
            outcomes.append(await assert_honest(copy, logs))
    assert sum(bool(outcome) for outcome in outcomes) > 30
    assert {"a"} in outcomes  # one room's damage is that room's alone


@pytest.mark.parametrize("page", range(2, 12))
async def test_a_page_of_garbage_is_told(closed, page):
    directory, logs = closed
    ways = pages_of_ways(directory)
    fill_page(directory, page)
    outcome = await assert_honest(directory, logs)
    if page in ways:
        assert outcome == set(), "nothing but a way through the log is lost"
    else:
        assert outcome != set()


def pages_of_ways(directory):
    """Roots of the indexes that are not the log's own."""
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as connection:
        found = connection.execute(
            "SELECT name, rootpage FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
    assert {name for name, _ in found} == {"envelope_opening", "envelope_effect"}
    return {page for _, page in found}


def fill_page(directory, page):
    with (directory / DATABASE).open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(random.Random(page).randbytes(4096))


async def test_a_session_is_found_though_its_index_is_garbage(tmp_path):
    opening = draft(kind="message", type="OpenRoom")
    async with await SqliteStore.open(tmp_path) as store:
        await store.append("a", 0, [*drafts(3), opening, *drafts(3)])
    for page in pages_of_ways(tmp_path):
        fill_page(tmp_path, page)
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert await store.session_start("a") == 4


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
async def test_a_truncated_wal_is_told(killed, share):
    directory, logs = killed
    os.truncate(directory / WAL, int((directory / WAL).stat().st_size * share))
    outcome = await assert_honest(directory, logs)
    assert outcome == ({"c"} if share == 0.99 else set(ROOMS))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
async def test_a_truncated_database_is_told(closed, share):
    directory, logs = closed
    os.truncate(directory / DATABASE, int((directory / DATABASE).stat().st_size * share))
    assert await assert_honest(directory, logs) != set()


async def test_a_lost_wal_is_told_room_by_room_with_what_still_stands(killed):
    directory, _ = killed
    (directory / WAL).unlink()
    async with await SqliteStore.open(directory) as store:
        assert set(store.damage) == set(ROOMS)
        assert store.damage["a"].position == 1
        assert "acknowledged up to position 120" in store.damage["a"].reason


async def test_an_empty_or_lost_database_is_not_begun_anew(closed):
    directory, _ = closed
    for lose in (lambda path: os.truncate(path, 0), lambda path: path.unlink()):
        lose(directory / DATABASE)
        with pytest.raises(LogDamaged, match="knows 3 rooms"):
            await SqliteStore.open(directory)


async def test_damage_stays_told_at_each_opening(killed):
    directory, _ = killed
    flip(directory / WAL, 20_000)
    found = (directory / WAL).read_bytes()
    reports = []
    for _ in range(2):
        async with await SqliteStore.open(directory) as store:
            assert set(store.damage) == set(ROOMS)
            reports.append([(s.room, s.position, s.damage) for s in await store.rooms()])
            await store.append("other", store.next_position("other") - 1, drafts(1))
    assert (directory / f"{WAL}.damaged").read_bytes() == found
    assert [r for r in reports[1] if r[0] != "other"] == reports[0]


@pytest.mark.parametrize("where", ["header", "middle"])
async def test_a_damaged_heads_file_is_told_and_stops_no_room(closed, where):
    directory, logs = closed
    flip(directory / HEADS, 9 if where == "header" else 1_000)
    damaged = (directory / HEADS).read_bytes()
    async with await SqliteStore.open(directory) as store:
        assert set(store.damage) == {None}
        assert "events.heads cannot be trusted" in str(store.damage[None])
    assert (directory / "events.heads.damaged").read_bytes() == damaged
    assert await assert_honest(directory, logs) == set()


async def test_a_missing_heads_file_is_told_and_stops_no_room(closed):
    directory, logs = closed
    (directory / HEADS).unlink()
    async with await SqliteStore.open(directory) as store:
        assert set(store.damage) == {None}
        assert "events.heads is missing" in str(store.damage[None])
    assert await assert_honest(directory, logs) == set()


async def test_a_database_ahead_of_its_heads_is_sound(closed, tmp_path):
    """As after a power failure between commit and heads."""
    directory, logs = closed
    with copied(directory, tmp_path) as copy:
        async with await SqliteStore.open(copy) as store:
            await store.append("a", 120, drafts(2))
            await store.append("unheard", 0, drafts(2))
        shutil.copy(directory / HEADS, copy / HEADS)
        async with await SqliteStore.open(copy) as store:
            assert not store.damage
            assert (await store.read("a"))[:120] == logs["a"]
            assert store.next_position("a") == 123
            assert store.next_position("unheard") == 3


async def test_a_rewritten_history_is_told(closed):
    """Whoever edits the file would have to forge every hash behind the place, and the head."""
    directory, logs = closed
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as database:
        database.execute(
            "UPDATE envelope SET actor = 'nobody' WHERE position = 5 AND room_id ="
            " (SELECT room_id FROM room WHERE room = 'b')"
        )
        database.commit()
    async with await SqliteStore.open(directory) as store:
        assert set(store.damage) == {"b"}  # at opening: it is among the last of an open room
        assert store.damage["b"].position == 5
        with pytest.raises(LogDamaged) as caught:
            await store.verify_chain("b")
        assert caught.value.position == 5
        assert await store.read("b", up_to=4) == logs["b"][:4]
        with pytest.raises(LogDamaged):
            await store.read("b", up_to=5)
        assert (await store.verify_chain("a")).position == 120
    with LogReader(directory) as reader, pytest.raises(LogDamaged):
        list(reader.batches("b", types=["PeerJoined"]))


@pytest.mark.parametrize("position", [2, 60, 120])
async def test_a_removed_envelope_is_told(closed, position):
    directory, _ = closed
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as database:
        database.execute("DELETE FROM envelope WHERE position = ?", (position,))
        database.commit()
    async with await SqliteStore.open(directory) as store:
        for room in ROOMS:
            assert store.damage[room].position == position


async def test_damage_found_while_writing_stops_that_room_alone(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        await fill(store, 2)
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as database:
            database.execute(  # a row where room b's next one belongs
                "INSERT INTO envelope SELECT NULL, room_id, 7, 0, '', '', '', 1, NULL, NULL, x'',"
                " x'', x'' FROM room WHERE room = 'b'"
            )
            database.commit()
        receipts = {room: store.append_nowait(room, drafts(1)) for room in ROOMS}
        for room, receipt in receipts.items():
            if room == "b":
                with pytest.raises(LogDamaged) as caught:
                    await receipt.wait_durable()
                assert caught.value.room == "b"
            else:
                await receipt.wait_durable()
        assert set(store.damage) == {"b"}
        with pytest.raises(LogDamaged):
            store.append_nowait("b", drafts(1))


async def test_a_file_of_a_newer_release_or_of_another_program_is_refused(tmp_path):
    for name, pragma, reason in (
        ("newer", "user_version = 99", "version 99"),
        ("other", "application_id = 1", "not an event log"),
    ):
        async with await SqliteStore.open(tmp_path / name):
            pass
        with contextlib.closing(sqlite3.connect(tmp_path / name / DATABASE)) as database:
            database.execute(f"PRAGMA {pragma}")
        with pytest.raises(StoreVersionUnknown, match=reason):
            await SqliteStore.open(tmp_path / name)
        with pytest.raises(StoreVersionUnknown, match=reason):
            LogReader(tmp_path / name)


async def test_errors_are_one_line_with_a_code(killed):
    directory, _ = killed
    flip(directory / WAL, 20_000)
    with LogReader(directory) as reader:
        _, damage = reader.rooms()
    assert [error.room for error in damage] == list(ROOMS)
    for error in damage:
        assert isinstance(error, StoreError)
        assert error.code == "log_damaged"
        assert "\n" not in str(error)
