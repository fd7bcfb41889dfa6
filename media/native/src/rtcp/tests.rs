//! Round trips of every packet, golden bytes where a draft is easily misread, hostile compounds.

use proptest::prelude::*;

use super::*;
use crate::test_support::hex;

fn one(data: &[u8]) -> RtcpPacket<'_> {
    let mut compound = Compound::new(data);
    let packet = compound.next().unwrap().unwrap();
    assert!(compound.next().is_none());
    packet
}

fn errors(data: &[u8]) -> Vec<RtcpError> {
    Compound::new(data).filter_map(Result::err).collect()
}

mod reports {
    use super::*;

    fn report() -> impl Strategy<Value = ReportBlock> {
        let fields = (any::<[u32; 5]>(), any::<u8>(), -0x80_0000i32..0x80_0000);
        fields.prop_map(|(words, fraction_lost, cumulative_lost)| ReportBlock {
            ssrc: words[0],
            fraction_lost,
            cumulative_lost,
            extended_highest_sequence_number: words[1],
            jitter: words[2],
            last_sr: words[3],
            delay_since_last_sr: words[4],
        })
    }

    proptest! {
        #[test]
        fn sender_and_receiver_reports_round_trip(
            ssrc: u32, ntp_timestamp: u64, words: [u32; 3],
            blocks in prop::collection::vec(report(), 0..=COUNT_MAX),
        ) {
            let [rtp_timestamp, packet_count, octet_count] = words;
            let sent = SenderInfo { ntp_timestamp, rtp_timestamp, packet_count, octet_count };
            let mut out = Vec::new();
            write_sender_report(&mut out, ssrc, &sent, &blocks);
            write_receiver_report(&mut out, ssrc, &blocks);
            let mut compound = Compound::new(&out);
            match compound.next() {
                Some(Ok(RtcpPacket::SenderReport { ssrc: from, info, reports })) => {
                    prop_assert_eq!((from, info), (ssrc, sent));
                    prop_assert_eq!(reports.collect::<Vec<_>>(), &blocks[..]);
                }
                other => prop_assert!(false, "{other:?}"),
            }
            match compound.next() {
                Some(Ok(RtcpPacket::ReceiverReport { ssrc: from, reports })) => {
                    prop_assert_eq!(from, ssrc);
                    prop_assert_eq!(reports.collect::<Vec<_>>(), &blocks[..]);
                }
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert!(compound.next().is_none());
        }
    }

    #[test]
    fn surplus_reports_are_left_out() {
        let mut out = Vec::new();
        write_receiver_report(&mut out, 1, &[ReportBlock::default(); COUNT_MAX + 1]);
        let RtcpPacket::ReceiverReport { reports, .. } = one(&out) else {
            panic!("not an RR");
        };
        assert_eq!(reports.count(), COUNT_MAX);
    }

    #[test]
    fn losses_beyond_24_bits_are_clamped() {
        for (lost, expected) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000)] {
            let block = ReportBlock {
                cumulative_lost: lost,
                ..ReportBlock::default()
            };
            let read = ReportBlock::decode(&block.encode());
            assert_eq!(read.cumulative_lost, expected);
        }
    }

    #[test]
    fn the_round_trip_time_of_rfc_3550_figure_2() {
        // A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 5.25 s: 6.125 s.
        let block = ReportBlock {
            last_sr: 0xb705_2000,
            delay_since_last_sr: 0x0005_4000,
            ..ReportBlock::default()
        };
        assert_eq!(block.round_trip_time_ns(0xb710_8000), Some(6_125_000_000));
        assert_eq!(block.round_trip_time_ns(0xb705_3000), None);
        assert_eq!(ReportBlock::default().round_trip_time_ns(7), None);
    }

    #[test]
    fn ntp_time_counts_from_1900() {
        assert_eq!(ntp_timestamp(0), 2_208_988_800 << 32);
        assert_eq!(ntp_timestamp(1_500_000_000) as u32, 1 << 31);
        assert_eq!(ntp_middle(0x1122_3344_5566_7788), 0x3344_5566);
    }
}

