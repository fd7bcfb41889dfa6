//! Encodings of viewers who begin, or climb, with what is in the cache.

use std::collections::BTreeMap;

use _native::sequence::SequenceUnwrapper;
use _native::wire::orders::{Order, SetConsumer};

use crate::support::peer::{Received, Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::span::Span;
use crate::support::{Dice, MS, Peer, S, World};

const FRAME: u64 = 33_333_333;
const LOW: usize = 0;
const HIGH: usize = 1;

fn wanted(place: usize, spatial_layer: Option<u32>) -> SetConsumer {
    SetConsumer {
        spatial_layer,
        ..rows::view(&format!("c{place}"), &format!("recv{place}"), "p", 5000)
    }
}

/// A publisher of two encodings, a packet a frame, and nobody who watches.
fn simulcast() -> World {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    let row = rows::video("p", "send", &[(None, Some(10)), (None, Some(20))]);
    world.order(Order::SetProducer(row));
    world.peers[publisher].add(Stream::video(10).at(1_000, 7_000));
    world.peers[publisher].add(Stream::video(20).at(50_000, 900_000));
    world
}

fn frames(world: &mut World, count: usize, keyframes: [bool; 2]) {
    for frame in 0..count {
        for stream in [LOW, HIGH] {
            let datagram =
                world.peers[0].next_packet_of(stream, keyframes[stream] && frame == 0, 1_000);
            world.send(0, datagram);
        }
        world.advance(FRAME);
    }
}

fn join(world: &mut World, place: usize, spatial_layer: Option<u32>) -> usize {
    let peer = world.join(&format!("recv{place}"), Direction::Recv);
    world.peers[peer].watch(5000);
    world.order(Order::SetConsumer(wanted(place, spatial_layer)));
    peer
}

fn sources(peer: &Peer) -> Vec<u64> {
    peer.media(5000).iter().map(|one| source_of(one)).collect()
}

/// Asserts what a decoder asks for: no gap in numbers, timestamps that rise, and of each encoding nothing
/// left out but at its beginning with a keyframe.
fn assert_seamless(peer: &Peer, keyframes: &[u64]) {
    assert_contiguous(&peer.sequence_numbers(5000));
    let seen = peer.media(5000);
    for pair in seen.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
        assert!(step > 0, "timestamps go on: {step}");
        let (before, after) = (source_of(pair[0]), source_of(pair[1]));
        assert!(
            after == before + 1 || keyframes.contains(&after),
            "{before} {after}"
        );
    }
    assert_eq!(peer.unreadable, 0);
}

#[test]
fn who_climbs_while_it_still_catches_up_misses_nothing() {
    let mut world = simulcast();
    frames(&mut world, 1, [true, true]);
    // So much that it takes some time to send it.
    for _ in 0..250 {
        frames(&mut world, 1, [false, false]);
    }
    let peer = join(&mut world, 1, Some(0));
    world.advance(20 * MS);
    let had = world.peers[peer].media(5000).len();
    assert!((1..200).contains(&had), "it still catches up: {had}");
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 30, [false, false]);
    frames(&mut world, 10, [false, true]);
    assert_seamless(&world.peers[peer], &[1_000, 50_000, 50_281]);
    assert_eq!(sources(&world.peers[peer]).last(), Some(&50_290));
}

#[test]
fn who_climbs_waits_for_the_next_keyframe_and_sees_nothing_again() {
    let mut world = simulcast();
    frames(&mut world, 30, [true, true]);
    let peer = join(&mut world, 1, Some(0));
    frames(&mut world, 20, [false, false]);
    let asked = world.peers[0].plis(20);
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 9, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked, "its last keyframe is young");
    frames(&mut world, 2, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked + 1, "and is 2 s old now");
    frames(&mut world, 10, [false, true]);
    let low = 1_000..1_062;
    let high = 50_061..50_071;
    let seen = sources(&world.peers[peer]);
    assert_eq!(seen, low.chain(high).collect::<Vec<u64>>());
    assert_seamless(&world.peers[peer], &[50_061]);
}

