//! The estimate of one transport, from all that feeds it.

use super::history::SendHistory;
use super::loss::LossBound;
use super::probe::ProbeResults;
use super::rate_control::{Inputs, RateControl};
use super::{Acknowledged, AcknowledgedRate, LongRate, PacketGroups, QueueWatch, Trendline, Usage};
use crate::rtcp::TransportFeedback;

/// What is reckoned with before there is feedback, in bits a second.
pub const INITIAL_BPS: u64 = 900_000;

/// Least and greatest estimate, in bits a second.
pub const BITRATE_BPS_MIN: u64 = 30_000;
/// See [`BITRATE_BPS_MIN`].
pub const BITRATE_BPS_MAX: u64 = 100_000_000;

/// Without feedback for so long, though packets are under way, the estimate is halved, again and again.
const SILENT_NS: u64 = 2_500_000_000;
const SILENT_PACKETS_MIN: u64 = 20;

/// What was seen so long ago says nothing of delays now.
const IDLE_NS: u64 = 1_000_000_000;

/// Delay of less is no queue.
const EMPTY_NS: u64 = 5_000_000;

/// For so long after a probe, beyond the round trip, delay is put down to it.
const PROBE_ECHO_NS: u64 = 250_000_000;

/// Sending is measured in pieces of a quarter second, the last two of which count.
const SENT_PIECE_NS: u64 = 250_000_000;

/// What keeps the estimate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Growing delay, or that nobody has tried more.
    Delay,
    /// Losses.
    Loss,
    /// The client's own word (REMB).
    Remb,
    /// Feedback stays away.
    Silence,
}

impl Limit {
    /// The word for it in notices and the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Remb => "remb",
            Self::Silence => "silence",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct SentRate {
    piece: u64,
    bytes: u64,
    before: u64,
}

impl SentRate {
    #[inline]
    fn record(&mut self, now_ns: u64, size: usize) {
        self.turn(now_ns);
        self.bytes += size as u64;
    }

    fn turn(&mut self, now_ns: u64) {
        let piece = now_ns / SENT_PIECE_NS;
        if piece != self.piece {
            self.before = if piece == self.piece + 1 {
                self.bytes
            } else {
                0
            };
            self.bytes = 0;
            self.piece = piece;
        }
    }

    fn bitrate_bps(&mut self, now_ns: u64) -> u64 {
        self.turn(now_ns);
        let elapsed_ns = SENT_PIECE_NS + now_ns % SENT_PIECE_NS;
        (self.bytes + self.before) * 8_000_000_000 / elapsed_ns
    }
}

/// Estimates the bandwidth of one transport.
#[derive(Clone, Debug)]
#[repr(C)] // What each packet touches lies side by side.
pub struct Estimator {
    sent: SentRate,
    history: SendHistory,
    probes: ProbeResults,
    groups: PacketGroups,
    trendline: Trendline,
    queue: QueueWatch,
    acknowledged: AcknowledgedRate,
    long: LongRate,
    rate: RateControl,
    loss: LossBound,
    round_trip_ns: Option<u64>,
    remb_bps: Option<u64>,
    silence_bps: Option<u64>,
    heard_ns: Option<u64>,
    halved_ns: u64,
    over_ns: Option<u64>,
    reported: Option<(u64, u32)>,
    probe_shows_until_ns: u64,
}

impl Default for Estimator {
    fn default() -> Self {
        Self {
            history: SendHistory::default(),
            groups: PacketGroups::default(),
            trendline: Trendline::default(),
            queue: QueueWatch::default(),
            acknowledged: AcknowledgedRate::default(),
            long: LongRate::default(),
            rate: RateControl::new(INITIAL_BPS, (BITRATE_BPS_MIN, BITRATE_BPS_MAX)),
            loss: LossBound::default(),
            probes: ProbeResults::default(),
            sent: SentRate::default(),
            round_trip_ns: None,
            remb_bps: None,
            silence_bps: None,
            heard_ns: None,
            halved_ns: 0,
            over_ns: None,
            reported: None,
            probe_shows_until_ns: 0,
        }
    }
}

impl Estimator {
    /// A packet with a transport-wide number goes out; `size` is that of the datagram.
    #[inline]
    pub fn handle_sent(&mut self, sequence_number: u16, now_ns: u64, size: usize) {
        let cluster = self.probes.sending();
        self.history.record(sequence_number, now_ns, size, cluster);
        if cluster != 0 {
            self.probes.handle_sent(size);
        }
        self.sent.record(now_ns, size);
    }

    /// Reads a word of the lines that a packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        self.history.glance() ^ self.sent.bytes
    }

