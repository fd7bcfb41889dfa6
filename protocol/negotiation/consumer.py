"""What a router sends to one viewer.

A consumer is one continuous stream, however many layers its producer has. Its payload types and
header extension ids are the router's own, so that they are the same for every viewer.
"""

import msgspec

from protocol.negotiation.codecs import (
    CodecIdentity,
    codec_identity,
    common_feedback,
    is_red,
    pair_with_rtx,
)
from protocol.negotiation.header_extensions import ABS_SEND_TIME_URI, TRANSPORT_CC_URI
from protocol.negotiation.remembered import Remembered
from protocol.negotiation.scalability import parse_scalability_mode
from protocol.refusals import Refusal, RefusalCode
from protocol.rtp_parameters import (
    RtcpParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpCodecParameters,
    RtpEncodingParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
    RtxParameters,
)


def can_consume(consumable: RtpParameters, capabilities: RtpCapabilities) -> bool:
    """Tell whether an endpoint can receive at least one codec of a producer.

    `consumable` is `ProducerNegotiation.consumable_rtp_parameters`.
    """
    return bool(_match_codecs(consumable, capabilities))


def consumer_parameters(
    consumable: RtpParameters,
    capabilities: RtpCapabilities,
    *,
    ssrc: int,
    rtx_ssrc: int,
    mid: str,
    cname: str,
) -> RtpParameters | Refusal:
    """Return how a viewer with `capabilities` gets a producer, or refuse with `cannot_consume`.

    The caller draws `ssrc`, `rtx_ssrc`, `mid` and `cname`, since nothing here is random.
    `rtx_ssrc` must differ from `ssrc`, and is left out if the viewer takes no RTX. Header
    extensions are used if the viewer states them with the router's own ids.
    """
    assert ssrc != rtx_ssrc
    common = _in_common(consumable, capabilities)
    if isinstance(common, Refusal):
        return common
    (encoding,) = common.encodings
    own = msgspec.structs.replace(
        encoding, ssrc=ssrc, rtx=None if encoding.rtx is None else RtxParameters(ssrc=rtx_ssrc)
    )
    return msgspec.structs.replace(
        common, mid=mid, encodings=(own,), rtcp=RtcpParameters(cname=cname)
    )


def _work_out_common(
    consumable: RtpParameters, capabilities: RtpCapabilities
) -> RtpParameters | Refusal:
    """Return what all viewers with these capabilities have in common: all but what is drawn."""
    codecs = _match_codecs(consumable, capabilities)
    if not codecs:
        return Refusal(
            RefusalCode.CANNOT_CONSUME,
            f"no codec in common; the producer sends {_codec_names(consumable)}",
        )
    understood = {(e.uri, e.preferred_id) for e in capabilities.header_extensions}
    extensions = tuple(e for e in consumable.header_extensions if (e.uri, e.id) in understood)
    rtx = any(rtx is not None for _, rtx in codecs)
    return RtpParameters(
        msid=consumable.msid,
        codecs=_with_one_bandwidth_feedback(
            tuple(c for pair in codecs for c in pair if c is not None), extensions
        ),
        header_extensions=extensions,
        encodings=(
            RtpEncodingParameters(
                rtx=RtxParameters(ssrc=1) if rtx else None,
                scalability_mode=_scalability_mode(consumable),
                max_bitrate=max(e.max_bitrate or 0 for e in consumable.encodings) or None,
            ),
        ),
    )


_in_common = Remembered(_work_out_common)


def _match_codecs(
    consumable: RtpParameters, capabilities: RtpCapabilities
) -> list[tuple[RtpCodecParameters, RtpCodecParameters | None]]:
    """Return the codecs that both sides know, each with RTX if both know that as well."""
    known: dict[CodecIdentity | None, tuple[RtpCodecCapability, RtpCodecCapability | None]] = {}
    for capability, rtx_capability in pair_with_rtx(capabilities.codecs):
        # Browsers list some codecs twice; the first one is their preference.
        known.setdefault(codec_identity(capability), (capability, rtx_capability))
    known.pop(None, None)
    matches = []
    for codec, rtx in pair_with_rtx(consumable.codecs):
        if (match := known.get(codec_identity(codec))) is not None:
            capability, rtx_capability = match
            feedback = common_feedback(codec.rtcp_feedback, capability.rtcp_feedback)
            reduced = msgspec.structs.replace(codec, rtcp_feedback=feedback)
            matches.append((reduced, None if rtx_capability is None else rtx))
    # Redundant audio is of no use to a viewer without the codec in it.
    return [] if all(is_red(codec) for codec, _ in matches) else matches


def _with_one_bandwidth_feedback(
    codecs: tuple[RtpCodecParameters, ...], extensions: tuple[RtpHeaderExtensionParameters, ...]
) -> tuple[RtpCodecParameters, ...]:
    """Keep transport-cc or else REMB, whichever has the header extension that it needs."""
    uris = {extension.uri for extension in extensions}
    if TRANSPORT_CC_URI in uris:
        dropped = {"goog-remb"}
    elif ABS_SEND_TIME_URI in uris:
        dropped = {"transport-cc"}
    else:
        dropped = {"goog-remb", "transport-cc"}
    return tuple(
        msgspec.structs.replace(
            codec, rtcp_feedback=tuple(fb for fb in codec.rtcp_feedback if fb.type not in dropped)
        )
        for codec in codecs
    )


def _scalability_mode(consumable: RtpParameters) -> str | None:
    """Name the layers that a viewer can choose from: of a simulcast, one per encoding."""
    modes = (encoding.scalability_mode for encoding in consumable.encodings)
    mode = next((mode for mode in modes if mode), None)
    if len(consumable.encodings) == 1:
        return mode
    return f"L{len(consumable.encodings)}T{parse_scalability_mode(mode).temporal_layers}"


def _codec_names(consumable: RtpParameters) -> str:
    return ", ".join(codec.mime_type for codec, _ in pair_with_rtx(consumable.codecs))
