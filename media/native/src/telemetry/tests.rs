use std::collections::HashSet;

use super::*;
use proptest::prelude::*;

fn entity(n: usize) -> EntityId {
    EntityId {
        id: format!("c-{n}"),
        encoding: 0,
    }
}

fn consumers(removed: Vec<u32>, added: Vec<EntityId>, rows: &[[i64; 14]]) -> [Changes; 3] {
    let values = rows.concat();
    let change = Changes {
        removed,
        added,
        values,
    };
    [Changes::default(), Changes::default(), change]
}

const HEAD: Head = Head {
    worker: 1,
    interval_us: 1_000_000,
};

fn wanted(id: &str, metric: &str) -> Wanted {
    Wanted {
        ids: Some(HashSet::from([id.to_owned()])),
        metrics: Some(HashSet::from([metric.to_owned()])),
    }
}

#[test]
fn unchanged_second_costs_a_few_bytes_whatever_the_number_of_entities() {
    let mut encoder = Encoder::default();
    let rows = vec![[7; 14]; 1000];
    let ids = (0..1000).map(entity).collect();
    encoder.encode(HEAD, consumers(vec![], ids, &rows));
    let frame = encoder.encode(HEAD, consumers(vec![], vec![], &rows));
    assert!(frame.len() < 64, "{}", frame.len());
}

#[test]
fn series_follows_an_entity_through_joins_and_leaves() {
    let mut encoder = Encoder::default();
    let mut fold = Fold::new(0, 3_000, 3, wanted("c-1", "packets"));
    let row = |packets| {
        let mut row = [0; 14];
        row[1] = packets;
        row
    };
    let first = consumers(vec![], vec![entity(0), entity(1)], &[row(5), row(10)]);
    fold.take(0, &encoder.encode(HEAD, first)).expect("sound");
    let second = consumers(vec![0], vec![entity(2)], &[row(20), row(9)]);
    fold.take(1_000, &encoder.encode(HEAD, second))
        .expect("sound");
    let third = consumers(vec![0], vec![], &[row(3)]);
    fold.take(2_000, &encoder.encode(HEAD, third))
        .expect("sound");
    let cells = fold.series(Kind::Consumer, &entity(1), "packets");
    let points: Vec<(i64, f64)> = cells.iter().map(|cell| (cell.at_ns, cell.sum)).collect();
    assert_eq!(points, [(0, 10.0), (1_000, 20.0)]);
    assert!(
        fold.series(Kind::Consumer, &entity(2), "packets")
            .is_empty()
    );
}

#[test]
fn unknown_values_are_left_out_and_scales_apply() {
    let mut encoder = Encoder::default();
    let mut fold = Fold::new(0, 10, 1, Wanted::default());
    let mut row = [0; 14];
    (row[0], row[3], row[4]) = (1500, 0, 1 + 251);
    let frame = encoder.encode(HEAD, consumers(vec![], vec![entity(0)], &[row]));
    fold.take(0, &frame).expect("sound");
    assert!(
        fold.series(Kind::Consumer, &entity(0), "jitter_ms")
            .is_empty()
    );
    let rtt = fold.series(Kind::Consumer, &entity(0), "round_trip_time_ms");
    assert!((rtt[0].last - 25.1).abs() < 1e-9);
    assert_eq!(
        fold.series(Kind::Consumer, &entity(0), "bitrate_bps")[0].max,
        1_500_000.0
    );
}

#[test]
fn missing_frame_silences_a_worker_until_its_next_key_frame() {
    let mut encoder = Encoder::default();
    let mut fold = Fold::new(0, 200, 200, wanted("c-0", "packets"));
    for at_ns in 0..KEY_EVERY as i64 + 5 {
        let added = if at_ns == 0 { vec![entity(0)] } else { vec![] };
        let mut row = [0; 14];
        row[1] = at_ns + 1;
        let frame = encoder.encode(HEAD, consumers(vec![], added, &[row]));
        if at_ns != 10 {
            fold.take(at_ns, &frame).expect("sound");
        }
    }
    let cells = fold.series(Kind::Consumer, &entity(0), "packets");
    let seen: Vec<i64> = cells.iter().map(|cell| cell.at_ns).collect();
    assert_eq!(seen, (0..10).chain(60..65).collect::<Vec<i64>>());
    assert!(
        cells
            .iter()
            .all(|cell| cell.last == (cell.at_ns + 1) as f64)
    );
    assert_eq!(fold.skipped(), 49);
}

#[test]
fn bucket_keeps_the_least_and_the_most() {
    let mut encoder = Encoder::default();
    let mut fold = Fold::new(0, 100, 1, wanted("c-0", "packets"));
    for (at_ns, packets) in [(0, 50), (10, 2), (20, 90), (30, 40)] {
        let added = if at_ns == 0 { vec![entity(0)] } else { vec![] };
        let mut row = [0; 14];
        row[1] = packets;
        fold.take(
            at_ns,
            &encoder.encode(HEAD, consumers(vec![], added, &[row])),
        )
        .expect("sound");
    }
    let cell = fold.series(Kind::Consumer, &entity(0), "packets")[0];
    assert_eq!(
        (cell.min, cell.max, cell.sum, cell.count),
        (2.0, 90.0, 182.0, 4)
    );
}

#[test]
fn another_version_is_refused() {
    let mut frame = Encoder::default().encode(HEAD, Default::default());
    frame[0] = 9;
    assert_eq!(
        Decoder::default().decode(&frame),
        Err(FrameError::Version(9))
    );
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        seconds in prop::collection::vec(
            (prop::collection::vec(any::<bool>(), 0..6), 0_usize..4, any::<i32>()), 1..80)
    ) {
        let mut encoder = Encoder::default();
        let mut decoder = Decoder::default();
        let mut ids: Vec<EntityId> = Vec::new();
        let mut next = 0;
        for (leaves, joins, seed) in seconds {
            let gone = |row: usize| leaves.get(row).copied().unwrap_or(false);
            let removed: Vec<u32> = (0..ids.len()).filter(|&row| gone(row)).map(|row| row as u32).collect();
            let mut row = 0;
            ids.retain(|_| { row += 1; !gone(row - 1) });
            let added: Vec<EntityId> = (next..next + joins).map(entity).collect();
            next += joins;
            ids.extend(added.clone());
            let rows: Vec<[i64; 14]> = (0..ids.len())
                .map(|row| std::array::from_fn(|n| i64::from(seed) * ((row + n) % 3) as i64))
                .collect();
            let frame = encoder.encode(HEAD, consumers(removed, added, &rows));
            prop_assert_eq!(decoder.decode(&frame), Ok(true));
            prop_assert_eq!(&decoder.tables[2].ids, &ids);
            prop_assert_eq!(&decoder.tables[2].values, &rows.concat());
        }
    }

    #[test]
    fn hostile_frames_never_panic(frames in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..64), 1..8)) {
        let mut decoder = Decoder::default();
        for mut frame in frames {
            if let Some(first) = frame.first_mut() { *first = VERSION; }
            let _ = decoder.decode(&frame);
        }
    }
}
