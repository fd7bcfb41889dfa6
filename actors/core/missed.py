"""What an actor did not hear of while nobody listened to the plane, told as notices.

When a control process takes over a living plane, its actors know what stands in the log. What the
plane said since is lost in part: it was on its way to the process that died. So the plane describes
how its entries stand, and where that is not what an actor believes, the actor gets the notice that
it would have had. It is journaled like any other, without a cause, for it comes from outside.

Keyframe requests are not told: how many went meanwhile, nobody kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.core.consumer import ConsumerState
from actors.core.producer import BoundStream, ProducerState
from protocol.notices import (
    ConsumerFrozen,
    ConsumerScore,
    LayersChanged,
    Notice,
    ProducerActivityChanged,
    ProducerDemandChanged,
    ProducerScore,
    ProducerStreamLearned,
)
from protocol.orders import ConsumerEntry, ProducerEntry


def missed_by_producer(state: ProducerState, entry: ProducerEntry) -> Iterator[Notice]:
    """Yield notices that bring a producer to where the plane has it."""
    if state.row is None or state.closed is not None:
        return
    producer = entry.producer
    announced = state.row.encodings
    for place, (known, row) in enumerate(zip(entry.encodings, announced, strict=False)):
        if known.ssrc is None:
            continue
        believed = state.bound.get(str(place))
        if believed is None and row.ssrc is not None:
            believed = BoundStream(row.ssrc, row.rtx_ssrc)
        if believed != BoundStream(known.ssrc, known.rtx_ssrc):
            yield ProducerStreamLearned(
                producer=producer, encoding=place, ssrc=known.ssrc, rtx_ssrc=known.rtx_ssrc
            )
    if entry.active != state.active:
        yield ProducerActivityChanged(producer=producer, active=entry.active)
    if entry.demand != state.demand:
        yield ProducerDemandChanged(producer=producer, spatial_layer=entry.demand)
    if entry.scores != state.scores and (state.scores or any(entry.scores)):
        yield ProducerScore(producer=producer, scores=entry.scores)


def missed_by_consumer(state: ConsumerState, entry: ConsumerEntry) -> Iterator[Notice]:
    """Yield notices that bring a consumer to where the plane has it."""
    if state.row is None or state.closed is not None:
        return
    consumer = entry.consumer
    if (entry.spatial_layer, entry.temporal_layer) != (state.spatial_layer, state.temporal_layer):
        yield LayersChanged(
            consumer=consumer,
            spatial_layer=entry.spatial_layer,
            temporal_layer=entry.temporal_layer,
            reason=entry.reason,
        )
    if entry.frozen != state.frozen:
        yield ConsumerFrozen(consumer=consumer, frozen=entry.frozen)
    if entry.score is not None and entry.score != state.score:
        yield ConsumerScore(
            consumer=consumer, score=entry.score, producer_score=entry.producer_score
        )
