//! Numbers that wrap on the wire, extended to 64 bits.

/// Extends 16-bit sequence numbers (RFC 3550, 5.1; also transport-wide ones) to 64 bits.
///
/// The first becomes 65,536 to 131,071, so that packets from before it have room. A number is the
/// one nearest to the highest so far; exactly half a cycle away it lies behind.
#[derive(Clone, Debug, Default)]
pub struct SequenceUnwrapper {
    highest: Option<u64>,
}

impl SequenceUnwrapper {
    /// Extends a number.
    pub fn unwrap(&mut self, sequence_number: u16) -> u64 {
        let highest = self
            .highest
            .get_or_insert(1 << 16 | u64::from(sequence_number));
        let distance = sequence_number.wrapping_sub(*highest as u16) as i16;
        let extended = highest.wrapping_add_signed(i64::from(distance));
        *highest = extended.max(*highest);
        extended
    }

    /// The highest extended number so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends 32-bit RTP timestamps to 64 bits, in the same manner; the first lies in [2^32, 2^33).
#[derive(Clone, Debug, Default)]
pub struct TimestampUnwrapper {
    highest: Option<u64>,
}

impl TimestampUnwrapper {
    /// Extends a timestamp.
    pub fn unwrap(&mut self, timestamp: u32) -> u64 {
        let highest = self.highest.get_or_insert(1 << 32 | u64::from(timestamp));
        let distance = timestamp.wrapping_sub(*highest as u32) as i32;
        let extended = highest.wrapping_add_signed(i64::from(distance));
        *highest = extended.max(*highest);
        extended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_before_the_first_are_below_it() {
        let mut unwrapper = SequenceUnwrapper::default();
        assert_eq!(unwrapper.unwrap(3), 65_539);
        assert_eq!(unwrapper.unwrap(65_535), 65_535);
        assert_eq!(unwrapper.highest(), Some(65_539));
        assert_eq!(unwrapper.unwrap(4), 65_540);
    }

    #[test]
    fn half_a_cycle_away_lies_behind() {
        let mut unwrapper = SequenceUnwrapper::default();
        assert_eq!(unwrapper.unwrap(0), 65_536);
        assert_eq!(unwrapper.unwrap(0x8000), 65_536 - 0x8000);
        assert_eq!(unwrapper.unwrap(0x7fff), 65_536 + 0x7fff);
    }

    proptest! {
        #[test]
        fn sequence_numbers_follow_any_walk(
            first: u16, steps in prop::collection::vec(-2_000i64..5_000, 1..300),
        ) {
            let mut unwrapper = SequenceUnwrapper::default();
            let mut truth = 1 << 16 | u64::from(first);
            let mut highest = truth;
            prop_assert_eq!(unwrapper.unwrap(first), truth);
            for step in steps {
                truth = truth.saturating_add_signed(step).max(highest.saturating_sub(30_000));
                highest = highest.max(truth);
                prop_assert_eq!(unwrapper.unwrap(truth as u16), truth);
            }
        }

        #[test]
        fn timestamps_follow_any_walk(
            first: u32, steps in prop::collection::vec(-90_000i64..1 << 30, 1..100),
        ) {
            let mut unwrapper = TimestampUnwrapper::default();
            let mut truth = 1 << 32 | u64::from(first);
            prop_assert_eq!(unwrapper.unwrap(first), truth);
            for step in steps {
                truth = truth.saturating_add_signed(step);
                prop_assert_eq!(unwrapper.unwrap(truth as u32), truth);
            }
        }
    }
}
