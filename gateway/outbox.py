"""Frames that wait to be sent to one client: bounded, written by one task.

Sizes are those of `len`: bytes, or characters of a text frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

FRAMES_MAX = 4096


class Outbox:
    """Bounded queue of frames.

    `put` never waits: when the client reads too slowly the queue fills, and the caller closes the
    socket, since a sender that waited would stall the room. `wait_space` is for those who can wait.
    """

    def __init__(self, bytes_max: int, frames_max: int = FRAMES_MAX) -> None:
        self._bytes_max = bytes_max
        self._frames_max = frames_max
        self._frames: deque[bytes | str] = deque()
        self._bytes = 0
        self._sending = False
        self._failed = False
        self._closed = False
        self._changed = trio.Event()

    def put(self, frame: bytes | str) -> bool:
        """Queue a frame; False, with nothing queued, when that would exceed a bound.

        After `close` or `drop` frames are lost without a word.
        """
        if self._closed:
            return True
        if len(self._frames) >= self._frames_max or self._bytes + len(frame) > self._bytes_max:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._notify()
        return True

    def close(self) -> None:
        """Take no more; what waits is still sent."""
        self._closed = True
        self._notify()

    def drop(self) -> None:
        """Take no more, and forget what waits."""
        self._frames.clear()
        self._bytes = 0
        self.close()

    async def wait_space(self) -> None:
        """Wait until the queue is at most half full."""
        while not self._closed and (
            len(self._frames) > self._frames_max // 2 or self._bytes > self._bytes_max // 2
        ):
            await self._changed.wait()

    async def wait_sent(self) -> None:
        """Wait until nothing waits any more and no frame is under way, or the writer failed."""
        while (self._frames or self._sending) and not self._failed:
            await self._changed.wait()

    @property
    def half_sent(self) -> bool:
        """Whether a frame is under way, or its writer was stopped in the middle of it."""
        return self._sending

    async def write(self, send: Callable[[bytes | str], Awaitable[None]]) -> None:
        """Send frames in order, until the outbox is closed and empty. Run by one task.

        Raises what `send` raises; nothing is sent after that.
        """
        while True:
            while not self._frames:
                if self._closed:
                    return
                await self._changed.wait()
            frame = self._frames.popleft()
            self._bytes -= len(frame)
            self._sending = True
            try:
                await send(frame)
            except Exception:
                self._failed = True
                self._notify()
                raise
            self._sending = False
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
