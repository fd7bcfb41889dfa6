"""Commands: what a client asks for, validated, and addressed by the gateway.

A request's `data` becomes one of these by `msgspec.convert`, so each field
bears its bounds. `peer` is who asks: the gateway writes it over whatever the
client sent. Tokens never get this far: the gateway checks them and says what
they allow as `rights`.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from protocol.ids import (
    ROOM,
    Address,
    EntityId,
    PeerId,
    RoomId,
    consumer_address,
    producer_address,
    transport_address,
)
from protocol.orders import Kind
from protocol.personal import Concealed
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import DtlsParameters

APP_DATA_DEPTH_MAX = 6
_INTEGER_MAX = 2**53

Layer = Annotated[int, Meta(ge=0, le=7)]
Priority = Annotated[int, Meta(ge=1, le=255)]
"""Of a consumer among those of its transport; higher ones get bandwidth first."""


def _check_plain(value: object, depth: int) -> None:
    """Refuse what JSON and msgpack do not share: bytes, dates, huge or infinite numbers."""
    match value:
        case None | bool() | str():
            return
        case int() if -_INTEGER_MAX <= value <= _INTEGER_MAX:
            return
        case float() if isfinite(value):
            return
        case list() if depth:
            for item in value:
                _check_plain(item, depth - 1)
        case dict() if depth:
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ValueError("appData has a key that is not a string")
                _check_plain(item, depth - 1)
        case _:
            raise ValueError("appData has a value that is too deep, too large or not plain")


class Rights(Struct, frozen=True, kw_only=True):
    """What a join token allows. Without tokens, everything."""

    publish: bool = True
    subscribe: bool = True


class _Command(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A client's request; `target` is the actor that decides it."""

    @property
    def target(self) -> Address:
        return ROOM


class Join(_Command, frozen=True, kw_only=True):
    """Enter a room. Answered by `Joined`."""

    room: RoomId
    name: Annotated[str, Meta(max_length=128)] | Concealed = ""
    create: bool = True
    """Whether a room that does not exist is opened; else it is refused."""
    rights: Rights = Rights()


class Resume(_Command, frozen=True, kw_only=True):
    """Come back on a new socket, within the grace period. Answered by `Joined`."""

    peer: PeerId
    position: Annotated[int, Meta(ge=0, le=_INTEGER_MAX)]


class Leave(_Command, frozen=True, kw_only=True):
    """Leave the room for good."""

    peer: PeerId


class CreateTransport(_Command, frozen=True, kw_only=True):
    """Make a transport. Answered by `TransportCreated`."""

    peer: PeerId
    direction: Literal["send", "recv"]


class Produce(_Command, frozen=True, kw_only=True):
    """Publish a track. Answered by `Produced`."""

    peer: PeerId
    transport: EntityId
    kind: Kind
    rtp_parameters: RtpParameters
    app_data: Annotated[dict[str, Any], Meta(max_length=64)] | Concealed = {}
    """Whatever the application likes: plain values, `APP_DATA_DEPTH_MAX` deep."""
    paused: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.app_data, Concealed):
            _check_plain(self.app_data, APP_DATA_DEPTH_MAX)


class Consume(_Command, frozen=True, kw_only=True):
    """Watch a producer; starts paused. Answered by `Consumed`."""

    peer: PeerId
    transport: EntityId
    producer: EntityId
    rtp_capabilities: RtpCapabilities
    priority: Priority = 1


class _TransportCommand(_Command, frozen=True, kw_only=True):
    peer: PeerId
    transport: EntityId

    @property
    def target(self) -> Address:
        return transport_address(self.transport)


class ConnectTransport(_TransportCommand, frozen=True, kw_only=True):
    """State the client's DTLS parameters, once."""

    dtls_parameters: DtlsParameters


class RestartIce(_TransportCommand, frozen=True, kw_only=True):
    """New ICE credentials (RFC 8445, 9). Answered by `IceRestarted`."""


class CloseTransport(_TransportCommand, frozen=True, kw_only=True):
    """Close a transport with all that it carries."""


class _ProducerCommand(_Command, frozen=True, kw_only=True):
    peer: PeerId
    producer: EntityId

    @property
    def target(self) -> Address:
        return producer_address(self.producer)


class PauseProducer(_ProducerCommand, frozen=True, kw_only=True):
    """Stop forwarding to all viewers."""


class ResumeProducer(_ProducerCommand, frozen=True, kw_only=True):
    """Forward again."""


class CloseProducer(_ProducerCommand, frozen=True, kw_only=True):
    """End a producer, and with it its consumers."""


class _ConsumerCommand(_Command, frozen=True, kw_only=True):
    peer: PeerId
    consumer: EntityId

    @property
    def target(self) -> Address:
        return consumer_address(self.consumer)


class ResumeConsumer(_ConsumerCommand, frozen=True, kw_only=True):
    """Begin, or begin again, to receive."""


class PauseConsumer(_ConsumerCommand, frozen=True, kw_only=True):
    """Stop receiving."""


class CloseConsumer(_ConsumerCommand, frozen=True, kw_only=True):
    """Stop watching a producer."""


class RequestConsumerKeyFrame(_ConsumerCommand, frozen=True, kw_only=True):
    """Ask the publisher for a keyframe (`requestKeyFrame` on the wire)."""


class SetPreferredLayers(_ConsumerCommand, frozen=True, kw_only=True):
    """The highest layers that the viewer wants."""

    spatial_layer: Layer
    temporal_layer: Layer | None = None


class SetPriority(_ConsumerCommand, frozen=True, kw_only=True):
    """How much a consumer matters beside the others of its transport. Sound comes before all."""

    priority: Priority


class QueryTransport(_TransportCommand, frozen=True, kw_only=True):
    """`getStats` of a transport. Answered by `StatsReport`."""


class QueryProducer(_ProducerCommand, frozen=True, kw_only=True):
    """`getStats` of a producer. Answered by `StatsReport`."""


class QueryConsumer(_ConsumerCommand, frozen=True, kw_only=True):
    """`getStats` of a consumer. Answered by `StatsReport`."""


Command = (
    Join
    | Resume
    | Leave
    | CreateTransport
    | Produce
    | Consume
    | ConnectTransport
    | RestartIce
    | CloseTransport
    | PauseProducer
    | ResumeProducer
    | CloseProducer
    | ResumeConsumer
    | PauseConsumer
    | CloseConsumer
    | RequestConsumerKeyFrame
    | SetPreferredLayers
    | SetPriority
    | QueryTransport
    | QueryProducer
    | QueryConsumer
)
