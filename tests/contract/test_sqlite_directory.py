"""The data directory: who may write in it, what a full disk does, and readers beside a writer."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
import trio

from protocol.envelope import chain
from replay.reader import LogReader
from replay.store import SqliteStore
from replay.store.errors import (
    StoreClosed,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreReadOnly,
    StoreWriteFailed,
    UnknownRoom,
)
from tests.contract.store_contract import assert_chained, draft, drafts

DATABASE = "events.sqlite3"


@contextlib.contextmanager
def mounted(path, options):
    """A tmpfs of its own; only root may."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.getuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_second_writer_is_refused_and_told_who_writes(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        with pytest.raises(StoreLocked, match=f"process {os.getpid()}") as caught:
            await SqliteStore.open(tmp_path)
        assert caught.value.code == "store_locked"
        await store.append("lobby", 0, drafts(1))
    async with await SqliteStore.open(tmp_path) as store:
        assert len(await store.read("lobby")) == 1


async def test_a_second_process_is_refused(tmp_path):
    async with await SqliteStore.open(tmp_path):
        done = await trio.run_process(
            [sys.executable, "-m", "tests.contract.sqlite_child", str(tmp_path), "1"],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"StoreLocked" in done.stderr


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(StoreReadOnly, match="cannot write in") as caught:
            await SqliteStore.open(path)
        assert caught.value.code == "store_read_only"
        assert "\n" not in str(caught.value)


async def test_a_directory_that_cannot_be_written_is_refused_but_read(tmp_path):
    async with await SqliteStore.open(tmp_path / "made") as store:
        log = list(await store.append("lobby", 0, drafts(3)))
    with mounted(tmp_path / "mnt", "size=16m") as mount:
        shutil.copytree(tmp_path / "made", mount / "data")
        await trio.run_process(["mount", "-o", "remount,ro", str(mount)])
        with pytest.raises(StoreReadOnly):
            await SqliteStore.open(mount / "data")
        with LogReader(mount / "data") as reader:
            assert next(reader.batches("lobby")) == log


async def test_a_full_disk_acknowledges_nothing_and_the_store_goes_on_with_space(tmp_path):
    with mounted(tmp_path / "mnt", "size=12m") as mount:
        async with await SqliteStore.open(mount / "data") as store:
            kept = list(await store.append("lobby", 0, drafts(2)))
            ballast = mount / "ballast"
            with ballast.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(4096))
            refused = 0
            while refused < 3:  # what space the files had left may still be used
                try:
                    kept += await store.append_nowait(
                        "lobby", [draft(data=bytes(5_000)) for _ in range(4)]
                    ).wait_durable()
                except StoreFull as error:
                    told = str(error)
                    refused += 1
                assert len(kept) < 2_000
            assert told == "the disk that holds the event log is full"
            assert await store.read("lobby") == kept
            assert store.next_position("lobby") == len(kept) + 1
            assert not store.damage
            ballast.unlink()
            kept += await store.append("lobby", len(kept), [draft(data=bytes(100_000))])
            kept += await store.append("lobby", len(kept), drafts(2))
        async with await SqliteStore.open(mount / "data") as store:
            assert not store.damage
            assert await store.read("lobby") == kept
            assert_chained("lobby", kept)


async def test_a_disk_that_is_full_at_opening_is_told(tmp_path):
    with (
        mounted(tmp_path / "mnt", "size=1m") as mount,
        pytest.raises(StoreFull, match="is full"),
    ):
        await SqliteStore.open(mount / "data")


async def test_a_limit_on_the_size_of_files_acknowledges_nothing(tmp_path):
    """Where one cannot mount: the system refuses to let the write-ahead log grow."""
    script = """
import resource, signal, sys, trio
from replay.store import SqliteStore
from replay.store.errors import StoreError
from tests.contract.store_contract import draft

async def main():
    async with await SqliteStore.open(sys.argv[1]) as store:
        kept = list(await store.append("lobby", 0, [draft()]))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, -1))
        failed = 0
        while failed < 3:
            try:
                kept += await store.append("lobby", len(kept), [draft(data=bytes(400_000))])
            except StoreError as error:
                assert error.code in ("store_write_failed", "store_full"), error
                failed += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        kept += await store.append("lobby", len(kept), [draft()])
        assert await store.read("lobby") == kept
    print(len(kept))

trio.run(main)
"""
    done = await trio.run_process(
        [sys.executable, "-c", script, str(tmp_path)], capture_stdout=True, env=with_path()
    )
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert (await store.verify_chain("lobby")).position == int(done.stdout)


def with_path():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


