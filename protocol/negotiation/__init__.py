"""Negotiation: who can send and receive what, with the semantics of mediasoup. Pure functions.

The path of a stream: `router_capabilities` go to every peer. A publisher's parameters become a
`ProducerNegotiation` (`negotiate_producer`); its consumable parameters and a viewer's capabilities
become that viewer's parameters (`consumer_parameters`). `producer_row` and `consumer_row` turn the
results into what the media plane is told. Parameters are never changed in place.
"""

from protocol.negotiation.checks import transport_conflict
from protocol.negotiation.consumer import can_consume, consumer_parameters
from protocol.negotiation.plane import consumer_row, producer_row
from protocol.negotiation.producer import (
    CodecMapping,
    ProducerNegotiation,
    ProducerType,
    RtpMapping,
    negotiate_producer,
)
from protocol.negotiation.router import MEDIA_CODECS, MediaCodec, router_capabilities
from protocol.negotiation.scalability import top_spatial_layer

__all__ = [
    "MEDIA_CODECS",
    "CodecMapping",
    "MediaCodec",
    "ProducerNegotiation",
    "ProducerType",
    "RtpMapping",
    "can_consume",
    "consumer_parameters",
    "consumer_row",
    "negotiate_producer",
    "producer_row",
    "router_capabilities",
    "top_spatial_layer",
    "transport_conflict",
]
