"""The streams of the load tester: what is told to the server, and what to the native core. Pure.

Payload types and extension ids are the publisher's own, as in `load.parameters`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from load.media import CodecName
from load.parameters import MID_URI, CodecNotOffered
from load.units import units_of
from protocol.orders import Kind
from protocol.rtp_parameters import (
    RtcpFeedback,
    RtcpParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
    RtxParameters,
)

RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
_EXTENSION_IDS = {MID_URI: 9, RID_URI: 10, REPAIRED_RID_URI: 11, TRANSPORT_CC_URI: 12}
_PAYLOAD_TYPES: dict[CodecName, int] = {"audio/opus": 111, "video/VP8": 96, "video/H264": 98}
_FEEDBACK = {("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("transport-cc", "")}
"""What clients here understand; transport-cc replaces REMB, as in browsers."""
OPUS_INTERVAL_NS = 20_000_000


class Layer(Struct, frozen=True, kw_only=True):
    """One encoding of a simulcast, from the smallest to the largest."""

    rid: str
    share: float
    """Of the whole bitrate."""
    width: int
    height: int


LAYERS = (
    Layer(rid="q", share=0.08, width=160, height=90),
    Layer(rid="h", share=0.25, width=320, height=180),
    Layer(rid="f", share=0.67, width=640, height=360),
)


class VideoWish(Struct, frozen=True, kw_only=True):
    """What a publisher's video shall be."""

    codec: CodecName
    bitrate_bps: int
    frame_rate: float
    simulcast: bool = False
    even_split: bool = True
    """Cut frames as libwebrtc does, in about equal packets; else in full ones and a rest."""


class Publication(Struct, frozen=True, kw_only=True):
    """A stream that is to be published."""

    kind: Kind
    rtp_parameters: RtpParameters
    senders: tuple[dict[str, Any], ...]
    """Arguments of `LoadPlane.add_sender`, one an encoding, but for client, stream and start."""


def video_publication(router: RtpCapabilities, wish: VideoWish, *, mid: str) -> Publication:
    """Make a new video stream. Raises `CodecNotOffered`."""
    layers: Sequence[Layer | None] = LAYERS if wish.simulcast else (None,)
    codecs, rtx_type = _codecs(router, wish.codec)
    encodings, senders = [], []
    for layer in layers:
        ssrc, rtx_ssrc = _new_ssrc(), _new_ssrc() if rtx_type is not None else None
        width, height = (640, 360) if layer is None else (layer.width, layer.height)
        extensions = [(_EXTENSION_IDS[MID_URI], mid.encode())]
        rtx_extensions = list(extensions)
        if layer is not None:
            extensions.append((_EXTENSION_IDS[RID_URI], layer.rid.encode()))
            rtx_extensions.append((_EXTENSION_IDS[REPAIRED_RID_URI], layer.rid.encode()))
        encodings.append(
            RtpEncodingParameters(
                ssrc=ssrc if layer is None else None,
                rid=None if layer is None else layer.rid,
                rtx=None if layer is not None or rtx_ssrc is None else RtxParameters(ssrc=rtx_ssrc),
            )
        )
        share = 1.0 if layer is None else layer.share
        senders.append(
            {
                "mime_type": wish.codec,
                "clock_rate": codecs[0].clock_rate,
                "payload_type": codecs[0].payload_type,
                "ssrc": ssrc,
                "rtx": None if rtx_ssrc is None else (rtx_ssrc, rtx_type),
                "extensions": extensions,
                "rtx_extensions": rtx_extensions,
                "transport_cc_id": _EXTENSION_IDS[TRANSPORT_CC_URI],
                "bitrate_bps": int(wish.bitrate_bps * share),
                "frame_interval_ns": int(1e9 / wish.frame_rate),
                "units": list(units_of(wish.codec, width, height)),
                "even_split": wish.even_split,
            }
        )
    return Publication(
        kind="video",
        rtp_parameters=_parameters(mid, codecs, tuple(encodings), _EXTENSION_IDS),
        senders=tuple(senders),
    )


def audio_publication(router: RtpCapabilities, *, mid: str) -> Publication:
    """Make a new opus stream of 50 packets a second. Raises `CodecNotOffered`."""
    codecs, _ = _codecs(router, "audio/opus")
    ssrc = _new_ssrc()
    ids = {uri: _EXTENSION_IDS[uri] for uri in (MID_URI, TRANSPORT_CC_URI)}
    sender = {
        "mime_type": "audio/opus",
        "clock_rate": codecs[0].clock_rate,
        "payload_type": codecs[0].payload_type,
        "ssrc": ssrc,
        "rtx": None,
        "extensions": [(ids[MID_URI], mid.encode())],
        "rtx_extensions": [],
        "transport_cc_id": ids[TRANSPORT_CC_URI],
        "bitrate_bps": 0,
        "frame_interval_ns": OPUS_INTERVAL_NS,
        "units": list(units_of("audio/opus")),
        "even_split": True,
    }
    encodings = (RtpEncodingParameters(ssrc=ssrc),)
    return Publication(
        kind="audio",
        rtp_parameters=_parameters(mid, codecs, encodings, ids),
        senders=(sender,),
    )