mod descriptions {
    use super::*;

    proptest! {
        #[test]
        fn cnames_round_trip(ssrc: u32, cname in "[ -~]{0,255}") {
            let mut out = Vec::new();
            write_cname(&mut out, ssrc, &cname);
            let RtcpPacket::SourceDescription { chunks } = one(&out) else {
                panic!("not an SDES");
            };
            let expected = SdesChunk { ssrc, cname: Some(cname.as_bytes()) };
            prop_assert_eq!(chunks.collect::<Vec<_>>(), [expected]);
        }

        #[test]
        fn goodbyes_round_trip(ssrcs in prop::collection::vec(any::<u32>(), 0..=COUNT_MAX)) {
            let mut out = Vec::new();
            write_goodbye(&mut out, &ssrcs);
            let RtcpPacket::Goodbye { ssrcs: read } = one(&out) else {
                panic!("not a BYE");
            };
            prop_assert_eq!(read.collect::<Vec<_>>(), ssrcs);
        }
    }

    #[test]
    fn several_chunks_with_other_items_are_read() {
        // SSRC 1: NAME "x", CNAME "ab"; SSRC 2: nothing; SSRC 3: CNAME "c".
        let data = hex("83ca0008 00000001 020178 01026162 00 00000002 00000000
             00000003 01 01 63 00");
        let mut padded = data.clone();
        padded.resize(36, 0);
        let RtcpPacket::SourceDescription { chunks } = one(&padded) else {
            panic!("not an SDES");
        };
        let read: Vec<_> = chunks.map(|c| (c.ssrc, c.cname)).collect();
        assert_eq!(
            read,
            [(1, Some(&b"ab"[..])), (2, None), (3, Some(&b"c"[..]))]
        );
    }

    #[test]
    fn a_chunk_that_overruns_ends_the_list() {
        let data = hex("82ca0003 00000001 01ff6162 00000000");
        let RtcpPacket::SourceDescription { chunks } = one(&data) else {
            panic!("not an SDES");
        };
        assert_eq!(chunks.count(), 0);
    }
}

mod feedback {
    use std::collections::BTreeSet;

    use super::*;

