"""Messages between actors and from the house to actors; all are journaled like commands.

Clients' commands stand in `protocol.commands`, the media plane's notices in
`protocol.notices`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.answers import ConsumerType
from protocol.ids import Address
from protocol.orders import SetConsumer, SetProducer, WorkerInfo
from protocol.rtp_parameters import RtpCapabilities, RtpParameters
from protocol.transport_parameters import DtlsFingerprint


class TransportSettings(Struct, frozen=True, kw_only=True):
    """The server's settings that a transport decides by."""

    announced_ips: tuple[str, ...]
    """Addresses in ICE candidates, the preferred one first."""
    fingerprints: tuple[DtlsFingerprint, ...]
    """Of the server's DTLS certificate."""
    ice_failed_grace_ns: int = 30_000_000_000
    """How long a transport that lost ICE waits for a restart."""
    connect_timeout_ns: int = 30_000_000_000
    """How long a transport may take from `connectTransport` to finished DTLS."""


class RoomSettings(Struct, frozen=True, kw_only=True):
    """The server's settings that a room decides by; in the log, so that a replay has them."""

    router_rtp_capabilities: RtpCapabilities
    transport: TransportSettings
    peers_max: int = 2000
    transports_per_peer_max: int = 4
    producers_per_peer_max: int = 8
    consumers_per_peer_max: int = 64
    resume_grace_ns: int = 30_000_000_000
    """How long a peer without a socket stays."""
    empty_room_linger_ns: int = 15_000_000_000
    """How long a room without peers stays."""
    announced_peers_max: int | None = None
    """Peers in the room from which on those who come are counted and not announced, unless they
    publish; without it, all are announced."""
    behaviours: tuple[int, ...] = ()
    """Numbers of `protocol.behaviours` that the room was opened with."""


RecordingReason = Literal[
    "ice_lost", "consumer_frozen", "keyframe_storm", "publisher_silent", "operator"
]
"""Why the flight recorder was frozen."""


class _Message(Struct, frozen=True, kw_only=True, gc=False):
    """A message; the class's name is its type in the log."""


class TimerFired(_Message, frozen=True, kw_only=True):
    """A deadline that the actor's state had asked for is reached."""

    name: str


class Close(_Message, frozen=True, kw_only=True):
    """Close yourself; sent by the room to the actors of what it removed."""

    reason: str


# To the room.


class OpenRoom(_Message, frozen=True, kw_only=True):
    """First message of a room."""

    settings: RoomSettings
    workers: tuple[WorkerInfo, ...]
    """Of the media plane; empty while it is down."""
    room: str = ""
    """Its name, which the media plane is told with each transport."""


SocketEnd = Literal[
    "", "too_slow", "too_many_errors", "too_large", "idle", "going_away", "internal_error"
]


class SocketLost(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """A peer's socket is gone. Ignored when a later attachment took its place."""

    peer: str
    attachment: int
    reason: SocketEnd = ""
    """Why the server closed it; empty if the client or the network did."""


class EvictPeer(_Message, frozen=True, kw_only=True):
    """Remove a peer, as an operator or a rule of the gateway wants it."""

    peer: str
    reason: str


class PlaneStarted(_Message, frozen=True, kw_only=True):
    """A media plane is there; transports can be made."""

    workers: tuple[WorkerInfo, ...]


class PlaneStopped(_Message, frozen=True, kw_only=True):
    """The media plane is gone with all that it carried."""

    reason: str


class ControlRestarted(_Message, frozen=True, kw_only=True):
    """The control process came back: no peer has a socket any more."""


class CloseRoom(_Message, frozen=True, kw_only=True):
    """Close the room, for example because the server stops."""

    reason: str


class ChildClosed(_Message, frozen=True, kw_only=True):
    """A transport, producer or consumer has closed by its own decision."""

    child: Address
    reason: str


class ChildFailed(_Message, frozen=True, kw_only=True):
    """The supervisor gave up an actor."""

    child: Address
    reason: str


class ProducerPauseChanged(_Message, frozen=True, kw_only=True):
    """A producer was paused or resumed: from it to the room, from the room to its consumers."""

    producer: str
    paused: bool


class ProducerWentLive(_Message, frozen=True, kw_only=True):
    """A producer's first packets arrived."""

    producer: str


class SpeakerNoted(_Message, frozen=True, kw_only=True):
    """Another one speaks now, for all that the microphones tell. Levels are in dBov, -127 to 0."""

    producer: str
    level: int
    before: str | None = None
    """The producer of who spoke until now."""
    before_level: int | None = None


class FaultNoticed(_Message, frozen=True, kw_only=True):
    """An actor of the room saw a fault of media; `reason` is a word of `RecordingReason`."""

    transport: str
    reason: RecordingReason


class CaptureRoom(_Message, frozen=True, kw_only=True):
    """Freeze the flight recorder, as an operator wants it: of one transport, or of all."""

    transport: str | None = None


# To a transport, producer or consumer: the first message.


class OpenTransport(_Message, frozen=True, kw_only=True):
    """First message of a transport."""

    transport: str
    peer: str
    direction: Literal["send", "recv"]
    worker: int
    port: int
    """UDP port of the worker."""
    ice_ufrag: str
    settings: TransportSettings
    room: str = ""


class OpenProducer(_Message, frozen=True, kw_only=True, omit_defaults=True):
    """First message of a producer, with its row in the plane's table."""

    peer: str
    row: SetProducer
    top_layer: int | None = None
    """The highest spatial layer inside of its only stream (SVC); None: layers are encodings."""


class OpenConsumer(_Message, frozen=True, kw_only=True):
    """First message of a consumer, with its row in the plane's table (paused)."""

    peer: str
    type: ConsumerType
    rtp_parameters: RtpParameters
    row: SetConsumer
    producer_paused: bool


Message = (
    TimerFired
    | Close
    | OpenRoom
    | SocketLost
    | EvictPeer
    | PlaneStarted
    | PlaneStopped
    | ControlRestarted
    | CloseRoom
    | ChildClosed
    | ChildFailed
    | ProducerPauseChanged
    | ProducerWentLive
    | SpeakerNoted
    | FaultNoticed
    | CaptureRoom
    | OpenTransport
    | OpenProducer
    | OpenConsumer
)
