//! A viewer of a simulcast producer sees one encoding at a time, switched at keyframes without seams.

use _native::codec::vp8::Descriptor;
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer};

use crate::both_starts::{BOTH, PICTURES_OLD};
use crate::forwarding::viewer;
use crate::support::peer::{Received, Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

const LOW: usize = 0;
const HIGH: usize = 1;

/// A publisher of two encodings that carry only rids, and one viewer that wants `layer` at most.
fn simulcast(instant: bool, layer: Option<u32>) -> World {
    let mut world = World::of(instant);
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(Some("l"), None), (Some("h"), None)],
    )));
    let encoding = |ssrc, rid| {
        Stream::video(ssrc)
            .with(rows::MID, "p")
            .with(rows::RID, rid)
    };
    world.peers[publisher].add(encoding(10, "l").at(100, 7_000));
    let mut high = encoding(20, "h").at(60_000, 4_000_000_000);
    high.picture = Some((9_000, 200));
    world.peers[publisher].add(high);
    world.join("recv0", Direction::Recv);
    world.order(Order::SetConsumer(wanted(layer)));
    world
}

fn wanted(spatial_layer: Option<u32>) -> SetConsumer {
    SetConsumer {
        spatial_layer,
        ..rows::view("c0", "recv0", "p", 5000)
    }
}

fn layers(world: &World) -> Vec<Option<u32>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::LayersChanged { spatial_layer, .. } => Some(*spatial_layer),
        _ => None,
    });
    said.collect()
}

/// One frame of both encodings, 33 ms after the last.
fn frame(world: &mut World, keyframes: [bool; 2]) {
    world.publish(0, LOW, keyframes[LOW]);
    world.publish(0, HIGH, keyframes[HIGH]);
    world.advance(33_333_333);
}

/// So many that a keyframe is asked for at once.
fn old_frames(world: &mut World) {
    for _ in 0..PICTURES_OLD {
        frame(world, [false, false]);
    }
}

fn picture(received: &Received) -> (u16, u8) {
    let descriptor = Descriptor::parse(&received.payload).expect("VP8");
    (
        descriptor.picture_id.expect("there").value,
        descriptor.tl0_pic_idx.expect("there").value,
    )
}

fn assert_seamless(world: &World) {
    let seen = viewer(world, 0).media(5000);
    assert_contiguous(&viewer(world, 0).sequence_numbers(5000));
    for pair in seen.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((1..=6_000).contains(&step), "timestamp step {step}");
        let (before, after) = (picture(pair[0]), picture(pair[1]));
        assert_eq!(after.0, (before.0 + 1) & 0x7fff, "picture ids go on");
        assert_eq!(after.1, before.1.wrapping_add(1), "TL0PICIDX goes on");
    }
    assert_eq!(viewer(world, 0).unreadable, 0);
}

#[test]
fn the_highest_live_encoding_is_sent() {
    for instant in BOTH {
        let mut world = simulcast(instant, None);
        for _ in 0..3 {
            frame(&mut world, [true, true]);
        }
        assert_eq!(layers(&world).last(), Some(&Some(1)));
        assert_seamless(&world);
    }
}

#[test]
fn the_switch_waits_for_a_keyframe_of_the_target() {
    for instant in BOTH {
        let mut world = simulcast(instant, Some(0));
        frame(&mut world, [true, true]);
        old_frames(&mut world);
        assert_eq!(layers(&world), [Some(0)]);
        let plis = world.peers[0].plis(20);
        world.order(Order::SetConsumer(wanted(None)));
        assert_eq!(world.peers[0].plis(20), plis + 1);
        for _ in 0..5 {
            frame(&mut world, [false, false]);
        }
        assert_eq!(layers(&world), [Some(0)], "the low one runs on until then");
        assert_eq!(viewer(&world, 0).media(5000).len(), 6 + PICTURES_OLD);
        frame(&mut world, [false, true]);
        for _ in 0..5 {
            frame(&mut world, [false, false]);
        }
        assert_eq!(layers(&world), [Some(0), Some(1)]);
        world.order(Order::SetConsumer(wanted(Some(0))));
        frame(&mut world, [true, false]);
        frame(&mut world, [false, false]);
        assert_eq!(layers(&world), [Some(0), Some(1), Some(0)]);
        assert_seamless(&world);
    }
}

#[test]
fn sender_reports_align_the_encodings_timestamps() {
    for instant in BOTH {
        let mut world = simulcast(instant, Some(0));
        frame(&mut world, [true, true]);
        old_frames(&mut world);
        // Both reports name the same moment of the publisher's clock, 500 s after its beginning.
        for stream in [LOW, HIGH] {
            let report = world.peers[0].sender_report(stream, 500 << 32);
            world.send(0, report);
        }
        frame(&mut world, [false, false]);
        let low = world.peers[0].streams[LOW].timestamp;
        world.order(Order::SetConsumer(wanted(None)));
        // Arrival times would say 5 s more than the clocks do.
        world.advance(4_900 * MS);
        world.publish(0, HIGH, true);
        let last = viewer(&world, 0)
            .media(5000)
            .last()
            .expect("switched")
            .timestamp;
        assert_eq!(
            last, low,
            "as a frame of the low encoding made at that moment"
        );
    }
}

#[test]
fn an_encoding_that_falls_silent_is_left_for_one_that_lives() {
    for instant in BOTH {
        let mut world = simulcast(instant, None);
        for _ in 0..3 {
            frame(&mut world, [true, true]);
        }
        world.take_notices();
        let plis = world.peers[0].plis(10);
        for _ in 0..60 {
            world.advance(50 * MS);
            world.publish(0, LOW, false);
        }
        let asked = world.peers[0].plis(10) > plis;
        assert_eq!(asked, !instant, "the low one is in the cache, or asked for");
        world.publish(0, LOW, true);
        assert_eq!(layers(&world), [Some(0)]);
        // It comes back, and so does the viewer.
        world.publish(0, HIGH, false);
        world.advance(S);
        world.publish(0, HIGH, true);
        assert_eq!(layers(&world), [Some(0), Some(1)]);
        assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
    }
}

#[test]
fn what_was_sent_before_a_switch_can_still_be_retransmitted() {
    for instant in BOTH {
        let mut world = simulcast(instant, Some(0));
        frame(&mut world, [true, true]);
        frame(&mut world, [false, false]);
        world.order(Order::SetConsumer(wanted(None)));
        frame(&mut world, [false, true]);
        frame(&mut world, [false, false]);
        let sent: Vec<Received> = viewer(&world, 0).media(5000).into_iter().cloned().collect();
        let numbers: Vec<u16> = sent.iter().map(|one| one.sequence_number).collect();
        let nack = world.peers[1].nack(5000, &numbers);
        world.send(1, nack);
        let again = viewer(&world, 0).media(5001);
        assert_eq!(again.len(), sent.len());
        for (again, sent) in again.iter().zip(&sent) {
            assert_eq!(again.original, Some(sent.sequence_number));
            assert_eq!(
                (&again.payload, again.timestamp),
                (&sent.payload, sent.timestamp)
            );
        }
    }
}
