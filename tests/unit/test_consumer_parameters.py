"""Consumers: what one viewer gets of a producer."""

from typing import Any

import msgspec
import pytest

from protocol.negotiation import can_consume, consumer_parameters, router_capabilities
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from tests.unit.rtp_clients import CHROMIUM, PYMEDIASOUP, ROUTER, accepted, codec, parsed, video

TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"


def offered(consumable: RtpParameters, capabilities: RtpCapabilities) -> RtpParameters | Refusal:
    return consumer_parameters(
        consumable, capabilities, ssrc=7001, rtx_ssrc=7002, mid="5", cname="room"
    )


def consumed(consumable: RtpParameters, capabilities: RtpCapabilities) -> RtpParameters:
    result = offered(consumable, capabilities)
    assert not isinstance(result, Refusal), result.message
    return result


def consumable(title: str) -> RtpParameters:
    return CHROMIUM.negotiate(title).consumable_rtp_parameters


def without_extensions(capabilities: RtpCapabilities, *uris: str) -> RtpCapabilities:
    return msgspec.structs.replace(
        capabilities,
        header_extensions=tuple(e for e in capabilities.header_extensions if e.uri not in uris),
    )


def only(mime_type: str, *, rtx: bool = True, **parameters: Any) -> RtpCapabilities:
    """Capabilities of a viewer that takes one codec, numbered in its own way."""
    entries = [codec(mime_type, 0, **parameters)]
    if rtx:
        entries.append(codec("video/rtx", 0, apt=120))
    for entry, payload_type in zip(entries, (120, 121), strict=False):
        del entry["payloadType"]
        entry |= {"kind": "video", "preferredPayloadType": payload_type}
    return msgspec.convert({"codecs": entries}, RtpCapabilities)


def feedback(parameters: RtpParameters) -> list[tuple[str, str | None]]:
    return [(fb.type, fb.parameter) for fb in parameters.codecs[0].rtcp_feedback]


def test_a_simulcast_becomes_one_stream_with_the_routers_numbers() -> None:
    parameters = consumed(consumable("vp8_simulcast"), CHROMIUM.capabilities)
    assert msgspec.to_builtins(parameters) == {
        "mid": "5",
        "msid": CHROMIUM.producers["vp8_simulcast"][1].msid,
        "codecs": (
            {
                "mimeType": "video/VP8",
                "payloadType": 101,
                "clockRate": 90000,
                "parameters": {},
                "rtcpFeedback": (
                    {"type": "nack", "parameter": ""},
                    {"type": "nack", "parameter": "pli"},
                    {"type": "ccm", "parameter": "fir"},
                    {"type": "transport-cc", "parameter": ""},
                ),
            },
            {
                "mimeType": "video/rtx",
                "payloadType": 102,
                "clockRate": 90000,
                "parameters": {"apt": 101},
                "rtcpFeedback": (),
            },
        ),
        "headerExtensions": tuple(
            {"uri": uri, "id": identifier, "encrypt": False, "parameters": {}}
            for uri, identifier in [
                ("urn:ietf:params:rtp-hdrext:sdes:mid", 1),
                (ABS_SEND_TIME, 4),
                (TRANSPORT_CC, 5),
                ("urn:3gpp:video-orientation", 7),
                ("http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", 8),
            ]
        ),
        "encodings": (
            {
                "ssrc": 7001,
                "rtx": {"ssrc": 7002},
                "scalabilityMode": "L3T3",
                "maxBitrate": 1_500_000,
            },
        ),
        "rtcp": {"cname": "room", "reducedSize": True},
    }


def test_audio_has_no_rtx_and_no_bandwidth_feedback() -> None:
    parameters = consumed(consumable("audio"), CHROMIUM.capabilities)
    assert [c.payload_type for c in parameters.codecs] == [100]
    assert feedback(parameters) == [("nack", "")]
    assert parameters.encodings[0].rtx is None


@pytest.mark.parametrize(
    ("title", "mode"),
    [
        ("video_default", None),
        ("vp9_svc", "L3T3_KEY"),
        ("av1_svc", "L3T3"),
        ("h264_simulcast", "L3T3"),
    ],
)
def test_the_scalability_mode_names_the_layers_to_choose_from(title: str, mode: str | None) -> None:
    (encoding,) = consumed(consumable(title), CHROMIUM.capabilities).encodings
    assert encoding.scalability_mode == mode


def test_a_simulcast_without_modes_has_one_temporal_layer() -> None:
    raw = video(encodings=[{"ssrc": 1}, {"ssrc": 2}])
    result = accepted("video", parsed(raw)).consumable_rtp_parameters
    assert consumed(result, CHROMIUM.capabilities).encodings[0].scalability_mode == "L2T1"


def test_transport_cc_replaces_remb_where_its_extension_is_understood() -> None:
    parameters = consumed(consumable("video_default"), CHROMIUM.capabilities)
    assert ("transport-cc", "") in feedback(parameters)
    assert ("goog-remb", "") not in feedback(parameters)


def test_remb_is_kept_where_only_abs_send_time_is_understood() -> None:
    capabilities = without_extensions(CHROMIUM.capabilities, TRANSPORT_CC)
    parameters = consumed(consumable("video_default"), capabilities)
    assert ("goog-remb", "") in feedback(parameters)
    assert ("transport-cc", "") not in feedback(parameters)


