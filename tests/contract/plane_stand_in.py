"""A plane process without packets, which speaks the socket's protocol: `python -m` it.

It shows what the supervisor does with planes that misbehave in ways that the
native one does not: another protocol, deaf to Quit and SIGTERM, dead on start
or as soon as it is spoken to.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import uuid
from typing import Any

import msgspec
import trio

from media.fake import FakeTable
from media.frames import LENGTH_BYTES, FrameSplitter
from protocol.orders import (
    PLANE_PROTOCOL,
    Describe,
    Hello,
    Order,
    PlaneInfo,
    QueryStats,
    Quit,
    WorkerInfo,
)


class OrderFrame(msgspec.Struct):
    seq: int
    orders: list[Order]


class StandIn:
    def __init__(self, *, protocol: int, deaf: bool, last_words: str) -> None:
        self.protocol = protocol
        self.last_words = last_words
        self.deaf = deaf
        self.table = FakeTable()
        self.info = PlaneInfo(
            protocol=protocol,
            version="stand-in",
            incarnation=uuid.uuid4().hex,
            pid=os.getpid(),
            workers=(WorkerInfo(worker=0, host="127.0.0.1", port=20000),),
        )
        self.controller: trio.SocketStream | None = None

    async def serve(self, stream: trio.SocketStream) -> None:
        splitter = FrameSplitter()
        try:
            while received := await stream.receive_some(65536):
                for body in splitter.handle_bytes(bytes(received)):
                    frame = msgspec.msgpack.decode(body, type=OrderFrame)
                    results = [await self.answer(order, stream) for order in frame.orders]
                    answer = msgspec.msgpack.encode({"seq": frame.seq, "results": results})
                    await stream.send_all(len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def answer(self, order: Order, stream: trio.SocketStream) -> Any:
        match order:
            case Hello() if self.last_words:
                sys.stderr.write(self.last_words + "\n")
                sys.stderr.flush()
                os._exit(3)
            case Hello(protocol=protocol):
                if protocol != self.protocol:
                    return {"error": {"code": "protocol_mismatch", "message": "another one"}}
                if self.controller is not None:
                    await trio.aclose_forcefully(self.controller)
                self.controller = stream
                return {"data": self.info}
            case Describe():
                return {"data": self.table.describe()}
            case QueryStats(ids=ids):
                return {"data": self.table.stats(ids, int(trio.current_time() * 1e9))}
            case Quit():
                if not self.deaf:
                    os._exit(0)
                return None
            case _:
                error = self.table.apply(order)
                return None if error is None else {"error": error_map(error)}


def error_map(error: Any) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--protocol", type=int, default=PLANE_PROTOCOL)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--fail", default="")
    parser.add_argument("--fail-at-hello", default="")
    arguments = parser.parse_args()
    if arguments.fail:
        sys.stderr.write(arguments.fail + "\n")
        sys.exit(3)
    if arguments.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    plane = StandIn(
        protocol=arguments.protocol, deaf=arguments.deaf, last_words=arguments.fail_at_hello
    )
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await listener.bind(arguments.socket)
    listener.listen()
    # The control process may be killed by its test: don't outlive it for long.
    with trio.move_on_after(60):
        await trio.serve_listeners(plane.serve, [trio.SocketListener(listener)])


if __name__ == "__main__":
    trio.run(main)
