//! Durations in log-linear buckets: a quantile is at most 1.6 % above the truth.

use serde::Serialize;

/// Buckets in each octave, as a power of two.
const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
/// Octaves: the last one ends above an hour in nanoseconds.
const OCTAVES: usize = 37;

/// Counts durations of 0 to about an hour, in ns; longer ones count as the longest.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

/// What reports say of a histogram. All zero without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Values.
    pub count: u64,
    /// Their mean, in ns.
    pub mean_ns: u64,
    /// Half are at most so long.
    pub p50_ns: u64,
    /// 99 of 100 are at most so long.
    pub p99_ns: u64,
    /// The longest, exactly.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * (OCTAVES + 1)].into_boxed_slice(),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, value_ns: u64) {
        self.counts[bucket(value_ns)] += 1;
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(value_ns);
        self.max_ns = self.max_ns.max(value_ns);
    }

    /// Adds all of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum_ns, self.max_ns) = (0, 0, 0);
    }

    /// The duration that a share of the values, 0 to 1, does not exceed: the upper bound of its
    /// bucket. 0 without a value.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper_bound_ns(at).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// What to report.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count,
            mean_ns: self.sum_ns.checked_div(self.count).unwrap_or(0),
            p50_ns: self.quantile_ns(0.5),
            p99_ns: self.quantile_ns(0.99),
            max_ns: self.max_ns,
        }
    }

    /// The buckets that are not empty, as (upper bound in ns, count), ascending.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(at, n)| (upper_bound_ns(at), *n)).collect()
    }
}

fn bucket(value_ns: u64) -> usize {
    if value_ns < STEPS as u64 {
        return value_ns as usize;
    }
    let octave = (63 - value_ns.leading_zeros() - STEP_BITS) as usize;
    if octave >= OCTAVES {
        return STEPS * (OCTAVES + 1) - 1;
    }
    (octave + 1) * STEPS + (value_ns >> octave) as usize - STEPS
}

fn upper_bound_ns(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let octave = bucket / STEPS - 1;
    (((STEPS + bucket % STEPS + 1) as u64) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_values_all_is_zero() {
        assert_eq!(Histogram::default().summary(), Summary::default());
        assert!(Histogram::default().buckets().is_empty());
    }

    #[test]
    fn quantiles_lie_at_most_a_bucket_above_the_truth() {
        let mut histogram = Histogram::default();
        for value_us in 1..=10_000u64 {
            histogram.record(value_us * 1_000);
        }
        for (share, truth_ns) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0), (0.001, 10_000.0)] {
            let found = histogram.quantile_ns(share) as f64;
            assert!(
                (truth_ns..truth_ns * 1.016).contains(&found),
                "{share}: {found}"
            );
        }
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.max_ns), (10_000, 10_000_000));
        assert_eq!(summary.mean_ns, 5_000_500);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for bits in 0..63u32 {
            for value in [1u64 << bits, (1u64 << bits) + 1, (2u64 << bits) - 1] {
                let at = bucket(value);
                if at + 1 < STEPS * (OCTAVES + 1) {
                    assert!(value <= upper_bound_ns(at), "{value}");
                    assert!(at == 0 || value > upper_bound_ns(at - 1), "{value}");
                }
            }
        }
    }

    #[test]
    fn merged_is_as_if_recorded_together() {
        let (mut one, mut two, mut both) = <(Histogram, Histogram, Histogram)>::default();
        for value in [3, 700, 90_000, u64::MAX] {
            one.record(value);
            both.record(value);
        }
        for value in [0, 700, 1 << 30] {
            two.record(value);
            both.record(value);
        }
        one.merge(&two);
        assert_eq!(one.summary(), both.summary());
        assert_eq!(one.buckets(), both.buckets());
        assert_eq!(one.buckets().iter().map(|(_, n)| n).sum::<u64>(), 7);
        one.clear();
        assert_eq!(one.summary(), Summary::default());
    }
}
