//! Who joins begins with the last keyframe that came, from the cache, and the publisher hears nothing of it.

use std::collections::BTreeMap;

use _native::codec::vp8::Descriptor;
use _native::engine::Config;
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer, SetProducer};

use crate::forwarding::{room, room_with, viewer};
use crate::support::peer::{Peer, Received, Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::span::Span;
use crate::support::{MS, S, World};

const FRAME: u64 = 33_333_333;

/// Frames of two packets of 1,000 bytes; the first is a keyframe of ten.
fn frames(world: &mut World, count: usize, begins: bool) {
    for frame in 0..count {
        let key = begins && frame == 0;
        let packets = if key { 10 } else { 2 };
        let step = std::mem::replace(&mut world.peers[0].streams[0].step, 0);
        for packet in 0..packets {
            if packet == packets - 1 {
                world.peers[0].streams[0].step = step;
            }
            let mut payload = vec![0x90, 0xc0, 0x80, 0, 0, u8::from(!key)];
            if packet > 0 {
                payload[0] = 0x80;
            }
            payload.resize(1_000, 0x5a);
            let number = world.peers[0].streams[0].sequence.to_be_bytes();
            payload[6..14].copy_from_slice(&number);
            let datagram = world.peers[0].packet_with(0, &payload);
            world.send(0, datagram);
        }
        world.advance(FRAME);
    }
}

/// A stream that has gone on for so many frames since its keyframe, seen by one.
fn stream(frames_behind: usize) -> World {
    let mut world = room(1);
    frames(&mut world, 1 + frames_behind, true);
    world.take_notices();
    world
}

fn join(world: &mut World, place: usize) -> usize {
    let transport = format!("recv{place}");
    let peer = world.join(&transport, Direction::Recv);
    let consumer = rows::view(&format!("c{place}"), &transport, "p", 5000);
    world.order(Order::SetConsumer(consumer));
    peer
}

fn numbers(peer: &Peer) -> Vec<u64> {
    let number = |one: &&Received| {
        let bytes = one.payload[6..14].try_into().expect("eight");
        u64::from_be_bytes(bytes)
    };
    peer.media(5000).iter().map(number).collect()
}

/// Who began with a keyframe out of the cache, and how old that was.
fn keyframe_age_ns(notice: &Notice) -> Option<(&str, u64)> {
    match notice {
        Notice::LayersChanged {
            consumer,
            keyframe_age_ns: Some(age_ns),
            ..
        } => Some((consumer, age_ns / FRAME * FRAME)),
        _ => None,
    }
}

/// Asserts that a viewer got all from `first` to the newest, in order and without a gap.
fn assert_whole(world: &World, place: usize, first: u64) {
    let peer = &world.peers[place];
    let last = world.peers[0].streams[0].sequence;
    assert_eq!(numbers(peer), (first..last).collect::<Vec<_>>());
    assert_contiguous(&peer.sequence_numbers(5000));
    assert_eq!(peer.unreadable, 0);
}

#[test]
fn who_joins_in_the_midst_gets_the_last_keyframe_and_all_since() {
    let mut world = stream(45);
    let joined_ns = world.now_ns;
    let asked = world.peers[0].plis(1111);
    let peer = join(&mut world, 1);
    frames(&mut world, 30, false);
    assert_eq!(world.peers[0].plis(1111), asked);
    let first = numbers(&world.peers[1])[0];
    assert_whole(&world, peer, first);
    let received = world.peers[peer].media(5000);
    assert!(received[0].at_ns <= joined_ns + 5 * MS);
    let told: Vec<_> = world.notices.iter().filter_map(keyframe_age_ns).collect();
    assert_eq!(told, [("c1", 46 * FRAME)], "control is told of it");
    // 102 packets, and what came meanwhile, at 8 Mbit/s.
    let behind: Vec<_> = received.iter().take(100).collect();
    let took_ns = behind[99].at_ns - joined_ns;
    assert!((50 * MS..200 * MS).contains(&took_ns), "{took_ns}");
}

#[test]
fn who_asked_before_its_first_keyframe_came_is_not_asked_for_and_who_asks_again_is() {
    let mut world = stream(45);
    let asked = world.peers[0].plis(1111);
    let peer = join(&mut world, 1);
    frames(&mut world, 8, false);
    let pli = world.peers[peer].pli(5000);
    world.send(peer, pli);
    frames(&mut world, 4, false);
    assert_eq!(world.peers[0].plis(1111), asked);
    let pli = world.peers[peer].pli(5000);
    world.send(peer, pli);
    frames(&mut world, 1, false);
    assert_eq!(world.peers[0].plis(1111), asked + 1);
}

#[test]
fn timestamps_of_the_past_are_as_close_together_as_it_is_sent_and_live_ones_are_as_ever() {
    let mut world = stream(60);
    let peer = join(&mut world, 1);
    frames(&mut world, 30, false);
    let received = world.peers[peer].media(5000);
    let (begun, mut worst) = (received[0], 0);
    for one in &received {
        // Where the timestamp would be if it had been captured when it was sent.
        let elapsed = (one.at_ns - begun.at_ns) as i64 * 9 / 100_000;
        let late = i64::from(one.timestamp.wrapping_sub(begun.timestamp) as i32) - elapsed;
        worst = worst.max(late.abs());
    }
    assert!(worst < 90 * 120, "{} ms", worst / 90);
    let mut times: BTreeMap<u32, usize> = BTreeMap::new();
    for one in &received {
        *times.entry(one.timestamp).or_default() += 1;
    }
    assert_eq!(times.len(), 91, "a timestamp of its own for each picture");
    let steps: Vec<u32> = received
        .windows(2)
        .map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp))
        .collect();
    assert!(steps.iter().all(|&step| step <= 3_000));
    assert!(
        steps[steps.len() - 30..]
            .iter()
            .all(|&step| step == 0 || step == 3_000)
    );
}

