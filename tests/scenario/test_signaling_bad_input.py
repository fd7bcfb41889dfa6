"""Whatever a client gets wrong is answered with a code, and the session goes on."""

import json

import msgspec
import pytest
import trio

from protocol.signaling import JSON, MSGPACK, CloseCode
from tests.scenario.signaling_bench import client_frame, read_all, signaling

MALFORMED_JSON = [
    "",
    "{",
    "null",
    "[]",
    '"join"',
    "{}",
    '{"id": 1}',
    '{"method": "join"}',
    '{"id": "1", "method": "join"}',
    '{"id": 1.5, "method": "join"}',
    '{"id": -1, "method": "join"}',
    '{"id": 9007199254740993, "method": "join"}',
    '{"id": true, "method": "join"}',
    '{"id": 1, "method": 7}',
    '{"id": 1, "method": "join", "data": []}',
    '{"id": 1, "method": "join", "data": "room"}',
    "[" * 5000,
    '{"id": 1, "method": "join", "data": ' + '{"a":' * 5000,
]


@pytest.mark.parametrize("frame", MALFORMED_JSON, ids=range(len(MALFORMED_JSON)))
async def test_a_malformed_json_frame_is_refused_and_the_session_goes_on(frame):
    async with signaling() as bench:
        client = await bench.connect(JSON)
        await client.send_raw(frame)
        answer = await client.next_answer()
        assert (answer["ok"], answer["error"]["code"]) == (False, "malformed_frame")
        await client.join()


MALFORMED_MSGPACK = [
    b"",
    b"\xc1",
    b"\x81",
    b"\xc0",
    b"\x80",
    b"\x81\xa2id\x01",
    b"\x82\xa2id\x01\xa6method\x07",
    b"\x82\x01\x01\x02\x02",
    b"\x82\xc4\x02id\x01\xa6method\xa4join",
    b"\x83\xa2id\x01\xa6method\xa4join\xa4data\xd4\x05\x00",
    b"\x81\xa1\xff\x01",
    b"\x91" * 5000,
    b"\xdf\xff\xff\xff\xff",
    msgspec.msgpack.encode({"id": 1, "method": "join"}) + b"\x00",
    b"\x83\xa2id\x01\xa6method\xa4join\xa4data" + b"\x81\xa1a" * 5000 + b"\xc0",
]


@pytest.mark.parametrize("frame", MALFORMED_MSGPACK, ids=range(len(MALFORMED_MSGPACK)))
async def test_a_malformed_msgpack_frame_is_refused_and_the_session_goes_on(frame):
    async with signaling() as bench:
        client = await bench.connect(MSGPACK)
        await client.send_raw(frame)
        answer = await client.next_answer()
        assert (answer["ok"], answer["error"]["code"]) == (False, "malformed_frame")
        await client.join()


async def test_the_id_of_a_malformed_request_is_answered_where_it_is_known():
    async with signaling() as bench:
        client = await bench.connect(JSON)
        await client.send({"id": 5, "method": ["join"]})
        assert (await client.next_answer())["id"] == 5
        await client.send({"method": "join"})
        assert (await client.next_answer())["id"] is None


@pytest.mark.parametrize(
    ("subprotocol", "frame"),
    [(JSON, b'{"id": 1, "method": "leave"}'), (MSGPACK, '{"id": 1, "method": "leave"}')],
)
async def test_a_frame_of_the_other_kind_is_refused(subprotocol, frame):
    async with signaling() as bench:
        client = await bench.connect(subprotocol)
        await client.send_raw(frame)
        answer = await client.next_answer()
        assert answer["error"]["code"] == "malformed_frame"
        assert ("binary" in answer["error"]["message"]) == (subprotocol == MSGPACK)


async def test_an_unknown_method_is_refused():
    async with signaling() as bench:
        client = await bench.connect()
        answer = await client.request("dance")
        assert answer["error"]["code"] == "unknown_method"


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"room": 7},
        {"room": ""},
        {"room": "a b"},
        {"room": "a.b"},
        {"room": "x" * 65},
        {"room": "lobby\n"},
        {"room": "lobby", "name": "n" * 129},
        {"room": "lobby", "name": ["Ada"]},
        {"room": "lobby", "create": "yes"},
    ],
    ids=str,
)
async def test_a_join_with_wrong_data_is_refused(data):
    async with signaling() as bench:
        client = await bench.connect(JSON)
        answer = await client.request("join", data)
        assert answer["error"]["code"] == "invalid_data"
        assert bench.control.requests == []
        await client.join()


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("createTransport", {"direction": "both"}),
        ("connectTransport", {"transport": "t", "dtlsParameters": {"fingerprints": []}}),
        ("produce", {"transport": "t", "kind": "text", "rtpParameters": {"codecs": []}}),
        ("consume", {"transport": "t", "producer": 5, "rtpCapabilities": {}}),
        ("setPreferredLayers", {"consumer": "c", "spatialLayer": -1}),
        ("setPriority", {"consumer": "c", "priority": 256}),
        ("setPriority", {"priority": 1}),
        ("getStats", {}),
        ("getStats", {"transport": "t", "producer": "d"}),
        ("pauseProducer", {"producer": ""}),
    ],
)
async def test_requests_with_wrong_data_are_refused(method, data):
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        answer = await client.request(method, data)
        assert answer["error"]["code"] == "invalid_data"
        assert len(bench.control.requests) == 1


