//! Notices: what the media plane tells the control plane.
//!
//! The Rust face of those parts of `protocol/notices.py` that the native plane
//! itself says; the rest is said by its Python face.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// How a transport's connectivity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IceState {
    /// No check verified yet.
    New,
    /// Consent is fresh.
    Connected,
    /// No verified check for 10 s.
    Disconnected,
    /// No verified check for 30 s.
    Failed,
}

/// How loud a producer was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The producer's id.
    pub producer: String,
    /// Mean over the interval in -dBov: 0 is the loudest (RFC 6464).
    pub level: u8,
}

/// A notice; the key `type` of its map is the variant's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Notice {
    /// A first check verified, consent was lost (RFC 7675), or came back.
    IceStateChanged {
        /// The transport's id.
        transport: String,
        /// What it is now.
        state: IceState,
        /// Selected remote address.
        remote: Option<String>,
    },
    /// The selected remote address of a connected transport is another one now.
    IceTupleChanged {
        /// The transport's id.
        transport: String,
        /// Selected remote address.
        remote: String,
    },
    /// DTLS records from a verified tuple, a datagram each.
    DtlsReceived {
        /// The transport's id.
        transport: String,
        /// In order of arrival.
        datagrams: Vec<ByteBuf>,
    },
    /// The SSRCs of an encoding that had been announced by rid or mid alone.
    ProducerStreamLearned {
        /// The producer's id.
        producer: String,
        /// Index into its encodings.
        encoding: u32,
        /// Media SSRC.
        ssrc: u32,
        /// RTX SSRC, once known.
        rtx_ssrc: Option<u32>,
    },
    /// Media packets began to flow, or none came for 2.5 s; the latter again when a producer that
    /// rested for want of viewers was asked for and did not come.
    ProducerActivityChanged {
        /// The producer's id.
        producer: String,
        /// Whether they flow.
        active: bool,
    },
    /// The highest layer that any viewer may be sent is another one: more is told at once,
    /// less when it has held for 3 s.
    ProducerDemandChanged {
        /// The producer's id.
        producer: String,
        /// Index of the encoding, or of an only stream (SVC) the highest spatial layer; None: nobody
        /// wants the producer.
        spatial_layer: Option<u32>,
    },
    /// How well a producer's streams arrive: 0 (nothing) to 10 (no loss), one an encoding.
    ProducerScore {
        /// The producer's id.
        producer: String,
        /// One an encoding.
        scores: Vec<u32>,
    },
    /// How well a viewer receives.
    ConsumerScore {
        /// The consumer's id.
        consumer: String,
        /// 0 to 10, from its receiver reports.
        score: u32,
        /// Its producer's score.
        producer_score: u32,
    },
    /// The layers that a consumer sends now; None when it sends nothing.
    LayersChanged {
        /// The consumer's id.
        consumer: String,
        /// Index of the encoding.
        spatial_layer: Option<u32>,
        /// Temporal layer; None where the stream has none.
        temporal_layer: Option<u32>,
        /// Why, see [`crate::engine::Reason`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// It began with a keyframe out of the cache, which had come so long before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyframe_age_ns: Option<u64>,
    },
    /// What the way to a viewer takes, where it decides about layers.
    BandwidthEstimated {
        /// The transport's id.
        transport: String,
        /// The estimate.
        bitrate_bps: u64,
        /// What keeps it from being higher: `delay`, `loss`, `remb`, `silence`.
        limit: String,
        /// What it would have to be for the next layers; None when nobody lacks any.
        wanted_bps: Option<u64>,
        /// Trains of padding that looked for more since the last notice, once what came of them is known.
        #[serde(default, skip_serializing_if = "is_zero")]
        probes: u32,
        /// Those of them that found room.
        #[serde(default, skip_serializing_if = "is_zero")]
        probes_found: u32,
        /// The limit was found so long ago that it is a guess: what was paused comes back on trial.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        on_trial: bool,
    },
    /// A keyframe request went to the publisher.
    KeyFrameRequested {
        /// The producer's id.
        producer: String,
        /// Index into its encodings.
        encoding: u32,
        /// Askers since the last one; 0 for a repetition.
        requests: u32,
        /// It is the one that makes so many in a short time a storm.
        storm: bool,
        /// Why, see [`crate::engine::Cause`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        causes: Vec<String>,
    },
    /// Nothing was sent to a consumer for 2.5 s though its producer's packets flow, or again.
    ConsumerFrozen {
        /// The consumer's id.
        consumer: String,
        /// Whether nothing is sent.
        frozen: bool,
    },
    /// How loud a room was in the last 200 ms; no levels once it fell silent.
    AudioLevels {
        /// The room.
        room: String,
        /// Which worker heard it.
        worker: u32,
        /// The loudest first.
        levels: Vec<Level>,
    },
    /// What the streams of a room did in the last second, see [`crate::telemetry`].
    Telemetry {
        /// The room.
        room: String,
        /// When the second ended, in ns since the Unix epoch.
        at_ns: u64,
        /// One frame.
        data: ByteBuf,
    },
    /// What the flight recorder held of a transport, or a part of it, see [`crate::recorder`].
    Recording {
        /// The transport's room.
        room: String,
        /// The transport's id.
        transport: String,
        /// As ordered.
        reason: String,
        /// As ordered.
        position: u64,
        /// When it was frozen, in ns since the Unix epoch.
        at_ns: u64,
        /// Which part, from 0.
        part: u32,
        /// How many parts there are.
        parts: u32,
        /// One chunk.
        data: ByteBuf,
    },
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Notice {
    /// Bytes of data that is no state, if that is what it bears.
    pub fn bulk_bytes(&self) -> Option<usize> {
        match self {
            Self::Telemetry { data, .. } | Self::Recording { data, .. } => Some(data.len()),
            _ => None,
        }
    }

    /// Moves the wall clock of data by so many ns.
    pub fn shift_wall_clock(&mut self, by_ns: i64) {
        if let Self::Telemetry { at_ns, .. } | Self::Recording { at_ns, .. } = self {
            *at_ns = at_ns.saturating_add_signed(by_ns);
        }
    }
}
