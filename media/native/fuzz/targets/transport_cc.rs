//! Transport-wide arrivals in any order: the feedback ends, stays within its bounds and is read
//! back with the times that were recorded.
#![no_main]

use std::collections::HashMap;

use _native::rtcp::{Compound, FEEDBACK_LEN_MAX, RtcpPacket};
use _native::twcc::{ARRIVALS_MAX, ArrivalRecorder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut recorder = ArrivalRecorder::new();
    let mut now_ns = 1_000_000_000u64;
    // Every time at which a number was recorded: it may come again after a wrap.
    let mut recorded: HashMap<u16, Vec<i64>> = HashMap::new();
    for entry in data.chunks_exact(4) {
        let number = u16::from_be_bytes([entry[0], entry[1]]);
        now_ns += u64::from(u16::from_be_bytes([entry[2], entry[3]])) * 10_000;
        recorder.record(number, now_ns);
        recorded
            .entry(number)
            .or_default()
            .push((now_ns / 250_000) as i64);
        if entry[3] % 8 == 0 {
            drain(&mut recorder, &recorded);
        }
    }
    drain(&mut recorder, &recorded);
});

fn drain(recorder: &mut ArrivalRecorder, recorded: &HashMap<u16, Vec<i64>>) {
    let mut out = Vec::new();
    for _ in 0..=ARRIVALS_MAX {
        out.clear();
        if !recorder.write_feedback(1, 2, &mut out) {
            assert!(out.is_empty() && !recorder.is_pending());
            return;
        }
        assert!(out.len() <= FEEDBACK_LEN_MAX);
        let mut compound = Compound::new(&out);
        let Some(Ok(RtcpPacket::TransportFeedback(feedback))) = compound.next() else {
            panic!("not feedback");
        };
        assert!(compound.next().is_none());
        let mut arrivals = 0;
        for arrival in feedback.arrivals() {
            arrivals += 1;
            assert!(recorded[&arrival.sequence_number].contains(&arrival.ticks));
        }
        assert!(arrivals > 0);
    }
    panic!("feedback does not end");
}
