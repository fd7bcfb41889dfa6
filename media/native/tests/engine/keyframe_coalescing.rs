//! However many viewers ask, the publisher is asked at most once a second.

use _native::engine::{Config, Limits};
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, RequestKeyFrame};

use crate::forwarding::{room, room_with};
use crate::support::peer::Control;
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

fn requests(world: &World) -> Vec<u32> {
    let asked = world.notices.iter().filter_map(|notice| match notice {
        Notice::KeyFrameRequested { requests, .. } => Some(*requests),
        _ => None,
    });
    asked.collect()
}

/// Of the first request since the last call.
fn causes(world: &mut World) -> Vec<String> {
    let told = world
        .take_notices()
        .into_iter()
        .find_map(|notice| match notice {
            Notice::KeyFrameRequested { causes, .. } => Some(causes),
            _ => None,
        });
    told.expect("asked for")
}

#[test]
fn it_is_told_why_a_keyframe_was_asked_for() {
    let mut world = room(1);
    world.publish(0, 0, false);
    assert_eq!(causes(&mut world), ["began"]);
    world.publish(0, 0, true);
    world.advance(1_100 * MS);
    let pli = world.peers[1].pli(5000);
    world.send(1, pli);
    assert_eq!(causes(&mut world), ["viewer"]);
    world.advance(1_100 * MS);
    assert_eq!(causes(&mut world), [""; 0], "it is asked for again");
    world.publish(0, 0, true);
    world.join("recv1", Direction::Recv);
    let row = rows::view("c1", "recv1", "p", 5000);
    world.order(Order::SetConsumer(row));
    for _ in 0..45 {
        world.advance(100 * MS);
        world.publish(0, 0, false);
    }
    assert_eq!(causes(&mut world), ["clock"], "for somebody came");
    world.publish(0, 0, true);
    world.advance(1_100 * MS);
    world.peers[0].lose(0, 1);
    for _ in 0..30 {
        world.advance(100 * MS);
        world.publish(0, 0, false);
    }
    assert_eq!(causes(&mut world), ["lost"]);
}

#[test]
fn a_thousand_viewers_cost_one_request_a_second() {
    let config = Config {
        limits: Limits::default(),
        ..Config::new(0, 7)
    };
    let mut world = room_with(World::with(config, 1), 1000);
    world.publish(0, 0, false);
    // All thousand wait for a first keyframe: one request went out.
    assert_eq!(world.peers[0].plis(1111), 1);
    assert_eq!(requests(&world), [1000]);
    world.publish(0, 0, true);
    world.advance(1_500 * MS);
    world.publish(0, 0, false);
    world.take_notices();
    for place in 1..=1000 {
        let pli = world.peers[place].pli(5000);
        world.send(place, pli);
    }
    assert_eq!(world.peers[0].plis(1111), 2);
    assert_eq!(requests(&world), [1]);
    world.advance(999 * MS);
    assert_eq!(world.peers[0].plis(1111), 2);
    world.advance(2 * MS);
    assert_eq!(world.peers[0].plis(1111), 3);
    assert_eq!(requests(&world), [1, 999]);
}

#[test]
fn an_answered_request_is_not_sent_any_more() {
    let mut world = room(2);
    world.publish(0, 0, false);
    let pli = world.peers[2].pli(5000);
    world.send(2, pli);
    world.advance(500 * MS);
    world.publish(0, 0, true);
    for _ in 0..20 {
        world.advance(500 * MS);
        world.publish(0, 0, false);
    }
    assert_eq!(world.peers[0].plis(1111), 1);
}

#[test]
fn an_unanswered_request_is_repeated_with_growing_pauses() {
    let mut world = room(1);
    world.publish(0, 0, false);
    let mut at = vec![world.now_ns];
    for _ in 0..300 {
        let before = world.peers[0].plis(1111);
        world.advance(100 * MS);
        world.publish(0, 0, false);
        if world.peers[0].plis(1111) > before {
            at.push(world.now_ns);
        }
    }
    let pauses: Vec<u64> = at.windows(2).map(|pair| (pair[1] - pair[0]) / S).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 8]);
}

#[test]
fn control_asks_for_one_consumer() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.advance(2 * S);
    world.publish(0, 0, false);
    world.order(Order::RequestKeyFrame(RequestKeyFrame {
        consumer: "c0".into(),
    }));
    assert_eq!(world.peers[0].plis(1111), 1);
}

#[test]
fn a_publisher_without_pli_gets_fir_with_a_new_number_each_time() {
    let mut world = room(1);
    let mut row = crate::support::rows::video("p", "send", &[(None, Some(1111))]);
    row.codecs[0].pli = false;
    world.order(Order::SetProducer(row));
    world.publish(0, 0, false);
    world.advance(1_100 * MS);
    let firs = world.peers[0]
        .rtcp
        .iter()
        .filter(|one| **one == Control::Fir(1111))
        .count();
    assert_eq!((firs, world.peers[0].plis(1111)), (2, 0));
    assert_eq!(world.stream("p", 0).fir_count, 2);
}
