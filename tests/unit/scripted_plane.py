"""The other end of a `Plane`'s connection, played by the test itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import trio
import trio.testing

from media.dtls import DtlsConnection
from media.frames import LENGTH_BYTES, FrameSplitter
from media.interface import PlaneUp
from media.plane_client import Plane
from protocol.notices import Notice
from protocol.orders import (
    PLANE_PROTOCOL,
    Hello,
    Order,
    PlaneInfo,
    SendDtls,
    SetSrtpKeys,
    Table,
    WorkerInfo,
)
from tests.unit.dtls_pair import contexts

Wanted = TypeVar("Wanted")


class OrderFrame(msgspec.Struct):
    seq: int
    orders: list[Order]


def new_plane(**more: Any) -> Plane:
    fields: dict[str, Any] = {
        "ice_password": lambda ufrag: f"pwd-{ufrag}",
        "version": "test",
        "grace_ms": 5000,
    }
    return Plane(contexts()[1], **(fields | more))


class ScriptedPlane:
    """Reads orders and says what the test wants; answers each frame with nils unless told."""

    def __init__(self, stream: trio.abc.Stream, incarnation: str = "one") -> None:
        self.stream = stream
        self.splitter = FrameSplitter()
        self.frames: list[OrderFrame] = []
        self.info = PlaneInfo(
            protocol=PLANE_PROTOCOL,
            version="scripted",
            incarnation=incarnation,
            pid=1,
            workers=(WorkerInfo(worker=0, host="127.0.0.1", port=20000),),
        )

    async def send(self, message: Any) -> None:
        body = msgspec.msgpack.encode(message)
        await self.stream.send_all(len(body).to_bytes(LENGTH_BYTES, "big") + body)

    async def say(self, *notices: Notice) -> None:
        await self.send({"notices": notices})

    async def greet(self, table: Table | None = None) -> Hello:
        frame = await self.next_frame()
        hello = frame.orders[0]
        assert isinstance(hello, Hello)
        table = table or Table(transports=(), producers=(), consumers=())
        await self.send({"seq": frame.seq, "results": [{"data": self.info}, {"data": table}]})
        return hello

    async def next_frame(self) -> OrderFrame:
        """Wait for the next frame of orders, unanswered."""
        while not self.frames:
            received = await self.stream.receive_some(65536)
            assert received, "the face closed the connection"
            bodies = self.splitter.handle_bytes(bytes(received))
            self.frames += [msgspec.msgpack.decode(body, type=OrderFrame) for body in bodies]
        return self.frames.pop(0)

    async def answer(self, frame: OrderFrame, *results: Any) -> None:
        await self.send({"seq": frame.seq, "results": results or [None] * len(frame.orders)})

    async def next_orders(self) -> list[Order]:
        """Wait for the next frame of orders and answer it with nils."""
        frame = await self.next_frame()
        await self.answer(frame)
        return frame.orders

    async def answer_all(self) -> None:
        """Answer with nils, as one must who is not to seem to hang."""
        while True:
            await self.next_orders()


@asynccontextmanager
async def connected(
    plane: Plane, table: Table | None = None, *, incarnation: str = "one", fresh: bool = True
) -> AsyncIterator[ScriptedPlane]:
    """Serve a connection to a scripted plane, whose `PlaneUp` has been read."""
    ours, theirs = trio.testing.memory_stream_pair()
    scripted = ScriptedPlane(theirs, incarnation)
    async with trio.open_nursery() as nursery:
        reasons: list[str] = []

        async def serve() -> None:
            reasons.append(await plane.serve(ours, fresh=fresh))

        nursery.start_soon(serve)
        await scripted.greet(table)
        while not isinstance(await plane.notices.receive(), PlaneUp):
            pass
        yield scripted
        nursery.cancel_scope.cancel()


class Peer:
    """A browser's DTLS end, fed through a scripted plane."""

    def __init__(self, connection: DtlsConnection) -> None:
        self.connection = connection
        self.keys: SetSrtpKeys | None = None
        self.orders: list[Order] = []

    def take(self, orders: Sequence[Order]) -> None:
        """Look at orders as they come; a later SetSrtpKeys stays the last one."""
        self.orders += orders
        for order in orders:
            if isinstance(order, SendDtls):
                for datagram in order.datagrams:
                    self.connection.handle_datagram(datagram)
            elif isinstance(order, SetSrtpKeys):
                self.keys = order
