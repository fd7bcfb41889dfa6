//! Arrival times of transport-wide sequence numbers, and the feedback made of them.

use crate::rtcp::write_transport_feedback;
use crate::sequence::SequenceUnwrapper;

/// Numbers of which the time of arrival is kept: five seconds of a transport of 4 Mbit/s.
pub const ARRIVALS_MAX: usize = 2_048;

/// Records arrivals on one transport and writes transport-cc feedback for its sender.
///
/// After each packet with a transport-wide number: `record`. Every 50 ms: `write_feedback` until it
/// returns false. The sender's bandwidth estimate needs both steady.
#[derive(Clone, Debug, Default)]
pub struct ArrivalRecorder {
    unwrapper: SequenceUnwrapper,
    /// Time of arrival by number modulo `ARRIVALS_MAX`; allocated with the first arrival.
    times: Vec<Option<u64>>,
    /// Numbers to report next: from the first that is not reported to the highest.
    begin: u64,
    end: u64,
    feedback_count: u8,
}

impl ArrivalRecorder {
    /// A recorder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet arrived. One that comes after its number was reported as missing is reported again,
    /// with all behind it; a second arrival counts for nothing.
    pub fn record(&mut self, transport_sequence_number: u16, now_ns: u64) {
        let number = self.unwrapper.unwrap(transport_sequence_number);
        if self.times.is_empty() {
            self.times = vec![None; ARRIVALS_MAX];
            self.begin = number;
            self.end = number;
        }
        if number >= self.end {
            let skipped = self.end..number;
            if skipped.end - skipped.start >= ARRIVALS_MAX as u64 {
                self.times.fill(None);
            } else {
                for missing in skipped {
                    self.times[slot(missing)] = None;
                }
            }
            self.end = number + 1;
            self.begin = self.begin.max(self.end.saturating_sub(ARRIVALS_MAX as u64));
        } else if self.end - number > ARRIVALS_MAX as u64 || self.times[slot(number)].is_some() {
            return;
        }
        self.begin = self.begin.min(number);
        self.times[slot(number)] = Some(now_ns);
    }

    /// Appends one feedback packet; false, and nothing appended, if there is nothing (more) to
    /// report. `media_ssrc` is any source of the transport.
    pub fn write_feedback(&mut self, sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) -> bool {
        let times = &self.times;
        let arrivals = (self.begin..self.end).map(|number| times[slot(number)]);
        let written = write_transport_feedback(
            out,
            sender_ssrc,
            media_ssrc,
            self.feedback_count,
            self.begin,
            arrivals,
        );
        let Some(next) = written else {
            // Nothing arrived of as many numbers as one packet covers.
            return self.skip_losses(sender_ssrc, media_ssrc, out);
        };
        self.begin = next;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        true
    }

    /// Goes on behind a run of losses that is longer than one packet can tell.
    fn skip_losses(&mut self, sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) -> bool {
        let times = &self.times;
        let arrived = (self.begin..self.end).find(|number| times[slot(*number)].is_some());
        let Some(arrived) = arrived.filter(|arrived| *arrived > self.begin) else {
            self.begin = self.end;
            return false;
        };
        self.begin = arrived;
        self.write_feedback(sender_ssrc, media_ssrc, out)
    }

    /// Whether there is something to report.
    pub fn is_pending(&self) -> bool {
        self.begin < self.end
    }
}

fn slot(number: u64) -> usize {
    (number % ARRIVALS_MAX as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtcp::{Compound, RtcpPacket};

    const MS: u64 = 1_000_000;

    /// All feedback that is due, as (feedback count, base, statuses, arrivals with ticks).
    type Feedback = (u8, u16, u16, Vec<(u16, i64)>);

    fn drain(recorder: &mut ArrivalRecorder) -> Vec<Feedback> {
        let mut out = Vec::new();
        while recorder.write_feedback(1, 2, &mut out) {}
        Compound::new(&out)
            .map(|packet| match packet {
                Ok(RtcpPacket::TransportFeedback(feedback)) => (
                    feedback.feedback_count,
                    feedback.base_sequence_number,
                    feedback.status_count,
                    feedback
                        .arrivals()
                        .map(|arrival| (arrival.sequence_number, arrival.ticks))
                        .collect(),
                ),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn each_feedback_goes_on_where_the_last_ended() {
        let mut recorder = ArrivalRecorder::new();
        assert!(drain(&mut recorder).is_empty());
        recorder.record(65_535, 64 * MS);
        recorder.record(1, 65 * MS);
        assert!(recorder.is_pending());
        let first = (0, 65_535, 3, vec![(65_535, 256), (1, 260)]);
        assert_eq!(drain(&mut recorder), [first]);
        assert!(!recorder.is_pending());
        recorder.record(4, 70 * MS);
        // 2 and 3 are reported as lost.
        assert_eq!(drain(&mut recorder), [(1, 2, 3, vec![(4, 280)])]);
        assert!(drain(&mut recorder).is_empty());
    }

    #[test]
    fn a_late_packet_is_reported_again_with_what_followed() {
        let mut recorder = ArrivalRecorder::new();
        for number in [10, 12] {
            recorder.record(number, 64 * MS);
        }
        assert_eq!(drain(&mut recorder).len(), 1);
        recorder.record(11, 66 * MS);
        recorder.record(11, 99 * MS);
        let again = (1, 11, 2, vec![(11, 264), (12, 256)]);
        assert_eq!(drain(&mut recorder), [again]);
    }

    #[test]
    fn a_long_run_of_losses_is_skipped() {
        let mut recorder = ArrivalRecorder::new();
        recorder.record(0, 64 * MS);
        drain(&mut recorder);
        recorder.record(1_500, 65 * MS);
        assert_eq!(drain(&mut recorder), [(1, 1_500, 1, vec![(1_500, 260)])]);
    }

    #[test]
    fn a_jump_beyond_the_record_starts_afresh() {
        let mut recorder = ArrivalRecorder::new();
        recorder.record(0, 64 * MS);
        recorder.record(20_000, 64 * MS);
        let arrivals: Vec<_> = drain(&mut recorder).into_iter().flat_map(|f| f.3).collect();
        assert_eq!(arrivals, [(20_000, 256)]);
        recorder.record(100, 65 * MS);
        assert!(drain(&mut recorder).is_empty(), "older than the record");
    }

    proptest! {
        #[test]
        fn every_arrival_is_reported_with_its_time(
            steps in prop::collection::vec((1u64..5, 0u64..30_000_000, any::<bool>()), 1..500),
        ) {
            let mut recorder = ArrivalRecorder::new();
            let (mut number, mut now_ns) = (65_000u64, 1_000 * MS);
            let (mut truth, mut reported) = (Vec::new(), Vec::new());
            let mut count = 0u8;
            for (step, pause_ns, report) in steps {
                number += step;
                now_ns += pause_ns;
                recorder.record(number as u16, now_ns);
                truth.push((number as u16, (now_ns / 250_000) as i64));
                if report {
                    for feedback in drain(&mut recorder) {
                        prop_assert_eq!(feedback.0, count);
                        count = count.wrapping_add(1);
                        reported.extend(feedback.3);
                    }
                    prop_assert_eq!(&reported, &truth);
                }
            }
        }
    }
}