def receiver_arguments(parameters: RtpParameters) -> dict[str, Any]:
    """Arguments of `LoadPlane.add_receiver` but for client and stream, of a consumer's parameters.

    Raises `ValueError` for parameters that name no SSRC or no codec.
    """
    if not parameters.codecs or not parameters.encodings:
        raise ValueError("a consumer without codec or encoding")
    codec, encoding = parameters.codecs[0], parameters.encodings[0]
    if encoding.ssrc is None:
        raise ValueError("a consumer without SSRC")
    feedback = {(one.type, one.parameter or "") for one in codec.rtcp_feedback}
    return {
        "mime_type": codec.mime_type,
        "clock_rate": codec.clock_rate,
        "ssrc": encoding.ssrc,
        "rtx_ssrc": None if encoding.rtx is None else encoding.rtx.ssrc,
        "nack": ("nack", "") in feedback,
        "pli": ("nack", "pli") in feedback,
        "extensions": [(one.id, one.uri) for one in parameters.header_extensions],
    }


def viewer_capabilities(router: RtpCapabilities, *, transport_cc: bool = True) -> RtpCapabilities:
    """Reduce a router's capabilities to what viewers here take: what a browser would, but REMB."""
    feedback = _FEEDBACK if transport_cc else _FEEDBACK - {("transport-cc", "")}
    known = {name.lower() for name in _PAYLOAD_TYPES}
    media = {c.preferred_payload_type for c in router.codecs if c.mime_type.lower() in known}
    return RtpCapabilities(
        codecs=tuple(
            _reduced(codec, feedback)
            for codec in router.codecs
            if codec.preferred_payload_type in media or codec.parameters.get("apt") in media
        ),
        header_extensions=tuple(
            one for one in router.header_extensions if transport_cc or one.uri != TRANSPORT_CC_URI
        ),
    )


def _reduced(codec: RtpCodecCapability, feedback: set[tuple[str, str]]) -> RtpCodecCapability:
    return RtpCodecCapability(
        kind=codec.kind,
        mime_type=codec.mime_type,
        preferred_payload_type=codec.preferred_payload_type,
        clock_rate=codec.clock_rate,
        channels=codec.channels,
        parameters=dict(codec.parameters),
        rtcp_feedback=_understood(codec.rtcp_feedback, feedback),
    )


def _codecs(
    router: RtpCapabilities, codec: CodecName
) -> tuple[tuple[RtpCodecParameters, ...], int | None]:
    """The codec, with RTX where the router has it and it is video; and RTX's payload type."""
    offered = next((c for c in router.codecs if c.mime_type.lower() == codec.lower()), None)
    if offered is None:
        raise CodecNotOffered(codec)
    number = _PAYLOAD_TYPES[codec]
    media = RtpCodecParameters(
        mime_type=offered.mime_type,
        payload_type=number,
        clock_rate=offered.clock_rate,
        channels=offered.channels,
        parameters=dict(offered.parameters),
        rtcp_feedback=_understood(offered.rtcp_feedback),
    )
    if not any(c.parameters.get("apt") == offered.preferred_payload_type for c in router.codecs):
        return (media,), None
    rtx = RtpCodecParameters(
        mime_type=f"{offered.kind}/rtx",
        payload_type=number + 1,
        clock_rate=offered.clock_rate,
        parameters={"apt": number},
    )
    return (media, rtx), number + 1


def _parameters(
    mid: str,
    codecs: tuple[RtpCodecParameters, ...],
    encodings: tuple[RtpEncodingParameters, ...],
    extensions: dict[str, int],
) -> RtpParameters:
    return RtpParameters(
        mid=mid,
        codecs=codecs,
        header_extensions=tuple(
            RtpHeaderExtensionParameters(uri=uri, id=number) for uri, number in extensions.items()
        ),
        encodings=encodings,
        rtcp=RtcpParameters(cname=secrets.token_hex(8)),
    )


def _understood(
    feedback: tuple[RtcpFeedback, ...], known: set[tuple[str, str]] = _FEEDBACK
) -> tuple[RtcpFeedback, ...]:
    return tuple(one for one in feedback if (one.type, one.parameter or "") in known)


def _new_ssrc() -> int:
    return secrets.randbelow(0xFFFFFFFE) + 1
