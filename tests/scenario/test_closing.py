"""One test for each row of docs/closing.md, whose cells are what is expected."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from actors.core import deciders
from protocol import events
from protocol.commands import (
    CloseConsumer,
    CloseProducer,
    CloseTransport,
    ConnectTransport,
    Leave,
    PauseProducer,
    RequestConsumerKeyFrame,
    RestartIce,
)
from protocol.ids import ROOM, producer_address
from protocol.messages import EvictPeer
from protocol.notices import (
    DtlsStateChanged,
    IceStateChanged,
    OrderRefused,
    ProducerActivityChanged,
)
from protocol.orders import Remove
from replay.store.errors import LogDamaged
from tests.control.samples import REMOTE_DTLS, produce
from tests.control.scenarios import connect
from tests.control.stage import Client, Stage, joined, staged

TABLE = Path(__file__).parents[2] / "docs" / "closing.md"
KINDS = ("room", "peer", "transport", "producer", "consumer")
CLOSINGS: dict[type, str] = {
    events.RoomClosed: "room",
    events.PeerLeft: "peer",
    events.TransportRemoved: "transport",
    events.ProducerRemoved: "producer",
    events.ConsumerRemoved: "consumer",
}
OWN_CLOSINGS: dict[type, str] = {
    events.TransportClosed: "transport",
    events.ProducerClosed: "producer",
    events.ConsumerClosed: "consumer",
}


class Row(NamedTuple):
    """A row of the table: what closes, who is told what, and what leaves the plane."""

    row: str
    cause: str
    closes: list[str]
    host: list[str]
    viewer: list[str]
    peer: list[str]
    plane: list[str]


def read_table() -> dict[str, Row]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    rows = {}
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        lists = [[] if cell == "—" else cell.split(", ") for cell in cells[2:]]
        rows[cells[0]] = Row(cells[0], cells[1], *lists)
    return rows


ROWS = read_table()


def test_every_row_has_one_test_and_every_test_a_row() -> None:
    module = sys.modules[__name__]
    tests = [
        name.removeprefix("test_").replace("_", "-")
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("test_") and "autojump_clock" in inspect.signature(function).parameters
    ]
    assert sorted(tests) == sorted(ROWS)
    assert len(ROWS) > 25


def once(words: list[str]) -> list[str]:
    """Without repetitions, in the order of first appearance."""
    return list(dict.fromkeys(words))


class Theatre:
    """The room of the table, and what has happened in it since the curtain rose."""

    def __init__(self, stage: Stage, nursery: trio.Nursery) -> None:
        self.stage = stage
        self.nursery = nursery
        self.host = self.viewer = self.peer = Client(stage)
        self.send = self.recv = self.video = self.audio = self.see = self.hear = ""
        self._position = 0
        self._submitted = 0
        self._told: dict[str, int] = {}

    async def open(self) -> None:
        stage = self.stage
        self.host, self.viewer, self.peer = [
            await joined(stage, name) for name in ("host", "viewer", "peer")
        ]
        self.send = await self.host.transport("send")
        self.recv = await self.viewer.transport("recv")
        await connect(stage, self.host, self.send)
        await connect(stage, self.viewer, self.recv)
        self.video = await self.host.produce(self.send)
        self.audio = await self.host.produce(self.send, "audio")
        stage.plane.inject(ProducerActivityChanged(producer=self.video, active=True))
        await stage.settle()
        self.see = await self.viewer.consume(self.recv, self.video)
        self.hear = await self.viewer.consume(self.recv, self.audio)
        await self.rise()

    async def rise(self) -> None:
        """Look only at what comes from now on."""
        await self.stage.settle()
        self._position = (await self.stage.store.head("room")).position
        self._submitted = len(self.stage.plane.submitted)
        self._told = {c.name: len(c.told) for c in (self.host, self.viewer, self.peer)}

    async def closed(self) -> list[str]:
        """Kind and reason of what closed: as the room said, then what closed without it."""
        found = await self.stage.events_of(after=self._position)
        by_room = [f"{CLOSINGS[type(e)]} {e.reason}" for e in found if type(e) in CLOSINGS]
        alone = [f"{OWN_CLOSINGS[type(e)]} {e.reason}" for e in found if type(e) in OWN_CLOSINGS]
        alone.sort(key=lambda word: KINDS.index(word.split()[0]))
        return once(by_room + alone)

    def told(self, client: Client) -> list[str]:
        notifications = [told.notification for told in client.told[self._told[client.name] :]]
        return once([f"{one.name} {one.data['reason']}" for one in notifications])

    def removed(self) -> list[str]:
        orders = self.stage.plane.submitted[self._submitted :]
        kinds = {order.kind for order in orders if isinstance(order, Remove)}
        return [kind for kind in KINDS if kind in kinds]

    async def check(self, row: str, *, at_once: bool = False) -> None:
        """Compare all that was seen with the cells of a row.

        Transports that close `at_once` race, as the text beside the table says.
        """
        await self.stage.settle()
        expected = ROWS[row]

        def comparable(words: list[str]) -> list[str]:
            if not at_once:
                return words
            raced = "consumer transport_closed", "consumerClosed transport_closed"
            other = "consumer producer_closed", "consumerClosed producer_closed"
            alias = dict(zip(raced, other, strict=True))
            return sorted({alias.get(word, word) for word in words})

        assert comparable(await self.closed()) == comparable(expected.closes)
        assert comparable(self.told(self.host)) == comparable(expected.host)
        assert comparable(self.told(self.viewer)) == comparable(expected.viewer)
        assert comparable(self.told(self.peer)) == comparable(expected.peer)
        assert self.removed() == expected.plane
        self.stage.check_rows()
        self.stage.check_links()
        if not {"log-damaged", "kernel-fault", "not-recovered"} & {row}:
            self.stage.check_calm()
            await self.stage.check_rebuilt()


@asynccontextmanager
async def opened() -> AsyncIterator[Theatre]:
    """A theatre whose curtain has risen."""
    async with staged() as (stage, nursery):
        theatre = Theatre(stage, nursery)
        await theatre.open()
        yield theatre


def break_decider(monkeypatch: pytest.MonkeyPatch, kind: str, message: type) -> None:
    """Let the deciders of actors that are made from now on raise on a type of message."""
    whole = deciders._DECIDERS[kind]

    def decide(state: Any, letter: Any, context: Any) -> Any:
        assert not isinstance(letter, message)
        return whole.decide(state, letter, context)

    monkeypatch.setitem(deciders._DECIDERS, kind, whole._replace(decide=decide))


# Peers.


async def test_peer_leaves(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(Leave(peer=room.host.peer))
        await room.check("peer-leaves")


async def test_viewer_leaves(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(Leave(peer=room.viewer.peer))
        await room.check("viewer-leaves")


async def test_peer_lost(autojump_clock: Any) -> None:
    async with opened() as room:
        room.host.lose_socket()
        await trio.sleep(9.9)
        assert await room.closed() == []
        await trio.sleep(0.2)
        await room.check("peer-lost")


async def test_peer_evicted(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.system.post("room", EvictPeer(peer=room.host.peer, reason="evicted"))
        await room.check("peer-evicted")


# Transports.


async def test_transport_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(CloseTransport(peer=room.host.peer, transport=room.send))
        await room.check("transport-closed")


async def test_viewer_transport_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(CloseTransport(peer=room.viewer.peer, transport=room.recv))
        await room.check("viewer-transport-closed")


async def test_dtls_failed(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(
            DtlsStateChanged(transport=room.send, state="failed", reason="fingerprint_mismatch")
        )
        await room.check("dtls-failed")


async def test_dtls_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(DtlsStateChanged(transport=room.send, state="closed"))
        await room.check("dtls-closed")


async def test_connect_timeout(autojump_clock: Any) -> None:
    async with opened() as room:
        slow = await room.host.transport("send")
        command = ConnectTransport(peer=room.host.peer, transport=slow, dtls_parameters=REMOTE_DTLS)
        await room.stage.met(command)
        await trio.sleep(29.9)
        assert await room.closed() == []
        await trio.sleep(0.2)
        await room.check("connect-timeout")


async def test_ice_failed(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(IceStateChanged(transport=room.send, state="failed"))
        await trio.sleep(29.9)
        assert await room.closed() == []
        await trio.sleep(0.2)
        await room.check("ice-failed")


async def test_plane_dies(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.crash()
        await room.check("plane-dies", at_once=True)


async def test_transport_order_refused(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(
            OrderRefused(kind="transport", id=room.send, code="ufrag_in_use", message="")
        )
        await room.check("transport-order-refused")


async def test_transport_actor_failed(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_decider(monkeypatch, "transport", RestartIce)
    async with opened() as room:
        for _ in range(4):
            await room.stage.refused(RestartIce(peer=room.host.peer, transport=room.send))
        await room.check("transport-actor-failed")


# Producers.


async def test_producer_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(CloseProducer(peer=room.host.peer, producer=room.audio))
        await room.check("producer-closed")


async def test_last_producer_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(CloseProducer(peer=room.host.peer, producer=room.audio))
        await room.rise()
        await room.stage.met(CloseProducer(peer=room.host.peer, producer=room.video))
        await room.check("last-producer-closed")


async def test_producer_order_refused(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(
            OrderRefused(kind="producer", id=room.audio, code="immutable_field", message="")
        )
        await room.check("producer-order-refused")


async def test_producer_actor_failed(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_decider(monkeypatch, "producer", PauseProducer)
    async with opened() as room:
        for _ in range(4):
            await room.stage.refused(PauseProducer(peer=room.host.peer, producer=room.audio))
        await room.check("producer-actor-failed")


# Consumers.


async def test_consumer_closed(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.met(CloseConsumer(peer=room.viewer.peer, consumer=room.see))
        await room.check("consumer-closed")


async def test_consumer_order_refused(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.plane.inject(
            OrderRefused(kind="consumer", id=room.see, code="immutable_field", message="")
        )
        await room.check("consumer-order-refused")


async def test_consumer_actor_failed(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_decider(monkeypatch, "consumer", RequestConsumerKeyFrame)
    async with opened() as room:
        command = RequestConsumerKeyFrame(peer=room.viewer.peer, consumer=room.see)
        for _ in range(4):
            await room.stage.refused(command)
        await room.check("consumer-actor-failed")


# Rooms.


async def test_room_empty(autojump_clock: Any) -> None:
    async with opened() as room:
        for client in (room.host, room.viewer, room.peer):
            await room.stage.met(Leave(peer=client.peer))
            client.lose_socket()
        await room.rise()
        await trio.sleep(4.9)
        assert room.stage.system.has_room("room")
        await trio.sleep(0.2)
        assert not room.stage.system.has_room("room")
        await room.check("room-empty")


async def test_server_stops(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.system.shut_down("shutting_down")
        assert not room.stage.system.rooms()
        await room.check("server-stops")


async def test_room_actor_failed(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    break_decider(monkeypatch, "room", Leave)
    async with opened() as room:
        for _ in range(4):
            await room.stage.refused(Leave(peer=room.host.peer))
        assert room.stage.system.feed("room") is None
        await room.check("room-actor-failed")


async def test_log_damaged(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.store.fail_next_append(LogDamaged("room", 3, "a hash is wrong"), "room")
        await room.stage.refused(Leave(peer=room.host.peer))
        assert room.stage.system.feed("room") is None
        await room.check("log-damaged")


async def test_kernel_fault(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as room:
        monkeypatch.setattr(room.stage.actor(ROOM).mailbox, "_letters_max", 0)
        room.stage.system.post("room", EvictPeer(peer="nobody", reason="evicted"))
        await room.stage.settle()
        assert room.stage.system.feed("room") is None
        await room.check("kernel-fault")


# The control process.


async def back(room: Theatre, *clients: Client) -> None:
    """Let clients resume as their sockets break with the process."""
    for client in clients:
        client.lose_socket(say=False)
        await client.resume()


async def test_control_returns(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.restart(room.nursery)
        await back(room, room.host, room.viewer, room.peer)
        await trio.sleep(60)
        await room.check("control-returns")
        assert len(room.stage.plane.table.consumers) == 2


async def test_control_returns_to_nobody(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.restart(room.nursery)
        await back(room, room.viewer, room.peer)
        room.host.lose_socket(say=False)
        await trio.sleep(9.9)
        assert await room.closed() == []
        await trio.sleep(0.2)
        await room.check("control-returns-to-nobody")


async def test_control_returns_without_plane(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.kill()
        room.stage.plane._alive = False
        room.stage.plane.restart()
        await room.stage.start(room.nursery)
        await room.stage.settle()
        await back(room, room.host, room.viewer, room.peer)
        assert await room.closed()
        await room.check("control-returns-without-plane", at_once=True)


async def test_interrupted(autojump_clock: Any) -> None:
    async with opened() as room:
        room.stage.store.hold_commits()
        command = produce(room.host.peer, room.send, "audio", number=7)
        room.nursery.start_soon(ask_in_vain, room.stage, command)
        await room.stage.settle()
        room.stage.store.release_commits()
        while len(room.stage.actors()) == 7:  # the room has decided; its child has not
            await trio.lowlevel.checkpoint()
        room.stage.store.hold_commits()
        await room.stage.settle()
        added = room.stage.actor(ROOM).state.producers
        assert list(added)[:2] == [room.video, room.audio]
        assert len(added) == 3
        for client in (room.host, room.viewer, room.peer):
            assert (client.words[-1] == "producerAdded") == (client is not room.host)
        await room.rise()
        await room.stage.restart(room.nursery)
        assert producer_address(list(added)[2]) not in room.stage.actors()
        await back(room, room.host, room.viewer, room.peer)
        await room.check("interrupted")


async def ask_in_vain(stage: Stage, command: Any) -> None:
    with trio.move_on_after(5):
        await stage.request(command)


async def test_not_recovered(autojump_clock: Any) -> None:
    async with opened() as room:
        await room.stage.kill()
        log = room.stage.store._logs["room"]
        broken = type(log[2])
        fields = {f: getattr(log[2], f) for f in log[2].__struct_fields__}
        log[2] = broken(**(fields | {"version": 99, "kind": "event"}))
        room.stage.plane.restart()
        await room.stage.start(room.nursery)
        await room.stage.settle()
        assert "room_not_recovered" in room.stage.log.names()
        assert not room.stage.system.rooms()
        room.stage.store._logs["room"] = log[:2]
        room._position = 2
        await room.check("not-recovered")
