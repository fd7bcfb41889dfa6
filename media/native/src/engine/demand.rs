//! What of a producer anybody may be sent, so that its publisher need not send the rest.
//!
//! The *demand* for a producer is the highest layer that any of its unpaused consumers may be
//! sent: what it prefers, not what its bandwidth carries today, for nobody could climb to a layer
//! that is not there. Layers are encodings (simulcast), or the spatial ones inside of a producer's
//! only stream (SVC). Consumers on other workers count: their mirrors tell theirs.
//!
//! ```text
//! a viewer wants more ─▶ told at once         nobody wants it any more ─▶ told after HOLD_NS
//! ```
//!
//! So a thousand viewers that come cost one notice, and one that goes back and forth costs one in
//! [`HOLD_NS`]. Nothing is told to be superfluous before the producer has flowed for [`GRACE_NS`]:
//! its viewers are on their way.

use super::Engine;
use super::consumer::Consumer;
use super::encoding::SILENCE_NS;
use super::mirror::Home;
use super::producer::Producer;
use super::table::{ProducerKey, Table};
use crate::wire::notices::Notice;

/// For so long nobody must have wanted what the publisher is told to be superfluous.
pub const HOLD_NS: u64 = 3_000_000_000;

/// For so long after its first packet all of a producer is in demand.
pub const GRACE_NS: u64 = 5_000_000_000;

/// The highest layer that somebody wants; None: nobody wants any.
pub(crate) type Ceiling = Option<u8>;

/// What the publisher knows of the demand, and what it will be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// None before the first time.
    told: Option<Ceiling>,
    /// Since when no more than this is wanted, which is less than was told.
    less: Option<(u64, Ceiling)>,
    flowed_ns: Option<u64>,
    raised_ns: Option<u64>,
    /// Nothing flowed when the last raise was told, and nobody has been told since that none came.
    wakes: bool,
}

impl Demand {
    /// A viewer wants layers up to this one. True if that is to be told.
    fn raise(&mut self, now_ns: u64, ceiling: u8, flows: bool) -> bool {
        let wanted = Some(ceiling);
        if self.told.is_some_and(|told| wanted <= told) {
            if self.less.is_some_and(|(_, most)| wanted > most) {
                self.less = None;
            }
            return false;
        }
        self.told = Some(wanted);
        self.raised_ns = Some(now_ns);
        self.wakes = self.flowed_ns.is_some() && !flows;
        self.less = None;
        true
    }

    /// Looks whether less has been wanted for long enough: what is to be told then.
    fn look(&mut self, now_ns: u64, wanted: Ceiling, flows: bool) -> Option<Ceiling> {
        if flows {
            self.flowed_ns.get_or_insert(now_ns);
        }
        if self.told.is_some_and(|told| wanted >= told) {
            self.less = None;
            return None;
        }
        let since_ns = match self.less {
            Some((since_ns, most)) if wanted <= most => since_ns,
            _ => {
                self.less = Some((now_ns, wanted));
                now_ns
            }
        };
        let flowed_ns = self.flowed_ns?;
        let due_ns = (since_ns + HOLD_NS).max(flowed_ns + GRACE_NS);
        if now_ns < due_ns {
            return None;
        }
        let (_, most) = self.less.take()?;
        self.told = Some(most);
        Some(most)
    }

    /// The highest layer that the publisher believes to be wanted; at first that is `top`, its highest.
    pub(crate) fn believed(&self, top: u8) -> Ceiling {
        self.told.unwrap_or(Some(top))
    }

    /// Whether a producer that rested was asked for and did not come; true once.
    fn look_asleep(&mut self, now_ns: u64, flows: bool) -> bool {
        let asleep =
            self.wakes && !flows && !self.is_waking(now_ns) && self.told.flatten().is_some();
        self.wakes &= !flows && !asleep;
        asleep
    }

    /// The encodings are others now.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether the publisher has been asked for this encoding for so long that it should flow.
    pub(crate) fn expects(&self, now_ns: u64, encoding: usize) -> bool {
        let is_wanted = self
            .told
            .is_none_or(|told| told.is_some_and(|highest| encoding <= usize::from(highest)));
        is_wanted && !self.is_waking(now_ns)
    }

    /// Whether more was asked for so shortly ago that it need not flow yet.
    pub(crate) fn is_waking(&self, now_ns: u64) -> bool {
        self.raised_ns
            .is_some_and(|raised_ns| now_ns.saturating_sub(raised_ns) < SILENCE_NS)
    }
}

/// The highest layer that a consumer may be sent while it is not paused.
pub(super) fn ceiling_of(consumer: &Consumer, producer: &Producer) -> u8 {
    let highest = producer.top_layer();
    let preferred = consumer.row.spatial_layer.unwrap_or(u32::from(highest));
    preferred.min(u32::from(highest)) as u8
}

/// What the consumers of this worker want of a producer.
pub(super) fn wanted_here(table: &Table, producer: &Producer) -> Ceiling {
    let highest = producer.top_layer();
    let consumers = producer
        .consumers
        .iter()
        .filter_map(|&one| table.consumers.get(one));
    let mut wanted = None;
    for consumer in consumers.filter(|one| !one.row.paused) {
        wanted = wanted.max(Some(ceiling_of(consumer, producer)));
        if wanted == Some(highest) {
            break;
        }
    }
    wanted
}