#[test]
fn who_climbs_begins_with_a_keyframe_that_has_just_come() {
    let mut world = simulcast();
    frames(&mut world, 30, [true, true]);
    let peer = join(&mut world, 1, Some(0));
    frames(&mut world, 30, [false, false]);
    frames(&mut world, 4, [false, true]);
    let (asked, seen) = (world.peers[0].plis(20), world.peers[peer].media(5000).len());
    let climbed_ns = world.now_ns;
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 10, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked);
    let high = world.peers[peer].media(5000).split_off(seen);
    let numbers: Vec<u64> = high.iter().map(|one| source_of(one)).collect();
    assert_eq!(numbers, (50_060..50_074).collect::<Vec<u64>>());
    let late = |one: &&&Received| one.at_ns > climbed_ns + 5 * MS;
    // The first of the ten that followed came at once, too.
    assert_eq!(high.iter().filter(late).count(), 9);
    assert_seamless(&world.peers[peer], &[1_000, 50_060]);
}

#[test]
fn who_has_just_begun_climbs_with_what_is_in_the_cache() {
    let mut world = simulcast();
    frames(&mut world, 30, [true, true]);
    let peer = join(&mut world, 1, Some(0));
    frames(&mut world, 15, [false, false]);
    let asked = world.peers[0].plis(20);
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 10, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked);
    let seen = sources(&world.peers[peer]);
    let all = (1_000..1_045).chain(50_000..50_055);
    assert_eq!(seen, all.collect::<Vec<u64>>());
    assert_seamless(&world.peers[peer], &[50_000]);
}

#[test]
fn a_climb_that_would_take_long_waits_though_its_viewer_has_just_begun() {
    let mut world = simulcast();
    frames(&mut world, 1, [true, true]);
    for _ in 0..60 {
        // 2.4 Mbit/s.
        for _ in 0..10 {
            let step = std::mem::replace(&mut world.peers[0].streams[HIGH].step, 300);
            let datagram = world.peers[0].next_packet_of(HIGH, false, 1_000);
            world.send(0, datagram);
            world.peers[0].streams[HIGH].step = step;
        }
        frames(&mut world, 1, [false, false]);
    }
    let peer = join(&mut world, 1, Some(0));
    frames(&mut world, 3, [false, false]);
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 20, [false, false]);
    assert_eq!(
        sources(&world.peers[peer]),
        (1_000..1_084).collect::<Vec<u64>>()
    );
}

#[test]
fn a_mirror_that_was_not_fed_for_a_while_begins_nobody_with_what_it_had_before() {
    let mut span = Span::new(5);
    let row = rows::video("p", "send", &[(None, Some(10)), (None, Some(20))]);
    span.worlds[0].join("send", Direction::Send);
    span.order(0, Order::SetProducer(row.clone()));
    for ssrc in [10, 20] {
        span.worlds[0].peers[0].add(Stream::video(ssrc));
    }
    let frames = |span: &mut Span, count: usize, key: bool| {
        for frame in 0..count {
            for stream in [LOW, HIGH] {
                span.publish(0, stream, key && frame == 0);
            }
            span.advance(33 * MS);
        }
    };
    span.worlds[1].join("recv0", Direction::Recv);
    span.mirror(&row);
    span.order(1, Order::SetConsumer(wanted(0, None)));
    frames(&mut span, 15, true);
    span.order(1, Order::SetConsumer(wanted(0, Some(0))));
    // Nobody on that worker is sent the higher one any more.
    frames(&mut span, 1, true);
    frames(&mut span, 90, false);
    span.worlds[1].join("recv1", Direction::Recv);
    span.mirror(&row);
    span.order(1, Order::SetConsumer(wanted(1, None)));
    frames(&mut span, 15, false);
    let seen = sources(&span.worlds[1].peers[1]);
    assert_eq!(seen, (1_015..1_121).collect::<Vec<u64>>());
    assert_contiguous(&span.worlds[1].peers[1].sequence_numbers(5000));
}

