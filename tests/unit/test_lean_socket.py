"""The load tester's WebSocket: against a server that is not ours, and against hostile bytes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from load.lean_socket import HandshakeRefused, LeanSocket, open_lean_socket

SUBPROTOCOL = "reprise.v1.msgpack"


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    async def handle(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol=SUBPROTOCOL)
        try:
            async with socket:
                await handler(socket)
        except ConnectionClosed:
            return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            functools.partial(serve_websocket, handle, "127.0.0.1", 0, ssl_context=None)
        )
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


async def echo(socket: Any) -> None:
    while True:
        await socket.send_message(await socket.get_message())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
async def test_messages_of_all_sizes_come_back_as_they_were(size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with serving(echo) as url, open_lean_socket(url, SUBPROTOCOL, timeout_s=5) as socket:
        await socket.send_message(message)
        await socket.send_message("text")
        assert await socket.get_message() == message
        assert await socket.get_message() == "text"


async def test_pings_are_answered_and_the_close_code_is_told() -> None:
    async def ping(socket: Any) -> None:
        await socket.ping(b"there?")
        await socket.aclose(4005, "evicted")

    async with serving(ping) as url, open_lean_socket(url, SUBPROTOCOL, timeout_s=5) as socket:
        with pytest.raises(ConnectionClosed) as raised:
            await socket.get_message()
        assert raised.value.reason is not None
        assert (raised.value.reason.code, raised.value.reason.reason) == (4005, "evicted")


async def test_another_subprotocol_is_refused() -> None:
    async with serving(echo) as url:
        with pytest.raises(HandshakeRefused, match="does not speak"):
            async with open_lean_socket(url, "other", timeout_s=5):
                pass


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b"\r\n\r\n", b"\xff" * 20_000],
)
async def test_what_is_no_websocket_is_refused(answer: bytes) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            functools.partial(trio.serve_tcp, speak, 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(HandshakeRefused):
            async with open_lean_socket(f"ws://127.0.0.1:{port}", SUBPROTOCOL, timeout_s=5):
                pass
        nursery.cancel_scope.cancel()


def frame(first: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes((first, len(payload))) + payload


async def received(data: bytes, cuts: list[int], skipped: tuple[bytes, ...] = ()) -> list[Any]:
    """What a socket makes of bytes that come in pieces, and how it ends."""
    ours, theirs = trio.testing.memory_stream_pair()
    socket = LeanSocket(ours, b"", skipped)
    pieces = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found: list[Any] = []

    async def send() -> None:
        for begin, end in itertools.pairwise(pieces):
            if end > begin:
                await theirs.send_all(data[begin:end])
                await trio.testing.wait_all_tasks_blocked()
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            while True:
                found.append(await socket.get_message())
        except ConnectionClosed as closed:
            found.append(None if closed.reason is None else closed.reason.code)
        nursery.cancel_scope.cancel()
    found.append(socket.messages_skipped)
    return found


WHOLE = (
    frame(0x82, b"one")
    + frame(0x82, b"\x83noise")
    + frame(0x02, b"tw")
    + frame(0x89, b"ping between")
    + frame(0x80, b"o")
    + frame(0x81, b"three")
    + frame(0x88, b"\x0f\xa0bye")
)


@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_frames_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    found = trio.run(received, WHOLE, cuts, (b"\x83no",))
    assert found == [b"one", b"two", "three", 4000, 1]


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=3))
def test_hostile_bytes_end_the_connection_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    found = trio.run(received, data, cuts)
    assert len(found) >= 2