    /// Transport-wide feedback came in.
    pub fn handle_feedback(&mut self, now_ns: u64, feedback: &TransportFeedback<'_>) {
        let Self {
            history,
            groups,
            trendline,
            queue,
            acknowledged,
            long,
            probes,
            heard_ns,
            sent,
            rate,
            ..
        } = self;
        // The queue is the probe's own, and its result tells more than its delay.
        let deaf = now_ns < self.probe_shows_until_ns;
        let idle = heard_ns.is_some_and(|heard_ns| now_ns.saturating_sub(heard_ns) > IDLE_NS);
        if deaf || idle {
            *groups = PacketGroups::default();
            trendline.restart();
        }
        let mut usage = if deaf {
            Usage::Under
        } else {
            trendline.usage()
        };
        let mut over = false;
        let told = history.read(now_ns, feedback, |arrival| {
            acknowledged.record(arrival.arrived_ns, arrival.size);
            long.record(arrival.arrived_ns, arrival.size);
            queue.record(arrival.sent_ns, arrival.arrived_ns, arrival.size);
            if arrival.cluster != 0 {
                probes.record(&arrival);
            }
            if !deaf && let Some(delta) = groups.record(&arrival) {
                usage = trendline.record(&delta);
                over |= usage == Usage::Over;
            }
        });
        if told.packets == 0 {
            return;
        }
        self.heard_ns = Some(now_ns);
        self.silence_bps = None;
        if let Some(round_trip_ns) = told.round_trip_ns {
            // Feedback waits up to its interval: the least of late is nearest the truth.
            let known = self.round_trip_ns.unwrap_or(round_trip_ns);
            let smoothed = known + known / 50;
            self.round_trip_ns = Some(round_trip_ns.min(smoothed));
        }
        let was_undecided = queue.is_undecided();
        queue.settle(now_ns);
        if was_undecided || queue.is_undecided() {
            *groups = PacketGroups::default();
            trendline.restart();
            (over, usage) = (false, Usage::Under);
        }
        // Who got through without waiting met no queue, whatever came of the others.
        over &= queue.queued_ns() >= EMPTY_NS;
        let sent_bps = sent.bitrate_bps(now_ns);
        let over = over
            || (!deaf && queue.is_standing() && !queue.is_falling())
            || (!deaf && queue.is_filling(sent_bps));
        let usage = match over {
            // More comes out of the queue than may be put into it.
            true if queue.drain_bps().is_some_and(|bps| bps > rate.room_bps()) => Usage::Under,
            true => Usage::Over,
            // What stands drains: nothing is added to it.
            false if queue.is_standing() => Usage::Under,
            false if usage == Usage::Over => Usage::Normal,
            false => usage,
        };
        if usage == Usage::Over {
            self.over_ns = Some(now_ns);
        }
        self.follow(now_ns, usage, &told);
    }

    fn follow(&mut self, now_ns: u64, usage: Usage, told: &Acknowledged) {
        let acknowledged_bps = self.acknowledged_bps();
        let sent_bps = self.sent.bitrate_bps(now_ns);
        let inputs = Inputs {
            usage,
            acknowledged_bps,
            sent_bps,
            round_trip_ns: self.round_trip_ns.unwrap_or(100_000_000),
            queued_ns: self.queue.queued_ns(),
            drain_bps: self.queue.drain_bps(),
            fills: self.queue.is_filling(sent_bps),
        };
        self.rate.update(now_ns, &inputs);
        if let Some(shown_bps) = self.probes.take(self.queue.queued_ns() < EMPTY_NS) {
            // One that says far less than what flows, itself included, is mistaken. Where little was
            // sent lately, what got through is of before.
            let flows_bps = acknowledged_bps.unwrap_or(0).min(sent_bps);
            if shown_bps >= flows_bps / 4 * 3 {
                self.rate.set(now_ns, shown_bps);
                self.loss.lift(shown_bps);
            }
        }
        let fates = (told.packets, told.lost);
        let grows = usage == Usage::Over;
        self.loss.record(
            now_ns,
            fates,
            self.rate.bitrate_bps(),
            acknowledged_bps,
            grows,
        );
    }

    /// The client's own estimate (REMB).
    pub fn handle_remb(&mut self, now_ns: u64, bitrate_bps: u64) {
        self.remb_bps = Some(bitrate_bps.clamp(BITRATE_BPS_MIN, BITRATE_BPS_MAX));
        self.heard_ns = Some(now_ns);
    }