#[test]
fn only_the_lowest_temporal_layer_is_sent_of_the_past_whatever_is_ordered_meanwhile() {
    let mut world = World::new();
    world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, Some(10))],
    )));
    world.peers[0].add(Stream::video(10));
    let mut number = 0u16;
    let mut send = |world: &mut World, count: u16| {
        for _ in 0..count {
            let id = (number | 0x8000).to_be_bytes();
            let upper = number % 2 == 1;
            let layer = if upper { 0x60 } else { 0 };
            let tl0 = (number / 2) as u8;
            let mut payload = vec![0x90, 0xe0, id[0], id[1], tl0, layer, u8::from(number > 0)];
            payload.resize(1_000, 1);
            let datagram = world.peers[0].packet_with(0, &payload);
            world.send(0, datagram);
            world.advance(FRAME);
            number += 1;
        }
    };
    send(&mut world, 240);
    let peer = join(&mut world, 1, None);
    world.advance(30 * MS);
    let had = world.peers[peer].media(5000).len();
    assert!((1..110).contains(&had), "{had}");
    world.order(Order::SetConsumer(SetConsumer {
        priority: 2,
        ..wanted(1, None)
    }));
    world.advance(300 * MS);
    let layers: Vec<u8> = world.peers[peer]
        .media(5000)
        .iter()
        .map(|one| one.payload[5] >> 6)
        .collect();
    assert_eq!(layers, vec![0; 120]);
    send(&mut world, 20);
    assert_eq!(world.peers[peer].media(5000).len(), 140);
    world.advance(S);
}

/// What a viewer has after all repairs: (number, publisher's number, whether it begins a keyframe, timestamp).
fn repaired(peer: &Peer) -> Vec<(u64, u64, bool, u32)> {
    let mut unwrapper = SequenceUnwrapper::default();
    let mut found = BTreeMap::new();
    for one in &peer.rtp {
        let number = match one.ssrc {
            5000 => one.sequence_number,
            _ => match one.original {
                Some(original) => original,
                None => continue,
            },
        };
        let begins = one.payload[5] == 0;
        let told = (source_of(one), begins, one.timestamp);
        let before = found.insert(unwrapper.unwrap(number), told);
        assert!(
            before.is_none_or(|before| before == told),
            "sent again the same"
        );
    }
    let all = found.into_iter();
    all.map(|(number, (source, begins, timestamp))| (number, source, begins, timestamp))
        .collect()
}

/// A switch within so many pictures mends what is missing before it.
const SOON: usize = 6;

#[test]
fn whatever_is_lost_and_wanted_viewers_see_one_stream_without_a_gap() {
    for seed in 1..=12 {
        let mut world = simulcast();
        world.peers[0].answers_nacks = true;
        let mut dice = Dice::new(seed);
        let mut viewers = Vec::new();
        for step in 0..450 {
            let is_over = step >= 360;
            world.link.loss_permille = if is_over || step < 5 { 0 } else { 25 };
            let keys = [LOW, HIGH].map(|_| step == 0 || dice.below(60) == 0);
            frames(&mut world, 1, keys);
            if !is_over && viewers.len() < 6 && dice.below(40) == 0 {
                // The way there loses nothing while it is made.
                world.link.loss_permille = 0;
                let place = viewers.len() + 1;
                let layer = [None, Some(0)][dice.below(2) as usize];
                let peer = join(&mut world, place, layer);
                viewers.push(peer);
            }
            for &peer in &viewers {
                for nack in world.peers[peer].poll_nacks(world.now_ns) {
                    world.send(peer, nack);
                }
                if !is_over && dice.below(25) == 0 {
                    let layer = [None, Some(0)][dice.below(2) as usize];
                    world.order(Order::SetConsumer(wanted(peer, layer)));
                }
            }
        }
        assert!(!viewers.is_empty());
        for &peer in &viewers {
            let seen = repaired(&world.peers[peer]);
            for (place, pair) in seen.windows(2).enumerate() {
                let ((number, source, _, stamp), (next, then, begins, later)) = (pair[0], pair[1]);
                let about = format!("seed {seed}, viewer {peer}: {number} {source}, {next} {then}");
                // What was lost just before a keyframe of another encoding need not be sent again.
                let goes_on = next == number + 1 && then == source + 1;
                let soon = &seen[place + 1..(place + 1 + SOON).min(seen.len())];
                let mends = begins || soon.iter().any(|one| one.2);
                assert!(goes_on || mends, "{about}");
                let rise = later.wrapping_sub(stamp) as i32;
                assert!(rise > 0, "{about}: {rise}");
            }
        }
    }
}
