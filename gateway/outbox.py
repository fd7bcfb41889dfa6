"""Frames that wait to be sent to one client: bounded, written by one task.

Sizes are those of `len`: bytes, or characters of a text frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from gateway.pace import Pace

FRAMES_MAX = 4096
BATCH_BYTES_MAX = 64 * 1024
"""A batch of frames is closed once it holds this much; a single frame may be larger."""

Frame = bytes | str
Send = Callable[[Sequence[Frame]], Awaitable[None]]


class Outbox:
    """Bounded queue of frames.

    `put` never waits: when the client reads too slowly the queue fills, and the caller closes the
    socket, since a sender that waited would stall the room. `wait_space` is for those who can wait.
    What is not urgent waits for its turn at the `pace` that all outboxes share.
    """

    def __init__(
        self, bytes_max: int, frames_max: int = FRAMES_MAX, *, pace: Pace | None = None
    ) -> None:
        self._bytes_max = bytes_max
        self._frames_max = frames_max
        self._pace = pace
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._due = False
        """The writer may go on: what waits is urgent, or its turn has come."""
        self._sending = False
        self._failed = False
        self._closed = False
        self._lot = trio.lowlevel.ParkingLot()

    def put(self, frame: Frame, *, urgent: bool = True) -> bool:
        """Queue a frame; False, with nothing queued, when that would exceed a bound.

        An urgent one is sent at once, with all that waits before it. After `close` or `drop`
        frames are lost without a word.
        """
        if self._closed:
            return True
        if len(self._frames) >= self._frames_max or self._bytes + len(frame) > self._bytes_max:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        if urgent or self._pace is None:
            self.flush()
        elif not self._due:
            self._pace.note(self.flush)
        return True

    def flush(self) -> None:
        """Have what waits sent now."""
        self._due = bool(self._frames)
        self._lot.unpark_all()

    def close(self) -> None:
        """Take no more; what waits is still sent."""
        self._closed = True
        self.flush()

    def drop(self) -> None:
        """Take no more, and forget what waits."""
        self._frames.clear()
        self._bytes = 0
        self.close()

    async def wait_space(self, size: int = 0) -> None:
        """Wait until the queue is at most half full and takes a frame of that size.

        One that is larger than the whole queue may hold is never taken; that is known at once.
        """
        if size > self._bytes_max:
            return
        bytes_max = min(self._bytes_max // 2, self._bytes_max - size)
        while not self._closed and (
            len(self._frames) > self._frames_max // 2 or self._bytes > bytes_max
        ):
            await self._lot.park()

    async def wait_sent(self) -> None:
        """Wait until nothing waits any more and no frame is under way, or the writer failed."""
        while (self._frames or self._sending) and not self._failed:
            await self._lot.park()

    @property
    def half_sent(self) -> bool:
        """Whether a frame is under way, or its writer was stopped in the middle of it."""
        return self._sending

    async def write(self, send: Send) -> None:
        """Send frames in order, many at once, until the outbox is closed and empty. One task.

        Raises what `send` raises; nothing is sent after that.
        """
        while True:
            while not (self._frames and (self._due or self._closed)):
                if self._closed:
                    return
                await self._lot.park()
            batch = self._take_batch()
            self._sending = True
            try:
                await send(batch)
            except Exception:
                self._failed = True
                self._lot.unpark_all()
                raise
            self._sending = False
            self._lot.unpark_all()

    def _take_batch(self) -> list[Frame]:
        batch: list[Frame] = []
        size = 0
        while self._frames and size < BATCH_BYTES_MAX:
            frame = self._frames.popleft()
            size += len(frame)
            batch.append(frame)
        self._bytes -= size
        self._due = bool(self._frames)
        return batch
