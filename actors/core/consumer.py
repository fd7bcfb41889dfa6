"""The consumer's decider: one viewer's copy of a producer.

It sends nothing while its viewer or its producer has paused it; it starts
paused by its viewer (mediasoup's advice, so that no keyframe is missed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from actors.core.decider import NOTHING, Act, Context, Decider, Decision, Reply, ReplyStats, Tell
from protocol import events
from protocol.answers import Consumed, Done
from protocol.commands import (
    CloseConsumer,
    PauseConsumer,
    QueryConsumer,
    RequestConsumerKeyFrame,
    ResumeConsumer,
    SetPreferredLayers,
    SetPriority,
)
from protocol.ids import ROOM, consumer_address
from protocol.messages import ChildClosed, Close, FaultNoticed, OpenConsumer, ProducerPauseChanged
from protocol.notices import ConsumerFrozen, ConsumerScore, LayersChanged, OrderRefused
from protocol.notifications import REQUESTED
from protocol.orders import RequestKeyFrame, Row, SetConsumer
from protocol.refusals import Refusal, RefusalCode


class ConsumerState(Struct, kw_only=True):
    """State of a consumer; without a row until it is opened."""

    peer: str = ""
    row: SetConsumer | None = None
    viewer_paused: bool = True
    producer_paused: bool = False
    preferred_spatial_layer: int | None = None
    preferred_temporal_layer: int | None = None
    priority: int = 1
    """Among the consumers of its transport, 1 to 255."""
    spatial_layer: int | None = None
    temporal_layer: int | None = None
    score: int | None = None
    producer_score: int | None = None
    frozen: bool = False
    """Nothing reaches the viewer though its producer sends."""
    closed: str | None = None
    """Why it is closed."""


_COMMANDS = (
    ResumeConsumer,
    PauseConsumer,
    CloseConsumer,
    RequestConsumerKeyFrame,
    SetPreferredLayers,
    SetPriority,
    QueryConsumer,
)


def _decide(state: ConsumerState, message: Any, _context: Context) -> Decision | Refusal:
    if isinstance(message, OpenConsumer):
        return _open(message)
    if state.row is None or state.closed is not None:
        return NOTHING
    consumer = state.row.consumer
    if isinstance(message, _COMMANDS):
        if message.peer != state.peer:
            return Refusal(RefusalCode.FORBIDDEN, "the consumer is another peer's")
        return _command(state, consumer, message)
    match message:
        case ProducerPauseChanged(paused=paused):
            if paused == state.producer_paused:
                return NOTHING
            kind = events.ConsumerPaused if paused else events.ConsumerResumed
            return Decision((kind(consumer=consumer, peer=state.peer, by="producer"),))
        case LayersChanged():
            changed = events.ConsumerLayersChanged(
                consumer=consumer,
                peer=state.peer,
                spatial_layer=message.spatial_layer,
                temporal_layer=message.temporal_layer,
                reason=message.reason,
                keyframe_age_ns=message.keyframe_age_ns,
            )
            return Decision((changed,))
        case ConsumerScore(score=score, producer_score=producer_score):
            if (score, producer_score) == (state.score, state.producer_score):
                return NOTHING
            scored = events.ConsumerScored(
                consumer=consumer, peer=state.peer, score=score, producer_score=producer_score
            )
            return Decision((scored,))
        case ConsumerFrozen(frozen=frozen):
            if frozen == state.frozen:
                return NOTHING
            froze = events.ConsumerFreezeChanged(consumer=consumer, peer=state.peer, frozen=frozen)
            if not frozen:
                return Decision((froze,))
            fault = FaultNoticed(transport=state.row.transport, reason="consumer_frozen")
            return Decision((froze,), (Tell(ROOM, fault),))
        case OrderRefused():
            return _close(consumer, "order_refused")
        case Close(reason=reason):
            return Decision((events.ConsumerClosed(reason=reason),))
        case _:
            raise AssertionError(f"a consumer takes no {type(message).__name__}")


def _open(message: OpenConsumer) -> Decision:
    opened = events.ConsumerOpened(
        peer=message.peer,
        type=message.type,
        rtp_parameters=message.rtp_parameters,
        row=message.row,
        producer_paused=message.producer_paused,
    )
    answer = Consumed(
        id=message.row.consumer,
        producer=message.row.producer,
        kind=message.row.kind,
        rtp_parameters=message.rtp_parameters,
        type=message.type,
        producer_paused=message.producer_paused,
    )
    return Decision((opened,), (Reply(answer),))


def _command(state: ConsumerState, consumer: str, command: Any) -> Decision:
    done = Reply(Done())
    match command:
        case ResumeConsumer() if state.viewer_paused:
            resumed = events.ConsumerResumed(consumer=consumer, peer=state.peer, by="viewer")
            return Decision((resumed,), (done,))
        case PauseConsumer() if not state.viewer_paused:
            paused = events.ConsumerPaused(consumer=consumer, peer=state.peer, by="viewer")
            return Decision((paused,), (done,))
        case CloseConsumer():
            closing = _close(consumer, REQUESTED)
            return Decision(closing.events, (*closing.effects, done))
        case RequestConsumerKeyFrame():
            asked = events.ViewerAskedKeyFrame(consumer=consumer)
            return Decision((asked,), (Act(RequestKeyFrame(consumer=consumer)), done))
        case SetPreferredLayers(spatial_layer=spatial, temporal_layer=temporal):
            if (spatial, temporal) == (
                state.preferred_spatial_layer,
                state.preferred_temporal_layer,
            ):
                return Decision(effects=(done,))
            preferred = events.ConsumerLayersPreferred(
                spatial_layer=spatial, temporal_layer=temporal
            )
            return Decision((preferred,), (done,))
        case SetPriority(priority=priority) if priority != state.priority:
            return Decision((events.ConsumerPrioritized(priority=priority),), (done,))
        case QueryConsumer():
            return Decision(effects=(_stats(state),))
        case _:
            return Decision(effects=(done,))


def _stats(state: ConsumerState) -> ReplyStats:
    assert state.row is not None
    return ReplyStats(state.row.consumer, state.row.kind, state.row.transport)


def _close(consumer: str, reason: str) -> Decision:
    child = consumer_address(consumer)
    return Decision(
        (events.ConsumerClosed(reason=reason),),
        (Tell(ROOM, ChildClosed(child=child, reason=reason)),),
    )


def _evolve(state: ConsumerState, event: Any) -> ConsumerState:
    match event:
        case events.ConsumerScored():  # by far the most frequent
            state.score = event.score
            state.producer_score = event.producer_score
        case events.ConsumerOpened():
            state.peer = event.peer
            state.row = event.row
            state.priority = event.row.priority
            state.producer_paused = event.producer_paused
        case events.ConsumerPaused(by="viewer"):
            state.viewer_paused = True
        case events.ConsumerPaused():
            state.producer_paused = True
        case events.ConsumerResumed(by="viewer"):
            state.viewer_paused = False
        case events.ConsumerResumed():
            state.producer_paused = False
        case events.ConsumerLayersPreferred():
            state.preferred_spatial_layer = event.spatial_layer
            state.preferred_temporal_layer = event.temporal_layer
        case events.ConsumerPrioritized(priority=priority):
            state.priority = priority
        case events.ConsumerLayersChanged():
            state.spatial_layer = event.spatial_layer
            state.temporal_layer = event.temporal_layer
        case events.ConsumerFreezeChanged(frozen=frozen):
            state.frozen = frozen
        case events.ConsumerClosed(reason=reason):
            state.closed = reason
    return state


def _rows(state: ConsumerState) -> tuple[Row, ...]:
    if state.row is None or state.closed is not None:
        return ()
    return (
        replace(
            state.row,
            paused=state.viewer_paused or state.producer_paused,
            spatial_layer=state.preferred_spatial_layer,
            temporal_layer=state.preferred_temporal_layer,
            priority=state.priority,
        ),
    )


def _deadlines(_state: ConsumerState) -> Mapping[str, int]:
    return {}


CONSUMER = Decider(
    initial=ConsumerState,
    decide=_decide,
    evolve=_evolve,
    rows=_rows,
    deadlines=_deadlines,
    ended=lambda state: state.closed is not None,
)
"""The decider of consumers."""
