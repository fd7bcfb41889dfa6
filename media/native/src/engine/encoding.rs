//! One RTP stream of a producer: what arrived of it, and what is asked of its sender.

use super::clock::ReportedClock;
use super::config::Limits;
use super::filter::Structure;
use super::history::History;
use super::keyframe::KeyFrameRequests;
use super::meter::RateMeter;
use super::rates::LayerRates;
use super::refresh::Refresh;
use super::timers::Armed;
use crate::cache::PacketCache;
use crate::codec::LayerReader;
use crate::nack::{LossDetector, ReceiverStatistics};
use crate::rtcp::ReportBlock;
use crate::sequence::SequenceUnwrapper;
use crate::wire::orders::Kind;

/// Without a packet for so long, a stream is silent.
pub const SILENCE_NS: u64 = 2_500_000_000;

/// Audio needs little history: 64 KiB hold more than 3 s of it.
const AUDIO_CACHE_BYTES: usize = 64 * 1024;
const AUDIO_CACHE_PACKETS: usize = 256;

/// Counters of one stream from its publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InboundCounters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) discarded: u64,
    pub(crate) recovered: u64,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    pub(crate) firs: u64,
    pub(crate) key_frames: u64,
}

/// State that belongs to one media SSRC, and ends with it.
pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    pub(crate) unwrapper: SequenceUnwrapper,
    pub(crate) statistics: ReceiverStatistics,
    pub(crate) losses: LossDetector,
    pub(crate) clock: Option<ReportedClock>,
    /// Extended number of the newest packet.
    pub(crate) highest: u64,
    pub(crate) last_report: ReportBlock,
    pub(crate) repairs: Repairs,
    /// Timestamp of the newest packet, and when it came.
    pub(crate) newest: Option<(u32, u64)>,
    pub(crate) keyframe_timestamp: Option<u32>,
}

pub(crate) struct Encoding {
    pub(crate) rid: Option<String>,
    pub(crate) rtx_ssrc: Option<u32>,
    /// There once the media SSRC is known.
    pub(crate) reception: Option<Reception>,
    pub(crate) cache: PacketCache,
    /// What is in the cache, of video.
    pub(crate) history: History,
    pub(crate) clock_rate: u32,
    pub(crate) live: bool,
    pub(crate) last_packet_ns: u64,
    pub(crate) payload_type: Option<u8>,
    pub(crate) keyframes: KeyFrameRequests,
    pub(crate) keyframes_timer: Armed,
    pub(crate) refresh: Refresh,
    pub(crate) losses_timer: Armed,
    pub(crate) fir_sequence: u8,
    pub(crate) meter: RateMeter,
    /// Of a mirror: the bitrate that the producer's worker measures.
    pub(crate) told_bps: Option<u64>,
    /// How its spatial layers hang together.
    pub(crate) structure: Structure,
    /// How many of them it announced.
    pub(crate) spatial_layers: u8,
    pub(crate) layers: LayerReader,
    pub(crate) rates: LayerRates,
    pub(crate) counters: InboundCounters,
}

impl Encoding {
    pub(crate) fn new(rid: Option<String>, kind: Kind, clock_rate: u32, limits: &Limits) -> Self {
        let (bytes, packets) = match kind {
            Kind::Audio => (AUDIO_CACHE_BYTES, AUDIO_CACHE_PACKETS),
            Kind::Video => (limits.cache_bytes_max, limits.cache_packets_max),
        };
        Self {
            rid,
            rtx_ssrc: None,
            reception: None,
            cache: PacketCache::new(bytes, packets, limits.cache_age_ns_max),
            history: History::default(),
            clock_rate,
            live: false,
            last_packet_ns: 0,
            payload_type: None,
            keyframes: KeyFrameRequests::default(),
            keyframes_timer: Armed::default(),
            refresh: Refresh::default(),
            losses_timer: Armed::default(),
            fir_sequence: 0,
            meter: RateMeter::default(),
            told_bps: None,
            structure: Structure::Flat,
            spatial_layers: 1,
            layers: LayerReader::default(),
            rates: LayerRates::default(),
            counters: InboundCounters::default(),
        }
    }

    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.reception.as_ref().map(|reception| reception.ssrc)
    }

    /// The media SSRC is known now, or is another one. What was cached is of the old one.
    pub(crate) fn set_ssrc(&mut self, ssrc: u32, limits: &Limits, kind: Kind) {
        if self.ssrc() == Some(ssrc) {
            return;
        }
        if self.reception.is_some() {
            let fresh = Self::new(None, kind, self.clock_rate, limits);
            self.cache = fresh.cache;
            self.history.clear();
        }
        self.reception = Some(Reception {
            ssrc,
            unwrapper: SequenceUnwrapper::default(),
            statistics: ReceiverStatistics::new(ssrc, self.clock_rate),
            losses: LossDetector::new(),
            clock: None,
            highest: 0,
            last_report: ReportBlock::default(),
            repairs: Repairs::default(),
            newest: None,
            keyframe_timestamp: None,
        });
    }

    /// What came in the last second, though it may not have come to a mirror.
    pub(crate) fn bitrate_bps(&self, now_ns: u64) -> u64 {
        self.told_bps
            .unwrap_or_else(|| self.meter.bitrate_bps(now_ns))
    }

    /// Whether a stream that was live has fallen silent.
    pub(crate) fn fell_silent(&self, now_ns: u64) -> bool {
        self.live && now_ns.saturating_sub(self.last_packet_ns) >= SILENCE_NS
    }
}

