"""A viewer that costs its machine little: raw WebSocket frames, ICE and DTLS, no media."""

from __future__ import annotations

import base64
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio

from load.ice import IceAgent
from media.dtls import DtlsConnection, DtlsContext
from protocol.answers import TransportCreated

_EVENT = b"\xa5event"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Viewer:
    """One peer that watches. `run` reads its socket; `join` takes all the steps."""

    def __init__(self, url: str, context: DtlsContext) -> None:
        self.step = "connect"
        self.joined_s = 0.0
        self.notifications = 0
        self.bytes_received = 0
        self.closed = False
        self.session = ""
        self._url = urlsplit(url)
        self._context = context
        self._next_id = 0
        self._answers: dict[int, Any] = {}
        self._answered = trio.Event()
        self._udp: trio.socket.SocketType | None = None
        self._consent = b""
        self._began_s = trio.current_time()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, then read until the server closes or this is cancelled."""
        assert self._url.hostname
        assert self._url.port
        self._stream = await trio.open_tcp_stream(self._url.hostname, self._url.port)
        async with self._stream:
            buffer = bytearray(await self._shake_hands())
            task_status.started()
            while True:
                self._take_frames(buffer)
                try:
                    received = await self._stream.receive_some(65536)
                except trio.BrokenResourceError:
                    received = b""
                self.bytes_received += len(received)
                if not received or self.closed:
                    self.closed = True
                    self._answered.set()
                    return
                buffer += received

    async def _shake_hands(self) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        await self._stream.send_all(
            f"GET / HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: reprise.v1.msgpack\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            more = await self._stream.receive_some(65536)
            if not more:
                raise RuntimeError("closed in the handshake")
            received += more
        head, _, rest = received.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head.split(b"\r\n")[0].decode())
        return rest

    def _take_frames(self, buffer: bytearray) -> None:
        at = 0
        while len(buffer) - at >= 2:
            length, begin = buffer[at + 1] & 127, at + 2
            if length == 126:
                length, begin = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < begin + length:
                break
            self._take_frame(buffer[at] & 15, bytes(buffer[begin : begin + length]))
            at = begin + length
        del buffer[:at]

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 8:
            self.closed = True
            self._answered.set()
        elif opcode == 9:
            self._stream.socket._sock.send(_frame(10, payload))  # type: ignore[attr-defined]
        elif payload[1:7] == _EVENT:
            self.notifications += 1
        else:
            answer = _decode(payload)
            self._answers[answer["id"]] = answer
            self._answered.set()

    async def request(self, method: str, **data: Any) -> Any:
        """Ask and wait for the answer's data. Raises `RuntimeError` when it is refused."""
        self.step = method
        self._next_id += 1
        number = self._next_id
        frame = _encode({"id": number, "method": method, "data": data})
        await self._stream.send_all(_frame(2, frame))
        while number not in self._answers:
            if self.closed:
                raise RuntimeError("closed")
            self._answered = trio.Event()
            await self._answered.wait()
        answer = self._answers.pop(number)
        if answer.get("ok") is not True:
            raise RuntimeError(str(answer.get("error")))
        return answer.get("data") or {}

    async def join(
        self, room: str, name: str, producers: tuple[str, ...], capabilities: Any
    ) -> None:
        """Take all steps until media may flow."""
        joined = await self.request("join", room=room, name=name)
        self.session = joined["session"]
        transport = await self.connect_transport()
        for producer in producers:
            consumed = await self.request(
                "consume", transport=transport, producer=producer, rtpCapabilities=capabilities
            )
            await self.request("resumeConsumer", consumer=consumed["id"])
        self.joined_s = trio.current_time() - self._began_s

    async def connect_transport(self) -> str:
        """Make a transport and bring up ICE and DTLS; returns its id."""
        created = msgspec.convert(
            await self.request("createTransport", direction="recv"), TransportCreated
        )
        fingerprints = [
            {"algorithm": algorithm, "value": value}
            for algorithm, value in self._context.certificate.fingerprints
        ]
        await self.request(
            "connectTransport",
            transport=created.id,
            dtlsParameters={"role": "client", "fingerprints": fingerprints},
        )
        self.step = "ice and dtls"
        await self._shake_dtls(created)
        return created.id

    async def _shake_dtls(self, created: TransportCreated) -> None:
        candidate = created.ice_candidates[0]
        ice = IceAgent(created.ice_parameters, candidate, clock=_now_ns)
        remote = [(one.algorithm, one.value) for one in created.dtls_parameters.fingerprints]
        dtls = DtlsConnection("client", self._context, remote, clock=_now_ns)
        self._udp = udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        await udp.connect((candidate.ip, candidate.port))
        while dtls.state != "connected" or not ice.nominated:
            ice.handle_timeout()
            if ice.state == "connected":
                dtls.start()
            deadline_ns = dtls.deadline_ns()
            if deadline_ns is not None and deadline_ns <= _now_ns():
                dtls.handle_timeout()
            for datagram in ice.poll_datagrams():
                self._consent = datagram
                await udp.send(datagram)
            for datagram in dtls.poll_datagrams():
                await udp.send(datagram)
            if dtls.state in ("failed", "closed"):
                raise RuntimeError(f"dtls {dtls.reason}")
            if ice.state == "failed":
                raise RuntimeError("no answer to ICE checks")
            deadlines = [at for at in (ice.deadline_ns(), dtls.deadline_ns()) if at is not None]
            with trio.move_on_at(min(deadlines) / 1e9):
                datagram = await udp.recv(4096)
                if datagram[0] < 4:
                    ice.handle_datagram(datagram)
                elif 20 <= datagram[0] < 64:
                    dtls.handle_datagram(datagram)

    def send_consent(self) -> None:
        """Send the last check again, which the server answers as it did before."""
        if self._udp is not None:
            self._udp._sock.send(self._consent)  # type: ignore[attr-defined]

    async def leave(self) -> None:
        """Leave the room."""
        if not self.closed:
            await self.request("leave")


def _frame(opcode: int, payload: bytes) -> bytes:
    """A frame of a client, masked with zeros (RFC 6455, 5.3)."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def _now_ns() -> int:
    return int(trio.current_time() * 1e9)
