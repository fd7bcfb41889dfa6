//! Deadlines of the whole engine in one heap.
//!
//! Whoever arms a timer remembers the time that it was armed for; a timer that
//! fires at another time is stale and ignored. So nothing is ever searched for
//! in the heap, and its size is bounded by the entries of the table times the
//! timers of each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table::{ProducerKey, TransportKey};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Whether consent is still fresh.
    Consent(TransportKey),
    /// Reports, activity and scores.
    Tick(TransportKey),
    /// Transport-wide feedback to the publisher.
    Feedback(TransportKey),
    /// NACKs to the publisher.
    Losses(ProducerKey, u8),
    /// A keyframe request that had to wait.
    KeyFrame(ProducerKey, u8),
    /// A keyframe by the router's own clock.
    Refresh(ProducerKey, u8),
    /// What the viewers of a mirror want.
    Mirror(ProducerKey),
    /// The sharing of a viewer's bandwidth.
    Allocate(TransportKey),
    /// A piece of a probe.
    Probe(TransportKey),
    /// A piece of what a viewer's way has to be given slowly.
    Pace(TransportKey),
    /// Telemetry of all rooms.
    Sample,
    /// How loud the microphones of all rooms are.
    Levels,
}

/// When a timer of one owner is due, if it is armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(Option<u64>);

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, Timer)>>,
}

impl Timers {
    /// Arms a timer, unless it is armed for the same time or earlier.
    pub(crate) fn arm(&mut self, armed: &mut Armed, at_ns: u64, timer: Timer) {
        if armed.0.is_some_and(|earlier| earlier <= at_ns) {
            return;
        }
        armed.0 = Some(at_ns);
        self.heap.push(Reverse((at_ns, timer)));
    }

    /// The next deadline; may be that of a stale timer.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, _))| *at_ns)
    }

    /// The next timer that is due. Its owner must call [`Armed::fired`].
    pub(crate) fn pop(&mut self, now_ns: u64) -> Option<(u64, Timer)> {
        self.next_ns().filter(|&at_ns| at_ns <= now_ns)?;
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

impl Armed {
    /// Whether the timer that fired for `at_ns` is this one; if so it is disarmed.
    pub(crate) fn fired(&mut self, at_ns: u64) -> bool {
        let mine = self.0 == Some(at_ns);
        if mine {
            self.0 = None;
        }
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rearming_earlier_makes_the_later_one_stale() {
        let key = TransportKey::for_test(7);
        let mut timers = Timers::default();
        let mut armed = Armed::default();
        timers.arm(&mut armed, 20, Timer::Tick(key));
        timers.arm(&mut armed, 10, Timer::Tick(key));
        timers.arm(&mut armed, 30, Timer::Tick(key));
        let (at_ns, _) = timers.pop(25).expect("due");
        assert_eq!(at_ns, 10);
        assert!(armed.fired(at_ns));
        let (at_ns, _) = timers.pop(25).expect("stale one");
        assert!(!armed.fired(at_ns));
        assert_eq!(timers.pop(100), None);
    }
}
