//! Pacing: what goes to a viewer whose way is known to be narrow is spread.
//!
//! Nothing is queued for it. A viewer that may get no more for now is given a [`Cursor`] into the
//! packets of its producer, which are in the cache anyway, and is served from there every
//! [`STEP_NS`] until it has reached the newest. The same serves one who joins, from the last keyframe on.
//!
//! The pace is [`FACTOR`] times the estimate (as libwebrtc's pacer), and whatever it takes for media to wait no
//! longer than [`WAIT_NS`]. Audio never waits. A viewer whose way was never seen to be full has no pace: what
//! comes for it leaves at once, in one run.

use super::Engine;
use super::instant_start::Plan;
use super::keyframe::Cause;
use super::producer::{Pending, Producer};
use super::serve::MARKER;
use super::table::{ConsumerKey, TransportKey};
use super::timers::{Armed, Timer, Timers};
use super::turns;
use crate::bwe::Estimator;

/// Between two pieces.
pub(super) const STEP_NS: u64 = 5_000_000;

/// The pace, as a multiple of the estimate, in halves.
const FACTOR_HALVES: u64 = 5;

/// What may leave at once: this much of the pace, but [`BURST_BYTES_MIN`] in any case.
const BURST_NS: u64 = 40_000_000;
const BURST_BYTES_MIN: i64 = 12_000;

/// Live media waits no longer, however slow the pace.
pub(super) const WAIT_NS: u64 = 120_000_000;

/// The pace for one of whose way nothing is known: most take more than this, and feedback tells the
/// others apart within a tenth of a second.
const UNKNOWN_BPS: u64 = 8_000_000;

/// The packets of one picture come within this time, or not at all.
const PICTURE_NS_MAX: u64 = 60_000_000;

/// Packets of one piece: what fits the send buffer, and takes nobody else's time.
const PIECE_MAX: usize = 32;

/// Where a viewer's stream stands behind the newest packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) encoding: u8,
    /// The first number that it has not reached.
    pub(crate) next: u64,
    /// It has reached the newest: what comes goes out directly again.
    pub(crate) live: bool,
    /// It began with a keyframe of the past.
    pub(crate) is_replay: bool,
    /// Since when it waits.
    pub(crate) since_ns: u64,
}

impl Cursor {
    /// A packet is the first that has to wait.
    pub(super) fn behind(now_ns: u64, pending: &Pending) -> Self {
        Self {
            encoding: pending.encoding,
            next: pending.sequence,
            live: false,
            is_replay: false,
            since_ns: now_ns,
        }
    }

    /// Whether a packet that is sent to others now is none of this viewer's: it gets it later, or has had it.
    #[inline]
    pub(super) fn passes_over(
        &self,
        encoding: u8,
        sequence: u64,
        has_had: impl FnOnce(u64) -> bool,
    ) -> bool {
        encoding == self.encoding
            && match sequence >= self.next {
                true => !self.live,
                false => has_had(sequence),
            }
    }
}

/// The pace of one viewer's transport.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    pub(super) timer: Armed,
    /// It stands in line for its next piece.
    pub(super) in_line: bool,
    pace_bps: Option<u64>,
    /// What may be sent, in bytes; below zero: what was sent ahead.
    tokens: i64,
    at_ns: u64,
    served_ns: Option<u64>,
}

impl Pacer {
    /// Bits a second that media may be sent with; None: there is no bound.
    #[inline]
    pub(super) fn pace_bps(&self) -> Option<u64> {
        self.pace_bps
    }

    /// The estimate may be another one. The pace is kept here, for each packet asks for it, and what it
    /// follows from lies far apart.
    pub(super) fn follow(&mut self, estimator: &Estimator) {
        self.pace_bps = Self::multiple_bps(estimator).filter(|_| estimator.has_found_limit());
    }

    fn multiple_bps(estimator: &Estimator) -> Option<u64> {
        estimator.bitrate_bps().map(|bps| bps * FACTOR_HALVES / 2)
    }

    /// Bits a second for what nobody waits for in real time: there is always a bound.
    pub(super) fn replay_bps(estimator: &Estimator) -> u64 {
        let known_bps = Self::multiple_bps(estimator).unwrap_or(0);
        match estimator.has_found_limit() {
            true => known_bps,
            false => known_bps.max(UNKNOWN_BPS),
        }
    }

