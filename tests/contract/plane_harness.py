"""Planes of each kind behind one interface, for the contract suite."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from media.certificate import DtlsCertificate
from media.dtls import DtlsContext
from media.fake import FakePlane
from media.interface import MediaPlane, PlaneItem
from media.plane_client import Plane
from media.plane_process import PlaneProcess
from protocol.orders import PlaneInfo

Item = TypeVar("Item")
ROOT = Path(__file__).resolve().parents[2]


async def next_of(plane: MediaPlane, kind: type[Item], *, within_s: float = 10) -> Item:
    """Wait for the next notice of a kind and drop those before it."""
    with trio.fail_after(within_s):
        while True:
            item = await plane.notices.receive()
            if isinstance(item, kind):
                return item


async def drain(plane: MediaPlane) -> list[PlaneItem]:
    """Return what the plane has said so far, once it has answered a question."""
    await plane.describe()
    items: list[PlaneItem] = []
    while True:
        try:
            items.append(plane.notices.receive_nowait())
        except trio.WouldBlock:
            return items


class Harness:
    """A plane that is up, with its `PlaneUp` not yet read, and what a test may do to it."""

    def __init__(
        self,
        plane: MediaPlane,
        *,
        crash: Callable[[], Awaitable[None]],
        reconnect: Callable[[], Awaitable[None]],
    ) -> None:
        self.plane = plane
        self.crash = crash
        """Kills the plane; it comes up again by itself."""
        self.reconnect = reconnect
        """Cuts the connection, not the plane; it comes up again."""


@asynccontextmanager
async def fake_harness() -> AsyncIterator[Harness]:
    plane = FakePlane()
    plane.restart()

    async def crash() -> None:
        plane.crash()
        plane.restart()

    async def reconnect() -> None:
        plane.lose_connection()
        plane.restart()

    yield Harness(plane, crash=crash, reconnect=reconnect)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def new_plane() -> Plane:
    return Plane(
        DtlsContext(DtlsCertificate.generate()),
        ice_password=lambda ufrag: f"password-of-{ufrag}-is-long-enough",
        version="test",
        grace_ms=5_000,
    )


def short_directory() -> Path:
    """A directory whose path leaves room for a socket's name (108 bytes)."""
    return Path(tempfile.mkdtemp(prefix="plane-", dir="/tmp"))


@asynccontextmanager
async def process_harness(command: Callable[[Path], Sequence[str]]) -> AsyncIterator[Harness]:
    """Run a plane process; `command` is told the socket's path."""
    directory = short_directory()
    plane = new_plane()
    process = PlaneProcess(
        plane,
        command=command(directory / "plane.sock"),
        socket_path=directory / "plane.sock",
        log_path=directory / "plane.log",
        env=environment(),
    )

    async def crash() -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    async def reconnect() -> None:
        plane.disconnect()

    try:
        async with trio.open_nursery() as nursery:
            info: PlaneInfo = await nursery.start(process.run)
            assert info.pid == process.pid
            yield Harness(plane, crash=crash, reconnect=reconnect)
            nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory)


def stand_in_command(path: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tests.contract.plane_stand_in", "--socket", str(path), *more]


def native_command(path: Path) -> list[str]:
    ports = ("--ports", "20000-20999")
    return [sys.executable, "-m", "media.plane", "--socket", str(path), *ports, "--workers", "2"]
