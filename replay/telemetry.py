"""What was measured: series over time, and how well each viewer was served.

The reader goes over the frames of a stretch of time in native code, which folds them into equal
buckets; so an hour of a room is drawn from a few hundred points with nothing lost of the extremes.
It never waits for the server that writes, nor lets it wait.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from media._native import TelemetryFold
from replay.errors import ReplayError
from replay.session_figures import Quality
from replay.side_store import reading
from replay.telemetry_store import LAYOUT, path_in

Kind = Literal["transport", "producer", "consumer"]

LEAD_NS = 62_000_000_000
"""How long before a stretch its frames are read from: a key frame comes once a minute."""

POINTS = 500

ALWAYS_NS = 2**63 - 1
"""Later than any frame."""


class Point(Struct, frozen=True):
    """What one metric did in one bucket of time."""

    at_ns: int
    """When its first sample was taken, nanoseconds since the Unix epoch."""
    count: int
    """Samples in it, one a second; buckets without any are left out."""
    min: float
    max: float
    sum: float
    last: float

    @property
    def mean(self) -> float:
        """The mean of its samples."""
        return self.sum / self.count


class Entity(Struct, frozen=True, order=True):
    """What was measured: a transport, one encoding of a producer, or a consumer."""

    kind: Kind
    id: str
    encoding: int = 0


class Telemetry:
    """The telemetry of one data directory. Raises `StoreError`; `StoreMissing` without any."""

    def __init__(self, directory: Path) -> None:
        self._path = path_in(directory)

    def span(
        self, room: str, since_ns: int = 0, until_ns: int = ALWAYS_NS
    ) -> tuple[int, int] | None:
        """When the first and the last frame of a room were taken in a time, None without frames."""
        with reading(self._path, LAYOUT, "telemetry") as connection:
            first, last = connection.execute(
                "SELECT min(at_ns), max(at_ns) FROM frame JOIN room USING (room_id)"
                " WHERE room = ? AND at_ns >= ? AND at_ns < ?",
                (room, since_ns, until_ns),
            ).fetchone()
        return None if first is None else (first, last)

    def frames(self, room: str, since_ns: int, until_ns: int) -> Iterator[tuple[int, bytes]]:
        """Frames with `since_ns` <= at < `until_ns`, in order of time."""
        with reading(self._path, LAYOUT, "telemetry") as connection:
            rows = connection.execute(
                "SELECT at_ns, data FROM frame JOIN room USING (room_id)"
                " WHERE room = ? AND at_ns >= ? AND at_ns < ? ORDER BY at_ns, arrival",
                (room, since_ns, until_ns),
            )
            for at_ns, data in rows:
                try:
                    yield at_ns, zlib.decompress(data)
                except zlib.error as error:
                    raise ReplayError(f"{LAYOUT.file_name}: frame at {at_ns}: {error}") from error

    def fold(
        self,
        room: str,
        since_ns: int,
        until_ns: int,
        *,
        points: int = POINTS,
        ids: Collection[str] | None = None,
        metrics: Collection[str] | None = None,
    ) -> Folded:
        """Fold a stretch of time, of the named entities and metrics; None stands for all."""
        fold = TelemetryFold(
            since_ns=since_ns,
            until_ns=until_ns,
            points=points,
            ids=None if ids is None else set(ids),
            metrics=None if metrics is None else set(metrics),
        )
        for at_ns, frame in self.frames(room, since_ns - LEAD_NS, until_ns):
            try:
                fold.take(at_ns, frame)
            except ValueError as error:
                raise ReplayError(f"{LAYOUT.file_name}: frame at {at_ns}: {error}") from error
        return Folded(fold)

    def series(
        self,
        room: str,
        entity: Entity,
        metric: str,
        since_ns: int,
        until_ns: int,
        *,
        points: int = POINTS,
    ) -> list[Point]:
        """One metric of one entity, in at most `points` points with their least and most."""
        folded = self.fold(
            room, since_ns, until_ns, points=points, ids=(entity.id,), metrics=(metric,)
        )
        return folded.series(entity, metric)

    def quality(
        self, room: str, viewers: Mapping[str, Iterable[str]], since_ns: int, until_ns: int
    ) -> dict[str, Quality]:
        """How well each viewer was served; `viewers` has the ids of each one's consumers.

        Freezes are counted by buckets that froze after one that did not.
        """
        consumers = {viewer: tuple(ids) for viewer, ids in viewers.items()}
        seconds = max(1, (until_ns - since_ns) // 1_000_000_000)
        folded = self.fold(
            room,
            since_ns,
            until_ns,
            points=min(seconds, 100_000),
            ids={consumer for ids in consumers.values() for consumer in ids},
            metrics=_METRICS,
        )
        return {
            viewer: quality_of(folded, ids, sum(_freezes(folded, each) for each in ids))
            for viewer, ids in consumers.items()
        }


class Folded:
    """A stretch of time in buckets."""

    def __init__(self, fold: TelemetryFold) -> None:
        self._fold = fold

    @property
    def skipped(self) -> int:
        """Frames that could not be read because one before them is missing."""
        return self._fold.skipped

    def entities(self) -> list[Entity]:
        """All that was measured, in order of kind and id."""
        return [Entity(kind, id_, encoding) for kind, id_, encoding in self._fold.entities()]

    def series(self, entity: Entity, metric: str) -> list[Point]:
        """Points of one metric in order of time; none for what was never known."""
        found = self._fold.series(entity.kind, entity.id, entity.encoding, metric)
        return [Point(*point) for point in found]


_METRICS = (
    "paused",
    "frozen",
    "packets",
    "packets_lost",
    "retransmitted_packets",
    "round_trip_time_ms",
    "bitrate_bps",
)


def _freezes(folded: Folded, consumer: str) -> int:
    before, freezes = 0.0, 0
    for point in folded.series(Entity("consumer", consumer), "frozen"):
        freezes += point.max > 0 and before == 0
        before = point.last
    return freezes


def quality_of(folded: Folded, consumers: Iterable[str], freezes: int) -> Quality:
    """How well a viewer with these consumers was served, of a fold with the metrics for it."""
    total = dict.fromkeys(("watched", "frozen", "packets", "lost", "again", "bits"), 0.0)
    delays: list[Point] = []
    for consumer in consumers:
        entity = Entity("consumer", consumer)
        paused = folded.series(entity, "paused")
        frozen = folded.series(entity, "frozen")
        total["watched"] += sum(point.count - point.sum for point in paused)
        total["frozen"] += sum(point.sum for point in frozen)
        for name, metric in (
            ("packets", "packets"),
            ("lost", "packets_lost"),
            ("again", "retransmitted_packets"),
            ("bits", "bitrate_bps"),
        ):
            total[name] += sum(point.sum for point in folded.series(entity, metric))
        delays += folded.series(entity, "round_trip_time_ms")
    samples = sum(point.count for point in delays)
    delay_ms = sum(point.sum for point in delays) / samples if samples else None
    watched = total["watched"]
    return Quality(
        score=_score(total, delay_ms) if watched else None,
        watched_s=round(watched),
        frozen_s=round(total["frozen"]),
        freezes=freezes,
        packets=round(total["packets"]),
        packets_lost=round(total["lost"]),
        retransmitted_packets=round(total["again"]),
        round_trip_time_ms=delay_ms,
        round_trip_time_ms_max=max((point.max for point in delays), default=None),
        bitrate_bps=total["bits"] / watched if watched else 0.0,
    )


def _score(total: Mapping[str, float], delay_ms: float | None) -> float:
    """100 x (1 - frozen share)^2 x (1 - loss share)^8 x delay factor."""
    frozen = min(1.0, total["frozen"] / total["watched"])
    missing = max(0.0, total["lost"] - total["again"])
    loss = min(1.0, missing / (total["packets"] + missing)) if missing else 0.0
    beyond_ms = max(0.0, (delay_ms or 0.0) - 150.0)
    delay = 1.0 - 0.4 * min(1.0, beyond_ms / 450.0)
    return float(100.0 * (1.0 - frozen) ** 2 * (1.0 - loss) ** 8 * delay)
