//! Layers of viewers who begin, or climb, with what is in the cache.

use std::collections::{BTreeMap, BTreeSet};

use _native::codec::vp9::Descriptor;
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
    frames(&mut world, 30, [false, false]);
    let asked = world.peers[0].plis(20);
    world.order(Order::SetConsumer(wanted(1, None)));
    frames(&mut world, 59, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked, "its last keyframe is young");
    frames(&mut world, 2, [false, false]);
    assert_eq!(world.peers[0].plis(20), asked + 1, "and is 4 s old now");
    frames(&mut world, 10, [false, true]);
    let low = 1_000..1_122;
    let high = 50_121..50_131;
    let seen = sources(&world.peers[peer]);
    assert_eq!(seen, low.chain(high).collect::<Vec<u64>>());
    assert_seamless(&world.peers[peer], &[50_121]);
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

/// A publisher of three spatial layers in one stream of VP9.
struct Svc {
    world: World,
    picture_id: u16,
    /// Bytes of a packet of the lowest layer; the next one's is twice that.
    bytes: usize,
}

impl Svc {
    fn new(mode: &str) -> Self {
        let mut world = World::new();
        world.join("send", Direction::Send);
        let mut row = rows::video("p", "send", &[(None, Some(1111))]);
        row.codecs[0].mime_type = "video/VP9".into();
        row.encodings[0].scalability_mode = Some(mode.into());
        world.order(Order::SetProducer(row));
        let mut stream = Stream::video(1111);
        (stream.step, stream.picture) = (0, None);
        world.peers[0].add(stream);
        Self {
            world,
            picture_id: 70,
            bytes: 100,
        }
    }

    fn join(&mut self, place: usize, spatial_layer: Option<u32>) -> usize {
        let peer = self.world.join(&format!("recv{place}"), Direction::Recv);
        self.want(place, spatial_layer);
        peer
    }

    fn want(&mut self, place: usize, spatial_layer: Option<u32>) {
        let mut row = wanted(place, spatial_layer);
        row.codecs[0].mime_type = "video/VP9".into();
        self.world.order(Order::SetConsumer(row));
    }

    /// The packets of the next picture, one a spatial layer, not sent yet.
    fn picture(&mut self, key: bool) -> Vec<Vec<u8>> {
        let packets = (0..3u8).map(|layer| {
            let predicted = if key { 0 } else { 0x40 };
            let id = (self.picture_id | 0x8000).to_be_bytes();
            let upper = u8::from(layer > 0 && key);
            let mut payload = vec![
                0xac | predicted,
                id[0],
                id[1],
                layer << 1 | upper,
                9,
                1,
                2,
                3,
            ];
            payload.resize(self.bytes << layer, 7);
            self.world.peers[0].streams[0].marker = layer == 2;
            self.world.peers[0].packet_with(0, &payload)
        });
        let packets = packets.collect();
        self.picture_id += 1;
        self.world.peers[0].streams[0].timestamp += 3_000;
        packets
    }

    fn pictures(&mut self, count: usize, key: bool) {
        for place in 0..count {
            for datagram in self.picture(key && place == 0) {
                self.world.send(0, datagram);
            }
            self.world.advance(33 * MS);
        }
    }

    fn asked(&self) -> usize {
        self.world.peers[0].plis(1111)
    }
}

/// Picture id and spatial layer.
fn frame_of(received: &Received) -> (u16, u8) {
    let descriptor = Descriptor::parse(&received.payload).expect("VP9");
    let layer = descriptor.layers.expect("has layers").spatial_layer;
    (descriptor.picture_id.expect("has one").value, layer)
}

fn seen(peer: &Peer) -> Vec<(u16, u8)> {
    peer.media(5000).iter().map(|one| frame_of(one)).collect()
}

#[test]
fn a_keyframe_whose_beginning_came_again_begins_whole_for_later_viewers() {
    for mode in ["L3T1", "L3T1_KEY"] {
        let mut svc = Svc::new(mode);
        svc.join(0, None);
        svc.pictures(5, true);
        let number = svc.world.peers[0].streams[0].sequence as u16;
        let key = svc.picture(true);
        // Its first packet is lost, and comes after the next picture.
        for datagram in key.into_iter().skip(1).chain(svc.picture(false)) {
            svc.world.send(0, datagram);
        }
        let again = svc.world.peers[0].rtx(0, number);
        svc.world.send(0, again);
        svc.world.advance(33 * MS);
        svc.pictures(3, false);
        let peer = svc.join(1, None);
        svc.world.advance(50 * MS);
        let seen = seen(&svc.world.peers[peer]);
        assert_eq!(seen[..3], [(75, 0), (75, 1), (75, 2)], "{mode}");
        let later: BTreeSet<_> = seen[3..].iter().copied().collect();
        assert!(
            (76..=79).all(|id| later.contains(&(id, 2))),
            "{mode}: {seen:?}"
        );
        assert_contiguous(&svc.world.peers[peer].sequence_numbers(5000));
    }
}