#[test]
fn a_thousand_who_join_in_a_second_cost_no_request() {
    let mut world = room_with(World::with(Config::new(0, 7), 3), 1);
    frames(&mut world, 20, true);
    let before = world.peers[0].plis(1111);
    for place in 1..=1000 {
        join(&mut world, place);
        if place % 34 == 0 {
            frames(&mut world, 1, false);
        }
    }
    frames(&mut world, 20, false);
    assert_eq!(world.peers[0].plis(1111), before);
    let first = numbers(&world.peers[1])[0];
    for place in [2, 500, 1001] {
        assert_whole(&world, place, first);
    }
}

#[test]
fn two_streams_of_one_viewer_share_its_pace_and_both_begin_from_the_cache() {
    let mut world = stream(45);
    let asked = world.peers[0].plis(1111);
    let peer = join(&mut world, 1);
    let beside = rows::view("c1-beside", "recv1", "p", 6000);
    world.order(Order::SetConsumer(beside));
    frames(&mut world, 30, false);
    assert_eq!(world.peers[0].plis(1111), asked);
    let first = numbers(&world.peers[1])[0];
    assert_whole(&world, peer, first);
    let count = world.peers[peer].media(5000).len();
    assert_eq!(world.peers[peer].media(6000).len(), count);
}

#[test]
fn a_keyframe_too_far_away_is_asked_for_once() {
    let mut world = stream(10);
    // Some 10 s at 30 frames a second.
    frames(&mut world, 300, false);
    let before = world.peers[0].plis(1111);
    world.take_notices();
    let peer = join(&mut world, 1);
    assert_eq!(causes(&mut world), ["began", "aged"]);
    join(&mut world, 2);
    assert_eq!(world.peers[0].plis(1111), before + 1);
    frames(&mut world, 3, false);
    assert!(world.peers[peer].media(5000).is_empty());
    let next = world.peers[0].streams[0].sequence;
    frames(&mut world, 3, true);
    assert_whole(&world, peer, next);
    assert_eq!(world.peers[0].plis(1111), before + 1);
}

/// Why the publisher was asked for a keyframe first since the last call.
fn causes(world: &mut World) -> Vec<String> {
    let mut told = world.take_notices().into_iter();
    let first = told.find_map(|notice| match notice {
        Notice::KeyFrameRequested { causes, .. } => Some(causes),
        _ => None,
    });
    first.expect("asked for")
}

