"""Things that happen in rooms, each told from its beginning on a fresh stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from protocol.commands import (
    CloseConsumer,
    CloseProducer,
    CloseTransport,
    ConnectTransport,
    CreateTransport,
    Join,
    Leave,
    PauseConsumer,
    PauseProducer,
    QueryProducer,
    RequestConsumerKeyFrame,
    RestartIce,
    ResumeConsumer,
    ResumeProducer,
    SetPreferredLayers,
    SetPriority,
)
from protocol.messages import EvictPeer
from protocol.notices import (
    ConsumerScore,
    DtlsStateChanged,
    IceStateChanged,
    IceTupleChanged,
    KeyFrameRequested,
    LayersChanged,
    OrderRefused,
    ProducerActivityChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.rtp_parameters import RtpCapabilities
from tests.control.samples import REMOTE_DTLS, consume, produce
from tests.control.stage import Client, Stage, joined

Scenario = Callable[[Stage, trio.Nursery], Awaitable[None]]


async def connect(stage: Stage, client: Client, transport: str) -> None:
    """ICE and DTLS of a transport, as a browser would go through them."""
    command = ConnectTransport(peer=client.peer, transport=transport, dtls_parameters=REMOTE_DTLS)
    await stage.met(command, client.room)
    stage.plane.inject(
        IceStateChanged(transport=transport, state="connected", remote="192.0.2.9:4000"),
        DtlsStateChanged(transport=transport, state="connecting"),
        DtlsStateChanged(transport=transport, state="connected", srtp_profile="AEAD_AES_128_GCM"),
    )
    await stage.settle()


async def live(stage: Stage) -> tuple[Client, Client, str, str, str, str]:
    """A host that is live, and a viewer who watches."""
    host, viewer = await joined(stage, "host"), await joined(stage, "viewer")
    send, recv = await host.transport("send"), await viewer.transport("recv")
    await connect(stage, host, send)
    await connect(stage, viewer, recv)
    producer = await host.produce(send)
    stage.plane.inject(ProducerActivityChanged(producer=producer, active=True))
    await stage.settle()
    consumer = await viewer.consume(recv, producer)
    await stage.met(ResumeConsumer(peer=viewer.peer, consumer=consumer))
    return host, viewer, send, recv, producer, consumer


async def join_and_leave(stage: Stage, _: trio.Nursery) -> None:
    first, second = await joined(stage, "first"), await joined(stage, "second")
    await first.transport("send")
    await stage.met(Leave(peer=first.peer))
    await joined(stage, "third")
    stage.system.post("room", EvictPeer(peer=second.peer, reason="evicted"))
    await stage.settle()


async def publish_and_watch(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, send, recv, producer, consumer = await live(stage)
    audio = await host.produce(send, "audio")
    heard = await viewer.consume(recv, audio)
    stage.plane.inject(
        ProducerScore(producer=producer, scores=(10,)),
        ConsumerScore(consumer=consumer, score=9, producer_score=10),
        KeyFrameRequested(producer=producer, encoding=0, requests=2),
    )
    await stage.settle()
    await stage.met(RequestConsumerKeyFrame(peer=viewer.peer, consumer=consumer))
    await stage.met(CloseConsumer(peer=viewer.peer, consumer=heard))
    await stage.met(QueryProducer(peer=host.peer, producer=audio))
    await stage.met(CloseProducer(peer=host.peer, producer=producer))
    await stage.met(CloseTransport(peer=host.peer, transport=send))


async def pause_and_resume(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, _send, recv, producer, consumer = await live(stage)
    await stage.met(PauseProducer(peer=host.peer, producer=producer))
    await viewer.consume(recv, producer)
    await stage.met(PauseConsumer(peer=viewer.peer, consumer=consumer))
    await stage.met(PauseConsumer(peer=viewer.peer, consumer=consumer))
    await stage.met(ResumeProducer(peer=host.peer, producer=producer))
    await stage.met(ResumeProducer(peer=host.peer, producer=producer))
    await stage.met(ResumeConsumer(peer=viewer.peer, consumer=consumer))
    await stage.met(PauseProducer(peer=host.peer, producer=producer))


async def simulcast(stage: Stage, _: trio.Nursery) -> None:
    host, viewer = await joined(stage, "host"), await joined(stage, "viewer")
    send, recv = await host.transport("send"), await viewer.transport("recv")
    producer = await host.produce(send, layers=3)
    for layer in range(3):
        stage.plane.inject(
            ProducerStreamLearned(
                producer=producer, encoding=layer, ssrc=70 + layer, rtx_ssrc=80 + layer
            )
        )
    consumer = await viewer.consume(recv, producer)
    await stage.met(
        SetPreferredLayers(peer=viewer.peer, consumer=consumer, spatial_layer=1, temporal_layer=2)
    )
    stage.plane.inject(
        LayersChanged(consumer=consumer, spatial_layer=1, temporal_layer=2),
        LayersChanged(consumer=consumer, spatial_layer=None, temporal_layer=None),
    )
    await stage.met(SetPreferredLayers(peer=viewer.peer, consumer=consumer, spatial_layer=2))
    await stage.met(SetPriority(peer=viewer.peer, consumer=consumer, priority=200))
    await stage.met(SetPreferredLayers(peer=viewer.peer, consumer=consumer, spatial_layer=2))


async def ice_restart(stage: Stage, _: trio.Nursery) -> None:
    host, _viewer, send, recv, _producer, _consumer = await live(stage)
    stage.plane.inject(IceTupleChanged(transport=send, remote="192.0.2.9:4001"))
    stage.plane.inject(IceStateChanged(transport=send, state="disconnected"))
    stage.plane.inject(IceStateChanged(transport=send, state="failed"))
    stage.plane.inject(IceStateChanged(transport=recv, state="failed"))
    await stage.settle()
    await trio.sleep(10)
    await stage.met(RestartIce(peer=host.peer, transport=send))
    stage.plane.inject(IceStateChanged(transport=send, state="connected", remote="192.0.2.10:4000"))
    await trio.sleep(25)  # the viewer's transport does not come back
    await stage.met(RestartIce(peer=host.peer, transport=send))


async def plane_crash(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, *_ = await live(stage)
    stage.plane.crash()
    await stage.settle()
    await stage.refused(CreateTransport(peer=host.peer, direction="send"))
    stage.plane.restart()
    await stage.settle()
    producer = await host.produce(await host.transport("send"))
    await viewer.consume(await viewer.transport("recv"), producer)


async def takeover(stage: Stage, nursery: trio.Nursery) -> None:
    host, viewer, send, _recv, producer, consumer = await live(stage)
    await stage.restart(nursery)
    await host.resume()
    await viewer.resume()
    await stage.met(PauseProducer(peer=host.peer, producer=producer))
    await stage.met(PauseConsumer(peer=viewer.peer, consumer=consumer))
    stage.plane.lose_connection()
    await stage.settle()
    stage.plane.restart()
    await stage.settle()
    await stage.met(RestartIce(peer=host.peer, transport=send))


async def lost_and_resumed(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, *_ = await live(stage)
    third = await joined(stage, "third")
    viewer.lose_socket()
    third.lose_socket()
    await stage.settle()
    await trio.sleep(5)
    await joined(stage, "fourth")
    await viewer.resume()
    await trio.sleep(6)  # the grace of the third is over
    host.lose_socket()
    await stage.settle()
    await trio.sleep(11)


async def reopened(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, *_ = await live(stage)
    await stage.met(Leave(peer=host.peer))
    await stage.met(Leave(peer=viewer.peer))
    await trio.sleep(6)
    assert not stage.system.has_room("room")
    host, viewer, *_ = await live(stage)
    await stage.met(Leave(peer=host.peer))


async def refused(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, send, recv, producer, consumer = await live(stage)
    await stage.refused(produce(host.peer, recv))
    await stage.refused(produce(viewer.peer, recv))
    await stage.refused(produce(host.peer, send))
    await stage.refused(consume(host.peer, send, producer))
    await stage.refused(consume(viewer.peer, recv, "nothing"))
    await stage.refused(consume(viewer.peer, recv, producer, RtpCapabilities()))
    await stage.refused(PauseProducer(peer=viewer.peer, producer=producer))
    await stage.refused(PauseConsumer(peer=host.peer, consumer=consumer))
    await stage.refused(RestartIce(peer=viewer.peer, transport=send))
    await stage.refused(
        ConnectTransport(peer=host.peer, transport=send, dtls_parameters=REMOTE_DTLS)
    )
    await stage.refused(Leave(peer="nobody"))
    await stage.refused(Join(room="elsewhere", create=False), "elsewhere")


async def orders_refused(stage: Stage, _: trio.Nursery) -> None:
    host, viewer, send, recv, producer, consumer = await live(stage)
    second = await host.produce(send, "audio")
    await viewer.consume(recv, second)
    for kind, entity in (("consumer", consumer), ("producer", producer), ("transport", recv)):
        stage.plane.inject(
            OrderRefused(kind=kind, id=entity, code="immutable_field", message="")  # type: ignore[arg-type]
        )
        await stage.settle()


async def connections_fail(stage: Stage, _: trio.Nursery) -> None:
    host, _viewer, _send, recv, *_ = await live(stage)
    stage.plane.inject(DtlsStateChanged(transport=recv, state="closed"))
    slow, wrong = await host.transport("send"), await host.transport("recv")
    for transport in (slow, wrong):
        await stage.met(
            ConnectTransport(peer=host.peer, transport=transport, dtls_parameters=REMOTE_DTLS)
        )
    stage.plane.inject(
        DtlsStateChanged(transport=wrong, state="failed", reason="fingerprint_mismatch")
    )
    await trio.sleep(31)


SCENARIOS: tuple[Scenario, ...] = (
    join_and_leave,
    publish_and_watch,
    pause_and_resume,
    simulcast,
    ice_restart,
    plane_crash,
    takeover,
    lost_and_resumed,
    reopened,
    refused,
    orders_refused,
    connections_fail,
)
