"""An rtcstats dump (file format 3), as the dump importers of rtcstats and webrtc-internals read it.

The first line is `RTCStatsDump`, the second a map with at least `fileFormat`; each further line is
`[method, connection, value, …, milliseconds since the line before]`. A connection is a transport as
the server sees it: what producers send is `inbound-rtp`, what consumers get `outbound-rtp`. State
changes bear the names of the browser's events; `getStats` tells, whenever something changed, what
the log knows of the transport. Counters of packets and bytes are not in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocol import events
from protocol.envelope import Envelope
from protocol.rtp_parameters import RtpParameters
from replay.errors import LogNotUnderstood
from replay.export.source import Source, json_text, reprise_version
from replay.fold import event_of

FILE_FORMAT = 3

_Line = tuple[str, str, Any]
_NS_PER_MS = 1_000_000
_CONNECTION_STATES = {
    "new": "new",
    "connected": "connecting",
    "disconnected": "disconnected",
    "failed": "failed",
}


class _Connection:
    """What is known of a transport."""

    def __init__(self, transport: str) -> None:
        self.id = transport
        self.ice_state: str = "new"
        self.dtls_state = "new"
        self.state = "new"
        self.remote: str | None = None
        self.profile: str | None = None
        self.streams: dict[str, dict[str, dict[str, Any]]] = {}
        """Reports of each producer and consumer, by id."""
        self.told: set[str] = set()

    def new_state(self) -> str:
        """The connection's state, of ICE and DTLS (W3C webrtc, 4.3.3)."""
        if self.ice_state == "connected" and self.dtls_state == "connected":
            return "connected"
        if "failed" in (self.ice_state, self.dtls_state):
            return "failed"
        return _CONNECTION_STATES[self.ice_state]

    def reports(self, at_ms: float) -> dict[str, dict[str, Any] | None]:
        """All reports; None for those that were told before and are no more."""
        common = {"timestamp": at_ms}
        transport: dict[str, Any] = {
            "type": "transport",
            "id": self.id,
            "iceRole": "controlled",
            "iceState": self.ice_state,
            "dtlsState": self.dtls_state,
        }
        if self.profile is not None:
            transport["srtpCipher"] = self.profile
        reports: dict[str, dict[str, Any] | None] = {self.id: transport | common}
        if self.remote is not None:
            host, _, port = self.remote.rpartition(":")
            pair, candidate = f"candidate-pair/{self.id}", f"remote-candidate/{self.id}"
            transport["selectedCandidatePairId"] = pair
            reports[self.id] = transport | common
            reports[pair] = {
                "type": "candidate-pair",
                "id": pair,
                "transportId": self.id,
                "remoteCandidateId": candidate,
                "nominated": True,
                "state": "succeeded" if self.ice_state == "connected" else "in-progress",
            } | common
            reports[candidate] = {
                "type": "remote-candidate",
                "id": candidate,
                "transportId": self.id,
                "address": host.strip("[]"),
                "port": int(port) if port.isdecimal() else 0,
                "protocol": "udp",
            } | common
        for streams in self.streams.values():
            reports |= {name: report | common for name, report in streams.items()}
        gone = self.told - reports.keys()
        self.told = set(reports)
        return reports | dict.fromkeys(gone)


class _Dump:
    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}
        self._carriers: dict[str, _Connection] = {}
        """The connection of each producer and consumer."""

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
                connection = self._connections[entity] = _Connection(entity)
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
        else:
            yield "getStats", connection.id, connection.reports(at_ms)

    def _transport(self, connection: _Connection, event: Any) -> Iterator[_Line]:
        match event:
            case events.TransportConnecting():
                connection.dtls_state = "connecting"
            case events.IceRestarting():
                yield "restartIce", connection.id, []
            case events.IceChanged(state=state, remote=remote):
                connection.remote = remote
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

    def _add_stream(self, connection: _Connection, entity: str, event: Any) -> _Line:
        """Begin a producer's or consumer's reports: one an encoding."""
        is_producer = isinstance(event, events.ProducerOpened)
        report: dict[str, Any] = {
            "type": "inbound-rtp" if is_producer else "outbound-rtp",
            "transportId": connection.id,
            "kind": event.row.kind,
            "active": not event.row.paused,
        }
        if isinstance(event, events.ConsumerOpened):
            streams = _consumed(entity, event.rtp_parameters, report)
        else:
            streams = {
                f"inbound-rtp/{entity}/{n}": report
                | {"id": f"inbound-rtp/{entity}/{n}", "trackIdentifier": entity}
                | {
                    name: value
                    for name, value in (("ssrc", each.ssrc), ("rid", each.rid))
                    if value is not None
                }
                for n, each in enumerate(event.row.encodings)
            }
        connection.streams[entity] = streams
        said = {"kind": event.row.kind, "id": entity}
        return ("ontrack" if is_producer else "addTransceiver"), connection.id, said

    def _stream(self, connection: _Connection, entity: str, event: Any) -> Iterator[_Line]:
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
            case events.KeyFrameAsked(encoding=encoding):
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
            self._set(streams, name, **values)


def _consumed(
    consumer: str, parameters: RtpParameters, report: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    return {
        f"outbound-rtp/{consumer}/{each.ssrc}": report
        | {
            "id": f"outbound-rtp/{consumer}/{each.ssrc}",
            "mid": parameters.mid,
            "ssrc": each.ssrc,
            "trackIdentifier": consumer,
        }
        for each in parameters.encodings
    }


def export(source: Source) -> Iterator[str]:
    """Write the dump. Keeps what is known of each open transport."""
    dump = _Dump()
    begun = False
    last_ms = 0.0
    for envelope in source.envelopes():
        at_ms = envelope.at_ns / _NS_PER_MS
        if not begun:
            yield _header(source, at_ms)
            begun = True
        for method, connection, value in dump.lines(envelope, at_ms):
            yield json_text([method, connection, value, round(at_ms - last_ms, 3)]) + "\n"
            last_ms += round(at_ms - last_ms, 3)
    if not begun:
        yield _header(source, None)


def _header(source: Source, at_ms: float | None) -> str:
    about = {
        "fileFormat": FILE_FORMAT,
        "userAgent": f"reprise/{reprise_version()}",
        "url": f"room {source.room}",
        "origin": "reprise",
        "startTime": at_ms,
    }
    return "RTCStatsDump\n" + json_text(about) + "\n"
