//! RTCP compounds: every list is bounded by the bytes, and NACKs survive being built again.
#![no_main]

use std::collections::BTreeSet;

use _native::rtcp::{COUNT_MAX, Compound, RtcpPacket, write_nack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut packets = 0;
    let mut errors = 0;
    for read in Compound::new(data) {
        packets += 1;
        match read {
            Ok(packet) => check(packet, data.len()),
            Err(_) => errors += 1,
        }
    }
    assert!(packets <= data.len() / 4 + 1);
    assert!(errors <= 1);
});

fn check(packet: RtcpPacket<'_>, len: usize) {
    match packet {
        RtcpPacket::SenderReport { reports, .. } | RtcpPacket::ReceiverReport { reports, .. } => {
            assert!(reports.count() <= COUNT_MAX);
            for report in reports {
                assert!((-0x80_0000..0x80_0000).contains(&report.cumulative_lost));
                let _ = report.round_trip_time_ns(0);
            }
        }
        RtcpPacket::SourceDescription { chunks } => {
            assert!(chunks.count() <= COUNT_MAX);
            assert!(
                chunks
                    .filter_map(|chunk| chunk.cname)
                    .all(|name| name.len() <= 255)
            );
        }
        RtcpPacket::Goodbye { ssrcs } => assert!(ssrcs.count() <= COUNT_MAX),
        RtcpPacket::Nack {
            sender_ssrc,
            media_ssrc,
            lost,
        } => {
            assert!(lost.count() <= 17 * len / 4);
            let numbers: Vec<u16> = lost.collect();
            let mut again = Vec::new();
            write_nack(&mut again, sender_ssrc, media_ssrc, &numbers);
            let named: BTreeSet<u16> = match Compound::new(&again).next() {
                None => BTreeSet::new(),
                Some(Ok(RtcpPacket::Nack { lost, .. })) => lost.collect(),
                other => panic!("built {other:?}"),
            };
            assert_eq!(named, numbers.into_iter().collect());
        }
        RtcpPacket::FullIntraRequest { entries, .. } => assert!(entries.count() <= len / 8),
        RtcpPacket::ReceiverEstimatedMaximumBitrate { ssrcs, .. } => {
            assert!(ssrcs.count() <= 255);
        }
        RtcpPacket::TransportFeedback(feedback) => {
            let arrivals = feedback.arrivals().count();
            assert!(arrivals <= len && arrivals <= usize::from(feedback.status_count));
        }
        _ => {}
    }
}
