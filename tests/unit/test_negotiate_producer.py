"""Producers: what is accepted, what it becomes, and what is refused."""

from typing import Any

import msgspec
import pytest

from protocol.negotiation import (
    CodecMapping,
    negotiate_producer,
    router_capabilities,
    transport_conflict,
)
from protocol.orders import HeaderExtension, Kind
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import RtpParameters
from tests.unit.rtp_clients import (
    CHROMIUM,
    PRODUCERS,
    PYMEDIASOUP,
    ROUTER,
    accepted,
    codec,
    parsed,
    video,
)

MID = {"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4}
RID = {"uri": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "id": 10}


def refused(kind: Kind, raw: dict[str, Any]) -> Refusal:
    result = negotiate_producer(kind, parsed(raw), ROUTER)
    assert isinstance(result, Refusal)
    return result


@pytest.mark.parametrize(("name", "kind", "parameters"), PRODUCERS)
def test_every_recorded_producer_is_accepted_and_again_once_reduced(
    name: str, kind: Kind, parameters: RtpParameters
) -> None:
    before = msgspec.msgpack.encode(parameters)
    first = accepted(kind, parameters)
    assert msgspec.msgpack.encode(parameters) == before
    assert accepted(kind, first.rtp_parameters) == first


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("audio", CodecMapping(payload_type=111, mapped_payload_type=100)),
        (
            "vp8_simulcast",
            CodecMapping(
                payload_type=96,
                mapped_payload_type=101,
                rtx_payload_type=97,
                mapped_rtx_payload_type=102,
            ),
        ),
        (
            "vp9_profile_2",
            CodecMapping(
                payload_type=100,
                mapped_payload_type=105,
                rtx_payload_type=101,
                mapped_rtx_payload_type=106,
            ),
        ),
        (
            "h264_4d0032",
            CodecMapping(
                payload_type=116,
                mapped_payload_type=111,
                rtx_payload_type=117,
                mapped_rtx_payload_type=112,
            ),
        ),
        (
            "av1_svc",
            CodecMapping(
                payload_type=45,
                mapped_payload_type=115,
                rtx_payload_type=46,
                mapped_rtx_payload_type=116,
            ),
        ),
    ],
)
def test_payload_types_are_mapped_to_the_routers(title: str, expected: CodecMapping) -> None:
    assert CHROMIUM.negotiate(title).mapping.codecs == (expected,)


def test_header_extension_ids_are_mapped_to_the_routers() -> None:
    assert CHROMIUM.negotiate("vp8_simulcast").mapping.header_extensions == (
        HeaderExtension(name="mid", id=4, mapped_id=1),
        HeaderExtension(name="rid", id=10, mapped_id=2),
        HeaderExtension(name="repaired_rid", id=11, mapped_id=3),
        HeaderExtension(name="abs_send_time", id=2, mapped_id=4),
        HeaderExtension(name="transport_cc", id=3, mapped_id=5),
        HeaderExtension(name="video_orientation", id=13, mapped_id=7),
        HeaderExtension(name="playout_delay", id=5, mapped_id=8),
        HeaderExtension(name="dependency_descriptor", id=12, mapped_id=9),
        HeaderExtension(name="video_layers_allocation", id=9, mapped_id=10),
    )


