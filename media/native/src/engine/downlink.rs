//! What the way to one viewer takes, and what its consumers get of it.
//!
//! A viewer's transport has a [`Downlink`]: the estimator of [`crate::bwe`], the last allocation, and
//! the probe that is under way. A few times a second, and at once when the estimate falls below what
//! was given away, the layers of all its consumers are allocated anew (`allocate`). Where the estimate
//! is too small for the next step, a probe looks for more (`probing`).
//!
//! A viewer that gives no feedback is reckoned with [`INITIAL_BPS`] for [`DEAF_NS`]; after that it
//! gets all that it wants, for nothing is known against it.

use super::Engine;
use super::allocate::{Candidate, Outcome, Room, STEPS_MAX, Step, allocate};
use super::consumer::Grant;
use super::encoding::Encoding;
use super::filter::Structure;
use super::producer::Producer;
use super::table::{ConsumerKey, Table, TransportKey};
use super::timers::{Armed, Timer};
use crate::bwe::{Estimator, INITIAL_BPS, Limit};
use crate::rtcp::TransportFeedback;
use crate::wire::notices::Notice;
use crate::wire::orders::{Kind, SetConsumer};

/// Between two allocations.
const ALLOCATE_NS: u64 = 250_000_000;

/// A viewer without feedback for so long gives none.
const DEAF_NS: u64 = 2_000_000_000;

/// Estimates are told at most so often, and only when they changed by a fourth.
const TELL_NS: u64 = 5_000_000_000;

/// That probes found nothing is told at most so often.
const TELL_PROBES_NS: u64 = 30_000_000_000;

/// What simulcast encodings are taken for until they are measured.
const GUESSES_BPS: [u64; 3] = [200_000, 700_000, 2_000_000];

/// A queue of so much drains before a lower encoding begins, half of it, and half of so much at most.
const DRAINED_NS_MIN: u64 = 120_000_000;
const DRAINED_NS_MAX: u64 = 600_000_000;

/// A limit is believed for so long since queues last grew, and up to sixteen times that when trials
/// fail. One that lasted for [`TRIAL_NS`] did not.
const BELIEVED_NS: u64 = 20_000_000_000;
const DOUBLINGS_MAX: u32 = 4;
const TRIAL_NS: u64 = 15_000_000_000;

/// Congestion so long ago has nothing to do with a step down now.
const CONGESTED_NS: u64 = 3_000_000_000;

/// Bytes of RTP, SRTP and extensions of an audio packet, and packets of a second.
const AUDIO_OVERHEAD_BPS: u64 = 50 * 8 * 50;

/// The congestion state of a viewer's transport.
#[derive(Debug, Default)]
pub(crate) struct Downlink {
    pub(crate) estimator: Estimator,
    pub(crate) timer: Armed,
    pub(crate) probing: super::probing::Probing,
    pub(crate) outcome: Outcome,
    /// Since when packets were sent, or may have been, without any feedback.
    unheard_since_ns: Option<u64>,
    belief: Belief,
    told: Option<(u64, Limit)>,
    told_ns: u64,
    told_trial: bool,
}

impl Downlink {
    /// What may be given away; None for all. The flag: it is known, not guessed.
    fn budget(&mut self, now_ns: u64, numbers_packets: bool) -> Option<(u64, bool)> {
        if let Some(bps) = self.estimator.bitrate_bps() {
            return Some((bps, self.belief.holds(now_ns, &self.estimator)));
        }
        if !numbers_packets {
            return None;
        }
        if self.estimator.has_sent() {
            let since_ns = *self.unheard_since_ns.get_or_insert(now_ns);
            if now_ns.saturating_sub(since_ns) >= DEAF_NS {
                return None;
            }
        }
        Some((INITIAL_BPS, false))
    }
}

/// How long a limit that was found is believed.
///
/// A link that was full is not full for ever, and what looked like it may have been something else.
/// So in time the estimate is a guess again, for which nobody is paused: what was paused comes back
/// on trial. If the way is full again soon, the limit is believed for twice as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Belief {
    /// Doubled by each trial that failed.
    doublings: u32,
    doubted_ns: Option<u64>,
}

