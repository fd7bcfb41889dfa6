"""What a session was like, in figures, from its events alone.

`SessionStats` takes envelopes in order; `sessions` goes over a log and gives one for each session
in it. What was measured on the wire (bitrate, loss, delays) is not in events: telemetry knows it,
by the same ids of producers and consumers and by the same clock, and `session_telemetry` joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct

from protocol import events
from protocol.envelope import Envelope
from protocol.orders import Kind
from protocol.personal import shown
from replay.fold import event_of
from replay.session_figures import PeerStats, SessionStats, StreamStats
from replay.text import payload


class _Stream(Struct):
    """A consumer or producer, as far as it matters for first media."""

    peer: str
    transport: str
    producer: str
    flows: bool = False
    """A producer's packets come, or nobody has paused a consumer."""
    viewer_paused: bool = True
    producer_paused: bool = False


class Collector:
    """Collects the figures of one session from its envelopes, in order of position."""

    def __init__(self, opening: Envelope) -> None:
        self.stats = SessionStats(
            room=opening.room,
            first_position=opening.position,
            last_position=opening.position,
            opened_at_ns=opening.at_ns,
        )
        self._peers: dict[str, PeerStats] = {}
        self._present: set[str] = set()
        self._owners: dict[str, str] = {}
        """The peer of each transport, producer and consumer."""
        self._producers: dict[str, _Stream] = {}
        self._consumers: dict[str, _Stream] = {}
        self._figures: dict[str, StreamStats] = {}
        """Those of streams that are there."""
        self._kinds: dict[str, Kind] = {}
        self._connected: set[str] = set()
        self._live_since_ns: int | None = None
        self._message: Envelope | None = None
        self._now_ns = opening.at_ns

    def take(self, envelope: Envelope) -> None:
        """Take the next envelope. Raises `LogNotUnderstood`."""
        stats = self.stats
        stats.last_position = envelope.position
        self._now_ns = envelope.at_ns
        if envelope.kind == "message":
            stats.messages += 1
            self._message = envelope
            stats.control_restarts += envelope.type == "ControlRestarted"
            return
        stats.events += 1
        take = _TAKES.get(envelope.type)
        if take is not None:
            take(self, event_of(envelope), envelope.actor.partition("/")[2])

    def peer(self, peer: str) -> PeerStats | None:
        """What is known of a peer so far."""
        return self._peers.get(peer)

    def finish(self) -> SessionStats:
        """Give the figures as of the last envelope."""
        stats = self.stats
        stats.duration_ns = (stats.closed_at_ns or self._now_ns) - stats.opened_at_ns
        if self._live_since_ns is not None:
            stats.live_ns += self._now_ns - self._live_since_ns
            self._live_since_ns = self._now_ns
        for peer in self._peers.values():
            until_ns = stats.closed_at_ns if peer.left_at_ns is None else peer.left_at_ns
            peer.duration_ns = (until_ns or self._now_ns) - peer.joined_at_ns
        stats.peers = list(self._peers.values())
        return stats

    # The room's events.

    def _joined(self, event: events.PeerJoined, _entity: str) -> None:
        self._peers[event.peer] = PeerStats(
            peer=event.peer, name=shown(event.name), joined_at_ns=self._now_ns
        )
        self._present.add(event.peer)
        self.stats.peers_max = max(self.stats.peers_max, len(self._present))

    def _left(self, event: events.PeerLeft, _entity: str) -> None:
        peer = self._peers[event.peer]
        peer.left_at_ns, peer.left_because = self._now_ns, event.reason
        self._present.discard(event.peer)
        self._count_closing("peer", event.reason)

    def _detached(self, event: events.PeerDetached, _entity: str) -> None:
        self._peers[event.peer].sockets_lost += 1

    def _attached(self, event: events.PeerAttached, _entity: str) -> None:
        self._peers[event.peer].reconnects += 1

    def _transport_added(self, event: events.TransportAdded, _entity: str) -> None:
        self._owners[event.transport] = event.peer

    def _producer_added(self, event: events.ProducerAdded, _entity: str) -> None:
        self._owners[event.producer] = event.peer
        self._producers[event.producer] = _Stream(event.peer, event.transport, event.producer)
        self._peers[event.peer].producers += 1
        self._begin_stream("producer", event.producer, event.kind, event)
        self.stats.producers_max = max(self.stats.producers_max, len(self._producers))

    def _consumer_added(self, event: events.ConsumerAdded, _entity: str) -> None:
        self._owners[event.consumer] = event.peer
        self._consumers[event.consumer] = _Stream(event.peer, event.transport, event.producer)
        self._peers[event.peer].consumers += 1
        self._begin_stream("consumer", event.consumer, self._kinds[event.producer], event)
        self.stats.consumers_max = max(self.stats.consumers_max, len(self._consumers))

    def _transport_removed(self, event: events.TransportRemoved, _entity: str) -> None:
        self._connected.discard(event.transport)
        self._count_closing("transport", event.reason)

    def _producer_removed(self, event: events.ProducerRemoved, _entity: str) -> None:
        self._producers.pop(event.producer, None)
        self._end_stream(event.producer, event.reason)
        self._count_closing("producer", event.reason)

    def _consumer_removed(self, event: events.ConsumerRemoved, _entity: str) -> None:
        self._consumers.pop(event.consumer, None)
        self._end_stream(event.consumer, event.reason)
        self._count_closing("consumer", event.reason)

    def _plane_detached(self, _event: events.PlaneDetached, _entity: str) -> None:
        self.stats.plane_losses += 1

    def _streaming_started(self, _event: events.StreamingStarted, _entity: str) -> None:
        self._live_since_ns = self._now_ns

    def _streaming_stopped(self, _event: events.StreamingStopped, _entity: str) -> None:
        if self._live_since_ns is not None:
            self.stats.live_ns += self._now_ns - self._live_since_ns
            self._live_since_ns = None

    def _closed(self, event: events.RoomClosed, _entity: str) -> None:
        self.stats.closed_at_ns, self.stats.closed_because = self._now_ns, event.reason

    # Any actor's.

    def _refused(self, event: events.CommandRefused, _entity: str) -> None:
        _count(self.stats.refusals, event.code)
        asked = None if self._message is None else payload(self._message.data)
        peer = self._peers.get(str(asked.get("peer"))) if isinstance(asked, dict) else None
        if peer is not None:
            _count(peer.refusals, event.code)

    def _failed(self, _event: events.ActorFailed, _entity: str) -> None:
        self.stats.actor_failures += 1

    # Transports', producers' and consumers'.

    def _ice_changed(self, event: events.IceChanged, transport: str) -> None:
        self._peer_of(transport).ice_disconnects += event.state == "disconnected"

    def _ice_restarting(self, _event: events.IceRestarting, transport: str) -> None:
        self._peer_of(transport).ice_restarts += 1

    def _dtls_connected(self, _event: events.DtlsConnected, transport: str) -> None:
        peer = self._peer_of(transport)
        if peer.connected_ns is None:
            peer.connected_ns = self._now_ns - peer.joined_at_ns
        self._connected.add(transport)
        self._look_for_media(lambda consumer: consumer.transport == transport)

    def _producer_active(self, event: events.ProducerActive, producer: str) -> None:
        stream = self._producers.get(producer)
        if stream is None:
            return
        stream.flows = event.active
        peer = self._peer_of(producer)
        if event.active and peer.first_media_sent_ns is None:
            peer.first_media_sent_ns = self._now_ns - peer.joined_at_ns
        self._look_for_media(lambda consumer: consumer.producer == producer)

    def _producer_paused(self, event: events.ProducerPaused, _entity: str) -> None:
        self._peers[event.peer].producer_pauses += 1

    def _keyframe_asked(self, _event: events.KeyFrameAsked, producer: str) -> None:
        self._peer_of(producer).keyframes_asked_of += 1

    def _consumer_opened(self, event: events.ConsumerOpened, consumer: str) -> None:
        if (stream := self._consumers.get(consumer)) is not None:
            stream.producer_paused = event.producer_paused

    def _consumer_paused(self, event: events.ConsumerPaused, consumer: str) -> None:
        self._peers[event.peer].consumer_pauses += event.by == "viewer"
        self._set_paused(consumer, event.by, paused=True)

    def _consumer_resumed(self, event: events.ConsumerResumed, consumer: str) -> None:
        self._set_paused(consumer, event.by, paused=False)
        stream = self._consumers.get(consumer)
        self._look_for_media(lambda each: each is stream)

    def _layers_changed(self, event: events.ConsumerLayersChanged, consumer: str) -> None:
        """The plane begins to send video at a keyframe alone, so this is when one was sent."""
        figures = self._figures.get(consumer)
        if figures is None or event.spatial_layer is None or figures.first_key_frame_ns is not None:
            return
        figures.first_key_frame_ns = self._now_ns - figures.added_at_ns
        peer = self._peers[event.peer]
        if peer.first_key_frame_ns is None:
            peer.first_key_frame_ns = self._now_ns - peer.joined_at_ns

    def _freeze_changed(self, event: events.ConsumerFreezeChanged, consumer: str) -> None:
        if event.frozen and (figures := self._figures.get(consumer)) is not None:
            figures.freezes += 1
            self._peers[event.peer].freezes += 1

    def _viewer_asked(self, _event: events.ViewerAskedKeyFrame, consumer: str) -> None:
        self._peer_of(consumer).keyframes_requested += 1

    def _set_paused(self, consumer: str, by: str, *, paused: bool) -> None:
        stream = self._consumers.get(consumer)
        if stream is None:
            return
        if by == "viewer":
            stream.viewer_paused = paused
        else:
            stream.producer_paused = paused

    def _look_for_media(self, chosen: Callable[[_Stream], bool]) -> None:
        """Note who receives from now on, among consumers that something has happened to."""
        for consumer in self._consumers.values():
            peer = self._peers[consumer.peer]
            if peer.first_media_received_ns is not None or not chosen(consumer):
                continue
            source = self._producers.get(consumer.producer)
            if (
                source is not None
                and source.flows
                and consumer.transport in self._connected
                and not (consumer.viewer_paused or consumer.producer_paused)
            ):
                peer.first_media_received_ns = self._now_ns - peer.joined_at_ns

    def _begin_stream(
        self, sort: Literal["producer", "consumer"], entity: str, kind: Kind, event: Any
    ) -> None:
        self._kinds[entity] = kind
        figures = self._figures[entity] = StreamStats(
            sort=sort,
            id=entity,
            kind=kind,
            transport=event.transport,
            producer=event.producer,
            added_at_ns=self._now_ns,
        )
        self._peers[event.peer].streams.append(figures)

    def _end_stream(self, entity: str, reason: str) -> None:
        if (figures := self._figures.pop(entity, None)) is not None:
            figures.removed_at_ns, figures.removed_because = self._now_ns, reason

    def _peer_of(self, entity: str) -> PeerStats:
        return self._peers[self._owners[entity]]

    def _count_closing(self, kind: str, reason: str) -> None:
        _count(self.stats.closings.setdefault(kind, {}), reason)


