//! When to NACK which packets towards a publisher.

use std::collections::VecDeque;

/// A packet that is missing for so long is lost, not reordered.
pub const REORDERING_NS: u64 = 10_000_000;

/// So many later packets say the same at once.
pub const REORDERING_PACKETS: u64 = 16;

/// Least time between two NACKs for a packet; the round-trip time if that is longer.
pub const RETRY_NS_MIN: u64 = 20_000_000;

/// NACKs for one packet before it is given up.
pub const NACKS_MAX: u8 = 10;

/// Packets that are missed at a time. More at once is an outage, which a keyframe mends better.
pub const MISSING_MAX: usize = 512;

/// Finds the losses of one SSRC, says when to NACK them, and when to give up and ask for a
/// keyframe.
///
/// After each packet: `record`. When `deadline_ns` passes: `poll`.
#[derive(Clone, Debug, Default)]
pub struct LossDetector {
    highest: Option<u64>,
    /// By ascending sequence number.
    missing: VecDeque<Missing>,
    /// The earliest `due_ns`, or earlier.
    next_due_ns: u64,
    /// A loss was given up at this time, and `poll` has not said so yet.
    given_up_ns: Option<u64>,
    /// From a first NACK to the packet, smoothed.
    round_trip_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    due_ns: u64,
    nacks: u8,
    /// When the first NACK went out.
    nacked_ns: u64,
}

