//! How long the queue on the way is: one-way delay above the least that was seen.
//!
//! The trend of the delay needs a row of packet groups before it says anything, and a publisher's
//! frames are few groups. A queue that stands is seen at once. Jitter lengthens the way of some
//! packets, a queue that of all: so the least delay of each feedback counts.
//!
//! # What is no queue
//! A queue grows with what is put into it: between two packets that follow each other it can't jump.
//! A delay that does is a [`Step`]: a receiver that was held up, which shows at once when it catches
//! up, or a route that became longer, which is believed when the delay has stayed for
//! [`ROUTE_NS`]. Until it is known nothing is made of it; what goes on growing is a queue.
//!
//! While a queue stands, the pace at which packets come out of it is what the link takes
//! ([`QueueWatch::drain_bps`]), long before an average over all packets says so.

/// The least delay is that of the last two windows: a route that becomes longer bit by bit is learned.
const WINDOW_NS: u64 = 15_000_000_000;

/// A queue of so much that stands for [`STANDS_NS`] is over-use, whatever the trend says; a keyframe
/// may make one that drains at once. One of [`QUEUE_NS_LONG`] is at once.
const QUEUE_NS_MAX: u64 = 90_000_000;
const STANDS_NS: u64 = 140_000_000;
const QUEUE_NS_LONG: u64 = 250_000_000;

/// A queue of so much fills up when less than so many tenths of what is sent comes out of it.
const FILLING_NS_MIN: u64 = 50_000_000;
const FILLING_TENTHS: u64 = 7;

/// A delay that grows by so much from one packet to the next is a step.
const STEP_NS_MIN: i64 = 25_000_000;

/// A step that stays level for so long is a route.
const ROUTE_NS: i64 = 400_000_000;

/// Packets that were held up by more come out of a queue; how long, and how many, until their pace
/// says something; and how long it is measured anew.
const QUEUED_NS: i64 = 40_000_000;
const PACE_NS_MIN: i64 = 60_000_000;
const PACE_PACKETS_MIN: u32 = 6;
const PACE_NS_MAX: i64 = 200_000_000;

/// A delay that jumped, as long as it is not known why.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The delay before, and the least since.
    before: i64,
    least: i64,
    /// The least in the feedback that is being read.
    least_now: Option<i64>,
    began_ns: i64,
    newest_ns: i64,
}

/// What a delay that jumped turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Unknown,
    HeldUp,
    Route,
    Queue,
}

impl Step {
    fn judge(&mut self) -> Found {
        let Some(now) = self.least_now.take() else {
            return Found::Unknown;
        };
        let height = self.least - self.before;
        self.least = self.least.min(now);
        if now < self.before + height / 2 {
            Found::HeldUp
        } else if now > self.least + STEP_NS_MIN {
            Found::Queue
        } else if self.newest_ns - self.began_ns >= ROUTE_NS {
            Found::Route
        } else {
            Found::Unknown
        }
    }
}

/// The pace at which packets come out of a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Drain {
    first_ns: Option<i64>,
    last_ns: i64,
    bytes: u64,
    packets: u32,
    before_bps: Option<u64>,
}

impl Drain {
    fn record(&mut self, arrived_ns: i64, size: u32) {
        let Some(first_ns) = self.first_ns else {
            (self.first_ns, self.last_ns) = (Some(arrived_ns), arrived_ns);
            return;
        };
        self.last_ns = self.last_ns.max(arrived_ns);
        self.bytes += u64::from(size);
        self.packets += 1;
        if self.last_ns - first_ns >= PACE_NS_MAX && self.packets >= PACE_PACKETS_MIN {
            *self = Self {
                first_ns: Some(self.last_ns),
                last_ns: self.last_ns,
                before_bps: self.bitrate_bps(),
                ..Self::default()
            };
        }
    }

    fn bitrate_bps(&self) -> Option<u64> {
        let elapsed_ns = self.last_ns - self.first_ns?;
        if elapsed_ns < PACE_NS_MIN || self.packets < PACE_PACKETS_MIN {
            return self.before_bps;
        }
        Some(self.bytes * 8_000_000_000 / elapsed_ns as u64)
    }
}

