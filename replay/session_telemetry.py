"""Joins what was measured to the figures of a session.

Streams are the same by id, time is the same clock. A session's telemetry is folded in one go into
one bucket for each stream and metric, so a long session with many viewers costs no more memory than
a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from replay.errors import ReplayError
from replay.session_figures import Measured, SessionStats, StreamStats, TelemetrySpan
from replay.store.errors import StoreError, StoreMissing
from replay.telemetry import Entity, Folded, Point, Telemetry, quality_of

SLACK_NS = 2_000_000_000
"""A session's last second is measured after its last event."""


def join(session: SessionStats, directory: Path, room: str | None = None) -> None:
    """Add to a session what telemetry knows of it; `room` is the real name of a redacted one.

    Without telemetry, or with one that cannot be read, `session.telemetry` says so. Blocks.
    """
    since_ns = session.opened_at_ns
    until_ns = since_ns + session.duration_ns + SLACK_NS
    telemetry = Telemetry(directory)
    name = session.room if room is None else room
    try:
        span = telemetry.span(name, since_ns, until_ns)
        if span is None:
            session.telemetry = TelemetrySpan(problem="nothing was measured in this session")
            return
        folded = telemetry.fold(name, since_ns, until_ns, points=1)
    except StoreMissing:
        session.telemetry = TelemetrySpan(problem="there is no telemetry")
        return
    except (StoreError, ReplayError) as error:
        session.telemetry = TelemetrySpan(problem=str(error))
        return
    session.telemetry = TelemetrySpan(
        first_at_ns=span[0], last_at_ns=span[1], frames_skipped=folded.skipped
    )
    known: dict[tuple[str, str], list[Entity]] = {}
    for entity in folded.entities():
        known.setdefault((entity.kind, entity.id), []).append(entity)
    for peer in session.peers:
        for stream in peer.streams:
            found = known.get((stream.sort, stream.id), ())
            stream.measured = [figures_of(folded, entity) for entity in found]
        watched = [each for each in peer.streams if each.sort == "consumer" and each.measured]
        if watched:
            peer.quality = quality_of(folded, [each.id for each in watched], peer.freezes)


def total(
    streams: Iterable[StreamStats],
    sort: Literal["producer", "consumer"],
    of: Callable[[Measured], float],
) -> float | None:
    """The sum of a figure over the measured streams of a sort, None without any."""
    found = [of(one) for each in streams if each.sort == sort for one in each.measured]
    return sum(found) if found else None


def lost_share(streams: Iterable[StreamStats]) -> float | None:
    """The share of all their packets that was lost and not sent again; None without packets."""
    every = [one for each in streams for one in each.measured]
    lost = sum(_missing(one.packets_lost, one.retransmitted_packets) for one in every)
    return _share(lost, sum(one.packets for one in every))


def figures_of(folded: Folded, entity: Entity) -> Measured:
    """What a fold into one bucket says of a stream."""

    def point(metric: str) -> Point | None:
        return next(iter(folded.series(entity, metric)), None)

    def summed(metric: str) -> int:
        return 0 if (found := point(metric)) is None else round(found.sum)

    def seconds(metric: str) -> int | None:
        return None if (found := point(metric)) is None else round(found.sum)

    def mean(metric: str) -> float | None:
        return None if (found := point(metric)) is None else round(found.mean, 3)

    def most(metric: str) -> float | None:
        return None if (found := point(metric)) is None else found.max

    rate, score = point("bitrate_bps"), point("score")
    measured_s = 0 if rate is None else rate.count
    paused_s, live_s = seconds("paused"), seconds("live")
    busy_s = live_s if live_s is not None else measured_s - (paused_s or 0)
    packets, lost = summed("packets"), summed("packets_lost")
    again = summed("retransmitted_packets")
    return Measured(
        encoding=entity.encoding,
        seconds=measured_s,
        paused_s=paused_s,
        frozen_s=seconds("frozen"),
        live_s=live_s,
        bitrate_bps=0.0 if rate is None else round(rate.sum / max(busy_s, 1)),
        bitrate_bps_max=0.0 if rate is None else rate.max,
        packets=packets,
        packets_lost=lost,
        loss=_share(_missing(lost, again), packets),
        jitter_ms=mean("jitter_ms"),
        jitter_ms_max=most("jitter_ms"),
        round_trip_time_ms=mean("round_trip_time_ms"),
        round_trip_time_ms_max=most("round_trip_time_ms"),
        nacks=summed("nacks"),
        plis=summed("plis"),
        key_frames=summed("key_frames"),
        retransmitted_packets=again,
        score=None if score is None else round(score.mean, 3),
        score_min=None if score is None else score.min,
    )


def _missing(lost: int, again: int) -> int:
    """Packets that were lost for good."""
    return max(0, lost - again)


def _share(missing: int, packets: int) -> float | None:
    return round(missing / (packets + missing), 6) if packets + missing else None
