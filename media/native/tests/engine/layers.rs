//! Layers inside of one stream: spatial ones of VP9, temporal ones of VP8.

use _native::codec::vp8;
use _native::wire::orders::Order;

use crate::both_starts::{BOTH, PICTURES_OLD};
use crate::forwarding::{room, viewer};
use crate::support::peer::{Received, assert_contiguous};
use crate::support::rows;
use crate::support::{MS, World};
use crate::svc_publisher::{Svc, frame_of};

/// A publisher of layers, and one viewer who wants all.
fn watched(mode: &str, instant: bool) -> Svc {
    let mut svc = Svc::new(World::of(instant), mode);
    svc.bytes = 0;
    svc.join(0, None);
    svc
}

/// Sends a picture; the spatial layers that the viewer got of it.
fn picture(svc: &mut Svc, key: bool) -> Vec<(u8, bool)> {
    let before = viewer(&svc.world, 0).media(5000).len();
    svc.pictures(1, key);
    let seen = &viewer(&svc.world, 0).media(5000)[before..];
    let told = seen.iter().map(|one| (frame_of(one).1, one.marker));
    told.collect()
}

#[test]
fn full_svc_goes_down_at_once_and_up_with_a_keyframe() {
    for instant in BOTH {
        let mut svc = watched("L3T1", instant);
        let all = [(0, false), (1, false), (2, true)];
        assert_eq!(picture(&mut svc, true), all);
        assert_eq!(picture(&mut svc, false), all);
        let asked = svc.asked();
        svc.want(0, Some(1));
        assert_eq!(picture(&mut svc, false), [(0, false), (1, true)]);
        assert_eq!(svc.asked(), asked, "down needs no keyframe");
        svc.pictures(PICTURES_OLD, false);
        svc.want(0, None);
        assert_eq!(svc.asked(), asked + 1);
        assert_eq!(picture(&mut svc, false), [(0, false), (1, true)]);
        assert_eq!(picture(&mut svc, true), all);
        assert_contiguous(&viewer(&svc.world, 0).sequence_numbers(5000));
    }
}

#[test]
fn k_svc_sends_one_layer_between_keyframes_and_changes_with_them() {
    for instant in BOTH {
        let mut svc = watched("L3T1_KEY", instant);
        assert_eq!(picture(&mut svc, true), [(0, false), (1, false), (2, true)]);
        assert_eq!(picture(&mut svc, false), [(2, true)]);
        svc.pictures(PICTURES_OLD, false);
        let asked = svc.asked();
        svc.want(0, Some(0));
        assert_eq!(svc.asked(), asked + 1, "down needs a keyframe");
        assert_eq!(picture(&mut svc, false), [(2, true)]);
        assert_eq!(picture(&mut svc, true), [(0, true)]);
        assert_eq!(picture(&mut svc, false), [(0, true)]);
        assert_contiguous(&viewer(&svc.world, 0).sequence_numbers(5000));
    }
}

#[test]
fn a_retransmission_bears_the_marker_that_was_set_for_the_viewer() {
    for instant in BOTH {
        let mut svc = watched("L3T1", instant);
        svc.want(0, Some(0));
        assert_eq!(picture(&mut svc, true), [(0, true)]);
        assert_eq!(picture(&mut svc, false), [(0, true)]);
        let numbers = viewer(&svc.world, 0).sequence_numbers(5000);
        let nack = svc.world.peers[1].nack(5000, &numbers);
        svc.world.send(1, nack);
        let again = viewer(&svc.world, 0).media(5001);
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|one| one.marker));
    }
}

/// A VP8 frame of one packet in the pattern of L1T3.
fn frame(world: &mut World, number: u16) {
    let temporal = [0u8, 2, 1, 2][usize::from(number % 4)];
    let id = (number | 0x8000).to_be_bytes();
    let tl0 = 1 + (number / 4) as u8;
    let sync = u8::from(temporal > 0 && number % 4 < 3);
    let inter = u8::from(number > 0);
    let layer = temporal << 6 | sync << 5;
    let payload = [
        0x90,
        0xe0,
        id[0],
        id[1],
        tl0,
        layer,
        inter,
        7,
        7,
        number as u8,
    ];
    let datagram = world.peers[0].packet_with(0, &payload);
    world.send(0, datagram);
    world.advance(33 * MS);
}

fn pictures(seen: &[&Received]) -> Vec<(u16, u8)> {
    let read = |one: &&Received| {
        let descriptor = vp8::Descriptor::parse(&one.payload).expect("VP8");
        let id = descriptor.picture_id.expect("there").value;
        (id, one.payload[9])
    };
    seen.iter().map(read).collect()
}

#[test]
fn temporal_layers_leave_no_gap_in_sequence_numbers_and_picture_ids() {
    let mut world = room(1);
    for number in 0..8 {
        frame(&mut world, number);
    }
    let mut row = rows::view("c0", "recv0", "p", 5000);
    row.temporal_layer = Some(0);
    world.order(Order::SetConsumer(row.clone()));
    for number in 8..17 {
        frame(&mut world, number);
    }
    row.temporal_layer = None;
    world.order(Order::SetConsumer(row));
    for number in 17..21 {
        frame(&mut world, number);
    }
    let seen = viewer(&world, 0).media(5000);
    let sources: Vec<u8> = seen.iter().map(|one| one.payload[9]).collect();
    let expected: Vec<u8> = (0..8).chain([8, 12, 16]).chain(17..21).collect();
    assert_eq!(sources, expected);
    let ids: Vec<u16> = pictures(&seen).iter().map(|one| one.0).collect();
    assert_eq!(ids, (0..15).collect::<Vec<u16>>());
    let numbers = viewer(&world, 0).sequence_numbers(5000);
    assert_contiguous(&numbers);
    let sent = pictures(&seen);
    let nack = world.peers[1].nack(5000, &numbers);
    world.send(1, nack);
    assert_eq!(pictures(&viewer(&world, 0).media(5001)), sent);
}