/// Follows the length of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueWatch {
    windows: [Option<i64>; 2],
    base: Option<i64>,
    since_ns: u64,
    least_now: Option<i64>,
    queued_ns: u64,
    before_ns: u64,
    standing_since_ns: Option<u64>,
    stands: bool,
    newest: Option<(u64, i64)>,
    step: Option<Step>,
    /// The receiver was held up, and takes what waited for it.
    catches_up: bool,
    /// It is a queue: until it is empty, jumps of the delay say nothing else.
    is_queue: bool,
    drain: Drain,
}

impl QueueWatch {
    /// A packet was sent and arrived, by two clocks.
    #[inline]
    pub fn record(&mut self, sent_ns: u64, arrived_ns: i64, size: u32) {
        let delay = arrived_ns - sent_ns as i64;
        self.least_now = Some(self.least_now.map_or(delay, |least| least.min(delay)));
        let Some(base) = self.base else { return };
        if delay > base + QUEUED_NS {
            self.drain.record(arrived_ns, size);
        } else {
            self.drain = Drain::default();
        }
        let before = self.newest.replace((sent_ns, delay));
        let Some((_, before)) = before.filter(|one| one.0 <= sent_ns) else {
            return;
        };
        match self.step.as_mut() {
            Some(step) => {
                step.least_now = Some(step.least_now.map_or(delay, |least| least.min(delay)));
                step.newest_ns = step.newest_ns.max(arrived_ns);
            }
            None if delay - before >= STEP_NS_MIN
                && before - base < STEP_NS_MIN
                && !self.is_queue =>
            {
                self.step = Some(Step {
                    before,
                    least: delay,
                    least_now: Some(delay),
                    began_ns: arrived_ns,
                    newest_ns: arrived_ns,
                });
            }
            None => {}
        }
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
        let mut held_up = false;
        if let Some(step) = self.step.as_mut() {
            let found = step.judge();
            if found == Found::Route {
                self.windows = [Some(step.least), None];
                self.since_ns = now_ns;
                self.drain = Drain::default();
            }
            self.is_queue = found == Found::Queue;
            held_up = found == Found::HeldUp;
            if found != Found::Unknown {
                self.step = None;
            }
        }
        let base = self.windows.iter().flatten().min().copied();
        let base = base.unwrap_or(delay);
        self.base = Some(base);
        self.before_ns = self.queued_ns;
        self.queued_ns = u64::try_from(delay - base).unwrap_or(0);
        let waits = self.queued_ns >= STEP_NS_MIN as u64;
        self.is_queue &= waits;
        self.catches_up = waits && (held_up || (self.catches_up && self.is_falling()));
        let is_long = self.queued_ns > QUEUE_NS_MAX && !self.is_undecided();
        let since_ns = is_long.then(|| self.standing_since_ns.unwrap_or(now_ns));
        self.standing_since_ns = since_ns;
        self.stands = since_ns.is_some_and(|since_ns| {
            self.queued_ns > QUEUE_NS_LONG || now_ns - since_ns >= STANDS_NS
        });
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

    /// Whether the delay jumped and it is not known yet why, or what waited for a receiver that was
    /// held up is not all there.
    pub fn is_undecided(&self) -> bool {
        self.step.is_some() || self.catches_up
    }

    /// Whether a queue is there and far less comes out of it than what is sent: it will be long.
    pub fn is_filling(&self, sent_bps: u64) -> bool {
        let drain_bps = self.drain.bitrate_bps().unwrap_or(u64::MAX);
        !self.is_undecided()
            && self.queued_ns > FILLING_NS_MIN
            && drain_bps < sent_bps / 10 * FILLING_TENTHS
    }

    /// What comes out of a queue that stands, in bits a second; None without one, or too early.
    pub fn drain_bps(&self) -> Option<u64> {
        self.drain.bitrate_bps()
    }
}
