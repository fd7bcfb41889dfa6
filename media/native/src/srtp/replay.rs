//! Replay windows and the estimate of a packet's index (RFC 3711, 3.3.1, 3.3.2, appendix A).

use super::SrtpError;

/// Indexes that a replay window covers. Some seconds of reordering at the rate of one video
/// stream; the RFC asks for at least 64.
pub const WINDOW_LEN: u64 = 1024;

const WORDS: usize = (WINDOW_LEN / 64) as usize;

/// Which of the last `WINDOW_LEN` indexes of one SSRC were used.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow {
    /// One above the highest index used; zero when none was.
    end: u64,
    /// Bit `index % WINDOW_LEN`, for the indexes below `end`.
    used: [u64; WORDS],
}

impl ReplayWindow {
    pub(super) const fn new() -> Self {
        Self {
            end: 0,
            used: [0; WORDS],
        }
    }

    /// A window in which every index below `end` counts as used.
    pub(super) const fn used_below(end: u64) -> Self {
        Self {
            end,
            used: [u64::MAX; WORDS],
        }
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.end.checked_sub(1)
    }

    /// Reads a word of the lines that the next index needs.
    #[inline]
    pub(super) fn glance(&self) -> u64 {
        self.used[word(self.end)]
    }

    /// Whether an index may be used.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        if index >= self.end {
            Ok(())
        } else if self.end - index > WINDOW_LEN {
            Err(SrtpError::TooOld)
        } else if self.used[word(index)] & bit(index) != 0 {
            Err(SrtpError::Replayed)
        } else {
            Ok(())
        }
    }

    /// Marks an index that `check` passed.
    pub(super) fn mark(&mut self, index: u64) {
        if index >= self.end {
            let skipped = index - self.end;
            if skipped >= WINDOW_LEN {
                self.used = [0; WORDS];
            } else {
                for between in self.end..index {
                    self.used[word(between)] &= !bit(between);
                }
            }
            self.end = index + 1;
        }
        self.used[word(index)] |= bit(index);
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW_LEN / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

/// The index that a sequence number most likely stands for, given the highest index so far
/// (RFC 3711, appendix A). `None` if it lies before index 0.
pub(super) fn estimate_index(highest: Option<u64>, sequence_number: u16) -> Option<u64> {
    let Some(highest) = highest else {
        return Some(u64::from(sequence_number));
    };
    let rollover = highest >> 16;
    let last = (highest & 0xffff) as i32;
    let sequence = i32::from(sequence_number);
    let guess = if last < 0x8000 && sequence - last > 0x8000 {
        rollover.checked_sub(1)?
    } else if last >= 0x8000 && last - 0x8000 > sequence {
        rollover + 1
    } else {
        rollover
    };
    Some(guess << 16 | u64::from(sequence_number))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_index_follows_the_sequence_number_around_the_rollover() {
        assert_eq!(estimate_index(None, 65_000), Some(65_000));
        assert_eq!(estimate_index(Some(65_535), 0), Some(65_536));
        assert_eq!(estimate_index(Some(65_536), 65_535), Some(65_535));
        assert_eq!(estimate_index(Some(3), 65_535), None);
        assert_eq!(estimate_index(Some(5 << 16 | 10), 20), Some(5 << 16 | 20));
        // Exactly half a cycle apart: no rollover either way.
        assert_eq!(
            estimate_index(Some(1 << 16 | 1), 0x8001),
            Some(1 << 16 | 0x8001)
        );
        assert_eq!(estimate_index(Some(1 << 16 | 0x8001), 1), Some(1 << 16 | 1));
    }

    #[test]
    fn a_window_of_used_indexes_allows_only_what_follows() {
        let window = ReplayWindow::used_below(5_000);
        assert_eq!(window.check(4_999), Err(SrtpError::Replayed));
        assert_eq!(window.check(5_000 - WINDOW_LEN), Err(SrtpError::Replayed));
        assert_eq!(window.check(100), Err(SrtpError::TooOld));
        assert_eq!(window.check(5_000), Ok(()));
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_a_set_of_all_indexes(
            steps in prop::collection::vec(-1_500i64..1_500, 1..400),
        ) {
            let mut window = ReplayWindow::new();
            let mut seen = HashSet::new();
            let mut highest: Option<u64> = None;
            let mut at = 100_000u64;
            for step in steps {
                at = at.saturating_add_signed(step);
                let too_old = highest.is_some_and(|h| h >= at && h - at >= WINDOW_LEN);
                let expected = if too_old {
                    Err(SrtpError::TooOld)
                } else if seen.contains(&at) {
                    Err(SrtpError::Replayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(at), expected);
                if expected.is_ok() {
                    window.mark(at);
                    seen.insert(at);
                    highest = highest.max(Some(at));
                    prop_assert_eq!(window.highest(), highest);
                }
            }
        }

        #[test]
        fn any_index_within_half_a_cycle_is_estimated_right(
            highest in 40_000u64..1 << 40, distance in -32_767i64..32_768,
        ) {
            let index = highest.saturating_add_signed(distance);
            prop_assert_eq!(estimate_index(Some(highest), index as u16), Some(index));
        }
    }
}
