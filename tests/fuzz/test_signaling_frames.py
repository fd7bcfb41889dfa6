"""Whatever stands in a client's frame becomes a typed command or a refusal, and costs little."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.refusals import Refusal
from protocol.signaling import (
    JSON,
    METHODS,
    MSGPACK,
    BadFrame,
    Request,
    command_of,
    decode_request,
    encode_refusal,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=25,
)
packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=12))
    | st.builds(msgpack.Timestamp, st.integers(0, 2**40), st.integers(0, 999_999_999)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=12) | st.integers(0, 9) | st.binary(max_size=4), inner)
    ),
    max_leaves=25,
)

FIELDS = (
    "room",
    "name",
    "token",
    "create",
    "session",
    "position",
    "peer",
    "rights",
    "transport",
    "producer",
    "consumer",
    "direction",
    "kind",
    "rtpParameters",
    "rtpCapabilities",
    "dtlsParameters",
    "appData",
    "paused",
    "spatialLayer",
    "temporalLayer",
)
likely = st.fixed_dictionaries(
    {},
    optional={
        field: st.sampled_from(["lobby", "t_1", "send", "video", True, 0, 1, {}, []]) | plain
        for field in FIELDS
    },
)


def check(subprotocol, frame):
    """Nothing raises, and whatever is refused can be answered."""
    request = decode_request(subprotocol, frame)
    if isinstance(request, BadFrame):
        assert request.id is None or 0 <= request.id <= 2**53
        encode_refusal(subprotocol, request.id, request.refusal)
        return None
    assert isinstance(request, Request)
    outcome = None
    for peer in (None, "p_1"):
        outcome = command_of(request, peer=peer)
        if isinstance(outcome, Refusal):
            encode_refusal(subprotocol, request.id, outcome)
            encode_refusal(JSON, request.id, outcome)
        else:
            assert getattr(outcome, "peer", peer) == peer
            msgspec.msgpack.encode(outcome)
    return outcome


@given(st.binary(max_size=300))
@example(b"\xc7\xff\xff" + b"\x00" * 255)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x82\xa2id\x01\xa6method\xa4join" * 3)
def test_any_bytes(frame):
    check(MSGPACK, frame)


@given(st.text(max_size=300))
@example('{"id": 1, "method": "join", "data": {"room": "\\ud800"}}')
@example('{"id": 1e2, "method": "join"}')
@example('{"id": 1, "id": 2, "method": "join", "method": "leave"}')
@example('{"id": 1, "method": "\\u0000"}')
def test_any_text(frame):
    check(JSON, frame)


@given(packable)
def test_any_msgpack_tree(tree):
    check(MSGPACK, msgpack.packb(tree))


@given(plain)
def test_any_json_tree(tree):
    check(JSON, json.dumps(tree))


@given(st.sampled_from(METHODS), likely, st.integers(0, 2**53))
def test_requests_that_are_almost_right(method, data, number):
    tree: dict[str, Any] = {"id": number, "method": method, "data": data}
    check(JSON, json.dumps(tree))


@given(
    st.sampled_from(METHODS),
    st.dictionaries(st.sampled_from(FIELDS), packable),
    st.integers(0, 2**53),
)
def test_packed_requests_that_are_almost_right(method, data, number):
    check(MSGPACK, msgpack.packb({"id": number, "method": method, "data": data}))


@given(st.integers(1, 30_000), st.booleans(), st.sampled_from(FIELDS))
def test_depth_is_no_way_in(depth, as_map, field):
    inner = b"\x81\xa1a" if as_map else b"\x91"
    head = b"\x83\xa2id\x01\xa6method\xa7produce\xa4data\x81"
    name = msgpack.packb(field)
    check(MSGPACK, head + name + inner * depth + b"\xc0")
    opened = '{"a":' if as_map else "["
    closed = "}" if as_map else "]"
    text = f'{{"id":1,"method":"produce","data":{{"{field}":{opened * depth}0{closed * depth}}}}}'
    check(JSON, text)


def test_both_subprotocols_say_the_same():
    """A request means the same whichever way it is written."""
    tree = {"id": 7, "method": "join", "data": {"room": "lobby", "name": "Ada"}}
    by_json = decode_request(JSON, json.dumps(tree))
    by_msgpack = decode_request(MSGPACK, msgpack.packb(tree))
    assert by_json == by_msgpack
    assert isinstance(by_json, Request)
    assert command_of(by_json, peer=None) == command_of(by_msgpack, peer=None)
