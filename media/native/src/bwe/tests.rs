//! The estimator against a link in virtual time: a queue with a capacity, delay, jitter and loss.

use super::*;
use crate::rtcp::{Compound, RtcpPacket};
use crate::twcc::ArrivalRecorder;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const SIZE: u64 = 1_200;

struct Link {
    capacity_bps: u64,
    delay_ns: u64,
    jitter_ns: u64,
    loss_permille: u64,
    queue_ns_max: u64,
    free_ns: u64,
    dice: u64,
}

impl Link {
    fn new(capacity_bps: u64) -> Self {
        Self {
            capacity_bps,
            delay_ns: 25 * MS,
            jitter_ns: 0,
            loss_permille: 0,
            queue_ns_max: 1_000 * MS,
            free_ns: 0,
            dice: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % bound.max(1)
    }

    /// When a packet arrives; None if it is lost.
    fn pass(&mut self, now_ns: u64, size: u64) -> Option<u64> {
        if self.below(1000) < self.loss_permille {
            return None;
        }
        let begins_ns = self.free_ns.max(now_ns);
        if begins_ns - now_ns > self.queue_ns_max {
            return None;
        }
        self.free_ns = begins_ns + size * 8 * S / self.capacity_bps;
        Some(self.free_ns + self.delay_ns + self.below(self.jitter_ns + 1))
    }
}

struct Run {
    estimator: Estimator,
    link: Link,
    recorder: ArrivalRecorder,
    now_ns: u64,
    number: u16,
    under_way: std::collections::BTreeMap<(u64, u16), ()>,
    credit: f64,
    queue_ns_max: u64,
}

impl Run {
    fn new(link: Link) -> Self {
        Self {
            estimator: Estimator::default(),
            link,
            recorder: ArrivalRecorder::new(),
            now_ns: 10 * S,
            number: 65_000,
            under_way: Default::default(),
            credit: 0.0,
            queue_ns_max: 0,
        }
    }

    fn send(&mut self) {
        self.estimator
            .handle_sent(self.number, self.now_ns, SIZE as usize);
        if let Some(at_ns) = self.link.pass(self.now_ns, SIZE) {
            self.under_way.insert((at_ns, self.number), ());
        }
        self.number = self.number.wrapping_add(1);
        let queued_ns = self.link.free_ns.saturating_sub(self.now_ns);
        self.queue_ns_max = self.queue_ns_max.max(queued_ns);
    }

    /// Sends at `rate` of the estimate for so long, with feedback every 50 ms, a return path of the
    /// link's delay included in `under_way`.
    fn run(&mut self, duration_ns: u64, mut rate: impl FnMut(u64) -> u64) {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            self.now_ns += MS;
            let bps = rate(self.estimator.bitrate_bps().unwrap_or(INITIAL_BPS));
            self.credit += bps as f64 / 8_000.0;
            while self.credit >= SIZE as f64 {
                self.credit -= SIZE as f64;
                self.send();
            }
            while let Some((&(at_ns, number), ())) = self.under_way.first_key_value() {
                if at_ns > self.now_ns {
                    break;
                }
                self.under_way.pop_first();
                self.recorder.record(number, at_ns);
            }
            if self.now_ns.is_multiple_of(50 * MS) {
                self.feed_back();
            }
            if self.now_ns.is_multiple_of(250 * MS) {
                self.estimator.handle_tick(self.now_ns);
            }
        }
    }

    fn feed_back(&mut self) {
        let mut out = Vec::new();
        while self.recorder.write_feedback(1, 2, &mut out) {}
        for packet in Compound::new(&out) {
            let Ok(RtcpPacket::TransportFeedback(feedback)) = packet else {
                panic!("our own feedback is well-formed");
            };
            self.estimator.handle_feedback(self.now_ns, &feedback);
        }
    }

    fn estimate(&self) -> u64 {
        self.estimator.bitrate_bps().expect("there was feedback")
    }
}

#[test]
fn estimate_follows_a_link_that_narrows_and_widens() {
    let mut run = Run::new(Link::new(2_500_000));
    run.run(30 * S, |estimate| estimate);
    let before = run.estimate();
    assert!((1_700_000..2_900_000).contains(&before), "{before}");
    run.link.capacity_bps = 500_000;
    run.run(2 * S, |estimate| estimate);
    let narrow = run.estimate();
    assert!((150_000..600_000).contains(&narrow), "{narrow}");
    run.run(3 * S, |estimate| estimate);
    run.queue_ns_max = 0;
    run.run(20 * S, |estimate| estimate);
    assert!(run.queue_ns_max < 300 * MS, "{} ms", run.queue_ns_max / MS);
    run.link.capacity_bps = 2_500_000;
    run.run(30 * S, |estimate| estimate);
    assert!(run.estimate() > 1_200_000, "{}", run.estimate());
}

