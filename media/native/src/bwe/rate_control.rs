//! Additive increase, multiplicative decrease (draft-ietf-rmcat-gcc-02, 5.5).

use super::Usage;

const BACKOFF: f64 = 0.85;

/// When the capacity fell at once, the queue is full before that is known, and a keyframe has to
/// come through it: one step down that is low enough is better than two.
const BACKOFF_FILLING: f64 = 0.65;

/// Of the estimate, the least that is left when less was sent than it allows: over-use then comes
/// from others, or from jitter, and what got through is no measure of the link.
const BACKOFF_UNUSED: f64 = 0.7;

/// Growth far from the link's capacity, a second.
const GROWTH: f64 = 1.08;

/// Beyond what was acknowledged the estimate grows only so far: nothing is known of what lies there.
const BEYOND: f64 = 1.5;
const BEYOND_BPS: f64 = 10_000.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// Capacity of the link, learned from what got through at over-use.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    kbps: f64,
    deviation: f64,
}

impl Capacity {
    fn new(kbps: f64) -> Self {
        Self {
            kbps,
            deviation: 0.4,
        }
    }

    fn learn(&mut self, kbps: f64) {
        self.kbps = 0.95 * self.kbps + 0.05 * kbps;
        let error = self.kbps - kbps;
        let norm = self.kbps.max(1.0);
        self.deviation = (0.95 * self.deviation + 0.05 * error * error / norm).clamp(0.4, 2.5);
    }

    fn spread_kbps(&self) -> f64 {
        (self.deviation * self.kbps).sqrt()
    }

    fn above_kbps(&self) -> f64 {
        self.kbps + 3.0 * self.spread_kbps()
    }

    fn below_kbps(&self) -> f64 {
        (self.kbps - 3.0 * self.spread_kbps()).max(0.0)
    }
}

/// The rate that delay allows.
#[derive(Clone, Debug)]
pub struct RateControl {
    bitrate_bps: f64,
    bounds_bps: (f64, f64),
    state: State,
    capacity: Option<Capacity>,
    changed_ns: u64,
    decreased_ns: Option<u64>,
}

/// What the rate follows from, in one feedback.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Whether queues grow.
    pub usage: Usage,
    /// What gets through.
    pub acknowledged_bps: Option<u64>,
    /// What was sent in the last half second, as a rate.
    pub sent_bps: u64,
    /// From sending to hearing of it.
    pub round_trip_ns: u64,
    /// How long the queue is.
    pub queued_ns: u64,
    /// What comes out of the queue, if there is one.
    pub drain_bps: Option<u64>,
    /// It fills fast.
    pub fills: bool,
}

impl RateControl {
    /// Begins at a rate, and stays within bounds.
    pub fn new(bitrate_bps: u64, bounds_bps: (u64, u64)) -> Self {
        Self {
            bitrate_bps: bitrate_bps as f64,
            bounds_bps: (bounds_bps.0 as f64, bounds_bps.1 as f64),
            state: State::Hold,
            capacity: None,
            changed_ns: 0,
            decreased_ns: None,
        }
    }

    /// The rate now.
    pub fn bitrate_bps(&self) -> u64 {
        self.bitrate_bps as u64
    }

    /// If more than this gets through a queue, no decrease is due.
    pub fn room_bps(&self) -> u64 {
        (self.bitrate_bps / BACKOFF) as u64
    }

    /// Takes a rate over that is known from elsewhere: a probe's result.
    pub fn set(&mut self, now_ns: u64, bitrate_bps: u64) {
        self.bitrate_bps = (bitrate_bps as f64).clamp(self.bounds_bps.0, self.bounds_bps.1);
        self.changed_ns = now_ns;
        let kbps = self.bitrate_bps / 1000.0;
        if self.capacity.is_some_and(|one| kbps > one.above_kbps()) {
            self.capacity = None;
        }
    }

    /// Follows one feedback.
    pub fn update(&mut self, now_ns: u64, inputs: &Inputs) {
        match inputs.usage {
            Usage::Over => {
                self.state = State::Hold;
                if self.may_decrease(now_ns, inputs) {
                    self.decrease(now_ns, inputs);
                }
            }
            Usage::Under => self.state = State::Hold,
            Usage::Normal => match self.state {
                State::Hold => {
                    self.state = State::Increase;
                    self.changed_ns = now_ns;
                }
                State::Increase => self.increase(now_ns, inputs),
            },
        }
        self.bitrate_bps = self.bitrate_bps.clamp(self.bounds_bps.0, self.bounds_bps.1);
    }

    /// A decrease shows only a round trip later; one that is far too small is mended at once.
    fn may_decrease(&self, now_ns: u64, inputs: &Inputs) -> bool {
        let Some(before_ns) = self.decreased_ns else {
            return true;
        };
        let wait_ns = inputs.round_trip_ns.clamp(10_000_000, 200_000_000);
        now_ns.saturating_sub(before_ns) >= wait_ns
            || inputs
                .acknowledged_bps
                .is_some_and(|bps| (bps as f64) < 0.5 * self.bitrate_bps)
                && now_ns.saturating_sub(before_ns) >= wait_ns / 2
    }

    fn decrease(&mut self, now_ns: u64, inputs: &Inputs) {
        let through = inputs.drain_bps.or(inputs.acknowledged_bps);
        let through = through.map_or(self.bitrate_bps, |bps| bps as f64);
        // A long queue must drain, too.
        let backoff = match inputs.queued_ns {
            _ if inputs.fills => BACKOFF_FILLING,
            500_000_000.. => 0.5,
            200_000_000.. => 0.7,
            _ => BACKOFF,
        };
        let mut lowered = backoff * through;
        let unused =
            inputs.drain_bps.is_none() && (inputs.sent_bps as f64) < 0.6 * self.bitrate_bps;
        if unused {
            lowered = lowered.max(BACKOFF_UNUSED * self.bitrate_bps);
        } else {
            let kbps = through / 1000.0;
            match self.capacity.as_mut() {
                Some(capacity) if kbps >= capacity.below_kbps() => capacity.learn(kbps),
                _ => self.capacity = Some(Capacity::new(kbps)),
            }
        }
        self.bitrate_bps = self.bitrate_bps.min(lowered);
        self.decreased_ns = Some(now_ns);
        self.changed_ns = now_ns;
    }

    fn increase(&mut self, now_ns: u64, inputs: &Inputs) {
        let elapsed_s = now_ns.saturating_sub(self.changed_ns).min(1_000_000_000) as f64 / 1e9;
        self.changed_ns = now_ns;
        let through = inputs
            .acknowledged_bps
            .map_or(self.bitrate_bps, |bps| bps as f64);
        if self
            .capacity
            .is_some_and(|one| through / 1000.0 > one.above_kbps())
        {
            self.capacity = None;
        }
        let grown = match self.capacity {
            // Near the capacity: about one packet a response time.
            Some(_) => {
                let response_s = 0.1 + inputs.round_trip_ns as f64 / 1e9;
                let frame_bits = self.bitrate_bps / 30.0;
                let packets = (frame_bits / (8.0 * 1200.0)).ceil().max(1.0);
                let per_second = (frame_bits / packets / response_s).max(4_000.0);
                self.bitrate_bps + per_second * elapsed_s
            }
            None => self.bitrate_bps * GROWTH.powf(elapsed_s),
        };
        // What gets through without queues growing is there.
        let grown = grown.max(0.95 * through);
        let most = BEYOND * through + BEYOND_BPS;
        if grown > self.bitrate_bps {
            self.bitrate_bps = grown.min(most.max(self.bitrate_bps));
        }
    }
}
