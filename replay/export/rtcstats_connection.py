"""A transport in an rtcstats dump: its states, and its reports as W3C webrtc-stats has them."""

from __future__ import annotations

from typing import Any

from protocol import events
from protocol.rtp_parameters import RtpParameters

_CONNECTION_STATES = {
    "new": "new",
    "connected": "connecting",
    "disconnected": "disconnected",
    "failed": "failed",
}


class Connection:
    """What is known of a transport."""

    def __init__(self, opened: events.TransportOpened) -> None:
        self.id = opened.transport
        self.ice_state: str = "new"
        self.dtls_state = "new"
        self.state = "new"
        self.remote: str | None = None
        self.profile: str | None = None
        self.measured = False
        """Telemetry comes, and `getStats` with it."""
        self.counters: dict[str, Any] = {}
        """Those of the transport itself."""
        self.streams: dict[str, dict[str, dict[str, Any]]] = {}
        """Reports of each producer and consumer, by id."""
        self._local = {
            "type": "local-candidate",
            "transportId": opened.transport,
            "address": next(iter(opened.settings.announced_ips), ""),
            "port": opened.port,
            "protocol": "udp",
            "candidateType": "host",
        }
        self._told: dict[str, dict[str, Any]] = {}

    def new_state(self) -> str:
        """The connection's state, of ICE and DTLS (W3C webrtc, 4.3.3)."""
        if self.ice_state == "connected" and self.dtls_state == "connected":
            return "connected"
        if "failed" in (self.ice_state, self.dtls_state):
            return "failed"
        return _CONNECTION_STATES[self.ice_state]

    def delta(self, at_ms: float) -> dict[str, Any]:
        """What differs from the last time; None for reports that are no more."""
        delta: dict[str, Any] = {"t": at_ms}
        reports = self._reports()
        for name, report in reports.items():
            before = self._told.get(name, {})
            changed = {key: value for key, value in report.items() if before.get(key) != value}
            if changed:
                delta[name] = changed
        delta |= dict.fromkeys(self._told.keys() - reports.keys())
        self._told = {name: dict(report) for name, report in reports.items()}
        return delta

    def _reports(self) -> dict[str, dict[str, Any]]:
        transport: dict[str, Any] = {
            "type": "transport",
            "iceRole": "controlled",
            "iceState": self.ice_state,
            "dtlsState": self.dtls_state,
            **self.counters,
        }
        reports = {self.id: transport}
        if self.profile is not None:
            transport["srtpCipher"] = self.profile
        if self.remote is not None:
            host, _, port = self.remote.rpartition(":")
            pair = f"candidate-pair/{self.id}"
            local, remote = f"local-candidate/{self.id}", f"remote-candidate/{self.id}"
            transport["selectedCandidatePairId"] = pair
            reports[pair] = {
                "type": "candidate-pair",
                "transportId": self.id,
                "localCandidateId": local,
                "remoteCandidateId": remote,
                "nominated": True,
                "state": "succeeded" if self.ice_state == "connected" else "in-progress",
                **{name: n for name, n in self.counters.items() if name != "packetsDropped"},
            }
            reports[local] = self._local
            reports[remote] = {
                "type": "remote-candidate",
                "transportId": self.id,
                "address": host.strip("[]"),
                "port": int(port) if port.isdecimal() else 0,
                "protocol": "udp",
                "candidateType": "prflx",
            }
        for streams in self.streams.values():
            reports |= streams
        return reports


def consumed(
    consumer: str, parameters: RtpParameters, common: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The reports of a consumer; `common` is what those of its streams begin with."""
    source, codec = f"media-source/{consumer}", f"codec/{consumer}"
    spoken = parameters.codecs[0]
    described = {
        "type": "codec",
        "transportId": common["transportId"],
        "mimeType": spoken.mime_type,
        "payloadType": spoken.payload_type,
        "clockRate": spoken.clock_rate,
        "channels": spoken.channels,
    }
    reports: dict[str, dict[str, Any]] = {
        source: {"type": "media-source", "kind": common["kind"], "trackIdentifier": consumer},
        codec: {name: value for name, value in described.items() if value is not None},
    }
    for each in parameters.encodings:
        reports[f"outbound-rtp/{consumer}/{each.ssrc}"] = common | {
            "type": "outbound-rtp",
            "mid": parameters.mid,
            "ssrc": each.ssrc,
            "mediaSourceId": source,
            "codecId": codec,
        }
    return reports
