"""A whole peer: signaling, transports, and the streams it publishes and watches.

    async with connect(url) as client, trio.open_nursery() as nursery:
        peer = Endpoint(client, nursery)
        await peer.join("room")
        sender = await peer.publish("video/VP8")
        receiver = await peer.watch(producer_id)

What it starts runs in the nursery that it was handed, and ends with it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import trio
from msgspec import Struct

from load.client import SignalingClient
from load.media import CodecName, media_loop
from load.parameters import publisher_parameters, viewer_capabilities
from load.receiver import StreamReceiver
from load.sender import StreamSender
from load.webrtc import TransportFailed, WebRtcTransport
from media.certificate import DtlsCertificate
from media.dtls import DtlsContext, DtlsRole
from protocol.answers import Consumed, Joined
from protocol.rtp_parameters import RtpCapabilities, RtpParameters


class Published(Struct, frozen=True):
    """A stream that goes up."""

    producer: str
    rtp_parameters: RtpParameters
    sender: StreamSender


class Watched(Struct, frozen=True):
    """A stream that comes down."""

    consumed: Consumed
    receiver: StreamReceiver


class Endpoint:
    """One peer with at most one transport a direction, made when first needed."""

    def __init__(
        self,
        client: SignalingClient,
        nursery: trio.Nursery,
        *,
        role: DtlsRole = "client",
        context: DtlsContext | None = None,
    ) -> None:
        self.client = client
        self.transports: dict[str, WebRtcTransport] = {}
        self._nursery = nursery
        self._role: DtlsRole = role
        self._context = context or DtlsContext(DtlsCertificate.generate())
        self._router = RtpCapabilities()
        self._mids = itertools.count()
        self._connecting = trio.Lock()

    async def join(self, room: str, **more: Any) -> Joined:
        """Enter a room; `more` as `SignalingClient.join`."""
        joined = await self.client.join(room, **more)
        self._router = joined.router_rtp_capabilities
        return joined

    async def transport(self, direction: Literal["send", "recv"]) -> WebRtcTransport:
        """Return the transport of a direction, made and connected if there was none."""
        async with self._connecting:
            known = self.transports.get(direction)
            if known is not None:
                return known
            created = await self.client.create_transport(direction)
            made = WebRtcTransport(created, role=self._role, context=self._context)
            await self.client.connect_transport(created.id, made.dtls_parameters)
            self._nursery.start_soon(made.run)
            await made.wait_connected()
            self.transports[direction] = made
            return made

    async def publish(
        self,
        codec: CodecName,
        *,
        bitrate_bps: int = 300_000,
        app_data: dict[str, Any] | None = None,
    ) -> Published:
        """Publish a synthetic stream and keep sending it."""
        transport = await self.transport("send")
        loop = media_loop(codec, bitrate_bps)
        parameters = publisher_parameters(self._router, codec, mid=str(next(self._mids)))
        producer = await self.client.produce(transport.id, loop.kind, parameters, app_data=app_data)
        sender = StreamSender(transport, parameters, loop)
        self._nursery.start_soon(_while_connected, sender.run)
        return Published(producer, parameters, sender)

    async def watch(self, producer: str, *, nack: bool = True, resume: bool = True) -> Watched:
        """Consume a producer, send feedback, and let its media flow unless told otherwise."""
        transport = await self.transport("recv")
        capabilities = viewer_capabilities(self._router)
        consumed = await self.client.consume(transport.id, producer, capabilities)
        receiver = StreamReceiver(transport, consumed.rtp_parameters)
        self._nursery.start_soon(_while_connected, functools.partial(receiver.run, nack=nack))
        if resume:
            await self.client.resume_consumer(consumed.id)
        return Watched(consumed, receiver)

    async def close(self) -> None:
        """Close the transports; the room is left by `SignalingClient.leave`."""
        for transport in self.transports.values():
            await transport.close()


async def _while_connected(run: Callable[[], Awaitable[None]]) -> None:
    """Run a stream until its transport ends: that is for the transport's owner to judge."""
    try:
        await run()
    except TransportFailed:
        return
