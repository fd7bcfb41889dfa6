//! Bandwidth towards one viewer, estimated from what it feeds back. Sans-IO: times come in, rates go out.
//!
//! It follows Google congestion control (draft-ietf-rmcat-gcc-02) as libwebrtc carries it on:
//!
//! ```text
//! packets sent ─▶ SendHistory ┐
//! transport-cc feedback ──────┴▶ (sent, arrived, size) of each packet
//!        │─▶ PacketGroups ─▶ Trendline ─▶ usage: normal, over, under ┐
//!        │─▶ QueueWatch: a queue that stands is over-use, too ─────────────────┤
//!        │─▶ AcknowledgedRate ───────────────────────────────────────┼▶ RateControl (AIMD) ┐
//!        │─▶ ProbeResults: what a cluster got through ───────────────┘                     ├▶ min = estimate
//!        └─▶ LossBound ────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A client that has only REMB (draft-alvestrand-rmcat-remb-03) or receiver reports is served by
//! [`Estimator::handle_remb`] and [`Estimator::handle_report`]: its word, bounded by its losses.
//!
//! Towards publishers without transport-wide feedback the estimate is made here: [`Uplink`].
//!
//! # Bounds
//! The history holds at most [`history::PACKETS_MAX`] packets and begins with 128, so that a viewer
//! of one small stream costs a kilobyte. Nothing else grows, and nothing allocates per packet.
//!
//! # What is not done
//! No ECN, no round-trip-time-based backoff beyond the silence of feedback.

mod acknowledged;
mod estimator;
mod groups;
pub mod history;
mod loss;
mod probe;
mod queue;
mod rate_control;
mod trendline;
pub mod uplink;

#[cfg(test)]
mod tests;

pub use acknowledged::{AcknowledgedRate, LongRate};
pub use estimator::{BITRATE_BPS_MAX, BITRATE_BPS_MIN, Estimator, INITIAL_BPS, Limit};
pub use groups::{GroupDelta, PacketGroups};
pub use history::{Acknowledged, SendHistory};
pub use loss::LossBound;
pub use probe::{PROBE_PACKETS_MIN, ProbeResults};
pub use queue::QueueWatch;
pub use rate_control::RateControl;
pub use trendline::{Trendline, Usage};
pub use uplink::Uplink;

/// A packet of which feedback said that it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it was sent, by our clock, in ns.
    pub sent_ns: u64,
    /// When it arrived, by the receiver's clock, in ns from anywhere.
    pub arrived_ns: i64,
    /// Its size in bytes.
    pub size: u32,
    /// The probe cluster that it belongs to; 0 for none.
    pub cluster: u8,
}
