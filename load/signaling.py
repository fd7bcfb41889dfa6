"""How the load tester joins and leaves: a driver for each kind of server.

`Signaling` is what the tester needs of one; `RepriseSignaling` speaks the
contract of docs/signaling.md. A driver negotiates and installs the streams in
the native core; when it is done, media flows. What it holds on to is a `Seat`,
which it is asked to give up in the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
import trio

from load.client import RequestRefused, SignalingClient, SignalingClosed, attended
from load.files import files_advice
from load.lean_socket import HandshakeRefused, open_lean_socket
from load.mass import Mass, MediaFailed
from load.options import LoadFailed, LoadOptions
from load.parameters import CodecNotOffered
from load.streams import (
    Publication,
    VideoWish,
    audio_publication,
    receiver_arguments,
    video_publication,
    viewer_capabilities,
)
from protocol.answers import Joined, TransportCreated
from protocol.rtp_parameters import RtpCapabilities
from protocol.signaling import Subprotocol

CONNECT_TIMEOUT_S = 15.0
LEAVE_TIMEOUT_S = 2.0
_SUBPROTOCOL: Subprotocol = "reprise.v1.msgpack"


_SKIPPED = tuple(
    b"\x83\xa5event" + bytes([0xA0 | len(event)]) + event
    for event in (b"peerJoined", b"peerLeft", b"score", b"layersChanged")
)
"""Begins of notifications that viewers here need not decode: of a thousand viewers, each hears a
thousand times who came."""


@contextlib.asynccontextmanager
async def _connect(
    url: str, *, timeout_s: float = CONNECT_TIMEOUT_S
) -> AsyncIterator[SignalingClient]:
    """Connect, and wait for the server's welcome."""
    async with open_lean_socket(url, _SUBPROTOCOL, skipped=_SKIPPED, timeout_s=timeout_s) as socket:
        client = SignalingClient(socket, _SUBPROTOCOL)
        async with attended(client, timeout_s):
            yield client


class Seat:
    """A client's place in a room."""

    def __init__(self) -> None:
        self.client: int | None = None
        """Its number in the native core, once it has one."""
        self.wanted = trio.Event()
        """Set when it shall leave."""


