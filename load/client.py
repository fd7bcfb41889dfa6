"""The signaling client: one WebSocket, many requests under way, notifications in order.

It speaks both subprotocols and types the answers. What a test wants to send
beyond the contract goes through `request` and `send_frame` as it is.

Notifications wait in an inbox of `INBOX_MAX`; a reader that is slower loses
the oldest, which `notifications_dropped` counts: answers never wait for it.
"""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import msgspec
import trio
from msgspec import Struct
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from protocol.answers import Consumed, IceRestarted, Joined, Produced, TransportCreated
from protocol.orders import Kind
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.signaling import MSGPACK, Subprotocol
from protocol.transport_parameters import DtlsParameters, IceParameters

INBOX_MAX = 4096
REQUEST_TIMEOUT_S = 10.0
CLOSED_BY_US = 0
"""Code of `SignalingClosed` where it was not the server who closed."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


class RequestRefused(Exception):
    """The server answered a request with an error; `code` is from its closed list."""

    def __init__(self, method: str, code: str, message: str) -> None:
        super().__init__(f"{method}: {code}: {message}")
        self.code = code


class SignalingClosed(Exception):
    """The socket is closed; `code` and `reason` are those of the WebSocket (RFC 6455, 7.1.5)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class MessageSocket(Protocol):
    """A WebSocket as far as the client needs it; both raise trio-websocket's `ConnectionClosed`."""

    _stream: trio.abc.Stream

    async def send_message(self, message: bytes | str) -> None:
        """Send a message."""
        ...

    async def get_message(self) -> bytes | str:
        """Wait for a message."""
        ...


class Notified(Struct, frozen=True):
    """A notification as it came; `position` is the log's, None for `welcome`."""

    event: str
    data: dict[str, Any] = {}
    position: int | None = None


class _Waiting:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.frame: dict[str, Any] | None = None


