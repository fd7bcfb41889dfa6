"""A plane that lives and says nothing: noticed, tried again, and replaced."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from media.interface import PlaneDown, PlaneUp
from media.plane_process import PlaneStartError
from protocol.notices import ConsumerScore, PlaneLost
from tests.contract import plane_rows as rows
from tests.contract.plane_harness import new_plane, next_of, short_directory
from tests.scenario.test_plane_supervisor import is_alive, orphan, process_of, running
from tests.unit.scripted_plane import connected
from tests.unit.scripted_plane import new_plane as scripted_face


@pytest.fixture
def directory() -> Iterator[Path]:
    made = short_directory()
    yield made
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.heartbeat.BEAT_S", 0.05)
    monkeypatch.setattr("media.heartbeat.SILENT_S", 0.4)
    monkeypatch.setattr("media.plane_client.HELLO_TIMEOUT_S", 0.4)
    monkeypatch.setattr("media.plane_process.DEATH_WAIT_S", 0.1)


async def test_a_plane_that_hangs_is_killed_and_replaced(directory: Path) -> None:
    plane = new_plane()
    process = process_of(plane, directory)
    async with running(process):
        plane.submit([rows.recv_transport("t")])
        await plane.describe()
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="silent")
        assert await next_of(plane, PlaneLost) == PlaneLost(transport="t", reason="hung")
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="hung")
        up = await next_of(plane, PlaneUp)
        assert up.fresh
        assert up.info.pid != pid
        assert not is_alive(pid)


async def test_one_that_comes_to_in_time_goes_on_with_what_it_carried(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.plane_client.HELLO_TIMEOUT_S", 10.0)
    plane = new_plane()
    process = process_of(plane, directory)
    async with running(process):
        plane.submit([rows.recv_transport("t")])
        await plane.describe()
        await next_of(plane, PlaneUp)
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="silent")
        os.kill(pid, signal.SIGCONT)
        up = await next_of(plane, PlaneUp)
        assert (up.fresh, up.info.pid) == (False, pid)
        assert [entry.transport for entry in up.table.transports] == ["t"]


async def test_one_that_was_taken_over_and_then_hangs_is_killed_too(directory: Path) -> None:
    plane = new_plane()
    async with orphan(directory) as pid, running(process_of(plane, directory)):
        os.kill(pid, signal.SIGSTOP)
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="silent")
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="hung")
        assert (await next_of(plane, PlaneUp)).info.pid != pid


async def test_one_that_never_greeted_us_is_not_killed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.plane_process.QUIT_TIMEOUT_S", 0.1)
    async with orphan(directory) as pid:
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(PlaneStartError, match="neither answers nor ends"):
            await process_of(new_plane(), directory).run()
        assert is_alive(pid)


async def test_a_reader_of_ours_that_is_behind_makes_no_plane_silent() -> None:
    face = scripted_face(notices_max=1)
    async with connected(face) as plane:
        score = ConsumerScore(consumer="c", score=1, producer_score=1)
        await plane.say(score, score, score)
        await trio.sleep(1.5)  # three times what makes a plane silent
        assert face.info is not None
        for _ in range(3):
            assert await next_of(face, ConsumerScore) == score


async def test_a_control_process_that_stood_still_blames_no_plane(directory: Path) -> None:
    plane = new_plane()
    async with running(process_of(plane, directory)):
        up = await next_of(plane, PlaneUp)
        await trio.sleep(0.2)
        time.sleep(1.5)  # noqa: ASYNC251 - the whole loop stands still
        await trio.sleep(1.0)
        assert plane.info == up.info