#[test]
fn a_viewer_of_one_spatial_layer_is_sent_that_one_of_the_past() {
    for (mode, between) in [
        ("L3T1", vec![(0, false), (1, true)]),
        ("L3T1_KEY", vec![(1, true)]),
    ] {
        let mut svc = Svc::new(mode);
        svc.join(0, None);
        svc.pictures(20, true);
        let asked = svc.asked();
        let peer = svc.join(1, Some(1));
        svc.pictures(5, false);
        assert_eq!(svc.asked(), asked);
        let media = svc.world.peers[peer].media(5000);
        let had: Vec<_> = media
            .iter()
            .map(|one| (frame_of(one).1, one.marker))
            .collect();
        assert_eq!(had[..2], [(0, false), (1, true)], "{mode}");
        assert_eq!(had[2..], between.repeat(24), "{mode}");
        let numbers = svc.world.peers[peer].sequence_numbers(5000);
        assert_contiguous(&numbers);
        // What is sent again is the same, its marker, too.
        let nack = svc.world.peers[peer].nack(5000, &numbers);
        svc.world.send(peer, nack);
        let again = svc.world.peers[peer].media(5001);
        let again: Vec<_> = again
            .iter()
            .map(|one| (frame_of(one), one.marker, one.timestamp))
            .collect();
        let first: Vec<_> = media_of(&svc.world.peers[peer]);
        assert_eq!(again, first, "{mode}");
    }
}

fn media_of(peer: &Peer) -> Vec<((u16, u8), bool, u32)> {
    let media = peer.media(5000);
    media
        .iter()
        .map(|one| (frame_of(one), one.marker, one.timestamp))
        .collect()
}

#[test]
fn who_has_just_begun_climbs_inside_of_its_stream_with_what_is_in_the_cache() {
    for mode in ["L3T1", "L3T1_KEY"] {
        let mut svc = Svc::new(mode);
        svc.join(0, None);
        svc.pictures(10, true);
        let peer = svc.join(1, Some(0));
        svc.pictures(3, false);
        let had = svc.world.peers[peer].media(5000).len();
        let asked = svc.asked();
        svc.want(1, None);
        svc.pictures(3, false);
        assert_eq!(svc.asked(), asked, "{mode}");
        let seen = seen(&svc.world.peers[peer]);
        assert!(seen[..had].iter().all(|one| one.1 == 0), "{mode}: {seen:?}");
        let layers: Vec<u8> = seen[had..had + 3].iter().map(|one| one.1).collect();
        assert_eq!(layers, [0, 1, 2], "{mode}: the keyframe");
        let tops = seen[had..].iter().filter(|one| one.1 == 2).count();
        assert_eq!(tops, 16, "{mode}: all pictures since, and those that came");
        let ids: Vec<u16> = seen.iter().map(|one| one.0).collect();
        let steps = ids.windows(2).map(|two| two[1].wrapping_sub(two[0]));
        assert!(steps.into_iter().all(|step| step <= 1), "{mode}: {ids:?}");
        let peer = &svc.world.peers[peer];
        assert_contiguous(&peer.sequence_numbers(5000));
        let stamps: Vec<u32> = peer.media(5000).iter().map(|one| one.timestamp).collect();
        let rises = stamps.windows(2).all(|two| two[1] >= two[0]);
        assert!(rises, "{mode}: {stamps:?}");
    }
}

#[test]
fn who_climbs_inside_of_its_stream_in_the_midst_of_a_picture_gets_the_rest_of_it() {
    let mut svc = Svc::new("L3T1");
    svc.join(0, None);
    svc.pictures(10, true);
    let peer = svc.join(1, Some(1));
    svc.pictures(3, false);
    let mut packets = svc.picture(false).into_iter();
    let first = packets.next().expect("of the lowest layer");
    svc.world.send(0, first);
    svc.want(1, None);
    for datagram in packets {
        svc.world.send(0, datagram);
    }
    svc.pictures(3, false);
    let seen = seen(&svc.world.peers[peer]);
    let all = (70..87).flat_map(|id| [(id, 0), (id, 1)]);
    assert_eq!(seen, all.collect::<Vec<_>>());
    assert_contiguous(&svc.world.peers[peer].sequence_numbers(5000));
}

#[test]
fn who_must_go_down_in_a_k_svc_stream_does_not_wait_for_a_keyframe_by_the_clock() {
    let mut svc = Svc::new("L3T1_KEY");
    svc.bytes = 300;
    let peer = svc.join(0, None);
    svc.pictures(1, true);
    svc.pictures(60, false);
    assert_eq!(
        seen(&svc.world.peers[peer]).last().map(|one| one.1),
        Some(2)
    );
    svc.pictures(1, true);
    let asked = svc.asked();
    for _ in 0..30 {
        let mut compound = Vec::new();
        _native::rtcp::write_remb(&mut compound, 1, 200_000, &[5000]);
        let datagram = svc.world.peers[peer].control(&compound);
        svc.world.send(peer, datagram);
        svc.pictures(1, false);
    }
    assert!(svc.asked() > asked, "its network has no time");
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
