"""The server archives and prunes by itself, in a process beside it, and goes on serving."""

import json
import shutil

import pytest
import trio
from structlog.testing import CapturingLogger

from gateway.settings import Storage
from gateway.upkeep import Upkeep
from replay.reader import LogReader
from replay.store import SqliteStore
from replay.store.retention import Retention
from replay.store.stretches import file_name
from tests.contract.plane_harness import short_directory
from tests.replay.sessions import call, store
from tests.scenario.test_serve import connected, serving

H = 3600 * 1_000_000_000


def closed(room):
    session = call(room)
    session.close()
    session.wait(30)
    return session


@pytest.fixture
def data():
    made = short_directory()
    yield made / "data"
    shutil.rmtree(made)


def rooms(directory):
    with LogReader(directory) as reader:
        return {room: [each.state for each in reader.stretches(room)] for room in ("a", "b")}


async def test_a_round_archives_and_prunes_what_is_due(tmp_path):
    first, second = closed("a"), closed("b")
    await trio.to_thread.run_sync(store, tmp_path, first, second)
    end_ns = max(first.at_ns, second.at_ns)
    now = [end_ns + H]
    log = CapturingLogger()
    async with await SqliteStore.open(tmp_path) as held:
        wanted = Storage(archive_after=2 * H, prune_after=5 * H)
        keeping = Upkeep(held, wanted, log, now_ns=lambda: now[0])
        await keeping.round()
        assert rooms(tmp_path) == {"a": [], "b": []}
        now[0] += 2 * H
        await keeping.round()
        assert rooms(tmp_path) == {"a": ["archived"], "b": ["archived"]}
        assert len(await held.read("a")) == first.position
        now[0] += 3 * H
        await keeping.round()
        assert rooms(tmp_path) == {"a": ["pruned"], "b": ["pruned"]}
    events = [call.args[0] for call in log.calls]
    assert events == ["session_archived"] * 2 + ["session_pruned"] * 2


async def test_a_room_that_cannot_be_archived_is_told_and_stops_no_other(tmp_path):
    await trio.to_thread.run_sync(store, tmp_path, closed("a"), closed("b"))
    log = CapturingLogger()
    (tmp_path / "archive").mkdir()
    async with await SqliteStore.open(tmp_path) as held:
        (session,) = await Retention(held).sessions("a")
        name = file_name(session.room, session.first, session.last)
        (tmp_path / "archive" / f"{name}.new").mkdir()  # in its way
        (tmp_path / "archive" / f"{name}.new" / "full").touch()
        await Upkeep(held, Storage(archive_after=H), log).round()
        assert rooms(tmp_path) == {"a": [], "b": ["archived"]}
    failed, done = log.calls
    assert failed.args == ("session_not_archived",)
    assert failed.kwargs["room"] == "a"
    assert "\n" not in failed.kwargs["error"]
    assert done.args == ("session_archived",)


async def test_a_server_archives_while_it_serves(data, monkeypatch):
    await trio.to_thread.run_sync(store, data, closed("a"), closed("b"))
    monkeypatch.setenv("REPRISE_TEST_UPKEEP_S", "0.05")
    async with serving(data, "--archive-after", "1d") as server, connected(server) as client:
        done = [await server.line("session_archived") for _ in range(2)]
        assert {line["room"] for line in done} == {"a", "b"}
        assert rooms(data) == {"a": ["archived"], "b": ["archived"]}
        joined = await client.join("a")  # goes on in its log
        assert joined["position"] > 1
        status, body = await server.get("/healthz")
        assert (status, json.loads(body)["store"]) == (200, "ok")
        assert await server.stop() == 0
    with LogReader(data) as reader:
        batches = list(reader.batches("a"))
        assert reader.head("a").position == batches[-1][-1].position > len(batches[0])
