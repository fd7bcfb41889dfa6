"""The native engine keeps the contract of `protocol.orders` and `protocol.notices`.

Its peers here are made of aioice and libsrtp, so that nothing of ours speaks on both sides.
"""

from __future__ import annotations

import struct
import typing
from typing import Any

import msgspec
import pytest
from aioice import stun
from pylibsrtp import Policy, Session

from media._native import Engine
from protocol import notices as notices_module
from protocol import orders as orders_module
from protocol.notices import (
    BandwidthEstimated,
    ConsumerScore,
    DtlsReceived,
    IceStateChanged,
    IceTupleChanged,
    KeyFrameRequested,
    LayersChanged,
    Notice,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.orders import (
    PLANE_PROTOCOL,
    ConsumerExtension,
    Describe,
    ExtensionName,
    FreezeRecorder,
    HeaderExtension,
    Hello,
    IceCredentials,
    Order,
    ProducerCodec,
    ProducerEncoding,
    QueryStats,
    Quit,
    Remove,
    RequestKeyFrame,
    SendDtls,
    SetSrtpKeys,
    SetTransport,
    SrtpProfile,
    Stats,
    Table,
)
from tests.contract import plane_rows as rows

S = 1_000_000_000
PASSWORD = "p" * 22
PUBLISHER = "192.0.2.1:1000"
VIEWER = "[2001:db8::1]:2000"
LOCAL = bytes(range(28))
REMOTE = bytes(range(100, 128))


def with_password(row: SetTransport) -> SetTransport:
    """Fill in what the edge fills in on the way to the plane."""
    ice = tuple(IceCredentials(ufrag=one.ufrag, pwd=PASSWORD) for one in row.ice)
    return msgspec.structs.replace(row, ice=ice)


def keys(transport: str, profile: SrtpProfile = "AEAD_AES_128_GCM", size: int = 28) -> SetSrtpKeys:
    return SetSrtpKeys(
        transport=transport, profile=profile, local=LOCAL.ljust(size), remote=REMOTE.ljust(size)
    )


EXTENSIONS = tuple(
    HeaderExtension(name=name, id=number, mapped_id=number)
    for number, name in enumerate(typing.get_args(ExtensionName), start=1)
)
PRODUCER = msgspec.structs.replace(
    rows.producer(),
    header_extensions=EXTENSIONS,
    encodings=(ProducerEncoding(rid="h", scalability_mode="L1T3"),),
)
MICROPHONE = msgspec.structs.replace(
    rows.producer("m", ssrc=7777),
    kind="audio",
    codecs=(
        ProducerCodec(
            payload_type=111, mapped_payload_type=100, mime_type="audio/opus", clock_rate=48000
        ),
    ),
    encodings=(ProducerEncoding(ssrc=7777),),
    header_extensions=EXTENSIONS,
)
CONSUMER = msgspec.structs.replace(
    rows.consumer(),
    header_extensions=tuple(ConsumerExtension(name=one.name, id=one.id) for one in EXTENSIONS),
    spatial_layer=2,
    temporal_layer=1,
)
ORDERS: list[Order] = [
    with_password(rows.send_transport(dtls_role="client", fingerprints=(("sha-256", "AA:BB"),))),
    with_password(rows.recv_transport()),
    keys("t-send"),
    keys("t-recv"),
    PRODUCER,
    CONSUMER,
    RequestKeyFrame(consumer="c"),
    SendDtls(transport="t-send", datagrams=(b"\x16one", b"\x16two")),
    Describe(),
    QueryStats(ids=("t-send", "p", "c", "x")),
    Remove(kind="consumer", id="x"),
    FreezeRecorder(transport="t-send", reason="operator", position=1),
]
OF_THE_PLANE: list[Order] = [Hello(protocol=PLANE_PROTOCOL, version="1", grace_ms=1), Quit()]


class Bench:
    """An engine with a clock, and all that it said."""

    def __init__(self) -> None:
        self.engine = Engine(seed=1, unix_offset_ns=1_700_000_000 * S)
        self.now_ns = 10 * S
        self.notices: list[Any] = []
        self.sent: list[tuple[str, bytes]] = []

    def orders(self, *orders: Order) -> list[Any]:
        body = msgspec.msgpack.encode({"seq": 7, "orders": orders})
        answer = msgspec.msgpack.decode(self.engine.handle_orders(self.now_ns, body))
        self.drain()
        assert answer["seq"] == 7
        assert len(answer["results"]) == len(orders)
        return answer["results"]

    def datagram(self, remote: str, data: bytes) -> None:
        self.engine.handle_datagram(self.now_ns, remote, data)
        self.drain()

    def advance(self, seconds: float) -> None:
        end_ns = self.now_ns + int(seconds * S)
        while (due_ns := self.engine.next_deadline_ns()) is not None and due_ns <= end_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.engine.handle_timeout(self.now_ns)
            self.drain()
        self.now_ns = end_ns

    def drain(self) -> None:
        while (transmit := self.engine.poll_transmit()) is not None:
            self.sent.append(transmit)
        self.notices += msgspec.msgpack.decode(self.engine.poll_notices(), type=list[Notice])

    def check(self, ufrag: str, remote: str) -> None:
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{ufrag}:peer"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(PASSWORD.encode())
        self.datagram(remote, bytes(message))

    def said(self, kind: type[Any]) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]


