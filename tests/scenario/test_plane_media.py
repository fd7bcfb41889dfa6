"""Media through the real plane, led by its face: publisher and viewer are the trio client.

No actors and no signaling: rows are made by the negotiation, as actors make them.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from load.media import CodecName, MediaLoop, media_loop
from load.parameters import publisher_parameters, viewer_capabilities
from load.receiver import StreamReceiver
from load.sender import StreamSender
from load.webrtc import WebRtcTransport
from media.dtls import DtlsRole
from media.interface import PlaneItem
from media.plane_client import Plane
from media.plane_process import PlaneProcess, plane_command
from protocol.answers import TransportCreated
from protocol.negotiation import (
    ProducerNegotiation,
    consumer_parameters,
    consumer_row,
    negotiate_producer,
    producer_row,
    router_capabilities,
)
from protocol.notices import DtlsStateChanged, IceStateChanged, ProducerActivityChanged
from protocol.orders import IceCredentials, Remove, SetConsumer, SetTransport
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)
from tests.contract.plane_harness import environment, short_directory
from tests.support.red import red_payload, redundant, takes_red, with_red
from tests.unit.dtls_pair import contexts

pytestmark = pytest.mark.plane

ROUTER = router_capabilities()
OTHER: dict[DtlsRole, DtlsRole] = {"client": "server", "server": "client"}


def password_of(ufrag: str) -> str:
    return f"{ufrag}0123456789abcdef01234567"


class Bench:
    """A plane with two workers, and all that it has said."""

    def __init__(self, plane: Plane, nursery: trio.Nursery) -> None:
        self.plane = plane
        self.nursery = nursery
        self.said: list[PlaneItem] = []
        self.news = trio.Event()
        self.room = ""
        """Of the transports that are made."""

    async def listen(self) -> None:
        async for item in self.plane.notices:
            self.said.append(item)
            news, self.news = self.news, trio.Event()
            news.set()

    async def hear(self, wanted: PlaneItem) -> None:
        with trio.fail_after(10):
            while wanted not in self.said:
                await self.news.wait()

    async def transport(
        self, name: str, direction: str, *, role: DtlsRole = "client", on: int = 0
    ) -> WebRtcTransport:
        """A transport of worker `on`; its other end is the trio client in this DTLS role."""
        assert self.plane.info is not None
        ufrag = f"ufrag{name}"
        ice = (IceCredentials(ufrag=ufrag),)
        row = SetTransport(
            transport=name,
            worker=on,
            direction=direction,  # type: ignore[arg-type]
            ice=ice,
            room=self.room,
        )
        self.plane.submit([row])
        worker = self.plane.info.workers[on]
        created = TransportCreated(
            id=name,
            ice_parameters=IceParameters(username_fragment=ufrag, password=password_of(ufrag)),
            ice_candidates=(
                IceCandidate(
                    foundation="1",
                    priority=1,
                    ip=worker.host,
                    address=worker.host,
                    port=worker.port,
                ),
            ),
            dtls_parameters=DtlsParameters(
                fingerprints=tuple(
                    DtlsFingerprint(algorithm=algorithm, value=value)  # type: ignore[arg-type]
                    for algorithm, value in contexts()[1].certificate.fingerprints
                )
            ),
        )
        made = WebRtcTransport(created, role=role, context=contexts()[0])
        remote = tuple((one.algorithm, one.value) for one in made.dtls_parameters.fingerprints)
        self.plane.submit(
            [
                SetTransport(
                    transport=name,
                    worker=on,
                    direction=row.direction,
                    ice=ice,
                    dtls_role=OTHER[role],
                    fingerprints=remote,
                    room=self.room,
                )
            ]
        )
        self.nursery.start_soon(made.run)
        await made.wait_connected()
        await self.hear(
            DtlsStateChanged(transport=name, state="connected", srtp_profile="AEAD_AES_128_GCM")
        )
        return made

    async def publish(
        self,
        transport: WebRtcTransport,
        codec: CodecName,
        name: str = "p",
        *,
        loop: MediaLoop | None = None,
        change: Callable[[RtpParameters], RtpParameters] = lambda parameters: parameters,
    ) -> tuple[StreamSender, RtpParameters]:
        loop = loop or media_loop(codec)
        parameters = change(publisher_parameters(ROUTER, codec, mid=name))
        negotiated = negotiate_producer(loop.kind, parameters, ROUTER)
        assert isinstance(negotiated, ProducerNegotiation)
        row = producer_row(
            producer=name,
            transport=transport.id,
            kind=loop.kind,
            rtp_parameters=negotiated.rtp_parameters,
            mapping=negotiated.mapping,
        )
        self.plane.submit([row])
        sender = StreamSender(transport, parameters, loop)
        self.nursery.start_soon(sender.run)
        await self.hear(ProducerActivityChanged(producer=name, active=True))
        return sender, negotiated.consumable_rtp_parameters

    def consume(
        self,
        transport: WebRtcTransport,
        consumable: RtpParameters,
        *,
        viewer: RtpCapabilities | None = None,
        paused: bool = False,
    ) -> tuple[StreamReceiver, SetConsumer]:
        told = consumer_parameters(
            consumable,
            viewer or viewer_capabilities(ROUTER),
            ssrc=7001,
            rtx_ssrc=7002,
            mid="0",
            cname="cname",
        )
        assert isinstance(told, RtpParameters)
        row = consumer_row(
            consumer="c",
            transport=transport.id,
            producer="p",
            kind="audio" if told.codecs[0].mime_type.startswith("audio") else "video",
            rtp_parameters=told,
            paused=paused,
        )
        self.plane.submit([row])
        return StreamReceiver(transport, told), row


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with opened() as made:
        yield made


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    directory = short_directory()
    plane = Plane(contexts()[1], ice_password=password_of, version="test", grace_ms=5_000)
    process = PlaneProcess(
        plane,
        command=plane_command(
            directory / "plane.sock",
            host="127.0.0.1",
            ports=(22000, 22999),
            workers=2,
            version="test",
            grace_ms=5_000,
        ),
        socket_path=directory / "plane.sock",
        log_path=directory / "plane.log",
        env=environment(),
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run)
            made = Bench(plane, nursery)
            nursery.start_soon(made.listen)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("role", ["client", "server"])
async def test_a_transport_connects_in_either_dtls_role(bench: Bench, role: DtlsRole) -> None:
    transport = await bench.transport("t", "send", role=role)
    local = f"127.0.0.1:{transport.local_port}"
    await bench.hear(IceStateChanged(transport="t", state="connected", remote=local))
    (entry,) = (await bench.plane.describe()).transports
    assert (entry.ice_state, entry.remote) == ("connected", local)
    assert entry.srtp_profile == "AEAD_AES_128_GCM"
    await transport.close()
    await bench.hear(DtlsStateChanged(transport="t", state="closed"))


async def test_a_viewer_on_another_worker_sees_and_asks_and_ends_with_its_producer(
    bench: Bench,
) -> None:
    sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    receiver, row = bench.consume(await bench.transport("down", "recv", on=1), consumable)
    await receiver.wait_keyframes(1)
    await receiver.wait_packets(60)
    assert (receiver.gaps, receiver.duplicates) == (0, 0)
    asked = sender.keyframe_requests
    with trio.fail_after(10):
        while sender.keyframe_requests == asked:
            # Again, as browsers do: what comes right after a keyframe is not passed on.
            await receiver.send_pli()
            await receiver.wait_packets(receiver.packets + 20)
    table = await bench.plane.describe()
    assert {entry.transport: entry.worker for entry in table.transports} == {"up": 0, "down": 1}
    bench.plane.submit([Remove(kind="producer", id="p")])
    table = await bench.plane.describe()
    assert (table.producers, table.consumers) == ((), ())
    assert await bench.plane.query_stats([row.consumer]) == ()


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264", "audio/opus"])
async def test_what_a_publisher_sends_reaches_a_viewer(bench: Bench, codec: CodecName) -> None:
    sender, consumable = await bench.publish(await bench.transport("up", "send"), codec)
    receiver, row = bench.consume(await bench.transport("down", "recv"), consumable)
    await receiver.wait_packets(60)
    assert receiver.wrong_payload_type == 0
    assert receiver.gaps == 0
    assert receiver.duplicates == 0
    assert receiver.mids == {"0"}
    if sender.loop.kind == "video":
        assert receiver.keyframes >= 1
    (stats,) = await bench.plane.query_stats([row.consumer])
    assert stats.streams[0].ssrc == 7001
    assert stats.streams[0].packets >= 60


async def test_a_consumer_that_resumes_begins_with_a_keyframe_and_no_gap(bench: Bench) -> None:
    _sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    receiver, row = bench.consume(await bench.transport("down", "recv"), consumable)
    await receiver.wait_keyframes(1)
    await receiver.wait_packets(20)
    bench.plane.submit([_paused(row, True)])
    await bench.plane.describe()
    keyframes = receiver.keyframes
    bench.plane.submit([_paused(row, False)])
    await receiver.wait_keyframes(keyframes + 1)
    await receiver.wait_packets(receiver.packets + 20)
    assert receiver.gaps == 0


@pytest.mark.parametrize("takes", [True, False])
async def test_opus_with_redundancy_reaches_a_viewer_as_it_takes_it(
    bench: Bench, takes: bool
) -> None:
    loop = redundant(media_loop("audio/opus"))
    up = await bench.transport("up", "send")
    sender, consumable = await bench.publish(up, "audio/opus", loop=loop, change=with_red)
    viewer = viewer_capabilities(ROUTER)
    viewer = takes_red(viewer, ROUTER) if takes else viewer
    down = await bench.transport("down", "recv")
    receiver, row = bench.consume(down, consumable, viewer=viewer)
    payloads: list[bytes] = []
    down.add_handlers(lambda packet, _at_ns: payloads.append(packet.payload))
    await receiver.wait_packets(60)
    assert [codec.payload_type for codec in row.codecs] == ([117, 100] if takes else [100])
    assert (receiver.wrong_payload_type, receiver.gaps, receiver.duplicates) == (0, 0, 0)
    frames = [payload for (payload,) in media_loop("audio/opus").frames]
    if takes:
        pairs = zip([frames[-1], *frames], frames, strict=False)
        frames = [red_payload(*pair, loop.frame_ticks, 100) for pair in pairs]
    assert len(payloads) >= 30
    assert set(payloads) <= set(frames)
    assert sender.nacks == 0


async def test_a_viewers_losses_are_mended_by_rtx(bench: Bench) -> None:
    _sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    down = await bench.transport("down", "recv")
    receiver, _row = bench.consume(down, consumable)
    await receiver.wait_packets(10)
    lost: list[int] = []

    def lose(datagram: bytes) -> bool:
        ours = datagram[0] >= 128 and datagram[8:12] == (7001).to_bytes(4, "big")
        if ours and len(lost) < 5 and datagram[3] % 3 == 0:
            lost.append(int.from_bytes(datagram[2:4], "big"))
            return True
        return False

    down.lose_incoming = lose
    bench.nursery.start_soon(receiver.run)
    with trio.fail_after(10):
        while receiver.retransmissions < 5 or receiver.gaps:
            await receiver.wait_packets(receiver.packets + 1)
    assert len(lost) == 5


async def test_a_viewers_pli_reaches_the_publisher(bench: Bench) -> None:
    sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    receiver, _row = bench.consume(await bench.transport("down", "recv"), consumable)
    await receiver.wait_keyframes(1)
    asked = sender.keyframe_requests
    with trio.fail_after(10):
        while sender.keyframe_requests == asked:
            # Again, as browsers do: what comes right after a keyframe is not passed on.
            await receiver.send_pli()
            await receiver.wait_packets(receiver.packets + 20)


async def test_media_goes_on_after_the_publisher_changes_its_network(bench: Bench) -> None:
    up = await bench.transport("up", "send")
    _sender, consumable = await bench.publish(up, "audio/opus")
    receiver, _row = bench.consume(await bench.transport("down", "recv"), consumable)
    await receiver.wait_packets(20)
    await up.rebind()
    await receiver.wait_packets(receiver.packets + 50)


def _paused(row: SetConsumer, paused: bool) -> SetConsumer:
    return msgspec.structs.replace(row, paused=paused)