#[test]
fn it_is_told_that_catching_up_would_take_too_long() {
    let mut world = stream(0);
    // Some 3.5 s of more than 400 pictures: none too old, and too many.
    world.peers[0].streams[0].step /= 4;
    for _ in 0..420 {
        let mut payload = vec![0x90, 0xc0, 0x80, 0, 0, 1];
        payload.resize(100, 0x5a);
        let datagram = world.peers[0].packet_with(0, &payload);
        world.send(0, datagram);
        world.advance(FRAME / 4);
    }
    world.take_notices();
    join(&mut world, 1);
    assert_eq!(causes(&mut world), ["began", "slow"]);
}

#[test]
fn a_broken_group_is_not_begun_with() {
    let mut world = stream(5);
    world.peers[0].lose(0, 1);
    frames(&mut world, 15, false);
    let before = world.peers[0].plis(1111);
    world.advance(S);
    let waited = world.peers[0].plis(1111);
    join(&mut world, 1);
    frames(&mut world, 1, false);
    assert!(world.peers[0].plis(1111) > before || waited > before);
    assert!(world.peers[2].media(5000).is_empty());
}

#[test]
fn what_was_sent_of_the_past_is_sent_again_the_same() {
    let mut world = stream(45);
    let peer = join(&mut world, 1);
    frames(&mut world, 10, false);
    let lost = world.peers[peer].media(5000)[5].clone();
    let nack = world.peers[peer].nack(5000, &[lost.sequence_number]);
    world.send(peer, nack);
    let again = world.peers[peer].media(5001);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].original, Some(lost.sequence_number));
    assert_eq!(
        (again[0].timestamp, &again[0].payload),
        (lost.timestamp, &lost.payload)
    );
}

#[test]
fn a_keyframe_that_comes_meanwhile_is_gone_on_with() {
    let mut world = stream(100);
    let peer = join(&mut world, 1);
    let next = world.peers[0].streams[0].sequence;
    frames(&mut world, 20, true);
    let seen = numbers(&world.peers[peer]);
    let place = seen.iter().position(|&one| one == next).expect("sent");
    let last = world.peers[0].streams[0].sequence;
    assert_eq!(seen[place..], (next..last).collect::<Vec<_>>());
    assert!(seen[..place].windows(2).all(|two| two[1] == two[0] + 1));
    assert!(
        seen[place - 1] + 1 < next,
        "the rest of the old group is left out"
    );
    assert_contiguous(&world.peers[peer].sequence_numbers(5000));
    let stamps: Vec<u32> = world.peers[peer]
        .media(5000)
        .iter()
        .map(|one| one.timestamp)
        .collect();
    assert!(
        stamps
            .windows(2)
            .all(|two| two[1].wrapping_sub(two[0]) <= 12_000)
    );
}

#[test]
fn only_the_lowest_temporal_layer_is_sent_of_the_past() {
    let mut world = room(1);
    let send = |world: &mut World, count: u16| {
        for frame in 0..count {
            let key = world.peers[0].streams[0].sequence == 1000;
            let upper = frame % 2 == 1;
            // X, S; I, L, T; picture id, TL0PICIDX, TID with Y.
            let sequence = world.peers[0].streams[0].sequence;
            let id = (sequence as u16 & 0x7fff | 0x8000).to_be_bytes();
            let tl0 = (sequence / 2) as u8;
            let layer = if upper { 0x60 } else { 0 };
            let mut payload = vec![0x90, 0xe0, id[0], id[1], tl0, layer, u8::from(!key)];
            payload.resize(500, 1);
            let datagram = world.peers[0].packet_with(0, &payload);
            world.send(0, datagram);
            world.advance(FRAME);
        }
    };
    send(&mut world, 60);
    let peer = join(&mut world, 1);
    world.advance(20 * MS);
    let layers = |world: &World| -> Vec<u8> {
        let media = world.peers[peer].media(5000);
        media.iter().map(|one| one.payload[5] >> 6).collect()
    };
    let past = layers(&world);
    assert!(
        past.len() == 30 && past.iter().all(|&layer| layer == 0),
        "{past:?}"
    );
    send(&mut world, 20);
    assert_eq!(
        layers(&world).iter().filter(|&&layer| layer == 1).count(),
        10
    );
    let ids: Vec<u16> = world.peers[peer]
        .media(5000)
        .iter()
        .map(|one| {
            Descriptor::parse(&one.payload)
                .expect("VP8")
                .picture_id
                .expect("there")
                .value
        })
        .collect();
    assert!(
        ids.windows(2).all(|two| two[1] == (two[0] + 1) & 0x7fff),
        "{ids:?}"
    );
    assert_contiguous(&world.peers[peer].sequence_numbers(5000));
}