impl LossDetector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet arrived, also one by RTX. Numbers are extended.
    pub fn record(&mut self, sequence: u64, now_ns: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return;
        };
        if sequence <= highest {
            if let Ok(at) = self.position(sequence)
                && let Some(missing) = self.missing.remove(at)
                && missing.nacks > 0
            {
                self.learn(now_ns.saturating_sub(missing.nacked_ns));
            }
            return;
        }
        self.highest = Some(sequence);
        let lost = sequence - highest - 1;
        if lost as usize > MISSING_MAX - self.missing.len().min(MISSING_MAX) {
            self.give_up(now_ns);
        }
        if lost as usize <= MISSING_MAX {
            let due_ns = now_ns + REORDERING_NS;
            self.next_due_ns = match self.missing.is_empty() {
                true => due_ns,
                false => self.next_due_ns.min(due_ns),
            };
            self.missing
                .extend((highest + 1..sequence).map(|sequence| Missing {
                    sequence,
                    due_ns,
                    nacks: 0,
                    nacked_ns: 0,
                }));
        }
        self.hasten(sequence, now_ns);
    }

    /// The round trip to the sender, from NACKs that it answered; a lite agent has no other measure.
    ///
    /// It may be too long, when the first answer was lost: so it falls fast and rises slowly.
    pub fn round_trip_ns(&self) -> Option<u64> {
        self.round_trip_ns
    }

    fn learn(&mut self, sample_ns: u64) {
        let known_ns = *self.round_trip_ns.get_or_insert(sample_ns);
        let learned_ns = if sample_ns < known_ns {
            (known_ns + sample_ns) / 2
        } else {
            known_ns + (sample_ns - known_ns) / 8
        };
        self.round_trip_ns = Some(learned_ns);
    }

    /// Makes those due that many packets have overtaken.
    fn hasten(&mut self, highest: u64, now_ns: u64) {
        let Some(overtaken) = highest.checked_sub(REORDERING_PACKETS) else {
            return;
        };
        // They were made due one by one as packets came, so only the last few are new.
        let end = self.missing.partition_point(|m| m.sequence <= overtaken);
        for missing in self.missing.range_mut(..end).rev() {
            if missing.nacks > 0 || missing.due_ns <= now_ns {
                break;
            }
            missing.due_ns = now_ns;
            self.next_due_ns = now_ns;
        }
    }

    /// Writes the numbers to NACK now into `lost`, ascending; what was there is cleared. True if a
    /// loss was given up since the last call, so that a keyframe is due.
    pub fn poll(&mut self, now_ns: u64, rtt_ns: u64, lost: &mut Vec<u16>) -> bool {
        lost.clear();
        if !self.missing.is_empty() && now_ns >= self.next_due_ns {
            let retry_ns = now_ns + rtt_ns.max(RETRY_NS_MIN);
            let mut next_due_ns = u64::MAX;
            let mut given_up = false;
            self.missing.retain_mut(|missing| {
                if missing.due_ns <= now_ns {
                    if missing.nacks == NACKS_MAX {
                        given_up = true;
                        return false;
                    }
                    if missing.nacks == 0 {
                        missing.nacked_ns = now_ns;
                    }
                    missing.nacks += 1;
                    missing.due_ns = retry_ns;
                    lost.push(missing.sequence as u16);
                }
                next_due_ns = next_due_ns.min(missing.due_ns);
                true
            });
            self.next_due_ns = next_due_ns;
            if given_up {
                self.given_up_ns = Some(now_ns);
            }
        }
        self.given_up_ns.take().is_some()
    }

    /// When to `poll` next; may lie in the past, and may turn out too early when losses came in.
    pub fn deadline_ns(&self) -> Option<u64> {
        let due_ns = (!self.missing.is_empty()).then_some(self.next_due_ns);
        match (due_ns, self.given_up_ns) {
            (Some(due_ns), Some(given_up_ns)) => Some(due_ns.min(given_up_ns)),
            (due_ns, given_up_ns) => due_ns.or(given_up_ns),
        }
    }

    /// Forgets the losses before a number: since a keyframe came, nobody needs them.
    pub fn forget_before(&mut self, sequence: u64) {
        let end = self.missing.partition_point(|m| m.sequence < sequence);
        self.missing.drain(..end);
    }

    /// How many packets are missed now.
    pub fn missing_len(&self) -> usize {
        self.missing.len()
    }

    fn give_up(&mut self, now_ns: u64) {
        self.missing.clear();
        self.given_up_ns = Some(now_ns);
    }

    fn position(&self, sequence: u64) -> Result<usize, usize> {
        self.missing
            .binary_search_by_key(&sequence, |missing| missing.sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const RTT: u64 = 50 * MS;

    fn poll(detector: &mut LossDetector, now_ns: u64) -> (Vec<u16>, bool) {
        let mut lost = vec![9];
        let keyframe = detector.poll(now_ns, RTT, &mut lost);
        (lost, keyframe)
    }

    #[test]
    fn the_round_trip_is_learned_from_answers_to_first_nacks() {
        let mut detector = LossDetector::new();
        detector.record(70_000, 0);
        let mut now_ns = 0;
        let mut lose = |detector: &mut LossDetector, number: u64, answer_ms: u64| {
            detector.record(number + 1, now_ns);
            now_ns += 10 * MS;
            assert_eq!(poll(detector, now_ns).0, [number as u16]);
            // Asked for again before the first answer comes: it is still that one's.
            now_ns += 50 * MS;
            poll(detector, now_ns);
            now_ns += (answer_ms - 50) * MS;
            detector.record(number, now_ns);
        };
        assert_eq!(detector.round_trip_ns(), None);
        lose(&mut detector, 70_001, 200);
        assert_eq!(detector.round_trip_ns(), Some(200 * MS));
        lose(&mut detector, 70_003, 280);
        assert_eq!(detector.round_trip_ns(), Some(210 * MS));
        lose(&mut detector, 70_005, 90);
        assert_eq!(detector.round_trip_ns(), Some(150 * MS));
    }

    #[test]
    fn a_late_packet_that_nobody_asked_for_teaches_nothing() {
        let mut detector = LossDetector::new();
        detector.record(70_000, 0);
        detector.record(70_002, MS);
        detector.record(70_001, 5 * MS);
        assert_eq!(detector.round_trip_ns(), None);
    }

    #[test]
    fn a_loss_is_nacked_after_the_reordering_time_and_again_after_a_round_trip() {
        let mut detector = LossDetector::new();
        detector.record(70_000, 0);
        detector.record(70_003, MS);
        assert_eq!(detector.deadline_ns(), Some(11 * MS));
        assert_eq!(poll(&mut detector, 10 * MS), (vec![], false));
        assert_eq!(poll(&mut detector, 11 * MS), (vec![4_465, 4_466], false));
        assert_eq!(detector.deadline_ns(), Some(61 * MS));
        detector.record(70_001, 40 * MS);
        assert_eq!(poll(&mut detector, 61 * MS), (vec![4_466], false));
        detector.record(70_002, 70 * MS);
        assert_eq!(detector.deadline_ns(), None);
        assert_eq!(poll(&mut detector, 200 * MS), (vec![], false));
    }

    #[test]
    fn a_reordered_packet_is_not_nacked() {
        let mut detector = LossDetector::new();
        for sequence in [1, 3, 2, 4] {
            detector.record(sequence, 0);
        }
        assert_eq!(detector.deadline_ns(), None);
        assert_eq!(poll(&mut detector, 100 * MS), (vec![], false));
    }

    #[test]
    fn many_later_packets_prove_a_loss_at_once() {
        let mut detector = LossDetector::new();
        detector.record(1, 0);
        for sequence in 3..2 + REORDERING_PACKETS {
            detector.record(sequence, 0);
            assert_eq!(detector.deadline_ns(), Some(REORDERING_NS));
        }
        detector.record(2 + REORDERING_PACKETS, MS);
        assert_eq!(detector.deadline_ns(), Some(MS));
        assert_eq!(poll(&mut detector, MS), (vec![2], false));
    }

    #[test]
    fn a_loss_is_given_up_after_its_nacks_and_a_keyframe_is_due_once() {
        let mut detector = LossDetector::new();
        detector.record(1, 0);
        detector.record(3, 0);
        for _ in 0..NACKS_MAX {
            let now_ns = detector.deadline_ns().unwrap();
            assert_eq!(poll(&mut detector, now_ns), (vec![2], false));
        }
        let now_ns = detector.deadline_ns().unwrap();
        assert_eq!(poll(&mut detector, now_ns), (vec![], true));
        assert_eq!(poll(&mut detector, now_ns + RTT), (vec![], false));
        assert_eq!(detector.deadline_ns(), None);
    }

    #[test]
    fn an_outage_asks_for_a_keyframe_instead_of_nacks() {
        let mut detector = LossDetector::new();
        detector.record(1, 0);
        detector.record(3, 0);
        detector.record(3 + 2 * MISSING_MAX as u64, 5);
        assert_eq!(detector.missing_len(), 0);
        assert_eq!(detector.deadline_ns(), Some(5));
        assert_eq!(poll(&mut detector, 5), (vec![], true));
        assert_eq!(detector.deadline_ns(), None);
    }

    #[test]
    fn losses_that_exceed_the_bound_together_give_way_to_the_newest() {
        let mut detector = LossDetector::new();
        detector.record(1, 0);
        detector.record(402, 0);
        assert_eq!(detector.missing_len(), 400);
        detector.record(603, 1);
        assert_eq!(detector.missing_len(), 200);
        let (lost, keyframe) = poll(&mut detector, 1);
        assert!(keyframe);
        assert_eq!(lost.first(), Some(&403));
    }

    #[test]
    fn losses_before_a_keyframe_are_forgotten() {
        let mut detector = LossDetector::new();
        for sequence in [1, 3, 5] {
            detector.record(sequence, 0);
        }
        detector.forget_before(3);
        assert_eq!(poll(&mut detector, REORDERING_NS), (vec![4], false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn nacks_name_missing_numbers_only_and_stay_bounded(
            steps in prop::collection::vec((-20i64..40, 0u64..30), 1..400),
        ) {
            let mut detector = LossDetector::new();
            let mut arrived = std::collections::HashSet::new();
            let (mut at, mut now_ns, mut highest) = (70_000u64, 0, 0);
            let mut nacked = std::collections::HashMap::new();
            for (step, pause_ms) in steps {
                at = at.saturating_add_signed(step);
                now_ns += pause_ms * MS;
                detector.record(at, now_ns);
                arrived.insert(at as u16);
                highest = highest.max(at);
                prop_assert!(detector.missing_len() <= MISSING_MAX);
                let (lost, _) = poll(&mut detector, now_ns);
                prop_assert!(detector.deadline_ns().is_none_or(|due_ns| due_ns > now_ns));
                for number in lost {
                    prop_assert!(!arrived.contains(&number), "{} has arrived", number);
                    prop_assert!((highest as u16).wrapping_sub(number) < 0x8000);
                    let nacks = nacked.entry(number).or_insert(0);
                    *nacks += 1;
                    prop_assert!(*nacks <= NACKS_MAX);
                }
            }
        }
    }
}
