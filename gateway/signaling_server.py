"""The WebSocket server of signaling: who gets a socket, and what becomes of it.

A connection is counted, shakes hands, is judged by its subprotocol and its page's origin, and is
then a `Connection`. Whatever goes wrong with one ends in `_serve_stream`, the one edge where errors
of sockets are handled, and never reaches another.
"""

from __future__ import annotations

import itertools
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from gateway.addresses import is_loopback
from gateway.admission import Admission
from gateway.connection import Connection
from gateway.control import Control
from gateway.entrance import Doorbook, Entrance
from gateway.keys import ServerKeys
from gateway.pace import Pace
from gateway.paced_stream import RECEIVE_BYTES, PacedStream
from gateway.session import House
from gateway.settings import Limits
from protocol.signaling import SUBPROTOCOLS, CloseCode, Subprotocol

HANDSHAKE_S = 10.0
"""How long a connection may take for TLS and the WebSocket handshake."""
REFUSED_SOCKETS_MAX = 64
"""Connections over the limit that are told so at a time; others are closed without a word."""
BACKLOG = 512
"""Connections that wait to be accepted."""
END_S = 2.0
"""How long closing TCP may take; over TLS something has to be sent."""
STOP_S = 8.0
"""How long sockets have to end when the server stops."""

Listener = trio.abc.Listener[Any]

_EXPECTED = (
    ConnectionClosed,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    ssl.SSLError,
    OSError,
)
"""What clients that go away, or speak no TLS, bring about in the midst of something."""

_log = structlog.get_logger()


class _Rejection(NamedTuple):
    """Why a handshake is answered with an HTTP error."""

    status: int
    text: str


