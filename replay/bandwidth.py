"""What the way to a viewer took about an instant: from telemetry each second, and from the log.

The log has an estimate only where it moved far, and at most every five seconds; it says what limits
it. Telemetry has one a second as long as it is kept.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from protocol import events
from protocol.envelope import Envelope
from protocol.ids import transport_address
from replay.errors import LogNotUnderstood, ReplayError
from replay.explain import LIMIT_WORDS, probes_told
from replay.fold import event_of
from replay.reader import LogReader
from replay.store.errors import StoreError

_S = 1_000_000_000
_NEAR_NS = 10 * _S
"""What was estimated longer ago, or later, says nothing."""
_BEFORE, _AFTER = 1_000, 200
"""Positions before and behind in which the log is searched."""


def way_about(reader: LogReader, room: str, transport: str, position: int, at_ns: int) -> str:
    """Half a sentence about the estimate around a position; empty when nothing tells it. Blocks."""
    measured = _measured(reader.directory, room, transport, at_ns)
    told = _told(reader, room, transport, position, at_ns)
    if not measured and told is not None:
        when_ns, said = told
        measured = [_estimate(said.bitrate_bps, when_ns - at_ns)]
    if not measured:
        return ""
    estimates = f"the way to its viewer was estimated at {', and at '.join(measured)}"
    if told is None:
        return estimates
    limit = LIMIT_WORDS.get(told[1].limit)
    parts = [f"{estimates}, {limit}" if limit else estimates]
    if told[1].probes:
        parts.append(probes_told(told[1].probes, told[1].probes_found))
    if told[1].on_trial:
        parts.append("as it was last full long ago, more is sent on trial")
    return "; ".join(parts)


def told_before(reader: LogReader, room: str, envelope: Envelope) -> tuple[int, Any] | None:
    """The estimate of the same transport that the log has before a `BandwidthChanged`, and when."""
    found = None
    first = max(0, envelope.position - 1 - _BEFORE)
    for batch in reader.batches(room, first, envelope.position - 1):
        for one in batch:
            if (one.kind, one.type, one.actor) == ("event", envelope.type, envelope.actor):
                try:
                    found = (one.at_ns, event_of(one))
                except LogNotUnderstood:
                    continue
    return found


def _estimate(bitrate_bps: float, after_ns: int) -> str:
    side = "before" if after_ns < 0 else "after"
    return f"{bitrate_bps / 1000:,.0f} kbit/s {abs(after_ns) / _S:.1f} s {side}"


def _measured(directory: Path, room: str, transport: str, at_ns: int) -> list[str]:
    """The last sample before and the first one after."""
    try:
        telemetry = importlib.import_module("replay.telemetry")  # needs the native core
        folded = telemetry.Telemetry(directory).fold(
            room,
            at_ns - 3 * _S,
            at_ns + 2 * _S,
            ids={transport},
            metrics={"estimated_bps"},
        )
    except (ImportError, StoreError, ReplayError):
        return []
    points = [
        point
        for entity in folded.entities()
        if entity.kind == "transport"
        for point in folded.series(entity, "estimated_bps")
    ]
    before = [point for point in points if point.at_ns <= at_ns][-1:]
    after = [point for point in points if point.at_ns > at_ns][:1]
    return [_estimate(point.mean, point.at_ns - at_ns) for point in (*before, *after)]


def _told(
    reader: LogReader, room: str, transport: str, position: int, at_ns: int
) -> tuple[int, Any] | None:
    """The nearest estimate in the log, with its time."""
    address = transport_address(transport)
    found: list[tuple[int, Any]] = []
    for batch in reader.batches(room, max(0, position - _BEFORE), position + _AFTER):
        for envelope in batch:
            kind = (envelope.kind, envelope.type, envelope.actor)
            near = abs(envelope.at_ns - at_ns) <= _NEAR_NS
            if near and kind == ("event", events.BandwidthChanged.__name__, address):
                try:
                    found.append((envelope.at_ns, event_of(envelope)))
                except LogNotUnderstood:
                    continue
    return min(found, key=lambda each: abs(each[0] - at_ns), default=None)