def test_unknown_encrypted_and_other_kinds_extensions_are_left_out() -> None:
    raw = video(
        headerExtensions=[
            MID,
            {"uri": "urn:example:unknown", "id": 5},
            {"uri": "urn:3gpp:video-orientation", "id": 6, "encrypt": True},
            {"uri": "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "id": 7},
        ]
    )
    result = accepted("video", parsed(raw))
    assert [extension.name for extension in result.mapping.header_extensions] == ["mid"]
    assert [extension.id for extension in result.rtp_parameters.header_extensions] == [4]


def test_feedback_is_reduced_to_what_both_sides_take() -> None:
    raw = video()
    raw["codecs"][0]["rtcpFeedback"] = [
        {"type": "nack"},
        {"type": "nack", "parameter": "rpsi"},
        {"type": "ccm", "parameter": "fir"},
    ]
    codecs = accepted("video", parsed(raw)).rtp_parameters.codecs
    assert [(fb.type, fb.parameter) for fb in codecs[0].rtcp_feedback] == [
        ("nack", ""),
        ("ccm", "fir"),
    ]


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("audio", "simple"),
        ("audio_stereo", "simple"),
        ("video_default", "simple"),
        ("vp8_simulcast", "simulcast"),
        ("h264_simulcast", "simulcast"),
        ("vp9_svc", "svc"),
        ("av1_svc", "svc"),
        ("vp9_profile_2", "simple"),
    ],
)
def test_the_type_follows_from_encodings_and_scalability_mode(title: str, kind: str) -> None:
    assert CHROMIUM.negotiate(title).type == kind


def test_temporal_layers_of_vp8_in_one_encoding_count_as_simulcast() -> None:
    raw = video(encodings=[{"ssrc": 1, "scalabilityMode": "L1T3"}])
    assert accepted("video", parsed(raw)).type == "simulcast"


def test_the_type_follows_from_the_codec_that_the_encoding_names() -> None:
    raw = video(
        codecs=[codec("video/VP8", 96), codec("video/VP9", 98)],
        encodings=[{"ssrc": 1, "scalabilityMode": "L2T1", "codecPayloadType": 98}],
    )
    assert accepted("video", parsed(raw)).type == "svc"
    raw["encodings"][0]["codecPayloadType"] = 96
    assert accepted("video", parsed(raw)).type == "simulcast"


def test_audio_has_no_layers_whatever_its_mode_says() -> None:
    kind, parameters = CHROMIUM.producers["audio"]
    (encoding,) = parameters.encodings
    encoding = msgspec.structs.replace(encoding, scalability_mode="L3T3")
    assert (
        accepted(kind, msgspec.structs.replace(parameters, encodings=(encoding,))).type == "simple"
    )


def test_consumable_parameters_bear_the_routers_numbers_and_the_producers_format() -> None:
    consumable = CHROMIUM.negotiate("audio_stereo").consumable_rtp_parameters
    (opus,) = consumable.codecs
    assert opus.payload_type == 100
    assert opus.parameters == {"minptime": 10, "useinbandfec": 1, "sprop-stereo": 1, "usedtx": 1}
    assert [fb.type for fb in opus.rtcp_feedback] == ["nack", "transport-cc"]
    assert [extension.id for extension in consumable.header_extensions] == [1, 4, 6, 11]
    assert consumable.rtcp.cname == "WKYVIbQ0MFLP9dUv"


def test_consumable_encodings_keep_layers_and_lose_the_publishers_names() -> None:
    encodings = CHROMIUM.negotiate("vp8_simulcast").consumable_rtp_parameters.encodings
    assert [encoding.max_bitrate for encoding in encodings] == [150_000, 500_000, 1_500_000]
    assert {encoding.scalability_mode for encoding in encodings} == {"L1T3"}
    assert all(e.ssrc is e.rid is e.rtx is e.codec_payload_type is None for e in encodings)


def test_viewers_may_have_rtx_though_the_publisher_has_none() -> None:
    raw = video(codecs=[codec("video/VP8")])
    result = accepted("video", parsed(raw))
    assert result.mapping.codecs[0].rtx_payload_type is None
    assert result.mapping.codecs[0].mapped_rtx_payload_type == 102
    assert [c.payload_type for c in result.consumable_rtp_parameters.codecs] == [101, 102]
    assert result.rtp_parameters.encodings[0].rtx is None


def test_without_encodings_the_mid_names_the_only_one() -> None:
    result = accepted("video", parsed(video(encodings=[])))
    assert len(result.rtp_parameters.encodings) == 1
    assert result.rtp_parameters.encodings[0].ssrc is None


