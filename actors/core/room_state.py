"""The room's directory: who is in it, and what hangs on what.

A transport belongs to a peer, a producer to a transport, a consumer to a
transport and a producer. The indexes below are ordered sets (maps to None), so
that a removal names what it removes in the order of its making, everywhere.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from protocol import events
from protocol.answers import ConsumerType
from protocol.commands import Rights
from protocol.messages import RoomSettings
from protocol.orders import Kind, WorkerInfo
from protocol.personal import Concealed
from protocol.rtp_parameters import RtpParameters

Ids = dict[str, None]


RECORDINGS_KEPT_NS = 60_000_000_000
"""How long a recording is remembered."""


class PeerEntry(Struct, kw_only=True):
    """A peer."""

    name: str | Concealed
    rights: Rights
    announced: bool = True
    """Whether the others were told of it."""
    attachment: int = 1
    """How many sockets it has had."""
    transports: Ids = {}


class TransportEntry(Struct, kw_only=True):
    """A transport and what it carries."""

    peer: str
    direction: Literal["send", "recv"]
    worker: int
    producers: Ids = {}
    consumers: Ids = {}
    mids: int = 0
    """How many mids its consumers have been given."""


class ProducerEntry(Struct, kw_only=True):
    """A producer and who consumes it."""

    peer: str
    transport: str
    kind: Kind
    type: ConsumerType
    paused: bool
    app_data: dict[str, Any] | Concealed
    rtp_parameters: RtpParameters
    consumable: RtpParameters
    consumers: Ids = {}


class ConsumerEntry(Struct, kw_only=True):
    """A consumer."""

    peer: str
    transport: str
    producer: str
    ssrcs: tuple[int, ...]


class Count(Struct, frozen=True, kw_only=True):
    """A number of peers that was told, and when."""

    peers: int = 0
    at_ns: int = 0


class RoomState(Struct, kw_only=True):
    """State of a room; without settings until it is opened."""

    settings: RoomSettings | None = None
    room: str = ""
    """Its name."""
    workers: tuple[WorkerInfo, ...] = ()
    peers: dict[str, PeerEntry] = {}
    counting: bool = False
    """Whether not all peers are announced, so that numbers are told. It stays so."""
    counted: Count = Count()
    """What publishers were told last of how many are there."""
    counted_for_all: Count = Count()
    """What everyone was told."""
    leaving: dict[str, int] = {}
    """Peers without a socket, and when they leave unless they come back; the first one first.

    The grace is the same for all. Should the clock be set back between two runs of the server,
    some leave later than they might, none earlier.
    """
    transports: dict[str, TransportEntry] = {}
    producers: dict[str, ProducerEntry] = {}
    consumers: dict[str, ConsumerEntry] = {}
    streaming: bool = False
    speaker: str | None = None
    """The producer of who speaks."""
    recordings: dict[str, int] = {}
    """When the flight recorder of a transport was frozen, those of the last minute."""
    closes_at_ns: int | None = None
    """When it closes, as nobody is in it."""
    closed: str | None = None
    """Why it is closed."""


def evolve(state: RoomState, event: Any) -> RoomState:
    """Give the directory after `event`; changes and returns `state`."""
    match event:
        case events.RoomOpened():
            return RoomState(
                settings=event.settings,
                workers=event.workers,
                closes_at_ns=event.closes_at_ns,
                room=event.room,
            )
        case events.PlaneAttached(workers=workers):
            state.workers = workers
        case events.PlaneDetached():
            state.workers = ()
        case (
            events.PeerJoined()
            | events.PeerAnnounced()
            | events.PeersCounted()
            | events.PeerDetached()
            | events.PeerAttached()
        ):
            _evolve_peer(state, event)
        case events.PeerLeft(peer=peer):
            del state.peers[peer]
            state.leaving.pop(peer, None)
            state.closes_at_ns = event.room_closes_at_ns
        case events.TransportAdded():
            state.transports[event.transport] = TransportEntry(
                peer=event.peer, direction=event.direction, worker=event.worker
            )
            state.peers[event.peer].transports[event.transport] = None
        case events.ProducerAdded():
            state.producers[event.producer] = ProducerEntry(
                peer=event.peer,
                transport=event.transport,
                kind=event.kind,
                type=event.type,
                paused=event.paused,
                app_data=event.app_data,
                rtp_parameters=event.rtp_parameters,
                consumable=event.consumable,
            )
            state.transports[event.transport].producers[event.producer] = None
            # Who publishes from now on is to hear of the number soon.
            state.counted = replace(state.counted, peers=0)
        case events.ConsumerAdded():
            state.consumers[event.consumer] = ConsumerEntry(
                peer=event.peer,
                transport=event.transport,
                producer=event.producer,
                ssrcs=event.ssrcs,
            )
            transport = state.transports[event.transport]
            transport.consumers[event.consumer] = None
            transport.mids += 1
            state.producers[event.producer].consumers[event.consumer] = None
        case events.TransportRemoved() | events.ProducerRemoved() | events.ConsumerRemoved():
            _evolve_removal(state, event)
        case events.ProducerPauseNoted(producer=producer, paused=paused):
            state.producers[producer].paused = paused
        case events.StreamingStarted():
            state.streaming = True
        case events.StreamingStopped():
            state.streaming = False
        case events.ActiveSpeakerChanged(producer=producer):
            state.speaker = producer
        case events.RecordingRequested():
            _note_recording(state, event)
        case events.RoomClosed(reason=reason):
            return RoomState(settings=state.settings, room=state.room, closed=reason)
    return state


def _evolve_peer(
    state: RoomState,
    event: events.PeerJoined
    | events.PeerAnnounced
    | events.PeersCounted
    | events.PeerDetached
    | events.PeerAttached,
) -> None:
    match event:
        case events.PeerJoined():
            state.peers[event.peer] = PeerEntry(
                name=event.name, rights=event.rights, announced=event.announced
            )
            state.counting = state.counting or not event.announced
            state.closes_at_ns = None
        case events.PeerAnnounced(peer=peer):
            state.peers[peer].announced = True
        case events.PeersCounted(peers=peers, at_ns=at_ns, publishers=publishers):
            state.counted = Count(peers=peers, at_ns=at_ns)
            if publishers is None:
                state.counted_for_all = state.counted
        case events.PeerDetached():
            state.leaving[event.peer] = event.leaves_at_ns
        case events.PeerAttached():
            state.peers[event.peer].attachment = event.attachment
            state.leaving.pop(event.peer, None)


def _evolve_removal(
    state: RoomState,
    event: events.TransportRemoved | events.ProducerRemoved | events.ConsumerRemoved,
) -> None:
    """Take an entry out, and out of the indexes of what it hung on if that is still there."""
    match event:
        case events.TransportRemoved(transport=transport):
            entry = state.transports.pop(transport)
            if owner := state.peers.get(entry.peer):
                del owner.transports[transport]
        case events.ProducerRemoved(producer=producer):
            source = state.producers.pop(producer)
            if state.speaker == producer:
                state.speaker = None
            if carrier := state.transports.get(source.transport):
                del carrier.producers[producer]
        case events.ConsumerRemoved(consumer=consumer):
            sink = state.consumers.pop(consumer)
            if carrier := state.transports.get(sink.transport):
                del carrier.consumers[consumer]
            if feed := state.producers.get(sink.producer):
                del feed.consumers[consumer]


def _note_recording(state: RoomState, event: events.RecordingRequested) -> None:
    oldest_ns = event.at_ns - RECORDINGS_KEPT_NS
    state.recordings = {
        transport: at_ns for transport, at_ns in state.recordings.items() if at_ns > oldest_ns
    }
    state.recordings[event.transport] = event.at_ns
