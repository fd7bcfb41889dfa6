//! Layers inside of one stream: spatial ones of VP9, temporal ones of VP8.

use _native::codec::vp8;
use _native::codec::vp9::Descriptor;
use _native::wire::orders::{Order, SetConsumer};

use crate::both_starts::{BOTH, PICTURES_OLD};
use crate::forwarding::{room, viewer};
use crate::support::peer::{Received, Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

/// A VP9 publisher of three spatial layers in one stream, and one viewer.
struct Svc {
    world: World,
    picture_id: u16,
}

impl Svc {
    fn new(mode: &str, instant: bool) -> Self {
        let mut world = World::of(instant);
        let publisher = world.join("send", Direction::Send);
        let mut row = rows::video("p", "send", &[(None, Some(1111))]);
        row.codecs[0].mime_type = "video/VP9".into();
        row.encodings[0].scalability_mode = Some(mode.into());
        world.order(Order::SetProducer(row));
        let mut stream = Stream::video(1111);
        (stream.step, stream.picture) = (0, None);
        world.peers[publisher].add(stream);
        world.join("recv0", Direction::Recv);
        let mut svc = Self {
            world,
            picture_id: 70,
        };
        svc.want(None);
        svc
    }

    fn want(&mut self, spatial_layer: Option<u32>) {
        let mut row = SetConsumer {
            spatial_layer,
            ..rows::view("c0", "recv0", "p", 5000)
        };
        row.codecs[0].mime_type = "video/VP9".into();
        self.world.order(Order::SetConsumer(row));
    }

    /// One picture of three frames, a packet each; the spatial layers that the viewer got of it.
    fn picture(&mut self, key: bool) -> Vec<(u8, bool)> {
        let before = viewer(&self.world, 0).media(5000).len();
        for layer in 0..3u8 {
            let predicted = if key { 0 } else { 0x40 };
            let id = (self.picture_id | 0x8000).to_be_bytes();
            let upper = u8::from(layer > 0 && key);
            let payload = [
                0xac | predicted,
                id[0],
                id[1],
                layer << 1 | upper,
                9,
                1,
                2,
                3,
            ];
            self.world.peers[0].streams[0].marker = layer == 2;
            let datagram = self.world.peers[0].packet_with(0, &payload);
            self.world.send(0, datagram);
        }
        self.picture_id += 1;
        self.world.peers[0].streams[0].timestamp += 3_000;
        self.world.advance(33 * MS);
        let seen = &viewer(&self.world, 0).media(5000)[before..];
        seen.iter().map(|one| (layer(one), one.marker)).collect()
    }

    /// So many that a keyframe is asked for at once.
    fn old_pictures(&mut self) {
        for _ in 0..PICTURES_OLD {
            self.picture(false);
        }
    }

    fn asked(&self) -> usize {
        self.world.peers[0].plis(1111)
    }
}

fn layer(received: &Received) -> u8 {
    let descriptor = Descriptor::parse(&received.payload).expect("VP9");
    descriptor.layers.expect("has layers").spatial_layer
}

#[test]
fn full_svc_goes_down_at_once_and_up_with_a_keyframe() {
    for instant in BOTH {
        let mut svc = Svc::new("L3T1", instant);
        let all = [(0, false), (1, false), (2, true)];
        assert_eq!(svc.picture(true), all);
        assert_eq!(svc.picture(false), all);
        let asked = svc.asked();
        svc.want(Some(1));
        assert_eq!(svc.picture(false), [(0, false), (1, true)]);
        assert_eq!(svc.asked(), asked, "down needs no keyframe");
        svc.old_pictures();
        svc.want(None);
        assert_eq!(svc.asked(), asked + 1);
        assert_eq!(svc.picture(false), [(0, false), (1, true)]);
        assert_eq!(svc.picture(true), all);
        assert_contiguous(&viewer(&svc.world, 0).sequence_numbers(5000));
    }
}

#[test]
fn k_svc_sends_one_layer_between_keyframes_and_changes_with_them() {
    for instant in BOTH {
        let mut svc = Svc::new("L3T1_KEY", instant);
        assert_eq!(svc.picture(true), [(0, false), (1, false), (2, true)]);
        assert_eq!(svc.picture(false), [(2, true)]);
        svc.old_pictures();
        let asked = svc.asked();
        svc.want(Some(0));
        assert_eq!(svc.asked(), asked + 1, "down needs a keyframe");
        assert_eq!(svc.picture(false), [(2, true)]);
        assert_eq!(svc.picture(true), [(0, true)]);
        assert_eq!(svc.picture(false), [(0, true)]);
        assert_contiguous(&viewer(&svc.world, 0).sequence_numbers(5000));
    }
}

#[test]
fn a_retransmission_bears_the_marker_that_was_set_for_the_viewer() {
    for instant in BOTH {
        let mut svc = Svc::new("L3T1", instant);
        svc.want(Some(0));
        assert_eq!(svc.picture(true), [(0, true)]);
        assert_eq!(svc.picture(false), [(0, true)]);
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
