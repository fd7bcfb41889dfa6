//! Pausing withholds packets; resuming goes on at a keyframe, without a gap in sequence numbers.

use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer, SetProducer};

use crate::forwarding::{room, room_with, viewer};
use crate::support::peer::{Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

fn layers(world: &World) -> Vec<Option<u32>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::LayersChanged { spatial_layer, .. } => Some(*spatial_layer),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_consumer_resumes_at_a_keyframe_that_was_asked_for() {
    let mut world = room_with(World::without_instant_start(), 1);
    let row = |paused| SetConsumer {
        paused,
        ..rows::view("c0", "recv0", "p", 5000)
    };
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    world.order(Order::SetConsumer(row(true)));
    for _ in 0..50 {
        world.advance(40 * MS);
        world.publish(0, 0, false);
    }
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    let before = world.peers[0].plis(1111);
    world.order(Order::SetConsumer(row(false)));
    assert_eq!(world.peers[0].plis(1111), before + 1);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    let seen = viewer(&world, 0).media(5000);
    assert_eq!(
        seen.iter().map(|one| source_of(one)).collect::<Vec<_>>(),
        [1000, 1001, 1053, 1054]
    );
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
    // Timestamps ran on with the publisher's.
    assert_eq!(seen[2].timestamp.wrapping_sub(seen[1].timestamp), 52 * 3000);
    assert_eq!(layers(&world), [Some(0), None, Some(0)]);
}

#[test]
fn a_producer_that_resumes_starts_all_viewers_at_a_keyframe() {
    let mut world = room(2);
    let row = |paused| SetProducer {
        paused,
        ..rows::video("p", "send", &[(None, Some(1111))])
    };
    world.publish(0, 0, true);
    world.order(Order::SetProducer(row(true)));
    world.advance(1_100 * MS);
    world.publish(0, 0, false);
    assert_eq!(
        world.stream("p", 0).packets,
        2,
        "received and counted all the same"
    );
    world.order(Order::SetProducer(row(false)));
    assert_eq!(world.peers[0].plis(1111), 1);
    world.publish(0, 0, false);
    world.publish(0, 0, true);
    for place in 0..2 {
        assert_eq!(viewer(&world, place).media(5000).len(), 2);
        assert_contiguous(&viewer(&world, place).sequence_numbers(5000));
    }
}

#[test]
fn audio_resumes_with_the_next_packet() {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::audio("a", "send", 2222)));
    world.peers[publisher].add(Stream::audio(2222));
    let ear = world.join("recv", Direction::Recv);
    let row = |paused| SetConsumer {
        paused,
        ..rows::listen("c", "recv", "a", 6000)
    };
    world.order(Order::SetConsumer(row(false)));
    world.publish(publisher, 0, false);
    world.order(Order::SetConsumer(row(true)));
    for _ in 0..100 {
        world.publish(publisher, 0, false);
    }
    world.order(Order::SetConsumer(row(false)));
    world.publish(publisher, 0, false);
    let seen = world.peers[ear].media(6000);
    assert_eq!(seen.len(), 2);
    assert_contiguous(&world.peers[ear].sequence_numbers(6000));
    assert_eq!(seen[1].timestamp.wrapping_sub(seen[0].timestamp), 101 * 960);
}

#[test]
fn a_consumer_that_begins_paused_asks_for_nothing() {
    let mut world = room(0);
    world.join("recv0", Direction::Recv);
    let row = SetConsumer {
        paused: true,
        ..rows::view("c0", "recv0", "p", 5000)
    };
    world.order(Order::SetConsumer(row));
    world.publish(0, 0, true);
    world.advance(5 * S);
    assert_eq!(
        (world.peers[0].plis(1111), viewer(&world, 0).rtp.len()),
        (0, 0)
    );
    assert_eq!(layers(&world), []);
}

#[test]
fn a_stream_that_comes_back_after_silence_needs_no_keyframe() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.advance(5 * S);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
}