    proptest! {
        #[test]
        fn nacks_round_trip(base: u16, gaps in prop::collection::vec(1u16..40, 1..100)) {
            let mut number = base;
            let lost: Vec<u16> = gaps
                .iter()
                .map(|gap| {
                    number = number.wrapping_add(*gap);
                    number
                })
                .collect();
            let mut out = Vec::new();
            write_nack(&mut out, 1, 2, &lost);
            let RtcpPacket::Nack { sender_ssrc, media_ssrc, lost: read } = one(&out) else {
                panic!("not a NACK");
            };
            prop_assert_eq!((sender_ssrc, media_ssrc), (1, 2));
            prop_assert_eq!(read.collect::<Vec<_>>(), lost);
        }

        #[test]
        fn nacks_of_unsorted_numbers_name_the_same_set(lost: Vec<u16>) {
            let mut out = Vec::new();
            write_nack(&mut out, 1, 2, &lost);
            let read: BTreeSet<u16> = match Compound::new(&out).next() {
                None => BTreeSet::new(),
                Some(Ok(RtcpPacket::Nack { lost, .. })) => lost.collect(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(read, lost.into_iter().collect::<BTreeSet<_>>());
        }

        #[test]
        fn remb_keeps_18_bits(bitrate_bps: u64, ssrcs in prop::collection::vec(any::<u32>(), 0..9)) {
            let mut out = Vec::new();
            write_remb(&mut out, 1, bitrate_bps, &ssrcs);
            let RtcpPacket::ReceiverEstimatedMaximumBitrate {
                bitrate_bps: read, ssrcs: sources, ..
            } = one(&out) else {
                panic!("not a REMB");
            };
            prop_assert!(read <= bitrate_bps && bitrate_bps - read <= bitrate_bps >> 17);
            prop_assert_eq!(sources.collect::<Vec<_>>(), ssrcs);
        }
    }

    #[test]
    fn a_nack_packs_sixteen_followers() {
        let mut out = Vec::new();
        write_nack(&mut out, 1, 2, &[65_535, 0, 15, 16]);
        assert_eq!(out, hex("81cd0004 00000001 00000002 ffff8001 00100000"));
    }

    #[test]
    fn keyframe_requests_round_trip() {
        let mut out = Vec::new();
        write_pli(&mut out, 1, 2);
        write_fir(&mut out, 3, 4, 5);
        let read: Vec<_> = Compound::new(&out).map(Result::unwrap).collect();
        assert!(matches!(
            read[0],
            RtcpPacket::PictureLossIndication {
                sender_ssrc: 1,
                media_ssrc: 2
            }
        ));
        let RtcpPacket::FullIntraRequest {
            sender_ssrc: 3,
            entries,
        } = read[1]
        else {
            panic!("not a FIR");
        };
        let expected = FirEntry {
            ssrc: 4,
            sequence_number: 5,
        };
        assert_eq!(entries.collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_hostile_remb_saturates() {
        let data = hex("8fce0004 00000001 00000000 52454d42 00ffffff");
        let RtcpPacket::ReceiverEstimatedMaximumBitrate { bitrate_bps, .. } = one(&data) else {
            panic!("not a REMB");
        };
        assert_eq!(bitrate_bps, u64::MAX);
    }

    #[test]
    fn unknown_packets_are_tolerated() {
        let data = hex("80cf0001 00000001  8fce0003 00000001 00000002 41424344");
        let read: Vec<_> = Compound::new(&data).map(Result::unwrap).collect();
        assert!(matches!(
            read[..],
            [
                RtcpPacket::Other {
                    packet_type: 207,
                    format: 0
                },
                RtcpPacket::Other {
                    packet_type: 206,
                    format: 15
                }
            ]
        ));
    }
}

mod transport_cc {
    use super::*;

    fn arrivals(data: &[u8]) -> Vec<(u16, i64)> {
        let RtcpPacket::TransportFeedback(feedback) = one(data) else {
            panic!("not transport-cc");
        };
        feedback
            .arrivals()
            .map(|a| (a.sequence_number, a.ticks))
            .collect()
    }

    fn write(base: u64, times: &[Option<u64>]) -> (Vec<u8>, Option<u64>) {
        let mut out = Vec::new();
        let next = write_transport_feedback(&mut out, 1, 2, 9, base, times.iter().copied());
        (out, next)
    }

    #[test]
    fn chunks_of_all_three_kinds_are_read() {
        // Run of 3 small, 14 in one bit (received: 1st and 14th), 7 in two bits
        // (small, large, none, reserved, none...), of 20 statuses.
        let data = hex("8fcd0008 00000001 00000002 fffe 0014 00000107
             2003 a001 d800  010203 04 05 06 ff00 0000");
        let RtcpPacket::TransportFeedback(feedback) = one(&data) else {
            panic!("not transport-cc");
        };
        assert_eq!(feedback.base_sequence_number, 0xfffe);
        assert_eq!(feedback.reference_time, 1);
        assert_eq!(feedback.feedback_count, 7);
        assert_eq!(
            arrivals(&data),
            [
                (0xfffe, 257),
                (0xffff, 259),
                (0, 262),
                (1, 266),
                (14, 271),
                (15, 277),
                (16, 21)
            ]
        );
    }

    #[test]
    fn the_example_is_packed_as_small_as_the_draft_allows() {
        let ms = |n: u64| Some(n * 1_000_000);
        // A run of 14 is one chunk.
        let (out, next) = write(100, &[ms(64); 14]);
        assert_eq!(next, Some(114));
        assert_eq!(out[16..22], hex("00000109 200e"));
        // A large delta forces two bits; a loss in between is 0.
        let (out, _) = write(100, &[ms(64), None, ms(200), ms(201)]);
        assert_eq!(out[20..], hex("d240 00 0220 04 0000"));
        assert_eq!(arrivals(&out), [(100, 256), (102, 800), (103, 804)]);
    }

    #[test]
    fn nothing_received_writes_nothing() {
        assert_eq!(write(5, &[None, None]), (vec![], None));
    }

    #[test]
    fn a_delta_beyond_16_bits_goes_into_the_next_packet() {
        let far = 1_000_000_000 + 32_768 * 250_000;
        let times = [Some(1_000_000_000), None, Some(far)];
        let (out, next) = write(7, &times);
        assert_eq!(arrivals(&out).len(), 1);
        assert_eq!(next, Some(9));
        let (out, next) = write(9, &times[2..]);
        assert_eq!(arrivals(&out), [(9, (far / 250_000) as i64)]);
        assert_eq!(next, Some(10));
    }

    #[test]
    fn a_built_packet_stays_within_its_bound() {
        // Alternating small and large deltas, the worst case for chunks and deltas.
        let times: Vec<_> = (0..2_000u64)
            .map(|n| Some(1_000_000_000 + n / 2 * 100_000_000))
            .collect();
        let (out, next) = write(0, &times);
        assert!(out.len() <= FEEDBACK_LEN_MAX, "{} bytes", out.len());
        assert!(next.is_some_and(|next| next > 300));
    }

    #[test]
    fn statuses_without_deltas_are_refused() {
        let complete = hex("8fcd0006 00000001 00000002 0001 0003 00000107 2003 0102 03000000");
        assert_eq!(arrivals(&complete).len(), 3);
        let short = hex("8fcd0005 00000001 00000002 0001 0003 00000107 2003 0102");
        assert_eq!(errors(&short), [RtcpError::Malformed]);
    }

    #[test]
    fn a_claim_of_65535_losses_has_no_arrivals() {
        let data = hex("8fcd0009 00000001 00000002 0000 ffff 00000107
             1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff 0000");
        let RtcpPacket::TransportFeedback(feedback) = one(&data) else {
            panic!("not transport-cc");
        };
        assert_eq!(feedback.status_count, 0xffff);
        assert_eq!(feedback.arrivals().next(), None);
    }

    proptest! {
        #[test]
        fn feedback_round_trips(
            base in 0u64..1 << 20,
            steps in prop::collection::vec(prop::option::weighted(0.8, -3_000_000i64..60_000_000), 1..900),
        ) {
            let mut now = 5_000_000_000u64;
            let times: Vec<Option<u64>> = steps
                .into_iter()
                .map(|step| {
                    now = now.saturating_add_signed(step?);
                    Some(now)
                })
                .collect();
            let mut read = Vec::new();
            let mut at = 0;
            while let (out, Some(next)) = write(base + at as u64, &times[at..]) {
                prop_assert!(out.len() <= FEEDBACK_LEN_MAX);
                prop_assert!(next > base + at as u64);
                read.extend(arrivals(&out));
                at = (next - base) as usize;
            }
            let expected: Vec<(u16, i64)> = times
                .iter()
                .enumerate()
                .filter_map(|(n, t)| Some(((base + n as u64) as u16, ((*t)? / 250_000) as i64)))
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}

mod hostile {
    use super::*;

    fn compound() -> Vec<u8> {
        let mut out = Vec::new();
        write_sender_report(
            &mut out,
            1,
            &SenderInfo::default(),
            &[ReportBlock::default()],
        );
        write_cname(&mut out, 1, "name");
        write_nack(&mut out, 1, 2, &[1, 2, 30]);
        write_remb(&mut out, 1, 1_000_000, &[2]);
        write_transport_feedback(&mut out, 1, 2, 0, 0, [Some(1_000_000)].into_iter());
        out
    }

    #[test]
    fn a_truncated_compound_yields_its_whole_packets_and_one_error() {
        let data = compound();
        let whole = Compound::new(&data).count();
        assert_eq!(whole, 5);
        for len in 1..data.len() {
            let read: Vec<_> = Compound::new(&data[..len]).collect();
            let errors = read.iter().filter(|packet| packet.is_err()).count();
            assert!(read.len() <= whole && errors <= 1, "{len} bytes");
        }
    }

    #[test]
    fn counts_that_overrun_are_malformed() {
        assert_eq!(errors(&hex("81c90001 00000001")), [RtcpError::Malformed]);
        assert_eq!(errors(&hex("81cb0000")), [RtcpError::Malformed]);
        assert_eq!(errors(&hex("80c80001 00000001")), [RtcpError::Malformed]);
        assert_eq!(errors(&hex("81ce0001 00000001")), [RtcpError::Malformed]);
        let remb = hex("8fce0004 00000001 00000000 52454d42 01000000");
        assert_eq!(errors(&remb), [RtcpError::Malformed]);
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(errors(&hex("40c90001 00000001")), [RtcpError::BadVersion]);
    }

    #[test]
    fn padding_is_taken_off_the_last_packet_only() {
        let padded = hex("a0c90002 00000001 00000004");
        assert!(matches!(
            one(&padded),
            RtcpPacket::ReceiverReport { ssrc: 1, .. }
        ));
        let inner = [padded.clone(), hex("80c90001 00000001")].concat();
        assert_eq!(errors(&inner), [RtcpError::Malformed]);
        for count in ["00", "03", "0c"] {
            let bad = hex(&format!("a0c90002 00000001 000000{count}"));
            assert_eq!(errors(&bad), [RtcpError::Malformed], "count {count}");
        }
    }

    #[test]
    fn transport_feedback_may_be_filled_up_to_its_word() {
        // As libwebrtc sends it: the bit for padding, and one to three bytes, wherever it stands.
        let one_of_each = [
            ("afcd0005 00000001 00000002 00070001 00000203 2001 04 01", 1),
            (
                "afcd0006 00000001 00000002 00070003 00000203 2003 040404 000003",
                3,
            ),
            (
                "afcd0006 00000001 00000002 00070004 00000203 2004 04040404 0002",
                4,
            ),
        ];
        let whole: Vec<u8> = one_of_each.iter().flat_map(|(text, _)| hex(text)).collect();
        let packets: Vec<_> = Compound::new(&whole).map(Result::unwrap).collect();
        assert_eq!(packets.len(), one_of_each.len());
        for (packet, (_, count)) in packets.iter().zip(one_of_each) {
            let RtcpPacket::TransportFeedback(feedback) = packet else {
                panic!("{packet:?}");
            };
            assert_eq!(feedback.arrivals().count(), count);
        }
        let none = hex("afcd0005 00000001 00000002 00070001 00000203 2001 04 00");
        assert_eq!(errors(&none), [RtcpError::Malformed]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            mut data in prop::collection::vec(any::<u8>(), 0..300),
            kinds in prop::collection::vec(200u8..208, 8),
        ) {
            // Make the heads plausible, so that bodies are reached.
            let mut at = 0;
            for kind in kinds {
                if at + 4 > data.len() {
                    break;
                }
                let words = data[at + 3] % 16;
                data[at] = data[at] & 0x3f | 0x80;
                data[at + 1] = kind;
                data[at + 2] = 0;
                data[at + 3] = words;
                at += 4 + 4 * usize::from(words);
            }
            for packet in Compound::new(&data).flatten() {
                match packet {
                    RtcpPacket::SenderReport { reports, .. }
                    | RtcpPacket::ReceiverReport { reports, .. } => {
                        prop_assert!(reports.count() <= COUNT_MAX);
                    }
                    RtcpPacket::SourceDescription { chunks } => {
                        prop_assert!(chunks.count() <= COUNT_MAX);
                    }
                    RtcpPacket::Nack { lost, .. } => {
                        prop_assert!(lost.count() <= 17 * data.len() / 4);
                    }
                    RtcpPacket::TransportFeedback(feedback) => {
                        prop_assert!(feedback.arrivals().count() <= data.len());
                    }
                    _ => {}
                }
            }
        }
    }
}
