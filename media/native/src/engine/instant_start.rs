//! Instant start: who joins is sent the pictures since the last keyframe, from the cache.
//!
//! A viewer who waits for a beginning of an encoding gets the last one that came, and all that followed,
//! as fast as its way permits (`pacing`), until it has caught up with the others. The publisher hears nothing of it.
//! Where the stream has temporal layers only the lowest is sent meanwhile: what is over by then need not be
//! smooth, and is decoded the sooner. Timestamps are squeezed, so that the receiver does not stay behind
//! (`rewrite`).
//!
//! Where that would take too long, because the last keyframe is far away or the way narrow, the publisher is
//! asked for a keyframe, as ever. That this is the exception is the job of `refresh`.

use super::Engine;
use super::consumer::Consumer;
use super::encoding::Encoding;
use super::history::Group;
use super::keyframe::{Cause, Causes};
use super::pacing::{Cursor, Pacer, STEP_NS, is_amid_picture};
use super::producer::Producer;
use super::refresh::Patient;
use super::rewrite::Squeeze;
use super::table::ConsumerKey;

/// A keyframe older than this is not begun with: all since then would have to be decoded.
const AGE_NS_MAX: u64 = 9_000_000_000;

/// Pictures that are decoded at most to catch up.
const PICTURES_MAX: usize = 300;

/// It takes no longer to catch up.
const CATCH_UP_NS_MAX: u64 = 1_500_000_000;

/// Who has a picture would see again, in the new layer, what it has seen. So it begins with a keyframe of
/// the past only if that is as young as this, or if it has itself begun so lately, and catches up within
/// [`SWITCH_NS_MAX`]. Otherwise it stays where it is until the next keyframe.
const FRESH_NS: u64 = 200_000_000;
const BEGUN_NS: u64 = 600_000_000;

/// See [`FRESH_NS`].
const SWITCH_NS_MAX: u64 = 300_000_000;

/// How a viewer catches up from a keyframe of the past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) group: Group,
    pub(super) squeeze: Squeeze,
    /// Only the lowest temporal layer is sent meanwhile.
    pub(super) thin: bool,
    /// Timestamp of the newest packet, and when it came.
    pub(super) newest: (u32, u64),
    /// Of all packets since, whatever is sent of them.
    pub(super) bytes: usize,
    takes_ns: u64,
}

/// Why nobody begins with the last keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// There is none, or packets behind it are missing.
    Missing,
    Aged,
    Slow,
}

impl Unfit {
    fn causes(self) -> Causes {
        let began = Causes::from(Cause::Began);
        match self {
            Self::Missing => began,
            Self::Aged => began.and(Cause::Aged.into()),
            Self::Slow => began.and(Cause::Slow.into()),
        }
    }
}

impl Plan {
    /// None if it would take too long at this pace, or packets are missing.
    pub(super) fn of(encoding: &Encoding, now_ns: u64, pace_bps: u64) -> Option<Self> {
        Self::made(encoding, now_ns, pace_bps).ok()
    }

    /// Or why it can't be.
    fn made(encoding: &Encoding, now_ns: u64, pace_bps: u64) -> Result<Self, Unfit> {
        let group = encoding.history.group().ok_or(Unfit::Missing)?;
        let newest = encoding.reception.as_ref().and_then(|one| one.newest);
        let newest = newest.ok_or(Unfit::Missing)?;
        let age_ns = now_ns.saturating_sub(group.received_ns);
        if age_ns > AGE_NS_MAX {
            return Err(Unfit::Aged);
        }
        let extent = encoding.history.extent(&encoding.cache, now_ns);
        let extent = extent.ok_or(Unfit::Missing)?;
        let thin = extent.base_pictures < extent.pictures;
        let (bytes, pictures) = match thin {
            true => (extent.base_bytes, extent.base_pictures),
            false => (extent.bytes, extent.pictures),
        };
        let bits_e9 = bytes as u128 * 8 * 1_000_000_000;
        // It goes on while the viewer catches up. What is short is mostly a keyframe, and no measure.
        let flow_bps = bits_e9 / u128::from(age_ns.max(1_000_000_000));
        let faster_bps = u128::from(pace_bps).checked_sub(flow_bps);
        let takes_ns = bits_e9 / faster_bps.ok_or(Unfit::Slow)?.max(1);
        if takes_ns > u128::from(CATCH_UP_NS_MAX) || pictures > PICTURES_MAX {
            return Err(Unfit::Slow);
        }
        let ticks = takes_ns * u128::from(encoding.clock_rate) / 1_000_000_000;
        Ok(Self {
            group,
            squeeze: Squeeze::new(group.timestamp, newest.0, ticks as u32),
            thin,
            newest,
            bytes: extent.bytes,
            takes_ns: takes_ns as u64,
        })
    }

