//! Frames of a received video stream: which are whole, which can be decoded, and when it froze.
//!
//! Packets are looked at in the order of their numbers, as a decoder would: those behind a gap wait
//! until it is filled, until a whole keyframe stands behind it, or until it is given up.

use std::collections::BTreeMap;

/// Packets that wait behind a gap; one more, and the gap is given up.
pub const WAITING_MAX: usize = 1_024;

/// Frames whose durations make the average (W3C webrtc-stats, `freezeCount`).
const DURATIONS: usize = 30;

/// Durations that are known before a freeze is told from a slow start; as in libwebrtc.
const DURATIONS_MIN: usize = 5;

/// Beyond the average, a frame is late by so much (W3C webrtc-stats, `freezeCount`).
const FREEZE_NS: u64 = 150_000_000;

/// What a packet says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePart {
    /// RTP timestamp: the same for all of a frame.
    pub timestamp: u32,
    /// The packet starts a keyframe.
    pub keyframe: bool,
    /// The packet ends its frame.
    pub marker: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    timestamp: u32,
    keyframe: bool,
    /// All its packets came, from the first.
    whole: bool,
}

/// Counts of frames, and of times without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames that a decoder could have decoded.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Frames of which something was lost, or what they refer to.
    pub dropped: u64,
    /// As W3C webrtc-stats has it: a frame came later than three times the average of the last 30,
    /// and than that average and 150 ms.
    pub freezes: u64,
    /// How long all freezes lasted, in ns.
    pub freeze_ns: u64,
}

/// Puts packets in order and says what became of their frames.
#[derive(Debug, Default)]
pub struct FrameFeed {
    /// The number that is to come.
    next: Option<u64>,
    waiting: BTreeMap<u64, FramePart>,
    current: Option<Current>,
    /// The last frame could be decoded: the next one can refer to it.
    decodable: bool,
    last_frame_ns: Option<u64>,
    /// Durations between frames; the oldest is overwritten.
    durations: [u64; DURATIONS],
    durations_sum: u64,
    durations_count: usize,
    counts: FrameCounts,
}

