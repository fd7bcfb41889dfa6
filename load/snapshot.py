"""What the native load plane tells, typed; media/native/src/load says what each field means."""

from __future__ import annotations

from msgspec import Struct


class Summary(Struct, frozen=True, kw_only=True):
    """A histogram in five numbers, in ns; all zero without a value."""

    count: int = 0
    mean_ns: int = 0
    p50_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0


class ReceiveCounts(Struct, frozen=True, kw_only=True):
    """Of one received stream, or of many."""

    packets: int = 0
    payload_bytes: int = 0
    expected: int = 0
    lost: int = 0
    recovered: int = 0
    duplicates: int = 0
    nacked: int = 0
    plis: int = 0
    frames: int = 0
    keyframes: int = 0
    frames_dropped: int = 0
    freezes: int = 0
    freeze_ns: int = 0
    first_packet_ns: int = 0
    first_keyframe_ns: int = 0
    past: int = 0
    stamped: int = 0
    latency_sum_ns: int = 0
    latency_max_ns: int = 0


class SendCounts(Struct, frozen=True, kw_only=True):
    """Of all published streams."""

    packets: int = 0
    payload_bytes: int = 0
    frames: int = 0
    keyframes: int = 0
    frames_skipped: int = 0
    retransmitted: int = 0
    nacked: int = 0
    keyframe_requests: int = 0


class ClientCounts(Struct, frozen=True, kw_only=True):
    """Of all clients."""

    ice_connected: int = 0
    keyed: int = 0
    datagram_bytes: int = 0
    early_packets: int = 0
    undecryptable: int = 0
    unknown_ssrc: int = 0
    unknown_datagrams: int = 0
    reports_sent: int = 0
    feedback_sent: int = 0
    feedback_received: int = 0


class Totals(Struct, frozen=True, kw_only=True):
    """Sums over all streams, also of clients that are gone."""

    clients: ClientCounts = ClientCounts()
    video: ReceiveCounts = ReceiveCounts()
    audio: ReceiveCounts = ReceiveCounts()
    sent: SendCounts = SendCounts()


class DriverHealth(Struct, frozen=True, kw_only=True):
    """Of the thread that carries the clients."""

    cpu_ns: int = 0
    cpu_wait_ns: int = 0
    turns: Summary = Summary()
    timer_lag: Summary = Summary()
    datagrams: int = 0
    receives: int = 0
    sent: int = 0
    send_errors: int = 0
    queue_drops: int = 0
    events_dropped: int = 0


class Snapshot(Struct, frozen=True, kw_only=True):
    """All counts of a moment."""

    at_ns: int = 0
    clients: int = 0
    totals: Totals = Totals()
    video_streams: int = 0
    frozen: int = 0
    behind: int = 0
    video_latency: Summary = Summary()
    audio_latency: Summary = Summary()
    foreign_stamps: int = 0
    simulated_losses: int = 0
    health: DriverHealth = DriverHealth()


class StreamRow(Struct, frozen=True, kw_only=True):
    """One received stream."""

    client: int
    stream: int
    video: bool
    jitter_ns: int
    counts: ReceiveCounts


class Latencies(Struct, frozen=True, kw_only=True):
    """Histograms: pairs of a bucket's upper bound in ns and how many it holds, ascending."""

    video: list[tuple[int, int]] = []
    audio: list[tuple[int, int]] = []
