//! Rates over the last second, and budgets for the next one.

const BUCKETS: usize = 8;
const BUCKET_NS: u64 = 125_000_000;

/// Bytes of the last second, in eighths of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateMeter {
    buckets: [u32; BUCKETS],
    /// Number of the newest bucket since time zero.
    newest: u64,
}

impl RateMeter {
    pub(crate) fn record(&mut self, now_ns: u64, bytes: usize) {
        self.advance(now_ns);
        let bucket = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        *bucket = bucket.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Bits in the second before `now_ns`, to an eighth of it.
    pub(crate) fn bitrate_bps(&self, now_ns: u64) -> u64 {
        let mut meter = *self;
        meter.advance(now_ns);
        meter
            .buckets
            .iter()
            .map(|&bytes| u64::from(bytes) * 8)
            .sum()
    }

    /// When something was last recorded, to an eighth of a second; 0 if nothing was.
    pub(crate) fn last_ns(&self) -> u64 {
        self.newest * BUCKET_NS
    }

    fn advance(&mut self, now_ns: u64) {
        let now = now_ns / BUCKET_NS;
        let steps = now.saturating_sub(self.newest).min(BUCKETS as u64);
        for step in 1..=steps {
            self.buckets[((now - steps + step) % BUCKETS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(now);
    }
}

/// A bucket of tokens that fills evenly up to one second's worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    per_second: u32,
    tokens_e9: u64,
    at_ns: u64,
}

impl Budget {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            tokens_e9: u64::from(per_second) * 1_000_000_000,
            at_ns: 0,
        }
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        let full = u64::from(self.per_second) * 1_000_000_000;
        let elapsed_ns = now_ns.saturating_sub(self.at_ns).min(1_000_000_000);
        self.at_ns = self.at_ns.max(now_ns);
        self.tokens_e9 = (self.tokens_e9 + elapsed_ns * u64::from(self.per_second)).min(full);
        let there = self.tokens_e9 >= 1_000_000_000;
        if there {
            self.tokens_e9 -= 1_000_000_000;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn rate_is_that_of_the_last_second_only() {
        let mut meter = RateMeter::default();
        for step in 0..100 {
            meter.record(1_000 * MS + step * 10 * MS, 125);
        }
        assert_eq!(meter.bitrate_bps(1_999 * MS), 100_000);
        assert_eq!(meter.bitrate_bps(4_000 * MS), 0);
    }

    #[test]
    fn budget_allows_a_burst_and_then_its_rate() {
        let mut budget = Budget::new(10);
        assert_eq!((0..20).filter(|_| budget.take(5_000 * MS)).count(), 10);
        assert_eq!((0..20).filter(|_| budget.take(5_300 * MS)).count(), 3);
    }
}
