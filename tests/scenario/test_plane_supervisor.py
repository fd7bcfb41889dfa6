"""The plane process: started, watched, taken over, replaced and ended."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from media.interface import PlaneDown, PlaneUp
from media.plane_client import Plane
from media.plane_process import PlaneProcess, PlaneStartError
from protocol.notices import PlaneLost
from tests.contract import plane_rows as rows
from tests.contract.plane_harness import (
    environment,
    new_plane,
    next_of,
    short_directory,
    stand_in_command,
)


@pytest.fixture
def directory() -> Iterator[Path]:
    made = short_directory()
    yield made
    shutil.rmtree(made)


def process_of(plane: Plane, directory: Path, *more: str) -> PlaneProcess:
    return PlaneProcess(
        plane,
        command=stand_in_command(directory / "plane.sock", *more),
        socket_path=directory / "plane.sock",
        log_path=directory / "plane.log",
        env=environment(),
    )


@asynccontextmanager
async def running(process: PlaneProcess) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(process.run)
        yield
        nursery.cancel_scope.cancel()


async def wait_gone(pid: int) -> None:
    """Wait until a process that is nobody's child any more, or ours, is dead."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def reap(pid: int) -> None:
    """Forget a dead child that nobody waits for."""
    os.waitpid(pid, os.WNOHANG)


@asynccontextmanager
async def orphan(directory: Path, *more: str) -> AsyncIterator[int]:
    """A plane that another control process started, its socket ready."""
    command = stand_in_command(directory / "plane.sock", *more)
    process = await trio.lowlevel.open_process(command, env=environment())
    try:
        with trio.fail_after(10):
            while True:
                try:
                    stream = await trio.open_unix_socket(str(directory / "plane.sock"))
                except (OSError, RuntimeError):
                    await trio.sleep(0.01)
                else:
                    await stream.aclose()
                    break
        yield process.pid
    finally:
        if process.poll() is None:
            process.kill()
        await process.wait()


async def test_it_starts_a_plane_in_its_own_session_and_ends_it(directory: Path) -> None:
    plane = new_plane()
    process = process_of(plane, directory)
    async with running(process):
        pid = process.pid
        assert pid is not None
        up = await next_of(plane, PlaneUp)
        assert (up.fresh, up.info.pid) == (True, pid)
        assert os.getsid(pid) == pid
        assert stat.S_IMODE((directory / "plane.log").stat().st_mode) == 0o600
    assert not is_alive(pid)
    assert process.pid is None


async def test_a_released_plane_is_taken_over_with_its_table(directory: Path) -> None:
    first = new_plane()
    starter = process_of(first, directory)
    async with running(starter):
        first.submit([rows.recv_transport("t")])
        await first.describe()
        pid = starter.pid
        starter.release()
    assert pid is not None
    assert is_alive(pid)
    second = new_plane()
    heir = process_of(second, directory)
    async with running(heir):
        up = await next_of(second, PlaneUp)
        assert heir.pid == pid
        assert not up.fresh
        assert [entry.transport for entry in up.table.transports] == ["t"]
    assert not is_alive(pid)
    reap(pid)


async def test_a_plane_survives_the_sudden_death_of_its_control_process(directory: Path) -> None:
    script = (
        "import sys, trio\n"
        "from pathlib import Path\n"
        "from tests.contract import plane_harness as h\n"
        "from tests.scenario.test_plane_supervisor import process_of\n"
        "async def main():\n"
        "    process = process_of(h.new_plane(), Path(sys.argv[1]))\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        await nursery.start(process.run)\n"
        "        print(process.pid, flush=True)\n"
        "trio.run(main)\n"
    )
    control = await trio.lowlevel.open_process(
        [sys.executable, "-c", script, str(directory)], env=environment(), stdout=-1
    )
    assert control.stdout is not None
    with trio.fail_after(20):
        pid = int(bytes(await control.stdout.receive_some(100)))
    control.send_signal(signal.SIGKILL)
    await control.wait()
    await control.stdout.aclose()
    plane = new_plane()
    process = process_of(plane, directory)
    async with running(process):
        up = await next_of(plane, PlaneUp)
        assert (up.info.pid, up.fresh) == (pid, False)
    await wait_gone(pid)


