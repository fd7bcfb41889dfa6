//! What an engine is told at its birth.

/// Default of [`Config::keyframe_interval_ns`].
pub const KEYFRAME_INTERVAL_NS: u64 = 4_000_000_000;

/// Settings of one engine. Every table has a maximum; see [`Limits`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Index of the worker that owns it; orders for another are refused.
    pub worker: u32,
    /// Seeds everything that is random.
    pub seed: u64,
    /// Unix time at monotonic time zero, in ns. Only makes sender reports true.
    pub unix_offset_ns: u64,
    /// Whether rooms are sampled once a second.
    pub telemetry: bool,
    /// Memory of the flight recorder; 0 turns it off.
    pub recorder_bytes: usize,
    /// How far back its recordings reach at most.
    pub recorder_seconds: u32,
    /// How old the last keyframe may become while people join, in ns. 0: no instant start, a publisher
    /// is asked for each keyframe that somebody waits for.
    pub keyframe_interval_ns: u64,
    /// Bounds of the tables.
    pub limits: Limits,
}

impl Config {
    /// Default limits for a worker.
    pub fn new(worker: u32, seed: u64) -> Self {
        Self {
            worker,
            seed,
            unix_offset_ns: 0,
            telemetry: true,
            recorder_bytes: 64 * 1024 * 1024,
            recorder_seconds: 30,
            keyframe_interval_ns: KEYFRAME_INTERVAL_NS,
            limits: Limits::default(),
        }
    }
}

/// Bounds of one engine's tables. What exceeds them is refused, or dropped and counted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Transports in all.
    pub transports_max: usize,
    /// Producers in all.
    pub producers_max: usize,
    /// Consumers in all.
    pub consumers_max: usize,
    /// Producers of one transport.
    pub producers_per_transport_max: usize,
    /// Consumers of one transport.
    pub consumers_per_transport_max: usize,
    /// SSRCs that one transport may be routed by, announced and learned.
    pub ssrcs_per_transport_max: usize,
    /// SSRCs learned in a producer's life; a publisher that changes them for ever is cut off.
    pub learned_per_producer_max: u32,
    /// Verified remote addresses of one transport; the oldest one leaves.
    pub tuples_per_transport_max: usize,
    /// DTLS datagrams of one transport that are passed on in a second.
    pub dtls_per_second_max: u32,
    /// RTP packets of one publisher that are taken in a second: some 90 Mbit/s of full ones. What is
    /// beyond is dropped before it is decrypted, for each would be sent to all viewers.
    pub media_packets_per_second_max: u32,
    /// RTCP packets of one transport that are taken in a second.
    pub rtcp_packets_per_second_max: u32,
    /// STUN error responses of the whole engine in a second.
    pub stun_errors_per_second_max: u32,
    /// STUN messages of one address that are looked into in a second; a browser sends some twenty.
    pub stun_per_source_max: u32,
    /// STUN messages in a second of all addresses together that no check has verified yet.
    pub stun_of_strangers_max: u32,
    /// Notices that wait for `poll_notice`; the oldest one leaves.
    pub notices_max: usize,
    /// Bytes of one encoding's packet cache.
    pub cache_bytes_max: usize,
    /// Packets in one encoding's packet cache.
    pub cache_packets_max: usize,
    /// How long a packet can be retransmitted, in ns.
    pub cache_age_ns_max: u64,
    /// Packets that one viewer's stream may have retransmitted in a second.
    pub retransmissions_per_second_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transports_max: 16_384,
            producers_max: 16_384,
            consumers_max: 131_072,
            producers_per_transport_max: 64,
            consumers_per_transport_max: 1024,
            ssrcs_per_transport_max: 256,
            learned_per_producer_max: 64,
            tuples_per_transport_max: 8,
            dtls_per_second_max: 100,
            media_packets_per_second_max: 10_000,
            rtcp_packets_per_second_max: 2_000,
            stun_errors_per_second_max: 50,
            stun_per_source_max: 200,
            stun_of_strangers_max: 10_000,
            notices_max: 16_384,
            cache_bytes_max: 2 * 1024 * 1024,
            cache_packets_max: 2048,
            cache_age_ns_max: 10_000_000_000,
            retransmissions_per_second_max: 500,
        }
    }
}
