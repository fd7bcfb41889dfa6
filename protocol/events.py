"""Events: what actors have decided. State is built from these alone.

Fields must suffice to rebuild state and to tell clients: nobody looks
anything up. `reason` is a word from `docs/closing.md`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from protocol.answers import ConsumerType
from protocol.commands import Rights
from protocol.messages import RecordingReason, RoomSettings, TransportSettings
from protocol.notices import IceState
from protocol.orders import Kind, SetConsumer, SetProducer, SrtpProfile, WorkerInfo
from protocol.personal import Concealed
from protocol.rtp_parameters import RtpParameters
from protocol.transport_parameters import DtlsFingerprint


class _Event(Struct, frozen=True, kw_only=True, gc=False):
    """An event; the class's name is its type in the log."""


# Any actor's.


class CommandRefused(_Event, frozen=True, kw_only=True):
    """A request was not met. Changes no state; tells why."""

    code: str
    message: str


class ActorFailed(_Event, frozen=True, kw_only=True):
    """A message broke an invariant of the actor, which was restarted from its events."""

    message: str
    """Type of the message that did it."""
    error: str
    """Type of the error and where it arose; never its text, which could quote a secret."""
    failures: int
    """How many there were within the supervisor's window."""


# The room's.


class RoomOpened(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The room is there; whatever stood before in the log belongs to an earlier session."""

    settings: RoomSettings
    workers: tuple[WorkerInfo, ...]
    closes_at_ns: int
    """When the room closes if nobody joins."""
    room: str = ""
    """Its name; logs of before it was kept have none, and verify as they are."""


class PlaneAttached(_Event, frozen=True, kw_only=True):
    """A media plane carries the room from now on."""

    workers: tuple[WorkerInfo, ...]


class PlaneDetached(_Event, frozen=True, kw_only=True):
    """No media plane carries the room."""

    reason: str


class PeerJoined(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """A peer is in the room."""

    peer: str
    name: str | Concealed
    rights: Rights
    announced: bool = True
    """Whether the others are told; in a big room they are told numbers (`PeersCounted`)."""


class PeerAnnounced(_Event, frozen=True, kw_only=True):
    """A peer that had not been announced is about to publish: the others are told who it is."""

    peer: str
    name: str | Concealed


class PeersCounted(_Event, frozen=True, kw_only=True):
    """How many are in a room whose peers are not all announced."""

    peers: int
    at_ns: int
    publishers: tuple[str, ...] | None
    """Who is told; None: everyone is."""


class PeerDetached(_Event, frozen=True, kw_only=True):
    """A peer has no socket; it stays until `leaves_at_ns`."""

    peer: str
    leaves_at_ns: int


class PeerAttached(_Event, frozen=True, kw_only=True):
    """A peer came back on a new socket."""

    peer: str
    attachment: int


class PeerLeft(_Event, frozen=True, kw_only=True):
    """A peer is out of the room. Removals of what it had follow."""

    peer: str
    reason: str
    room_closes_at_ns: int | None = None
    """When the room closes if nobody joins; said with the last peer."""
    announced: bool | UnsetType = UNSET
    """False where the others had not been told of it."""


class TransportAdded(_Event, frozen=True, kw_only=True):
    """A transport is in the room's directory."""

    transport: str
    peer: str
    direction: Literal["send", "recv"]
    worker: int


class TransportRemoved(_Event, frozen=True, kw_only=True):
    """A transport is gone. Removals of what it carried follow."""

    transport: str
    peer: str
    reason: str


class ProducerAdded(_Event, frozen=True, kw_only=True):
    """A producer is in the room's directory."""

    producer: str
    peer: str
    transport: str
    kind: Kind
    paused: bool
    app_data: dict[str, Any] | Concealed
    rtp_parameters: RtpParameters
    """As negotiated with the publisher."""
    consumable: RtpParameters
    """As viewers may get them, before their own capabilities."""
    type: ConsumerType


class ProducerRemoved(_Event, frozen=True, kw_only=True):
    """A producer is gone. Removals of its consumers follow."""

    producer: str
    peer: str
    reason: str


class ConsumerAdded(_Event, frozen=True, kw_only=True):
    """A consumer is in the room's directory."""

    consumer: str
    peer: str
    transport: str
    producer: str
    ssrcs: tuple[int, ...]
    """Its own and that of its RTX stream."""


class ConsumerRemoved(_Event, frozen=True, kw_only=True):
    """A consumer is gone."""

    consumer: str
    peer: str
    reason: str


class ProducerPauseNoted(_Event, frozen=True, kw_only=True):
    """The room's directory knows that a producer was paused or resumed."""

    producer: str
    peer: str
    paused: bool


class StreamingStarted(_Event, frozen=True, kw_only=True):
    """The room is live: the first packets of its first producer arrived."""

    producer: str
    peer: str


class StreamingStopped(_Event, frozen=True, kw_only=True):
    """The room is live no more: its last producer is gone."""

    reason: str


class ActiveSpeakerChanged(_Event, frozen=True, kw_only=True):
    """Another one speaks: clearly louder than who spoke before, and for long enough.

    Levels are in dBov, -127 (silence) to 0.
    """

    producer: str
    peer: str
    level: int
    before: str | None = None
    before_level: int | None = None


class RecordingRequested(_Event, frozen=True, kw_only=True):
    """The flight recorder of a transport is frozen; the recording bears this event's position."""

    transport: str
    peer: str
    reason: RecordingReason
    at_ns: int


class RoomClosed(_Event, frozen=True, kw_only=True):
    """The room's session is over."""

    reason: str


# A transport's.


class TransportOpened(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """A transport waits for its client."""

    transport: str
    peer: str
    direction: Literal["send", "recv"]
    worker: int
    port: int
    ice_ufrag: str
    settings: TransportSettings
    room: str = ""
    """The room that it belongs to."""


class TransportConnecting(_Event, frozen=True, kw_only=True):
    """The client's DTLS parameters are known; `dtls_role` is ours."""

    dtls_role: Literal["client", "server"]
    fingerprints: tuple[DtlsFingerprint, ...]
    times_out_at_ns: int


class IceRestarting(_Event, frozen=True, kw_only=True):
    """New ICE credentials hold; the old ones until a check with the new verified."""

    ice_ufrag: str


class IceChanged(_Event, frozen=True, kw_only=True):
    """ICE is in another state, or another address is selected."""

    state: IceState
    remote: str | Concealed | None
    closes_at_ns: int | None = None
    """When the transport closes unless ICE comes back."""


class DtlsConnected(_Event, frozen=True, kw_only=True):
    """The handshake is done; media may flow."""

    srtp_profile: SrtpProfile


class BandwidthChanged(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """What the way to the viewer takes; changes no state, tells why layers change."""

    bitrate_bps: int
    limit: str
    """What keeps it from being higher: `delay`, `loss`, `remb` or `silence`."""
    wanted_bps: int | None = None
    """What it would have to be for the next layers."""
    probes: int = 0
    """Trains of padding that looked for more since the one before; how many of them found room."""
    probes_found: int = 0
    on_trial: bool = False
    """The limit was found so long ago that it is a guess: what was paused comes back on trial."""


class TransportClosed(_Event, frozen=True, kw_only=True):
    """The transport's actor ends."""

    reason: str


# A producer's.


class ProducerOpened(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """A producer is in the media plane."""

    peer: str
    row: SetProducer
    top_layer: int | None = None
    """The highest spatial layer inside of its only stream (SVC); None: layers are encodings."""


class ProducerStreamBound(_Event, frozen=True, kw_only=True):
    """The SSRCs of an encoding were learned from its packets."""

    encoding: int
    ssrc: int
    rtx_ssrc: int | None


class ProducerActive(_Event, frozen=True, kw_only=True):
    """Packets flow, or have been missing for a while."""

    active: bool


class ProducerDemandNoted(_Event, frozen=True, kw_only=True):
    """Viewers may take other layers of it than before; its publisher need not send the rest."""

    producer: str
    peer: str
    spatial_layer: int | None
    """The highest that anybody may be sent; None: nobody wants any. An index into its encodings, or
    of an only stream with spatial layers inside (SVC) one of these."""


class ProducerPaused(_Event, frozen=True, kw_only=True):
    """The publisher paused it."""

    producer: str
    peer: str


class ProducerResumed(_Event, frozen=True, kw_only=True):
    """The publisher resumed it."""

    producer: str
    peer: str


class ProducerScored(_Event, frozen=True, kw_only=True):
    """How well its streams arrive, 0 to 10, one an encoding."""

    producer: str
    peer: str
    scores: tuple[int, ...]


class KeyFrameAsked(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The plane asked the publisher for a keyframe on behalf of `requests` askers."""

    encoding: int
    requests: int
    causes: tuple[str, ...] = ()
    """Why, as the notice `KeyFrameRequested` has it."""


class ProducerClosed(_Event, frozen=True, kw_only=True):
    """The producer's actor ends."""

    reason: str


# A consumer's.


class ConsumerOpened(_Event, frozen=True, kw_only=True):
    """A consumer is in the media plane, paused."""

    peer: str
    type: ConsumerType
    rtp_parameters: RtpParameters
    row: SetConsumer
    producer_paused: bool


class ConsumerPaused(_Event, frozen=True, kw_only=True):
    """Paused by its viewer, or because its producer is."""

    consumer: str
    peer: str
    by: Literal["viewer", "producer"]


class ConsumerResumed(_Event, frozen=True, kw_only=True):
    """Resumed by its viewer, or because its producer is."""

    consumer: str
    peer: str
    by: Literal["viewer", "producer"]


class ConsumerLayersPreferred(_Event, frozen=True, kw_only=True):
    """The viewer wants no higher layers than these."""

    spatial_layer: int
    temporal_layer: int | None


class ConsumerPrioritized(_Event, frozen=True, kw_only=True):
    """The viewer said how much it matters beside its transport's other consumers, 1 to 255."""

    priority: int


class ConsumerLayersChanged(_Event, frozen=True, kw_only=True, omit_defaults=True):
    """The plane sends these layers now; None: nothing."""

    consumer: str
    peer: str
    spatial_layer: int | None
    temporal_layer: int | None
    reason: str | None = None
    """Why, as the notice `LayersChanged` has it."""
    keyframe_age_ns: int | None = None
    """It began with a keyframe out of the plane's cache, which had come so long before."""


class ConsumerScored(_Event, frozen=True, kw_only=True):
    """How well the viewer receives, 0 to 10."""

    consumer: str
    peer: str
    score: int
    producer_score: int


class ConsumerFreezeChanged(_Event, frozen=True, kw_only=True):
    """Nothing reaches the viewer though its producer sends, or something does again."""

    consumer: str
    peer: str
    frozen: bool


class ViewerAskedKeyFrame(_Event, frozen=True, kw_only=True):
    """The viewer asked for a keyframe over signaling."""

    consumer: str


class ConsumerClosed(_Event, frozen=True, kw_only=True):
    """The consumer's actor ends."""

    reason: str


RoomEvent = (
    RoomOpened
    | PlaneAttached
    | PlaneDetached
    | PeerJoined
    | PeerAnnounced
    | PeersCounted
    | PeerDetached
    | PeerAttached
    | PeerLeft
    | TransportAdded
    | TransportRemoved
    | ProducerAdded
    | ProducerRemoved
    | ConsumerAdded
    | ConsumerRemoved
    | ProducerPauseNoted
    | StreamingStarted
    | StreamingStopped
    | ActiveSpeakerChanged
    | RecordingRequested
    | RoomClosed
)
TransportEvent = (
    TransportOpened
    | TransportConnecting
    | IceRestarting
    | IceChanged
    | DtlsConnected
    | BandwidthChanged
    | TransportClosed
)
ProducerEvent = (
    ProducerOpened
    | ProducerStreamBound
    | ProducerActive
    | ProducerDemandNoted
    | ProducerPaused
    | ProducerResumed
    | ProducerScored
    | KeyFrameAsked
    | ProducerClosed
)
ConsumerEvent = (
    ConsumerOpened
    | ConsumerPaused
    | ConsumerResumed
    | ConsumerLayersPreferred
    | ConsumerPrioritized
    | ConsumerLayersChanged
    | ConsumerScored
    | ConsumerFreezeChanged
    | ViewerAskedKeyFrame
    | ConsumerClosed
)
Event = RoomEvent | TransportEvent | ProducerEvent | ConsumerEvent | CommandRefused | ActorFailed