    /// A receiver report of a client that sends no transport-wide feedback: what was lost of the
    /// packets since its last, in 1/256, and the round trip.
    pub fn handle_report(
        &mut self,
        now_ns: u64,
        highest: u32,
        fraction_lost: u8,
        round_trip_ns: Option<u64>,
    ) {
        self.round_trip_ns = round_trip_ns.or(self.round_trip_ns);
        let before = self.reported.replace((now_ns, highest));
        let packets = before.map_or(0, |(_, before)| highest.wrapping_sub(before).min(2_000));
        let lost = packets * u32::from(fraction_lost) / 256;
        if let Some(remb_bps) = self.remb_bps {
            let sent_bps = self.sent.bitrate_bps(now_ns);
            self.loss
                .record(now_ns, (packets, lost), remb_bps, Some(sent_bps), false);
        }
    }

    /// To be called a few times a second: notices that feedback stays away.
    pub fn handle_tick(&mut self, now_ns: u64) {
        let Some(heard_ns) = self.heard_ns.filter(|_| self.remb_bps.is_none()) else {
            return;
        };
        let silent = now_ns.saturating_sub(heard_ns) > SILENT_NS
            && self.history.under_way() >= SILENT_PACKETS_MIN
            && now_ns.saturating_sub(self.halved_ns) > 1_000_000_000;
        if silent {
            self.halved_ns = now_ns;
            let halved = (self.estimate_or_initial() / 2).max(BITRATE_BPS_MIN);
            self.silence_bps = Some(halved);
            self.rate.set(now_ns, halved);
        }
    }

    /// The estimate in bits a second; None before any feedback.
    pub fn bitrate_bps(&self) -> Option<u64> {
        self.heard_ns.map(|_| self.estimate_or_initial())
    }

    fn estimate_or_initial(&self) -> u64 {
        let base = self.remb_bps.unwrap_or(self.rate.bitrate_bps());
        let bound = self.loss.bound_bps().unwrap_or(u64::MAX);
        base.min(bound).max(BITRATE_BPS_MIN)
    }

    /// What keeps the estimate where it is.
    pub fn limit(&self) -> Limit {
        let base = self.remb_bps.unwrap_or(self.rate.bitrate_bps());
        if self.silence_bps.is_some() {
            Limit::Silence
        } else if self.loss.bound_bps().is_some_and(|bound| bound < base) {
            Limit::Loss
        } else if self.remb_bps.is_some() {
            Limit::Remb
        } else {
            Limit::Delay
        }
    }

    /// Whether the way was ever seen to be full: without that, the estimate is a guess that nobody
    /// has put to the test.
    pub fn has_found_limit(&self) -> bool {
        self.over_ns.is_some() || self.limit() != Limit::Delay
    }

    /// When queues were last seen to grow.
    pub fn over_ns(&self) -> Option<u64> {
        self.over_ns
    }

    /// Share of packets that were lost lately, 0 to 1.
    pub fn loss_share(&self) -> f64 {
        self.loss.share()
    }

    /// How long the queue was, as of the last feedback.
    pub fn queued_ns(&self) -> u64 {
        self.queue.queued_ns()
    }

    /// What gets through, in bits a second.
    pub fn acknowledged_bps(&self) -> Option<u64> {
        let short_bps = self.acknowledged.bitrate_bps();
        // Without a loss all of it got through, in clumps or not.
        let whole = self.loss.share() == 0.0 && self.queue.drain_bps().is_none();
        short_bps.max(self.long.bitrate_bps().filter(|_| whole))
    }

    /// What is sent, in bits a second.
    pub fn sent_bps(&mut self, now_ns: u64) -> u64 {
        self.sent.bitrate_bps(now_ns)
    }

    /// From sending to hearing of it, in ns, at the least.
    pub fn round_trip_ns(&self) -> Option<u64> {
        self.round_trip_ns
    }

    /// Whether transport-wide feedback comes, so that probes have an answer.
    pub fn can_probe(&self) -> bool {
        self.heard_ns.is_some() && self.remb_bps.is_none()
    }

    /// Begins a probe cluster: packets that are sent until [`Self::end_probe`] belong to it.
    pub fn begin_probe(&mut self, now_ns: u64) {
        self.probes.begin(now_ns);
        self.probe_shows_until_ns = now_ns + PROBE_ECHO_NS;
    }

    /// Bytes that were sent for the cluster that is being sent.
    pub fn probe_sent_bytes(&self) -> u64 {
        self.probes.sent_bytes()
    }

    /// Whether anything was sent with a transport-wide number.
    pub fn has_sent(&self) -> bool {
        self.history.under_way() > 0 || self.heard_ns.is_some()
    }

    /// Ends the cluster; its result comes with feedback.
    pub fn end_probe(&mut self, now_ns: u64) {
        self.probes.end();
        self.probe_shows_until_ns = now_ns + self.round_trip_ns.unwrap_or(0) + PROBE_ECHO_NS;
    }

    /// Whether a cluster waits for its result.
    pub fn is_probing(&mut self, now_ns: u64) -> bool {
        self.probes.is_under_way(now_ns)
    }
}
