"""A child process: publishes a picture, and a tone of 440 Hz as opus with redundancy.

Every fourth packet of the tone is lost on its way; the next one bears what was in it.

    python -m tests.support.red_peer URL ROOM

Says `published`, and leaves when its standard input ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio
from aiortc.rtp import RtpPacket

from load.client import connect
from load.endpoint import Endpoint
from load.media import media_loop
from load.parameters import publisher_parameters
from load.sender import StreamSender
from load.webrtc import WebRtcTransport
from tests.support.red import redundant, with_red

LOST_EACH = 4


class Lossy:
    """A transport on which every fourth packet of one stream is lost."""

    def __init__(self, transport: WebRtcTransport, ssrc: int) -> None:
        self._transport = transport
        self._ssrc = ssrc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send_rtp(self, packet: RtpPacket) -> None:
        """Send a packet, or lose it."""
        if packet.ssrc != self._ssrc or packet.sequence_number % LOST_EACH:
            await self._transport.send_rtp(packet)


async def run(url: str, room: str) -> None:
    """Publish until nobody writes to standard input any more."""
    async with connect(url) as client, trio.open_nursery() as nursery:
        peer = Endpoint(client, nursery)
        joined = await peer.join(room, name="redundant")
        await peer.publish("video/VP8")
        transport = await peer.transport("send")
        plain = publisher_parameters(joined.router_rtp_capabilities, "audio/opus", mid="red")
        parameters = with_red(plain)
        await client.produce(transport.id, "audio", parameters)
        lossy: Any = Lossy(transport, parameters.encodings[0].ssrc)
        sender = StreamSender(lossy, parameters, redundant(media_loop("audio/opus")))
        nursery.start_soon(sender.run)
        sys.stdout.write(json.dumps({"event": "published"}) + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        await client.leave()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, *sys.argv[1:])