/// What a packet counts as lost that came as a retransmission: late, but it came.
const REPAIRED_WEIGHT: f64 = 0.25;

/// A share of fewer packets says little: one of the three that a silent microphone sends in a second (DTX)
/// is no third of a stream. What fewer reports tell is weighed as a part of so many, until there are.
const PACKETS_MIN: u32 = 25;

/// Scores a stream by its reports, and by what was repaired between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Repairs {
    highest: Option<u32>,
    repaired: u64,
    /// Packets, and what of them was lost, since there were enough to tell.
    few: (u32, f64),
}

impl Repairs {
    /// The score of the time since the report before; `repaired` counts retransmissions from the
    /// stream's beginning on.
    pub(crate) fn score(&mut self, report: &ReportBlock, repaired: u64) -> u32 {
        let highest = report.extended_highest_sequence_number;
        let expected = self
            .highest
            .replace(highest)
            .map_or(0, |before| highest.wrapping_sub(before));
        let since = repaired.saturating_sub(std::mem::replace(&mut self.repaired, repaired));
        let share = f64::from(report.fraction_lost) / 256.0;
        let shares_repaired = since as f64 / f64::from(expected.max(1));
        let share_repaired = if expected == 0 {
            0.0
        } else {
            shares_repaired.min(share)
        };
        let share = share - share_repaired * (1.0 - REPAIRED_WEIGHT);
        if expected == 0 || (expected >= PACKETS_MIN && self.few.0 == 0) {
            return score_of(share);
        }
        self.few.0 = self.few.0.saturating_add(expected);
        self.few.1 += share * f64::from(expected);
        let (packets, lost) = self.few;
        if packets >= PACKETS_MIN {
            self.few = (0, 0.0);
        }
        score_of((lost / f64::from(packets.max(PACKETS_MIN))).min(1.0))
    }
}

/// 0 (nothing arrives) to 10 (nothing is lost), from the share that is lost.
///
/// Ten times the fourth power of the share that arrives: 1 % lost is still 10,
/// 5 % is 8, 10 % is 7, a quarter is 3.
fn score_of(share_lost: f64) -> u32 {
    (10.0 * (1.0 - share_lost).powi(4)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::{Repairs, score_of};
    use crate::rtcp::ReportBlock;

    #[test]
    fn score_falls_from_ten_with_loss() {
        assert_eq!((score_of(0.0), score_of(0.01)), (10, 10));
        assert_eq!((score_of(0.05), score_of(0.1)), (8, 7));
        assert_eq!((score_of(0.25), score_of(1.0)), (3, 0));
    }

    #[test]
    fn few_packets_are_scored_together() {
        let mut repairs = Repairs::default();
        let mut highest = 1_000;
        let mut next = |packets: u32, fraction_lost| {
            highest += packets;
            let report = ReportBlock {
                extended_highest_sequence_number: highest,
                fraction_lost,
                ..ReportBlock::default()
            };
            repairs.score(&report, 0)
        };
        next(0, 0);
        // One of two, and none of the next: at most one of 25.
        assert_eq!([next(2, 128), next(3, 0), next(2, 0)], [8, 8, 8]);
        assert_eq!([next(18, 0), next(3, 0)], [8, 10]);
        // Half of a slow stream is half of it in time.
        assert_eq!([next(8, 128), next(8, 128), next(8, 128)], [5, 2, 1]);
        assert_eq!([next(50, 0), next(50, 128), next(50, 0)], [10, 1, 10]);
        // Enough is judged by itself.
        assert_eq!(next(100, 255), 0);
    }

    #[test]
    fn what_was_repaired_counts_for_little() {
        let report = |highest, fraction_lost| ReportBlock {
            extended_highest_sequence_number: highest,
            fraction_lost,
            ..ReportBlock::default()
        };
        let mut repairs = Repairs::default();
        assert_eq!(repairs.score(&report(1_000, 26), 0), 7);
        // A hundred packets, ten lost: all came again, half of them, none.
        assert_eq!(repairs.score(&report(1_100, 26), 10), 9);
        assert_eq!(repairs.score(&report(1_200, 26), 15), 8);
        assert_eq!(repairs.score(&report(1_300, 26), 15), 7);
        // More repairs than losses mend no others.
        assert_eq!(repairs.score(&report(1_400, 26), 500), 9);
        assert_eq!(repairs.score(&report(1_400, 255), 600), 0);
    }
}
