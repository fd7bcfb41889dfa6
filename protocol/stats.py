"""The answer to `getStats`: what the media plane counts, in the words of W3C webrtc-stats.

A producer is told as one `inbound-rtp` entry a stream, a consumer as `outbound-rtp` with its
`remote-inbound-rtp` (what the viewer's receiver reports say), a transport as `transport` with the
`candidate-pair` that is selected and its `remote-candidate`. Units are W3C's: `timestamp` in
milliseconds, `jitter` and `roundTripTime` in seconds. The timestamps are of the plane's monotonic
clock, so they tell intervals and not dates.

Beyond W3C, under mediasoup's names where it has them: `bitrate` (bits per second, over the last
second), `keyFrames`, `spatialLayer`, `temporalLayer` and `packetsDropped` (by reason). What is not
known is left out.
"""

from __future__ import annotations

from typing import Any

from protocol.orders import Kind, Stats, StreamStats, TransportStats

_NS_PER_MS = 1_000_000
_PAIR_STATES = {
    "new": "waiting",
    "connected": "succeeded",
    "disconnected": "in-progress",
    "failed": "failed",
}


def report_of(
    stats: Stats, *, kind: Kind | None = None, transport: str | None = None
) -> tuple[dict[str, Any], ...]:
    """The entries that tell of one transport, producer or consumer.

    `kind` and `transport` are what the plane's counters do not say: the media kind of a producer
    or a consumer, and the transport that carries it.
    """
    common: dict[str, Any] = {"timestamp": stats.at_ns / _NS_PER_MS}
    if stats.transport is not None:
        return _transport(stats.id, common, stats.transport)
    common |= _known(kind=kind, transportId=transport)
    if stats.kind == "producer":
        return tuple(_inbound(stats.id, common, stream) for stream in stats.streams)
    return tuple(entry for stream in stats.streams for entry in _outbound(stats.id, common, stream))


def _inbound(owner: str, common: dict[str, Any], stream: StreamStats) -> dict[str, Any]:
    return {
        "type": "inbound-rtp",
        "id": f"inbound-rtp/{owner}/{stream.ssrc}",
        **common,
        **_stream(stream),
        "packetsReceived": stream.packets,
        "bytesReceived": stream.bytes,
        "headerBytesReceived": stream.header_bytes,
        "packetsLost": stream.packets_lost,
        "packetsDiscarded": stream.packets_discarded,
        "jitter": stream.jitter_ms / 1000,
        "fractionLost": stream.fraction_lost,
        "retransmittedPacketsReceived": stream.retransmitted_packets,
    }


def _outbound(
    owner: str, common: dict[str, Any], stream: StreamStats
) -> tuple[dict[str, Any], dict[str, Any]]:
    local = f"outbound-rtp/{owner}/{stream.ssrc}"
    remote = f"remote-inbound-rtp/{owner}/{stream.ssrc}"
    sent = {
        "type": "outbound-rtp",
        "id": local,
        **common,
        **_stream(stream),
        "remoteId": remote,
        "packetsSent": stream.packets,
        "bytesSent": stream.bytes,
        "headerBytesSent": stream.header_bytes,
        "retransmittedPacketsSent": stream.retransmitted_packets,
    }
    round_trip_ms = stream.round_trip_time_ms
    reported = {
        "type": "remote-inbound-rtp",
        "id": remote,
        **common,
        "ssrc": stream.ssrc,
        "localId": local,
        "packetsLost": stream.packets_lost,
        "fractionLost": stream.fraction_lost,
        "jitter": stream.jitter_ms / 1000,
        **_known(roundTripTime=None if round_trip_ms is None else round_trip_ms / 1000),
    }
    return sent, reported


def _stream(stream: StreamStats) -> dict[str, Any]:
    """What both directions share."""
    return {
        "ssrc": stream.ssrc,
        "bitrate": stream.bitrate_bps,
        "nackCount": stream.nack_count,
        "pliCount": stream.pli_count,
        "firCount": stream.fir_count,
        "keyFrames": stream.key_frames,
        **_known(
            rid=stream.rid,
            payloadType=stream.payload_type,
            spatialLayer=stream.spatial_layer,
            temporalLayer=stream.temporal_layer,
            priority=stream.priority,
        ),
    }


def _transport(
    owner: str, common: dict[str, Any], counted: TransportStats
) -> tuple[dict[str, Any], ...]:
    pair = f"candidate-pair/{owner}"
    candidate = f"remote-candidate/{owner}"
    traffic = {
        "bytesSent": counted.bytes_sent,
        "bytesReceived": counted.bytes_received,
        "packetsSent": counted.packets_sent,
        "packetsReceived": counted.packets_received,
    }
    estimate = counted.available_outgoing_bps
    available = {} if estimate is None else {"availableOutgoingBitrate": estimate}
    transport = {
        "type": "transport",
        "id": owner,
        **common,
        "iceRole": "controlled",
        "iceState": counted.ice_state,
        **traffic,
        "packetsDropped": dict(counted.drops),
    }
    if counted.remote is None:
        return (transport,)
    ip, _, port = counted.remote.rpartition(":")
    return (
        {**transport, "selectedCandidatePairId": pair},
        {
            "type": "candidate-pair",
            "id": pair,
            **common,
            "transportId": owner,
            "remoteCandidateId": candidate,
            "state": _PAIR_STATES.get(counted.ice_state, "in-progress"),
            "nominated": True,
            "requestsReceived": counted.stun_requests,
            **available,
            **traffic,
        },
        {
            "type": "remote-candidate",
            "id": candidate,
            **common,
            "transportId": owner,
            "address": ip.strip("[]"),
            "port": int(port),
            "protocol": "udp",
        },
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
