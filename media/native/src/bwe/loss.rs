//! The rate that losses allow (draft-ietf-rmcat-gcc-02, 6), without mistaking a bad radio for a full queue.
//!
//! Losses that do not come with growing delay, and stay when less is sent, are the link's own. They
//! are learned slowly and up to [`OWN_LOSS_MAX`], and only what exceeds them counts as congestion.

/// Losses are judged over so many packets, or so long.
const PACKETS_MIN: u32 = 40;
const WINDOW_NS_MIN: u64 = 200_000_000;
const WINDOW_NS_MAX: u64 = 1_500_000_000;

/// Below this share the bound rises, above it falls.
const LOW: f64 = 0.02;
const HIGH: f64 = 0.10;

/// The most that is taken for the link's own.
pub const OWN_LOSS_MAX: f64 = 0.12;

/// How fast losses are learned as the link's own, a second.
const LEARN: f64 = 0.15;

/// Chance alone makes a window worse than the mean by so much.
const CHANCE: f64 = 0.05;

/// An upper bound from losses.
#[derive(Clone, Debug)]
pub struct LossBound {
    bound_bps: f64,
    packets: u32,
    lost: u32,
    since_ns: u64,
    decreased_ns: u64,
    own: f64,
    share: f64,
}

impl LossBound {
    /// Without losses there is no bound.
    pub fn new() -> Self {
        Self {
            bound_bps: f64::INFINITY,
            packets: 0,
            lost: 0,
            since_ns: 0,
            decreased_ns: 0,
            own: 0.0,
            share: 0.0,
        }
    }

    /// Share of the packets that were lost in the last window, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The bound in bits a second; None if there is none.
    pub fn bound_bps(&self) -> Option<u64> {
        self.bound_bps.is_finite().then_some(self.bound_bps as u64)
    }

    /// A probe got so much through: no loss forbids that.
    pub fn lift(&mut self, bitrate_bps: u64) {
        self.bound_bps = self.bound_bps.max(bitrate_bps as f64);
    }

    /// Takes the fates of packets. `estimate_bps` is the rate that would hold without this bound,
    /// `acknowledged_bps` what got through, `queues_grow` whether delay says that the link is full.
    pub fn record(
        &mut self,
        now_ns: u64,
        (packets, lost): (u32, u32),
        estimate_bps: u64,
        acknowledged_bps: Option<u64>,
        queues_grow: bool,
    ) {
        if self.packets == 0 {
            self.since_ns = now_ns;
        }
        self.packets += packets;
        self.lost += lost;
        let age_ns = now_ns.saturating_sub(self.since_ns);
        let enough = self.packets >= PACKETS_MIN && age_ns >= WINDOW_NS_MIN;
        if self.packets < 10 || !(enough || age_ns >= WINDOW_NS_MAX) {
            return;
        }
        self.share = f64::from(self.lost) / f64::from(self.packets);
        let chance = CHANCE.max(2.0 * (self.share / f64::from(self.packets)).sqrt());
        (self.packets, self.lost) = (0, 0);
        let elapsed_s = age_ns as f64 / 1e9;
        let congested = self.share > HIGH.max(self.own + chance);
        if congested {
            let wait_ns = 300_000_000;
            if now_ns.saturating_sub(self.decreased_ns) >= wait_ns {
                self.decreased_ns = now_ns;
                let from = self.bound_bps.min(estimate_bps as f64);
                let excess = self.share - self.own;
                let least = acknowledged_bps.map_or(0.0, |bps| 0.9 * bps as f64);
                self.bound_bps = (from * (1.0 - 0.5 * excess)).max(least.min(from));
            }
        } else if self.share - self.own <= LOW.max(chance) {
            let grown = self.bound_bps * 1.08f64.powf(elapsed_s.max(0.2));
            // Far above what the rest allows it says nothing any more.
            self.bound_bps = if grown > 2.0 * estimate_bps as f64 {
                f64::INFINITY
            } else {
                grown
            };
        }
        if !queues_grow {
            let learned = self.own + (self.share - self.own) * (LEARN * elapsed_s).min(1.0);
            self.own = learned.min(OWN_LOSS_MAX);
        }
    }
}

impl Default for LossBound {
    fn default() -> Self {
        Self::new()
    }
}
