"""Faults in real sessions, from their packets to the recording that every tool shows.

The plane notices, the actors decide, the recorder is frozen and stored beside the log. Each fault
happens in a room of its own, all in one server; then everything is read from the outside.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from load.client import connect
from load.endpoint import Endpoint, Published, Watched
from load.webrtc import WebRtcTransport
from replay.recordings import Recordings
from replay.store.errors import StoreMissing
from tests.replay import pcapng_reader
from tests.support.serving import Server, reprise
from tests.support.wireshark import dissect

pytestmark = [pytest.mark.plane, pytest.mark.timeout(120)]
FAULT_S = 30.0
"""How long a fault may take until it is recorded; ICE is given up after 10 s."""


class Fault(NamedTuple):
    """What is expected of one."""

    reason: str
    notice: str
    """Type of the message that begins the chain of causes."""
    event: str
    """Type of the event that says so, beside the recording."""


FAULTS = {
    "silence": Fault("publisher_silent", "ProducerActivityChanged", "ProducerActive"),
    "freeze": Fault("consumer_frozen", "ConsumerFrozen", "ConsumerFreezeChanged"),
    "storm": Fault("keyframe_storm", "KeyFrameRequested", "KeyFrameAsked"),
    "lost": Fault("ice_lost", "IceStateChanged", "IceChanged"),
}


class Happened(NamedTuple):
    """A fault's room after it was recorded."""

    transport: str
    """The transport that it befell."""
    port: int
    """Local port of the client at its other end."""


class Stage:
    """A room with a host and a viewer, and media that flows between them."""

    def __init__(self, server: Server, room: str) -> None:
        self.server = server
        self.room = room
        self.host: Endpoint
        self.viewer: Endpoint
        self.published: Published
        self.watched: Watched
        self.viewer_network: trio.CancelScope
        """Cancelled: no packet of the viewer comes or goes any more."""

    async def play(self, act: Callable[[Stage], Awaitable[WebRtcTransport]]) -> Happened:
        """Let media flow, let a fault happen, and wait until it was recorded."""
        url = self.server.signaling_url
        async with (
            connect(url) as host,
            connect(url) as viewer,
            trio.open_nursery() as host_tasks,
            trio.open_nursery() as viewer_tasks,
        ):
            self.viewer_network = viewer_tasks.cancel_scope
            self.host, self.viewer = Endpoint(host, host_tasks), Endpoint(viewer, viewer_tasks)
            await self.host.join(self.room, name="host")
            await self.viewer.join(self.room, name="viewer")
            self.published = await self.host.publish("video/VP8")
            self.watched = await self.viewer.watch(self.published.producer)
            await self.watched.receiver.wait_packets(30)
            ports = {
                one.id: one.local_port
                for one in (await self.host.transport("send"), await self.viewer.transport("recv"))
            }
            with trio.CancelScope(shield=True) as outlives:  # the viewer's network may be gone
                transport = (await act(self)).id
                await self._recorded(transport)
                outlives.shield = False
            host_tasks.cancel_scope.cancel()
            viewer_tasks.cancel_scope.cancel()
        return Happened(transport, ports[transport])

    async def _recorded(self, transport: str) -> None:
        """Wait until it is on disk; another process writes it, and nothing tells."""
        with trio.fail_after(FAULT_S):
            while True:
                if await trio.to_thread.run_sync(self._there, transport):
                    return
                await trio.sleep(0.1)

    def _there(self, transport: str) -> bool:
        try:
            return bool(Recordings(self.server.data).of_room(self.room, transport=transport))
        except StoreMissing:
            return False


async def fall_silent(stage: Stage) -> WebRtcTransport:
    stage.published.sender.muted = True
    return await stage.host.transport("send")


async def send_no_keyframe_again(stage: Stage) -> WebRtcTransport:
    sender = stage.published.sender
    sender.loop = msgspec.structs.replace(sender.loop, frames=sender.loop.frames[1:])
    await stage.viewer.watch(stage.published.producer)
    return await stage.viewer.transport("recv")


async def ask_for_keyframes(stage: Stage) -> WebRtcTransport:
    consumer = stage.watched.consumed.id
    for _ in range(6):
        await stage.viewer.client.request("requestKeyFrame", {"consumer": consumer})
        await trio.sleep(1.05)  # the plane asks at most once a second
    return await stage.host.transport("send")


async def go_away(stage: Stage) -> WebRtcTransport:
    transport = await stage.viewer.transport("recv")
    stage.viewer_network.cancel()
    return transport


