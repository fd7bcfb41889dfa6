"""Chrome's trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

One track an actor: a slice for its life, within it a slice for each decision with what was decided
in its arguments, and marks for events. Arrows lead from each decision to those that it caused.
Times are microseconds since the first envelope. A decision takes no time in the log; its slice is
as long as there is room before the actor's next one, at most `SLICE_US`, so that it can be seen.
An arrow's ends lie within their slices, not at their edges: importers sort by time and bind an end
to the slice that is open then. No effect begins before its cause, or its arrow would be dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol.envelope import Envelope
from replay.explain import sentence
from replay.export.source import Source, json_text, versions
from replay.text import payload

SLICE_US = 100.0
_LEAST_US = 1.0
_ARROW_US = 0.5
"""How far within its slice an arrow begins and ends."""
_PID = 1
_CLOSING = frozenset(("RoomClosed", "TransportClosed", "ProducerClosed", "ConsumerClosed"))


class _Track:
    """One actor's track: its last decision waits for the next one to know how long it may be."""

    def __init__(self, tid: int, actor: str) -> None:
        self.tid = tid
        self.actor = actor
        self.open = False
        self.end_us = 0.0
        self.pending: dict[str, Any] | None = None
        self.closes = False

    def begin_us(self, wanted_us: float) -> float:
        """The time of a new decision: after all that is on the track."""
        return max(wanted_us, self.end_us)

    def flush(self, before_us: float | None) -> Iterator[dict[str, Any]]:
        """Give the waiting decision its length, and close the track if it said so."""
        if self.pending is not None:
            room_us = SLICE_US if before_us is None else before_us - self.pending["ts"]
            self.pending["dur"] = max(_LEAST_US, min(SLICE_US, room_us))
            self.end_us = self.pending["ts"] + self.pending["dur"]
            yield self.pending
            self.pending = None
        if self.open and (self.closes or before_us is None):
            yield {"ph": "E", "pid": _PID, "tid": self.tid, "ts": self.end_us}
            self.open = self.closes = False


def export(source: Source) -> Iterator[str]:
    """Write the trace. Keeps the time and track of each decision."""
    yield '{"displayTimeUnit":"ms","otherData":' + json_text(versions()) + ',"traceEvents":[\n'
    first = True
    for event in _events(source):
        yield ("" if first else ",\n") + json_text(event)
        first = False
    yield "\n]}\n"


def _events(source: Source) -> Iterator[dict[str, Any]]:
    tracks: dict[str, _Track] = {}
    decisions: dict[int, tuple[int, float]] = {}
    origin_ns: int | None = None
    yield _name("process_name", 0, source.room)
    for envelope in source.envelopes():
        origin_ns = envelope.at_ns if origin_ns is None else origin_ns
        at_us = (envelope.at_ns - origin_ns) / 1000
        track = tracks.get(envelope.actor)
        if track is None:
            track = tracks[envelope.actor] = _Track(len(tracks) + 1, envelope.actor)
            yield _name("thread_name", track.tid, envelope.actor)
            yield _name("thread_sort_index", track.tid, track.tid)
        if envelope.kind == "event" and track.pending is not None:
            yield from _decided(track, envelope)
        else:
            yield from _decision(track, envelope, at_us, decisions)
    for track in tracks.values():
        yield from track.flush(None)


def _decision(
    track: _Track, envelope: Envelope, at_us: float, decisions: dict[int, tuple[int, float]]
) -> Iterator[dict[str, Any]]:
    """Begin the slice of a message; one that stands alone is told as well."""
    yield from track.flush(at_us)
    begin_us = track.begin_us(at_us)
    known = decisions.get(envelope.cause) if envelope.cause is not None else None
    if known is not None:
        begin_us = max(begin_us, known[1])
    if not track.open:
        track.open = True
        life = {"ph": "B", "cat": "life", "name": track.actor, "args": {}}
        yield life | {"pid": _PID, "tid": track.tid, "ts": begin_us}
    decisions[envelope.position] = (track.tid, begin_us)
    if known is not None:
        tid, from_us = known
        arrow = {"cat": "cause", "name": "causes", "id": envelope.position, "pid": _PID}
        yield arrow | {"ph": "s", "tid": tid, "ts": from_us + _ARROW_US}
        yield arrow | {"ph": "f", "bp": "e", "tid": track.tid, "ts": begin_us + _ARROW_US}
    track.pending = {
        "ph": "X",
        "cat": "decision",
        "name": envelope.type,
        "pid": _PID,
        "tid": track.tid,
        "ts": begin_us,
        "args": _arguments(envelope) | {"decided": []},
    }
    track.closes = envelope.type in _CLOSING


def _decided(track: _Track, envelope: Envelope) -> Iterator[dict[str, Any]]:
    assert track.pending is not None
    track.pending["args"]["decided"].append(sentence(envelope))
    track.closes |= envelope.type in _CLOSING
    yield {
        "ph": "i",
        "s": "t",
        "cat": "event",
        "name": envelope.type,
        "pid": _PID,
        "tid": track.tid,
        "ts": track.pending["ts"],
        "args": _arguments(envelope),
    }


def _arguments(envelope: Envelope) -> dict[str, Any]:
    known = {"position": envelope.position, "cause": envelope.cause}
    return known | {
        "correlation": envelope.correlation,
        "at_ns": str(envelope.at_ns),
        "sentence": sentence(envelope),
        "data": payload(envelope.data),
    }


def _name(what: str, tid: int, value: str | int) -> dict[str, Any]:
    argument = "sort_index" if isinstance(value, int) else "name"
    return {"ph": "M", "name": what, "pid": _PID, "tid": tid, "args": {argument: value}}
