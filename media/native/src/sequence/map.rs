//! The sequence numbers that a consumer sees.

/// Numbers behind the highest of which a map knows what became of them: some six seconds of a
/// video stream of 3 Mbit/s. Older packets are neither sent nor found.
pub const MAP_WINDOW_LEN: u64 = 2_048;

const WORD_LEN: u64 = 64;
const WORDS: usize = (MAP_WINDOW_LEN / WORD_LEN) as usize;

/// Maps a producer's extended sequence numbers to the ones that a consumer sees.
///
/// Packets that we chose to drop leave no gap, so receivers do not NACK them; packets that are
/// missing leave one, so that they do, and may still come. All numbers are extended, the low 16
/// bits go on the wire. One map serves one run of packets of one encoding; a switch starts another
/// at `next_outgoing`.
#[derive(Clone, Debug)]
#[repr(C)] // What each packet touches lies side by side.
pub struct SequenceMap {
    first_incoming: u64,
    first_outgoing: u64,
    /// One above the highest number that was sent or dropped.
    end: u64,
    /// Dropped numbers that left no gap, in all.
    skipped: u64,
    /// The last `WORDS` words of numbers, by number / 64 % `WORDS`.
    words: [Word; WORDS],
}

/// What became of 64 numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    /// Numbers skipped before this word.
    skipped_before: u64,
    sent: u64,
    /// Dropped without a gap.
    skipped: u64,
    /// Dropped too late for that: later numbers had been given out.
    refused: u64,
    /// Sent, and marked by its owner.
    marked: u64,
}

impl SequenceMap {
    /// A map whose first packet has the one number and gets the other. Earlier packets are not
    /// sent.
    pub fn new(first_incoming: u64, first_outgoing: u64) -> Self {
        Self {
            first_incoming,
            first_outgoing,
            end: first_incoming,
            skipped: 0,
            words: [Word::default(); WORDS],
        }
    }

    /// The outgoing number of a packet that is sent now. `None` if it must not be sent: it was
    /// sent or dropped before, or is too old, or lies before the first.
    pub fn forward(&mut self, incoming: u64) -> Option<u64> {
        if incoming >= self.end {
            self.advance(incoming);
        } else if !self.is_open(incoming) {
            return None;
        }
        let (word, bit) = self.locate(incoming);
        self.words[word].sent |= bit;
        Some(self.outgoing(incoming))
    }

    /// Leaves a packet out. If a later one has been sent or dropped already, it leaves a gap.
    pub fn drop(&mut self, incoming: u64) {
        let is_new = incoming >= self.end;
        if is_new {
            self.advance(incoming);
        } else if !self.is_open(incoming) {
            return;
        }
        let (word, bit) = self.locate(incoming);
        if is_new {
            self.words[word].skipped |= bit;
            self.skipped += 1;
        } else {
            self.words[word].refused |= bit;
        }
    }

    /// The incoming number of the packet that was sent as `outgoing`. `None` if there was none, or
    /// if it is too old. Takes up to `MAP_WINDOW_LEN / 64` steps.
    pub fn source(&self, outgoing: u64) -> Option<u64> {
        if outgoing < self.first_outgoing || outgoing >= self.next_outgoing() {
            return None;
        }
        // Numbers ascend from word to word: the last that starts at or below holds it.
        let newest = (self.end - 1) / WORD_LEN;
        let oldest = self.window_start() / WORD_LEN;
        let number = (oldest..=newest).rev().find(|number| {
            let start = (number * WORD_LEN).max(self.first_incoming);
            self.outgoing(start) <= outgoing
        })?;
        let word = &self.words[(number % WORDS as u64) as usize];
        let first_bit = self.first_incoming.saturating_sub(number * WORD_LEN);
        (number * WORD_LEN + first_bit..(number + 1) * WORD_LEN).find(|incoming| {
            word.sent & bit(*incoming) != 0 && self.outgoing(*incoming) == outgoing
        })
    }

