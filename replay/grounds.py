"""On what grounds the plane chose what it sends a viewer: the event, seen with the state before it.

The plane sends the best layer that flows and that the viewer wants, and begins and switches at
keyframes alone. So the state before a change says what made the difference.
"""

from __future__ import annotations

from typing import Any

from actors.core.consumer import ConsumerState
from protocol import events
from protocol.envelope import Envelope
from protocol.ids import producer_address, transport_address
from replay.bandwidth import told_before, way_about
from replay.errors import LogNotUnderstood
from replay.fold import event_of
from replay.history import History
from replay.keyframes import asked_for, wanted_of
from replay.reader import LogReader

_KNOWN = frozenset(
    one.__name__
    for one in (
        events.KeyFrameAsked,
        events.ConsumerLayersChanged,
        events.BandwidthChanged,
        events.ProducerDemandNoted,
    )
)
_BESIDE_MAX = 6
"""Other videos of a transport that are told one by one."""


def grounds(reader: LogReader, history: History, envelope: Envelope) -> str | None:
    """On what grounds something was decided, in half a sentence.

    Why layers changed, for whom a keyframe was asked for, what a viewer's way took before and who
    uses it, who wants which layers. None for what needs no state to be understood.

    Folds the log up to the envelope, with which `reader` has the estimates around it.
    """
    if envelope.kind != "event" or envelope.type not in _KNOWN:
        return None
    try:
        event = event_of(envelope)
        states: Any = history.at(envelope.position - 1).states
    except LogNotUnderstood:
        return None
    match event:
        case events.KeyFrameAsked():
            return asked_for(reader, history.room, envelope, states)
        case events.BandwidthChanged():
            return _way(reader, history.room, envelope, event, states)
        case events.ProducerDemandNoted():
            return wanted_of(states, event.producer)
    consumer = states.get(envelope.actor)
    if consumer is None or consumer.row is None:
        return None
    return _layers(reader, history.room, envelope, event, states)


def _layers(reader: LogReader, room: str, envelope: Envelope, event: Any, states: Any) -> str:
    """Why a consumer is sent these layers."""
    layer, reason = event.spatial_layer, event.reason
    consumer = states[envelope.actor]
    producer = states.get(producer_address(consumer.row.producer))
    transport = states.get(transport_address(consumer.row.transport))
    if reason == "bandwidth":
        row = consumer.row
        way = way_about(reader, room, row.transport, envelope.position, envelope.at_ns)
        parts = (_change(consumer, event), way, _short(consumer, states))
        return "; ".join(part for part in parts if part)
    if layer is None:
        return _nothing(consumer, producer, transport)
    wanted = consumer.preferred_spatial_layer
    limit = "its viewer set no limit" if wanted is None else f"its viewer wants at most {wanted}"
    before = consumer.spatial_layer
    if event.keyframe_age_ns is not None:
        return (
            f"the last keyframe of layer {layer} was in the cache, and all that followed: "
            f"its publisher was not asked; {limit}"
        )
    if before is None:
        return f"a keyframe of layer {layer} came, with which it can begin; {limit}"
    if layer > before:
        row = consumer.row
        way = way_about(reader, room, row.transport, envelope.position, envelope.at_ns)
        return f"a keyframe of the higher layer {layer} came; {limit}{way and f'; {way}'}"
    if layer == before:
        return f"{_temporal(consumer, event)}; {limit}"
    if wanted is not None and wanted < before:
        return f"its viewer wants at most layer {wanted}, and a keyframe of layer {layer} came"
    scores = "" if producer is None or not producer.scores else f"; scores {producer.scores}"
    return f"layer {before} does not flow any more, and a keyframe of layer {layer} came{scores}"


def _temporal(consumer: Any, event: Any) -> str:
    """Only the layers inside of the one that is sent changed."""
    before, now = consumer.temporal_layer, event.temporal_layer
    if before is None or now is None or now == before:
        return f"within layer {event.spatial_layer} its frame rate changed"
    if now > before:
        return (
            f"of layer {event.spatial_layer} it had no more than temporal layer {before}, as who"
            " catches up or has little bandwidth"
        )
    return f"of layer {event.spatial_layer} it had temporal layer {before}"


def _way(reader: LogReader, room: str, envelope: Envelope, event: Any, states: Any) -> str:
    """What a viewer's way took before, and who uses it now."""
    before = told_before(reader, room, envelope)
    told = [] if before is None else [_moved(before, envelope, event)]
    consumers = [
        other
        for other in states.values()
        if isinstance(other, ConsumerState)
        and other.row is not None
        and transport_address(other.row.transport) == envelope.actor
        and not (other.viewer_paused or other.producer_paused)
    ]
    videos = [one for one in consumers if one.row is not None and one.row.kind == "video"]
    sounds = len(consumers) - len(videos)
    if videos:
        told.append(f"of its videos {_ranked(videos)}")
    if sounds:
        told.append(f"audio comes first ({sounds})")
    return "; ".join(told) or "nothing is sent over it"


def _moved(before: tuple[int, Any], envelope: Envelope, event: Any) -> str:
    at_ns, said = before
    share = event.bitrate_bps / max(said.bitrate_bps, 1)
    verb = "fell" if share < 0.995 else "rose" if share > 1.005 else "stayed"
    was = f"{said.bitrate_bps // 1000} kbit/s {(envelope.at_ns - at_ns) / 1e9:.1f} s before"
    return f"it was told as {was}" if verb == "stayed" else f"it {verb} from {was}"


def _change(consumer: Any, event: Any) -> str:
    """From which layers to which."""
    before, layer = consumer.spatial_layer, event.spatial_layer
    if layer is None:
        return "" if before is None else f"it had layer {before}"
    if before is None:
        return "it had nothing"
    if layer != before:
        return f"it {'fell' if layer < before else 'rose'} from layer {before} to {layer}"
    return f"of layer {layer} it had temporal layer {consumer.temporal_layer}"


def _short(consumer: Any, states: Any) -> str:
    """Its transport carries no more: what was given to whom, the highest priority first."""
    beside = [
        other
        for other in states.values()
        if isinstance(other, ConsumerState)
        and other is not consumer
        and other.row is not None
        and other.row.transport == consumer.row.transport
        and other.row.kind == "video"
        and not (other.viewer_paused or other.producer_paused)
    ]
    told = f"its priority is {consumer.priority}"
    if not beside:
        return f"{told}, and no other video shares its transport"
    return f"{told}; of the other videos of its transport: {_ranked(beside)}"


def _ranked(videos: list[ConsumerState]) -> str:
    """What each has, the highest priority first."""
    ranked = sorted(videos, key=lambda other: (-other.priority, -_height(other)))
    shown = [f"priority {other.priority} has {_layer(other)}" for other in ranked[:_BESIDE_MAX]]
    more = len(ranked) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _height(consumer: Any) -> int:
    return -1 if consumer.spatial_layer is None else int(consumer.spatial_layer)


def _layer(consumer: Any) -> str:
    return "nothing" if consumer.spatial_layer is None else f"layer {consumer.spatial_layer}"


def _nothing(consumer: Any, producer: Any, transport: Any) -> str:
    if consumer.viewer_paused:
        return "its viewer paused it"
    if consumer.producer_paused:
        return "its publisher paused the producer"
    if transport is None or transport.ice_state != "connected":
        return "its transport cannot send"
    if producer is None or not producer.active:
        return "no packets of its producer come"
    return "the layer that was sent is gone, and no keyframe of another has come"
