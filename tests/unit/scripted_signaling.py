"""A signaling server that a test plays: it decodes requests and sends what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from protocol.signaling import MSGPACK

Answer = Callable[["ScriptedSocket", dict[str, Any]], Awaitable[None]]


class ScriptedSocket:
    """One client's socket."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.binary = socket.subprotocol == MSGPACK

    async def send(self, frame: dict[str, Any]) -> None:
        encode = (
            msgspec.msgpack.encode if self.binary else lambda f: msgspec.json.encode(f).decode()
        )
        await self.socket.send_message(encode(frame))

    async def notify(self, event: str, position: int | None = None, **data: Any) -> None:
        await self.send({"event": event, "position": position, "data": data})

    async def answer(self, request: dict[str, Any], **data: Any) -> None:
        await self.send({"id": request["id"], "ok": True, "data": data})

    async def refuse(self, request: dict[str, Any], code: str, message: str = "") -> None:
        error = {"code": code, "message": message}
        await self.send({"id": request["id"], "ok": False, "error": error})

    async def receive(self) -> dict[str, Any]:
        message = await self.socket.get_message()
        decode = msgspec.msgpack.decode if self.binary else msgspec.json.decode
        frame: dict[str, Any] = decode(message)
        return frame


@asynccontextmanager
async def signaling(answer: Answer, *, welcome: bool = True) -> AsyncIterator[str]:
    """Serve on loopback; `answer` is called for each request. Yields the URL."""

    async def accept(request: WebSocketRequest) -> None:
        socket = ScriptedSocket(await request.accept(subprotocol=request.proposed_subprotocols[0]))
        try:
            if welcome:
                await socket.notify("welcome", version="0", limits={"messageBytes": 65536})
            while True:
                await answer(socket, await socket.receive())
        except ConnectionClosed:
            return

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, accept, "127.0.0.1", 0, None)
        yield f"ws://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()
