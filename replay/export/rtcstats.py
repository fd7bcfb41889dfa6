"""An rtcstats dump (file format 3), as the dump importers of rtcstats and webrtc-internals read it.

The first line is `RTCStatsDump`, the second a map with at least `fileFormat`; each further line is
`[method, connection, value, …, milliseconds since the line before]`. A connection is a transport as
the server sees it: what producers send is `inbound-rtp`, what consumers get `outbound-rtp`, what
viewers report of it `remote-inbound-rtp`. State changes bear the names of the browser's events.
`getStats` comes once a second with what telemetry counted, or, where nothing was measured, whenever
the log says that something changed. It bears what differs from the one before: `t` is the time of
all reports, null stands for one that is no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from protocol import events
from protocol.envelope import Envelope
from protocol.personal import shown
from replay.errors import LogNotUnderstood
from replay.export.rtcstats_connection import Connection, consumed
from replay.export.rtcstats_counters import Counters
from replay.export.source import Source, json_text
from replay.export.version import reprise_version
from replay.fold import event_of
from replay.telemetry import ALWAYS_NS
from replay.telemetry_seconds import Second

FILE_FORMAT = 3

_Line = tuple[str, str, Any]
_NS_PER_MS = 1_000_000


class _Dump:
    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._carriers: dict[str, Connection] = {}
        """The connection of each producer and consumer."""
        self._counters = Counters()

    def second(self, second: Second) -> Iterator[_Line]:
        """What a second of telemetry is told as: one `getStats` a connection."""
        told: dict[str, Connection] = {}
        for entity, points in second.samples.items():
            connection = self._connections.get(entity.id) or self._carriers.get(entity.id)
            if connection is None:
                continue
            told[connection.id] = connection
            connection.measured = True
            report = self._counters.report(entity, points)
            if entity.kind == "transport":
                connection.counters |= report
                continue
            streams = connection.streams.get(entity.id, {})
            if entity.kind == "producer":
                self._set(streams, f"inbound-rtp/{entity.id}/{entity.encoding}", **report)
                continue
            remote = self._counters.remote(entity, points)
            for name in [name for name in streams if name.startswith("outbound-rtp/")]:
                self._set(streams, name, **report)
                if remote:
                    streams[f"remote-{name}".replace("outbound", "inbound")] = {
                        "type": "remote-inbound-rtp",
                        "localId": name,
                        "transportId": connection.id,
                        "kind": streams[name]["kind"],
                        "ssrc": streams[name]["ssrc"],
                        **remote,
                    }
        at_ms = second.at_ns / _NS_PER_MS
        for connection in told.values():
            yield "getStats", connection.id, connection.delta(at_ms)

    def lines(self, envelope: Envelope, at_ms: float) -> Iterator[_Line]:
        """What an event is told as."""
        kind, _, entity = envelope.actor.partition("/")
        if envelope.kind != "event" or kind == "room":
            return
        try:
            event = event_of(envelope)
        except LogNotUnderstood:
            return
        match event:
            case events.TransportOpened():
                connection = self._connections[entity] = Connection(event)
                configuration = {"bundlePolicy": "max-bundle", "direction": event.direction}
                yield "create", entity, configuration | {"peer": event.peer}
            case events.ProducerOpened() | events.ConsumerOpened():
                found = self._connections.get(event.row.transport)
                if found is None:
                    return
                connection = self._carriers[entity] = found
                yield self._add_stream(connection, entity, event)
            case _:
                carrier = self._connections.get(entity) or self._carriers.get(entity)
                if carrier is None:
                    return
                connection = carrier
                if kind == "transport":
                    yield from self._transport(connection, event)
                else:
                    yield from self._stream(connection, entity, event)
        if isinstance(event, events.TransportClosed):
            del self._connections[entity]
        elif not connection.measured:
            yield "getStats", connection.id, connection.delta(at_ms)

    def _transport(self, connection: Connection, event: Any) -> Iterator[_Line]:
        match event:
            case events.TransportConnecting():
                connection.dtls_state = "connecting"
            case events.IceRestarting():
                yield "restartIce", connection.id, []
            case events.IceChanged(state=state, remote=remote):
                connection.remote = None if remote is None else shown(remote)
                if state != connection.ice_state:
                    connection.ice_state = state
                    yield "oniceconnectionstatechange", connection.id, state
            case events.DtlsConnected(srtp_profile=profile):
                connection.dtls_state, connection.profile = "connected", profile
            case events.TransportClosed(reason=reason):
                connection.dtls_state = "failed" if reason.startswith("dtls_") else "closed"
                yield "onconnectionstatechange", connection.id, "closed"
                yield "close", connection.id, [reason]
                return
            case events.CommandRefused(code=code):
                yield "requestRefused", connection.id, [code]
        combined = connection.new_state()
        if combined != connection.state:
            connection.state = combined
            yield "onconnectionstatechange", connection.id, combined

    @staticmethod
    def _add_stream(connection: Connection, entity: str, event: Any) -> _Line:
        """Begin the reports of a producer, one an encoding, or of a consumer."""
        common = {
            "transportId": connection.id,
            "kind": event.row.kind,
            "active": not event.row.paused,
        }
        track = [event.row.kind, entity, ""]
        if isinstance(event, events.ConsumerOpened):
            connection.streams[entity] = consumed(entity, event.rtp_parameters, common)
            return "addTransceiver", connection.id, [track, {"direction": "sendonly"}]
        connection.streams[entity] = {
            f"inbound-rtp/{entity}/{n}": {"type": "inbound-rtp", "trackIdentifier": entity}
            | common
            | {
                name: value
                for name, value in (("ssrc", each.ssrc), ("rid", each.rid))
                if value is not None
            }
            for n, each in enumerate(event.row.encodings)
        }
        return "ontrack", connection.id, track

    def _stream(self, connection: Connection, entity: str, event: Any) -> Iterator[_Line]:
        streams = connection.streams.get(entity, {})
        match event:
            case events.ProducerStreamBound(encoding=encoding, ssrc=ssrc):
                self._set(streams, f"inbound-rtp/{entity}/{encoding}", ssrc=ssrc)
            case events.ProducerActive(active=active):
                self._set_all(streams, active=active)
                yield ("onunmute" if active else "onmute"), connection.id, [entity]
            case events.ProducerScored(scores=scores):
                for name, score in zip(streams, scores, strict=False):
                    self._set(streams, name, score=score)
            case events.KeyFrameAsked(encoding=encoding) if not connection.measured:
                name = f"inbound-rtp/{entity}/{encoding}"
                asked = streams.get(name, {}).get("pliCount", 0) + 1
                self._set(streams, name, pliCount=asked)
            case events.ConsumerScored(score=score):
                self._set_all(streams, score=score)
            case events.ConsumerLayersChanged(spatial_layer=spatial, temporal_layer=temporal):
                self._set_all(streams, spatialLayer=spatial, temporalLayer=temporal)
            case (
                events.ProducerPaused()
                | events.ProducerResumed()
                | events.ConsumerPaused()
                | events.ConsumerResumed()
            ):
                paused = isinstance(event, events.ProducerPaused | events.ConsumerPaused)
                self._set_all(streams, active=not paused)
                yield ("pause" if paused else "resume"), connection.id, [entity]
            case events.ViewerAskedKeyFrame():
                yield "requestKeyFrame", connection.id, [entity]
            case events.ProducerClosed(reason=reason) | events.ConsumerClosed(reason=reason):
                connection.streams.pop(entity, None)
                del self._carriers[entity]
                yield "removeTrack", connection.id, [entity, reason]
            case events.CommandRefused(code=code):
                yield "requestRefused", connection.id, [code, entity]

    @staticmethod
    def _set(streams: dict[str, dict[str, Any]], name: str, **values: Any) -> None:
        if name in streams:
            streams[name] |= values

    def _set_all(self, streams: dict[str, dict[str, Any]], **values: Any) -> None:
        for name in streams:
            if name.startswith(("inbound-rtp/", "outbound-rtp/")):
                self._set(streams, name, **values)


def export(source: Source) -> Iterator[str]:
    """Write the dump. Keeps what is known of each open transport."""
    dump = _Dump()
    clock = _Clock()
    measured: Iterator[Second] = iter(())
    waiting: Second | None = None
    last: Envelope | None = None
    for envelope in source.envelopes():
        if last is None:
            yield _header(source, envelope.at_ns / _NS_PER_MS)
            if source.beside is not None:
                measured = source.beside.seconds(envelope.at_ns, ALWAYS_NS)
                waiting = next(measured, None)
        while waiting is not None and waiting.at_ns <= envelope.at_ns:
            yield from clock.lines(waiting.at_ns, dump.second(waiting))
            waiting = next(measured, None)
        yield from clock.lines(envelope.at_ns, dump.lines(envelope, envelope.at_ns / _NS_PER_MS))
        last = envelope
    if last is None:
        yield _header(source, None)
        return
    until_ns = last.at_ns
    if source.beside is not None:
        until_ns = source.beside.until_ns(last.at_ns, closed=last.type == "RoomClosed")
    while waiting is not None and waiting.at_ns < until_ns:
        yield from clock.lines(waiting.at_ns, dump.second(waiting))
        waiting = next(measured, None)


class _Clock:
    """Writes lines with the time since the line before."""

    def __init__(self) -> None:
        self._last_ms = 0.0

    def lines(self, at_ns: int, lines: Iterable[_Line]) -> Iterator[str]:
        at_ms = at_ns / _NS_PER_MS
        for method, connection, value in lines:
            passed_ms = round(at_ms - self._last_ms, 3)
            yield json_text([method, connection, value, passed_ms]) + "\n"
            self._last_ms += passed_ms


def _header(source: Source, at_ms: float | None) -> str:
    about = {
        "fileFormat": FILE_FORMAT,
        "userAgent": f"reprise/{reprise_version()}",
        "url": f"room {source.room}",
        "origin": "reprise",
        "startTime": at_ms,
    }
    return "RTCStatsDump\n" + json_text(about) + "\n"
