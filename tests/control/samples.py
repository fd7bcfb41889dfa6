"""What clients, servers and planes say in tests of the control plane."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.commands import Consume, Produce
from protocol.messages import RoomSettings, TransportSettings
from protocol.negotiation import router_capabilities
from protocol.orders import WorkerInfo
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import DtlsFingerprint, DtlsParameters

S = 1_000_000_000
"""A second in nanoseconds."""

EPOCH_NS = 1_700_000_000 * S
ROUTER = router_capabilities()
WORKERS = (
    WorkerInfo(worker=0, host="127.0.0.1", port=20000),
    WorkerInfo(worker=1, host="127.0.0.1", port=20001),
)
FINGERPRINT = DtlsFingerprint(algorithm="sha-256", value=":".join(["AB"] * 32))
REMOTE_DTLS = DtlsParameters(fingerprints=(FINGERPRINT,), role="client")


def transport_settings(**more: Any) -> TransportSettings:
    fields = {"announced_ips": ("192.0.2.1", "2001:db8::1"), "fingerprints": (FINGERPRINT,)}
    return TransportSettings(**(fields | more))


def room_settings(**more: Any) -> RoomSettings:
    fields: dict[str, Any] = {
        "router_rtp_capabilities": ROUTER,
        "transport": transport_settings(),
        "resume_grace_ns": 10 * S,
        "empty_room_linger_ns": 5 * S,
    }
    return RoomSettings(**(fields | more))


def rtp_parameters(
    kind: Literal["audio", "video"] = "video", *, number: int = 0, layers: int = 1
) -> RtpParameters:
    """Parameters of the transport's producer `number`: its mid and SSRCs differ from others'."""
    codecs: list[dict[str, Any]]
    if kind == "audio":
        codecs = [{"mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2}]
    else:
        codecs = [
            {
                "mimeType": "video/VP8",
                "payloadType": 96,
                "clockRate": 90000,
                "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"}],
            },
            {
                "mimeType": "video/rtx",
                "payloadType": 97,
                "clockRate": 90000,
                "parameters": {"apt": 96},
            },
        ]
    extensions = [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4}]
    encodings: list[dict[str, Any]] = [{"ssrc": 1000 + 2 * number}]
    if layers > 1:
        extensions.append({"uri": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "id": 10})
        encodings = [{"rid": f"r{layer}", "scalabilityMode": "L1T3"} for layer in range(layers)]
    raw = {
        "mid": str(number),
        "codecs": codecs,
        "headerExtensions": extensions,
        "encodings": encodings,
        "rtcp": {"cname": "someone"},
    }
    return msgspec.convert(raw, RtpParameters)


def produce(
    peer: str,
    transport: str,
    kind: Literal["audio", "video"] = "video",
    *,
    number: int = 0,
    layers: int = 1,
    **more: Any,
) -> Produce:
    return Produce(
        peer=peer,
        transport=transport,
        kind=kind,
        rtp_parameters=rtp_parameters(kind, number=number, layers=layers),
        **more,
    )


def consume(
    peer: str, transport: str, producer: str, capabilities: RtpCapabilities = ROUTER
) -> Consume:
    return Consume(peer=peer, transport=transport, producer=producer, rtp_capabilities=capabilities)
