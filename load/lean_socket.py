"""A WebSocket client (RFC 6455) that costs a load tester little: many frames a read, few a task.

It has of `trio_websocket.WebSocketConnection` what `SignalingClient` needs. It
offers no extensions. Messages that begin like one of `skipped` are dropped
before anybody decodes them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from trio_websocket import CloseReason, ConnectionClosed

READ_BYTES = 65_536
HEAD_BYTES_MAX = 16_384
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class HandshakeRefused(Exception):
    """What answered does not open a WebSocket for us; the message says what it did."""


class LeanSocket:
    """One connection; made by `open_lean_socket`."""

    def __init__(self, stream: trio.abc.Stream, rest: bytes, skipped: tuple[bytes, ...]) -> None:
        self.messages_skipped = 0
        self._stream = stream
        self._skipped = skipped
        self._buffer = bytearray(rest)
        self._messages: deque[bytes | str] = deque()
        self._fragments: list[bytes] = []
        self._fragments_opcode = _BINARY
        self._send_lock = trio.Lock()
        self._closed: CloseReason | None = None

    async def send_message(self, message: bytes | str) -> None:
        """Send a binary or a text message. Raises `ConnectionClosed`."""
        if isinstance(message, str):
            await self._send(_TEXT, message.encode())
        else:
            await self._send(_BINARY, message)

    async def get_message(self) -> bytes | str:
        """Wait for the next message. Raises `ConnectionClosed`."""
        while not self._messages:
            if self._closed is not None:
                raise ConnectionClosed(self._closed)
            await self._take_frames()
            if self._messages or self._closed is not None:
                continue
            try:
                chunk = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                chunk = b""
            if not chunk:
                raise ConnectionClosed(None)
            self._buffer += chunk
        return self._messages.popleft()

    async def aclose(self) -> None:
        """Say goodbye, and close the stream without waiting for the other side's."""
        if self._closed is None:
            with trio.move_on_after(CLOSE_TIMEOUT_S), contextlib.suppress(ConnectionClosed):
                await self._send(_CLOSE, (1000).to_bytes(2, "big"))
        await trio.aclose_forcefully(self._stream)

    async def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 65_536:
            head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
        mask = secrets.token_bytes(4)
        stretched = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        masked = (int.from_bytes(payload, "big") ^ stretched).to_bytes(length, "big")
        async with self._send_lock:
            try:
                await self._stream.send_all(head + mask + masked)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ConnectionClosed(self._closed) from None

    async def _take_frames(self) -> None:
        """Take all whole frames out of the buffer."""
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            first, length = buffer[at], buffer[at + 1]
            start = at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if length > 127 or len(buffer) < start + size:
                    break
                length = int.from_bytes(buffer[start : start + size], "big")
                start += size
            if length > MESSAGE_BYTES_MAX:
                self._closed = CloseReason(1009, "a message over the limit")
                break
            if len(buffer) < start + length:
                break
            at = start + length
            if first == 0x80 | _BINARY and buffer.startswith(self._skipped, start, at):
                self.messages_skipped += 1
                continue
            await self._take_frame(first, bytes(buffer[start:at]))
            if self._closed is not None:
                break
        del buffer[:at]
        if len(buffer) >= 2 and buffer[1] & 0x80:
            self._closed = CloseReason(1002, "a server's frame is masked")

    async def _take_frame(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode in (_TEXT, _BINARY, _CONTINUATION):
            if opcode != _CONTINUATION:
                self._fragments, self._fragments_opcode = [], opcode
            self._fragments.append(payload)
            if sum(map(len, self._fragments)) > MESSAGE_BYTES_MAX:
                self._closed = CloseReason(1009, "a message over the limit")
            elif first & 0x80:
                whole = b"".join(self._fragments)
                self._fragments = []
                is_text = self._fragments_opcode == _TEXT
                self._messages.append(whole.decode(errors="replace") if is_text else whole)
        elif opcode == _PING:
            with contextlib.suppress(ConnectionClosed):
                await self._send(_PONG, payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            with contextlib.suppress(ConnectionClosed):
                await self._send(_CLOSE, payload[:2])
            self._closed = CloseReason(code, payload[2:].decode(errors="replace"))
        elif opcode != _PONG:
            self._closed = CloseReason(1002, f"a frame of unknown kind {opcode}")


@asynccontextmanager
async def open_lean_socket(
    url: str, subprotocol: str, *, skipped: tuple[bytes, ...] = (), timeout_s: float
) -> AsyncIterator[LeanSocket]:
    """Open a WebSocket at `ws://…` or `wss://…`.

    Raises `HandshakeRefused`, `OSError` and `trio.TooSlowError`.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    stream: trio.abc.Stream
    with trio.fail_after(timeout_s):
        stream = await trio.open_tcp_stream(host, port)
        try:
            if tls:
                context = ssl.create_default_context()
                secure: trio.SSLStream[trio.SocketStream] = trio.SSLStream(
                    stream, context, server_hostname=host, https_compatible=True
                )
                stream = secure
            rest = await _shake_hands(stream, parts.netloc, _target(url), subprotocol)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    socket = LeanSocket(stream, rest, skipped)
    try:
        yield socket
    finally:
        with trio.CancelScope(shield=True):
            await socket.aclose()


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def _shake_hands(
    stream: trio.abc.Stream, authority: str, target: str, subprotocol: str
) -> bytes:
    """Open the WebSocket (RFC 6455, 4.1); returns what came behind the answer."""
    key = base64.b64encode(secrets.token_bytes(16))
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {authority.rpartition('@')[2]}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    head = b""
    try:
        await stream.send_all(request.encode())
        while b"\r\n\r\n" not in head:
            chunk = await stream.receive_some(READ_BYTES)
            if not chunk or len(head) > HEAD_BYTES_MAX:
                raise HandshakeRefused("it does not speak HTTP")
            head += chunk
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise HandshakeRefused("it closed the connection, or speaks no TLS as we do") from None
    head, _, rest = head.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1."):
        raise HandshakeRefused("it does not speak HTTP")
    if words[1] != "101":
        raise HandshakeRefused(f"it refused the WebSocket with HTTP status {words[1][:3]}")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    if headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
        raise HandshakeRefused("it does not speak WebSocket")
    if headers.get("sec-websocket-protocol") != subprotocol:
        raise HandshakeRefused(f"it does not speak {subprotocol}")
    return rest
