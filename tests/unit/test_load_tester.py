"""A run of the load tester in virtual time, on a server that a test plays."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from load import tester
from load.mass import Mass
from load.options import LoadFailed, LoadOptions
from load.report import report_of
from load.signaling import Seat
from load.snapshot import Latencies, ReceiveCounts, Snapshot, StreamRow, Totals

BYTES_PER_S = 1_000


class PlayedMass:
    """Each client that is seated receives `BYTES_PER_S` of video."""

    def __init__(self) -> None:
        self.seated = 0
        self._bytes = 0.0
        self._at_s = trio.current_time()

    def seat(self, change: int) -> None:
        self._bytes += self.seated * BYTES_PER_S * (trio.current_time() - self._at_s)
        self._at_s = trio.current_time()
        self.seated += change

    def now_ns(self) -> int:
        return int(trio.current_time() * 1e9)

    def snapshot(self) -> Snapshot:
        self.seat(0)
        return Snapshot(totals=Totals(video=ReceiveCounts(payload_bytes=int(self._bytes))))

    def rows(self) -> list[StreamRow]:
        return []

    def latencies(self) -> Latencies:
        return Latencies()

    async def run(self) -> None:
        await trio.sleep_forever()


class PlayedServer:
    """Seats everybody at once; `break_off` takes seats away again."""

    def __init__(self, mass: PlayedMass) -> None:
        self._mass = mass
        self._broken: list[trio.Event] = []
        self.names = itertools.count()
        self.silent = False

    async def probe(self) -> str:
        if self.silent:
            await trio.sleep_forever()
        return "played 1"

    async def publish(self, _room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await self._sit(seat)

    async def view(self, _room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        self._mass.seat(1)
        task_status.started()
        try:
            await self._sit(seat)
        finally:
            self._mass.seat(-1)

    def break_off(self, seats: slice) -> None:
        """In the order of their coming: publishers first."""
        for broken in self._broken[seats]:
            broken.set()

    async def _sit(self, seat: Seat) -> None:
        broken = trio.Event()
        self._broken.append(broken)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait, broken, nursery.cancel_scope)
            nursery.start_soon(self._wait, seat.wanted, nursery.cancel_scope)
        if broken.is_set():
            raise LoadFailed("the cable is cut")

    @staticmethod
    async def _wait(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()


class Played:
    """A run, and its ends."""

    def __init__(self, options: LoadOptions) -> None:
        self.options = options
        self.mass = PlayedMass()
        self.server = PlayedServer(self.mass)
        self.tester = tester.Tester(options, cast("Mass", self.mass), self.server)
        self.record = self.tester.record

    async def cut(self, after_s: float, seats: slice) -> None:
        """Break the connections of these clients off, so long after the beginning."""
        await trio.sleep(after_s)
        self.server.break_off(seats)

    async def run(self) -> float:
        """Run to the end; returns how long it took."""
        began_s = trio.current_time()
        with trio.fail_after(1_000):
            await self.tester.run()
        return trio.current_time() - began_s


@pytest.fixture
def options() -> LoadOptions:
    return LoadOptions(url="ws://played", viewers=4, duration_s=60.0, ramp_s=0.0)


async def test_a_run_whose_clients_all_lost_their_seats_ends_and_says_why(
    options: LoadOptions, autojump_clock: MockClock
) -> None:
    played = Played(options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(played.cut, 20, slice(None))
        assert await played.run() < 30
    record = played.record
    assert record.abandoned == "all clients lost their seats: the cable is cut"
    assert (record.losses.total(), record.viewers_now) == (5, 0)
    report = report_of(options, record)
    assert report.stopped
    assert report.steady.bitrate_per_viewer_bps == pytest.approx(8 * BYTES_PER_S, rel=0.01)


async def test_a_publisher_that_is_lost_is_no_viewer(
    options: LoadOptions, autojump_clock: MockClock
) -> None:
    played = Played(options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(played.cut, 20, slice(0, 1))
        assert await played.run() > 60
    assert played.record.abandoned is None
    assert (played.record.losses.total(), played.record.samples[-1].joined) == (1, 4)


async def test_what_a_viewer_gets_is_told_by_how_long_each_was_there(
    options: LoadOptions, autojump_clock: MockClock
) -> None:
    played = Played(options)
    async with trio.open_nursery() as nursery:

        async def cut() -> None:
            await trio.sleep(30)
            played.server.break_off(slice(2, None))

        nursery.start_soon(cut)
        await played.run()
    report = report_of(options, played.record)
    assert report.joins.at_end == 1
    for part in (report.steady, report.whole):
        assert part.bitrate_per_viewer_bps == pytest.approx(8 * BYTES_PER_S, rel=0.01)


async def test_a_run_can_be_stopped_while_the_server_says_nothing(
    options: LoadOptions, autojump_clock: MockClock
) -> None:
    played = Played(options)
    played.server.silent = True
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await trio.sleep(1)
            played.tester.stop()

        nursery.start_soon(stop)
        assert await played.run() == pytest.approx(1.0)
    assert played.record.stopped
    assert report_of(options, played.record).stopped
