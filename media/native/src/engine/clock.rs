//! Clocks of publishers, mapped to each other by sender reports.
//!
//! A publisher's sender report says which RTP timestamp of an encoding goes
//! with which moment of the publisher's own clock. All streams of a publisher
//! share that clock, so its audio, its video and its simulcast encodings can be
//! aligned. Towards viewers we speak of our own clock: the difference between
//! the two is fixed by the publisher's first report, once for all its streams,
//! so that what was in step stays in step.

use crate::rtcp::ntp_timestamp;

const NS: i128 = 1_000_000_000;

/// Nanoseconds since the NTP epoch of a 64-bit NTP timestamp.
fn ns_from_ntp(ntp: u64) -> i64 {
    ((i128::from(ntp) * NS) >> 32) as i64
}

/// A quotient to the nearest whole number.
fn rounded(dividend: i128, divisor: i128) -> i128 {
    (dividend + divisor / 2).div_euclid(divisor)
}

/// What the last sender report of an encoding said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportedClock {
    /// The publisher's time in ns.
    publisher_ns: i64,
    /// The same moment in RTP units.
    timestamp: u32,
    clock_rate: u32,
}

impl ReportedClock {
    pub(crate) fn new(ntp: u64, timestamp: u32, clock_rate: u32) -> Self {
        let clock_rate = clock_rate.max(1);
        Self {
            publisher_ns: ns_from_ntp(ntp),
            timestamp,
            clock_rate,
        }
    }

    /// When, on the publisher's clock, a packet with this timestamp was made.
    pub(crate) fn publisher_ns_of(&self, timestamp: u32) -> i64 {
        let ahead = i128::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let ahead_ns = rounded(ahead * NS, i128::from(self.clock_rate));
        self.publisher_ns.saturating_add(ahead_ns as i64)
    }

    /// The timestamp at a moment of the publisher's clock.
    pub(crate) fn timestamp_at(&self, publisher_ns: i64) -> u32 {
        let ahead_ns = i128::from(publisher_ns) - i128::from(self.publisher_ns);
        let ahead = rounded(ahead_ns * i128::from(self.clock_rate), NS);
        self.timestamp.wrapping_add(ahead as u32)
    }

    pub(crate) fn publisher_ns(&self) -> i64 {
        self.publisher_ns
    }

    /// What [`Self::from_parts`] makes it of.
    pub(crate) fn parts(self) -> (i64, u32, u32) {
        (self.publisher_ns, self.timestamp, self.clock_rate)
    }

    pub(crate) fn from_parts(publisher_ns: i64, timestamp: u32, clock_rate: u32) -> Self {
        Self {
            publisher_ns,
            timestamp,
            clock_rate: clock_rate.max(1),
        }
    }
}

/// How far our NTP clock is ahead of one publisher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublisherClock {
    ahead_ns: Option<i64>,
}

/// A publisher whose clock moved further than this was set anew.
const STEP_NS: i64 = 2_000_000_000;

impl PublisherClock {
    /// A sender report arrived at our Unix time `unix_ns`.
    pub(crate) fn record(&mut self, clock: &ReportedClock, unix_ns: u64) {
        let ours_ns = ns_from_ntp(ntp_timestamp(unix_ns));
        let ahead_ns = ours_ns.saturating_sub(clock.publisher_ns());
        match self.ahead_ns {
            Some(known) if known.saturating_sub(ahead_ns).saturating_abs() < STEP_NS => {}
            _ => self.ahead_ns = Some(ahead_ns),
        }
    }

    /// One that is so far ahead.
    pub(crate) fn new(ahead_ns: Option<i64>) -> Self {
        Self { ahead_ns }
    }

    pub(crate) fn ahead_ns(&self) -> Option<i64> {
        self.ahead_ns
    }

    /// The publisher's time at our Unix time.
    pub(crate) fn publisher_ns_at(&self, unix_ns: u64) -> Option<i64> {
        let ours_ns = ns_from_ntp(ntp_timestamp(unix_ns));
        self.ahead_ns
            .map(|ahead_ns| ours_ns.saturating_sub(ahead_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_encodings_meet_on_the_publishers_clock() {
        let low = ReportedClock::new(100 << 32, 1_000, 90_000);
        let high = ReportedClock::new((100 << 32) + (1 << 31), u32::MAX - 9, 90_000);
        // 20 ticks after the report of the high one, half a second later.
        let moment_ns = high.publisher_ns_of(10);
        let there = low.timestamp_at(moment_ns);
        assert!((46_019..=46_020).contains(&there), "{there}");
    }

    #[test]
    fn first_report_fixes_the_difference_until_the_clock_is_set_anew() {
        let unix_ns = 1_700_000_000_000_000_000;
        let mut clock = PublisherClock::default();
        let early = ReportedClock::new(ntp_timestamp(unix_ns - 5_000_000_000), 0, 90_000);
        clock.record(&early, unix_ns);
        let late = ReportedClock::new(ntp_timestamp(unix_ns - 4_500_000_000), 0, 90_000);
        clock.record(&late, unix_ns + 900_000_000);
        let publisher_ns = clock.publisher_ns_at(unix_ns).expect("known");
        assert!((publisher_ns - early.publisher_ns()).abs() < 10);
        let set = ReportedClock::new(ntp_timestamp(unix_ns), 0, 90_000);
        clock.record(&set, unix_ns);
        let publisher_ns = clock.publisher_ns_at(unix_ns).expect("known");
        assert!((publisher_ns - set.publisher_ns()).abs() < 10);
    }
}