ACTS = {
    "silence": fall_silent,
    "freeze": send_no_keyframe_again,
    "storm": ask_for_keyframes,
    "lost": go_away,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with its real plane, that has ended by the time that the tests look."""
    path = tmp_path_factory.mktemp("faults")
    # Nobody begins with an old keyframe: one who comes is frozen where there is no new one.
    server = Server(path / "data", path / "logs", options=["--keyframe-interval-s=0"])
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def happened(server: Server) -> dict[str, Happened]:
    """All faults, at the same time."""
    server.start()
    found: dict[str, Happened] = {}

    async def play(room: str) -> None:
        found[room] = await Stage(server, room).play(ACTS[room])

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for room in ACTS:
                nursery.start_soon(play, room)

    trio.run(run)
    server.stop()
    return found


def told(server: Server, *arguments: str) -> str:
    """What a command of `reprise replay` prints."""
    done = reprise("replay", *arguments, "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("room", FAULTS)
def test_a_fault_is_recorded_on_its_transport_at_its_position(
    server: Server, happened: dict[str, Happened], room: str, tmp_path: Path
) -> None:
    fault, (transport, port) = FAULTS[room], happened[room]
    lines = told(server, "recordings", room, "--json").splitlines()
    (recording,) = [
        one
        for one in map(json.loads, lines)
        if (one["transport"], one["reason"]) == (transport, fault.reason)
    ]
    assert recording["missing"] == 0
    assert recording["packets"] > 30
    position = recording["position"]

    # The log: the event that asked for it, and the way back to what was noticed.
    log = [json.loads(line) for line in told(server, "show", room, "--json").splitlines()]
    asked = log[position - 1]
    assert asked["type"] == "RecordingRequested"
    assert asked["data"]["transport"] == transport
    assert asked["data"]["reason"] == fault.reason
    why = json.loads(told(server, "why", room, str(position), "--json"))
    chain = [one["type"] for one in why["causes"]]
    assert chain == [fault.notice, "FaultNoticed", "RecordingRequested"]
    notice = why["causes"][0]["position"]
    assert any(one["cause"] == notice and one["type"] == fault.event for one in log)
    forward = json.loads(told(server, "why", room, str(notice), "--json"))
    assert position in positions(forward["effects"])

    # The packets: of this transport and its client alone, and none from after it was frozen.
    path = tmp_path / "room.pcapng"
    told(server, "export", room, "--format", "pcapng", "-o", str(path))
    interfaces, frames = pcapng_reader.read(path.read_bytes())
    assert f"transport {transport}: {fault.reason}, position {position}" in interfaces
    mine = [frame for frame in frames if frame.interface == transport]
    assert len(mine) == recording["packets"]
    assert {(f.source if f.flags == 1 else f.target).rpartition(":")[2] for f in mine} == {
        str(port)
    }
    assert all(frame.at_ns <= recording["at_ns"] for frame in mine)
    assert all(f"log position {position}" in frame.comment for frame in mine)
    assert len(dissect(path)) == len(frames)


@pytest.mark.parametrize("room", FAULTS)
def test_the_session_with_its_fault_verifies(
    server: Server, happened: dict[str, Happened], room: str
) -> None:
    assert happened[room]
    assert "equal" in told(server, "verify", room)


def test_what_the_packets_show_is_the_fault(
    server: Server, happened: dict[str, Happened], tmp_path: Path
) -> None:
    def frames_of(room: str) -> list[pcapng_reader.Frame]:
        path = tmp_path / f"{room}.pcapng"
        told(server, "export", room, "--format", "pcapng", "-o", str(path))
        _, frames = pcapng_reader.read(path.read_bytes())
        return [frame for frame in frames if frame.interface == happened[room].transport]

    silent = [f for f in frames_of("silence") if f.flags == 1 and is_media(f.payload)]
    recorded_ns = json.loads(told(server, "recordings", "silence", "--json"))["at_ns"]
    assert 2.4e9 < recorded_ns - silent[-1].at_ns < 6e9
    lost = [f for f in frames_of("lost") if f.flags == 1]
    recorded_ns = json.loads(told(server, "recordings", "lost", "--json").splitlines()[0])["at_ns"]
    assert recorded_ns - lost[-1].at_ns > 5e9, "nothing came from who was lost"
    asked = [
        f
        for f in frames_of("storm")
        if f.flags == 2 and 192 <= f.payload[1] <= 223 and has_pli(f.payload)
    ]
    assert len(asked) >= 5


def is_media(payload: bytes) -> bool:
    """RTP, and not RTCP (RFC 5761, 4)."""
    return payload[0] >> 6 == 2 and not 192 <= payload[1] <= 223


def has_pli(compound: bytes) -> bool:
    """Whether an RTCP compound asks for a picture (RFC 4585, 6.3.1)."""
    at = 0
    while at + 4 <= len(compound):
        if compound[at + 1] == 206 and compound[at] & 31 == 1:
            return True
        at += 4 * (int.from_bytes(compound[at + 2 : at + 4], "big") + 1)
    return False


def positions(effects: dict[str, Any]) -> list[int]:
    """All positions of a tree of effects."""
    return [effects["position"], *(p for each in effects["effects"] for p in positions(each))]
