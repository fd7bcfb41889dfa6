"""Frames in both subprotocols: what is read, what is refused, and what is written."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import msgspec
import pytest

from protocol import codec, commands
from protocol.answers import Done, Entered, Joined, Produced
from protocol.ids import ROOM
from protocol.notifications import Everyone, Notification
from protocol.refusals import Refusal, RefusalCode
from protocol.signaling import (
    JSON,
    METHODS,
    MSGPACK,
    BadFrame,
    Request,
    command_of,
    decode_request,
    encode_answer,
    encode_notification,
    encode_refusal,
)
from tests.control.samples import FINGERPRINT, ROUTER, rtp_parameters

BOTH = pytest.mark.parametrize("subprotocol", [MSGPACK, JSON])
RTP = msgspec.to_builtins(rtp_parameters())
CAPABILITIES = msgspec.to_builtins(ROUTER)
DTLS = {"role": "client", "fingerprints": [msgspec.to_builtins(FINGERPRINT)]}

REQUESTS: list[tuple[str, dict[str, Any], type, str]] = [
    ("join", {"room": "lobby", "name": "Ann"}, commands.Join, ROOM),
    ("resume", {"session": "s", "position": 7}, commands.Resume, ROOM),
    ("leave", {}, commands.Leave, ROOM),
    ("createTransport", {"direction": "send"}, commands.CreateTransport, ROOM),
    (
        "connectTransport",
        {"transport": "t", "dtlsParameters": DTLS},
        commands.ConnectTransport,
        "transport/t",
    ),
    ("restartIce", {"transport": "t"}, commands.RestartIce, "transport/t"),
    ("closeTransport", {"transport": "t"}, commands.CloseTransport, "transport/t"),
    (
        "produce",
        {"transport": "t", "kind": "video", "rtpParameters": RTP, "appData": {"a": [1, None]}},
        commands.Produce,
        ROOM,
    ),
    (
        "consume",
        {"transport": "t", "producer": "s", "rtpCapabilities": CAPABILITIES},
        commands.Consume,
        ROOM,
    ),
    ("pauseProducer", {"producer": "s"}, commands.PauseProducer, "producer/s"),
    ("resumeProducer", {"producer": "s"}, commands.ResumeProducer, "producer/s"),
    ("closeProducer", {"producer": "s"}, commands.CloseProducer, "producer/s"),
    ("resumeConsumer", {"consumer": "c"}, commands.ResumeConsumer, "consumer/c"),
    ("pauseConsumer", {"consumer": "c"}, commands.PauseConsumer, "consumer/c"),
    ("closeConsumer", {"consumer": "c"}, commands.CloseConsumer, "consumer/c"),
    ("requestKeyFrame", {"consumer": "c"}, commands.RequestConsumerKeyFrame, "consumer/c"),
    (
        "setPreferredLayers",
        {"consumer": "c", "spatialLayer": 1, "temporalLayer": None},
        commands.SetPreferredLayers,
        "consumer/c",
    ),
    ("setPriority", {"consumer": "c", "priority": 255}, commands.SetPriority, "consumer/c"),
    ("getStats", {"transport": "t"}, commands.QueryTransport, "transport/t"),
    ("getStats", {"producer": "s"}, commands.QueryProducer, "producer/s"),
    ("getStats", {"consumer": "c"}, commands.QueryConsumer, "consumer/c"),
]


def pack(subprotocol: Any, tree: Any) -> bytes | str:
    packed: bytes | str = msgpack.packb(tree) if subprotocol == MSGPACK else json.dumps(tree)
    return packed


def unpack(frame: bytes | str) -> Any:
    return msgpack.unpackb(frame) if isinstance(frame, bytes) else json.loads(frame)


def command(method: str, data: dict[str, Any], peer: str | None = "p_1") -> Any:
    return command_of(Request(id=1, method=method, data=data), peer=peer)


def test_every_method_of_the_contract_is_tried_here() -> None:
    assert {method for method, *_ in REQUESTS} == set(METHODS)


@BOTH
@pytest.mark.parametrize(("method", "data", "kind", "target"), REQUESTS)
def test_a_request_becomes_its_command(
    subprotocol: Any, method: str, data: dict[str, Any], kind: type, target: str
) -> None:
    request = decode_request(
        subprotocol, pack(subprotocol, {"id": 7, "method": method, "data": data})
    )
    assert isinstance(request, Request)
    assert request.id == 7
    made = command_of(request, peer=None if method == "join" else "p_1")
    assert isinstance(made, kind), made
    assert made.target == target  # type: ignore[attr-defined]
    assert codec.decode(kind.__name__, 1, codec.encode(made)) == made
    if method != "join":
        assert made.peer == "p_1"  # type: ignore[attr-defined]


def test_what_the_gateway_knows_better_replaces_what_the_client_says() -> None:
    forged = {"room": "lobby", "rights": {"publish": True}, "peer": "p_2"}
    made = command_of(
        Request(id=1, method="join", data=forged),
        peer=None,
        extra={"rights": commands.Rights(publish=False)},
    )
    assert isinstance(made, commands.Join)
    assert not made.rights.publish
    made = command("leave", {"peer": "p_2"})
    assert made.peer == "p_1"
    made = command("join", {"room": "lobby", "rights": {"publish": False}}, peer=None)
    assert made.rights == commands.Rights()


@BOTH
def test_a_request_without_data_is_one_with_none(subprotocol: Any) -> None:
    for tree in ({"id": 1, "method": "leave"}, {"id": 1, "method": "leave", "data": None}):
        request = decode_request(subprotocol, pack(subprotocol, tree))
        assert isinstance(request, Request)
        assert isinstance(command_of(request, peer="p"), commands.Leave)


@pytest.mark.parametrize(
    ("subprotocol", "frame", "words"),
    [
        (MSGPACK, "text", "binary frames"),
        (JSON, b"\x80", "text frames"),
        (MSGPACK, b"", "not a frame"),
        (MSGPACK, b"\x80\x80", "not a frame"),
        (MSGPACK, b"\x81\xa1a", "not a frame"),
        (MSGPACK, msgpack.packb({1: 2}), "not a frame"),
        (MSGPACK, msgpack.packb(msgpack.ExtType(5, b"x")), "not a frame"),
        (MSGPACK, b"\xdd\xff\xff\xff\xff", "not a frame"),
        (MSGPACK, b"\x91" * 5000 + b"\x90", "not a frame"),
        (JSON, "", "not a frame"),
        (JSON, "{", "not a frame"),
        (JSON, "[" * 50_000, "not a frame"),
        (JSON, '{"id": NaN}', "not a frame"),
        (JSON, "[]", "not a request"),
        (JSON, '{"id": 1}', "method"),
        (JSON, '{"method": "join"}', "id"),
        (JSON, '{"id": "1", "method": "join"}', "id"),
        (JSON, '{"id": -1, "method": "join"}', "id"),
        (JSON, '{"id": 1, "method": 5}', "method"),
        (JSON, '{"id": 1, "method": "join", "data": []}', "data"),
    ],
)
def test_what_is_no_request_is_said_to_be_none(subprotocol: Any, frame: Any, words: str) -> None:
    bad = decode_request(subprotocol, frame)
    assert isinstance(bad, BadFrame)
    assert bad.refusal.code == RefusalCode.MALFORMED_FRAME
    assert words in bad.refusal.message


@BOTH
@pytest.mark.parametrize(
    ("number", "found"), [(5, 5), (0, 0), (True, None), (-1, None), ("5", None)]
)
def test_the_id_of_a_bad_request_is_found_where_it_can_be(
    subprotocol: Any, number: Any, found: int | None
) -> None:
    bad = decode_request(subprotocol, pack(subprotocol, {"id": number, "method": 9}))
    assert isinstance(bad, BadFrame)
    assert bad.id == found


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("join", {}),
        ("join", {"room": ""}),
        ("join", {"room": "a/b"}),
        ("join", {"room": "lobby\n"}),
        ("join", {"room": "x" * 65}),
        ("join", {"room": "lobby", "name": "x" * 129}),
        ("resume", {"position": -1}),
        ("resume", {"position": 2**53 + 1}),
        ("resume", {"position": 10**30}),
        ("createTransport", {"direction": "both"}),
        ("closeTransport", {"transport": ""}),
        ("closeTransport", {"transport": "x" * 65}),
        ("closeTransport", {"transport": 5}),
        ("connectTransport", {"transport": "t", "dtlsParameters": {"fingerprints": []}}),
        ("setPreferredLayers", {"consumer": "c", "spatialLayer": 8}),
        ("setPreferredLayers", {"consumer": "c", "spatialLayer": -1}),
        ("setPreferredLayers", {"consumer": "c"}),
        ("setPriority", {"consumer": "c"}),
        ("setPriority", {"consumer": "c", "priority": 0}),
        ("setPriority", {"consumer": "c", "priority": 256}),
        ("setPriority", {"consumer": "c", "priority": -1}),
        ("setPriority", {"consumer": "c", "priority": 1.5}),
        ("setPriority", {"consumer": "c", "priority": True}),
        ("setPriority", {"consumer": "c", "priority": "9"}),
        ("setPriority", {"consumer": "c", "priority": 2**70}),
        (
            "consume",
            {"transport": "t", "producer": "s", "rtpCapabilities": CAPABILITIES, "priority": 0},
        ),
        ("getStats", {}),
        ("getStats", {"transport": "t", "producer": "s"}),
        ("produce", {"transport": "t", "kind": "data", "rtpParameters": RTP}),
    ],
)
def test_data_out_of_bounds_is_refused(method: str, data: dict[str, Any]) -> None:
    refusal = command(method, data, peer=None if method == "join" else "p_1")
    assert isinstance(refusal, Refusal)
    assert refusal.code == RefusalCode.INVALID_DATA


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        2**53 + 1,
        float("inf"),
        float("nan"),
        {1: 2},
        {b"k": 1},
        deep(6),
        msgpack.Timestamp(1, 0),
    ],
)
def test_app_data_that_both_subprotocols_cannot_say_is_refused(value: Any) -> None:
    data = {"transport": "t", "kind": "video", "rtpParameters": RTP, "appData": {"v": value}}
    refusal = command("produce", data)
    assert isinstance(refusal, Refusal)
    assert refusal.code == RefusalCode.INVALID_DATA
    fine = data | {"appData": {"v": [deep(4), True, None, -0.5, "é", {"k": {}}]}}
    assert isinstance(command("produce", fine), commands.Produce)


def test_unknown_methods_are_named() -> None:
    refusal = command("dance", {})
    assert refusal == Refusal(RefusalCode.UNKNOWN_METHOD, "there is no method 'dance'")


def test_a_refusal_does_not_repeat_all_that_was_sent() -> None:
    for method, data in (
        ("createTransport", {"direction": "x" * 1_000_000}),
        ("produce", {"transport": "t", "kind": "y" * 1_000_000, "rtpParameters": RTP}),
    ):
        refusal = command(method, data)
        assert isinstance(refusal, Refusal)
        assert refusal.code == RefusalCode.INVALID_DATA
        assert len(refusal.message) < 400
        assert refusal.message.startswith(f"{method}: Invalid enum value")


@BOTH
def test_answers_bear_the_requests_id(subprotocol: Any) -> None:
    assert unpack(encode_answer(subprotocol, 7, Produced(id="s"))) == {
        "id": 7,
        "ok": True,
        "data": {"id": "s"},
    }
    assert unpack(encode_answer(subprotocol, 0, Done())) == {"id": 0, "ok": True, "data": {}}
    joined = Joined(
        peer="p", router_rtp_capabilities=ROUTER, peers=(), producers=(), streaming=False
    )
    entered = unpack(encode_answer(subprotocol, 1, Entered(joined=joined, attachment=3)))["data"]
    assert set(entered) == {
        "peer",
        "session",
        "routerRtpCapabilities",
        "peers",
        "producers",
        "peerCount",
        "streaming",
        "activeSpeaker",
        "position",
    }


@BOTH
def test_refusals_bear_a_code_and_words(subprotocol: Any) -> None:
    refusal = Refusal(RefusalCode.FORBIDDEN, "no")
    assert unpack(encode_refusal(subprotocol, None, refusal)) == {
        "id": None,
        "ok": False,
        "error": {"code": "forbidden", "message": "no"},
    }


@BOTH
def test_notifications_bear_their_position(subprotocol: Any) -> None:
    notification = Notification("producerPaused", {"producer": "s"}, Everyone())
    assert unpack(encode_notification(subprotocol, 42, notification)) == {
        "event": "producerPaused",
        "position": 42,
        "data": {"producer": "s"},
    }
