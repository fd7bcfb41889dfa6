//! What the swarm says of itself: counts of all clients, rows of streams.

use serde::Serialize;

use super::histogram::Summary;
use super::receive_stream::ReceiveCounts;
use super::send_stream::SendCounts;

/// Counts of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientCounts {
    /// Clients whose ICE is connected.
    pub ice_connected: u64,
    /// Clients that have SRTP keys.
    pub keyed: u64,
    /// Bytes of RTP datagrams.
    pub datagram_bytes: u64,
    /// RTP and RTCP that came before the keys.
    pub early_packets: u64,
    /// RTP and RTCP that is forged, repeated or malformed.
    pub undecryptable: u64,
    /// RTP of no stream that is known.
    pub unknown_ssrc: u64,
    /// Datagrams of no known protocol.
    pub unknown_datagrams: u64,
    /// Receiver reports sent.
    pub reports_sent: u64,
    /// Transport-cc feedback sent.
    pub feedback_sent: u64,
    /// Transport-cc feedback received.
    pub feedback_received: u64,
}

impl ClientCounts {
    /// Adds those of another client.
    pub fn add(&mut self, other: &Self) {
        self.ice_connected += other.ice_connected;
        self.keyed += other.keyed;
        self.datagram_bytes += other.datagram_bytes;
        self.early_packets += other.early_packets;
        self.undecryptable += other.undecryptable;
        self.unknown_ssrc += other.unknown_ssrc;
        self.unknown_datagrams += other.unknown_datagrams;
        self.reports_sent += other.reports_sent;
        self.feedback_sent += other.feedback_sent;
        self.feedback_received += other.feedback_received;
    }
}

/// Sums over all streams, those of clients that are gone as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Of all clients.
    pub clients: ClientCounts,
    /// Of received video.
    pub video: ReceiveCounts,
    /// Of received audio.
    pub audio: ReceiveCounts,
    /// Of published streams.
    pub sent: SendCounts,
}

/// How the driver fares; all but the gauges count from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriverHealth {
    /// CPU time of the thread, in ns.
    pub cpu_ns: u64,
    /// How long the thread waited for a CPU that others used, in ns.
    pub cpu_wait_ns: u64,
    /// How long one turn of the event loop took since the last snapshot: so long a packet may have
    /// waited for the tool.
    pub turns: Summary,
    /// How late timers were since the last snapshot.
    pub timer_lag: Summary,
    /// Datagrams received.
    pub datagrams: u64,
    /// Receive calls that brought some.
    pub receives: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped because a receive queue was full.
    pub queue_drops: u64,
    /// Events that were dropped because nobody took them.
    pub events_dropped: u64,
}

/// All that is told once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Monotonic time.
    pub at_ns: u64,
    /// Clients now.
    pub clients: u64,
    /// Sums.
    pub totals: Totals,
    /// Received video streams now, and how many of them are frozen.
    pub video_streams: u64,
    /// See `video_streams`.
    pub frozen: u64,
    /// Received streams that are given the past, until they have caught up.
    pub behind: u64,
    /// One-way latency of video packets since the last snapshot.
    pub video_latency: Summary,
    /// One-way latency of audio packets since the last snapshot.
    pub audio_latency: Summary,
    /// Packets whose stamp another process wrote.
    pub foreign_stamps: u64,
    /// Datagrams that the simulated network lost.
    pub simulated_losses: u64,
    /// The driver's.
    pub health: DriverHealth,
}

/// One received stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamRow {
    /// Whose.
    pub client: u32,
    /// Its name.
    pub stream: u32,
    /// Whether it is video.
    pub video: bool,
    /// Interarrival jitter, in ns.
    pub jitter_ns: u64,
    /// Its counts.
    pub counts: ReceiveCounts,
}