    /// Bytes that may be sent now, at this pace.
    pub(super) fn allowance(&mut self, now_ns: u64, pace_bps: u64) -> i64 {
        let bytes = |ns: u64| (u128::from(pace_bps) * u128::from(ns) / 8_000_000_000) as i64;
        let elapsed_ns = now_ns.saturating_sub(self.at_ns).min(1_000_000_000);
        let most = bytes(BURST_NS).max(BURST_BYTES_MIN);
        // Whole bytes only: what is left of the time counts the next time.
        let earned = bytes(elapsed_ns);
        if earned > 0 || elapsed_ns == 0 {
            self.at_ns = now_ns;
        }
        self.tokens = (self.tokens + earned).min(most);
        self.tokens
    }

    /// So many bytes were sent.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as i64;
    }

    /// When the next piece may be sent at the earliest, so that pieces keep their distance.
    pub(super) fn due_ns(&self, step_ns: u64) -> u64 {
        self.served_ns.map_or(0, |at_ns| at_ns + step_ns)
    }

    /// Plans the next piece.
    pub(super) fn arm(&mut self, timers: &mut Timers, key: TransportKey, at_ns: u64) {
        timers.arm(&mut self.timer, at_ns, Timer::Pace(key));
    }
}

impl Engine {
    /// The time of a transport's next piece: it stands in line for the send buffer.
    pub(super) fn handle_pace(&mut self, key: TransportKey) {
        if let Some(transport) = self.table.transports.get_mut(key)
            && !std::mem::replace(&mut transport.pacer.in_line, true)
        {
            self.fanout.paced.push_back(key);
        }
    }
}

/// Serves the transport whose turn it is with its next piece; false if none stands in line.
pub(super) fn serve_next(engine: &mut Engine, segments_max: usize) -> bool {
    let Some(key) = engine.fanout.paced.pop_front() else {
        return false;
    };
    let now_ns = engine.now_ns;
    let Some(transport) = engine.table.transports.get_mut(key) else {
        return true;
    };
    transport.pacer.in_line = false;
    transport.pacer.served_ns = Some(now_ns);
    let consumers = &engine.table.consumers;
    let is_behind = |&&one: &&ConsumerKey| {
        let cursor = consumers.get(one).and_then(|one| one.cursor);
        cursor.is_some_and(|cursor| !cursor.live)
    };
    let behind: Vec<ConsumerKey> = transport
        .consumers
        .iter()
        .filter(is_behind)
        .copied()
        .collect();
    let mut left = PIECE_MAX;
    let mut is_behind = false;
    for one in behind {
        is_behind |= !serve_piece(engine, one, &mut left, segments_max);
    }
    if is_behind {
        let Engine {
            table,
            timers,
            fanout,
            ..
        } = engine;
        let transport = table.transports.get_mut(key).expect("just served");
        if left == 0 {
            // It may be sent more, after others.
            transport.pacer.in_line = true;
            fanout.paced.push_back(key);
        } else {
            transport.pacer.arm(timers, key, now_ns + STEP_NS);
        }
    }
    true
}

