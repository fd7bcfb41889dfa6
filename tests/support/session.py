"""A session as an application would have it: two publishers, four viewers, some mishaps."""

from __future__ import annotations

import contextlib

import trio

from load.client import RequestRefused, connect
from load.endpoint import Endpoint

ROOM = "lobby"


async def play(url: str, room: str = ROOM) -> None:
    """Take part in it all, for some six seconds. Raises what a client met that it should not."""
    async with trio.open_nursery() as nursery:

        async def peer(name):
            client = await nursery.start(_hold, url)
            endpoint = Endpoint(client, nursery)
            await endpoint.join(room, name=name)
            return endpoint

        host = await peer("Host")
        picture = await host.publish("video/VP8", bitrate_bps=250_000)
        sound = await host.publish("audio/opus")
        guest = await peer("Guest")
        voice = await guest.publish("audio/opus", app_data={"source": "microphone"})

        viewers = [await peer(name) for name in ("Ada", "Ben", "Cleo", "Dan")]
        for viewer in viewers:
            watched = [await viewer.watch(one.producer) for one in (picture, sound, voice)]
            viewer.watched = watched
        for viewer in viewers:
            for one in viewer.watched:
                await one.receiver.wait_packets(3)
        ada, ben, cleo, dan = viewers
        await trio.sleep(0.5)
        with contextlib.suppress(RequestRefused):
            await ada.client.consume(
                ada.transports["recv"].id, "nothing", ada.client.joined.router_rtp_capabilities
            )
        await _ask(ada, "pauseConsumer", 1)
        await _ask(ada, "setPreferredLayers", 0, spatialLayer=0)
        await _ask(ben, "requestKeyFrame", 0)
        await _ask(ben, "closeConsumer", 2)
        transport = cleo.transports["recv"]
        transport.restart_ice(await cleo.client.restart_ice(transport.id))
        await ada.client.request("getStats", {"consumer": ada.watched[0].consumed.id})
        await trio.sleep(1.5)
        await _ask(ada, "resumeConsumer", 1)
        await host.client.request("pauseProducer", {"producer": picture.producer})
        await ben.client.leave()
        session, position = dan.client.joined.session, dan.client.position
        await dan.client.abandon()
        await trio.sleep(1.5)
        again = await nursery.start(_hold, url)
        await again.resume(session, position)
        await host.client.request("resumeProducer", {"producer": picture.producer})
        await trio.sleep(1.5)
        await guest.client.leave()
        await trio.sleep(1.0)
        for one in (host, ada, cleo):
            await one.client.leave()
        await again.leave()
        nursery.cancel_scope.cancel()


async def _hold(url, task_status):
    """Hold a connection until the server closes it, or it breaks."""
    async with connect(url) as client:
        task_status.started(client)
        await client.wait_closed()


async def _ask(viewer, method, index, **more):
    consumer = viewer.watched[index].consumed.id
    await viewer.client.request(method, {"consumer": consumer, **more})
