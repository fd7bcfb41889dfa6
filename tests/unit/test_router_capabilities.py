"""Router capabilities: what peers are offered."""

from collections import defaultdict

import pytest

from protocol.negotiation import MEDIA_CODECS, router_capabilities
from protocol.negotiation.codecs import pair_with_rtx
from protocol.negotiation.header_extensions import HEADER_EXTENSIONS
from protocol.orders import ExtensionName
from tests.unit.rtp_clients import ROUTER


def test_all_codecs_are_offered_and_each_video_codec_has_rtx() -> None:
    pairs = pair_with_rtx(ROUTER.codecs)
    assert [media.mime_type for media, _ in pairs] == [
        "audio/opus",
        "audio/red",
        "video/VP8",
        "video/VP9",
        *["video/H264"] * 4,
        "video/AV1",
        "video/VP9",
    ]
    assert [rtx is not None for _, rtx in pairs] == [media.kind == "video" for media, _ in pairs]


def test_payload_types_are_dynamic_and_unique() -> None:
    payload_types = [codec.preferred_payload_type for codec in ROUTER.codecs]
    assert len(set(payload_types)) == len(payload_types)
    assert all(96 <= payload_type <= 127 for payload_type in payload_types)


def test_h264_is_offered_with_packetization_mode_1_in_the_usual_profiles() -> None:
    offered = [c.parameters for c in ROUTER.codecs if c.mime_type == "video/H264"]
    assert [p["profile-level-id"] for p in offered] == ["42e01f", "42001f", "4d0032", "640032"]
    assert all(p["packetization-mode"] == p["level-asymmetry-allowed"] == 1 for p in offered)


def test_video_codecs_take_all_feedback_and_audio_codecs_nack_and_transport_cc() -> None:
    taken = defaultdict(set)
    for media, rtx in pair_with_rtx(ROUTER.codecs):
        taken[media.kind].add(tuple((fb.type, fb.parameter) for fb in media.rtcp_feedback))
        assert rtx is None or rtx.rtcp_feedback == ()
    assert taken == {
        "audio": {(("nack", ""), ("transport-cc", ""))},
        "video": {
            (
                ("nack", ""),
                ("nack", "pli"),
                ("ccm", "fir"),
                ("goog-remb", ""),
                ("transport-cc", ""),
            )
        },
    }


def test_header_extensions_have_one_id_each_that_fits_one_byte() -> None:
    assert {extension.name for extension in HEADER_EXTENSIONS} == set(ExtensionName.__args__)
    assert [extension.id for extension in HEADER_EXTENSIONS] == list(range(1, 12))
    by_uri = defaultdict(set)
    for extension in ROUTER.header_extensions:
        by_uri[extension.uri].add(extension.preferred_id)
        assert extension.kind is not None  # mediasoup-client refuses an entry without
        assert extension.preferred_encrypt is False
    assert all(len(ids) == 1 for ids in by_uri.values())


def test_what_only_the_router_reads_is_not_offered_to_viewers() -> None:
    directions = {
        (extension.name, kind): extension.direction(kind)
        for extension in HEADER_EXTENSIONS
        for kind in ("audio", "video")
    }
    assert {key for key, direction in directions.items() if direction == "recvonly"} == {
        ("rid", "video"),
        ("repaired_rid", "video"),
        ("transport_cc", "audio"),
        ("video_layers_allocation", "video"),
    }
    assert {key for key, direction in directions.items() if direction is None} == {
        ("rid", "audio"),
        ("repaired_rid", "audio"),
        ("audio_level", "video"),
        ("video_orientation", "audio"),
        ("playout_delay", "audio"),
        ("dependency_descriptor", "audio"),
        ("video_layers_allocation", "audio"),
    }


def test_a_setting_keeps_its_order_and_each_codec_its_payload_types() -> None:
    capabilities = router_capabilities(["AV1", "opus"])
    assert [(c.mime_type, c.preferred_payload_type) for c in capabilities.codecs] == [
        ("video/AV1", 115),
        ("video/rtx", 116),
        ("audio/opus", 100),
    ]
    assert all(codec in ROUTER.codecs for codec in capabilities.codecs)


@pytest.mark.parametrize("setting", [[], ["opus", "opus"], ["opus", "H265"], ["vp8"]])
def test_an_empty_repeated_or_unknown_codec_is_a_value_error_that_names_the_known(
    setting: list[str],
) -> None:
    with pytest.raises(ValueError, match="VP9/2"):
        router_capabilities(setting)


def test_capabilities_do_not_share_their_parameters_with_the_table() -> None:
    for name, codec in MEDIA_CODECS.items():
        (media, *_) = router_capabilities([name]).codecs
        assert media.parameters == codec.parameters
        assert media.parameters is not codec.parameters