    /// None, too, if a viewer would see again at length what it has seen.
    pub(super) fn for_viewer(
        consumer: &Consumer,
        producer: &Producer,
        encoding: &Encoding,
        now_ns: u64,
        pace_bps: u64,
    ) -> Option<Self> {
        let plan = Self::of(encoding, now_ns, pace_bps)?;
        let is_within = |since_ns: u64, ns: u64| now_ns.saturating_sub(since_ns) <= ns;
        let is_hardly_seen =
            is_within(plan.group.received_ns, FRESH_NS) || is_within(consumer.started_ns, BEGUN_NS);
        let is_switch = consumer.has_picture(producer);
        (!is_switch || (is_hardly_seen && plan.takes_ns <= SWITCH_NS_MAX)).then_some(plan)
    }
}

impl Engine {
    /// A consumer waits for a beginning of an encoding, or of layers inside of it. It is given the last
    /// one that came, or waits for the next one of itself if it has something to see; else the publisher is asked.
    pub(super) fn begin_or_ask(&mut self, now_ns: u64, key: ConsumerKey, target: u8) {
        let Some(consumer) = self.table.consumers.get(key) else {
            return;
        };
        let producer_key = consumer.producer;
        let Some(producer) = self.table.producers.get(producer_key) else {
            return;
        };
        let joins = !consumer.has_picture(producer);
        let is_urgent = consumer.is_cut_off()
            || consumer.must_go_down(now_ns, target, producer)
            || consumer.is_starved(now_ns, producer);
        // What rested is awaited by the very ones that it was woken for.
        let wakes = producer.wakes_inside(now_ns);
        let began = !is_urgent && self.start_from_past(now_ns, key, target);
        match self.config.keyframe_interval_ns > 0 && !is_urgent {
            // Of those who come there will be others, and who has a picture waits for the next keyframe.
            true if joins == began && (joins || !wakes) => {
                let who = Patient { viewers: 1, joins };
                self.ask_patiently(now_ns, producer_key, target, who);
            }
            true if began => {}
            _ if joins => {
                let causes = match is_urgent {
                    true => Causes::from(Cause::Began).and(Cause::Full.into()),
                    false => self.why_not_from_past(now_ns, key, target),
                };
                self.ask_keyframe(now_ns, producer_key, target, causes);
            }
            _ => self.ask_keyframe(now_ns, producer_key, target, Cause::Switched),
        }
    }

    /// Why a viewer with nothing to see can't begin with the past.
    fn why_not_from_past(&self, now_ns: u64, key: ConsumerKey, target: u8) -> Causes {
        let consumer = self.table.consumers.get(key);
        let encoding = consumer.and_then(|consumer| {
            let producer = self.table.producers.get(consumer.producer)?;
            let transport = self.table.transports.get(consumer.transport)?;
            let encoding = producer.encodings.get(usize::from(target))?;
            Some((encoding, Pacer::replay_bps(&transport.downlink.estimator)))
        });
        let unfit =
            encoding.and_then(|(encoding, pace_bps)| Plan::made(encoding, now_ns, pace_bps).err());
        unfit.unwrap_or(Unfit::Missing).causes()
    }

    /// Has a consumer that waits for `target` begin with the last keyframe that came; false if it can't.
    ///
    /// True, too, if all that is missing is that its transport can send: then it is tried again. False
    /// while it is behind in what it sees, or in the midst of a picture, and would miss the rest of that.
    pub(super) fn start_from_past(&mut self, now_ns: u64, key: ConsumerKey, target: u8) -> bool {
        if self.config.keyframe_interval_ns == 0 {
            return false;
        }
        let Engine { table, timers, .. } = self;
        let Some(consumer) = table.consumers.get_mut(key) else {
            return false;
        };
        let (Some(producer), Some(transport)) = (
            table.producers.get(consumer.producer),
            table.transports.get_mut(consumer.transport),
        ) else {
            return false;
        };
        let Some(encoding) = producer.encodings.get(usize::from(target)) else {
            return false;
        };
        if producer.row.paused || !encoding.live {
            return false;
        }
        let current = consumer.selection.current();
        let is_behind = |cursor: &Cursor| !cursor.live && Some(cursor.encoding) == current;
        if consumer.cursor.as_ref().is_some_and(is_behind) {
            return false;
        }
        // What is live would be passed over from now on: the rest of the picture, too.
        if current == Some(target) && is_amid_picture(producer, current, now_ns) {
            return false;
        }
        let pace_bps = Pacer::replay_bps(&transport.downlink.estimator);
        let plan = Plan::for_viewer(consumer, producer, encoding, now_ns, pace_bps);
        let Some(plan) = plan else {
            return false;
        };
        if transport.media_remote().is_some() {
            consumer.cursor = Some(Cursor {
                encoding: target,
                next: plan.group.first,
                live: false,
                is_replay: true,
                since_ns: now_ns,
            });
            let at_ns = now_ns.max(transport.pacer.due_ns(STEP_NS));
            transport.pacer.arm(timers, consumer.transport, at_ns);
        }
        true
    }
}
