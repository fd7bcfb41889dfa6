"""What a plane in memory knows of its producers and consumers beyond their rows."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from protocol.negotiation import top_spatial_layer
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
from protocol.orders import (
    ConsumerEntry,
    EncodingEntry,
    ProducerEncoding,
    ProducerEntry,
    SetProducer,
)


class FakeEntries:
    """Follows what is said of producers and consumers, and describes them as a plane does."""

    def __init__(self) -> None:
        self._producers: dict[str, ProducerEntry] = {}
        self._consumers: dict[str, ConsumerEntry] = {}
        self._demand: dict[str, int | None] = {}
        self._learned: dict[str, dict[int, EncodingEntry]] = {}

    def note(self, notice: Notice) -> None:
        """Keep what a notice says."""
        match notice:
            case ProducerStreamLearned(producer=name, encoding=place):
                known = EncodingEntry(ssrc=notice.ssrc, rtx_ssrc=notice.rtx_ssrc)
                self._learned.setdefault(name, {})[place] = known
            case ProducerActivityChanged(producer=name, active=active):
                self._producers[name] = replace(self._producer(name), active=active)
            case ProducerDemandChanged(producer=name, spatial_layer=layer):
                self._demand[name] = layer
            case ProducerScore(producer=name, scores=scores):
                self._producers[name] = replace(self._producer(name), scores=scores)
            case LayersChanged(consumer=name):
                self._consumers[name] = replace(
                    self._consumer(name),
                    spatial_layer=notice.spatial_layer,
                    temporal_layer=notice.temporal_layer,
                    reason=notice.reason or "preferred",
                )
            case ConsumerFrozen(consumer=name, frozen=frozen):
                self._consumers[name] = replace(self._consumer(name), frozen=frozen)
            case ConsumerScore(consumer=name, score=score, producer_score=producer_score):
                self._consumers[name] = replace(
                    self._consumer(name), score=score, producer_score=producer_score
                )

    def producers(self, rows: Iterable[SetProducer]) -> tuple[ProducerEntry, ...]:
        """Describe the producers of these rows."""
        return tuple(
            replace(
                self._producer(row.producer),
                demand=self._demand.get(row.producer, _top_layer(row)),
                scores=self._producer(row.producer).scores or (0,) * len(row.encodings),
                encodings=tuple(
                    self._learned.get(row.producer, {}).get(place, announced)
                    for place, announced in enumerate(map(_announced, row.encodings))
                ),
            )
            for row in rows
        )

    def consumers(self, names: Iterable[str]) -> tuple[ConsumerEntry, ...]:
        """Describe these consumers."""
        return tuple(map(self._consumer, names))

    def _producer(self, name: str) -> ProducerEntry:
        fresh = ProducerEntry(producer=name, active=False, demand=None, scores=(), encodings=())
        return self._producers.get(name, fresh)

    def _consumer(self, name: str) -> ConsumerEntry:
        fresh = ConsumerEntry(
            consumer=name,
            spatial_layer=None,
            temporal_layer=None,
            reason="preferred",
            frozen=False,
            score=None,
            producer_score=0,
        )
        return self._consumers.get(name, fresh)


def _announced(row: ProducerEncoding) -> EncodingEntry:
    return EncodingEntry(ssrc=row.ssrc, rtx_ssrc=row.rtx_ssrc)


def _top_layer(row: SetProducer) -> int:
    layered = top_spatial_layer([one.scalability_mode for one in row.encodings])
    return len(row.encodings) - 1 if layered is None else layered
