//! A way with a bottleneck: a queue in front of a link that carries so much and no more.

use super::{Dice, S};

/// A receiver that is not run all the time: what arrives meanwhile waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    pub(crate) period_ns: u64,
    pub(crate) stalled_ns: u64,
    /// What it takes for each packet once it runs.
    pub(crate) packet_ns: u64,
}

impl Stall {
    /// The end of the stall that this time falls into.
    fn until_ns(&self, at_ns: u64) -> Option<u64> {
        let phase_ns = at_ns % self.period_ns;
        (phase_ns < self.stalled_ns).then(|| at_ns - phase_ns + self.stalled_ns)
    }
}

/// What is between the engine and a peer, or several. Towards the engine it only delays, unless it is an
/// uplink.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) capacity_bps: u64,
    pub(crate) delay_ns: u64,
    /// It narrows the way towards the engine, and the other way only delays.
    pub(crate) is_uplink: bool,
    /// Up to so much more delay, without reordering.
    pub(crate) jitter_ns: u64,
    pub(crate) loss_permille: u64,
    /// Chance of a packet to begin a burst of losses, and how many packets it takes on average.
    pub(crate) burst: Option<(u64, u64)>,
    /// Longer queues drop what comes.
    pub(crate) queue_ns_max: u64,
    /// What another flow takes that does not yield.
    pub(crate) cross_bps: u64,
    /// The receiver at its end lacks CPU: it takes nothing for so much of each period.
    pub(crate) stall: Option<Stall>,
    /// The longest queue since it was last looked at.
    pub(crate) queued_ns: u64,
    free_ns: u64,
    crossed_ns: u64,
    last_arrival_ns: u64,
    in_burst: bool,
}

impl Path {
    pub(crate) fn new(capacity_bps: u64, delay_ns: u64) -> Self {
        Self {
            capacity_bps,
            delay_ns,
            is_uplink: false,
            jitter_ns: 0,
            loss_permille: 0,
            burst: None,
            queue_ns_max: S,
            cross_bps: 0,
            stall: None,
            queued_ns: 0,
            free_ns: 0,
            crossed_ns: 0,
            last_arrival_ns: 0,
            in_burst: false,
        }
    }

    /// Whether the receiver is not run now.
    pub(crate) fn is_stalled(&self, now_ns: u64) -> bool {
        self.stall
            .is_some_and(|stall| stall.until_ns(now_ns).is_some())
    }

    fn loses(&mut self, dice: &mut Dice) -> bool {
        if let Some((begins_permille, length)) = self.burst {
            self.in_burst = match self.in_burst {
                true => dice.below(length) != 0,
                false => dice.below(1000) < begins_permille,
            };
        }
        dice.below(1000) < self.loss_permille || self.in_burst
    }

    /// When a datagram arrives that is sent now; None if it is lost.
    pub(super) fn pass(&mut self, now_ns: u64, len: usize, dice: &mut Dice) -> Option<u64> {
        let lost = self.loses(dice);
        let crossed_ns = now_ns.saturating_sub(self.crossed_ns.max(1)).min(S);
        self.crossed_ns = now_ns;
        let before_ns = self.free_ns.max(now_ns - crossed_ns);
        let filled_ns = before_ns + crossed_ns * self.cross_bps / self.capacity_bps;
        // A full queue drops the other flow's packets alike.
        self.free_ns = filled_ns.min(before_ns.max(now_ns + self.queue_ns_max));
        let begins_ns = self.free_ns.max(now_ns);
        let queued_ns = begins_ns - now_ns;
        if queued_ns > self.queue_ns_max {
            return None;
        }
        self.queued_ns = self.queued_ns.max(queued_ns);
        // IP and UDP headers take their share.
        self.free_ns = begins_ns + (len as u64 + 28) * 8 * S / self.capacity_bps;
        if lost {
            return None;
        }
        let mut arrival_ns = self.free_ns + self.delay_ns + dice.below(self.jitter_ns + 1);
        if let Some(stall) = self.stall {
            arrival_ns = arrival_ns.max(self.last_arrival_ns + stall.packet_ns);
            arrival_ns = stall.until_ns(arrival_ns).unwrap_or(arrival_ns);
        }
        self.last_arrival_ns = self.last_arrival_ns.max(arrival_ns);
        Some(self.last_arrival_ns)
    }
}