async def test_heads_that_cannot_be_recorded_fail_the_store_until_it_is_opened_again(
    tmp_path, monkeypatch
):
    async with await SqliteStore.open(tmp_path) as store:
        kept = list(await store.append("lobby", 0, drafts(2)))

        def refuse(_):
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("replay.store.heads.os.fdatasync", refuse)
            with pytest.raises(StoreFailed) as caught:
                await store.append("lobby", 2, drafts(1))
        assert caught.value.code == "store_failed"
        with pytest.raises(StoreFailed):
            await store.append("other", 0, drafts(1))
        assert await store.read("lobby") == kept
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        assert (await store.read("lobby"))[:2] == kept
        await store.append("lobby", store.next_position("lobby") - 1, drafts(1))


async def test_a_write_that_the_system_refuses_fails_alone(tmp_path, monkeypatch):
    async with await SqliteStore.open(tmp_path) as store:

        def refuse(*_):
            raise OSError(1, "Operation not permitted")

        with monkeypatch.context() as patch:
            patch.setattr("replay.store.heads.HeadsFile.prepare", refuse)
            with pytest.raises(StoreWriteFailed, match="not permitted"):
                await store.append("lobby", 0, drafts(1))
        assert (await store.append("lobby", 0, drafts(1)))[0].position == 1


async def test_a_fault_in_the_writer_reaches_those_who_wait(tmp_path, monkeypatch):
    async with await SqliteStore.open(tmp_path) as store:

        def fault(*_):
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr("replay.store.sqlite_writer.Writer._transact", fault)
            with pytest.raises(StoreFailed, match="ZeroDivisionError"):
                await store.append("lobby", 0, drafts(1))


async def test_a_reader_beside_a_writer_sees_a_sound_log_that_only_grows(tmp_path):
    async with await SqliteStore.open(tmp_path) as store:
        stop = trio.Event()
        sizes = []

        def look():
            with LogReader(tmp_path) as reader:
                summaries, damage = reader.rooms()
                assert damage == []
                for summary in summaries:
                    log = [e for batch in reader.batches(summary.room) for e in batch]
                    assert len(log) >= summary.position
                    assert_chained(summary.room, log)
                return sum(summary.position for summary in summaries)

        async def write(room):
            while not stop.is_set():
                await store.append_nowait(room, drafts(3)).wait_durable()

        async with trio.open_nursery() as nursery:
            for n in range(6):
                nursery.start_soon(write, f"room {n % 3}")
            for _ in range(12):
                sizes.append(await trio.to_thread.run_sync(look))  # noqa: PERF401
            stop.set()
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0]


async def test_a_reader_changes_nothing_that_a_killed_server_left(tmp_path):
    async with await SqliteStore.open(tmp_path / "live") as store:
        await store.append("lobby", 0, drafts(3))
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    kept = [tmp_path / "killed" / name for name in (DATABASE, f"{DATABASE}-wal", "events.heads")]
    before = [path.read_bytes() for path in kept]
    with LogReader(tmp_path / "killed") as reader:
        assert reader.head("lobby").position == 3
        assert len(next(reader.batches("lobby", types=["PeerJoined"], correlation=None))) == 3
        with pytest.raises(UnknownRoom):
            reader.batches("nobody")
    assert [path.read_bytes() for path in kept] == before


def test_a_reader_tells_where_there_is_no_log(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(StoreMissing) as caught:
            LogReader(path)
        assert caught.value.code == "store_missing"
    assert list((tmp_path / "empty").iterdir()) == []


async def test_reads_that_run_while_the_store_closes_come_to_their_end(tmp_path):
    store = await SqliteStore.open(tmp_path)
    await store.append("lobby", 0, [draft(n % 100) for n in range(4_000)])
    outcomes = []

    async def read():
        try:
            outcomes.append(len(await store.read("lobby")))
        except StoreClosed as error:
            outcomes.append(error.code)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await store.aclose()
    assert set(outcomes) <= {4_000, "store_closed"}
    assert len(outcomes) == 6


async def test_the_log_outlives_its_write_ahead_log_many_times(tmp_path, monkeypatch):
    """Small limits, so that checkpoints and new heads files come often."""
    monkeypatch.setattr("replay.store.sqlite_file.WAL_PAGES", 20)
    monkeypatch.setattr("replay.store.heads._SPACE_BYTES", 4 << 10)
    previous = {}
    async with await SqliteStore.open(tmp_path) as store:
        for n in range(300):
            room = f"room {n % 7}"
            for envelope in await store.append_nowait(room, drafts(5)).wait_durable():
                if room in previous:
                    last = previous[room]
                    assert chain(last.hash, room, last.position + 1, envelope) == envelope.hash
                previous[room] = envelope
        assert (tmp_path / f"{DATABASE}-wal").stat().st_size < 1 << 20
    async with await SqliteStore.open(tmp_path) as store:
        assert not store.damage
        for room, last in previous.items():
            assert (await store.verify_chain(room)).hash == last.hash


def test_every_error_has_a_code_of_its_own():
    kinds = StoreError.__subclasses__()
    assert len({kind.code for kind in kinds} | {StoreError.code}) == len(kinds) + 1
