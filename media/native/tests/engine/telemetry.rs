//! Telemetry: one frame a room and second, with what the streams did in it.

use _native::engine::Config;
use _native::telemetry::{Cell, EntityId, Fold, Kind, Wanted};
use _native::wire::notices::Notice;
use _native::wire::orders::{EntryKind, Order, SetTransport};

use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

/// A publisher and a viewer in the room `lobby`.
fn lobby(world: &mut World) {
    for (id, direction) in [("send", Direction::Send), ("recv0", Direction::Recv)] {
        world.join(id, direction);
        world.order(Order::SetTransport(SetTransport {
            room: "lobby".into(),
            ..rows::transport(id, direction)
        }));
    }
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, Some(1111))],
    )));
    world.peers[0].add(Stream::video(1111));
    world.order(Order::SetConsumer(rows::view("c0", "recv0", "p", 5000)));
}

fn frames(world: &World) -> Vec<(i64, Vec<u8>)> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::Telemetry { room, at_ns, data } if room == "lobby" => {
            Some((*at_ns as i64, data.to_vec()))
        }
        _ => None,
    });
    said.collect()
}

fn series(world: &World, kind: Kind, id: &str, metric: &str) -> Vec<Cell> {
    let frames = frames(world);
    let since_ns = frames[0].0;
    let until_ns = frames[frames.len() - 1].0 + 1;
    let mut fold = Fold::new(since_ns, until_ns, frames.len() as u32, Wanted::default());
    for (at_ns, frame) in frames {
        fold.take(at_ns, &frame).expect("sound");
    }
    let id = id.to_owned();
    fold.series(kind, &EntityId { id, encoding: 0 }, metric)
}

#[test]
fn every_second_tells_the_packets_of_that_second() {
    let mut world = World::new();
    lobby(&mut world);
    for step in 0..250 {
        world.publish(0, 0, step == 0);
        world.advance(20 * MS);
    }
    assert_eq!(frames(&world).len(), 5);
    for (kind, id) in [(Kind::Producer, "p"), (Kind::Consumer, "c0")] {
        let packets = series(&world, kind, id, "packets");
        assert!(
            packets[1..].iter().all(|cell| cell.last == 50.0),
            "{packets:?}"
        );
        let bits = series(&world, kind, id, "bitrate_bps");
        assert!(bits[1].last > 0.0);
    }
    let keyframes = series(&world, Kind::Consumer, "c0", "key_frames");
    assert_eq!(keyframes.iter().map(|cell| cell.sum).sum::<f64>(), 1.0);
    let state = series(&world, Kind::Transport, "recv0", "ice_state");
    assert!(state.iter().all(|cell| cell.last == 1.0));
}

#[test]
fn wall_clock_of_a_frame_is_that_of_its_second() {
    let mut world = World::new();
    lobby(&mut world);
    world.advance(3 * S);
    let at_ns: Vec<i64> = frames(&world).iter().map(|(at_ns, _)| *at_ns).collect();
    let start_ns = (1_700_000_000 + 100) * S as i64;
    assert_eq!(at_ns, [1, 2, 3].map(|n| start_ns + n * S as i64));
}

#[test]
fn room_without_transports_is_told_no_more() {
    let mut world = World::new();
    lobby(&mut world);
    world.advance(S);
    world.remove(EntryKind::Transport, "send");
    world.remove(EntryKind::Transport, "recv0");
    world.advance(5 * S);
    assert_eq!(frames(&world).len(), 1);
    // What is left is the consent of a transport that is gone.
    assert!(world.engine.next_deadline_ns() > Some(world.now_ns + S));
}

#[test]
fn switched_off_it_costs_no_timer() {
    let mut config = Config::new(0, 7);
    config.telemetry = false;
    let mut world = World::with(config, 1);
    lobby(&mut world);
    world.advance(5 * S);
    assert!(frames(&world).is_empty());
}

#[test]
fn viewer_that_waits_for_a_keyframe_in_vain_is_frozen_until_it_comes() {
    let mut world = World::new();
    lobby(&mut world);
    let frozen = |world: &World| -> Vec<bool> {
        let said = world.notices.iter().filter_map(|notice| match notice {
            Notice::ConsumerFrozen { consumer, frozen } if consumer == "c0" => Some(*frozen),
            _ => None,
        });
        said.collect()
    };
    for _ in 0..100 {
        world.publish(0, 0, false);
        world.advance(20 * MS);
    }
    assert!(frozen(&world).is_empty());
    for _ in 0..100 {
        world.publish(0, 0, false);
        world.advance(20 * MS);
    }
    assert_eq!(frozen(&world), [true]);
    for step in 0..100 {
        world.publish(0, 0, step == 0);
        world.advance(20 * MS);
    }
    assert_eq!(frozen(&world), [true, false]);
    let told: f64 = series(&world, Kind::Consumer, "c0", "frozen")
        .iter()
        .map(|cell| cell.sum)
        .sum();
    assert!((1.0..=3.0).contains(&told), "{told}");
}

#[test]
fn silent_publisher_freezes_nobody() {
    let mut world = World::new();
    lobby(&mut world);
    for step in 0..100 {
        world.publish(0, 0, step == 0);
        world.advance(20 * MS);
    }
    world.advance(10 * S);
    let said = world.notices.iter();
    assert!(
        !said
            .clone()
            .any(|one| matches!(one, Notice::ConsumerFrozen { .. }))
    );
}