#[test]
fn random_loss_without_delay_does_not_starve_the_stream() {
    for permille in [10, 50, 100] {
        let mut link = Link::new(10_000_000);
        link.loss_permille = permille;
        let mut run = Run::new(link);
        run.run(60 * S, |estimate| estimate.min(1_500_000));
        let estimate = run.estimate();
        assert!(estimate > 900_000, "{permille} per mille: {estimate}");
    }
}

#[test]
fn a_shallow_queue_that_drops_most_of_what_comes_is_noticed_by_loss() {
    let mut link = Link::new(500_000);
    link.queue_ns_max = 15 * MS;
    let mut run = Run::new(link);
    run.run(10 * S, |estimate| estimate);
    let estimate = run.estimate();
    assert!(estimate < 800_000, "{estimate}");
}

#[test]
fn jitter_and_long_ways_are_no_congestion() {
    for (delay_ms, jitter_ms) in [(20, 0), (150, 10), (300, 5)] {
        let mut link = Link::new(5_000_000);
        (link.delay_ns, link.jitter_ns) = (delay_ms * MS, jitter_ms * MS);
        let mut run = Run::new(link);
        run.run(30 * S, |estimate| estimate.min(1_000_000));
        let estimate = run.estimate();
        assert!(
            estimate > 900_000,
            "{delay_ms} ms, {jitter_ms} ms: {estimate}"
        );
    }
}

#[test]
fn unused_estimate_grows_little_beyond_what_flows_and_a_probe_finds_the_rest() {
    let mut run = Run::new(Link::new(4_000_000));
    run.run(20 * S, |_| 200_000);
    let idle = run.estimate();
    assert!(idle < 1_000_000, "{idle}");
    // 40 ms at 2 Mbit/s.
    run.estimator.begin_probe(run.now_ns);
    run.run(40 * MS, |_| 2_000_000);
    run.estimator.end_probe(run.now_ns);
    run.run(300 * MS, |_| 200_000);
    let found = run.estimate();
    assert!((1_500_000..2_300_000).contains(&found), "{found}");
    assert!(!run.estimator.is_probing(run.now_ns));
}

#[test]
fn a_probe_beyond_the_link_shows_the_link() {
    let mut run = Run::new(Link::new(1_000_000));
    run.run(20 * S, |_| 200_000);
    run.estimator.begin_probe(run.now_ns);
    run.run(60 * MS, |_| 4_000_000);
    run.estimator.end_probe(run.now_ns);
    run.run(500 * MS, |_| 200_000);
    let found = run.estimate();
    assert!((600_000..1_100_000).contains(&found), "{found}");
}

#[test]
fn a_packet_between_the_last_ones_of_a_burst_makes_no_group() {
    let mut groups = PacketGroups::default();
    let mut arrive = |sent_ms: u64, arrived_ms: i64| {
        groups.record(&Arrival {
            sent_ns: S + sent_ms * MS,
            arrived_ns: arrived_ms * MS as i64,
            size: 1_200,
            cluster: 0,
        })
    };
    // Three that came in one go, one that was overtaken by them, and one behind.
    assert_eq!(arrive(0, 100), None);
    assert_eq!(arrive(30, 101), None);
    assert_eq!(arrive(60, 102), None);
    assert_eq!(arrive(20, 250), None);
    assert_eq!(arrive(90, 260), None);
    assert!(arrive(120, 280).is_some());
}

/// A delay in ms, and the packets of a feedback that have it: one each 10 ms.
fn watch(queue: &mut QueueWatch, at_ms: u64, delays_ms: impl Iterator<Item = i64>) {
    let mut sent_ms = at_ms;
    for delay_ms in delays_ms {
        let arrived_ns = (sent_ms as i64 + delay_ms) * MS as i64;
        queue.record(sent_ms * MS, arrived_ns, 1_000);
        sent_ms += 10;
    }
    queue.settle(sent_ms * MS);
}

#[test]
fn a_delay_that_jumps_and_stays_is_a_route_and_one_that_grows_a_queue() {
    let mut queue = QueueWatch::default();
    for step in 0..10 {
        watch(
            &mut queue,
            1_000 + 50 * step,
            [20, 21, 20, 22, 20].into_iter(),
        );
    }
    for step in 0..10 {
        watch(
            &mut queue,
            1_500 + 50 * step,
            [120, 121, 120, 122, 120].into_iter(),
        );
        assert!(!queue.is_standing(), "{queue:?}");
    }
    assert!(
        !queue.is_undecided() && queue.queued_ns() < 5 * MS,
        "{queue:?}"
    );
    // Half of what is sent comes through.
    for step in 0..6 {
        let grown = (0..5).map(|place| 120 + 50 * step + 10 * place);
        watch(&mut queue, 2_000 + 50 * step as u64, grown);
    }
    assert!(
        queue.is_standing() && queue.is_filling(800_000),
        "{queue:?}"
    );
    let drain_bps = queue.drain_bps().expect("a queue stands");
    assert!((380_000..420_000).contains(&drain_bps), "{drain_bps}");
}

