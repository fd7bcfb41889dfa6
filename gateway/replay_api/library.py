"""The event log as HTTP asks for it: bounded in time, memory, threads and processes.

Blocking work runs in a few threads of its own, so that however many look at sessions, the rest of
the server goes on. Indexes of long logs are built by a process of its own. Nothing is ever written
but caches.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
import trio

from protocol.store_error import StoreError
from replay.errors import ReplayError
from replay.explain import quoted
from replay.fold import event_of
from replay.history import History
from replay.instant import Place
from replay.reader import LogReader
from replay.snapshots import Snapshots
from replay.store.errors import LogDamaged
from replay.timeline import cache
from replay.timeline.cursor import Cursor, Shown
from replay.timeline.index import TimelineIndex

THREADS = 2
INLINE_ENVELOPES = 5_000
"""A gap of an index up to this is closed at once; a larger one by a process."""
ROOMS_KEPT = 32
POSITIONS_KEPT = 6_000_000
"""Positions in the indexes that are kept in memory, about 25 bytes each."""
CURSORS_KEPT = 4
FOLLOWERS_MAX = 64
EXPECTED_MAX = 4
"""Rooms whose page was just opened; of more, nothing is made ready."""
END_FRESH_S = 0.2
_T = TypeVar("_T")
_log = structlog.get_logger()


class TooManyFollowers(Exception):
    """As many follow live sessions as may."""


class Shelf:
    """What is kept of one room between requests. `lock` guards all of it."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.index = TimelineIndex(room)
        self.names: dict[str, str] = {}
        """Of peers, by the key of their lane; as far as the index is."""
        self.lock = trio.Lock()
        self.loaded = False
        self.building = False
        self.failed: str | None = None
        self._named = 0

    def take(self, reader: LogReader, *, up_to: int) -> None:
        """Bring the index to a position, or to where damage begins, and learn names. Blocks."""
        index = self.index
        try:
            for batch in reader.batches(self.room, index.position, up_to):
                for envelope in batch:
                    index.take(envelope)
        except LogDamaged as damage:
            self.failed = str(damage)

    def learn_names(self, reader: LogReader) -> None:
        """Read the names of peers that came since. Blocks."""
        lanes = self.index.lanes[self._named :]
        self._named = len(self.index.lanes)
        joined = {lane.joined: lane.key for lane in lanes if lane.joined}
        for envelope in reader.revealer.envelopes(reader.some(self.room, joined)):
            self.names[joined[envelope.position]] = quoted(event_of(envelope).name)


