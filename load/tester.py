"""A run of the load tester: publishers first, then viewers at a pace, then a steady time.

Everybody's seat is a task. What happens is written into a `Record` that the
report is made of, so that a run which is stopped has its report as well.
"""

from __future__ import annotations

import functools
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from msgspec import Struct

from load.mass import Mass
from load.options import LoadFailed, LoadOptions
from load.processes import Usage, usage_of
from load.signaling import Seat, Signaling
from load.snapshot import Latencies, Snapshot, StreamRow

SAMPLE_INTERVAL_S = 1.0
LAG_INTERVAL_S = 0.05
LEAVE_S = 15.0
CATCH_UP_MAX_S = 5.0
"""The steady time begins at the latest so long after all have joined."""


class Sample(Struct, frozen=True, kw_only=True):
    """What was seen at one moment of the run."""

    at_s: float
    joined: int
    joining: int
    snapshot: Snapshot
    tool_cpu_s: float
    signaling_lag_ns: int
    """The longest that the signaling side was late since the last sample."""
    viewer_s: float
    """How long viewers have had their seats so far, all together."""
    server: Usage | None = None


class Record:
    """What happened so far."""

    def __init__(self) -> None:
        self.started_unix_s = time.time()
        self.server = ""
        self.viewers_joined = 0
        self.viewers_now = 0
        self.viewers_left = 0
        self.joining = 0
        self.publishers_joined = 0
        self.join_ns: list[int] = []
        self.keyframe_ns: list[int] = []
        """From the begin of a join to the first whole keyframe."""
        self.failures: Counter[str] = Counter()
        """Viewers that did not get their seat, by reason."""
        self.losses: Counter[str] = Counter()
        """Seats that were lost later, by reason."""
        self.samples: list[Sample] = []
        self.joined_at_s: float | None = None
        """When the last viewer had its seat, from the begin of the run."""
        self.steady_from: Sample | None = None
        """When all had caught up besides."""
        self.latencies_before: Latencies = Latencies()
        """Up to the steady time."""
        self.latencies: Latencies = Latencies()
        self.rows_before: list[StreamRow] = []
        """What was received when the steady time began."""
        self.rows: list[StreamRow] = []
        """And when it ended."""
        self.stopped = False
        self.abandoned: str | None = None
        """Why it ended early by itself."""


