//! What a receiver report says of one source (RFC 3550, 6.4, A.3 and A.8).

use crate::rtcp::{ReportBlock, ntp_middle};

/// Reception statistics of one SSRC.
#[derive(Clone, Debug)]
pub struct ReceiverStatistics {
    ssrc: u32,
    clock_rate: u32,
    /// The first and the highest extended sequence number.
    range: Option<(u64, u64)>,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Last difference between arrival and timestamp, in timestamp units.
    transit: Option<u32>,
    /// Jitter in 1/16 timestamp units.
    jitter_16: u32,
    /// Middle of the last SR's NTP timestamp, and when it arrived.
    last_sr: Option<(u32, u64)>,
}

impl ReceiverStatistics {
    /// Statistics of a source whose timestamps count `clock_rate` a second.
    pub fn new(ssrc: u32, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate,
            range: None,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter_16: 0,
            last_sr: None,
        }
    }

    /// A packet arrived on the source itself, not by RTX. The number is extended.
    pub fn record(&mut self, sequence: u64, timestamp: u32, now_ns: u64) {
        let (first, highest) = self.range.unwrap_or((sequence, sequence));
        self.range = Some((first.min(sequence), highest.max(sequence)));
        self.received += 1;

        let transit = self.clock_units(now_ns).wrapping_sub(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // J += (|D| - J) / 16, kept in sixteenths (RFC 3550, A.8).
            let decay = self.jitter_16.saturating_add(8) >> 4;
            self.jitter_16 = self.jitter_16.saturating_add(difference) - decay;
        }
    }

    /// A sender report of the source arrived.
    pub fn record_sender_report(&mut self, ntp_timestamp: u64, now_ns: u64) {
        self.last_sr = Some((ntp_middle(ntp_timestamp), now_ns));
    }

    /// Packets that were expected and did not come; negative if more came than that.
    pub fn cumulative_lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Packets received, with duplicates.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Interarrival jitter in timestamp units.
    pub fn jitter(&self) -> u32 {
        self.jitter_16 >> 4
    }

    /// The next report block; its fraction lost is that since the last call.
    pub fn report(&mut self, now_ns: u64) -> ReportBlock {
        let (first, highest) = self.range.unwrap_or((0, 0));
        let expected = self.expected();
        let expected_now = expected - self.expected_prior;
        let received_now = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction_lost = (lost_now << 8)
            .checked_div(expected_now)
            .unwrap_or(0)
            .min(255);
        let (last_sr, delay_since_last_sr) = self.last_sr.map_or((0, 0), |(middle, at_ns)| {
            let delay_ns = u128::from(now_ns.saturating_sub(at_ns));
            let delay = ((delay_ns << 16) / 1_000_000_000).min(u128::from(u32::MAX));
            (middle, delay as u32)
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction_lost as u8,
            cumulative_lost: self.cumulative_lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            // Cycles are counted from the first packet's.
            extended_highest_sequence_number: (highest - (first & !0xffff)) as u32,
            jitter: self.jitter(),
            last_sr,
            delay_since_last_sr,
        }
    }

    fn expected(&self) -> u64 {
        self.range.map_or(0, |(first, highest)| highest - first + 1)
    }

    /// A time in timestamp units, modulo 2^32.
    fn clock_units(&self, now_ns: u64) -> u32 {
        let rate = u64::from(self.clock_rate);
        let whole = (now_ns / 1_000_000_000).wrapping_mul(rate);
        let rest = now_ns % 1_000_000_000 * rate / 1_000_000_000;
        whole.wrapping_add(rest) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn statistics() -> ReceiverStatistics {
        ReceiverStatistics::new(7, 90_000)
    }

    #[test]
    fn a_source_that_sent_nothing_reports_nothing() {
        let expected = ReportBlock {
            ssrc: 7,
            ..ReportBlock::default()
        };
        assert_eq!(statistics().report(5), expected);
    }

    #[test]
    fn losses_are_counted_per_interval_and_in_all() {
        let mut statistics = statistics();
        for sequence in 65_540..65_550 {
            if sequence % 4 != 0 {
                statistics.record(sequence, 0, 0);
            }
        }
        // 65,541 to 65,549 expected, two of nine missing: 512 / 9.
        let report = statistics.report(0);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (56, 2));
        assert_eq!(report.extended_highest_sequence_number, 65_549 - 65_536);
        for sequence in 65_550..65_560 {
            statistics.record(sequence, 0, 0);
        }
        let report = statistics.report(0);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 2));
    }

    #[test]
    fn the_highest_number_counts_its_cycles() {
        let mut statistics = statistics();
        statistics.record(131_070, 0, 0);
        statistics.record(131_075, 0, 0);
        let report = statistics.report(0);
        assert_eq!(report.extended_highest_sequence_number, 1 << 16 | 3);
    }

    #[test]
    fn duplicates_make_losses_negative_and_no_fraction() {
        let mut statistics = statistics();
        for _ in 0..5 {
            statistics.record(70_000, 0, 0);
        }
        let report = statistics.report(0);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -4));
    }

    #[test]
    fn even_arrivals_have_no_jitter() {
        let mut statistics = statistics();
        for n in 0..100 {
            statistics.record(70_000 + n, (n * 1_800) as u32, n * 20 * MS);
        }
        assert_eq!(statistics.jitter(), 0);
    }

    #[test]
    fn jitter_approaches_the_mean_deviation() {
        let mut statistics = statistics();
        for n in 0..1_000 {
            // Every other packet is 2 ms late: |D| is 180 units each time.
            let late_ns = n % 2 * 2 * MS;
            statistics.record(70_000 + n, (n * 1_800) as u32, n * 20 * MS + late_ns);
        }
        assert!(
            (175..=180).contains(&statistics.jitter()),
            "{}",
            statistics.jitter()
        );
    }

    #[test]
    fn the_last_sender_report_is_echoed_with_its_delay() {
        let mut statistics = statistics();
        statistics.record_sender_report(0x1111_2222_3333_4444, 1_000 * MS);
        let report = statistics.report(1_500 * MS);
        assert_eq!(
            (report.last_sr, report.delay_since_last_sr),
            (0x2222_3333, 1 << 15)
        );
    }
}
