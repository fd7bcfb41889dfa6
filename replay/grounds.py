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
from replay.bandwidth import way_about
from replay.errors import LogNotUnderstood
from replay.fold import event_of
from replay.history import History
from replay.keyframes import asked_for
from replay.reader import LogReader

_BESIDE_MAX = 6
"""Other videos of a transport that are told one by one."""


def grounds(reader: LogReader, history: History, envelope: Envelope) -> str | None:
    """Why layers changed, or for whom a keyframe was asked for, in half a sentence.

    None for what needs no state to be understood.

    Folds the log up to the envelope, with which `reader` has the estimates around it.
    """
    is_asked = envelope.type == events.KeyFrameAsked.__name__
    is_changed = envelope.type == events.ConsumerLayersChanged.__name__
    if envelope.kind != "event" or not (is_asked or is_changed):
        return None
    try:
        event = event_of(envelope)
        states: Any = history.at(envelope.position - 1).states
    except LogNotUnderstood:
        return None
    if is_asked:
        return asked_for(reader, history.room, envelope, states)
    layer, reason = event.spatial_layer, event.reason
    consumer = states.get(envelope.actor)
    if consumer is None or consumer.row is None:
        return None
    producer = states.get(producer_address(consumer.row.producer))
    transport = states.get(transport_address(consumer.row.transport))
    if reason == "bandwidth":
        row = consumer.row
        way = way_about(reader, history.room, row.transport, envelope.position, envelope.at_ns)
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
        return f"a keyframe of the higher layer {layer} came; {limit}"
    if wanted is not None and wanted < before:
        return f"its viewer wants at most layer {wanted}, and a keyframe of layer {layer} came"
    scores = "" if producer is None or not producer.scores else f"; scores {producer.scores}"
    return f"layer {before} does not flow any more, and a keyframe of layer {layer} came{scores}"


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
    ranked = sorted(beside, key=lambda other: (-other.priority, -_height(other)))
    shown = [f"priority {other.priority} has {_layer(other)}" for other in ranked[:_BESIDE_MAX]]
    more = len(ranked) - len(shown)
    others = ", ".join([*shown, f"{more} more"] if more else shown)
    return f"{told}; of the other videos of its transport: {others}"


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
