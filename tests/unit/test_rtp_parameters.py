"""RTP types: wire shapes, bounds, and what junk becomes."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.rtp_parameters import (
    RtcpParameters,
    RtpCapabilities,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
)
from tests.unit.rtp_clients import CHROMIUM, CLIENTS, PYMEDIASOUP, ROUTER, parsed, video


def wire(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CLIENTS)
def test_recorded_capabilities_survive_the_round_trip_unchanged(name: str) -> None:
    client = CLIENTS[name]
    assert wire(client.capabilities) == without_nulls(client.raw["recvCapabilities"])


def test_recorded_chromium_parameters_survive_the_round_trip_unchanged() -> None:
    for title, (_, parameters) in CHROMIUM.producers.items():
        assert wire(parameters) == CHROMIUM.raw["producers"][title]["rtpParameters"]


def test_recorded_pymediasoup_parameters_lose_only_nulls_and_unknown_fields() -> None:
    for title, (_, parameters) in PYMEDIASOUP.producers.items():
        raw = without_nulls(PYMEDIASOUP.raw["producers"][title]["rtpParameters"])
        del raw["rtcp"]["mux"]
        assert wire(parameters) == raw


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_msgspec_round_trips_give_equal_values(codec: Any) -> None:
    for value in [ROUTER, *(p for c in CLIENTS.values() for _, p in c.producers.values())]:
        assert codec.decode(codec.encode(value), type=type(value)) == value


def test_fields_that_mediasoup_always_writes_are_written_even_at_their_defaults() -> None:
    plain = parsed({"codecs": [{"mimeType": "audio/opus", "payloadType": 1, "clockRate": 48000}]})
    assert wire(plain) == {
        "codecs": [
            {
                "mimeType": "audio/opus",
                "payloadType": 1,
                "clockRate": 48000,
                "parameters": {},
                "rtcpFeedback": [],
            }
        ],
        "headerExtensions": [],
        "encodings": [],
        "rtcp": {"reducedSize": True},
    }


def test_unknown_fields_are_ignored() -> None:
    assert parsed(video(mux=True, priority="high")) == parsed(video())


def test_null_stands_for_absent_in_optional_fields() -> None:
    encoding = dict.fromkeys(RtpEncodingParameters.__struct_encode_fields__)
    assert msgspec.convert(encoding, RtpEncodingParameters) == RtpEncodingParameters()
    assert parsed(video(msid=None)) == parsed(video())


@pytest.mark.parametrize(
    "changes",
    [
        {"ssrc": 0},
        {"ssrc": 2**32},
        {"ssrc": 10**30},
        {"ssrc": True},
        {"ssrc": "1"},
        {"rtx": {}},
        {"rtx": {"ssrc": -1}},
        {"rid": ""},
        {"rid": "a b"},
        {"rid": "a\n"},
        {"rid": "r" * 33},
        {"codecPayloadType": 128},
        {"maxBitrate": -1},
        {"scaleResolutionDownBy": 0.5},
        {"scaleResolutionDownBy": math.nan},
        {"scaleResolutionDownBy": math.inf},
        {"maxFramerate": math.nan},
        {"scalabilityMode": "L1T3; evil"},
        {"scalabilityMode": "L" * 17},
    ],
)
def test_an_encoding_out_of_bounds_is_a_validation_error(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changes, RtpEncodingParameters)


@pytest.mark.parametrize(
    "changes",
    [
        {"mid": ""},
        {"mid": "a b"},
        {"mid": "m" * 33},
        {"msid": "one two three"},
        {"msid": "a\r\na=evil"},
        {"codecs": None},
        {"codecs": [{"mimeType": "video/VP8", "payloadType": 96, "clockRate": 1}] * 65},
        {"codecs": [{"mimeType": "text/VP8", "payloadType": 96, "clockRate": 90000}]},
        {"codecs": [{"mimeType": "video/VP8\n", "payloadType": 96, "clockRate": 90000}]},
        {"codecs": [{"mimeType": "video/VP8", "payloadType": 128, "clockRate": 90000}]},
        {"codecs": [{"mimeType": "video/VP8", "payloadType": 96, "clockRate": 0}]},
        {"headerExtensions": [{"uri": "u", "id": 1}] * 65},
        {"headerExtensions": [{"uri": "u", "id": 0}]},
        {"headerExtensions": [{"uri": "u", "id": 256}]},
        {"headerExtensions": [{"uri": "u v", "id": 1}]},
        {"encodings": [{"ssrc": 1}] * 17},
        {"rtcp": {"cname": "c" * 256}},
        {"rtcp": {"cname": "ü" * 200}},
        {"rtcp": {"cname": "c\x00"}},
    ],
)
def test_parameters_out_of_bounds_are_a_validation_error(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        parsed(video(**changes))


@pytest.mark.parametrize(
    "parameters",
    [
        {"a": True},
        {"a": math.nan},
        {"a": -math.inf},
        {"a": 2**54},
        {"a": []},
        {"a": "x" * 1025},
        {"a": "1\r\na=candidate:evil"},
        {"a\r\n": 1},
        {"a;b": 1},
        {1: 1},
        {f"p{n}": n for n in range(33)},
    ],
)
@pytest.mark.parametrize("owner", [RtpCodecParameters, RtpHeaderExtensionParameters])
def test_format_parameters_that_no_sdp_may_carry_are_a_validation_error(
    owner: type, parameters: dict[Any, Any]
) -> None:
    base: dict[str, Any] = {"mimeType": "video/VP8", "payloadType": 96, "clockRate": 90000}
    base |= {"uri": "u", "id": 1}
    assert msgspec.convert(base, owner)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(base | {"parameters": parameters}, owner)


def test_cname_of_255_bytes_is_the_longest() -> None:
    assert RtcpParameters(cname="ü" * 127 + "u").cname is not None
    with pytest.raises(ValueError, match="255 bytes"):
        RtcpParameters(cname="ü" * 128)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                sorted(
                    set(RtpParameters.__struct_encode_fields__)
                    | set(RtpCapabilities.__struct_encode_fields__)
                    | set(RtpCodecParameters.__struct_encode_fields__)
                    | set(RtpEncodingParameters.__struct_encode_fields__)
                )
            )
            | st.text(max_size=4),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JUNK)
def test_junk_is_converted_or_is_a_validation_error(junk: Any) -> None:
    for target in (RtpParameters, RtpCapabilities):
        try:
            value = msgspec.convert(junk, target)
        except msgspec.ValidationError:
            continue
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=target) == value


@given(st.binary(max_size=200))
def test_junk_bytes_are_a_decode_error(junk: bytes) -> None:
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        with pytest.raises(msgspec.DecodeError):  # ValidationError is one of them
            decode(junk, type=RtpParameters)