class Library:
    """The sessions of a data directory. `run` must run beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._limiter = trio.CapacityLimiter(THREADS)
        self._readers: list[LogReader] = []
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._cursors: OrderedDict[tuple[str, str], tuple[trio.Lock, Cursor]] = OrderedDict()
        self._ends: OrderedDict[str, tuple[float, Place, LogDamaged | None]] = OrderedDict()
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._want = trio.Event()
        self._followers = 0
        self._expect, self._expected = trio.open_memory_channel[str](EXPECTED_MAX)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Build the indexes that are wanted, one at a time, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_ready)
                task_status.started()
                while True:
                    await self._want.wait()
                    self._want = trio.Event()
                    while self._wanted:
                        room, _ = self._wanted.popitem(last=False)
                        await self._build(room)
        finally:
            for reader in self._readers:
                reader.close()
            self._readers.clear()

    def expect(self, room: str) -> None:
        """Say that a room will be asked for in a moment: what answers take long is made ready."""
        with suppress(trio.WouldBlock):
            self._expect.send_nowait(room)

    async def _make_ready(self) -> None:
        async for room in self._expected:
            with suppress(StoreError, ReplayError):  # whoever asks will be told
                await self.shelf(room)

    async def read(self, work: Callable[[LogReader], _T]) -> _T:
        """Do blocking work with a reader in a thread. Raises what the work does."""

        def with_reader() -> _T:
            reader = self._readers.pop() if self._readers else LogReader(self.directory)
            try:
                found = work(reader)
            except BaseException:
                reader.close()
                raise
            self._readers.append(reader)
            return found

        return await trio.to_thread.run_sync(with_reader, limiter=self._limiter)

    async def end(self, room: str) -> tuple[Place, LogDamaged | None]:
        """The end of a room's log, at most `END_FRESH_S` old. Raises `UnknownRoom`."""
        known = self._ends.get(room)
        now = trio.current_time()
        if known is not None and now - known[0] < END_FRESH_S:
            return known[1], known[2]
        place, damage = await self.read(lambda reader: reader.end(room))
        self._ends[room] = (now, place, damage)
        self._ends.move_to_end(room)
        while len(self._ends) > ROOMS_KEPT * 2:
            self._ends.popitem(last=False)
        return place, damage

    async def shelf(self, room: str) -> Shelf:
        """The index of a room as far as it is now; more is on its way while it is `building`.

        Raises `UnknownRoom`.
        """
        end, damage = await self.end(room)
        shelf = self._shelves.get(room)
        if shelf is None:
            shelf = self._shelves[room] = Shelf(room)
        self._shelves.move_to_end(room)
        async with shelf.lock:
            if damage is not None:
                shelf.failed = str(damage)
            if not shelf.loaded:
                await self._load(shelf)
            gap = end.position - shelf.index.position
            if 0 < gap <= INLINE_ENVELOPES and not shelf.building:
                await self.read(partial(shelf.take, up_to=end.position))
            elif gap > INLINE_ENVELOPES and not (shelf.building or shelf.failed):
                shelf.building = True
                self._wanted[room] = None
                self._want.set()
            await self.read(shelf.learn_names)
        self._forget()
        return shelf

    async def ask(self, shelf: Shelf, question: Callable[[TimelineIndex], _T]) -> _T:
        """Put a question to an index, in a thread."""
        async with shelf.lock:
            return await trio.to_thread.run_sync(question, shelf.index, limiter=self._limiter)

    async def state(
        self, room: str, viewer: str, position: int, since: int | None, tell: Callable[[Shown], _T]
    ) -> _T:
        """Tell of the state at a position. Each `viewer` (a page) has a cursor of its own."""
        key = (room, viewer)
        if key not in self._cursors:
            self._cursors[key] = (trio.Lock(), Cursor())
        self._cursors.move_to_end(key)
        lock, cursor = self._cursors[key]
        while len(self._cursors) > CURSORS_KEPT:
            self._cursors.popitem(last=False)

        def look(reader: LogReader) -> _T:
            with Snapshots(self.directory) as snapshots:
                return tell(cursor.at(History(reader, room, snapshots), position, since))

        async with lock:
            return await self.read(look)

    async def follow(self, room: str, after: int, wait_s: float) -> Place:
        """Wait until a log is longer than `after`, or for so long; give its end.

        Raises `TooManyFollowers`, `UnknownRoom`.
        """
        if self._followers >= FOLLOWERS_MAX:
            raise TooManyFollowers
        self._followers += 1
        try:
            deadline = trio.current_time() + wait_s
            while True:
                place, _ = await self.end(room)
                if place.position > after or trio.current_time() >= deadline:
                    return place
                await trio.sleep(END_FRESH_S)
        finally:
            self._followers -= 1

    def forget_names(self, room: str) -> None:
        """Keep nothing that was revealed of a room; it is read anew. For a person forgotten."""
        self._shelves.pop(room, None)
        for key in [key for key in self._cursors if key[0] == room]:
            del self._cursors[key]

    async def _load(self, shelf: Shelf) -> None:
        found = await self.read(lambda reader: cache.load(self.directory, shelf.room, reader))
        if found is not None and found.position > shelf.index.position:
            shelf.index = found
        shelf.loaded = True

    async def _build(self, room: str) -> None:
        """Run the builder, and take over what it has written down meanwhile and in the end."""
        shelf = self._shelves.get(room)
        if shelf is None:
            return
        command = [sys.executable, "-m", "replay.timeline.build", str(self.directory), room]
        env = {name: text for name, text in os.environ.items() if name != "REPRISE_SECRET"}
        path = cache.path_of(self.directory, room)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, shelf, path)
                done = await trio.run_process(
                    command, check=False, capture_stdout=True, capture_stderr=True, env=env
                )
                nursery.cancel_scope.cancel()
            if done.returncode:
                shelf.failed = done.stderr.decode(errors="replace").strip()[-300:]
                _log.warning("timeline_not_built", room=room, error=shelf.failed)
            await self._reload(shelf)
            await self._look_behind(shelf)
        finally:
            shelf.building = False

    async def _look_behind(self, shelf: Shelf) -> None:
        """See whether damage is why the index ends where it does."""
        try:
            end, _ = await self.end(shelf.room)
            async with shelf.lock:
                if shelf.index.position < end.position:
                    await self.read(partial(shelf.take, up_to=shelf.index.position + 1))
        except StoreError as error:
            shelf.failed = str(error)

    async def _watch(self, shelf: Shelf, path: Path) -> None:
        seen = 0
        while True:
            await trio.sleep(0.25)
            try:
                stamp = (await trio.Path(path).stat()).st_mtime_ns
            except OSError:
                continue
            if stamp != seen:
                seen = stamp
                await self._reload(shelf)

    async def _reload(self, shelf: Shelf) -> None:
        try:
            async with shelf.lock:
                await self._load(shelf)
                await self.read(shelf.learn_names)
        except StoreError as error:
            shelf.failed = str(error)

    def _forget(self) -> None:
        kept = sum(shelf.index.position for shelf in self._shelves.values())
        while len(self._shelves) > 1 and (len(self._shelves) > ROOMS_KEPT or kept > POSITIONS_KEPT):
            room, shelf = next(iter(self._shelves.items()))
            if shelf.building:
                return
            kept -= shelf.index.position
            del self._shelves[room]

    def progress(self, shelf: Shelf, end: int) -> dict[str, Any]:
        """How far the index is, for a page."""
        return {
            "indexed": shelf.index.position,
            "building": shelf.building,
            "failed": shelf.failed,
            "end": end,
        }