impl Belief {
    fn holds(&mut self, now_ns: u64, estimator: &Estimator) -> bool {
        if estimator.limit() != Limit::Delay {
            return true;
        }
        let Some(over_ns) = estimator.over_ns() else {
            return false;
        };
        if let Some(doubted_ns) = self.doubted_ns.filter(|&doubted_ns| over_ns > doubted_ns) {
            let soon = over_ns - doubted_ns < TRIAL_NS;
            self.doublings = if soon { self.doublings + 1 } else { 0 };
            self.doubted_ns = None;
        }
        let believed_ns = BELIEVED_NS << self.doublings.min(DOUBLINGS_MAX);
        let holds = now_ns.saturating_sub(over_ns) < believed_ns;
        if !holds {
            self.doubted_ns.get_or_insert(now_ns);
        }
        holds
    }
}

impl Downlink {
    /// Whether the way was full lately: queues grew, packets were lost, or feedback stayed away.
    fn is_congested(&self, now_ns: u64) -> bool {
        let over = self.estimator.over_ns();
        over.is_some_and(|over_ns| now_ns.saturating_sub(over_ns) < CONGESTED_NS)
            || matches!(
                self.estimator.limit(),
                Limit::Loss | Limit::Silence | Limit::Remb
            )
    }
}

pub(super) fn handle_feedback(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    feedback: &TransportFeedback<'_>,
) {
    if let Some(transport) = engine.table.transports.get_mut(key) {
        transport.counters.feedbacks += 1;
        transport.estimate(|estimator| estimator.handle_feedback(now_ns, feedback));
        follow_estimate(engine, now_ns, key);
    }
}

pub(super) fn handle_remb(engine: &mut Engine, now_ns: u64, key: TransportKey, bitrate_bps: u64) {
    if let Some(transport) = engine.table.transports.get_mut(key) {
        transport.counters.feedbacks += 1;
        transport.estimate(|estimator| estimator.handle_remb(now_ns, bitrate_bps));
        follow_estimate(engine, now_ns, key);
    }
}

/// Allocates at once when less is left than was given away.
fn follow_estimate(engine: &mut Engine, now_ns: u64, key: TransportKey) {
    let Some(transport) = engine.table.transports.get(key) else {
        return;
    };
    let downlink = &transport.downlink;
    let estimate_bps = downlink.estimator.bitrate_bps();
    if estimate_bps.is_some_and(|bps| bps < downlink.outcome.spent_bps) {
        engine.reallocate(now_ns, key);
    }
}

/// The regular look.
pub(super) fn handle_allocate(engine: &mut Engine, now_ns: u64, key: TransportKey) {
    if let Some(transport) = engine.table.transports.get_mut(key) {
        transport.estimate(|estimator| estimator.handle_tick(now_ns));
        for consumer in transport.consumers.clone() {
            engine.ask_after_drain(now_ns, consumer);
        }
        engine.reallocate(now_ns, key);
        engine.tell_estimate(now_ns, key);
        engine.tell_layers(now_ns, key);
    }
}

impl Engine {
    /// Shares the bandwidth of a viewer's transport anew among its consumers.
    pub(super) fn reallocate(&mut self, now_ns: u64, key: TransportKey) {
        let Some(transport) = self.table.transports.get(key) else {
            return;
        };
        if transport.is_publisher() || transport.consumers.is_empty() {
            return;
        }
        let mut keys = Vec::new();
        let mut candidates = Vec::new();
        let (mut audio_bps, mut numbers_packets) = (0, false);
        for consumer in transport.consumers.clone() {
            match self.table.demand(now_ns, consumer) {
                Some(Demand::Audio(bps)) => audio_bps += bps,
                Some(Demand::Video(candidate, numbers)) => {
                    numbers_packets |= numbers;
                    keys.push(consumer);
                    candidates.push(candidate);
                }
                None => {}
            }
        }
        let Engine { table, timers, .. } = self;
        let transport = table.transports.get_mut(key).expect("looked up");
        let downlink = &mut transport.downlink;
        let at_ns = now_ns + ALLOCATE_NS;
        timers.arm(&mut downlink.timer, at_ns, Timer::Allocate(key));
        let congested = downlink.is_congested(now_ns);
        match downlink.budget(now_ns, numbers_packets) {
            Some((estimate_bps, known)) => {
                let room = Room {
                    estimate_bps,
                    audio_bps,
                    known,
                    congested,
                };
                downlink.outcome = allocate(now_ns, &room, &mut candidates);
            }
            None => {
                downlink.outcome = Outcome::default();
                for candidate in &mut candidates {
                    candidate.taken = candidate.steps.len();
                }
            }
        }
        let Outcome {
            wanted_bps,
            all_bps,
            ..
        } = downlink.outcome;
        let estimate_bps = downlink.estimator.bitrate_bps();
        let full_bps = estimate_bps.filter(|_| congested);
        for (key, candidate) in keys.into_iter().zip(&candidates) {
            self.grant(now_ns, key, candidate, full_bps);
        }
        self.consider_probe(now_ns, key, wanted_bps, all_bps);
    }

