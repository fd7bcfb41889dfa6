"""A peer by pymediasoup, a client that nobody here wrote, in a process of its own.

    python -m tests.support.pymediasoup_peer publish|watch SIGNALING_URL ROOM

pymediasoup and aiortc run on asyncio, our signaling client on trio; trio-asyncio runs both. What
it does it says in JSON lines on standard output; when standard input ends it leaves.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import json
import math
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

import av
import trio
import trio_asyncio
from aiortc import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from pymediasoup import AiortcHandler, Device
from pymediasoup.models.transport import DtlsParameters
from pymediasoup.rtp_parameters import RtpCapabilities, RtpParameters
from pymediasoup.transport import Transport

from load.client import SignalingClient, connect

WIDTH, HEIGHT = 640, 360
BAR_WIDTH = 80
TONE_HZ = 440
REPORT_FRAMES = 5

READERS: list[asyncio.Future[None]] = []


def say(event: str, **data: Any) -> None:
    """Tell the test."""
    print(json.dumps({"event": event, **data}), flush=True)  # noqa: T201


class Bar(VideoStreamTrack):
    """A bright bar that wanders over a dark picture."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *colours = frame.planes
        at = (pts // 500) % (WIDTH - BAR_WIDTH)
        row = b"\x28" * at + b"\xdc" * BAR_WIDTH
        luma.update(row.ljust(luma.line_size, b"\x28") * luma.height)
        for colour in colours:
            colour.update(b"\x90" * colour.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """A tone of 440 Hz."""

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()  # aiortc paces it, and leaves it silent
        turn = 2 * math.pi * TONE_HZ / frame.sample_rate
        wave = (round(8_000 * math.sin(turn * (frame.pts + i))) for i in range(frame.samples))
        samples = array.array("h", wave).tobytes()
        frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
        return frame


class Adapter:
    """What an application that uses pymediasoup writes: signaling requests for its events.

    Its methods run on the asyncio side.
    """

    def __init__(self, client: SignalingClient) -> None:
        self._client = client

    async def request(self, method: str, **data: Any) -> dict[str, Any]:
        """One request of our signaling, called from asyncio."""
        return await trio_asyncio.trio_as_aio(partial(self._client.request, method, data))()

    async def transport(self, device: Device, direction: str) -> Transport:
        """A transport on both sides."""
        answer = await self.request("createTransport", direction=direction)
        make = device.createSendTransport if direction == "send" else device.createRecvTransport
        transport = make(**answer, sctpParameters=None, iceServers=[])
        name = answer["id"]

        @transport.on("connect")  # type: ignore[untyped-decorator]
        async def on_connect(parameters: DtlsParameters) -> None:
            await self.request(
                "connectTransport",
                transport=name,
                dtlsParameters=parameters.model_dump(exclude_none=True),
            )

        @transport.on("produce")  # type: ignore[untyped-decorator]
        async def on_produce(kind: str, parameters: RtpParameters, app_data: Any) -> str:
            produced = await self.request(
                "produce",
                transport=name,
                kind=kind,
                rtpParameters=parameters.model_dump(exclude_none=True),
                appData=app_data,
            )
            return str(produced["id"])

        @transport.on("connectionstatechange")  # type: ignore[untyped-decorator]
        async def on_state(state: str) -> None:
            say("connection", state=state)

        @transport.on("error")  # type: ignore[untyped-decorator]
        def on_error(error: Exception) -> None:
            say("error", error=repr(error))

        return transport


async def publish(adapter: Adapter, device: Device, _joined: dict[str, Any]) -> None:
    """Send a moving picture and a tone."""
    transport = await adapter.transport(device, "send")
    video = await transport.produce(track=Bar(), stopTracks=False, appData={"source": "camera"})
    audio = await transport.produce(
        track=Tone(), stopTracks=False, appData={"source": "microphone"}
    )
    say("published", video=video.id, audio=audio.id, codec=video.rtpParameters.codecs[0].mimeType)


async def watch(adapter: Adapter, device: Device, joined: dict[str, Any]) -> None:
    """Receive what is published, and tell of each few frames what is in them."""
    transport = await adapter.transport(device, "recv")
    capabilities = device.recvRtpCapabilities.model_dump(exclude_none=True)
    for producer in joined["producers"]:
        answer = await adapter.request(
            "consume",
            transport=transport.id,
            producer=producer["id"],
            rtpCapabilities=capabilities,
        )
        consumer = await transport.consume(
            id=answer["id"],
            producerId=producer["id"],
            kind=answer["kind"],
            rtpParameters=RtpParameters(**answer["rtpParameters"]),
        )
        await adapter.request("resumeConsumer", consumer=answer["id"])
        reader = read_video if answer["kind"] == "video" else read_audio
        READERS.append(asyncio.ensure_future(until_it_ends(reader(consumer.track))))


async def until_it_ends(reading: Coroutine[Any, Any, None]) -> None:
    """Read a track until the router says goodbye, which may come before this process has ended."""
    with contextlib.suppress(MediaStreamError):
        await reading


async def read_video(track: MediaStreamTrack) -> None:
    """Say how much the picture changed since the last report."""
    before = b""
    count = 0
    while True:
        frame = await track.recv()
        count += 1
        if count % REPORT_FRAMES:
            continue
        grey = bytes(frame.reformat(width=128, height=72, format="gray").planes[0])
        changed = sum(abs(a - b) > 12 for a, b in zip(grey, before, strict=False)) / len(grey)
        before = grey
        contrast = max(grey) - min(grey)
        say("video", frames=count, changed=changed, contrast=contrast, height=frame.height)


async def read_audio(track: MediaStreamTrack) -> None:
    """Say how loud it was."""
    count, loudest = 0, 0
    while True:
        frame = await track.recv()
        count += 1
        loudest = max(loudest, *array.array("h", bytes(frame.planes[0])[: 2 * frame.samples]))
        if count % 50 == 0:
            say("audio", frames=count, loudest=loudest)
            loudest = 0


async def run(role: str, url: str, room: str) -> None:
    """Join, do what the role says, and leave when standard input ends."""
    async with trio_asyncio.open_loop(), connect(url) as client:
        joined = await client.request("join", {"room": room, "name": f"pymediasoup {role}"})
        adapter = Adapter(client)

        async def work() -> None:
            device = Device(handlerFactory=AiortcHandler.createFactory())
            await device.load(RtpCapabilities(**joined["routerRtpCapabilities"]))
            await (publish if role == "publish" else watch)(adapter, device, joined)

        await trio_asyncio.aio_as_trio(work)()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        await client.request("leave")
        say("left")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["publish", "watch"])
    parser.add_argument("url")
    parser.add_argument("room")
    given = parser.parse_args()
    trio.run(run, given.role, given.url, given.room)
