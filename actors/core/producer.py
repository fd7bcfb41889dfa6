"""The producer's decider: one published track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from actors.core.decider import NOTHING, Context, Decider, Decision, Reply, ReplyStats, Tell
from protocol import events
from protocol.answers import Done, Produced
from protocol.commands import CloseProducer, PauseProducer, QueryProducer, ResumeProducer
from protocol.ids import ROOM, producer_address
from protocol.messages import (
    ChildClosed,
    Close,
    FaultNoticed,
    OpenProducer,
    ProducerPauseChanged,
    ProducerWentLive,
)
from protocol.notices import (
    KeyFrameRequested,
    OrderRefused,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.notifications import REQUESTED
from protocol.orders import Row, SetProducer
from protocol.refusals import Refusal, RefusalCode


class BoundStream(Struct, frozen=True):
    """SSRCs of an encoding that were learned from its packets."""

    ssrc: int
    rtx_ssrc: int | None


class ProducerState(Struct, kw_only=True):
    """State of a producer; without a row until it is opened."""

    peer: str = ""
    row: SetProducer | None = None
    paused: bool = False
    active: bool = False
    demand: int | None = 0
    """The highest layer that its publisher was told to be wanted; None: none is."""
    resting: bool = False
    """It fell silent when nobody took it, and no packet came since."""
    bound: dict[str, BoundStream] = {}
    """By index of the encoding, in digits."""
    scores: tuple[int, ...] = ()
    closed: str | None = None
    """Why it is closed."""


def _decide(state: ProducerState, message: Any, _context: Context) -> Decision | Refusal:
    if isinstance(message, OpenProducer):
        opened = events.ProducerOpened(
            peer=message.peer, row=message.row, top_layer=message.top_layer
        )
        return Decision((opened,), (Reply(Produced(id=message.row.producer)),))
    if state.row is None or state.closed is not None:
        return NOTHING
    producer = state.row.producer
    match message:
        case PauseProducer() | ResumeProducer() | CloseProducer() | QueryProducer():
            if message.peer != state.peer:
                return Refusal(RefusalCode.FORBIDDEN, "the producer is another peer's")
            return _command(state, producer, message)
        case ProducerStreamLearned():
            bound = events.ProducerStreamBound(
                encoding=message.encoding, ssrc=message.ssrc, rtx_ssrc=message.rtx_ssrc
            )
            return Decision((bound,))
        case ProducerActivityChanged(active=active):
            return _activity(state, state.row, active=active)
        case ProducerDemandChanged(spatial_layer=layer):
            if layer == state.demand:
                return NOTHING
            changed = events.ProducerDemandNoted(
                producer=producer, peer=state.peer, spatial_layer=layer
            )
            return Decision((changed,))
        case ProducerScore(scores=scores):
            if scores == state.scores:
                return NOTHING
            scored = events.ProducerScored(producer=producer, peer=state.peer, scores=scores)
            return Decision((scored,))
        case KeyFrameRequested():
            asked = events.KeyFrameAsked(
                encoding=message.encoding, requests=message.requests, causes=message.causes
            )
            if not message.storm:
                return Decision((asked,))
            fault = FaultNoticed(transport=state.row.transport, reason="keyframe_storm")
            return Decision((asked,), (Tell(ROOM, fault),))
        case OrderRefused():
            return _close(producer, "order_refused")
        case Close(reason=reason):
            return Decision((events.ProducerClosed(reason=reason),))
        case _:
            raise AssertionError(f"a producer takes no {type(message).__name__}")


def _activity(state: ProducerState, row: SetProducer, *, active: bool) -> Decision:
    """Silence is a fault unless the publisher paused, or was told that nobody takes it."""
    missed = state.resting and state.demand is not None  # asked for, and it does not come
    if active == state.active and not (missed and not active):
        return NOTHING
    news: ProducerWentLive | FaultNoticed | None = None
    if active:
        news = ProducerWentLive(producer=row.producer)
    elif not state.paused and state.demand is not None:
        news = FaultNoticed(transport=row.transport, reason="publisher_silent")
    told = () if news is None else (Tell(ROOM, news),)
    return Decision((events.ProducerActive(active=active),), told)


def _command(
    state: ProducerState,
    producer: str,
    command: PauseProducer | ResumeProducer | CloseProducer | QueryProducer,
) -> Decision:
    done = Reply(Done())
    match command:
        case PauseProducer() if not state.paused:
            told = Tell(ROOM, ProducerPauseChanged(producer=producer, paused=True))
            paused = events.ProducerPaused(producer=producer, peer=state.peer)
            return Decision((paused,), (done, told))
        case ResumeProducer() if state.paused:
            told = Tell(ROOM, ProducerPauseChanged(producer=producer, paused=False))
            resumed = events.ProducerResumed(producer=producer, peer=state.peer)
            return Decision((resumed,), (done, told))
        case CloseProducer():
            closing = _close(producer, REQUESTED)
            return Decision(closing.events, (*closing.effects, done))
        case QueryProducer():
            return Decision(effects=(_stats(state),))
        case _:
            return Decision(effects=(done,))


def _stats(state: ProducerState) -> ReplyStats:
    assert state.row is not None
    return ReplyStats(state.row.producer, state.row.kind, state.row.transport)


def _close(producer: str, reason: str) -> Decision:
    child = producer_address(producer)
    return Decision(
        (events.ProducerClosed(reason=reason),),
        (Tell(ROOM, ChildClosed(child=child, reason=reason)),),
    )


def _evolve(state: ProducerState, event: Any) -> ProducerState:
    match event:
        case events.ProducerScored(scores=scores):  # by far the most frequent
            state.scores = scores
        case events.ProducerOpened():
            state.peer = event.peer
            state.row = event.row
            state.paused = event.row.paused
            top = len(event.row.encodings) - 1
            state.demand = top if event.top_layer is None else event.top_layer
        case events.ProducerStreamBound():
            stream = BoundStream(event.ssrc, event.rtx_ssrc)
            state.bound = {**state.bound, str(event.encoding): stream}
        case events.ProducerActive(active=active):
            state.active = active
            state.resting = not active and state.demand is None
        case events.ProducerDemandNoted(spatial_layer=layer):
            state.demand = layer
        case events.ProducerPaused():
            state.paused = True
        case events.ProducerResumed():
            state.paused = False
        case events.ProducerClosed(reason=reason):
            state.closed = reason
    return state


def _rows(state: ProducerState) -> tuple[Row, ...]:
    if state.row is None or state.closed is not None:
        return ()
    return (replace(state.row, paused=state.paused),)


def _deadlines(_state: ProducerState) -> Mapping[str, int]:
    return {}


PRODUCER = Decider(
    initial=ProducerState,
    decide=_decide,
    evolve=_evolve,
    rows=_rows,
    deadlines=_deadlines,
    ended=lambda state: state.closed is not None,
)
"""The decider of producers."""