class Peer:
    """libsrtp on the other side of a transport."""

    def __init__(self) -> None:
        profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        outgoing = Policy(key=REMOTE, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        incoming = Policy(key=LOCAL, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        self.outgoing, self.incoming = Session(outgoing), Session(incoming)
        self.sequence = 1000

    def vp8(self, ssrc: int, *, keyframe: bool) -> bytes:
        """Protect a frame in one packet, labelled with mid and rid."""
        number = {one.name: one.id for one in EXTENSIONS}
        block = bytes([number["mid"] << 4]) + b"p" + bytes([number["rid"] << 4]) + b"h"
        header = struct.pack(
            "!BBHIIHH", 0x90, 0x80 | 96, self.sequence, self.sequence * 3000, ssrc, 0xBEDE, 1
        )
        self.sequence += 1
        payload = b"\x10" + (b"\x00" if keyframe else b"\x01") + b"frame"
        return self.outgoing.protect(header + block + payload)

    def opus(self, ssrc: int, level: int) -> bytes:
        """Protect a packet of sound that says how loud it is, in -dBov."""
        number = {one.name: one.id for one in EXTENSIONS}
        block = bytes([number["audio_level"] << 4, level, 0, 0])
        header = struct.pack("!BBHIIHH", 0x90, 111, 1, 960, ssrc, 0xBEDE, 1)
        return self.outgoing.protect(header + block + b"sound")

    def remb(self, bitrate_bps: int) -> bytes:
        """Say how much it can take, in the draft's 18 bits of mantissa."""
        exponent = max(0, bitrate_bps.bit_length() - 18)
        word = exponent << 18 | bitrate_bps >> exponent
        body = struct.pack("!II4sII", 1, 0, b"REMB", 1 << 24 | word, 5555)
        return self.outgoing.protect_rtcp(struct.pack("!BBH", 0x8F, 206, 5) + body)

    def report(self, ssrc: int, fraction_lost: int) -> bytes:
        block = struct.pack("!IIIIII", ssrc, fraction_lost << 24, 0, 0, 0, 0)
        return self.outgoing.protect_rtcp(struct.pack("!BBHI", 0x81, 201, 7, 1) + block)


def joined() -> tuple[Bench, Peer, Peer]:
    bench = Bench()
    bench.orders(*ORDERS[:6])
    bench.check("ut-send", PUBLISHER)
    bench.check("ut-recv", VIEWER)
    return bench, Peer(), Peer()


def test_each_order_is_taken_as_msgspec_writes_it() -> None:
    assert {type(order) for order in ORDERS + OF_THE_PLANE} == set(typing.get_args(Order))
    results = Bench().orders(*ORDERS)
    assert [result for result in results if result is not None and "error" in result] == []
    table = msgspec.convert(results[8]["data"], Table)
    assert [one.transport for one in table.transports] == ["t-send", "t-recv"]
    assert (table.producers, table.consumers) == (("p",), ("c",))
    assert table.transports[0].srtp_profile == "AEAD_AES_128_GCM"
    stats = msgspec.convert(results[9]["data"], tuple[Stats, ...])
    assert [(one.id, one.kind) for one in stats] == [
        ("t-send", "transport"),
        ("p", "producer"),
        ("c", "consumer"),
    ]
    assert stats[1].streams[0].rid == "h"


def test_fields_that_equal_their_default_may_be_absent() -> None:
    bench = Bench()
    for order in ORDERS:
        present = {
            field.encode_name: getattr(order, field.name)
            for field in msgspec.structs.fields(order)
            if getattr(order, field.name) != field.default
        }
        tagged = {"type": type(order).__name__, **present}
        body = msgspec.msgpack.encode({"seq": 1, "orders": [tagged]})
        (result,) = msgspec.msgpack.decode(bench.engine.handle_orders(S, body))["results"]
        assert result is None or "error" not in result, (tagged, result)


@pytest.mark.parametrize(
    ("profile", "size"),
    [("AEAD_AES_128_GCM", 28), ("AEAD_AES_256_GCM", 44), ("AES128_CM_HMAC_SHA1_80", 30)],
)
def test_each_srtp_profile_has_its_name_and_key_length(profile: SrtpProfile, size: int) -> None:
    assert profile in typing.get_args(SrtpProfile)
    bench = Bench()
    assert bench.orders(ORDERS[0], keys("t-send", profile, size)) == [None, None]
    (refused,) = bench.orders(keys("t-send", profile, size + 1))
    assert refused["error"]["code"] == "bad_key_length"
    (answer,) = bench.orders(Describe())
    assert msgspec.convert(answer["data"], Table).transports[0].srtp_profile == profile


def test_orders_for_the_plane_are_refused_by_an_engine() -> None:
    codes = [result["error"]["code"] for result in Bench().orders(*OF_THE_PLANE)]
    assert codes == ["not_for_engine", "not_for_engine"]


def test_a_refusal_changes_nothing() -> None:
    bench = Bench()
    assert bench.orders(PRODUCER)[0]["error"]["code"] == "unknown_transport"
    assert msgspec.convert(bench.orders(Describe())[0]["data"], Table) == Table(
        transports=(), producers=(), consumers=()
    )


def test_an_order_of_an_unknown_type_is_refused_and_the_next_one_is_met() -> None:
    body = msgspec.msgpack.encode({"seq": 1, "orders": [{"type": "Unknown"}, Describe()]})
    answer = msgspec.msgpack.decode(Bench().engine.handle_orders(S, body))
    unknown, described = answer["results"]
    assert unknown["error"]["code"] == "unknown_order"
    assert "data" in described


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80"])
def test_a_malformed_frame_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match="malformed frame"):
        Bench().engine.handle_orders(S, body)


def test_an_address_of_another_form_raises() -> None:
    with pytest.raises(ValueError, match="no address"):
        Bench().engine.handle_datagram(S, "localhost:1", b"")


def test_each_native_notice_is_read_by_msgspec() -> None:
    bench, publisher, viewer = joined()
    bench.check("ut-recv", "192.0.2.9:9")
    bench.check("ut-recv", VIEWER)
    bench.datagram(PUBLISHER, b"\x16\xfe\xfdrecord")
    bench.datagram(PUBLISHER, publisher.vp8(4242, keyframe=False))
    bench.datagram(PUBLISHER, publisher.vp8(4242, keyframe=True))
    bench.advance(1.5)
    bench.datagram(VIEWER, viewer.report(5555, 128))
    bench.datagram(VIEWER, viewer.remb(500_000))
    bench.advance(3)

    assert bench.said(IceStateChanged) == [
        IceStateChanged(transport="t-send", state="connected", remote=PUBLISHER),
        IceStateChanged(transport="t-recv", state="connected", remote=VIEWER),
    ]
    assert bench.said(IceTupleChanged) == [
        IceTupleChanged(transport="t-recv", remote="192.0.2.9:9"),
        IceTupleChanged(transport="t-recv", remote=VIEWER),
    ]
    record = DtlsReceived(transport="t-send", datagrams=(b"\x16\xfe\xfdrecord",))
    assert bench.said(DtlsReceived) == [record]
    learned = ProducerStreamLearned(producer="p", encoding=0, ssrc=4242)
    assert bench.said(ProducerStreamLearned) == [learned]
    assert bench.said(KeyFrameRequested)[0] == KeyFrameRequested(
        producer="p", encoding=0, requests=2, causes=("began",)
    )
    layers = LayersChanged(consumer="c", spatial_layer=0, temporal_layer=None, reason="preferred")
    assert bench.said(LayersChanged) == [layers]
    assert bench.said(ProducerActivityChanged) == [
        ProducerActivityChanged(producer="p", active=True),
        ProducerActivityChanged(producer="p", active=False),
    ]
    assert bench.said(ProducerDemandChanged) == [
        ProducerDemandChanged(producer="p", spatial_layer=0)
    ]
    assert bench.said(ProducerScore)[0] == ProducerScore(producer="p", scores=(10,))
    assert bench.said(ConsumerScore) == [ConsumerScore(consumer="c", score=1, producer_score=10)]
    assert bench.said(BandwidthEstimated) == [
        BandwidthEstimated(transport="t-recv", bitrate_bps=500_000, limit="remb")
    ]
    measured(bench, publisher)
    native = {type(notice) for notice in bench.notices}
    of_the_face = {
        notices_module.DtlsStateChanged,
        notices_module.OrderRefused,
        notices_module.PlaneLost,
    }
    assert native | of_the_face == set(typing.get_args(Notice))


def measured(bench: Bench, publisher: Any) -> None:
    """Have the engine measure, freeze and be asked for a recording."""
    bench.check("ut-send", PUBLISHER)
    bench.check("ut-recv", VIEWER)
    in_room = msgspec.structs.replace(with_password(rows.send_transport()), room="lobby")
    bench.orders(in_room, msgspec.structs.replace(CONSUMER, paused=True), CONSUMER)
    for _ in range(8):
        bench.datagram(PUBLISHER, publisher.vp8(4242, keyframe=False))
        bench.advance(0.5)
    bench.orders(MICROPHONE)
    bench.datagram(PUBLISHER, publisher.opus(7777, 0x80 | 25))
    bench.advance(0.5)
    assert bench.said(notices_module.AudioLevels) == [
        notices_module.AudioLevels(
            room="lobby", worker=0, levels=(notices_module.Level(producer="m", level=25),)
        ),
        notices_module.AudioLevels(room="lobby", worker=0, levels=()),
    ]
    bench.orders(FreezeRecorder(transport="t-send", reason="operator", position=7))
    assert bench.said(notices_module.ConsumerFrozen)[0].frozen
    assert {frame.room for frame in bench.said(notices_module.Telemetry)} == {"lobby"}
    (recording,) = bench.said(notices_module.Recording)
    assert (recording.transport, recording.position, recording.parts) == ("t-send", 7, 1)


def test_libsrtp_reads_what_the_engine_forwards() -> None:
    bench, publisher, viewer = joined()
    bench.sent.clear()
    bench.datagram(PUBLISHER, publisher.vp8(4242, keyframe=True))
    ((remote, datagram),) = [one for one in bench.sent if one[0] == VIEWER]
    packet = viewer.incoming.unprotect(datagram)
    first, second, _, _, ssrc = struct.unpack("!BBHII", packet[:12])
    assert (first & 0xC0, second & 0x7F, ssrc, remote) == (0x80, 101, 5555, VIEWER)
    assert packet.endswith(b"\x10\x00frame")


def test_aioice_reads_the_answers_to_its_checks() -> None:
    bench, _, _ = joined()
    remote, datagram = bench.sent[0]
    message = stun.parse_message(datagram)
    assert message.check_message_integrity(PASSWORD.encode())
    assert message.message_class == stun.Class.RESPONSE
    host, port = message.attributes["XOR-MAPPED-ADDRESS"]
    assert f"{host}:{port}" == remote == PUBLISHER


def test_the_same_seed_and_calls_give_the_same_bytes() -> None:
    def run() -> tuple[list[tuple[str, bytes]], list[Any]]:
        bench, publisher, _ = joined()
        datagrams = [publisher.vp8(4242, keyframe=n == 0) for n in range(5)]
        for datagram in datagrams:
            bench.datagram(PUBLISHER, datagram)
            bench.advance(0.4)
        # The answers to checks bear the random transaction ids of aioice.
        media = [one for one in bench.sent if one[1][0] > 3]
        return media, bench.notices

    assert run() == run()


def test_every_struct_of_the_contract_is_an_order_an_answer_or_a_part() -> None:
    """A new struct in the contract must be mirrored: this list fails then."""
    structs = {
        name
        for name, value in vars(orders_module).items()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == orders_module.__name__
        and not name.startswith("_")
    }
    orders = {order.__name__ for order in typing.get_args(Order)}
    assert structs - orders == {
        *("IceCredentials", "ProducerCodec", "ProducerEncoding", "HeaderExtension"),
        *("ConsumerCodec", "ConsumerExtension", "WorkerInfo", "PlaneInfo", "TransportEntry"),
        *("EncodingEntry", "ProducerEntry", "ConsumerEntry"),
        *("Table", "StreamStats", "TransportStats", "Stats"),
    }
