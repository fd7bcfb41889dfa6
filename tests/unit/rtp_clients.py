"""What real clients say in their capabilities and parameters, and short ways to vary it."""

import json
from pathlib import Path
from typing import Any

import msgspec

from protocol.negotiation import ProducerNegotiation, negotiate_producer, router_capabilities
from protocol.orders import Kind
from protocol.refusals import Refusal
from protocol.rtp_parameters import RtpCapabilities, RtpParameters

FIXTURES = Path(__file__).parent.parent / "fixtures" / "rtp"
ROUTER = router_capabilities()


class Client:
    """A recorded client: its receive capabilities and its producers' parameters."""

    def __init__(self, name: str) -> None:
        self.raw: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
        self.capabilities = msgspec.convert(self.raw["recvCapabilities"], RtpCapabilities)
        self.producers: dict[str, tuple[Kind, RtpParameters]] = {
            title: (entry["kind"], msgspec.convert(entry["rtpParameters"], RtpParameters))
            for title, entry in self.raw["producers"].items()
        }

    def negotiate(self, title: str) -> ProducerNegotiation:
        return accepted(*self.producers[title])


def accepted(kind: Kind, parameters: RtpParameters) -> ProducerNegotiation:
    result = negotiate_producer(kind, parameters, ROUTER)
    assert not isinstance(result, Refusal), result.message
    return result


CHROMIUM = Client("chromium_156")
PYMEDIASOUP = Client("pymediasoup_1_5")
CLIENTS = {"chromium": CHROMIUM, "pymediasoup": PYMEDIASOUP}
PRODUCERS = [
    (f"{name}-{title}", kind, parameters)
    for name, client in CLIENTS.items()
    for title, (kind, parameters) in client.producers.items()
]
"""Every recorded producer: name, kind, parameters."""


def video(**changes: Any) -> dict[str, Any]:
    """A plain VP8 producer as it comes over the wire, with top-level changes."""
    plain: dict[str, Any] = {
        "mid": "0",
        "codecs": [
            {"mimeType": "video/VP8", "payloadType": 96, "clockRate": 90000},
            {
                "mimeType": "video/rtx",
                "payloadType": 97,
                "clockRate": 90000,
                "parameters": {"apt": 96},
            },
        ],
        "headerExtensions": [{"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 4}],
        "encodings": [{"ssrc": 1111, "rtx": {"ssrc": 1112}}],
        "rtcp": {"cname": "someone"},
    }
    return plain | changes


def codec(mime_type: str, payload_type: int = 96, **parameters: Any) -> dict[str, Any]:
    """A codec entry of parameters; underscores in the names of format parameters are dashes."""
    return {
        "mimeType": mime_type,
        "payloadType": payload_type,
        "clockRate": 90000,
        "parameters": {name.replace("_", "-"): value for name, value in parameters.items()},
    }


def parsed(raw: dict[str, Any]) -> RtpParameters:
    return msgspec.convert(raw, RtpParameters)