/// A viewer may be sent layers up to `ceiling` from now on. True if such a layer rests inside of a stream,
/// and is woken.
pub(super) fn raise(engine: &mut Engine, now_ns: u64, key: ProducerKey, ceiling: u8) -> bool {
    let Engine { table, notices, .. } = engine;
    let Some(producer) = table.producers.get_mut(key) else {
        return false;
    };
    let is_more = match &mut producer.home {
        Home::Sibling(mirror) => {
            let is_more = mirror.wanted < Some(ceiling);
            if is_more {
                mirror.wanted = Some(ceiling);
                table.links.mark(key);
            }
            is_more
        }
        Home::Transport(_) => {
            let is_more = producer.demand.raise(now_ns, ceiling, producer.active);
            if is_more {
                notices.push(notice(producer, Some(ceiling)));
            }
            is_more
        }
    };
    let wakes = is_more && producer.lacks_inside(now_ns, ceiling);
    if wakes {
        producer.woken_ns = Some(now_ns);
    }
    wakes
}

/// Every half second: tells what nobody has wanted for a while.
pub(super) fn look(engine: &mut Engine, now_ns: u64, key: ProducerKey) {
    let Engine { table, notices, .. } = engine;
    let Some(producer) = table.producers.get(key) else {
        return;
    };
    let elsewhere = producer.feeds.iter().filter_map(|feed| feed.wanted).max();
    let wanted = wanted_here(table, producer).max(elsewhere);
    let producer = table.producers.get_mut(key).expect("looked up");
    let flows = producer.active;
    if let Some(ceiling) = producer.demand.look(now_ns, wanted, flows) {
        notices.push(notice(producer, ceiling));
    }
    if producer.demand.look_asleep(now_ns, flows) {
        notices.push(Notice::ProducerActivityChanged {
            producer: producer.row.producer.clone(),
            active: false,
        });
    }
}

fn notice(producer: &Producer, ceiling: Ceiling) -> Notice {
    Notice::ProducerDemandChanged {
        producer: producer.row.producer.clone(),
        spatial_layer: ceiling.map(u32::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn flowing() -> Demand {
        Demand {
            flowed_ns: Some(S),
            ..Demand::default()
        }
    }

    #[test]
    fn more_is_told_at_once_and_the_same_never_again() {
        let mut demand = flowing();
        assert!(demand.raise(10 * S, 0, true));
        assert!(!demand.raise(10 * S, 0, true));
        assert!(demand.raise(10 * S, 2, true));
        assert!((0..=2).all(|ceiling| !demand.raise(11 * S, ceiling, true)));
    }

    #[test]
    fn less_is_told_when_it_has_held() {
        let mut demand = flowing();
        demand.raise(10 * S, 2, true);
        assert_eq!(demand.look(20 * S, Some(2), true), None);
        assert_eq!(demand.look(21 * S, Some(0), true), None);
        assert_eq!(demand.look(23 * S, Some(0), true), None);
        assert_eq!(demand.look(24 * S, Some(0), true), Some(Some(0)));
        assert_eq!(demand.look(34 * S, Some(0), true), None);
        assert_eq!(demand.look(35 * S, None, true), None);
        assert_eq!(demand.look(38 * S, None, true), Some(None));
        assert!(demand.raise(38 * S, 1, true));
    }

    #[test]
    fn who_comes_back_in_time_prolongs_it() {
        let mut demand = flowing();
        demand.raise(10 * S, 2, true);
        assert_eq!(demand.look(20 * S, None, true), None);
        // Between two looks a viewer wanted 1 and went.
        assert!(!demand.raise(22 * S, 1, true));
        assert_eq!(demand.look(23 * S, None, true), None);
        assert_eq!(demand.look(25 * S, None, true), None);
        assert_eq!(demand.look(26 * S, None, true), Some(None));
    }

    #[test]
    fn new_producers_are_left_alone_until_they_have_flowed_for_a_while() {
        let mut demand = Demand::default();
        assert_eq!(demand.look(S, None, false), None);
        assert_eq!(demand.look(60 * S, None, false), None);
        assert_eq!(demand.look(61 * S, None, true), None);
        assert_eq!(demand.look(65 * S, None, true), None);
        assert_eq!(demand.look(66 * S, None, true), Some(None));
    }

    #[test]
    fn only_what_was_asked_for_long_enough_ago_is_missed() {
        let mut demand = flowing();
        assert!(demand.expects(2 * S, 2));
        demand.raise(10 * S, 1, true);
        assert!(!demand.expects(12 * S, 1));
        assert!(demand.expects(13 * S, 1));
        assert!(!demand.expects(13 * S, 2));
    }

    #[test]
    fn what_rested_and_does_not_wake_is_missed_once() {
        let mut demand = flowing();
        demand.raise(10 * S, 0, false);
        assert!(!demand.look_asleep(12 * S, false));
        assert!(demand.look_asleep(13 * S, false));
        assert!(!demand.look_asleep(14 * S, false));
        demand.raise(20 * S, 1, false);
        assert!(!demand.look_asleep(21 * S, true));
        assert!(
            !demand.look_asleep(30 * S, false),
            "it came: silence is told otherwise"
        );
        let mut new = Demand::default();
        new.raise(10 * S, 0, false);
        assert!(!new.look_asleep(30 * S, false), "it never flowed");
    }
}
