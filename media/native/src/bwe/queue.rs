//! How long the queue on the way is: one-way delay above the least that was seen.
//!
//! The trend of the delay needs a row of packet groups before it says anything, and a publisher's
//! frames are few groups. A queue that stands is seen at once. Jitter lengthens the way of some
//! packets, a queue that of all: so the least delay of each feedback counts.

/// The least delay is that of the last two windows: a route that becomes longer is learned.
const WINDOW_NS: u64 = 15_000_000_000;

/// A queue of so much that stands for [`STANDS_NS`] is over-use, whatever the trend says; a keyframe
/// may make one that drains at once. One of [`QUEUE_NS_LONG`] is at once.
const QUEUE_NS_MAX: u64 = 90_000_000;
const STANDS_NS: u64 = 140_000_000;
const QUEUE_NS_LONG: u64 = 250_000_000;

/// Follows the length of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueWatch {
    windows: [Option<i64>; 2],
    since_ns: u64,
    least_now: Option<i64>,
    queued_ns: u64,
    before_ns: u64,
    standing_since_ns: Option<u64>,
    stands: bool,
}

impl QueueWatch {
    /// A packet was sent and arrived, by two clocks.
    #[inline]
    pub fn record(&mut self, sent_ns: u64, arrived_ns: i64) {
        let delay = arrived_ns - sent_ns as i64;
        self.least_now = Some(self.least_now.map_or(delay, |least| least.min(delay)));
    }

    /// A feedback is read to its end.
    pub fn settle(&mut self, now_ns: u64) {
        let Some(delay) = self.least_now.take() else {
            return;
        };
        if now_ns.saturating_sub(self.since_ns) >= WINDOW_NS {
            self.windows = [None, self.windows[0]];
            self.since_ns = now_ns;
        }
        let newest = &mut self.windows[0];
        *newest = Some(newest.map_or(delay, |least| least.min(delay)));
        let base = self
            .windows
            .iter()
            .flatten()
            .min()
            .copied()
            .unwrap_or(delay);
        self.before_ns = self.queued_ns;
        self.queued_ns = u64::try_from(delay - base).unwrap_or(0);
        let since_ns =
            (self.queued_ns > QUEUE_NS_MAX).then(|| self.standing_since_ns.unwrap_or(now_ns));
        self.standing_since_ns = since_ns;
        self.stands = self.queued_ns > QUEUE_NS_LONG
            || since_ns.is_some_and(|since_ns| now_ns - since_ns >= STANDS_NS);
    }

    /// The length as of the last feedback, in ns.
    pub fn queued_ns(&self) -> u64 {
        self.queued_ns
    }

    /// Whether it became shorter.
    pub fn is_falling(&self) -> bool {
        self.queued_ns < self.before_ns
    }

    /// Whether it is too long.
    pub fn is_standing(&self) -> bool {
        self.stands
    }
}