/// Serves a consumer that is behind with as much as its pace allows, `left` packets at most. True
/// if it has caught up, or there is nothing to catch up with any more.
fn serve_piece(
    engine: &mut Engine,
    key: ConsumerKey,
    left: &mut usize,
    segments_max: usize,
) -> bool {
    let now_ns = engine.now_ns;
    let table = &mut engine.table;
    let Some(consumer) = table.consumers.get_mut(key) else {
        return true;
    };
    let Some(mut cursor) = consumer.cursor else {
        return true;
    };
    let (Some(producer), Some(transport)) = (
        table.producers.get(consumer.producer),
        table.transports.get_mut(consumer.transport),
    ) else {
        return true;
    };
    let begun = consumer.selection.current() == Some(cursor.encoding);
    let begins = cursor.is_replay && consumer.selection.target() == Some(cursor.encoding);
    let encoding = producer.encodings.get(usize::from(cursor.encoding));
    let goes_on = (begun || begins) && transport.media_remote().is_some() && !producer.row.paused;
    let Some(encoding) = encoding.filter(|_| goes_on) else {
        consumer.cursor = None;
        return true;
    };
    let estimator = &transport.downlink.estimator;
    let history = &encoding.history;
    let group = history.group().filter(|_| cursor.is_replay);
    // A keyframe that came meanwhile: what lies before it needs nobody any more, but for a frame's rest.
    let newer = group.filter(|group| group.first > cursor.next);
    if let Some(group) = newer.filter(|_| history.begins_picture(cursor.next)) {
        cursor.next = group.first;
    }
    if begins && !begun && is_amid_picture(producer, consumer.selection.current(), now_ns) {
        return false;
    }
    let mut plan = None;
    let pace_bps = if cursor.is_replay {
        let pace_bps = Pacer::replay_bps(estimator);
        if group.is_some_and(|group| group.first == cursor.next) {
            plan = match begun {
                true => Plan::of(encoding, now_ns, pace_bps),
                false => Plan::for_viewer(consumer, producer, encoding, now_ns, pace_bps),
            };
            if plan.is_none() && !begun {
                // It has become too much since: as if nothing had been there.
                consumer.cursor = None;
                engine.begin_or_ask(now_ns, key, cursor.encoding);
                return true;
            }
        }
        pace_bps
    } else {
        let bytes = |sequence| {
            encoding
                .cache
                .lookup(sequence, now_ns)
                .map(|one| one.data.len())
        };
        let waiting: usize = (cursor.next..=history.newest()).filter_map(bytes).sum();
        let left_ns = (cursor.since_ns + WAIT_NS)
            .saturating_sub(now_ns)
            .max(STEP_NS);
        let least_bps = waiting as u64 * 8 * 1_000_000_000 / left_ns;
        let pace_bps = transport.pacer.pace_bps();
        pace_bps.map_or(u64::MAX / 16, |bps| bps.max(least_bps))
    };
    let mut allowance = transport.pacer.allowance(now_ns, pace_bps);
    let mut batch = Vec::new();
    let newest = history.newest();
    while cursor.next <= newest && allowance > 0 && *left > 0 {
        let is_over = newer.is_some_and(|group| group.first > cursor.next);
        if is_over && !batch.is_empty() && history.begins_picture(cursor.next) {
            break;
        }
        let found = history.packet(cursor.next);
        let cached = encoding.cache.lookup(cursor.next, now_ns);
        cursor.next += 1;
        if let Some((pending, cached)) = found.zip(cached) {
            allowance -= cached.data.len() as i64;
            *left -= 1;
            batch.push(*pending);
        }
    }
    if batch.is_empty() && cursor.next <= newest {
        // Others of its transport have had what may be sent now.
        consumer.cursor = Some(cursor);
        return false;
    }
    turns::serve_past(engine, key, &batch, plan, segments_max);
    let Some(consumer) = engine.table.consumers.get_mut(key) else {
        return true;
    };
    // What was sent may have ended its segment.
    if consumer.cursor.is_none() || consumer.selection.current() != Some(cursor.encoding) {
        consumer.cursor = None;
        if cursor.is_replay && consumer.selection.is_waiting() {
            let producer = consumer.producer;
            engine.ask_keyframe(now_ns, producer, cursor.encoding, Cause::Began);
        }
        return true;
    }
    cursor.live = cursor.next > newest;
    consumer.cursor = Some(cursor);
    if cursor.live && cursor.is_replay {
        let (spatial, temporal) = consumer.wanted;
        consumer.filter.aim(spatial, temporal);
        let target = consumer.selection.target();
        if let Some(target) = target.filter(|_| consumer.selection.is_waiting()) {
            return !engine.start_from_past(now_ns, key, target);
        }
    }
    cursor.live
}

/// Whether a viewer has had a part of a picture whose rest is still to come.
pub(super) fn is_amid_picture(producer: &Producer, current: Option<u8>, now_ns: u64) -> bool {
    let state = current.and_then(|place| producer.encodings.get(usize::from(place)));
    let Some(state) = state.filter(|one| one.live) else {
        return false;
    };
    let newest = state.cache.lookup(state.history.newest(), now_ns);
    newest.is_some_and(|packet| {
        let ends = packet.data.get(1).is_some_and(|byte| byte & MARKER != 0);
        !ends && now_ns.saturating_sub(packet.received_ns) < PICTURE_NS_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn tokens_come_with_the_time_and_are_bounded() {
        let mut pacer = Pacer::default();
        // 8 Mbit/s: a byte a microsecond.
        assert_eq!(pacer.allowance(1_000 * MS, 8_000_000), 40_000);
        pacer.spend(50_000);
        assert_eq!(pacer.allowance(1_000 * MS, 8_000_000), -10_000);
        assert_eq!(pacer.allowance(1_015 * MS, 8_000_000), 5_000);
        // A slow one may always send a few packets at once.
        assert_eq!(pacer.allowance(3_000 * MS, 80_000), BURST_BYTES_MIN);
    }

    #[test]
    fn a_cursor_passes_over_what_comes_later_and_what_was_had() {
        let mut cursor = Cursor {
            encoding: 1,
            next: 10,
            live: false,
            is_replay: true,
            since_ns: 0,
        };
        assert!(cursor.passes_over(1, 12, |_| false));
        assert!(!cursor.passes_over(0, 12, |_| true), "of another encoding");
        assert!(cursor.passes_over(1, 9, |_| true));
        assert!(!cursor.passes_over(1, 9, |_| false), "repaired late");
        cursor.live = true;
        assert!(!cursor.passes_over(1, 12, |_| true));
    }
}
