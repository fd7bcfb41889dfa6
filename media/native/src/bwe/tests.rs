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