class Tester:
    """One run."""

    def __init__(self, options: LoadOptions, mass: Mass, signaling: Signaling) -> None:
        self.options = options
        self.record = Record()
        self._mass = mass
        self._signaling = signaling
        self._stop = trio.Event()
        self._caught_up = trio.Event()
        self._joined_at: dict[int, int] = {}
        """When clients that wait for their first keyframe began to join."""
        self._publishers: list[Seat] = []
        self._viewers: list[Seat] = []
        self._began_s = trio.current_time()
        self._lag_ns = 0
        self._viewer_s = 0.0
        self._counted_s = self._began_s
        self._held_now = 0
        self._all_left = trio.Event()
        self._limit = trio.CapacityLimiter(options.joins_at_once)
        self._random = random.Random(options.seed)  # noqa: S311 - no secret

    def stop(self) -> None:
        """End the run early, with what there is."""
        self.record.stopped = True
        self._stop.set()

    async def run(self) -> None:
        """Run to the end. Raises `LoadFailed` if there is nothing to measure."""
        await self._unless_stopped(self._probe)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mass.run)
            nursery.start_soon(self._measure_lag)
            failure: LoadFailed | None = None
            try:
                async with trio.open_nursery() as seats:
                    try:
                        await self._phases(seats)
                    finally:
                        with trio.CancelScope(shield=True):
                            await self._leave(seats)
            except* LoadFailed as group:
                failure = _first(group)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _phases(self, seats: trio.Nursery) -> None:
        for room in self.options.room_names:
            for _ in range(self.options.publishers):
                await self._unless_stopped(functools.partial(self._publish, seats, room))
        sampling = trio.CancelScope()
        seats.start_soon(self._sample_always, sampling)
        await self._unless_stopped(functools.partial(self._come, seats))
        self.record.joined_at_s = trio.current_time() - self._began_s
        self._end_if_abandoned()
        with trio.move_on_after(CATCH_UP_MAX_S):
            await self._unless_stopped(self._caught_up.wait)
        self._begin_steady()
        churning = trio.CancelScope()
        if self.options.churn_per_s > 0:
            seats.start_soon(self._churn, seats, churning)
        with trio.move_on_after(self.options.duration_s):
            await self._stop.wait()
        sampling.cancel()
        self._end_steady()
        churning.cancel()

    async def _unless_stopped(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something, until it is done or the run is stopped."""
        if self._stop.is_set():
            return

        async def watch(scope: trio.CancelScope) -> None:
            await self._stop.wait()
            scope.cancel()

        failure: LoadFailed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            try:
                await work()
            except LoadFailed as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _probe(self) -> None:
        self.record.server = await self._signaling.probe()

    async def _publish(self, seats: trio.Nursery, room: str) -> None:
        seat = Seat()
        self._publishers.append(seat)
        await seats.start(self._held, self._signaling.publish, room, seat)
        self.record.publishers_joined += 1

    async def _come(self, seats: trio.Nursery) -> None:
        """Let all viewers come at their pace, and wait until each has its seat or has failed."""
        total = self.options.viewers_total
        names = self.options.room_names
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for index in range(total):
                due_s = began_s + self.options.ramp_total_s * index / total
                await trio.sleep_until(due_s)
                nursery.start_soon(self._take_seat, seats, names[index % len(names)])
        if self.record.viewers_joined == 0 and total > 0:
            reason, _ = self.record.failures.most_common(1)[0]
            raise LoadFailed(f"no viewer could join: {reason}")

    async def _take_seat(self, seats: trio.Nursery, room: str) -> None:
        record = self.record
        async with self._limit:
            record.joining += 1
            try:
                await self._view(seats, room)
            except LoadFailed as error:
                record.failures[str(error)] += 1
            finally:
                record.joining -= 1
        self._end_if_abandoned()

    async def _view(self, seats: trio.Nursery, room: str) -> None:
        record = self.record
        seat = Seat()
        began_ns = self._mass.now_ns()
        await seats.start(self._held, self._signaling.view, room, seat)
        record.viewers_joined += 1
        self._count_viewers(1)
        record.join_ns.append(self._mass.now_ns() - began_ns)
        if seat.client is not None:
            self._joined_at[seat.client] = began_ns
        self._viewers.append(seat)

    async def _held(
        self,
        sit: Callable[..., Awaitable[None]],
        room: str,
        seat: Seat,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Hold a seat; one that is lost once it was taken is noted, and no more."""
        taken = False

        class Started:
            def started(self, value: None = None) -> None:
                nonlocal taken
                taken = True
                task_status.started(value)

        self._held_now += 1
        try:
            await sit(room, seat, task_status=Started())
        except LoadFailed as error:
            if not taken:
                raise
            self.record.losses[str(error)] += 1
            if seat in self._viewers:
                self._viewers.remove(seat)
                self._count_viewers(-1)
            elif seat in self._publishers:
                self._publishers.remove(seat)
            self._end_if_abandoned()
        finally:
            self._held_now -= 1
            if self._held_now == 0:
                self._all_left.set()

    def _count_viewers(self, change: int) -> None:
        now_s = trio.current_time()
        self._viewer_s += self.record.viewers_now * (now_s - self._counted_s)
        self._counted_s = now_s
        self.record.viewers_now += change

    def _end_if_abandoned(self) -> None:
        """End the run where nobody is left whom the server could serve, or who is about to come."""
        record = self.record
        if record.joined_at_s is None or self._stop.is_set():
            return
        if not (self._publishers or self._viewers or record.joining) and record.losses:
            reason, _ = record.losses.most_common(1)[0]
            record.abandoned = f"all clients lost their seats: {reason}"
            self._stop.set()

    async def _churn(self, seats: trio.Nursery, scope: trio.CancelScope) -> None:
        """Let viewers leave, and others come in their place, until cancelled.

        Who has not quite come by then does not come: its publisher is about to leave.
        """
        names = self.options.room_names
        with scope:
            async with trio.open_nursery() as coming:
                while True:
                    await trio.sleep(self._random.expovariate(self.options.churn_per_s))
                    if not self._viewers:
                        continue
                    seat = self._viewers.pop(self._random.randrange(len(self._viewers)))
                    self._look_at_rows()
                    seat.wanted.set()
                    self.record.viewers_left += 1
                    self._count_viewers(-1)
                    coming.start_soon(self._take_seat, seats, self._random.choice(names))

    async def _sample_always(self, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.sleep(SAMPLE_INTERVAL_S)
                sample = self._sample()
                if self.record.joined_at_s is not None and sample.snapshot.behind == 0:
                    self._caught_up.set()

    def _sample(self) -> Sample:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._count_viewers(0)
        sample = Sample(
            at_s=trio.current_time() - self._began_s,
            joined=self.record.viewers_now,
            joining=self.record.joining,
            snapshot=self._mass.snapshot(),
            tool_cpu_s=usage.ru_utime + usage.ru_stime,
            signaling_lag_ns=self._lag_ns,
            viewer_s=self._viewer_s,
            server=usage_of(self.options.watch_pids),
        )
        self._lag_ns = 0
        self.record.samples.append(sample)
        self._look_at_rows()
        return sample

    def _look_at_rows(self) -> None:
        """Note first keyframes of those who wait for one."""
        if not self._joined_at:
            return
        for row in self._mass.rows():
            began_ns = self._joined_at.get(row.client)
            if began_ns is not None and row.counts.first_keyframe_ns:
                self.record.keyframe_ns.append(row.counts.first_keyframe_ns - began_ns)
                del self._joined_at[row.client]

    def _begin_steady(self) -> None:
        self.record.steady_from = self._sample()
        self.record.latencies_before = self._mass.latencies()
        self.record.rows_before = self._mass.rows()

    def _end_steady(self) -> None:
        self._sample()
        self.record.latencies = self._mass.latencies()
        self.record.rows = self._mass.rows()

    async def _leave(self, seats: trio.Nursery) -> None:
        """Let everybody leave; who takes too long is cut off."""
        self._stop.set()
        with trio.move_on_after(LEAVE_S):
            for index, seat in enumerate([*reversed(self._viewers), *self._publishers]):
                seat.wanted.set()
                if index % 20 == 19:
                    await trio.sleep(0.02)
            if self._held_now > 0:
                self._all_left = trio.Event()
                await self._all_left.wait()
        seats.cancel_scope.cancel()

    async def _measure_lag(self) -> None:
        while True:
            due_s = trio.current_time() + LAG_INTERVAL_S
            await trio.sleep_until(due_s)
            self._lag_ns = max(self._lag_ns, int((trio.current_time() - due_s) * 1e9))


def _first(group: BaseExceptionGroup[LoadFailed]) -> LoadFailed:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LoadFailed)
    return error
