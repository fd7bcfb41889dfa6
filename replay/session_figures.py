"""The figures of a session: what `session_stats` collects from events, and telemetry adds.

Times are nanoseconds since the Unix epoch, durations nanoseconds. What telemetry knows stands under
`measured` of each stream and `quality` of each viewer, and is empty where nothing was measured.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.orders import Kind


class Quality(Struct, frozen=True, kw_only=True):
    """How well a viewer was served; docs/telemetry.md says how `score` is made."""

    score: float | None
    """0 (nothing was seen) to 100 (nothing went wrong); None when there was nothing to see."""
    watched_s: int
    """Seconds in which a consumer of the viewer was not paused, over all its consumers."""
    frozen_s: int
    """Those in which nothing was sent though the producer sent."""
    freezes: int
    packets: int
    packets_lost: int
    """As the viewer reported them, before retransmissions."""
    retransmitted_packets: int
    round_trip_time_ms: float | None
    """Mean."""
    round_trip_time_ms_max: float | None
    bitrate_bps: float
    """Mean over the watched seconds, over all its consumers."""


class Measured(Struct, frozen=True, kw_only=True):
    """What telemetry knows of a consumer or of one encoding of a producer.

    What is not known of its sort is None; docs/telemetry.md says what is measured.
    """

    encoding: int
    """Index into a producer's encodings; 0 of a consumer."""
    seconds: int
    """How many were measured."""
    paused_s: int | None
    frozen_s: int | None
    live_s: int | None
    """Seconds in which a producer's packets flowed."""
    bitrate_bps: float
    """Mean over the seconds in which it was neither paused nor silent."""
    bitrate_bps_max: float
    packets: int
    packets_lost: int
    loss: float | None
    """Share of the packets sent that were lost and not sent again; None without packets."""
    jitter_ms: float | None
    jitter_ms_max: float | None
    round_trip_time_ms: float | None
    round_trip_time_ms_max: float | None
    nacks: int
    plis: int
    key_frames: int
    retransmitted_packets: int
    score: float | None
    """Mean."""
    score_min: float | None


class StreamStats(Struct, kw_only=True):
    """A producer or a consumer."""

    sort: Literal["producer", "consumer"]
    id: str
    kind: Kind
    transport: str
    producer: str
    """Itself, or what the consumer is of."""
    added_at_ns: int
    removed_at_ns: int | None = None
    removed_because: str | None = None
    first_key_frame_ns: int | None = None
    """Of a video consumer, from being added to the first keyframe that was sent to it; None: none
    was. A viewer can show nothing before."""
    freezes: int = 0
    """Times that nothing reached the viewer for 2.5 s though the producer's packets came."""
    measured: list[Measured] = []
    """One an encoding that was measured."""


class PeerStats(Struct, kw_only=True):
    """A participant."""

    peer: str
    name: str
    joined_at_ns: int
    left_at_ns: int | None = None
    """None while it is in the room."""
    left_because: str | None = None
    duration_ns: int = 0
    """Until it left, or until the end of what was looked at."""
    connected_ns: int | None = None
    """From joining to the end of the first DTLS handshake; None: never."""
    first_media_sent_ns: int | None = None
    """From joining to the first packets of a producer of its own."""
    first_media_received_ns: int | None = None
    """From joining to when a consumer of its own had all that it takes to receive: a connected
    transport, a producer whose packets flow, and nobody who paused it."""
    first_key_frame_ns: int | None = None
    """From joining to the first keyframe that was sent to one of its consumers."""
    freezes: int = 0
    """Of all its consumers."""
    sockets_lost: int = 0
    reconnects: int = 0
    """Times it came back on a new socket."""
    ice_disconnects: int = 0
    ice_restarts: int = 0
    producers: int = 0
    consumers: int = 0
    producer_pauses: int = 0
    consumer_pauses: int = 0
    """By itself, not those of the producers it watches."""
    keyframes_requested: int = 0
    """By it, over signaling."""
    keyframes_asked_of: int = 0
    """Requests that went to it as a publisher, after coalescing."""
    refusals: dict[str, int] = {}
    """Requests of its own that were refused, by code."""
    quality: Quality | None = None
    """How well it was served as a viewer; None if none of its consumers was measured."""
    streams: list[StreamStats] = []
    """Its producers and consumers, in the order in which they were added."""


class TelemetrySpan(Struct, frozen=True, kw_only=True):
    """What telemetry there is of a session."""

    first_at_ns: int | None = None
    last_at_ns: int | None = None
    frames_skipped: int = 0
    """Frames that could not be read because one before them is missing."""
    problem: str | None = None
    """Why nothing was measured, or could not be read."""


class SessionStats(Struct, kw_only=True):
    """A room's session, from its opening to its closing."""

    room: str
    first_position: int
    last_position: int
    opened_at_ns: int
    closed_at_ns: int | None = None
    closed_because: str | None = None
    duration_ns: int = 0
    live_ns: int = 0
    """How long packets of some producer had begun and not all producers had gone."""
    messages: int = 0
    events: int = 0
    peers_max: int = 0
    """Most at one time."""
    producers_max: int = 0
    consumers_max: int = 0
    plane_losses: int = 0
    control_restarts: int = 0
    actor_failures: int = 0
    refusals: dict[str, int] = {}
    """All refused requests, by code."""
    closings: dict[str, dict[str, int]] = {}
    """How often what was closed why: by kind (peer, transport, producer, consumer) and reason."""
    peers: list[PeerStats] = []
    telemetry: TelemetrySpan | None = None
    """None where nobody looked for it."""
