//! Answers to orders: the table, statistics, and who answers.
//!
//! The Rust face of the second half of `protocol/orders.py`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::notices::IceState;
use super::orders::{EntryKind, SrtpProfile};

/// A worker thread: its UDP address is where its transports are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Index of the thread.
    pub worker: u32,
    /// UDP port.
    pub port: u16,
    /// Address that it is bound to.
    pub host: String,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneInfo {
    /// [`super::orders::PLANE_PROTOCOL`] of the plane.
    pub protocol: u32,
    /// Version of the plane.
    pub version: String,
    /// Random per process, so that a restart is noticed.
    pub incarnation: String,
    /// Process id.
    pub pid: u32,
    /// The worker threads by index.
    pub workers: Vec<WorkerInfo>,
}

/// A transport in the plane's table, with what only the plane knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportEntry {
    /// Its id.
    pub transport: String,
    /// The thread that owns it.
    pub worker: u32,
    /// How its connectivity stands.
    pub ice_state: IceState,
    /// Selected remote address.
    pub remote: Option<String>,
    /// Set once keys are there.
    pub srtp_profile: Option<SrtpProfile>,
}

/// The SSRCs of an encoding, as announced or learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodingEntry {
    /// Of its media; None while that is not known.
    pub ssrc: Option<u32>,
    /// Of its retransmissions (RFC 4588).
    pub rtx_ssrc: Option<u32>,
}

/// How a producer stands, as notices told it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerEntry {
    /// Its id.
    pub producer: String,
    /// Whether its packets flow.
    pub active: bool,
    /// The highest layer that its publisher was told to be wanted; None: none is.
    pub demand: Option<u32>,
    /// One an encoding, as last told.
    pub scores: Vec<u32>,
    /// In the order of its row.
    pub encodings: Vec<EncodingEntry>,
}

/// How a consumer stands, as notices told it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerEntry {
    /// Its id.
    pub consumer: String,
    /// Layers that it is sent; None: nothing.
    pub spatial_layer: Option<u32>,
    /// Of them, the temporal one if there is a choice.
    pub temporal_layer: Option<u32>,
    /// Why these.
    pub reason: String,
    /// Nothing is sent though it could be.
    pub frozen: bool,
    /// As last told; None before the viewer's first report.
    pub score: Option<u32>,
    /// Its producer's score, of the encoding that it is sent.
    pub producer_score: u32,
}

/// All that is in the plane's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Transports in the order of their creation, per worker.
    pub transports: Vec<TransportEntry>,
    /// Producer ids.
    pub producers: Vec<String>,
    /// Consumer ids.
    pub consumers: Vec<String>,
    /// What only the plane knows of these producers.
    #[serde(default)]
    pub producer_entries: Vec<ProducerEntry>,
    /// What only the plane knows of these consumers.
    #[serde(default)]
    pub consumer_entries: Vec<ConsumerEntry>,
}

/// One RTP stream; names follow W3C webrtc-stats in snake_case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamStats {
    /// SSRC; 0 while it is not learned yet.
    pub ssrc: u32,
    /// RTP stream id.
    #[serde(default)]
    pub rid: Option<String>,
    /// Payload type of the last packet.
    #[serde(default)]
    pub payload_type: Option<u8>,
    /// Media packets, without retransmissions.
    #[serde(default)]
    pub packets: u64,
    /// Payload bytes without headers and padding.
    #[serde(default)]
    pub bytes: u64,
    /// Header and padding bytes.
    #[serde(default)]
    pub header_bytes: u64,
    /// Inbound: counted by us (RFC 3550, A.3). Outbound: as the viewer last reported.
    #[serde(default)]
    pub packets_lost: i64,
    /// Share lost in the last report interval, 0 to 1.
    #[serde(default)]
    pub fraction_lost: f64,
    /// Interarrival jitter in ms.
    #[serde(default)]
    pub jitter_ms: f64,
    /// From the last report, in ms.
    #[serde(default)]
    pub round_trip_time_ms: Option<f64>,
    /// Duplicates and packets too late to be used.
    #[serde(default)]
    pub packets_discarded: u64,
    /// Generic NACK messages sent (inbound) or received (outbound).
    #[serde(default)]
    pub nack_count: u64,
    /// PLI messages sent or received.
    #[serde(default)]
    pub pli_count: u64,
    /// FIR messages sent or received.
    #[serde(default)]
    pub fir_count: u64,
    /// Keyframes that passed.
    #[serde(default)]
    pub key_frames: u64,
    /// Packets recovered by (inbound) or sent as (outbound) retransmission.
    #[serde(default)]
    pub retransmitted_packets: u64,
    /// Over the last second.
    #[serde(default)]
    pub bitrate_bps: u64,
    /// Layer that this stream is, or that is sent now.
    #[serde(default)]
    pub spatial_layer: Option<u32>,
    /// Temporal layer.
    #[serde(default)]
    pub temporal_layer: Option<u32>,
    /// Of a consumer.
    #[serde(default)]
    pub priority: Option<u32>,
}

/// A transport's own counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportStats {
    /// How its connectivity stands.
    pub ice_state: IceState,
    /// Selected remote address.
    pub remote: Option<String>,
    /// UDP payload bytes sent.
    #[serde(default)]
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    #[serde(default)]
    pub bytes_received: u64,
    /// Datagrams sent.
    #[serde(default)]
    pub packets_sent: u64,
    /// Datagrams received.
    #[serde(default)]
    pub packets_received: u64,
    /// Verified connectivity checks.
    #[serde(default)]
    pub stun_requests: u64,
    /// Estimated bandwidth towards a viewer, in bits a second, once there was feedback.
    #[serde(default)]
    pub available_outgoing_bps: Option<u64>,
    /// Received and dropped packets by reason.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}

/// Statistics of one entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The entry's id.
    pub id: String,
    /// What it is.
    pub kind: EntryKind,
    /// The plane's monotonic clock.
    pub at_ns: u64,
    /// For a transport.
    #[serde(default)]
    pub transport: Option<TransportStats>,
    /// For a producer (one an encoding) or a consumer (one).
    #[serde(default)]
    pub streams: Vec<StreamStats>,
}

/// What an order that asks is answered with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// To `Hello`.
    PlaneInfo(PlaneInfo),
    /// To `Describe`.
    Table(Table),
    /// To `QueryStats`.
    Stats(Vec<Stats>),
}

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A word from a closed list, see [`crate::engine::OrderError`].
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

/// The result of one order on the wire: nil, an error or data.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderResult {
    /// Carried out.
    Done,
    /// Refused; the table is as it was.
    Error(Refusal),
    /// Answered.
    Data(Data),
}

impl Serialize for OrderResult {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Error<'a> {
            error: &'a Refusal,
        }
        #[derive(Serialize)]
        struct Answer<'a> {
            data: &'a Data,
        }
        match self {
            Self::Done => serializer.serialize_none(),
            Self::Error(error) => Error { error }.serialize(serializer),
            Self::Data(data) => Answer { data }.serialize(serializer),
        }
    }
}
