//! What the way from a publisher takes, estimated where it arrives: for publishers that take REMB
//! (draft-alvestrand-rmcat-remb-03) and no transport-wide feedback.
//!
//! When a packet was made is told by its RTP timestamp, so all that a frame was cut into counts as one
//! group. Each stream has its own clock, hence its own trend and queue; what is made of them is one
//! rate for the transport ([`RateControl`], as for viewers).
//!
//! Until queues have grown once, nothing is known: there is no estimate, and the publisher need not
//! be held. So it is again when they have not for [`FORGET_NS`] though it sends less than it might.
//!
//! Where packets are lost and queues are too short to grow, losses bound the rate ([`LossBound`], as for
//! viewers). They are counted from the sequence numbers, whether retransmissions repair them or not.
//!
//! When neither queues nor losses have said for [`CALM_NS`] that the way is full, the estimate climbs
//! [`CLIMB`] times a second. If that fills the way soon, the next climb waits for twice as long.
//!
//! # Bounds
//! [`STREAMS_MAX`] streams; what others send counts for the rate alone.

use super::rate_control::Inputs;
use super::{
    AcknowledgedRate, Arrival, LossBound, PacketGroups, QueueWatch, RateControl, Trendline, Usage,
};

/// Streams whose delay is followed.
pub const STREAMS_MAX: usize = 8;

/// No estimate is below this, nor above.
pub const UPLINK_BPS_MIN: u64 = 100_000;
/// See [`UPLINK_BPS_MIN`].
pub const UPLINK_BPS_MAX: u64 = 100_000_000;

/// Between two looks at the delays.
const SETTLE_NS: u64 = 50_000_000;

/// A round trip to the publisher: it answers once a REMB reached it.
const ROUND_TRIP_NS: u64 = 200_000_000;

/// A limit that was not met for so long is none, if less is sent than it allows.
const FORGET_NS: u64 = 30_000_000_000;

/// Nothing has said for so long that the way is full: it may be another one. At most after failures.
const CALM_NS: u64 = 4_000_000_000;
const CALM_NS_MAX: u64 = 32_000_000_000;

/// Then the estimate grows so much a second, as long as no more than this share is lost.
const CLIMB: f64 = 1.35;
const CLIMB_LOSS: f64 = 0.02;

/// A climb that fills the way so soon has failed.
const LASTED_NS: u64 = 8_000_000_000;

/// A packet that comes so long after those behind it was passed by them; later, it was sent again.
const REORDERED_NS: u64 = 40_000_000;

/// A step of a stream's numbers that is larger is a new beginning.
const GAP_MAX: u64 = 1_000;

/// A stream that nothing came of for so long begins anew.
const IDLE_NS: u64 = 2_000_000_000;

/// Beside a packet there are headers of IP and UDP, and the tag of SRTP.
const OVERHEAD_BYTES: u32 = 44;

/// What of a stream came and what did not, since that was taken.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    highest: Option<u64>,
    gap_ns: u64,
    packets: u32,
    lost: u32,
}

impl Numbers {
    fn record(&mut self, now_ns: u64, sequence: u64) {
        let step = self.highest.map_or(1, |one| sequence.saturating_sub(one));
        match step {
            0 if now_ns.saturating_sub(self.gap_ns) <= REORDERED_NS => {
                self.lost = self.lost.saturating_sub(1);
            }
            0 => {}
            1..=GAP_MAX => {
                let lost = (step - 1) as u32;
                self.packets += lost + 1;
                self.lost += lost;
                if lost > 0 {
                    self.gap_ns = now_ns;
                }
            }
            _ => self.packets += 1,
        }
        self.highest = self.highest.max(Some(sequence));
    }

    fn take(&mut self) -> (u32, u32) {
        let taken = (self.packets, self.lost);
        (self.packets, self.lost) = (0, 0);
        taken
    }
}

/// When the estimate may climb fast.
#[derive(Clone, Copy, Debug)]
struct Climb {
    calm_ns: u64,
    began_ns: Option<u64>,
    grown_ns: u64,
}

impl Climb {
    /// The way is full. A climb that ends so soon makes the next one wait.
    fn handle_full(&mut self, now_ns: u64) {
        if let Some(began_ns) = self.began_ns.take() {
            let soon = now_ns.saturating_sub(began_ns) < LASTED_NS;
            self.calm_ns = if soon { self.calm_ns * 2 } else { CALM_NS }.min(CALM_NS_MAX);
        }
    }