    /// Reads a word of the lines that the next number needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        let (word, _) = self.locate(self.end);
        self.words[word].sent
    }

    /// Marks a number that was sent.
    pub fn mark(&mut self, incoming: u64) {
        if self.is_known(incoming) {
            let (word, bit) = self.locate(incoming);
            self.words[word].marked |= bit;
        }
    }

    /// Whether a number was marked, and is not too old to know.
    pub fn is_marked(&self, incoming: u64) -> bool {
        let (word, bit) = self.locate(incoming);
        self.is_known(incoming) && self.words[word].marked & bit != 0
    }

    /// The outgoing number of one that was sent, or would have been. `None` outside of the window.
    pub fn known(&self, incoming: u64) -> Option<u64> {
        self.is_known(incoming).then(|| self.outgoing(incoming))
    }

    /// Whether a number is higher than all that were sent or dropped.
    pub fn is_ahead(&self, incoming: u64) -> bool {
        incoming >= self.end
    }

    /// Whether a packet was sent or dropped, or is too old to be sent.
    pub fn has_had(&self, incoming: u64) -> bool {
        incoming < self.end && !self.is_open(incoming)
    }

    fn is_known(&self, incoming: u64) -> bool {
        incoming < self.end && incoming >= self.window_start()
    }

    /// The next unused outgoing number.
    pub fn next_outgoing(&self) -> u64 {
        self.end - self.first_incoming + self.first_outgoing - self.skipped
    }

    /// The oldest number of which the map knows what became of it.
    fn window_start(&self) -> u64 {
        // Whole words, so the one that is written next may be cleared at once.
        let newest = self.end.saturating_sub(1) / WORD_LEN;
        let start = (newest + 1).saturating_sub(WORDS as u64) * WORD_LEN;
        start.max(self.first_incoming)
    }

    /// Whether a number below `end` may still be sent.
    fn is_open(&self, incoming: u64) -> bool {
        if incoming < self.window_start() {
            return false;
        }
        let (word, bit) = self.locate(incoming);
        let word = &self.words[word];
        (word.sent | word.skipped | word.refused) & bit == 0
    }

    /// Makes a number at or above `end` the highest, and room for it.
    fn advance(&mut self, incoming: u64) {
        let newest = incoming / WORD_LEN;
        // The words of a new map are clear.
        let unknown = match self.end == self.first_incoming {
            true => newest + 1,
            false => (self.end - 1) / WORD_LEN + 1,
        };
        let oldest = unknown.max((newest + 1).saturating_sub(WORDS as u64));
        for number in oldest..=newest {
            self.words[(number % WORDS as u64) as usize] = Word {
                skipped_before: self.skipped,
                ..Word::default()
            };
        }
        self.end = incoming + 1;
    }

    /// The outgoing number of one in the window (or of the first), sent or not.
    fn outgoing(&self, incoming: u64) -> u64 {
        let (at, bit) = self.locate(incoming);
        let word = &self.words[at];
        let skipped = word.skipped_before + u64::from((word.skipped & (bit - 1)).count_ones());
        incoming - self.first_incoming + self.first_outgoing - skipped
    }

    fn locate(&self, incoming: u64) -> (usize, u64) {
        let word = incoming / WORD_LEN % WORDS as u64;
        (word as usize, bit(incoming))
    }
}