#[test]
fn a_receiver_that_was_held_up_has_no_queue() {
    let mut queue = QueueWatch::default();
    for step in 0..10 {
        watch(
            &mut queue,
            1_000 + 50 * step,
            [20, 21, 20, 22, 20].into_iter(),
        );
    }
    // Of 500 ms all comes within 5, told in two feedbacks.
    for feedback in 0..2 {
        let caught_up = (0..25).map(|place| 520 - 10 * (25 * feedback + place));
        watch(&mut queue, 1_500 + 250 * feedback as u64, caught_up);
        assert!(!queue.is_standing() && queue.is_undecided() == (feedback == 0));
    }
    watch(&mut queue, 2_000, [20, 21, 20].into_iter());
    assert!(
        !queue.is_undecided() && queue.queued_ns() < 5 * MS,
        "{queue:?}"
    );
}

#[test]
fn clumps_do_not_spoil_the_long_window() {
    let mut rate = LongRate::default();
    for second in 0..5 {
        for _ in 0..100 {
            rate.record(second * S as i64, 1_250);
        }
    }
    let bps = rate.bitrate_bps().expect("more than two seconds");
    assert!((900_000..=1_000_000).contains(&bps), "{bps}");
    rate.record(60 * S as i64, 1_250);
    assert_eq!(rate.bitrate_bps(), None, "what was long ago is forgotten");
}

#[test]
fn a_probe_that_the_receiver_held_up_shows_what_was_sent_if_no_queue_is_left() {
    for (is_empty, shown) in [(true, true), (false, false)] {
        let mut probes = ProbeResults::default();
        let cluster = probes.begin(S);
        for place in 0..10u64 {
            probes.handle_sent(1_200);
            // Half of it, then a pause of 300 ms.
            let late_ms = if place < 5 { 20 } else { 320 };
            probes.record(&Arrival {
                sent_ns: S + place * 4 * MS,
                arrived_ns: (S + (place * 4 + late_ms) * MS) as i64,
                size: 1_200,
                cluster,
            });
        }
        probes.end();
        let found = probes.take(is_empty);
        assert_eq!(found.is_some(), shown);
        assert!(
            found.is_none_or(|bps| (2_300_000..2_500_000).contains(&bps)),
            "{found:?}"
        );
    }
}

#[test]
fn silence_halves_the_estimate_until_feedback_returns() {
    let mut run = Run::new(Link::new(5_000_000));
    run.run(10 * S, |estimate| estimate.min(1_000_000));
    let before = run.estimate();
    run.link.loss_permille = 1000;
    run.run(4 * S, |estimate| estimate.min(1_000_000));
    assert!(run.estimate() <= before / 4, "{}", run.estimate());
    assert_eq!(run.estimator.limit(), Limit::Silence);
    run.link.loss_permille = 0;
    run.run(30 * S, |estimate| estimate.min(1_000_000));
    assert!(run.estimate() > 600_000, "{}", run.estimate());
}

#[test]
fn remb_is_taken_at_its_word_unless_losses_forbid() {
    let mut estimator = Estimator::default();
    assert_eq!(estimator.bitrate_bps(), None);
    estimator.handle_remb(S, 700_000);
    assert_eq!(estimator.bitrate_bps(), Some(700_000));
    assert!(!estimator.can_probe());
    for step in 1..20u64 {
        estimator.handle_report(S + step * S, 200 * step as u32, 128, None);
    }
    assert!(estimator.bitrate_bps() < Some(500_000));
    assert_eq!(estimator.limit(), Limit::Loss);
}

#[test]
fn history_stays_small_for_a_small_stream_and_bounded_for_a_deaf_one() {
    let mut history = SendHistory::default();
    for number in 0..100_000u32 {
        history.record(number as u16, u64::from(number) * MS, 1200, 0);
        assert!(history.under_way() <= history::PACKETS_MAX as u64);
    }
    let mut out = Vec::new();
    let mut recorder = ArrivalRecorder::new();
    recorder.record(99_998u32 as u16, 5 * S);
    recorder.write_feedback(1, 2, &mut out);
    let mut seen = 0;
    for packet in Compound::new(&out) {
        if let Ok(RtcpPacket::TransportFeedback(feedback)) = packet {
            history.read(100_000 * MS, &feedback, |arrival| {
                assert_eq!(arrival.sent_ns, 99_998 * MS);
                seen += 1;
            });
            // Told twice, counted once.
            history.read(100_000 * MS, &feedback, |_| seen += 1);
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn a_packet_that_was_told_before_it_was_sent_tells_no_round_trip_of_hours() {
    let mut history = SendHistory::default();
    history.record(7, 20 * MS, 1200, 0);
    let mut out = Vec::new();
    let mut recorder = ArrivalRecorder::new();
    recorder.record(7, 5 * S);
    recorder.write_feedback(1, 2, &mut out);
    let Some(Ok(RtcpPacket::TransportFeedback(feedback))) = Compound::new(&out).next() else {
        panic!("feedback was written");
    };
    let told = history.read(10 * MS, &feedback, |_| {});
    assert_eq!((told.packets, told.round_trip_ns), (1, Some(0)));
}