def test_without_either_extension_no_bandwidth_feedback_is_left() -> None:
    capabilities = without_extensions(CHROMIUM.capabilities, TRANSPORT_CC, ABS_SEND_TIME)
    parameters = consumed(consumable("video_default"), capabilities)
    assert feedback(parameters) == [("nack", ""), ("nack", "pli"), ("ccm", "fir")]


def test_extensions_under_ids_other_than_the_routers_are_left_out() -> None:
    capabilities = msgspec.structs.replace(
        CHROMIUM.capabilities,
        header_extensions=tuple(
            msgspec.structs.replace(extension, preferred_id=14)
            for extension in CHROMIUM.capabilities.header_extensions
        ),
    )
    assert consumed(consumable("video_default"), capabilities).header_extensions == ()


def test_an_all_knowing_viewer_still_gets_no_extension_that_is_for_the_router() -> None:
    parameters = consumed(consumable("vp8_simulcast"), ROUTER)
    assert [extension.id for extension in parameters.header_extensions] == [1, 4, 5, 7, 8, 9, 11]


def test_rtx_is_left_out_for_a_viewer_without() -> None:
    parameters = consumed(consumable("video_default"), only("video/VP8", rtx=False))
    assert [c.payload_type for c in parameters.codecs] == [101]
    assert parameters.encodings[0].rtx is None


def test_rtx_of_another_codec_does_not_count() -> None:
    capabilities = only("video/VP8")
    rtx = msgspec.structs.replace(capabilities.codecs[1], parameters={"apt": 119})
    capabilities = RtpCapabilities(codecs=(capabilities.codecs[0], rtx))
    parameters = consumed(consumable("video_default"), capabilities)
    assert [c.payload_type for c in parameters.codecs] == [101]


def test_a_viewer_that_numbers_codecs_in_its_own_way_gets_the_routers_numbers() -> None:
    parameters = consumed(consumable("video_default"), only("VIDEO/vp8"))
    assert [c.payload_type for c in parameters.codecs] == [101, 102]
    assert parameters.codecs[1].parameters == {"apt": 101}


@pytest.mark.parametrize(
    ("title", "capabilities", "possible"),
    [
        ("h264_42e01f", only("video/H264", packetization_mode=1, profile_level_id="42e034"), True),
        ("h264_42e01f", only("video/H264", packetization_mode=1, profile_level_id="58d00b"), True),
        ("h264_42e01f", only("video/H264", packetization_mode=1), True),
        ("h264_42e01f", only("video/H264", packetization_mode=0), False),
        ("h264_42e01f", only("video/H264", packetization_mode=1, profile_level_id=640032), False),
        ("h264_42001f", only("video/H264", packetization_mode=1, profile_level_id="42e01f"), False),
        ("vp9_svc", only("video/VP9"), True),
        ("vp9_svc", only("video/VP9", profile_id=2), False),
        ("vp9_profile_2", only("video/VP9", profile_id="2"), True),
        ("vp9_profile_2", only("video/VP9"), False),
        ("av1_svc", only("video/AV1"), True),
        ("av1_svc", only("video/AV1", profile=1), False),
        ("video_default", only("video/rtx"), False),
        ("video_default", RtpCapabilities(), False),
        ("audio", only("video/VP8"), False),
    ],
)
def test_only_a_codec_of_the_same_profile_can_be_consumed(
    title: str, capabilities: RtpCapabilities, possible: bool
) -> None:
    assert can_consume(consumable(title), capabilities) is possible
    result = offered(consumable(title), capabilities)
    assert isinstance(result, Refusal) is not possible
    if isinstance(result, Refusal):
        assert result.code is RefusalCode.CANNOT_CONSUME


def test_a_malformed_capability_matches_nothing_not_even_its_like() -> None:
    nonsense = {"packetization_mode": 1, "profile_level_id": "nonsense"}
    assert not can_consume(
        parsed(video(codecs=[codec("video/H264", **nonsense)])), only("video/H264", **nonsense)
    )


def test_of_several_codecs_the_viewer_gets_those_that_it_knows() -> None:
    raw = video(codecs=[codec("video/VP9", 98), codec("video/VP8", 96)])
    result = accepted("video", parsed(raw)).consumable_rtp_parameters
    parameters = consumed(result, router_capabilities(["VP8", "AV1"]))
    assert [c.payload_type for c in parameters.codecs] == [101, 102]


def test_pymediasoup_and_chromium_consume_each_other() -> None:
    for publisher, viewer in ((CHROMIUM, PYMEDIASOUP), (PYMEDIASOUP, CHROMIUM)):
        for title in ("audio", "video_default", "h264_42e01f"):
            result = publisher.negotiate(title).consumable_rtp_parameters
            assert can_consume(result, viewer.capabilities)


def test_pymediasoup_gets_remb_and_only_the_extensions_that_it_knows() -> None:
    parameters = consumed(consumable("video_default"), PYMEDIASOUP.capabilities)
    assert feedback(parameters) == [("nack", ""), ("nack", "pli"), ("goog-remb", "")]
    assert [extension.id for extension in parameters.header_extensions] == [1, 4]


def test_equal_ssrcs_for_media_and_rtx_are_a_broken_invariant() -> None:
    with pytest.raises(AssertionError):
        consumer_parameters(
            consumable("audio"), CHROMIUM.capabilities, ssrc=1, rtx_ssrc=1, mid="0", cname="c"
        )