fn bit(number: u64) -> u64 {
    1 << (number % WORD_LEN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Everything that happened, and numbers by counting.
    struct Model {
        first_incoming: u64,
        first_outgoing: u64,
        /// Per number: sent, dropped without gap, or dropped late.
        fates: BTreeMap<u64, Fate>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fate {
        Sent,
        Skipped,
        Refused,
    }

    impl Model {
        fn highest(&self) -> Option<u64> {
            self.fates.keys().next_back().copied()
        }

        fn outgoing(&self, incoming: u64) -> u64 {
            let skipped = self
                .fates
                .range(..incoming)
                .filter(|(_, fate)| **fate == Fate::Skipped)
                .count() as u64;
            incoming - self.first_incoming + self.first_outgoing - skipped
        }

        fn is_open(&self, incoming: u64) -> bool {
            incoming >= self.first_incoming && !self.fates.contains_key(&incoming)
        }

        fn forward(&mut self, incoming: u64) -> Option<u64> {
            if !self.is_open(incoming) {
                return None;
            }
            self.fates.insert(incoming, Fate::Sent);
            Some(self.outgoing(incoming))
        }

        fn drop(&mut self, incoming: u64) {
            if self.is_open(incoming) {
                let is_new = self.highest().is_none_or(|highest| incoming > highest);
                let fate = if is_new { Fate::Skipped } else { Fate::Refused };
                self.fates.insert(incoming, fate);
            }
        }

        fn next_outgoing(&self) -> u64 {
            self.highest()
                .map_or(self.first_outgoing, |highest| self.outgoing(highest + 1))
        }
    }

    #[test]
    fn drops_leave_no_gap_and_losses_do() {
        let mut map = SequenceMap::new(100, 7);
        assert_eq!(map.next_outgoing(), 7);
        assert_eq!(map.forward(100), Some(7));
        map.drop(101);
        assert_eq!(map.forward(102), Some(8));
        // 103 is missing.
        assert_eq!(map.forward(104), Some(10));
        assert_eq!(map.forward(103), Some(9));
        assert_eq!(map.next_outgoing(), 11);
        assert_eq!(map.source(9), Some(103));
        assert_eq!(map.source(8), Some(102));
        assert_eq!(map.source(11), None);
        assert_eq!(map.source(6), None);
    }

    #[test]
    fn nothing_is_sent_twice() {
        let mut map = SequenceMap::new(100, 0);
        assert_eq!(map.forward(100), Some(0));
        assert_eq!(map.forward(100), None);
        map.drop(101);
        assert_eq!(map.forward(101), None);
    }

    #[test]
    fn a_late_drop_leaves_a_gap_and_no_source() {
        let mut map = SequenceMap::new(100, 0);
        assert_eq!(map.forward(102), Some(2));
        map.drop(101);
        assert_eq!(map.forward(101), None);
        assert_eq!(map.forward(103), Some(3));
        assert_eq!(map.source(1), None);
    }

    #[test]
    fn packets_before_the_first_or_the_window_are_not_sent() {
        let mut map = SequenceMap::new(100, 0);
        assert_eq!(map.forward(99), None);
        assert_eq!(map.forward(100), Some(0));
        assert_eq!(map.forward(100 + MAP_WINDOW_LEN), Some(MAP_WINDOW_LEN));
        assert_eq!(map.forward(101), None);
        assert_eq!(map.source(0), None);
    }

    #[test]
    fn a_long_jump_forgets_the_past_and_keeps_counting() {
        let mut map = SequenceMap::new(100, 1_000);
        map.drop(100);
        assert_eq!(map.forward(101), Some(1_000));
        let far = 101 + 10 * MAP_WINDOW_LEN;
        assert_eq!(map.forward(far), Some(1_000 + 10 * MAP_WINDOW_LEN));
        assert_eq!(map.forward(far - 5), Some(995 + 10 * MAP_WINDOW_LEN));
        assert_eq!(map.source(1_000 + 10 * MAP_WINDOW_LEN), Some(far));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_map_agrees_with_counting(
            first_incoming in 60_000u64..140_000, first_outgoing in 0u64..1 << 20,
            steps in prop::collection::vec((-40i64..60, any::<bool>()), 1..300),
        ) {
            let mut map = SequenceMap::new(first_incoming, first_outgoing);
            let mut model = Model { first_incoming, first_outgoing, fates: BTreeMap::new() };
            let mut at = first_incoming;
            for (step, send) in steps {
                at = at.saturating_add_signed(step);
                // Stay where both know everything.
                let known = model.highest().map_or(0, |highest| {
                    highest.saturating_sub(MAP_WINDOW_LEN - WORD_LEN)
                });
                at = at.max(known).max(first_incoming.saturating_sub(3));
                if send {
                    prop_assert_eq!(map.forward(at), model.forward(at), "forward {}", at);
                } else {
                    map.drop(at);
                    model.drop(at);
                }
                prop_assert_eq!(map.next_outgoing(), model.next_outgoing());
            }
            let oldest = model.highest().map_or(0, |highest| {
                highest.saturating_sub(MAP_WINDOW_LEN - WORD_LEN)
            });
            let sent: BTreeMap<u64, u64> = model
                .fates
                .iter()
                .filter(|(number, fate)| **fate == Fate::Sent && **number >= oldest)
                .map(|(number, _)| (model.outgoing(*number), *number))
                .collect();
            for (outgoing, incoming) in &sent {
                prop_assert_eq!(map.source(*outgoing), Some(*incoming));
            }
            if let Some((lowest, _)) = sent.first_key_value() {
                for outgoing in *lowest..map.next_outgoing() + 3 {
                    prop_assert_eq!(map.source(outgoing), sent.get(&outgoing).copied());
                }
            }
        }

        #[test]
        fn no_outgoing_number_is_given_twice(
            steps in prop::collection::vec((-3_000i64..5_000, any::<bool>()), 1..300),
        ) {
            let mut map = SequenceMap::new(70_000, 0);
            let mut given = std::collections::HashSet::new();
            let mut at = 70_000u64;
            for (step, send) in steps {
                at = at.saturating_add_signed(step);
                if !send {
                    map.drop(at);
                } else if let Some(outgoing) = map.forward(at) {
                    prop_assert!(given.insert(outgoing), "{} twice", outgoing);
                    prop_assert!(outgoing < map.next_outgoing());
                    prop_assert_eq!(map.source(outgoing), Some(at));
                }
            }
        }
    }
}
