"""What telemetry says of a session that is made into a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from protocol.script import Figures
from replay.errors import ReplayError
from replay.session_figures import Quality
from replay.store.errors import StoreError
from replay.telemetry import Entity, Folded, Telemetry

_POINTS = 500


class Measured(Protocol):
    """Bitrates and losses by the ids of a session."""

    def sent(self, producer: str) -> Sequence[float | None]:
        """Mean bitrate of each encoding while it was sent, in bits a second."""
        ...

    def received(self, peer: str, figures: Figures) -> None:
        """Fill in what a peer received."""
        ...


class _Nothing:
    """Of a session without telemetry."""

    def sent(self, producer: str) -> Sequence[float | None]:  # noqa: ARG002 - nothing is known
        return ()

    def received(self, peer: str, figures: Figures) -> None:
        pass


UNMEASURED: Measured = _Nothing()


class FromTelemetry:
    """The telemetry of a stretch of time."""

    def __init__(self, folded: Folded, qualities: Mapping[str, Quality]) -> None:
        self._folded = folded
        self._qualities = qualities
        self._encodings: dict[str, dict[int, Entity]] = {}
        for entity in folded.entities():
            if entity.kind == "producer":
                self._encodings.setdefault(entity.id, {})[entity.encoding] = entity

    def sent(self, producer: str) -> Sequence[float | None]:
        """Mean bitrate of each encoding while it was sent, in bits a second."""
        found = self._encodings.get(producer, {})
        if not found:
            return ()
        return [
            None if index not in found else self._mean(found[index])
            for index in range(max(found) + 1)
        ]

    def received(self, peer: str, figures: Figures) -> None:
        """Fill in what a peer received."""
        quality = self._qualities.get(peer)
        if quality is None or not quality.watched_s:
            return
        figures.packets = quality.packets
        figures.packets_lost = quality.packets_lost
        figures.received_bps = quality.bitrate_bps

    def _mean(self, entity: Entity) -> float | None:
        points = [p for p in self._folded.series(entity, "bitrate_bps") if p.max > 0]
        samples = sum(point.count for point in points)
        return sum(point.sum for point in points) / samples if samples else None


def telemetry_of(
    directory: Path,
    room: str,
    viewers: Mapping[str, Iterable[str]],
    producers: Iterable[str],
    stretch_ns: tuple[int, int],
) -> Measured:
    """The telemetry of a session, or nothing where there is none, or none that can be read."""
    since_ns, until_ns = stretch_ns
    try:
        telemetry = Telemetry(directory)
        span = telemetry.span(room)
        if span is None or span[1] < since_ns or span[0] > until_ns:
            return UNMEASURED
        qualities = telemetry.quality(room, viewers, since_ns, until_ns)
        folded = telemetry.fold(
            room,
            since_ns,
            until_ns,
            points=_POINTS,
            ids=set(producers),
            metrics=("bitrate_bps",),
        )
    except (StoreError, ReplayError):
        return UNMEASURED
    return FromTelemetry(folded, qualities)