@pytest.mark.parametrize("method", ["createTransport", "leave", "getStats", "produce"])
async def test_requests_before_joining_are_refused(method):
    async with signaling() as bench:
        client = await bench.connect()
        answer = await client.request(method, {})
        assert answer["error"]["code"] == "not_joined"


async def test_a_socket_joins_once():
    async with signaling() as bench:
        client = await bench.connect()
        joined = await client.join()
        again = await client.request("join", {"room": "other"})
        assert again["error"]["code"] == "already_joined"
        resumed = await client.request("resume", {"session": joined["session"], "position": 0})
        assert resumed["error"]["code"] == "already_joined"


async def test_a_second_join_while_the_first_is_under_way_is_refused():
    async with signaling() as bench:
        client = await bench.connect()
        bench.control.held.add("Join")
        await client.send({"id": 1, "method": "join", "data": {"room": "lobby"}})
        await client.send({"id": 2, "method": "join", "data": {"room": "lobby"}})
        refused = await client.next_answer()
        assert (refused["id"], refused["error"]["code"]) == (2, "already_joined")
        bench.control.release()
        assert (await client.next_answer())["ok"]


async def test_a_refused_join_may_be_tried_again():
    async with signaling() as bench:
        client = await bench.connect()
        refused = await client.request("resume", {"session": "a.b.c", "position": 0})
        assert refused["error"]["code"] == "session_not_found"
        await client.join()


async def test_an_id_that_waits_for_its_answer_is_refused():
    async with signaling() as bench:
        client = await bench.connect()
        await client.join()
        bench.control.held.add("CloseTransport")
        for _ in range(2):
            await client.send({"id": 9, "method": "closeTransport", "data": {"transport": "t"}})
        refused = await client.next_answer()
        assert (refused["id"], refused["error"]["code"]) == (9, "duplicate_request_id")
        bench.control.release()
        assert (await client.next_answer())["ok"]
        assert (await client.request("closeTransport", {"transport": "t"}, request_id=9))["ok"]


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_a_message_over_the_limit_closes_the_socket(subprotocol):
    async with signaling(limits={"message_bytes_max": 5000}) as bench:
        client = await bench.connect(subprotocol)
        await client.join("lobby", token="x" * 4000)
        other = await bench.connect()
        await client.send({"id": 2, "method": "leave", "data": {"padding": "x" * 5000}})
        assert (await client.wait_closed())[0] == CloseCode.TOO_LARGE
        await other.join()


async def test_a_text_message_is_measured_in_bytes():
    async with signaling(limits={"message_bytes_max": 5000}) as bench:
        client = await bench.connect(JSON)
        await client.send_raw(json.dumps({"id": 1, "x": "é" * 3000}, ensure_ascii=False))
        assert await client.wait_closed() == (CloseCode.TOO_LARGE, "a message over the limit")


async def test_the_client_hears_why_even_if_it_goes_on_sending():
    """Closing TCP over unread bytes would reset it and take the close frame back."""
    async with signaling(limits={"message_bytes_max": 5000}) as bench, bench.raw() as stream:
        await stream.send_all(client_frame(b"x" * 300_000))
        answer = await read_all(stream)
        assert b"\x88" in answer
        assert (1009).to_bytes(2) in answer


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (client_frame(b"\xff\xfe", opcode=1), 1007),
        (client_frame(b"", opcode=3), 1002),
        (client_frame(b"", opcode=0), 1002),
        (b"\x81\x02{}", 1002),
    ],
    ids=["no-utf8", "reserved-opcode", "continues-nothing", "unmasked"],
)
async def test_frames_that_are_no_websocket_close_that_socket_alone(frame, code):
    async with signaling() as bench:
        bystander = await bench.connect()
        async with bench.raw() as stream:
            await stream.send_all(frame)
            assert code.to_bytes(2) in await read_all(stream)
        await bystander.join()


async def test_what_is_no_http_is_rejected():
    async with signaling() as bench:
        status, _ = await bench.rejected(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status in {400, 426}
        stream = await trio.open_tcp_stream("127.0.0.1", bench.port)
        async with stream:
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01" * 50)
            await read_all(stream)
        await (await bench.connect()).join()


async def test_a_client_that_vanishes_amid_everything_disturbs_nobody():
    async with signaling() as bench:
        bystander = await bench.connect()
        await bystander.join()
        for sent in (b"", b"GET", client_frame(b"{")[:3]):
            async with bench.raw() as stream:
                await stream.send_all(sent or b"\x81")
        assert (await bystander.request("restartIce", {"transport": "t"}))["ok"]