def test_an_empty_cname_becomes_none() -> None:
    assert CHROMIUM.producers["vp8_simulcast"][1].rtcp.cname == ""
    assert CHROMIUM.negotiate("vp8_simulcast").rtp_parameters.rtcp.cname is None


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        ({"profile_level_id": "42e034", "level_asymmetry_allowed": 1}, "42e034"),
        ({"profile_level_id": "42e034"}, "42e01f"),
        ({"profile_level_id": "42e00d"}, "42e00d"),
        ({"profile_level_id": "4d8034", "level_asymmetry_allowed": 1}, "42e034"),
        ({"profile_level_id": 640032, "level_asymmetry_allowed": "1"}, "640032"),
        ({}, "42e01f"),
    ],
)
def test_h264_gets_the_answer_level(parameters: dict[str, Any], answer: str) -> None:
    raw = video(codecs=[codec("video/h264", packetization_mode=1, **parameters)])
    result = accepted("video", parsed(raw))
    for side in (result.rtp_parameters, result.consumable_rtp_parameters):
        assert side.codecs[0].parameters["profile-level-id"] == answer
    assert result.consumable_rtp_parameters.codecs[0].mime_type == "video/H264"


@pytest.mark.parametrize(
    "entry",
    [
        codec("video/H265"),
        codec("video/H264", packetization_mode=0, profile_level_id="42e01f"),
        codec("video/H264", profile_level_id="42e01f"),
        codec("video/H264", packetization_mode=1, profile_level_id="640c1f"),
        codec("video/H264", packetization_mode=1, profile_level_id="nonsense"),
        codec("video/H264", packetization_mode="one"),
        codec("video/VP9", profile_id=1),
        codec("video/VP9", profile_id="two"),
        codec("video/VP9", profile_id=0.5),
        codec("video/AV1", profile=1),
        codec("video/VP8") | {"clockRate": 48000},
        codec("video/ulpfec"),
    ],
)
def test_a_codec_that_the_router_does_not_route_is_refused(entry: dict[str, Any]) -> None:
    refusal = refused("video", video(codecs=[entry]))
    assert refusal.code is RefusalCode.UNSUPPORTED_CODEC
    assert entry["mimeType"] in refusal.message


def test_mono_opus_is_refused() -> None:
    raw = video(codecs=[codec("audio/opus", 111) | {"clockRate": 48000}])
    assert refused("audio", raw).code is RefusalCode.UNSUPPORTED_CODEC


def test_a_codec_outside_the_routers_setting_is_refused() -> None:
    kind, parameters = CHROMIUM.producers["vp9_svc"]
    result = negotiate_producer(kind, parameters, router_capabilities(["opus", "VP8"]))
    assert isinstance(result, Refusal)
    assert result.code is RefusalCode.UNSUPPORTED_CODEC


