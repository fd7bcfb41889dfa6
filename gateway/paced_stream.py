"""A client's byte stream that cannot be made to bring more than it should.

What a WebSocket message costs us is bounded by its size; what control frames, empty fragments and
a slow handshake cost is bounded here, by bytes. A client that sends faster than its rate is read
more slowly, so TCP slows it down.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from gateway.rate import TokenBucket

RECEIVE_BYTES = 16_384
IDLE_BYTES_PER_SECOND = 64
"""What a client may send beside its messages, such as its own pings, for as long as it likes."""


class PacedStream(trio.abc.Stream):
    """Wraps a stream; reads at most `bytes_per_second` of it, after a burst.

    `on_end` is called once when no more comes: the other side closed, or this one did. Between two
    `message_came` calls at most `silence_bytes_max` are read, plus an idle rate: then the stream
    counts as ended, since its client sends what never becomes a message.

    `aclose` is for the WebSocket library, which closes TCP as it sees fit: it only ends reading and
    writing. Who owns the connection may still `send_last` and `discard`, and calls `end`.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        bytes_per_second: int,
        burst_bytes: int,
        silence_bytes_max: int,
    ) -> None:
        now_s = trio.current_time()
        self._stream = stream
        self._bucket = TokenBucket(bytes_per_second, burst_bytes, now_s)
        self._silence_bytes_max = silence_bytes_max
        self._silence = TokenBucket(IDLE_BYTES_PER_SECOND, silence_bytes_max, now_s)
        self._reading = trio.CancelScope()
        self._idle = trio.Event()
        self._idle.set()
        self._ended = False
        self._closed = False
        self._writing = trio.Lock()
        self.on_end: Callable[[], None] | None = None

    def message_came(self) -> None:
        """A whole message was read."""
        self._silence = TokenBucket(
            IDLE_BYTES_PER_SECOND, self._silence_bytes_max, trio.current_time()
        )

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read some bytes; none when the stream has ended."""
        if self._ended:
            await trio.lowlevel.checkpoint()
            return b""
        self._idle = trio.Event()
        try:
            with trio.CancelScope() as self._reading:
                data = await self._stream.receive_some(max_bytes or RECEIVE_BYTES)
                now_s = trio.current_time()
                if data and self._silence.take(now_s, len(data)):
                    await self._pay(now_s, len(data))
                    return bytes(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise
        finally:
            self._idle.set()
        self._end()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as the wrapped stream does, but any number of tasks may: each sends whole.

        Raises `trio.ClosedResourceError` and `trio.BrokenResourceError`.
        """
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            if self._closed:
                raise trio.ClosedResourceError
            await self._stream.send_all(data)
        finally:
            self._writing.release()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait, as the wrapped stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Read and write no more. The wrapped stream stays open until `end`."""
        self._closed = True
        self._reading.cancel()
        self._end()
        await self._idle.wait()

    async def send_last(self, data: bytes) -> None:
        """Send something after `aclose`. Raises what the wrapped stream raises."""
        await self._stream.send_all(data)

    async def discard(self) -> None:
        """Say that nothing more comes, then read and forget until the other side has closed.

        Closing TCP over unread bytes would take back what the client has not read of ours.
        """
        await self.aclose()
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                await self._pay(trio.current_time(), len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def end(self) -> None:
        """Close the wrapped stream."""
        self._closed = True
        self._end()
        await self._stream.aclose()

    async def _pay(self, now_s: float, received: int) -> None:
        debt_s = self._bucket.spend(now_s, received)
        if debt_s > 0:
            await trio.sleep(debt_s)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            if self.on_end is not None:
                self.on_end()
