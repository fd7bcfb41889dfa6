//! One viewer's copy of a producer.

use super::freeze::FreezeWatch;
use super::meter::{Budget, RateMeter};
use super::picture::PictureNumbers;
use super::rewrite::Rewriter;
use super::selection::Selection;
use super::table::{ProducerKey, TransportKey};
use crate::rtcp::ReportBlock;
use crate::srtp::OutboundStream;
use crate::wire::orders::{Kind, SetConsumer};

/// Retransmissions that are remembered, so that one loss is not answered twice.
pub(crate) const RESENT_MAX: usize = 64;

/// Counters of one stream to a viewer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutboundCounters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) retransmitted: u64,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    pub(crate) firs: u64,
    pub(crate) key_frames: u64,
}

/// The retransmission stream of a consumer (RFC 4588).
#[derive(Clone, Debug)]
pub(crate) struct RtxStream {
    pub(crate) ssrc: u32,
    pub(crate) stream: OutboundStream,
    /// Next extended sequence number.
    pub(crate) next: u64,
}

/// What the viewer last reported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) block: Option<ReportBlock>,
    pub(crate) round_trip_ns: Option<u64>,
}

pub(crate) struct Consumer {
    pub(crate) row: SetConsumer,
    pub(crate) transport: TransportKey,
    pub(crate) producer: ProducerKey,
    /// Place among the producer's formats.
    pub(crate) format: usize,
    pub(crate) clock_rate: u32,
    /// Incoming payload type to outgoing RTX payload type.
    pub(crate) rtx_payload_types: Vec<(u8, u8)>,
    pub(crate) stream: OutboundStream,
    pub(crate) rtx: Option<RtxStream>,
    pub(crate) rewriter: Rewriter,
    pub(crate) pictures: PictureNumbers,
    pub(crate) selection: Selection,
    pub(crate) last_payload_type: Option<u8>,
    pub(crate) meter: RateMeter,
    pub(crate) freeze: FreezeWatch,
    pub(crate) counters: OutboundCounters,
    pub(crate) reported: Reported,
    pub(crate) report_due_ns: u64,
    /// (outgoing sequence number, when it was sent again), a ring.
    pub(crate) resent: Vec<(u64, u64)>,
    pub(crate) resent_next: usize,
    pub(crate) resend_budget: Budget,
    pub(crate) score: Option<u32>,
    pub(crate) score_sent_ns: u64,
}

impl Consumer {
    pub(crate) fn is_video(&self) -> bool {
        self.row.kind == Kind::Video
    }

    /// The outgoing RTX payload type for an incoming media one.
    pub(crate) fn rtx_payload_type(&self, incoming: u8) -> Option<u8> {
        let found = self
            .rtx_payload_types
            .iter()
            .find(|&&(from, _)| from == incoming);
        found.map(|&(_, to)| to)
    }

    /// Remembers that a packet is sent again now, unless it was within `spacing_ns`.
    pub(crate) fn may_resend(&mut self, sequence: u64, now_ns: u64, spacing_ns: u64) -> bool {
        if let Some(entry) = self.resent.iter_mut().find(|entry| entry.0 == sequence) {
            if now_ns.saturating_sub(entry.1) < spacing_ns {
                return false;
            }
            if !self.resend_budget.take(now_ns) {
                return false;
            }
            entry.1 = now_ns;
            return true;
        }
        if !self.resend_budget.take(now_ns) {
            return false;
        }
        if self.resent.len() < RESENT_MAX {
            self.resent.push((sequence, now_ns));
        } else {
            self.resent[self.resent_next % RESENT_MAX] = (sequence, now_ns);
            self.resent_next = (self.resent_next + 1) % RESENT_MAX;
        }
        true
    }
}
