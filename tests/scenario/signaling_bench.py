"""A real signaling server on loopback, and a client that speaks both subprotocols by hand."""

from __future__ import annotations

import dataclasses
import json
from contextlib import asynccontextmanager

import msgspec
import trio
import trio.testing
from trio_websocket import ConnectionClosed, wrap_client_stream

from gateway.admission import Admission
from gateway.keys import ServerKeys
from gateway.premises import bind_tcp
from gateway.settings import Limits
from gateway.signaling_server import SignalingServer, listeners_of
from protocol.signaling import JSON, MSGPACK
from tests.scenario.fake_control import FakeControl

KEYS = ServerKeys(bytes(range(32)))


class Client:
    """One WebSocket. `request` waits for its own answer; everything else is kept in `told`."""

    def __init__(self, websocket, subprotocol):
        self.websocket = websocket
        self.subprotocol = subprotocol
        self.told = []
        self.answers = []
        self._ids = 0

    async def send(self, tree):
        if self.subprotocol == JSON:
            await self.websocket.send_message(json.dumps(tree))
        else:
            await self.websocket.send_message(msgspec.msgpack.encode(tree))

    async def send_raw(self, frame):
        await self.websocket.send_message(frame)

    async def receive(self, within_s=10):
        with trio.fail_after(within_s):
            frame = await self.websocket.get_message()
        if self.subprotocol == JSON:
            assert isinstance(frame, str)
            return json.loads(frame)
        assert isinstance(frame, bytes)
        return msgspec.msgpack.decode(frame)

    async def next_answer(self):
        if self.answers:
            return self.answers.pop(0)
        while True:
            frame = await self.receive()
            if "event" not in frame:
                return frame
            self.told.append(frame)

    async def next_told(self):
        if self.told:
            return self.told.pop(0)
        while True:
            frame = await self.receive()
            if "event" in frame:
                return frame
            self.answers.append(frame)

    async def request(self, method, data=None, *, request_id=None):
        self._ids += 1
        number = self._ids if request_id is None else request_id
        await self.send({"id": number, "method": method, "data": data})
        answer = await self.next_answer()
        assert answer["id"] == number
        return answer

    async def join(self, room="lobby", **data):
        answer = await self.request("join", {"room": room, **data})
        assert answer["ok"], answer
        return answer["data"]

    async def wait_closed(self, within_s=10):
        """Read to the end; the close code and reason."""
        with trio.fail_after(within_s):
            while True:
                try:
                    await self.websocket.get_message()
                except ConnectionClosed as closed:
                    return closed.reason.code, closed.reason.reason


class Bench:
    def __init__(self, control, server, port, nursery, streams, ssl_context=None, listener=None):
        self.control = control
        self.server = server
        self.port = port
        self.streams = streams
        self._nursery = nursery
        self._ssl_context = ssl_context
        self._listener = listener

    async def open(self, receive_bytes=None):
        """A bare connection, whose kernel keeps no more than `receive_bytes` for us."""
        if isinstance(self._listener, MemoryListener):
            return await self._listener.connect()
        sock = trio.socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_bytes)
        await sock.connect(("127.0.0.1", self.port))
        return trio.SocketStream(sock)

    async def connect(self, subprotocol=MSGPACK, *, headers=None, welcome=True):
        with trio.fail_after(10):
            stream = await self.open()
            if self._ssl_context is not None:
                stream = trio.SSLStream(
                    stream, self._ssl_context, server_hostname="localhost", https_compatible=True
                )
            self.streams.append(stream)
            websocket = await wrap_client_stream(
                self._nursery,
                stream,
                f"localhost:{self.port}",
                "/",
                subprotocols=[subprotocol] if isinstance(subprotocol, str) else subprotocol,
                extra_headers=headers,
            )
        client = Client(websocket, subprotocol)
        if welcome:
            first = await client.receive()
            assert first["event"] == "welcome"
            client.welcome = first
        return client

    @asynccontextmanager
    async def raw(self, subprotocol=JSON, receive_bytes=None):
        """A connection after the WebSocket handshake, whose frames the test writes itself."""
        stream = await self.open(receive_bytes)
        async with stream:
            await stream.send_all(handshake(subprotocol))
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 101")
            yield stream

    async def rejected(self, request):
        """Send an HTTP request and read the whole answer: status and body."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(request)
            answer = await read_all(stream)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


def handshake(*subprotocols, **headers):
    """The request that opens a WebSocket."""
    lines = [
        "GET / HTTP/1.1",
        f"Host: {headers.pop('host', '127.0.0.1')}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *[f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}"] * bool(subprotocols),
        *(f"{name.title()}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_all(stream, within_s=10):
    """All bytes until the other side closes, or resets."""
    found = b""
    with trio.fail_after(within_s):
        try:
            while more := await stream.receive_some():
                found += more
        except trio.BrokenResourceError:
            pass
    return found


def client_frame(payload, opcode=1, *, last=True):
    """A masked WebSocket frame, as a client sends it (RFC 6455, 5.2)."""
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        size = bytes([0x80 | 126]) + len(payload).to_bytes(2)
    else:
        size = bytes([0x80 | 127]) + len(payload).to_bytes(8)
    return bytes([0x80 * last | opcode]) + size + bytes(4) + payload


class MemoryListener(trio.abc.Listener):
    """Accepts streams in memory, so that a test may turn the clock."""

    def __init__(self):
        self._send, self._receive = trio.open_memory_channel(16)

    async def connect(self):
        mine, theirs = trio.testing.memory_stream_pair()
        await self._send.send(theirs)
        return mine

    async def accept(self):
        return await self._receive.receive()

    async def aclose(self):
        self._receive.close()


@asynccontextmanager
async def signaling(
    *,
    in_memory=False,
    control=None,
    limits=None,
    secret=None,
    allowed_origins=(),
    server_ssl=None,
    client_ssl=None,
):
    """A running server, with a fake control plane unless given one; it ends with the block."""
    control = FakeControl() if control is None else control
    server = SignalingServer(
        control=control,
        keys=KEYS,
        admission=Admission(
            secret=secret, allowed_origins=tuple(allowed_origins), loopback_only=True
        ),
        limits=dataclasses.replace(Limits(), **(limits or {})),
        version="1.2.3",
    )
    if in_memory:
        port, listeners = 0, [MemoryListener()]
    else:
        bound = bind_tcp("127.0.0.1", 0, "signal-port")
        port, listeners = bound.getsockname()[1], listeners_of(bound, server_ssl)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, listeners)
        streams = []
        try:
            async with trio.open_nursery() as clients:
                yield Bench(control, server, port, clients, streams, client_ssl, listeners[0])
                clients.cancel_scope.cancel()
        finally:
            for stream in streams:
                await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()