    /// Gives a consumer what was allocated to it. `full_bps`: the estimate, if the way is full.
    fn grant(
        &mut self,
        now_ns: u64,
        key: ConsumerKey,
        candidate: &Candidate,
        full_bps: Option<u64>,
    ) {
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        let layers = candidate.layers();
        let is_limited = candidate.taken < candidate.steps.len();
        let grant = Grant {
            layers,
            is_limited,
            bitrate_bps: candidate
                .taken
                .checked_sub(1)
                .map_or(0, |place| candidate.steps[place].bitrate_bps),
        };
        let before = consumer.grant.replace(grant);
        if !consumer.memory.given || consumer.memory.layers != layers {
            consumer
                .memory
                .note(now_ns, layers, full_bps.filter(|_| is_limited));
        }
        let lower = before.and_then(|one| one.layers).zip(layers);
        if lower.is_some_and(|(before, now)| now.0 < before.0)
            && full_bps.is_some()
            && consumer.ask_at_ns.is_none()
        {
            self.drain_first(now_ns, key);
        }
        let changed =
            before.is_none_or(|before| (before.layers, before.is_limited) != (layers, is_limited));
        if changed {
            self.aim_consumer(now_ns, key);
        }
    }

    /// A consumer goes down through a queue that is long: nothing is sent until a part of it has
    /// drained. What was sent now would be lost at its end, and the keyframe with it.
    fn drain_first(&mut self, now_ns: u64, key: ConsumerKey) {
        let Engine { table, timers, .. } = self;
        let Some(consumer) = table.consumers.get_mut(key) else {
            return;
        };
        let Some(transport) = table.transports.get_mut(consumer.transport) else {
            return;
        };
        let downlink = &mut transport.downlink;
        let queued_ns = downlink.estimator.queued_ns();
        if queued_ns < DRAINED_NS_MIN {
            return;
        }
        let at_ns = now_ns + queued_ns.min(DRAINED_NS_MAX) / 2;
        consumer.ask_at_ns = Some(at_ns);
        let timer = Timer::Allocate(consumer.transport);
        timers.arm(&mut downlink.timer, at_ns, timer);
    }

    /// Tells control the estimate, where it matters to somebody.
    fn tell_estimate(&mut self, now_ns: u64, key: TransportKey) {
        let Engine { table, notices, .. } = self;
        let Some(transport) = table.transports.get_mut(key) else {
            return;
        };
        let Some(bitrate_bps) = transport.downlink.estimator.bitrate_bps() else {
            return;
        };
        let layered = transport.consumers.iter().any(|&one| {
            table
                .consumers
                .get(one)
                .is_some_and(|one| one.is_video() && one.has_choice)
        });
        let downlink = &mut transport.downlink;
        let limit = downlink.estimator.limit();
        let lacks = downlink.outcome.wanted_bps.is_some();
        let matters = layered || lacks || limit != Limit::Delay;
        let changed = match downlink.told {
            None => true,
            Some((told, before)) => {
                bitrate_bps * 4 < told * 3
                    || bitrate_bps * 3 > told * 4
                    || (before != limit && lacks)
            }
        };
        let since_ns = now_ns.saturating_sub(downlink.told_ns);
        let due = downlink.told.is_none() || since_ns >= TELL_NS;
        let on_trial = downlink.belief.doubted_ns.is_some();
        let begins_trial = on_trial && !downlink.told_trial;
        let looked = downlink.probing.tried.trains > 0 && since_ns >= TELL_PROBES_NS;
        if !((changed || begins_trial || looked) && matters && due) {
            return;
        }
        downlink.told = Some((bitrate_bps, limit));
        downlink.told_ns = now_ns;
        downlink.told_trial = on_trial;
        let tried = std::mem::take(&mut downlink.probing.tried);
        notices.push(Notice::BandwidthEstimated {
            transport: transport.row.transport.clone(),
            bitrate_bps,
            limit: limit.word().to_owned(),
            wanted_bps: downlink.outcome.wanted_bps,
            probes: tried.trains,
            probes_found: tried.found,
            on_trial,
        });
    }