class SignalingClient:
    """A peer's side of the signaling contract; made by `connect`."""

    def __init__(self, socket: MessageSocket, subprotocol: Subprotocol) -> None:
        self.welcome: dict[str, Any] = {}
        self.position = 0
        """The highest position heard so far: what `resume` asks to continue from."""
        self.notifications_dropped = 0
        self.joined: Joined | None = None
        self._socket = socket
        self._subprotocol = subprotocol
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._inbox: deque[Notified] = deque(maxlen=INBOX_MAX)
        self._news = trio.Event()
        self._ended = trio.Event()
        self._closed: SignalingClosed | None = None

    async def request(
        self,
        method: str,
        data: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer's data.

        Raises `RequestRefused`, `SignalingClosed`, `trio.TooSlowError`.
        """
        request_id = next(self._ids)
        waiting = self._waiting[request_id] = _Waiting()
        frame = {"id": request_id, "method": method, "data": dict(data or {})}
        try:
            with trio.fail_after(timeout_s):
                await self.send_frame(self._encode(frame))
                await waiting.done.wait()
        finally:
            del self._waiting[request_id]
        if waiting.frame is None:
            assert self._closed is not None
            raise self._closed
        if waiting.frame.get("ok") is not True:
            error = waiting.frame.get("error") or {}
            raise RequestRefused(method, error.get("code", ""), error.get("message", ""))
        answer: dict[str, Any] = waiting.frame.get("data") or {}
        return answer

    async def send_frame(self, frame: bytes | str) -> None:
        """Send a frame as it is. Raises `SignalingClosed`."""
        try:
            await self._socket.send_message(frame)
        except ConnectionClosed as error:
            raise self._closing(error) from error

    async def next_notification(self) -> Notified:
        """Wait for the next notification. Raises `SignalingClosed` once all are read."""
        while not self._inbox:
            if self._closed is not None:
                raise self._closed
            if self._news.is_set():
                self._news = trio.Event()
            await self._news.wait()
        return self._inbox.popleft()

    async def wait_for(
        self, event: str, *, timeout_s: float = REQUEST_TIMEOUT_S, **fields: Any
    ) -> Notified:
        """Wait for a notification whose data has these fields, and drop those before it.

        Raises `trio.TooSlowError`, `SignalingClosed`.
        """
        with trio.fail_after(timeout_s):
            while True:
                notified = await self.next_notification()
                if notified.event == event and fields.items() <= notified.data.items():
                    return notified

    async def abandon(self) -> None:
        """Break the connection without a goodbye, as a network does."""
        await trio.aclose_forcefully(self._socket._stream)

    async def wait_closed(self) -> SignalingClosed:
        """Wait until the socket is closed and say why; notifications stay to be read."""
        await self._ended.wait()
        assert self._closed is not None
        return self._closed

    async def join(
        self,
        room: str,
        *,
        name: str | None = None,
        token: str | None = None,
        create: bool | None = None,
    ) -> Joined:
        """Enter a room."""
        data = {"room": room, "name": name, "token": token, "create": create}
        return self._enter(await self.request("join", _present(data)))

    async def resume(self, session: str, position: int) -> Joined:
        """Come back into a session on this new socket, having heard all up to `position`."""
        answer = await self.request("resume", {"session": session, "position": position})
        return self._enter(answer)

    async def leave(self) -> None:
        """Leave the room for good."""
        await self.request("leave")

    async def create_transport(self, direction: Literal["send", "recv"]) -> TransportCreated:
        """Make a transport."""
        answer = await self.request("createTransport", {"direction": direction})
        return msgspec.convert(answer, TransportCreated)

    async def connect_transport(self, transport: str, dtls_parameters: DtlsParameters) -> None:
        """State our DTLS parameters."""
        data = {"transport": transport, "dtlsParameters": msgspec.to_builtins(dtls_parameters)}
        await self.request("connectTransport", data)

    async def restart_ice(self, transport: str) -> IceParameters:
        """Ask for new ICE credentials of the server."""
        answer = await self.request("restartIce", {"transport": transport})
        return msgspec.convert(answer, IceRestarted).ice_parameters

    async def produce(
        self,
        transport: str,
        kind: Kind,
        rtp_parameters: RtpParameters,
        *,
        app_data: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish; returns the producer's id."""
        data = {
            "transport": transport,
            "kind": kind,
            "rtpParameters": msgspec.to_builtins(rtp_parameters),
            "appData": None if app_data is None else dict(app_data),
        }
        return msgspec.convert(await self.request("produce", _present(data)), Produced).id

    async def consume(
        self, transport: str, producer: str, rtp_capabilities: RtpCapabilities
    ) -> Consumed:
        """Watch a producer; it starts paused."""
        data = {
            "transport": transport,
            "producer": producer,
            "rtpCapabilities": msgspec.to_builtins(rtp_capabilities),
        }
        return msgspec.convert(await self.request("consume", data), Consumed)

    async def resume_consumer(self, consumer: str) -> None:
        """Let a consumer's media flow."""
        await self.request("resumeConsumer", {"consumer": consumer})

    def _enter(self, answer: dict[str, Any]) -> Joined:
        joined = msgspec.convert(answer, Joined)
        self.joined = joined
        return joined

    async def _read(self) -> None:
        """Sort what comes in until the socket closes."""
        try:
            while True:
                self._handle(self._decode(await self._socket.get_message()))
        except ConnectionClosed as error:
            self._closed = self._closing(error)
        finally:
            if self._closed is None:
                self._closed = SignalingClosed(CLOSED_BY_US, "closed by us")
            self._news.set()
            self._ended.set()
            for waiting in self._waiting.values():
                waiting.done.set()

    def _handle(self, frame: dict[str, Any]) -> None:
        if "event" not in frame:
            waiting = self._waiting.get(frame.get("id", 0))
            if waiting is not None:
                waiting.frame = frame
                waiting.done.set()
            return
        notified = msgspec.convert(frame, Notified)
        if notified.event == "welcome":
            self.welcome = notified.data
        if notified.position is not None:
            self.position = max(self.position, notified.position)
        self.notifications_dropped += len(self._inbox) == INBOX_MAX
        self._inbox.append(notified)
        self._news.set()

    def _encode(self, frame: dict[str, Any]) -> bytes | str:
        if self._subprotocol == MSGPACK:
            return msgspec.msgpack.encode(frame)
        return msgspec.json.encode(frame).decode()

    def _decode(self, message: bytes | str) -> dict[str, Any]:
        if isinstance(message, bytes):
            return msgspec.msgpack.decode(message, type=dict[str, Any])
        return msgspec.json.decode(message, type=dict[str, Any])

    @staticmethod
    def _closing(error: ConnectionClosed) -> SignalingClosed:
        reason = error.reason
        if reason is None:
            return SignalingClosed(1006, "lost")
        return SignalingClosed(reason.code, reason.reason or "")


@asynccontextmanager
async def connect(
    url: str,
    *,
    subprotocol: Subprotocol = "reprise.v1.msgpack",
    ssl_context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> AsyncIterator[SignalingClient]:
    """Connect to a server's signaling port and wait for its `welcome`.

    `url` is `ws://…` or `wss://…`. Raises `SignalingClosed` when the server
    closes before it, and what trio-websocket raises when it can't be reached.
    """
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    async with (
        _stream_closed() as opened,
        open_websocket_url(
            url,
            ssl_context,
            subprotocols=[subprotocol],
            extra_headers=extra,
            max_message_size=MESSAGE_BYTES_MAX,
            connect_timeout=timeout_s,
        ) as socket,
    ):
        opened.append(socket)
        client = SignalingClient(socket, subprotocol)
        async with attended(client, timeout_s):
            yield client


@asynccontextmanager
async def attended(client: SignalingClient, timeout_s: float) -> AsyncIterator[None]:
    """Read for a client as long as the block lasts, which begins with its `welcome`."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client._read)
        try:
            await client.wait_for("welcome", timeout_s=timeout_s)
            yield
        except Exception as error:  # noqa: BLE001 - raised below, not in an ExceptionGroup
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _stream_closed() -> AsyncIterator[list[WebSocketConnection]]:
    """Close the streams of what is appended, at last.

    trio-websocket leaves them to the garbage collector when the peer closed first.
    """
    opened: list[WebSocketConnection] = []
    try:
        yield opened
    finally:
        for socket in opened:
            await trio.aclose_forcefully(socket._stream)


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