class Signaling(Protocol):
    """Joins publishers and viewers.

    Both methods start the seat (`task_status.started`) when media flows, then
    hold it until `seat.wanted` is set, leave, and return. They raise
    `LoadFailed`, before they have started or behind.
    """

    async def publish(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Take a publisher's seat."""
        ...

    async def view(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Take a viewer's seat, watching all publishers of the room."""
        ...

    async def probe(self) -> str:
        """Say what server it is. Raises `LoadFailed` if it is none, or cannot be reached."""
        ...


class RepriseSignaling:
    """Signaling of this project. `token_of` gives the token for a room, or None."""

    def __init__(
        self, options: LoadOptions, mass: Mass, token_of: Callable[[str], str | None]
    ) -> None:
        self._options = options
        self._mass = mass
        self._token_of = token_of
        # Where another tester publishes, it is taken to publish as this one would.
        kinds = (options.codec is not None) + options.audio
        self._streams_wanted = max(1, options.publishers) * kinds

    async def probe(self) -> str:
        """Ask the server for its welcome."""
        with in_one_line(self._options.url):
            async with _connect(self._options.url, timeout_s=5) as client:
                return f"{client.welcome.get('server', '?')} {client.welcome.get('version', '?')}"

    async def publish(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Join, publish, and stay."""
        with in_one_line(self._options.url):
            async with _connect(self._options.url) as signaling:
                joined = await self._join(signaling, room, "publisher")
                created = await signaling.create_transport("send")
                try:
                    await self._transport(signaling, seat, created, publisher=True)
                    for publication in publications_of(
                        self._options, joined.router_rtp_capabilities
                    ):
                        await signaling.produce(
                            created.id, publication.kind, publication.rtp_parameters
                        )
                        assert seat.client is not None
                        for stream, sender in enumerate(publication.senders):
                            self._mass.add_sender(seat.client, stream, sender)
                    task_status.started()
                    await self._stay(signaling, seat)
                finally:
                    self._give_up(seat)

    async def view(self, room: str, seat: Seat, *, task_status: trio.TaskStatus[None]) -> None:
        """Join, consume all there is, and stay."""
        with in_one_line(self._options.url):
            async with _connect(self._options.url) as signaling:
                joined = await self._join(signaling, room, "viewer")
                producers = await self._producers(signaling, joined)
                created = await signaling.create_transport("recv")
                capabilities = viewer_capabilities(
                    joined.router_rtp_capabilities, transport_cc=self._options.transport_cc
                )
                try:
                    await self._transport(signaling, seat, created, publisher=False)
                    assert seat.client is not None
                    for stream, producer in enumerate(producers):
                        consumed = await signaling.consume(created.id, producer, capabilities)
                        arguments = receiver_arguments(consumed.rtp_parameters)
                        self._mass.add_receiver(seat.client, stream, arguments)
                        await signaling.resume_consumer(consumed.id)
                    task_status.started()
                    await self._stay(signaling, seat)
                finally:
                    self._give_up(seat)

    async def _join(self, signaling: SignalingClient, room: str, name: str) -> Joined:
        return await signaling.join(room, name=name, token=self._token_of(room))

    async def _transport(
        self,
        signaling: SignalingClient,
        seat: Seat,
        created: TransportCreated,
        *,
        publisher: bool,
    ) -> None:
        """Connect a transport: ICE and DTLS go on while its parameters are under way."""
        options = self._options
        if not created.ice_candidates:
            raise LoadFailed("the server names no ICE candidate")
        conditions = options.publisher_conditions if publisher else options.viewer_conditions
        seat.client = self._mass.add(created.ice_parameters, created.ice_candidates[0], conditions)
        await signaling.connect_transport(created.id, self._mass.dtls_parameters)
        self._mass.start_dtls(seat.client, created.dtls_parameters)
        await self._mass.wait_connected(seat.client, timeout_s=options.join_timeout_s)

    async def _producers(self, signaling: SignalingClient, joined: Joined) -> list[str]:
        """Ids of what is published; waits until all that is expected is there."""
        producers = [producer.id for producer in joined.producers]
        with trio.move_on_after(self._options.join_timeout_s):
            while len(producers) < self._streams_wanted:
                added = await signaling.wait_for("producerAdded")
                producers.append(str(added.data["producer"]["id"]))
        if not producers:
            raise LoadFailed("nobody publishes in the room")
        return producers

    async def _stay(self, signaling: SignalingClient, seat: Seat) -> None:
        """Hold the seat until it shall be left; then leave."""

        async def wait_closed(scope: trio.CancelScope) -> None:
            await signaling.wait_closed()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_closed, nursery.cancel_scope)
            await seat.wanted.wait()
            nursery.cancel_scope.cancel()
        if not seat.wanted.is_set():
            raise await signaling.wait_closed()
        with (
            trio.move_on_after(LEAVE_TIMEOUT_S),
            contextlib.suppress(RequestRefused, SignalingClosed, trio.TooSlowError),
        ):
            await signaling.leave()

    def _give_up(self, seat: Seat) -> None:
        if seat.client is not None:
            self._mass.remove(seat.client)
            seat.client = None


def publications_of(options: LoadOptions, router: RtpCapabilities) -> list[Publication]:
    """The streams that one publisher sends. Raises `CodecNotOffered`."""
    publications = []
    if options.codec is not None:
        wish = VideoWish(
            codec=f"video/{options.codec}",  # type: ignore[arg-type]
            bitrate_bps=options.bitrate_bps,
            frame_rate=options.frame_rate,
            simulcast=options.simulcast,
            even_split=options.even_split,
        )
        publications.append(video_publication(router, wish, mid="0"))
    if options.audio:
        publications.append(audio_publication(router, mid="1"))
    return publications


@contextlib.contextmanager
def in_one_line(url: str):  # type: ignore[no-untyped-def]
    """Turn whatever a server can do to us into `LoadFailed`."""
    try:
        yield
    except LoadFailed:
        raise
    except Exception as error:
        raise LoadFailed(reason_of(error, url)) from error


def reason_of(error: BaseException, url: str) -> str:
    """Say in one line why talking with the server at `url` failed."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(error.exceptions[0], url)
    garbage = f"what answers at {url} is no signaling server that we know"
    match error:
        case LoadFailed() | MediaFailed():
            return str(error)
        case RequestRefused():
            return f"the server refused: {error}"
        case SignalingClosed():
            return f"the server closed the connection: {error}"
        case CodecNotOffered():
            return f"the server does not route {error}"
        case HandshakeRefused():
            return f"{garbage}: {error}"
        case ssl.SSLCertVerificationError():
            # A ValueError as well, as its class has it.
            return (
                f"the certificate of {url} is not trusted: {error.verify_message.rstrip('.')};"
                " SSL_CERT_FILE may name a file of others that are"
            )
        case trio.TooSlowError():
            return f"no answer from {url} in time"
        case (
            msgspec.MsgspecError() | UnicodeDecodeError() | KeyError() | TypeError() | ValueError()
        ):
            return f"{garbage}: {str(error) or type(error).__name__}"
        case OSError(errno=24 | 23):
            return files_advice()
        case OSError():
            return f"cannot reach {url}: {_cause_of(error)}"
        case _:
            return f"{type(error).__name__}: {error}"


def _cause_of(error: BaseException) -> str:
    """What the operating system said first; trio tells of all attempts together."""
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in errno.errorcode and not isinstance(error, ssl.SSLError | socket.gaierror):
        # What trio says of it names an address as Python has it.
        return os.strerror(error.errno or 0)
    return error.strerror or str(error)