async def test_a_taken_over_plane_that_dies_is_lost_and_replaced(directory: Path) -> None:
    plane = new_plane()
    async with orphan(directory) as pid, running(process_of(plane, directory)):
        plane.submit([rows.recv_transport("t")])
        await plane.describe()
        os.kill(pid, signal.SIGKILL)
        assert await next_of(plane, PlaneLost) == PlaneLost(transport="t", reason="gone")
        assert await next_of(plane, PlaneDown) == PlaneDown(reason="gone")
        up = await next_of(plane, PlaneUp)
        assert up.fresh
        assert up.info.pid != pid


async def test_a_plane_of_another_protocol_is_told_to_quit_and_replaced(directory: Path) -> None:
    plane = new_plane()
    async with orphan(directory, "--protocol", "99") as pid:
        process = process_of(plane, directory)
        async with running(process):
            up = await next_of(plane, PlaneUp)
            assert up.fresh
            assert up.info.pid == process.pid != pid
            assert not is_alive(pid)


async def test_a_foreign_plane_that_will_not_end_is_no_prey_of_sigkill(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.plane_process.QUIT_TIMEOUT_S", 0.1)
    async with orphan(directory, "--protocol", "99", "--deaf") as pid:
        with pytest.raises(PlaneStartError, match="does not end"):
            await process_of(new_plane(), directory).run()
        assert is_alive(pid)


async def test_its_own_plane_that_is_deaf_is_killed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.plane_process.QUIT_TIMEOUT_S", 0.1)
    process = process_of(new_plane(), directory, "--deaf")
    async with running(process):
        pid = process.pid
    assert pid is not None
    assert not is_alive(pid)


async def test_a_plane_that_dies_at_its_start_is_told_in_one_line(directory: Path) -> None:
    process = process_of(new_plane(), directory, "--fail", "address in use: 127.0.0.1:10000")
    with pytest.raises(PlaneStartError) as caught:
        await process.run()
    assert str(caught.value) == "the plane ended with exit 3: address in use: 127.0.0.1:10000"


async def test_a_plane_that_dies_when_first_spoken_to_is_told_in_one_line(
    directory: Path,
) -> None:
    process = process_of(new_plane(), directory, "--fail-at-hello", "no such device")
    with trio.fail_after(10), pytest.raises(PlaneStartError) as caught:
        await process.run()
    assert str(caught.value) == "the plane ended with exit 3: no such device"


async def test_a_command_that_is_not_there_is_told(directory: Path) -> None:
    process = PlaneProcess(
        new_plane(),
        command=["/nowhere/plane"],
        socket_path=directory / "plane.sock",
        log_path=directory / "plane.log",
    )
    with pytest.raises(PlaneStartError, match="/nowhere/plane: No such file"):
        await process.run()


async def test_a_path_that_no_socket_can_have_is_told(directory: Path) -> None:
    with pytest.raises(PlaneStartError, match="too long"):
        await process_of(new_plane(), directory / ("d" * 100)).run()


async def test_a_later_start_that_fails_is_told_and_tried_again(directory: Path) -> None:
    plane = new_plane()
    process = process_of(plane, directory)
    async with running(process):
        await next_of(plane, PlaneUp)
        pid = process.pid
        assert pid is not None
        good, process._command = process._command, ("/nowhere/plane",)
        os.kill(pid, signal.SIGKILL)
        assert (await next_of(plane, PlaneDown)).reason == "signal SIGKILL"
        assert (await next_of(plane, PlaneDown)).reason.startswith("start_failed: /nowhere/plane")
        process._command = good
        assert (await next_of(plane, PlaneUp)).fresh


async def test_a_stale_socket_is_no_hindrance(directory: Path) -> None:
    async with orphan(directory) as pid:
        os.kill(pid, signal.SIGKILL)
        await wait_gone(pid)
    assert (directory / "plane.sock").exists()
    plane = new_plane()
    async with running(process_of(plane, directory)):
        assert (await next_of(plane, PlaneUp)).fresh