#[test]
fn a_keyframe_is_asked_for_by_the_clock_while_people_come() {
    let mut world = stream(0);
    let mut asked = Vec::new();
    let mut before = world.peers[0].plis(1111);
    let mut begins = false;
    for frame in 0..30 * 30 {
        if frame % 30 == 7 && frame < 600 {
            join(&mut world, 1 + frame);
        }
        frames(&mut world, 1, std::mem::take(&mut begins));
        let now = world.peers[0].plis(1111);
        if now > before {
            asked.push(world.now_ns);
            (before, begins) = (now, true);
        }
    }
    let pauses: Vec<u64> = asked.windows(2).map(|two| (two[1] - two[0]) / MS).collect();
    assert!(
        pauses.iter().all(|pause| (4_000..4_200).contains(pause)),
        "{pauses:?}"
    );
    assert!((6..=7).contains(&asked.len()), "{asked:?}");
    let quiet_ns = world.now_ns;
    for _ in 0..40 {
        frames(&mut world, 30, false);
    }
    let late = world.peers[0].plis(1111) - before;
    assert!(late <= 8 && quiet_ns > 0, "{late}");
    let before = world.peers[0].plis(1111);
    frames(&mut world, 1, true);
    for _ in 0..20 {
        frames(&mut world, 30, false);
    }
    assert_eq!(world.peers[0].plis(1111), before, "nobody comes any more");
}

#[test]
fn a_publisher_that_makes_keyframes_in_time_is_never_asked() {
    let mut world = stream(0);
    let before = world.peers[0].plis(1111);
    for second in 0..20 {
        join(&mut world, 1 + second);
        frames(&mut world, 30, second % 3 == 2);
    }
    assert_eq!(world.peers[0].plis(1111), before);
    assert!((0..20).all(|place| !viewer(&world, 1 + place).media(5000).is_empty()));
}

#[test]
fn nobody_begins_with_what_was_before_a_pause() {
    let mut world = stream(20);
    let asked = world.peers[0].plis(1111);
    for paused in [true, false] {
        let row = rows::video("p", "send", &[(None, Some(1111))]);
        world.order(Order::SetProducer(SetProducer { paused, ..row }));
    }
    let peer = join(&mut world, 1);
    frames(&mut world, 3, false);
    assert!(world.peers[peer].media(5000).is_empty());
    assert!(world.peers[0].plis(1111) > asked);
}

#[test]
fn a_viewer_that_resumes_begins_from_the_cache_and_its_timestamps_run_on() {
    let mut world = stream(20);
    let peer = join(&mut world, 1);
    frames(&mut world, 30, false);
    let asked = world.peers[0].plis(1111);
    let row = |paused| SetConsumer {
        paused,
        ..rows::view("c1", "recv1", "p", 5000)
    };
    world.order(Order::SetConsumer(row(true)));
    let had = world.peers[peer].media(5000).len();
    frames(&mut world, 30, false);
    assert_eq!(world.peers[peer].media(5000).len(), had);
    let (last, paused_ns) = {
        let last = world.peers[peer].media(5000)[had - 1];
        (last.timestamp, last.at_ns)
    };
    let resumed_ns = world.now_ns;
    world.order(Order::SetConsumer(row(false)));
    frames(&mut world, 20, false);
    assert_eq!(world.peers[0].plis(1111), asked);
    let seen = numbers(&world.peers[peer]);
    let end = world.peers[0].streams[0].sequence;
    assert_eq!(seen[had..], (seen[0]..end).collect::<Vec<_>>());
    assert_contiguous(&world.peers[peer].sequence_numbers(5000));
    let first = world.peers[peer].media(5000)[had];
    assert!(first.at_ns <= resumed_ns + 5 * MS);
    let elapsed = (first.at_ns - paused_ns) as i64 * 9 / 100_000;
    let step = i64::from(first.timestamp.wrapping_sub(last) as i32);
    assert!((step - elapsed).abs() < 90 * 50, "{step} for {elapsed}");
}