    /// Tells control which layers are sent, where only temporal ones changed, or SVC's.
    fn tell_layers(&mut self, now_ns: u64, key: TransportKey) {
        let Engine { table, notices, .. } = self;
        let Some(transport) = table.transports.get(key) else {
            return;
        };
        for &one in &transport.consumers {
            let Some(consumer) = table.consumers.get_mut(one) else {
                continue;
            };
            let Some(producer) = table.producers.get(consumer.producer) else {
                continue;
            };
            if consumer.is_video() && consumer.selection.current().is_some() {
                let layers = consumer.layers_sent(now_ns, producer);
                consumer.tell_layers(layers, None, notices);
            }
        }
    }
}

/// What a consumer asks of its transport.
enum Demand {
    Audio(u64),
    /// And whether its packets bear transport-wide numbers.
    Video(Candidate, bool),
}

impl Table {
    fn demand(&mut self, now_ns: u64, key: ConsumerKey) -> Option<Demand> {
        let consumer = self.consumers.get_mut(key)?;
        let producer = self.producers.get(consumer.producer)?;
        if consumer.row.paused || producer.row.paused {
            return None;
        }
        if consumer.row.kind == Kind::Audio {
            let bps: u64 = producer
                .encodings
                .iter()
                .map(|one| one.bitrate_bps(now_ns))
                .sum();
            return Some(Demand::Audio(bps + AUDIO_OVERHEAD_BPS));
        }
        let steps = steps(now_ns, producer, &consumer.row);
        consumer.has_choice = steps.len() > 1;
        if steps.is_empty() {
            return None;
        }
        let numbers_packets = producer.formats[consumer.format].numbers_packets;
        let candidate = Candidate {
            priority: consumer.row.priority,
            steps,
            memory: consumer.memory,
            taken: 0,
        };
        Some(Demand::Video(candidate, numbers_packets))
    }
}

/// The layers that a viewer may be sent, from the lowest on.
///
/// Higher spatial layers come with a temporal layer above the lowest where there is one: a picture
/// that is large and jerks is worse than one that is small. Those inside of a stream that rested and were
/// asked for count as if they were there: they come with a keyframe, and who has room rises with it.
fn steps(now_ns: u64, producer: &Producer, row: &SetConsumer) -> Vec<Step> {
    let mut steps = Vec::new();
    let wanted_spatial = row.spatial_layer.map_or(usize::MAX, |layer| layer as usize);
    let wanted_temporal = row.temporal_layer.unwrap_or(u32::MAX);
    let mut push = |encoding: usize, spatial: u8, top: u8, inner: u8, one: bool| {
        let state = &producer.encodings[encoding];
        let top = u32::from(top).min(wanted_temporal) as u8;
        let first = if steps.is_empty() { 0 } else { top.min(1) };
        for temporal in first..=top {
            let measured_bps = state.rates.bitrate_bps(now_ns, inner, temporal, one);
            let is_measured = state.rates.is_measured(now_ns);
            let is_inside = inner != super::filter::ALL;
            let bitrate_bps = match (state.told_bps, is_measured) {
                (_, true) if is_inside && !state.rates.is_layer_measured(now_ns, inner) => {
                    resting_bps(state, inner, temporal, one)
                }
                (_, true) if measured_bps > 0 => measured_bps,
                (Some(told_bps), _) if told_bps > 0 => told_bps,
                _ if producer.encodings.len() > 1 => {
                    GUESSES_BPS[encoding.min(GUESSES_BPS.len() - 1)].max(measured_bps)
                }
                _ => measured_bps,
            };
            if steps.len() < STEPS_MAX {
                steps.push(Step {
                    spatial,
                    temporal,
                    bitrate_bps,
                });
            }
        }
    };
    if producer.encodings.len() > 1 {
        let live: Vec<usize> = (0..producer.encodings.len())
            .filter(|&place| producer.encodings[place].live)
            .collect();
        let within = live
            .iter()
            .copied()
            .filter(|&place| place <= wanted_spatial);
        let chosen: Vec<usize> = match within.clone().next() {
            Some(_) => within.collect(),
            None => live.first().copied().into_iter().collect(),
        };
        for place in chosen {
            let (_, top) = producer.encodings[place].rates.highest(now_ns);
            push(place, place as u8, top, super::filter::ALL, false);
        }
    } else if let Some(encoding) = producer.encodings.first().filter(|one| one.live) {
        let (mut spatial, top) = encoding.rates.highest(now_ns);
        let flows = encoding.meter.bitrate_bps(now_ns) > 0;
        if !(flows && encoding.rates.is_measured(now_ns)) {
            spatial = encoding.spatial_layers - 1;
        }
        let highest = usize::from(spatial).min(wanted_spatial) as u8;
        match encoding.structure {
            Structure::Flat => push(0, 0, top, super::filter::ALL, false),
            structure => {
                let one = structure == Structure::Key;
                for layer in 0..=highest {
                    push(0, layer, top, layer, one);
                }
                let wakes = producer.wakes_inside(now_ns);
                let wanted = usize::from(encoding.spatial_layers - 1).min(wanted_spatial) as u8;
                for layer in (highest + 1..=wanted).filter(|_| wakes) {
                    let temporal = u32::from(top).min(wanted_temporal) as u8;
                    steps.push(Step {
                        spatial: layer,
                        temporal,
                        bitrate_bps: resting_bps(encoding, layer, temporal, one),
                    });
                }
            }
        }
    }
    steps
}