    /// By what the estimate grows now, if it has been calm since then.
    fn growth(&mut self, now_ns: u64, full_ns: u64) -> Option<f64> {
        let elapsed_ns = now_ns.saturating_sub(std::mem::replace(&mut self.grown_ns, now_ns));
        if now_ns.saturating_sub(full_ns) < self.calm_ns {
            return None;
        }
        self.began_ns.get_or_insert(now_ns);
        Some(CLIMB.powf(elapsed_ns.min(SETTLE_NS * 4) as f64 / 1e9))
    }
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    clock_rate: u32,
    /// The newest timestamp, and how far it is from the first, in its own units.
    newest: u32,
    elapsed: i64,
    arrived_ns: u64,
    numbers: Numbers,
    groups: PacketGroups,
    trendline: Trendline,
    queue: QueueWatch,
    over: bool,
}

impl Stream {
    fn new(ssrc: u32, clock_rate: u32, timestamp: u32, now_ns: u64) -> Self {
        Self {
            ssrc,
            clock_rate: clock_rate.max(1),
            newest: timestamp,
            elapsed: 0,
            arrived_ns: now_ns,
            numbers: Numbers::default(),
            groups: PacketGroups::default(),
            trendline: Trendline::default(),
            queue: QueueWatch::default(),
            over: false,
        }
    }

    /// When a packet was made, by the stream's clock, in ns from an hour before its first.
    fn made_ns(&mut self, timestamp: u32) -> u64 {
        let ahead = i64::from(timestamp.wrapping_sub(self.newest) as i32);
        let elapsed = self.elapsed + ahead;
        if ahead > 0 {
            (self.newest, self.elapsed) = (timestamp, elapsed);
        }
        let hour = i128::from(self.clock_rate) * 3600;
        let units = (i128::from(elapsed) + hour).max(0);
        (units * 1_000_000_000 / i128::from(self.clock_rate)) as u64
    }

    fn record(&mut self, now_ns: u64, timestamp: u32, size: u32) {
        if now_ns.saturating_sub(self.arrived_ns) > IDLE_NS {
            *self = Self::new(self.ssrc, self.clock_rate, timestamp, now_ns);
        }
        self.arrived_ns = now_ns;
        let sent_ns = self.made_ns(timestamp);
        let arrived_ns = now_ns as i64;
        self.queue.record(sent_ns, arrived_ns, size);
        let arrival = Arrival {
            sent_ns,
            arrived_ns,
            size,
            cluster: 0,
        };
        if let Some(delta) = self.groups.record(&arrival) {
            self.over |= self.trendline.record(&delta) == Usage::Over;
        }
    }

    fn settle(&mut self, now_ns: u64) -> Usage {
        self.queue.settle(now_ns);
        let queue = &self.queue;
        let over = std::mem::take(&mut self.over) && !queue.is_undecided();
        match () {
            () if over || (queue.is_standing() && !queue.is_falling()) => Usage::Over,
            () if queue.is_standing() || queue.is_undecided() => Usage::Under,
            () if self.trendline.usage() == Usage::Under => Usage::Under,
            () => Usage::Normal,
        }
    }
}

/// The estimate of one publisher's way here.
#[derive(Clone, Debug)]
pub struct Uplink {
    streams: Vec<Stream>,
    received: AcknowledgedRate,
    rate: RateControl,
    settled_ns: u64,
    over_ns: Option<u64>,
    losses: LossBound,
    /// When losses were last too many.
    lossy_ns: u64,
    climb: Climb,
}

impl Default for Uplink {
    fn default() -> Self {
        let bounds_bps = (UPLINK_BPS_MIN, UPLINK_BPS_MAX);
        Self {
            streams: Vec::new(),
            received: AcknowledgedRate::default(),
            rate: RateControl::new(UPLINK_BPS_MAX, bounds_bps),
            settled_ns: 0,
            over_ns: None,
            losses: LossBound::new(),
            lossy_ns: 0,
            climb: Climb {
                calm_ns: CALM_NS,
                began_ns: None,
                grown_ns: 0,
            },
        }
    }
}

impl Uplink {
    /// A packet of `size` bytes arrived, none that was sent again, with its extended sequence number and
    /// its timestamp. Whether the estimate fell: the publisher is to be told at once.
    pub fn record(
        &mut self,
        now_ns: u64,
        (ssrc, clock_rate): (u32, u32),
        (sequence, timestamp): (u64, u32),
        size: usize,
    ) -> bool {
        let size = (size as u32).saturating_add(OVERHEAD_BYTES);
        self.received.record(now_ns as i64, size);
        let known = self.streams.iter().position(|one| one.ssrc == ssrc);
        let place = known.unwrap_or_else(|| {
            self.streams
                .retain(|one| now_ns.saturating_sub(one.arrived_ns) <= IDLE_NS);
            if self.streams.len() < STREAMS_MAX {
                let stream = Stream::new(ssrc, clock_rate, timestamp, now_ns);
                self.streams.push(stream);
            }
            self.streams.len() - 1
        });
        let stream = &mut self.streams[place];
        if stream.ssrc == ssrc {
            stream.record(now_ns, timestamp, size);
            stream.numbers.record(now_ns, sequence);
        }
        if now_ns.saturating_sub(self.settled_ns) < SETTLE_NS {
            return false;
        }
        self.settled_ns = now_ns;
        self.settle(now_ns)
    }

