"""OpenTelemetry traces in OTLP's JSON form, as a collector's file receiver and most viewers take.

A session is a trace. Under its root stands a span for each thing that came from outside (a client's
request, a notice, a timer), and under that a span for each decision that it led to; events are span
events. A timer begins a span of its own and is linked to the decision that set it. A span lasts
until the last decision that it caused. Refusals and failures have the status error.

Of a whole session there are spans for each peer and, within, for its producers and consumers: as
long as they were there, with their figures as attributes, those of telemetry as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from msgspec import Struct

from protocol.envelope import Envelope
from replay.explain import sentence
from replay.export.otlp_participants import attributes, participants, span_id
from replay.export.source import Source, json_text
from replay.export.version import reprise_version
from replay.text import payload

_INTERNAL, _SERVER = 1, 2
_ERROR = 2
_ERRORS = frozenset(("CommandRefused", "ActorFailed"))
_TIMER = "TimerFired"


class _Plan(Struct):
    """Where each decision hangs, known after a first walk over the log."""

    begin_ns: int = 0
    end_ns: int = 0
    trace: str = ""
    ends: dict[int, int] = {}
    """When the last thing happened that a decision caused, itself or by others."""
    roots: dict[int, int] = {}
    """The outside input that a decision follows from."""


def export(source: Source) -> Iterator[str]:
    """Write the trace. Goes over the log twice; keeps two numbers for each decision."""
    plan = _planned(source)
    resource = {
        "service.name": "reprise",
        "service.version": reprise_version(),
        "reprise.room": source.room,
    }
    scope = {"name": "reprise.replay", "version": reprise_version()}
    yield '{"resourceSpans":[{"resource":' + json_text({"attributes": attributes(resource)})
    yield ',"scopeSpans":[{"scope":' + json_text(scope) + ',"spans":[\n'
    for n, span in enumerate(_spans(source, plan)):
        yield (",\n" if n else "") + json_text(span)
    yield "\n]}]}]}\n"


def _planned(source: Source) -> _Plan:
    plan = _Plan()
    for envelope in source.envelopes():
        if not plan.trace:
            plan.begin_ns = envelope.at_ns
            begun = f"{source.room}\x00{envelope.position}\x00{envelope.at_ns}"
            plan.trace = sha256(begun.encode()).hexdigest()[:32]
        plan.end_ns = max(plan.end_ns, envelope.at_ns)
        if envelope.kind == "event":
            continue
        above = None if envelope.type == _TIMER else envelope.cause
        plan.roots[envelope.position] = plan.roots.get(above or 0, envelope.position)
        plan.ends[envelope.position] = envelope.at_ns
        root = plan.roots[envelope.position]
        plan.ends[root] = max(plan.ends[root], envelope.at_ns)
    return plan


def _spans(source: Source, plan: _Plan) -> Iterator[dict[str, Any]]:
    if not plan.trace:
        return
    root = _span_id(plan, 0)
    yield {
        "traceId": plan.trace,
        "spanId": root,
        "name": f"session {source.room}",
        "kind": _INTERNAL,
        "startTimeUnixNano": str(plan.begin_ns),
        "endTimeUnixNano": str(plan.end_ns),
    }
    yield from participants(source, plan.trace, root, plan.end_ns)
    span: dict[str, Any] | None = None
    for envelope in source.envelopes():
        if envelope.kind == "message":
            if span is not None:
                yield span
            span = _span(plan, envelope, root)
        elif span is not None:
            _add_event(span, envelope)
    if span is not None:
        yield span


def _span(plan: _Plan, envelope: Envelope, root: str) -> dict[str, Any]:
    outside = plan.roots[envelope.position] == envelope.position
    request = outside and envelope.correlation is not None
    known = {
        "reprise.position": envelope.position,
        "reprise.actor": envelope.actor,
        "reprise.correlation": envelope.correlation,
        "reprise.sentence": sentence(envelope),
        "reprise.data": json_text(payload(envelope.data)),
    }
    span: dict[str, Any] = {
        "traceId": plan.trace,
        "spanId": _span_id(plan, envelope.position),
        "parentSpanId": root if outside else _span_id(plan, envelope.cause or 0),
        "name": envelope.type,
        "kind": _SERVER if request else _INTERNAL,
        "startTimeUnixNano": str(envelope.at_ns),
        "endTimeUnixNano": str(plan.ends[envelope.position]),
        "attributes": attributes(known),
        "events": [],
    }
    if outside and envelope.cause is not None and envelope.cause in plan.roots:
        link = {"traceId": plan.trace, "spanId": _span_id(plan, envelope.cause)}
        span["links"] = [link]
    return span


def _add_event(span: dict[str, Any], envelope: Envelope) -> None:
    known = {
        "reprise.position": envelope.position,
        "reprise.sentence": sentence(envelope),
        "reprise.data": json_text(payload(envelope.data)),
    }
    span["events"].append(
        {
            "timeUnixNano": str(envelope.at_ns),
            "name": envelope.type,
            "attributes": attributes(known),
        }
    )
    if envelope.type in _ERRORS:
        span["status"] = {"code": _ERROR, "message": sentence(envelope)}


def _span_id(plan: _Plan, position: int) -> str:
    return span_id(plan.trace, str(position))