_TAKES: dict[str, Callable[[Collector, Any, str], None]] = {
    "PeerJoined": Collector._joined,
    "PeerLeft": Collector._left,
    "PeerDetached": Collector._detached,
    "PeerAttached": Collector._attached,
    "TransportAdded": Collector._transport_added,
    "ProducerAdded": Collector._producer_added,
    "ConsumerAdded": Collector._consumer_added,
    "TransportRemoved": Collector._transport_removed,
    "ProducerRemoved": Collector._producer_removed,
    "ConsumerRemoved": Collector._consumer_removed,
    "PlaneDetached": Collector._plane_detached,
    "StreamingStarted": Collector._streaming_started,
    "StreamingStopped": Collector._streaming_stopped,
    "RoomClosed": Collector._closed,
    "CommandRefused": Collector._refused,
    "ActorFailed": Collector._failed,
    "IceChanged": Collector._ice_changed,
    "IceRestarting": Collector._ice_restarting,
    "DtlsConnected": Collector._dtls_connected,
    "ProducerActive": Collector._producer_active,
    "ProducerPaused": Collector._producer_paused,
    "KeyFrameAsked": Collector._keyframe_asked,
    "ConsumerOpened": Collector._consumer_opened,
    "ConsumerPaused": Collector._consumer_paused,
    "ConsumerResumed": Collector._consumer_resumed,
    "ConsumerLayersChanged": Collector._layers_changed,
    "ConsumerFreezeChanged": Collector._freeze_changed,
    "ViewerAskedKeyFrame": Collector._viewer_asked,
}


def sessions(envelopes: Iterable[Envelope]) -> Iterator[SessionStats]:
    """The figures of each session of a log, in order; each begins with its `OpenRoom`."""
    collector: Collector | None = None
    for envelope in envelopes:
        if collector is None or (envelope.type == "OpenRoom" and envelope.kind == "message"):
            if collector is not None:
                yield collector.finish()
            collector = Collector(envelope)
        collector.take(envelope)
    if collector is not None:
        yield collector.finish()


def _count(counts: dict[str, int], word: str) -> None:
    counts[word] = counts.get(word, 0) + 1