    /// What the way takes, in bits a second, headers included; None as long as no limit is known.
    pub fn bitrate_bps(&self) -> Option<u64> {
        let delay_bps = self.over_ns.map(|_| self.rate.bitrate_bps());
        let loss_bps = self.losses.bound_bps().map(|bps| bps.max(UPLINK_BPS_MIN));
        delay_bps.into_iter().chain(loss_bps).min()
    }

    fn settle(&mut self, now_ns: u64) -> bool {
        let usages = self.streams.iter_mut().map(|one| one.settle(now_ns));
        let usage = usages.fold(Usage::Normal, |all, one| match (all, one) {
            (Usage::Over, _) | (_, Usage::Over) => Usage::Over,
            (Usage::Under, _) | (_, Usage::Under) => Usage::Under,
            _ => Usage::Normal,
        });
        let Some(received_bps) = self.received.bitrate_bps() else {
            return false;
        };
        let before_bps = self.bitrate_bps();
        self.count_losses(now_ns, received_bps, usage);
        self.follow_delay(now_ns, received_bps, usage);
        match (before_bps, self.bitrate_bps()) {
            (Some(before_bps), Some(now_bps)) => now_bps < before_bps,
            (None, now_bps) => now_bps.is_some(),
            (_, None) => false,
        }
    }

    fn count_losses(&mut self, now_ns: u64, received_bps: u64, usage: Usage) {
        let counts = self.streams.iter_mut().map(|one| one.numbers.take());
        let counts = counts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        // As long as no limit is known it is told of more than comes: one bad window is no reason to hold it.
        let most_bps = received_bps.saturating_mul(3) / 2;
        let rate_bps = self.over_ns.map_or(most_bps, |_| self.rate.bitrate_bps());
        let before_bps = self.losses.bound_bps();
        let grows = usage == Usage::Over;
        self.losses
            .record(now_ns, counts, rate_bps, Some(received_bps), grows);
        let fell = match (before_bps, self.losses.bound_bps()) {
            (before_bps, Some(now_bps)) => before_bps.is_none_or(|before_bps| now_bps < before_bps),
            (_, None) => false,
        };
        if fell {
            self.lossy_ns = now_ns;
            self.climb.handle_full(now_ns);
        }
    }

