"""What the real plane measures of real media, from packets to a reader's series."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import msgspec
import pytest
import trio

from load.media import media_loop
from protocol.notices import ConsumerFrozen, Recording, Telemetry
from protocol.orders import FreezeRecorder
from replay.export import pcapng
from replay.recording_store import RecordingStore
from replay.recordings import Recordings
from replay.redact import Redactor
from replay.side_store import Retention
from replay.telemetry import Entity
from replay.telemetry import Telemetry as Reader
from replay.telemetry_store import TelemetryStore
from tests.replay import pcapng_reader
from tests.scenario.test_plane_media import Bench, bench, password_of
from tests.support.wireshark import dissect

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
    loop = media_loop("video/VP8")
    loop = msgspec.structs.replace(loop, frames=loop.frames[1:])  # never a keyframe
    up = await bench.transport("up", "send")
    _sender, consumable = await bench.publish(up, "video/VP8", loop=loop)
    _receiver, row = bench.consume(await bench.transport("down", "recv"), consumable)
    await bench.hear(ConsumerFrozen(consumer=row.consumer, frozen=True))


async def recorded(bench: Bench, tmp_path: Path, transport: str, position: int) -> bytes:
    """Freeze a transport's recorder, store what comes, and write it as pcapng."""
    order = FreezeRecorder(transport=transport, reason="operator", position=position)
    bench.plane.submit([order])
    with trio.fail_after(10):
        while not (parts := [one for one in bench.said if isinstance(one, Recording)]):
            await bench.news.wait()
    bench.said.clear()
    store = RecordingStore(tmp_path, Retention(days_max=1, bytes_max=100_000_000))
    for part in parts:
        store.put_part(part)
    store.close()
    reader = Recordings(tmp_path)
    (one,) = [each for each in reader.of_room("lobby") if each.position == position]
    assert (one.transport, one.reason, one.missing) == (transport, "operator", 0)
    return b"".join(pcapng.export([(one, reader.packets("lobby", one))]))


async def test_a_frozen_recording_shows_what_came_left_and_was_dropped(
    bench: Bench, tmp_path: Path
) -> None:
    bench.room = "lobby"
    began_ns = time.time_ns()
    up = await bench.transport("up", "send")
    _sender, consumable = await bench.publish(up, "video/VP8")
    down = await bench.transport("down", "recv")
    receiver, _row = bench.consume(down, consumable)
    await receiver.wait_packets(60)
    forged = bytes([0x80, 96]) + bytes(10) + b"canary-payload-canary" * 4
    await up.send_datagram(forged)
    await receiver.wait_packets(receiver.packets + 20)

    interfaces, came = pcapng_reader.read(await recorded(bench, tmp_path, "up", 41))
    assert interfaces == ["transport up: operator, position 41"]
    here = f"127.0.0.1:{up.local_port}"
    assert {frame.source for frame in came if frame.flags == 1} == {here}
    assert all(began_ns < frame.at_ns < time.time_ns() for frame in came)
    dropped = [frame for frame in came if "dropped" in frame.comment]
    assert any(
        frame.payload[:12] == forged[:12] and "log position 41" in frame.comment
        for frame in dropped
    )
    rtp = (f for f in came if f.flags == 1 and f.payload[0] >> 6 == 2)
    media = [f for f in rtp if not 192 <= f.payload[1] <= 223]  # RFC 5761, 4
    assert len(media) > 60
    assert all(frame.original > len(frame.payload) for frame in media)

    _, left = pcapng_reader.read(await recorded(bench, tmp_path, "down", 42))
    ours = [f for f in left if f.flags == 2 and f.payload[8:12] == (7001).to_bytes(4, "big")]
    numbers = [int.from_bytes(frame.payload[2:4], "big") for frame in ours]
    assert len(numbers) >= 80
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
    assert any(frame.payload[1] in (200, 201) for frame in left)

    everything = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # noqa: ASYNC240
    everything += b"".join(frame.payload for frame in (*came, *left))
    for secret in (b"canary", b"ufragup", password_of("ufragup").encode()):
        assert secret not in everything


async def test_wireshark_opens_a_recording_and_shows_what_it_says(
    bench: Bench, tmp_path: Path
) -> None:
    bench.room = "lobby"
    up = await bench.transport("up", "send")
    _sender, consumable = await bench.publish(up, "video/VP8")
    down = await bench.transport("down", "recv")
    receiver, _row = bench.consume(down, consumable)
    await receiver.wait_packets(60)
    await up.send_datagram(bytes([0x80, 96]) + bytes(60))  # cannot be decrypted
    await receiver.wait_packets(receiver.packets + 20)
    for position, name, endpoint in ((51, "up", up), (52, "down", down)):
        capture = await recorded(bench, tmp_path, name, position)
        path = tmp_path / f"{name}.pcapng"
        path.write_bytes(capture)
        _, ours = pcapng_reader.read(capture)
        shown = await trio.to_thread.run_sync(dissect, path, ("udp.port==10000,rtp",))
        assert len(shown) == len(ours) > 60
        for mine, its in zip(ours, shown, strict=True):
            assert its["frame.comment"] == mine.comment
            assert its["frame.interface_name"] == name
            assert its["frame.interface_description"] == (
                f"transport {name}: operator, position {position}"
            )
            assert f"{its['ip.src']}:{its['udp.srcport']}" == mine.source
            assert f"{its['ip.dst']}:{its['udp.dstport']}" == mine.target
            assert its["frame.packet_flags_direction"] == f"0x{mine.flags:08x}"
            assert its["frame.time_epoch"] == f"{mine.at_ns // 10**9}.{mine.at_ns % 10**9:09d}"
            assert its["ip.checksum.status"] == "1"
            assert its["_ws.malformed"] == ""
        media = [one for one in shown if one["rtp.ssrc"]]
        assert len(media) > 50
        assert int(media[0]["frame.len"]) > int(media[0]["frame.cap_len"])
        protocols = {one["_ws.col.Protocol"] for one in shown}
        assert {"RTP", "RTCP"} <= protocols, protocols
        assert endpoint.local_port in {
            int(one[field]) for one in shown for field in ("udp.srcport", "udp.dstport")
        }
        if name == "up":
            assert any("dropped: " in one["frame.comment"] for one in shown)


async def test_a_redacted_export_has_no_address_of_a_peer(bench: Bench, tmp_path: Path) -> None:
    bench.room = "lobby"
    await bench.publish(await bench.transport("up", "send"), "audio/opus")
    await recorded(bench, tmp_path, "up", 7)
    reader = Recordings(tmp_path)
    (one,) = reader.of_room("lobby")
    written = b"".join(
        pcapng.export([(one, reader.packets("lobby", one))], pseudonym=Redactor().host)
    )
    _, frames_found = pcapng_reader.read(written)
    assert frames_found
    assert bytes([127, 0, 0, 1]) not in b"".join(frame.payload for frame in frames_found)
    assert all("127.0.0.1" not in frame.source + frame.target for frame in frames_found)
    assert b"load" not in written  # the publisher's CNAME
