"""`reprise load` against a real `reprise serve`: what it reports, and its exit codes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import av
import pytest
import trio
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtp import RtpPacket

from load.client import connect
from load.endpoint import Endpoint
from load.media import begins_keyframe
from tests.support.serving import COMMAND, ROOT, Server, reprise

PATIENT = "--no-transport-cc"
"""So that a machine whose cores are taken does not count as a path without bandwidth."""

pytestmark = [pytest.mark.plane, pytest.mark.timeout(90)]

SECRET = "a-secret-of-the-tests-with-32-bytes-or-more"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("load")
    server = Server(directory / "data", directory / "logs")
    try:
        server.start()
        yield server
        if server.running:
            server.stop()
    finally:
        server.close()


def load(server: Server, *options: str, code: int = 0) -> dict[str, Any]:
    done = reprise("load", server.signaling_url, "--json", *options)
    assert done.returncode == code, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_twenty_viewers_join_and_receive_all(server: Server) -> None:
    report = load(
        server, "--viewers=20", "--duration=3s", "--ramp=1s", PATIENT, f"--watch-pid={server.pid}"
    )
    joins, steady = report["joins"], report["steady"]
    assert (joins["joined"], joins["failed"], joins["lost"]) == (20, 0, 0)
    assert joins["join_ms"]["count"] == joins["first_keyframe_ms"]["count"] == 20
    assert joins["join_ms"]["p50"] <= joins["join_ms"]["p99"] <= joins["join_ms"]["max"]
    assert steady["lost"] == report["tool"]["queue_drops"] == 0
    # 50 opus packets and 30 frames of at least five packets a second.
    assert steady["packets"] > 20 * 200 * steady["seconds"] * 0.8
    assert 1.2e6 < steady["bitrate_per_viewer_bps"] < 1.8e6
    for kind in ("latency_ms", "video_latency_ms", "audio_latency_ms"):
        latency = steady[kind]
        assert 0 < latency["p50"] <= latency["p99"] <= latency["max"] < 5_000
    assert steady["latency_ms"]["count"] == steady["packets"], "each packet bears its stamp"
    assert report["server_usage"]["cpu_us_per_packet"] > 0
    assert report["server_usage"]["processes"] == 2
    assert len(report["timeline"]) >= 3
    assert report["tool"]["undecryptable"] == 0


def test_losses_of_a_simulated_network_are_recovered_by_nacks(server: Server) -> None:
    report = load(
        server, "--viewers=5", "--duration=4s", PATIENT, "--loss=2%", "--delay=10ms", "--no-audio"
    )
    steady = report["steady"]
    assert report["joins"]["joined"] == 5
    assert steady["recovered"] > 0.01 * steady["packets"]
    assert steady["nacked"] >= steady["recovered"]
    assert steady["loss"] < 0.005
    assert steady["latency_ms"]["p50"] >= 10


def test_a_threshold_that_is_broken_gives_exit_code_3(server: Server) -> None:
    options = ["--viewers=2", "--duration=1s", "--fail-if=loss>50%", "--fail-if=joined<3"]
    report = load(server, *options, code=3)
    assert [one["failed"] for one in report["thresholds"]] == [False, True]
    assert report["thresholds"][1]["value"] == 2


def test_a_run_says_what_it_brought(server: Server) -> None:
    done = reprise("load", server.signaling_url, "--viewers=2", "--duration=1s", "--codec=H264")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 joined" in done.stdout
    assert "latency     p50" in done.stdout
    assert done.stderr == ""


@pytest.fixture(params=["VP8", "H264"])
def published(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The codec of a publisher that is there."""
    command = [*COMMAND, "load", server.signaling_url, "--viewers=0", f"--codec={request.param}"]
    publisher = subprocess.Popen([*command, "--no-audio", "--duration=60s"], cwd=ROOT)
    try:
        yield request.param
    finally:
        publisher.terminate()
        publisher.wait(30)


async def test_what_it_publishes_can_be_decoded(server: Server, published: str) -> None:
    packets: list[RtpPacket] = []
    async with connect(server.signaling_url) as client, trio.open_nursery() as nursery:
        viewer = Endpoint(client, nursery)
        joined = await viewer.join("load")
        producers = [one.id for one in joined.producers]
        if not producers:
            added = await client.wait_for("producerAdded", timeout_s=30)
            producers = [added.data["producer"]["id"]]
        transport = await viewer.transport("recv")
        transport.add_handlers(lambda packet, _at_ns: packets.append(packet))
        watched = await viewer.watch(producers[0])
        await watched.receiver.wait_packets(250, timeout_s=30)
        nursery.cancel_scope.cancel()
    packets = [one for one in packets if one.ssrc == watched.receiver.ssrc]
    # The first one's number may lie before the wrap.
    first = packets[0].sequence_number
    packets.sort(key=lambda one: (one.sequence_number - first + 32_768) % 65_536)
    frames: dict[int, list[bytes]] = {}
    for packet in packets:
        frames.setdefault(packet.timestamp, []).append(packet.payload)
    mime_type = f"video/{published}"
    whole = list(frames.values())[:-1]
    begin = next(at for at, frame in enumerate(whole) if begins_keyframe(mime_type, frame[0]))
    pictures = decoded(mime_type, whole[begin:])
    assert len(pictures) == len(whole) - begin >= 20
    assert {(picture.width, picture.height) for picture in pictures} == {(640, 360)}


def decoded(mime_type: str, frames: list[list[bytes]]) -> list[av.VideoFrame]:
    """Decode, and fail for whatever a decoder complains about."""
    descriptor = VpxPayloadDescriptor if mime_type == "video/VP8" else H264PayloadDescriptor
    decoder = av.CodecContext.create("vp8" if mime_type == "video/VP8" else "h264", "r")
    decoder.thread_count = 1
    decoder.options = {"err_detect": "explode", "flags": "low_delay"}
    pictures = []
    for payloads in frames:
        unit = b"".join(descriptor.parse(payload)[1] for payload in payloads)
        pictures += decoder.decode(av.Packet(unit))
    return pictures + decoder.decode(None)