/// Bytes that a viewer was sent in the fullest 50 ms.
fn fullest(peer: &Peer, from_ns: u64) -> usize {
    let received: Vec<_> = peer.rtp.iter().filter(|one| one.at_ns >= from_ns).collect();
    let within = |at_ns: u64| {
        let near = received
            .iter()
            .filter(|one| (at_ns..at_ns + 50 * MS).contains(&one.at_ns));
        near.map(|one| one.payload.len()).sum()
    };
    received
        .iter()
        .map(|one| within(one.at_ns))
        .max()
        .unwrap_or(0)
}

#[test]
fn a_burst_to_a_viewer_of_known_bandwidth_is_spread_and_complete() {
    let mut world = stream(5);
    let wide = join(&mut world, 1);
    // REMB of 800 kbit/s: the pace is 2 Mbit/s.
    for _ in 0..60 {
        let mut compound = Vec::new();
        _native::rtcp::write_remb(&mut compound, 1, 800_000, &[5000]);
        let datagram = world.peers[1].control(&compound);
        world.send(1, datagram);
        frames(&mut world, 1, false);
    }
    let began_ns = world.now_ns;
    let first = world.peers[0].streams[0].sequence;
    frames(&mut world, 1, true);
    world.peers[0].streams[0].step = 3_000;
    // A keyframe of 40 packets.
    for packet in 0..40 {
        let mut payload = vec![0x90, 0xc0, 0x80, 0, 0, u8::from(packet > 0)];
        payload.resize(1_000, 0x5a);
        let number = world.peers[0].streams[0].sequence.to_be_bytes();
        payload[6..14].copy_from_slice(&number);
        world.peers[0].streams[0].step = if packet == 39 { 3_000 } else { 0 };
        let datagram = world.peers[0].packet_with(0, &payload);
        world.send(0, datagram);
    }
    frames(&mut world, 15, false);
    let (narrow, wide) = (&world.peers[1], &world.peers[wide]);
    assert!(
        fullest(wide, began_ns) >= 40_000,
        "at once where nothing is known against it"
    );
    let most = fullest(narrow, began_ns);
    assert!(most <= 31_000, "{most} bytes in 50 ms");
    for peer in [narrow, wide] {
        let seen = numbers(peer);
        let place = seen.iter().position(|&one| one == first).expect("sent");
        assert_eq!(
            seen[place..],
            (first..world.peers[0].streams[0].sequence).collect::<Vec<_>>()
        );
        assert_contiguous(&peer.sequence_numbers(5000));
    }
    let last = |peer: &Peer, number| {
        let place = numbers(peer)
            .iter()
            .position(|&one| one == number)
            .expect("sent");
        peer.media(5000)[place].at_ns
    };
    let waited = last(narrow, first + 49) - last(wide, first + 49);
    assert!((20 * MS..=130 * MS).contains(&waited), "{} ms", waited / MS);
}

#[test]
fn viewers_of_another_worker_begin_from_the_cache_too() {
    let mut span = Span::new(5);
    let row = rows::video("p", "send", &[(None, Some(1111))]);
    let publisher = span.worlds[0].join("send", Direction::Send);
    span.order(0, Order::SetProducer(row.clone()));
    span.worlds[0].peers[publisher].add(Stream::video(1111));
    span.worlds[0].join("recv0", Direction::Recv);
    span.order(0, Order::SetConsumer(rows::view("c0", "recv0", "p", 5000)));
    span.publish(0, 0, true);
    for _ in 0..30 {
        span.publish(0, 0, false);
        span.advance(FRAME);
    }
    let asked = span.worlds[0].peers[0].plis(1111);
    for place in 1..3 {
        let transport = format!("recv{place}");
        span.worlds[1].join(&transport, Direction::Recv);
        span.mirror(&row);
        let consumer: SetConsumer = rows::view(&format!("c{place}"), &transport, "p", 5000);
        span.order(1, Order::SetConsumer(consumer));
        span.exchange();
        for _ in 0..5 {
            span.advance(FRAME);
            span.publish(0, 0, false);
        }
    }
    span.advance(FRAME);
    assert_eq!(span.worlds[0].peers[0].plis(1111), asked);
    for peer in &span.worlds[1].peers {
        let seen: Vec<u64> = peer.media(5000).iter().map(|one| source_of(one)).collect();
        assert_eq!(seen, (1000..1041).collect::<Vec<u64>>());
        assert_contiguous(&peer.sequence_numbers(5000));
    }
}
