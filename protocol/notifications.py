"""Notifications: what clients are told of events, as a pure view of the log.

Because they are derived from events and bear the event's position, a client
that lost its socket gets exactly what it missed by reading the log again, even
after the server restarted. One event gives at most one notification.

What the answer to `join` shows (peers, producers and whether they are paused,
streaming) is told by the room's events, so that answer and notifications fit
together at any position; the rest (a consumer's state, scores) by the actor that
it happens to. What a client asked for itself and has been answered is not told to
it again, and a peer that left is not told what went with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from protocol import events
from protocol.answers import PeerView, ProducerView
from protocol.events import Event

REQUESTED = "requested"
"""The reason of whatever a client closed by its own request."""

PEER_LEFT = "peer_left"
"""The reason of whatever went with its peer."""

_OWN_DOING = (REQUESTED, PEER_LEFT)
"""Reasons of which the owner is not told."""


class Everyone(NamedTuple):
    """All peers of the room except one."""

    but: str | None = None


class Only(NamedTuple):
    """One peer."""

    peer: str


class Several(NamedTuple):
    """The peers that are named."""

    peers: tuple[str, ...]


Audience = Everyone | Only | Several


class Notification(NamedTuple):
    """Name, data in the wire's words, and who is told."""

    name: str
    data: dict[str, Any]
    audience: Audience

    def concerns(self, peer: str) -> bool:
        """Whether `peer` is told."""
        match self.audience:
            case Everyone(but):
                return peer != but
            case Only(only):
                return peer == only
            case Several(several):
                return peer in several


def notification_of(event: Event) -> Notification | None:
    """What clients are told of `event`, if anything."""
    view = _VIEWS.get(type(event))
    return view(event) if view is not None else None


def _peer_joined(event: events.PeerJoined | events.PeerAnnounced) -> Notification | None:
    if isinstance(event, events.PeerJoined) and not event.announced:
        return None
    peer = PeerView(id=event.peer, name=event.name)
    return Notification("peerJoined", {"peer": peer}, Everyone(but=event.peer))


def _peers_counted(event: events.PeersCounted) -> Notification:
    audience = Everyone() if event.publishers is None else Several(event.publishers)
    return Notification("peerCount", {"peers": event.peers}, audience)


def _peer_left(event: events.PeerLeft) -> Notification | None:
    """Tell it to the one who was evicted too: nothing else says so."""
    asked = event.peer if event.reason == REQUESTED else None
    data = {"peer": event.peer, "reason": event.reason}
    if event.announced is not False:
        return Notification("peerLeft", data, Everyone(but=asked))
    return None if asked else Notification("peerLeft", data, Only(event.peer))


def _producer_added(event: events.ProducerAdded) -> Notification:
    producer = ProducerView(
        id=event.producer,
        peer=event.peer,
        kind=event.kind,
        paused=event.paused,
        app_data=event.app_data,
    )
    return Notification("producerAdded", {"producer": producer}, Everyone(but=event.peer))


def _producer_removed(event: events.ProducerRemoved) -> Notification:
    asked = event.peer if event.reason in _OWN_DOING else None
    data = {"producer": event.producer, "reason": event.reason}
    return Notification("producerClosed", data, Everyone(but=asked))


def _producer_pause_noted(event: events.ProducerPauseNoted) -> Notification:
    name = "producerPaused" if event.paused else "producerResumed"
    return Notification(name, {"producer": event.producer}, Everyone(but=event.peer))


def _producer_scored(event: events.ProducerScored) -> Notification:
    data = {"producer": event.producer, "score": list(event.scores)}
    return Notification("score", data, Only(event.peer))


def _producer_demand(event: events.ProducerDemandNoted) -> Notification:
    data = {"producer": event.producer, "maxSpatialLayer": event.spatial_layer}
    return Notification("producerDemand", data, Only(event.peer))


def _transport_removed(event: events.TransportRemoved) -> Notification | None:
    if event.reason in _OWN_DOING:
        return None
    data = {"transport": event.transport, "reason": event.reason}
    return Notification("transportClosed", data, Only(event.peer))


def _consumer_removed(event: events.ConsumerRemoved) -> Notification | None:
    if event.reason in _OWN_DOING:
        return None
    data = {"consumer": event.consumer, "reason": event.reason}
    return Notification("consumerClosed", data, Only(event.peer))


def _consumer_paused(event: events.ConsumerPaused) -> Notification | None:
    if event.by == "viewer":
        return None
    return Notification("consumerPaused", {"consumer": event.consumer}, Only(event.peer))


def _consumer_resumed(event: events.ConsumerResumed) -> Notification | None:
    if event.by == "viewer":
        return None
    return Notification("consumerResumed", {"consumer": event.consumer}, Only(event.peer))


def _consumer_layers(event: events.ConsumerLayersChanged) -> Notification:
    data: dict[str, Any] = {
        "consumer": event.consumer,
        "spatialLayer": event.spatial_layer,
        "temporalLayer": event.temporal_layer,
    }
    if event.reason is not None:
        data["reason"] = event.reason
    return Notification("layersChanged", data, Only(event.peer))


def _consumer_scored(event: events.ConsumerScored) -> Notification:
    data = {
        "consumer": event.consumer,
        "score": event.score,
        "producerScore": event.producer_score,
    }
    return Notification("score", data, Only(event.peer))


def _streaming_started(event: events.StreamingStarted) -> Notification:
    data = {"producer": event.producer, "peer": event.peer}
    return Notification("streamingStarted", data, Everyone())


def _streaming_stopped(event: events.StreamingStopped) -> Notification:
    return Notification("streamingStopped", {"reason": event.reason}, Everyone())


def _active_speaker(event: events.ActiveSpeakerChanged) -> Notification:
    return Notification(
        "activeSpeaker", {"producer": event.producer, "peer": event.peer}, Everyone()
    )


def audio_levels(levels: Iterable[tuple[str, str, int]]) -> Notification:
    """How loud each microphone is now: producer, peer and level in dBov. It stands in no log."""
    told = [{"producer": one, "peer": peer, "level": level} for one, peer, level in levels]
    return Notification("audioLevels", {"levels": told}, Everyone())


def _room_closed(event: events.RoomClosed) -> Notification:
    return Notification("roomClosed", {"reason": event.reason}, Everyone())


_VIEWS: dict[type, Callable[[Any], Notification | None]] = {
    events.PeerJoined: _peer_joined,
    events.PeerAnnounced: _peer_joined,
    events.PeersCounted: _peers_counted,
    events.PeerLeft: _peer_left,
    events.ProducerAdded: _producer_added,
    events.ProducerRemoved: _producer_removed,
    events.ProducerPauseNoted: _producer_pause_noted,
    events.ProducerScored: _producer_scored,
    events.ProducerDemandNoted: _producer_demand,
    events.TransportRemoved: _transport_removed,
    events.ConsumerRemoved: _consumer_removed,
    events.ConsumerPaused: _consumer_paused,
    events.ConsumerResumed: _consumer_resumed,
    events.ConsumerLayersChanged: _consumer_layers,
    events.ConsumerScored: _consumer_scored,
    events.StreamingStarted: _streaming_started,
    events.StreamingStopped: _streaming_stopped,
    events.ActiveSpeakerChanged: _active_speaker,
    events.RoomClosed: _room_closed,
}

NOTIFYING_TYPES = tuple(kind.__name__ for kind in _VIEWS)
"""Types of events, as the log names them, that clients may be told of."""