impl FrameFeed {
    /// Takes a packet; numbers are extended. One that came before, or is no longer waited for,
    /// changes nothing.
    pub fn push(&mut self, sequence: u64, part: FramePart, now_ns: u64) {
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            return;
        }
        if sequence > next || !self.waiting.is_empty() {
            self.waiting.insert(sequence, part);
            if sequence == next {
                self.drain(now_ns);
            } else if part.marker || part.keyframe {
                self.skip_to_keyframe(sequence, now_ns);
            }
            if self.waiting.len() > WAITING_MAX {
                self.give_up(now_ns);
            }
            return;
        }
        self.next = Some(next + 1);
        self.feed(part, now_ns);
    }

    /// Gives up the first gap: what is behind it goes on without what is lost.
    pub fn give_up(&mut self, now_ns: u64) {
        if let Some((&first, _)) = self.waiting.first_key_value() {
            self.lose();
            self.next = Some(first);
            self.drain(now_ns);
        }
    }

    /// Whether a keyframe is needed to go on, or packets wait behind a gap.
    pub fn is_stuck(&self) -> bool {
        !self.decodable || !self.waiting.is_empty()
    }

    /// The number from which on packets are of use.
    pub fn next_sequence(&self) -> Option<u64> {
        self.next
    }

    /// When the last decodable frame was whole.
    pub fn last_frame_ns(&self) -> Option<u64> {
        self.last_frame_ns
    }

    /// Counts so far.
    pub fn counts(&self) -> FrameCounts {
        self.counts
    }

    /// Whether it is frozen now, beyond what `counts` has.
    pub fn is_frozen(&self, now_ns: u64) -> bool {
        self.last_frame_ns
            .is_some_and(|last_ns| self.is_freeze(now_ns.saturating_sub(last_ns)))
    }

    fn is_freeze(&self, duration_ns: u64) -> bool {
        let count = self.durations_count.min(DURATIONS);
        if count < DURATIONS_MIN {
            return false;
        }
        let average_ns = self.durations_sum / count as u64;
        duration_ns >= (3 * average_ns).max(average_ns + FREEZE_NS)
    }

    fn lose(&mut self) {
        self.counts.dropped += u64::from(self.current.is_some());
        self.current = None;
        self.decodable = false;
    }

    fn drain(&mut self, now_ns: u64) {
        while let (Some(next), Some(entry)) = (self.next, self.waiting.first_entry()) {
            if *entry.key() != next {
                break;
            }
            let part = entry.remove();
            self.next = Some(next + 1);
            self.feed(part, now_ns);
        }
    }

    /// Goes on with a keyframe that is whole, though something before it is missing.
    fn skip_to_keyframe(&mut self, sequence: u64, now_ns: u64) {
        let Some(timestamp) = self.waiting.get(&sequence).map(|part| part.timestamp) else {
            return;
        };
        let mut end = sequence;
        while self.waiting.get(&end).is_some_and(|part| !part.marker) {
            end += 1;
        }
        let is_whole = self.waiting.contains_key(&end);
        let mut start = end;
        while self.part_of(start, timestamp).is_some_and(|p| !p.keyframe) {
            start -= 1;
        }
        if !is_whole || self.part_of(start, timestamp).is_none() {
            return;
        }
        self.lose();
        self.waiting = self.waiting.split_off(&start);
        self.next = Some(start);
        self.drain(now_ns);
    }

    fn part_of(&self, sequence: u64, timestamp: u32) -> Option<&FramePart> {
        let part = self.waiting.get(&sequence)?;
        (part.timestamp == timestamp).then_some(part)
    }

    fn feed(&mut self, part: FramePart, now_ns: u64) {
        let is_new = self
            .current
            .is_none_or(|current| current.timestamp != part.timestamp);
        if is_new {
            self.counts.dropped += u64::from(self.current.is_some());
            self.current = Some(Current {
                timestamp: part.timestamp,
                keyframe: part.keyframe,
                whole: self.decodable || part.keyframe,
            });
        }
        if !part.marker {
            return;
        }
        if let Some(current) = self.current.take() {
            self.decodable = current.whole;
            if current.whole {
                self.complete(current.keyframe, now_ns);
            } else {
                self.counts.dropped += 1;
            }
        }
    }

    fn complete(&mut self, keyframe: bool, now_ns: u64) {
        self.counts.frames += 1;
        self.counts.keyframes += u64::from(keyframe);
        if let Some(last_ns) = self.last_frame_ns.replace(now_ns) {
            let duration_ns = now_ns.saturating_sub(last_ns);
            if self.is_freeze(duration_ns) {
                self.counts.freezes += 1;
                self.counts.freeze_ns += duration_ns;
            }
            let slot = &mut self.durations[self.durations_count % DURATIONS];
            self.durations_sum += duration_ns;
            self.durations_sum -= std::mem::replace(slot, duration_ns);
            self.durations_count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Frames of three packets from number 100 on, 33 ms apart; the first is a keyframe, and so is
    /// each of `keyframes`.
    fn packets(frames: u64, keyframes: &[u64]) -> Vec<(u64, FramePart, u64)> {
        (0..3 * frames)
            .map(|at| {
                let part = FramePart {
                    timestamp: (at / 3) as u32 * 3_000,
                    keyframe: at % 3 == 0 && (at == 0 || keyframes.contains(&(at / 3))),
                    marker: at % 3 == 2,
                };
                (100 + at, part, at / 3 * 33 * MS)
            })
            .collect()
    }

    fn run(packets: &[(u64, FramePart, u64)]) -> FrameFeed {
        let mut feed = FrameFeed::default();
        for (sequence, part, at_ns) in packets {
            feed.push(*sequence, *part, *at_ns);
        }
        feed
    }

    #[test]
    fn all_frames_count_when_nothing_is_lost() {
        let feed = run(&packets(50, &[20]));
        let counts = feed.counts();
        assert_eq!(
            (counts.frames, counts.keyframes, counts.dropped),
            (50, 2, 0)
        );
        assert_eq!((counts.freezes, feed.is_stuck()), (0, false));
    }

    #[test]
    fn reordered_packets_and_duplicates_change_nothing() {
        let mut sent = packets(10, &[]);
        sent.swap(4, 6);
        sent.swap(11, 12);
        sent.push(sent[3]);
        assert_eq!(run(&sent).counts().frames, 10);
    }

    #[test]
    fn a_gap_holds_frames_back_until_it_is_filled_and_that_is_a_freeze() {
        let mut sent = packets(40, &[]);
        let mut lost = sent.remove(31);
        let feed = run(&sent);
        assert_eq!(feed.counts().frames, 10);
        assert!(feed.is_stuck() && feed.is_frozen(40 * 33 * MS));
        lost.2 = 40 * 33 * MS;
        sent.push(lost);
        let counts = run(&sent).counts();
        assert_eq!((counts.frames, counts.freezes), (40, 1));
        assert_eq!(counts.freeze_ns, (40 - 9) * 33 * MS);
    }

    #[test]
    fn a_whole_keyframe_behind_a_gap_goes_on_whatever_the_order_of_its_packets() {
        for order in [[60, 61, 62], [62, 61, 60], [61, 62, 60]] {
            let all = packets(40, &[20]);
            let mut sent = all.clone();
            sent.splice(60..63, order.map(|at| all[at]));
            sent.remove(31);
            let feed = run(&sent);
            let counts = feed.counts();
            assert_eq!((counts.frames, counts.keyframes), (10 + 20, 2), "{order:?}");
            assert!(!feed.is_stuck());
        }
    }

    #[test]
    fn without_a_keyframe_nothing_can_be_decoded() {
        let sent = packets(20, &[10]);
        let feed = run(&sent[1..]);
        let counts = feed.counts();
        assert_eq!(
            (counts.frames, counts.keyframes, counts.dropped),
            (10, 1, 10)
        );
    }

    #[test]
    fn a_gap_that_is_given_up_costs_the_frames_up_to_the_next_keyframe() {
        let mut sent = packets(40, &[30]);
        sent.remove(31);
        let mut feed = FrameFeed::default();
        for (sequence, part, at_ns) in &sent[..60] {
            feed.push(*sequence, *part, *at_ns);
        }
        feed.give_up(700 * MS);
        assert!(feed.is_stuck());
        for (sequence, part, at_ns) in &sent[60..] {
            feed.push(*sequence, *part, *at_ns);
        }
        assert_eq!(feed.counts().frames, 20);
        assert!(!feed.is_stuck());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut sent = packets(1_000, &[]);
        sent.remove(31);
        let feed = run(&sent);
        assert!(feed.waiting.len() <= WAITING_MAX);
        assert_eq!(feed.counts().frames, 10);
    }

    #[test]
    fn slow_but_steady_frames_are_no_freeze() {
        let sent: Vec<_> = packets(30, &[])
            .into_iter()
            .map(|(sequence, part, at_ns)| (sequence, part, at_ns * 20))
            .collect();
        assert_eq!(run(&sent).counts().freezes, 0);
    }
}
