"""A drive: sets of clients that play a script at the same time, each set in a room of its own."""

from __future__ import annotations

import resource
import signal
from collections.abc import Sequence

import trio
from msgspec import Struct

from load.drive.clock import ScriptClock
from load.drive.peer import DrivenPeer
from load.drive.publication import prepare
from load.drive.stage import Difference, Stage
from load.drive.target import DriveFailed, Target, greet
from protocol.script import Figures, Publish, Script
from protocol.script_order import order_of

DIFFERENCES_MAX = 10_000
"""Differences that are kept; beyond that they are counted."""
SPARE_FILES = 64
_FILES_PER_CLIENT = 3


class Driven(Struct, kw_only=True):
    """What came of a drive."""

    rooms: tuple[str, ...]
    figures: tuple[dict[str, Figures], ...]
    """Of each room's clients, by their recorded ids."""
    differences: list[Difference]
    differences_in_all: int
    steps: int
    """Steps that were played."""
    steps_left_out: int
    """Steps about what could not be made, or of clients that were not let in."""
    took_s: float
    lag_ms_max: float
    """How late this machine was at worst: with more than a few hundred it was the bottleneck."""
    stopped: bool
    """Whether it was stopped before its end."""


class Drive:
    """Plays a script. `run` once; the counts may be looked at meanwhile."""

    def __init__(self, script: Script, target: Target, rooms: Sequence[str], speed: float) -> None:
        self.steps_in_all = script.steps * len(rooms)
        self.steps = 0
        """Played so far."""
        self._script = script
        self._target = target
        self._rooms = tuple(rooms)
        self._speed = speed
        self._differences: list[Difference] = []
        self._differences_in_all = 0
        self._scope = trio.CancelScope()
        self._stopped = False

    def stop(self) -> None:
        """End the drive early: all clients leave."""
        self._stopped = True
        self._scope.cancel()

    async def run(self, *, heed_signals: bool = False) -> Driven:
        """Drive to the end, or until `stop`. Raises `DriveFailed` if nothing can be driven.

        With `heed_signals`, SIGINT and SIGTERM stop it.
        """
        self._check_files()
        await greet(self._target)
        await trio.to_thread.run_sync(self._encode)
        clock = ScriptClock(self._speed)
        order = order_of(self._script)
        peers: list[list[DrivenPeer]] = []
        begun_s = trio.current_time()
        try:
            async with trio.open_nursery() as helpers:
                helpers.start_soon(clock.watch_lag)
                if heed_signals:
                    await helpers.start(self._heed_signals)
                with self._scope:
                    async with trio.open_nursery() as nursery:
                        for room in self._rooms:
                            stage = Stage(room, self._script, order, clock, self._note)
                            crew = [
                                DrivenPeer(part, stage, self._target) for part in self._script.peers
                            ]
                            peers.append(crew)
                            for peer in crew:
                                nursery.start_soon(peer.run, self._played)
                helpers.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failures = _leaves(group)
            fatal = next((one for one in failures if isinstance(one, DriveFailed)), None)
            if fatal is None:
                raise
            raise fatal from None
        return Driven(
            rooms=self._rooms,
            figures=tuple({peer.part.peer: peer.figures for peer in crew} for crew in peers),
            differences=self._differences,
            differences_in_all=self._differences_in_all,
            steps=self.steps,
            steps_left_out=sum(peer.steps_left_out for crew in peers for peer in crew),
            took_s=trio.current_time() - begun_s,
            lag_ms_max=clock.lag_s_max * 1e3,
            stopped=self._stopped,
        )

    def _encode(self) -> None:
        """Make all media beforehand: it takes long enough to hold up the clients."""
        for peer in self._script.peers:
            for step in peer.steps:
                if isinstance(step.action, Publish):
                    prepare(step.action.kind, step.action.mime_type, step.action.encodings)

    def _played(self) -> None:
        self.steps += 1

    def _note(self, difference: Difference) -> None:
        self._differences_in_all += 1
        if len(self._differences) < DIFFERENCES_MAX:
            self._differences.append(difference)

    def _check_files(self) -> None:
        clients = len(self._script.peers) * len(self._rooms)
        wanted = clients * _FILES_PER_CLIENT + SPARE_FILES
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if wanted > allowed:
            most = (allowed - SPARE_FILES) // (_FILES_PER_CLIENT * len(self._script.peers))
            raise DriveFailed(
                f"{clients} clients want {wanted} open files, and this process may have {allowed}: "
                f"raise `ulimit -n`, or drive --times {max(most, 0)}"
            )

    async def _heed_signals(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _number in signals:
                self.stop()
                return


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in group.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found
