"""One client's WebSocket from its welcome to its end: reading, writing, pinging, closing.

The order at the end: no more is read and no request goes on; what waits to be sent is sent, within
bounds; the close frame says why; the client has a moment to answer it. Who called `run` closes TCP.

Messages go past the WebSocket library onto the stream, many frames at once: a server's frames are
not masked, so a notification is the same bytes for all who are told, and a room of a thousand can
be told something for the price of a thousand system calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import structlog
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from gateway.outbox import Frame, Outbox
from gateway.paced_stream import PacedStream
from gateway.session import House, Session
from protocol.signaling import CloseCode, Subprotocol, encode

FLUSH_S = 5.0
"""How long a client has to read what waits for it when its socket is closed by us."""
CLOSE_S = 2.0
"""How long it has to answer the close frame."""
REASON_CHARACTERS_MAX = 120
"""What fits into a close frame (RFC 6455, 5.5); our reasons are ASCII."""

_OURS = frozenset({1002, 1007, 1009})
"""Codes with which the library ends a connection by itself, in the middle of what the client sends:
frames that break RFC 6455, of which it tells us and not the client, and messages too large."""

_log = structlog.get_logger()


class Connection:
    """Runs one socket. `close` may be called at any time, by anyone, any number of times."""

    def __init__(
        self,
        *,
        name: str,
        websocket: WebSocketConnection,
        stream: PacedStream,
        subprotocol: Subprotocol,
        house: House,
        version: str,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.name = name
        self._websocket = websocket
        self._stream = stream
        self._subprotocol: Subprotocol = subprotocol
        self._house = house
        self._version = version
        self._is_stopping = is_stopping
        self._outbox = Outbox(house.limits.outbox_bytes_max, pace=house.pace)
        self._ending = trio.Event()
        self._end: tuple[CloseCode, str] | None = None

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the socket soon. The first reason counts."""
        if self._end is None:
            if code is CloseCode.NORMAL and self._is_stopping():
                code, reason = CloseCode.GOING_AWAY, "the server stops"
            self._end = (code, reason)
        if code is CloseCode.TOO_SLOW:
            self._outbox.drop()
        else:
            self._outbox.close()
        self._ending.set()

    async def run(self) -> None:
        """Serve the socket until it has ended. Raises nothing that a client did."""
        async with trio.open_nursery() as nursery:
            session = await self._serve(nursery)
            session.lose(None if self._end is None else self._end[0])
            with trio.move_on_after(FLUSH_S):
                await self._outbox.wait_sent()
            nursery.cancel_scope.cancel()
        await self._say_goodbye()

    async def _serve(self, nursery: trio.Nursery) -> Session:
        """Let the client talk until someone closes; then no request goes on any more."""
        nursery.start_soon(self._write)
        session: Session | None = None
        try:
            async with trio.open_nursery() as talking:
                session = Session(
                    name=self.name,
                    house=self._house,
                    subprotocol=self._subprotocol,
                    outbox=self._outbox,
                    nursery=talking,
                    close=self.close,
                )
                self._outbox.put(self._welcome())
                talking.start_soon(self._read, session)
                talking.start_soon(self._ping, session)
                talking.start_soon(self._await_joining, session)
                await self._ending.wait()
                talking.cancel_scope.cancel()
        except BaseException:
            if session is not None:
                session.lose()
            raise
        return session

    async def _read(self, session: Session) -> None:
        while True:
            try:
                frame = await self._websocket.get_message()
            except ConnectionClosed:
                self._lost()
                return
            self._stream.message_came()
            session.handle_frame(frame)

    async def _write(self) -> None:
        try:
            await self._outbox.write(self._send)
        except (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            self._lost()

    async def _send(self, frames: Sequence[Frame]) -> None:
        """Send messages, unless a close frame went before them."""
        if self._websocket.closed is not None:
            raise ConnectionClosed(self._websocket.closed)
        await self._stream.send_all(b"".join(map(_data_frame, frames)))

    async def _ping(self, session: Session) -> None:
        limits = self._house.limits
        while True:
            await trio.sleep(limits.ping_interval_s)
            session.check_place()
            try:
                with trio.move_on_after(limits.ping_timeout_s) as waiting:
                    await self._websocket.ping()
            except ConnectionClosed:
                self._lost()
                return
            if waiting.cancelled_caught:
                self.close(CloseCode.IDLE, "pings went unanswered")

    async def _await_joining(self, session: Session) -> None:
        with trio.move_on_after(self._house.limits.join_timeout_s) as waiting:
            await session.joined.wait()
        if waiting.cancelled_caught:
            self.close(CloseCode.IDLE, "nobody joined in time")

    def _lost(self) -> None:
        """The client closed, or it is gone: nothing more can be sent."""
        self._outbox.drop()
        self.close(CloseCode.NORMAL, "")

    async def _say_goodbye(self) -> None:
        """Send the close frame, unless one was sent or half of another frame stands before it."""
        code, reason = self._end or (CloseCode.INTERNAL_ERROR, "")
        peer_said = self._websocket.closed
        _log.info(
            "socket_closed",
            socket=self.name,
            code=int(code if peer_said is None else peer_said.code),
            reason=reason if peer_said is None else "by the client",
        )
        with trio.move_on_after(CLOSE_S):
            if not self._outbox.half_sent:
                await self._websocket.aclose(int(code), reason[:REASON_CHARACTERS_MAX])
            if peer_said is not None and peer_said.code in _OURS:
                if peer_said.code != CloseCode.TOO_LARGE:
                    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await self._stream.send_last(_close_frame(peer_said.code))
                await self._stream.discard()

    def _welcome(self) -> bytes | str:
        limits = self._house.limits
        return encode(
            self._subprotocol,
            {
                "event": "welcome",
                "position": 0,
                "data": {
                    "server": "reprise",
                    "version": self._version,
                    "limits": {
                        "messageBytesMax": limits.message_bytes_max,
                        "requestsPerSecondMax": limits.requests_per_second_max,
                        "requestsBurstMax": limits.requests_burst_max,
                        "requestsPendingMax": limits.requests_pending_max,
                        "bytesPerSecondMax": limits.bytes_per_second_max,
                        "joinTimeoutMs": limits.join_timeout_s * 1000,
                        "pingIntervalMs": limits.ping_interval_s * 1000,
                    },
                },
            },
        )


def _data_frame(message: Frame) -> bytes:
    """A whole message as a server frames it (RFC 6455, 5.2)."""
    text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    length = len(payload)
    opcode = b"\x81" if text else b"\x82"
    if length < 126:
        return opcode + length.to_bytes(1) + payload
    if length < 65_536:
        return opcode + b"\x7e" + length.to_bytes(2) + payload
    return opcode + b"\x7f" + length.to_bytes(8) + payload


def _close_frame(code: int) -> bytes:
    """A close frame without a reason (RFC 6455, 5.5.1)."""
    return b"\x88\x02" + code.to_bytes(2)
