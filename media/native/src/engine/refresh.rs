//! Keyframes by the router's own clock, so that those who join find a recent one in the cache.
//!
//! While people join an encoding, its publisher is asked for a keyframe when the last one is [`Refresh`]'s interval
//! old, and when it is half as old while somebody waits to climb: in a stream with layers inside that may need two,
//! one after the other. So what it is asked depends on the clock, and not on how many come.
//! [`AUDIENCE_NS`] after the last of them the clock stops: a room where nobody comes or goes pays nothing.
//! A publisher that makes keyframes by itself in time is never asked.

use super::Engine;
use super::keyframe::{Cause, Causes};
use super::link::Ask;
use super::mirror::Home;
use super::table::ProducerKey;
use super::timers::{Armed, Timer};

/// For so long after somebody came, others are expected.
pub(super) const AUDIENCE_NS: u64 = 10_000_000_000;

/// Marks beside an encoding what a mirror asks for patiently, and that it is for those who joined.
const PATIENT: u8 = 0x80;
const JOINS: u8 = 0x40;

/// Viewers who can use a keyframe, but have something to see until it comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patient {
    pub(super) viewers: u32,
    /// They came now: others will come.
    pub(super) joins: bool,
}

impl Patient {
    /// What a mirror's ask for so many viewers means, if it is patient: the encoding, and who.
    pub(super) fn read(ask: u8, viewers: u32) -> Option<(u8, Self)> {
        let joins = ask & JOINS != 0;
        let encoding = ask & !(PATIENT | JOINS);
        (ask & PATIENT != 0).then_some((encoding, Self { viewers, joins }))
    }

    fn ask(self, encoding: u8) -> u8 {
        encoding | PATIENT | if self.joins { JOINS } else { 0 }
    }
}

/// The clock of one encoding.
#[derive(Debug, Default)]
pub(crate) struct Refresh {
    pub(crate) timer: Armed,
    /// When the last keyframe came.
    keyframe_ns: Option<u64>,
    /// Who waits for the next one, or was served from the cache since the last.
    viewers: u32,
    /// Some of them wait to climb.
    climbs: bool,
    until_ns: u64,
}

impl Refresh {
    /// A keyframe began.
    pub(super) fn handle_keyframe(&mut self, now_ns: u64) {
        self.keyframe_ns = Some(now_ns);
        self.viewers = 0;
        self.climbs = false;
    }

    /// When the publisher is asked, with this interval.
    fn due_ns(&self, now_ns: u64, interval_ns: u64) -> Option<u64> {
        let wanted = self.viewers > 0 || now_ns < self.until_ns;
        let interval_ns = if self.climbs {
            interval_ns / 2
        } else {
            interval_ns
        };
        let due_ns = self.keyframe_ns.map_or(0, |at_ns| at_ns + interval_ns);
        wanted.then_some(due_ns.max(now_ns))
    }
}

impl Engine {
    /// The publisher is asked for a keyframe when its last one is old.
    pub(super) fn ask_patiently(
        &mut self,
        now_ns: u64,
        key: ProducerKey,
        encoding: u8,
        who: Patient,
    ) {
        if self.config.keyframe_interval_ns == 0 {
            return;
        }
        let Some(producer) = self.table.producers.get_mut(key) else {
            return;
        };
        if let Home::Sibling(mirror) = &mut producer.home {
            let ask = Ask {
                encoding: who.ask(encoding),
                causes: Causes::default(),
                viewers: who.viewers,
            };
            mirror.ask_for(ask);
            self.table.links.mark(key);
            return;
        }
        if let Some(state) = producer.encodings.get_mut(usize::from(encoding)) {
            state.refresh.viewers = state.refresh.viewers.saturating_add(who.viewers);
            if who.joins {
                state.refresh.until_ns = now_ns + AUDIENCE_NS;
            } else {
                state.refresh.climbs = true;
            }
            self.arm_refresh(now_ns, key, encoding);
        }
    }

    /// Plans the next keyframe of an encoding that is to be refreshed.
    pub(super) fn arm_refresh(&mut self, now_ns: u64, key: ProducerKey, encoding: u8) {
        let interval_ns = self.config.keyframe_interval_ns;
        let Engine { table, timers, .. } = self;
        let state = table
            .producers
            .get_mut(key)
            .filter(|producer| interval_ns > 0 && producer.transport().is_some())
            .and_then(|producer| producer.encodings.get_mut(usize::from(encoding)));
        let Some(state) = state else { return };
        if let Some(at_ns) = state.refresh.due_ns(now_ns, interval_ns) {
            let timer = Timer::Refresh(key, encoding);
            timers.arm(&mut state.refresh.timer, at_ns, timer);
        }
    }

    /// The time of a refresh: it is asked for, unless a keyframe came meanwhile.
    pub(super) fn handle_refresh(&mut self, now_ns: u64, key: ProducerKey, encoding: u8) {
        let interval_ns = self.config.keyframe_interval_ns;
        let Some(producer) = self.table.producers.get_mut(key) else {
            return;
        };
        let Some(state) = producer.encodings.get_mut(usize::from(encoding)) else {
            return;
        };
        let Some(due_ns) = state.refresh.due_ns(now_ns, interval_ns) else {
            return;
        };
        if due_ns > now_ns {
            self.arm_refresh(now_ns, key, encoding);
            return;
        }
        // What rests has nobody to ask; its next packets begin with a keyframe.
        let viewers = std::mem::take(&mut state.refresh.viewers);
        state.refresh.climbs = false;
        if state.live {
            let causes = Cause::Clock.into();
            state.keyframes.ask_for(viewers.max(1), causes);
            self.serve_keyframe(now_ns, key, encoding);
        }
    }
}