/// What a layer inside of a stream will take that is not there yet, or has just come.
fn resting_bps(encoding: &Encoding, spatial: u8, temporal: u8, one: bool) -> u64 {
    match encoding.rates.rested_bps(spatial, temporal, one) {
        0 => GUESSES_BPS[usize::from(spatial).min(GUESSES_BPS.len() - 1)],
        before_bps => before_bps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Compound, RtcpPacket};
    use crate::twcc::ArrivalRecorder;

    const S: u64 = 1_000_000_000;

    /// Feedback on a second of packets, the n-th hundred of all, which arrive with `delay_ns` more
    /// for each.
    fn feed(
        estimator: &mut Estimator,
        recorder: &mut ArrivalRecorder,
        hundred: u16,
        at_ns: u64,
        delay_ns: u64,
    ) {
        for place in 0..100 {
            let sent_ns = at_ns + place * S / 100;
            let number = 100 * hundred + place as u16;
            estimator.handle_sent(number, sent_ns, 1_200);
            recorder.record(number, sent_ns + 20_000_000 + place * delay_ns);
            if place % 10 == 9 {
                let mut out = Vec::new();
                recorder.write_feedback(1, 2, &mut out);
                for packet in Compound::new(&out) {
                    if let Ok(RtcpPacket::TransportFeedback(feedback)) = packet {
                        estimator.handle_feedback(sent_ns + S, &feedback);
                    }
                }
            }
        }
    }

    #[test]
    fn a_limit_is_believed_for_a_time_and_longer_when_trials_fail() {
        let (mut estimator, mut recorder) = (Estimator::default(), ArrivalRecorder::new());
        let mut belief = Belief::default();
        feed(&mut estimator, &mut recorder, 0, 10 * S, 0);
        assert!(!belief.holds(12 * S, &estimator), "nothing was ever full");
        let mut lasted = Vec::new();
        let mut now_ns = 20 * S;
        for hundred in 1..=7 {
            feed(&mut estimator, &mut recorder, hundred, now_ns, 10_000_000);
            let over_ns = estimator.over_ns().expect("a queue that grows");
            assert!(over_ns >= now_ns && estimator.limit() == Limit::Delay);
            now_ns += 2 * S;
            while belief.holds(now_ns, &estimator) {
                now_ns += S;
            }
            lasted.push((now_ns - over_ns) / (20 * S));
            now_ns += S;
        }
        assert_eq!(lasted, [1, 2, 4, 8, 16, 16, 16]);
        // A trial that lasts is the end of it.
        now_ns += 30 * S;
        feed(&mut estimator, &mut recorder, 8, now_ns, 10_000_000);
        assert!(belief.holds(now_ns + 2 * S, &estimator));
        assert!(!belief.holds(now_ns + 23 * S, &estimator));
    }
}
