"""Signaling of Janus's videoroom, so that the same load can be put on another router.

It speaks Janus's WebSocket API (subprotocol `janus-protocol`). Each room of
the test is a videoroom; the first publisher creates it, with feedback of
bandwidth and without a bound of its own on the bitrate.
"""

from __future__ import annotations

import contextlib
import secrets
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed

from load import sdp
from load.lean_socket import LeanSocket, open_lean_socket
from load.mass import Mass
from load.options import LoadFailed, LoadOptions
from load.signaling import LEAVE_TIMEOUT_S, Seat, in_one_line, publications_of
from protocol.negotiation.router import router_capabilities
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)

SUBPROTOCOL = "janus-protocol"
KEEPALIVE_S = 25.0
REQUEST_TIMEOUT_S = 15.0
_OF_A_HANDLE = ("message", "trickle")
"""What is said to a handle; the rest is said to a session."""
PUBLISHERS_MAX = 64
BITRATE_BPS_MAX = 50_000_000


class JanusRefused(LoadFailed):
    """Janus answered with an error."""


class _Handle:
    """A session with one handle of the videoroom plugin, on a socket of its own."""

    def __init__(self, socket: LeanSocket) -> None:
        self._socket = socket
        self._session = 0
        self._handle = 0
        self._waiting: dict[str, tuple[trio.Event, list[dict[str, Any]]]] = {}
        self.ended = trio.Event()

    async def open(self) -> None:
        """Begin a session, and attach to the plugin."""
        created = await self._request({"janus": "create"}, "success")
        self._session = int(created["data"]["id"])
        attached = await self._request(
            {"janus": "attach", "plugin": "janus.plugin.videoroom"}, "success"
        )
        self._handle = int(attached["data"]["id"])

    async def message(
        self, body: dict[str, Any], *, jsep: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask the plugin something, and wait for its last word about it."""
        request: dict[str, Any] = {"janus": "message", "body": body}
        if jsep is not None:
            request["jsep"] = jsep
        answer = await self._request(request, "success", "event")
        data = answer.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise JanusRefused(f"the server refused: {body['request']}: {data['error']}")
        return answer

    async def trickled(self) -> None:
        """Say that no candidate will follow."""
        await self._request({"janus": "trickle", "candidate": {"completed": True}}, "ack")

    async def leave(self) -> None:
        """End the session."""
        await self._request({"janus": "destroy"}, "success")

    async def read(self) -> None:
        """Sort what comes in until the socket closes."""
        try:
            while True:
                tree = msgspec.json.decode(await self._socket.get_message(), type=dict[str, Any])
                waiting = self._waiting.get(str(tree.get("transaction")))
                if waiting is not None:
                    waiting[1].append(tree)
                    waiting[0].set()
        except ConnectionClosed:
            self.ended.set()
            for event, _ in self._waiting.values():
                event.set()

    async def keep_alive(self) -> None:
        """Keep the session from being dropped."""
        while True:
            await trio.sleep(KEEPALIVE_S)
            await self._request({"janus": "keepalive"}, "ack")

    async def _request(self, request: dict[str, Any], *wanted: str) -> dict[str, Any]:
        transaction = secrets.token_hex(6)
        event, answers = self._waiting[transaction] = (trio.Event(), [])
        tree = {**request, "transaction": transaction}
        if self._session:
            tree["session_id"] = self._session
        if request["janus"] in _OF_A_HANDLE:
            tree["handle_id"] = self._handle
        try:
            await self._socket.send_message(msgspec.json.encode(tree).decode())
            with trio.fail_after(REQUEST_TIMEOUT_S):
                while True:
                    await event.wait()
                    for answer in answers:
                        if answer.get("janus") == "error":
                            reason = answer.get("error", {}).get("reason", "")
                            raise JanusRefused(f"the server refused: {request['janus']}: {reason}")
                        if answer.get("janus") in wanted:
                            return answer
                    if self.ended.is_set():
                        raise LoadFailed("the server closed the connection")
                    event = trio.Event()
                    self._waiting[transaction] = (event, answers)
        finally:
            del self._waiting[transaction]


class JanusSignaling:
    """A driver for Janus's videoroom (`load.signaling.Signaling`)."""

    def __init__(self, options: LoadOptions, mass: Mass) -> None:
        self._options = options
        self._mass = mass
        self._feeds: dict[str, list[int]] = {}
        fingerprints = {one.algorithm: str(one.value) for one in mass.dtls_parameters.fingerprints}
        self._fingerprint = fingerprints["sha-256"]

    async def probe(self) -> str:
        """Ask which version it is."""
        with in_one_line(self._options.url):
            async with open_lean_socket(
                self._options.url, SUBPROTOCOL, timeout_s=REQUEST_TIMEOUT_S
            ) as socket:
                await socket.send_message('{"janus": "info", "transaction": "probe"}')
                with trio.fail_after(REQUEST_TIMEOUT_S):
                    tree = msgspec.json.decode(await socket.get_message(), type=dict[str, Any])
                return f"{tree['name']} {tree['version_string']}"

    async def publish(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Create the room if need be, join it, publish, and stay."""
        with in_one_line(self._options.url):
            async with self._handle() as handle:
                await self._create(handle, room)
                joined = await handle.message(
                    {"request": "join", "ptype": "publisher", "room": _number(room)}
                )
                publications = publications_of(self._options, router_capabilities())
                ours = self._credentials()
                described = await handle.message(
                    {"request": "publish", "bitrate": BITRATE_BPS_MAX},
                    jsep={"type": "offer", "sdp": sdp.offer(publications, ours)},
                )
                try:
                    await self._connect(handle, seat, ours, _description(described))
                    assert seat.client is not None
                    for publication in publications:
                        for stream, sender in enumerate(publication.senders):
                            self._mass.add_sender(seat.client, stream, sender)
                    feed = int(joined["plugindata"]["data"]["id"])
                    self._feeds.setdefault(room, []).append(feed)
                    task_status.started()
                    await self._stay(handle, seat)
                finally:
                    self._give_up(seat)

    async def view(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Join as a subscriber of all publishers, and stay."""
        with in_one_line(self._options.url):
            async with self._handle() as handle:
                streams = [{"feed": feed} for feed in self._feeds.get(room, [])]
                offered = await handle.message(
                    {
                        "request": "join",
                        "ptype": "subscriber",
                        "room": _number(room),
                        "streams": streams,
                    }
                )
                description = _description(offered)
                ours = self._credentials()
                try:
                    conditions = self._options.viewer_conditions
                    seat.client = self._add(ours, description, conditions)
                    for stream, section in enumerate(description.sections):
                        self._mass.add_receiver(
                            seat.client, stream, sdp.receiver_arguments(section)
                        )
                    await handle.message(
                        {"request": "start"},
                        jsep={"type": "answer", "sdp": sdp.answer(description, ours)},
                    )
                    await self._connect(handle, seat, ours, description)
                    task_status.started()
                    await self._stay(handle, seat)
                finally:
                    self._give_up(seat)

    @asynccontextmanager
    async def _handle(self) -> AsyncIterator[_Handle]:
        async with (
            open_lean_socket(self._options.url, SUBPROTOCOL, timeout_s=REQUEST_TIMEOUT_S) as socket,
            trio.open_nursery() as nursery,
        ):
            handle = _Handle(socket)
            nursery.start_soon(handle.read)
            await handle.open()
            nursery.start_soon(handle.keep_alive)
            yield handle
            nursery.cancel_scope.cancel()

    async def _create(self, handle: _Handle, room: str) -> None:
        body = {
            "request": "create",
            "room": _number(room),
            "publishers": PUBLISHERS_MAX,
            "bitrate": BITRATE_BPS_MAX,
            "videocodec": (self._options.codec or "VP8").lower(),
            "audiocodec": "opus",
            "transport_wide_cc_ext": True,
            "notify_joining": False,
        }
        try:
            await handle.message(body)
        except JanusRefused as error:
            if "already exists" not in str(error):
                raise

    def _credentials(self) -> sdp.Credentials:
        return sdp.Credentials(
            ufrag=secrets.token_hex(4), pwd=secrets.token_hex(12), fingerprint=self._fingerprint
        )

    def _add(self, ours: sdp.Credentials, theirs: sdp.Description, conditions: Any) -> int:
        address, port = theirs.candidate()
        candidate = IceCandidate(foundation="1", priority=1, ip=address, address=address, port=port)
        ice = IceParameters(
            username_fragment=theirs.attribute("ice-ufrag"),
            password=theirs.attribute("ice-pwd"),
        )
        return self._mass.add(ice, candidate, conditions, ours=(ours.ufrag, ours.pwd))

    async def _connect(
        self, handle: _Handle, seat: Seat, ours: sdp.Credentials, theirs: sdp.Description
    ) -> None:
        """Say that we have no candidates, and wait until DTLS has ended."""
        if seat.client is None:
            seat.client = self._add(ours, theirs, self._options.publisher_conditions)
        await handle.trickled()
        algorithm, _, value = theirs.attribute("fingerprint").partition(" ")
        fingerprint = msgspec.convert(
            {"algorithm": algorithm.lower(), "value": value.strip()}, DtlsFingerprint
        )
        self._mass.start_dtls(seat.client, DtlsParameters(fingerprints=(fingerprint,)))
        await self._mass.wait_connected(seat.client, timeout_s=self._options.join_timeout_s)

    async def _stay(self, handle: _Handle, seat: Seat) -> None:
        async def watch(scope: trio.CancelScope) -> None:
            await handle.ended.wait()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            await seat.wanted.wait()
            nursery.cancel_scope.cancel()
        if not seat.wanted.is_set():
            raise LoadFailed("the server closed the connection")
        with trio.move_on_after(LEAVE_TIMEOUT_S), contextlib.suppress(LoadFailed, ConnectionClosed):
            await handle.leave()

    def _give_up(self, seat: Seat) -> None:
        if seat.client is not None:
            self._mass.remove(seat.client)
            seat.client = None


def _number(room: str) -> int:
    """Janus names rooms by number."""
    return int(room) if room.isdecimal() else zlib.crc32(room.encode())


def _description(answer: dict[str, Any]) -> sdp.Description:
    jsep = answer.get("jsep")
    if not isinstance(jsep, dict):
        raise LoadFailed(f"the server sent no description: {answer.get('plugindata')}")
    return sdp.parse(str(jsep.get("sdp")))