    fn follow_delay(&mut self, now_ns: u64, received_bps: u64, usage: Usage) {
        match self.over_ns {
            None if usage != Usage::Over => return,
            None => self.rate.set(now_ns, received_bps),
            Some(over_ns) => {
                let is_unused = self.rate.bitrate_bps() > received_bps * 13 / 10;
                if now_ns.saturating_sub(over_ns) > FORGET_NS && is_unused {
                    self.over_ns = None;
                    return;
                }
            }
        }
        if usage == Usage::Over {
            self.over_ns = Some(now_ns);
            self.climb.handle_full(now_ns);
        }
        let queued_ns = self.streams.iter().map(|one| one.queue.queued_ns()).max();
        self.rate.update(
            now_ns,
            &Inputs {
                usage,
                acknowledged_bps: Some(received_bps),
                sent_bps: received_bps,
                round_trip_ns: ROUND_TRIP_NS,
                queued_ns: queued_ns.unwrap_or(0),
                drain_bps: None,
                fills: false,
            },
        );
        let full_ns = self.over_ns.unwrap_or(0).max(self.lossy_ns);
        let is_clean = usage == Usage::Normal && self.losses.share() <= CLIMB_LOSS;
        if is_clean && let Some(growth) = self.climb.growth(now_ns, full_ns) {
            let rate_bps = self.rate.bitrate_bps();
            let most_bps = received_bps.saturating_mul(3) / 2;
            let grown_bps = ((rate_bps as f64 * growth) as u64).min(most_bps);
            if grown_bps > rate_bps {
                self.rate.set(now_ns, grown_bps);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    /// Frames of 30 a second over a link; returns the bitrate that was sent and the last estimate.
    struct Sender {
        uplink: Uplink,
        sequence: u64,
        /// A packet that would wait longer is lost; so is one of each so many.
        queue_ns_max: u64,
        loses_each: u64,
        now_ns: u64,
        free_ns: u64,
        timestamp: u32,
    }

    impl Sender {
        fn new() -> Self {
            Self {
                uplink: Uplink::default(),
                sequence: 70_000,
                queue_ns_max: u64::MAX,
                loses_each: u64::MAX,
                now_ns: S,
                free_ns: 0,
                // Wraps soon.
                timestamp: u32::MAX - 90_000,
            }
        }

        fn run(&mut self, duration_ns: u64, wanted_bps: u64, capacity_bps: u64) -> u64 {
            let end_ns = self.now_ns + duration_ns;
            let mut sent_bps = wanted_bps;
            while self.now_ns < end_ns {
                sent_bps = wanted_bps.min(self.uplink.bitrate_bps().unwrap_or(u64::MAX));
                let bytes = (sent_bps / 30 / 8) as usize;
                for _ in 0..bytes.div_ceil(1_100) {
                    let size = bytes / bytes.div_ceil(1_100);
                    let wire_ns = (size as u64 + 44) * 8 * S / capacity_bps;
                    self.sequence += 1;
                    let queued_ns = self.free_ns.saturating_sub(self.now_ns);
                    let is_unlucky = self.sequence.is_multiple_of(self.loses_each);
                    if queued_ns > self.queue_ns_max || is_unlucky {
                        continue;
                    }
                    self.free_ns = self.free_ns.max(self.now_ns) + wire_ns;
                    let at_ns = self.free_ns + 20 * MS;
                    let place = (self.sequence, self.timestamp);
                    self.uplink.record(at_ns, (1, 90_000), place, size);
                }
                self.now_ns += S / 30;
                self.timestamp = self.timestamp.wrapping_add(3_000);
            }
            sent_bps
        }
    }

    #[test]
    fn a_way_that_is_wide_enough_has_no_estimate() {
        let mut sender = Sender::new();
        sender.run(30 * S, 1_500_000, 10_000_000);
        assert_eq!(sender.uplink.bitrate_bps(), None);
    }

    #[test]
    fn a_bottleneck_is_found_and_forgotten_when_it_is_gone() {
        let mut sender = Sender::new();
        let held_bps = sender.run(30 * S, 2_500_000, 800_000);
        assert!((400_000..=850_000).contains(&held_bps), "{held_bps}");
        let queued_ns = sender.free_ns.saturating_sub(sender.now_ns);
        assert!(queued_ns < 300 * MS, "{queued_ns}");
        let risen_bps = sender.run(60 * S, 2_500_000, 10_000_000);
        assert_eq!(risen_bps, 2_500_000);
        sender.run(60 * S, 500_000, 10_000_000);
        assert_eq!(sender.uplink.bitrate_bps(), None);
    }

    #[test]
    fn a_way_that_became_wide_is_climbed_within_fifteen_seconds() {
        let mut sender = Sender::new();
        sender.run(30 * S, 2_500_000, 600_000);
        let risen_bps = sender.run(15 * S, 2_500_000, 10_000_000);
        assert_eq!(risen_bps, 2_500_000);
    }

    #[test]
    fn climbs_that_fail_become_rare() {
        let mut sender = Sender::new();
        sender.run(200 * S, 2_500_000, 800_000);
        assert!(sender.uplink.climb.calm_ns > CALM_NS);
        let held_bps = sender.run(10 * S, 2_500_000, 800_000);
        assert!((400_000..=850_000).contains(&held_bps), "{held_bps}");
    }

    #[test]
    fn losses_bound_the_rate_where_no_queue_can_grow() {
        let mut sender = Sender::new();
        sender.queue_ns_max = 25 * MS;
        let held_bps = sender.run(30 * S, 2_500_000, 1_000_000);
        assert!((600_000..=1_300_000).contains(&held_bps), "{held_bps}");
        let risen_bps = sender.run(30 * S, 2_500_000, 10_000_000);
        assert_eq!(risen_bps, 2_500_000);
    }

    #[test]
    fn losses_of_the_way_itself_cost_nothing() {
        let mut sender = Sender::new();
        sender.loses_each = 20;
        assert_eq!(sender.run(60 * S, 1_500_000, 10_000_000), 1_500_000);
    }

    #[test]
    fn losses_are_counted_whether_repaired_or_not() {
        let mut numbers = Numbers::default();
        for (at_ms, sequence) in [(0, 10), (1, 11), (2, 14), (10, 13), (60, 12), (61, 15)] {
            numbers.record(S + at_ms * MS, sequence);
        }
        // One was passed on the way, one was sent again.
        assert_eq!(numbers.take(), (6, 1));
        numbers.record(2 * S, 90_000);
        assert_eq!(numbers.take(), (1, 0), "another beginning");
    }

    #[test]
    fn any_number_of_streams_is_bounded() {
        let mut uplink = Uplink::default();
        for packet in 0..1_000u32 {
            let ssrc = packet % 40;
            uplink.record(
                S + u64::from(packet) * MS,
                (ssrc, 0),
                (u64::from(packet), packet << 20),
                1_000_000,
            );
        }
        assert_eq!(uplink.streams.len(), STREAMS_MAX);
    }
}