class SignalingServer:
    """All signaling sockets. `run` is its task; `stop` tells the clients and ends them."""

    def __init__(
        self,
        *,
        control: Control,
        keys: ServerKeys,
        admission: Admission,
        limits: Limits,
        version: str,
    ) -> None:
        self._control = control
        self._keys = keys
        self._admission = admission
        self._limits = limits
        self._version = version
        self._house: House | None = None
        self._accepting = trio.CancelScope()
        self._connections: dict[str, Connection] = {}
        self._by_address: Counter[str] = Counter()
        self._refused = 0
        self._stopping = False
        self._emptied = trio.Event()
        self._names = (f"s_{secrets.token_hex(3)}{n}" for n in itertools.count(1))

    @property
    def sockets(self) -> int:
        """Sockets past their handshake."""
        return len(self._connections)

    async def run(
        self,
        listeners: Sequence[Listener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled. Closes the listeners at the end."""
        async with trio.open_nursery() as nursery:
            self._house = House(
                control=self._control,
                entrance=Entrance(self._control, nursery),
                doorbook=Doorbook(),
                admission=self._admission,
                keys=self._keys,
                limits=self._limits,
                pace=Pace(),
            )
            nursery.start_soon(self._house.pace.run)
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    await accepting.start(
                        partial(
                            trio.serve_listeners,
                            self._serve_stream,
                            list(listeners),
                            handler_nursery=nursery,
                        )
                    )
                    task_status.started()
            await trio.sleep_forever()

    def begin_stop(self) -> None:
        """Take no new sockets; those that end from now on are told that the server goes away."""
        self._stopping = True
        self._accepting.cancel()

    async def stop(self) -> None:
        """Close all sockets with 1001 and wait until they have ended, at most `STOP_S`."""
        self.begin_stop()
        with trio.move_on_after(STOP_S):
            while self._connections:
                for connection in list(self._connections.values()):
                    connection.close(CloseCode.GOING_AWAY, "the server stops")
                self._emptied = trio.Event()
                await self._emptied.wait()

    async def _serve_stream(self, stream: Any) -> None:
        """Serve one TCP connection: the edge where all that it may bring about is handled."""
        try:
            address = _address_of(stream)
            self._by_address[address] += 1
            try:
                await self._serve_counted(stream, address)
            finally:
                self._by_address[address] -= 1
                if not self._by_address[address]:
                    del self._by_address[address]
        except Exception as error:  # noqa: BLE001 - one socket's failure is its own
            if _is_expected(error):
                _log.debug("connection_lost", error=type(error).__name__)
            else:
                _log.exception("socket_failed")

    async def _serve_counted(self, stream: Any, address: str) -> None:
        limits = self._limits
        full = self._fullness(address)
        if full is not None and self._refused >= REFUSED_SOCKETS_MAX:
            return
        paced = PacedStream(
            stream,
            bytes_per_second=limits.bytes_per_second_max,
            burst_bytes=4 * limits.message_bytes_max,
            silence_bytes_max=2 * limits.message_bytes_max + 64 * 1024,
        )
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_S) as shaking:
                paced.on_end = shaking.cancel
                request = await wrap_server_stream(
                    nursery,
                    paced,
                    max_message_size=limits.message_bytes_max,
                    receive_buffer_size=RECEIVE_BYTES,
                )
                if full is not None:
                    await self._reject_full(request, full)
                else:
                    await self._answer(request, paced, shaking, address)
            nursery.cancel_scope.cancel()
        with trio.move_on_after(END_S):
            await paced.end()

    def _fullness(self, address: str) -> _Rejection | None:
        """Why there is no socket left for a client at `address`, which is counted already."""
        if sum(self._by_address.values()) > self._limits.sockets_max:
            return _Rejection(503, "The server has as many sockets as it may have.\n")
        over = self._by_address[address] > self._limits.sockets_per_address_max
        if over and not is_loopback(address):
            return _Rejection(429, "Your address has as many sockets as it may have.\n")
        return None

    async def _reject_full(self, request: WebSocketRequest, full: _Rejection) -> None:
        self._refused += 1
        try:
            await _reject(request, full)
        finally:
            self._refused -= 1

    async def _answer(
        self,
        request: WebSocketRequest,
        paced: PacedStream,
        shaking: trio.CancelScope,
        address: str,
    ) -> None:
        """Accept a handshake or say why not."""
        headers = {name.decode("latin1").lower(): value for name, value in request.headers}
        origin = headers.get("origin", b"").decode("latin1") or None
        host = _host_of(request)
        subprotocol = _subprotocol_of(request)
        if self._stopping:
            await _reject(request, _Rejection(503, "The server is about to stop.\n"))
            return
        if subprotocol is None:
            offered = " and ".join(SUBPROTOCOLS)
            text = f"Offer a WebSocket subprotocol; this server speaks {offered}.\n"
            await _reject(request, _Rejection(400, text))
            return
        websocket = await request.accept(subprotocol=subprotocol)
        paced.on_end = None
        if not self._admission.allows_origin(origin, host):
            _log.warning("origin_refused", origin=origin, host=host)
            await websocket.aclose(int(CloseCode.ORIGIN_REFUSED), "this origin is not allowed")
            return
        shaking.deadline = float("inf")
        paced.message_came()
        await self._serve_websocket(websocket, paced, subprotocol, address)

    async def _serve_websocket(
        self, websocket: Any, paced: PacedStream, subprotocol: Subprotocol, address: str
    ) -> None:
        assert self._house is not None
        name = next(self._names)
        connection = Connection(
            name=name,
            websocket=websocket,
            stream=paced,
            subprotocol=subprotocol,
            house=self._house,
            version=self._version,
            is_stopping=lambda: self._stopping,
        )
        self._connections[name] = connection
        _log.info("socket_opened", socket=name, address=address, subprotocol=subprotocol)
        try:
            await connection.run()
        finally:
            del self._connections[name]
            if not self._connections:
                self._emptied.set()


def _host_of(request: WebSocketRequest) -> str:
    """The Host header. wsproto parts it from the others, and trio-websocket keeps it to itself."""
    host: str = request._event.host
    return host


def _address_of(stream: trio.abc.Stream) -> str:
    """IP address of the other side. Raises `OSError` if it is gone already."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        return str(stream.socket.getpeername()[0])
    return "local"


def _subprotocol_of(request: WebSocketRequest) -> Subprotocol | None:
    """The first of the client's subprotocols that we speak."""
    for offered in request.proposed_subprotocols:
        for known in SUBPROTOCOLS:
            if offered == known:
                return known  # type: ignore[return-value]  # a member of the tuple
    return None


async def _reject(request: WebSocketRequest, rejection: _Rejection) -> None:
    await request.reject(
        rejection.status,
        extra_headers=[
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
        ],
        body=rejection.text.encode(),
    )


def _is_expected(error: BaseException) -> bool:
    """Whether an error, or all in a group, say no more than that a client went away."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_expected(each) for each in error.exceptions)
    return isinstance(error, _EXPECTED)


def listeners_of(bound: socket.socket, context: ssl.SSLContext | None) -> list[Listener]:
    """Listen on a bound TCP socket, which is closed with the listener."""
    bound.listen(BACKLOG)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    if context is None:
        return [listener]
    return [trio.SSLListener(listener, context, https_compatible=True)]
