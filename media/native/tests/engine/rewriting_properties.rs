//! Whatever happens to a viewer's stream, its numbers never skip, repeat or run back.

use std::collections::BTreeSet;

use _native::engine::{Beginning, PictureOffsets, Rewriter};
use proptest::prelude::*;

/// What may happen next to one viewer.
#[derive(Clone, Debug)]
enum Step {
    /// Packets of the current encoding come, these many.
    Packets(u8),
    /// Packets are left out.
    LeaveOut(u8),
    /// The viewer is switched to this encoding, or starts again in it.
    Begin(u8),
    /// Time passes, in ms.
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u8..50).prop_map(Step::Packets),
        (1_u8..5).prop_map(Step::LeaveOut),
        (0_u8..3).prop_map(Step::Begin),
        (0_u16..3000).prop_map(Step::Wait),
    ]
}

/// A source of packets with its own numbers.
#[derive(Clone, Debug)]
struct Source {
    sequence: u64,
    timestamp: u32,
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let source = (0_u64..200_000, any::<u32>()).prop_map(|(sequence, timestamp)| Source {
        sequence,
        timestamp,
    });
    prop::collection::vec(source, 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn numbers_are_contiguous_and_timestamps_rise(
        steps in prop::collection::vec(step(), 1..60),
        mut sources in sources(),
        first in 1_u64..40_000,
    ) {
        let mut rewriter = Rewriter::new(90_000, first);
        let mut current: Option<usize> = None;
        let mut now_ns: u64 = 1_000_000_000;
        let mut expected = first;
        let mut newest: Option<u32> = None;
        for step in steps {
            match step {
                Step::Wait(ms) => {
                    now_ns += u64::from(ms) * 1_000_000;
                    for (place, source) in sources.iter_mut().enumerate() {
                        source.timestamp = source.timestamp.wrapping_add(u32::from(ms) * 90);
                        // What other encodings send meanwhile is not for this viewer.
                        source.sequence += u64::from(current != Some(place));
                    }
                }
                Step::Begin(encoding) => {
                    let source = &sources[usize::from(encoding)];
                    current = Some(usize::from(encoding));
                    rewriter.begin(&Beginning {
                        encoding,
                        sequence: source.sequence,
                        timestamp: source.timestamp,
                        received_ns: now_ns,
                        last_encoding_timestamp: None,
                        picture_offsets: PictureOffsets::default(),
                        squeeze: None,
                    });
                }
                Step::LeaveOut(count) => {
                    let Some(current) = current else { continue };
                    for _ in 0..count {
                        rewriter.leave_out(sources[current].sequence);
                        sources[current].sequence += 1;
                    }
                }
                Step::Packets(count) => {
                    let Some(current) = current else { continue };
                    for _ in 0..count {
                        let source = &mut sources[current];
                        let sent = rewriter.forward(source.sequence, source.timestamp, now_ns);
                        let sent = sent.expect("in order, so it is sent");
                        prop_assert_eq!(sent.sequence, expected);
                        let rises = newest.is_none_or(|newest| {
                            (sent.timestamp.wrapping_sub(newest) as i32) > 0
                        });
                        prop_assert!(rises, "{:?} after {:?}", sent.timestamp, newest);
                        let again = rewriter.forward(source.sequence, source.timestamp, now_ns);
                        prop_assert_eq!(again, None);
                        let origin = rewriter.origin(sent.sequence as u16).expect("just sent");
                        prop_assert_eq!(origin.sequence, source.sequence);
                        prop_assert_eq!(usize::from(origin.encoding), current);
                        newest = Some(sent.timestamp);
                        expected += 1;
                        source.sequence += 1;
                        source.timestamp = source.timestamp.wrapping_add(3_000);
                        now_ns += 33_000_000;
                    }
                }
            }
        }
    }

    #[test]
    fn reordered_packets_get_each_number_once(
        order in Just((0_u64..60).collect::<Vec<u64>>()).prop_shuffle(),
        base in 0_u64..100_000,
    ) {
        let mut rewriter = Rewriter::new(90_000, 100);
        rewriter.begin(&Beginning {
            encoding: 0,
            sequence: base,
            timestamp: 0,
            received_ns: 0,
            last_encoding_timestamp: None,
            picture_offsets: PictureOffsets::default(),
            squeeze: None,
        });
        let mut seen = BTreeSet::new();
        for place in order {
            let sent = rewriter.forward(base + place, place as u32, 0).expect("each comes once");
            prop_assert_eq!(sent.sequence, 100 + place);
            prop_assert!(seen.insert(sent.sequence));
        }
    }
}
