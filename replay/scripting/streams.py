"""What a published stream was like: codec, encodings, bitrates."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.orders import Kind
from protocol.rtp_parameters import RtpParameters
from protocol.script import Encoding

AUDIO_BPS = 48_000
VIDEO_BPS = (800_000,)
SIMULCAST_BPS = (150_000, 500_000, 1_500_000)
"""Where neither telemetry nor the client said anything, the lowest encoding first."""


def media_of(parameters: RtpParameters) -> str:
    """The codec that a stream is sent with; empty where there is none."""
    for codec in parameters.codecs:
        if not codec.mime_type.lower().endswith(("/rtx", "/red", "/ulpfec", "/flexfec-03")):
            return codec.mime_type
    return ""


def encodings_of(
    kind: Kind, parameters: RtpParameters, measured_bps: Sequence[float | None]
) -> tuple[Encoding, ...]:
    """The encodings of a stream: with what was measured, else what was said, else what is usual."""
    stated = parameters.encodings
    count = max(1, len(stated))
    if kind == "audio":
        usual: Sequence[int] = (AUDIO_BPS,)
    else:
        usual = VIDEO_BPS if count == 1 else SIMULCAST_BPS
    has_rtx = any(codec.mime_type.lower().endswith("/rtx") for codec in parameters.codecs)
    made = []
    for index in range(count):
        said = stated[index] if stated else None
        seen = measured_bps[index] if index < len(measured_bps) else None
        said_bps = None if said is None else said.max_bitrate
        bitrate = seen or said_bps or usual[min(index, len(usual) - 1)]
        made.append(
            Encoding(
                rid=None if said is None else said.rid,
                bitrate_bps=max(1, round(bitrate)),
                has_rtx=has_rtx,
            )
        )
    return tuple(made)
