"""Capabilities that were seen before are found again: the same values, the same refusals."""

import msgspec
import pytest

from load.parameters import viewer_capabilities
from protocol import codec
from protocol.commands import Consume
from protocol.negotiation.consumer import consumer_parameters
from protocol.negotiation.remembered import KEPT, Remembered
from protocol.negotiation.router import MEDIA_CODECS, router_capabilities
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.signaling import MSGPACK, command_of, decode_request


def frame(capabilities):
    data = {"transport": "t", "producer": "d", "rtpCapabilities": capabilities}
    return msgspec.msgpack.encode({"id": 1, "method": "consume", "data": data})


def asked(capabilities):
    return command_of(decode_request(MSGPACK, frame(capabilities)), peer="p")


@pytest.fixture
def tree():
    return msgspec.to_builtins(viewer_capabilities(router_capabilities(MEDIA_CODECS)))


def test_the_same_words_are_one_value_and_others_another(tree):
    first, again = asked(tree), asked(tree)
    assert isinstance(first, Consume)
    assert first.rtp_capabilities is again.rtp_capabilities
    assert first.rtp_capabilities == msgspec.convert(tree, RtpCapabilities)
    tree["codecs"][0]["clockRate"] += 1
    other = asked(tree)
    assert other.rtp_capabilities == msgspec.convert(tree, RtpCapabilities)
    assert other.rtp_capabilities != first.rtp_capabilities


def test_payloads_are_read_as_they_always_were(tree):
    command = asked(tree)
    data = codec.encode(command)
    read = [codec.decode("Consume", 1, data) for _ in range(2)]
    assert read == [msgspec.msgpack.decode(data, type=Consume)] * 2
    assert read[0].rtp_capabilities is read[1].rtp_capabilities
    assert codec.encode(read[0]) == data


@pytest.mark.parametrize(
    "bad",
    [
        7,
        {"codecs": 7},
        {"codecs": [{"kind": "audio"}]},
        {"codecs": [], "headerExtensions": [{"uri": "", "preferredId": 1}]},
    ],
)
def test_what_was_refused_is_refused_in_the_same_words_twice(bad):
    refusals = [asked(bad), asked(bad)]
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(
            {"peer": "p", "transport": "t", "producer": "d", "rtpCapabilities": bad}, Consume
        )
    assert refusals == [Refusal(RefusalCode.INVALID_DATA, f"consume: {error.value}")] * 2
    data = msgspec.msgpack.encode(
        {"peer": "p", "transport": "t", "producer": "d", "rtpCapabilities": bad}
    )
    with pytest.raises(msgspec.ValidationError):
        codec.decode("Consume", 1, data)


def test_two_viewers_share_all_but_what_is_drawn(tree):
    router = router_capabilities(MEDIA_CODECS)
    capabilities = asked(tree).rtp_capabilities
    consumable = msgspec.convert(
        {
            "codecs": [
                {
                    "mimeType": "video/VP8",
                    "payloadType": one.preferred_payload_type,
                    "clockRate": 90_000,
                }
                for one in router.codecs
                if one.mime_type == "video/VP8"
            ],
            "encodings": [{"ssrc": 1}],
        },
        RtpParameters,
    )
    one, two = (
        consumer_parameters(
            consumable, capabilities, ssrc=ssrc, rtx_ssrc=ssrc + 1, mid=mid, cname=cname
        )
        for ssrc, mid, cname in [(10, "0", "a"), (20, "1", "b")]
    )
    assert (one.mid, one.encodings[0].ssrc, one.rtcp.cname) == ("0", 10, "a")
    assert (two.mid, two.encodings[0].ssrc, two.rtcp.cname) == ("1", 20, "b")
    assert one.codecs is two.codecs


def test_what_is_remembered_is_bounded_and_told_apart_by_identity():
    calls = []

    def add(first, second):
        calls.append((first, second))
        return first + second

    remembered = Remembered(add)
    one, two = [1], [1]
    assert remembered(one, two) == remembered(one, two) == [1, 1]
    assert len(calls) == 1
    assert remembered(two, one) == [1, 1]
    assert len(calls) == 2
    for number in range(3 * KEPT):
        assert remembered(one, [number]) == [1, number], "an identity may come again"
