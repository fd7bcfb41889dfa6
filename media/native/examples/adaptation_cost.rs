//! What the estimate of a viewer's bandwidth costs, in ns of one core: recording a sent packet, and
//! reading feedback about it: `cargo run --release --example adaptation_cost [viewers]`.
//!
//! Each viewer gets 2.5 Mbit/s in packets of 1,200 bytes and gives feedback ten times a second.

use std::time::Instant;

use _native::bwe::Estimator;
use _native::rtcp::{Compound, RtcpPacket};
use _native::twcc::ArrivalRecorder;

const MS: u64 = 1_000_000;
/// Packets between two feedbacks.
const PACKETS: u64 = 26;
const ROUNDS: u64 = 100;

fn main() {
    let viewers = std::env::args().nth(1).map_or(1000, |text| {
        text.parse::<usize>().expect("a number of viewers")
    });
    let mut estimators: Vec<Estimator> = vec![Estimator::default(); viewers];
    let mut recorder = ArrivalRecorder::new();
    let (mut sending_ns, mut reading_ns) = (u128::MAX, u128::MAX);
    let mut now_ns = 1_000 * MS;
    let mut number = 0u16;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for estimator in &mut estimators {
            for packet in 0..PACKETS {
                let at_ns = now_ns + packet * 100 * MS / PACKETS;
                estimator.handle_sent(number.wrapping_add(packet as u16), at_ns, 1_200);
            }
        }
        sending_ns = sending_ns.min(started.elapsed().as_nanos());
        for packet in 0..PACKETS {
            let at_ns = now_ns + packet * 100 * MS / PACKETS;
            recorder.record(number.wrapping_add(packet as u16), at_ns + 20 * MS);
        }
        number = number.wrapping_add(PACKETS as u16);
        now_ns += 100 * MS;
        let mut compound = Vec::new();
        while recorder.write_feedback(1, 2, &mut compound) {}
        let started = Instant::now();
        for estimator in &mut estimators {
            for packet in Compound::new(&compound) {
                if let Ok(RtcpPacket::TransportFeedback(feedback)) = packet {
                    estimator.handle_feedback(now_ns + 40 * MS, &feedback);
                }
            }
        }
        reading_ns = reading_ns.min(started.elapsed().as_nanos());
    }
    assert!(estimators.iter().all(|one| one.bitrate_bps().is_some()));
    let packets = viewers as f64 * PACKETS as f64;
    let a_sent = sending_ns as f64 / packets;
    let a_read = reading_ns as f64 / packets;
    println!(
        "{viewers} viewers: {a_sent:.1} ns a sent packet, {a_read:.1} ns a packet of feedback"
    );
    println!(
        "{:.1} µs a feedback, {:.2} % of a core for all of them",
        reading_ns as f64 / viewers as f64 / 1000.0,
        reading_ns as f64 / 1e9 * 10.0 * 100.0,
    );
}
