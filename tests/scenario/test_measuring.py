"""What the real plane measures of real media, from packets to a reader's series."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
import trio

from protocol.notices import ConsumerFrozen, Telemetry
from replay.side_store import Retention
from replay.telemetry import Entity
from replay.telemetry import Telemetry as Reader
from replay.telemetry_store import TelemetryStore
from tests.scenario.test_plane_media import Bench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.plane


def frames(bench: Bench, room: str) -> list[Telemetry]:
    return [one for one in bench.said if isinstance(one, Telemetry) and one.room == room]


async def frames_until(bench: Bench, room: str, count: int) -> list[Telemetry]:
    with trio.fail_after(20):
        while len(found := frames(bench, room)) < count:
            await bench.news.wait()
    return found


async def test_series_tell_what_was_sent_received_and_lost(bench: Bench, tmp_path: Path) -> None:
    bench.room = "lobby"
    began_ns = time.time_ns()
    _sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    down = await bench.transport("down", "recv")
    receiver, row = bench.consume(down, consumable)
    lost = []

    def lose(datagram: bytes) -> bool:
        ours = datagram[0] >= 128 and datagram[8:12] == (7001).to_bytes(4, "big")
        if ours and datagram[3] % 10 == 0:
            lost.append(datagram)
            return True
        return False

    down.lose_incoming = lose
    bench.nursery.start_soon(receiver.run)
    found = await frames_until(bench, "lobby", 5)
    store = TelemetryStore(tmp_path, Retention(days_max=1, bytes_max=100_000_000))
    for frame in found:
        store.put_frame(frame)
    store.close()

    reader = Reader(tmp_path)
    span = reader.span("lobby")
    assert span is not None
    since, until = span[0], span[1] + 1
    folded = reader.fold("lobby", since, until)
    assert {(one.kind, one.id) for one in folded.entities()} == {
        ("transport", "up"),
        ("transport", "down"),
        ("producer", "p"),
        ("consumer", "c"),
    }
    came = sum(p.sum for p in folded.series(Entity("producer", "p"), "packets"))
    went = sum(p.sum for p in folded.series(Entity("consumer", "c"), "packets"))
    assert 0 < went <= came
    bits = folded.series(Entity("consumer", "c"), "bitrate_bps")
    assert all(point.max > 50_000 for point in bits[1:])
    again = folded.series(Entity("consumer", "c"), "retransmitted_packets")
    nacks = folded.series(Entity("consumer", "c"), "nacks")
    assert sum(point.sum for point in again) > 0
    assert sum(point.sum for point in nacks) > 0
    assert began_ns < since < until < time.time_ns() + 1_000_000
    quality = reader.quality("lobby", {"viewer": [row.consumer]}, since, until)["viewer"]
    assert quality.score is not None
    assert 0 < quality.score <= 100
    assert quality.watched_s >= 4
    assert quality.frozen_s == 0


async def test_a_viewer_that_gets_nothing_is_said_to_be_frozen(bench: Bench) -> None:
    sender, consumable = await bench.publish(await bench.transport("up", "send"), "video/VP8")
    sender.loop = msgspec.structs.replace(sender.loop, frames=sender.loop.frames[1:])
    _receiver, row = bench.consume(await bench.transport("down", "recv"), consumable)
    await bench.hear(ConsumerFrozen(consumer=row.consumer, frozen=True))