RTX = codec("video/rtx", 97, apt=96)
SIMULCAST = {"headerExtensions": [MID, RID]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codecs": []}, "no media codec"),
        ({"codecs": [RTX]}, "no media codec"),
        ({"codecs": [codec("video/VP8"), codec("video/VP9")]}, "payload type 96 is used twice"),
        (
            {"codecs": [codec("video/VP8", 0), codec("video/VP9", 0)]},
            "payload type 0 is used twice",
        ),
        ({"codecs": [codec("video/VP8"), codec("video/VP8", 98)]}, "is there twice"),
        ({"codecs": [codec("video/VP8"), codec("audio/opus", 111)]}, "no video codec"),
        ({"codecs": [codec("video/VP8", 72)]}, "mistaken for RTCP"),
        ({"codecs": [codec("video/VP8"), codec("video/rtx", 97)]}, "apt"),
        ({"codecs": [codec("video/VP8"), codec("video/rtx", 97, apt=95)]}, "apt"),
        ({"codecs": [codec("video/VP8"), codec("video/rtx", 97, apt="96")]}, "apt"),
        ({"codecs": [codec("video/VP8"), codec("video/rtx", 97, apt=97)]}, "apt"),
        ({"codecs": [codec("video/VP8"), RTX, RTX | {"payloadType": 98}]}, "two RTX codecs"),
        ({"headerExtensions": [MID, RID | {"id": 4}]}, "id 4 is used twice"),
        ({"headerExtensions": [MID, MID | {"id": 5}]}, "has two ids"),
        (
            {"headerExtensions": [MID, {"uri": "urn:x", "id": 5}, {"uri": "urn:y", "id": 5}]},
            "id 5 is used twice",
        ),
        ({"encodings": [{"ssrc": n} for n in range(1, 6)]}, "more than 4"),
        ({"encodings": [{"ssrc": 1}, {"ssrc": 1}]}, "ssrc 1 is used twice"),
        ({"encodings": [{"ssrc": 1, "rtx": {"ssrc": 1}}]}, "ssrc 1 is used twice"),
        (SIMULCAST | {"encodings": [{"rid": "a"}, {"rid": "a"}]}, "rid a is used twice"),
        (SIMULCAST | {"encodings": [{"rid": "a"}, {}]}, "neither ssrc nor rid"),
        (SIMULCAST | {"encodings": [{"rid": "a", "rtx": {"ssrc": 2}}]}, "but no ssrc"),
        ({"encodings": [{"rid": "a"}]}, "header extension is not in use"),
        ({"encodings": [{}], "mid": None}, "no mid"),
        ({"encodings": [{}], "headerExtensions": []}, "no mid"),
        ({"encodings": [], "headerExtensions": [MID | {"encrypt": True}]}, "no mid"),
        ({"encodings": [{"ssrc": 1, "codecPayloadType": 97}]}, "names no media codec"),
        ({"encodings": [{"ssrc": 1, "scalabilityMode": "L5T1"}]}, "too many layers"),
        ({"encodings": [{"ssrc": 1, "scalabilityMode": "L1T99"}]}, "too many layers"),
    ],
)
def test_contradictory_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    refusal = refused("video", video(**changes))
    assert refusal.code is RefusalCode.INVALID_RTP_PARAMETERS
    assert message in refusal.message


def test_a_producer_of_the_other_kind_is_refused() -> None:
    assert "no audio codec" in refused("audio", video()).message


def test_a_vp8_publisher_of_pymediasoup_is_mapped() -> None:
    result = PYMEDIASOUP.negotiate("video_default")
    assert result.mapping.codecs == (
        CodecMapping(
            payload_type=97,
            mapped_payload_type=101,
            rtx_payload_type=98,
            mapped_rtx_payload_type=102,
        ),
    )


def test_all_recorded_chromium_producers_share_one_transport() -> None:
    present: list[RtpParameters] = []
    for title in CHROMIUM.producers:
        new = CHROMIUM.negotiate(title).rtp_parameters
        assert transport_conflict(new, present) is None
        present.append(new)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"encodings": [{"ssrc": 5}]}, "mid 0"),
        ({"mid": "1"}, "ssrc 1111"),
        ({"mid": "1", "encodings": [{"ssrc": 1112}]}, "ssrc 1112"),
        ({"mid": "1", "encodings": [{"ssrc": 5, "rtx": {"ssrc": 1111}}]}, "ssrc 1111"),
    ],
)
def test_a_mid_or_ssrc_in_use_on_the_transport_is_refused(
    other: dict[str, Any], message: str
) -> None:
    refusal = transport_conflict(parsed(video()), [parsed(video(**other))])
    assert refusal is not None
    assert refusal.code is RefusalCode.INVALID_RTP_PARAMETERS
    assert message in refusal.message


def test_equal_rids_conflict_only_where_a_mid_is_missing() -> None:
    def named(mid: str | None) -> RtpParameters:
        return parsed(video(mid=mid, encodings=[{"rid": "a"}]))

    assert transport_conflict(named("0"), [named("1")]) is None
    refusal = transport_conflict(named("0"), [named(None)])
    assert refusal is not None
    assert "rid a" in refusal.message
