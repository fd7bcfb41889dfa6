//! A batch of orders may be sent again: the same rows change nothing.

use _native::engine::OrderError;
use _native::wire::orders::{EntryKind, Order, SetConsumer, SrtpProfile};

use crate::forwarding::{room, room_with, viewer};
use crate::support::peer::assert_contiguous;
use crate::support::rows::{self, Direction};
use crate::support::{World, keys};

fn rows_of_the_room() -> Vec<Order> {
    vec![
        Order::SetTransport(rows::transport("send", Direction::Send)),
        Order::SetSrtpKeys(keys("send", SrtpProfile::AeadAes128Gcm)),
        Order::SetTransport(rows::transport("recv0", Direction::Recv)),
        Order::SetSrtpKeys(keys("recv0", SrtpProfile::AeadAes128Gcm)),
        Order::SetProducer(rows::video("p", "send", &[(None, Some(1111))])),
        Order::SetConsumer(rows::view("c0", "recv0", "p", 5000)),
    ]
}

#[test]
fn the_same_rows_again_disturb_no_stream() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let table = world.table();
    let notices = world.notices.len();
    for _ in 0..3 {
        for order in rows_of_the_room() {
            world.order(order);
        }
        world.publish(0, 0, false);
    }
    assert_eq!(world.table(), table);
    assert_eq!(world.notices.len(), notices);
    assert_eq!(viewer(&world, 0).media(5000).len(), 4);
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
    assert_eq!(viewer(&world, 0).unreadable, 0);
}

#[test]
fn removing_twice_is_no_error() {
    let mut world = room(1);
    for kind in [
        EntryKind::Consumer,
        EntryKind::Producer,
        EntryKind::Transport,
    ] {
        for _ in 0..2 {
            world.remove(kind, "c0");
            world.remove(kind, "p");
            world.remove(kind, "send");
        }
    }
    assert_eq!(world.table().transports.len(), 1);
}

#[test]
fn other_keys_start_new_contexts_on_both_sides() {
    let mut world = room_with(World::without_instant_start(), 1);
    world.publish(0, 0, true);
    let profile = SrtpProfile::AeadAes256Gcm;
    let renewed = _native::wire::orders::SetSrtpKeys {
        transport: "recv0".into(),
        ..keys("renewed", profile)
    };
    let fresh = world.add_peer("renewed", profile);
    world.peers[fresh].generation = "recv0".into();
    world.order(Order::SetSrtpKeys(renewed));
    world.check(fresh, true);
    world.publish(0, 0, false);
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    assert_eq!(
        (
            world.peers[fresh].media(5000).len(),
            world.peers[fresh].unreadable
        ),
        (2, 0)
    );
}

#[test]
fn what_is_fixed_for_life_can_not_change() {
    let mut world = room(1);
    let turned = Order::SetTransport(rows::transport("send", Direction::Recv));
    assert_eq!(world.refusal(turned), OrderError::ImmutableField);
    let moved = SetConsumer {
        producer: "q".into(),
        ..rows::view("c0", "recv0", "p", 5000)
    };
    assert_eq!(
        world.refusal(Order::SetConsumer(moved)),
        OrderError::ImmutableField
    );
}

#[test]
fn a_changed_look_goes_on_with_the_next_keyframe_and_new_numbers() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let mut row = rows::view("c0", "recv0", "p", 5000);
    row.mid = "other".into();
    world.order(Order::SetConsumer(row));
    let before = viewer(&world, 0).sequence_numbers(5000)[0];
    let nack = world.peers[1].nack(5000, &[before]);
    world.send(1, nack);
    assert_eq!(
        viewer(&world, 0).media(5001).len(),
        0,
        "it would be another packet now"
    );
    world.publish(0, 0, true);
    let seen = viewer(&world, 0).media(5000);
    assert_eq!(seen[1].extensions[&rows::VIEWER_MID], b"other");
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
}

#[test]
fn the_same_seed_and_input_give_the_same_bytes() {
    let run = || {
        let mut world: World = room(2);
        world.publish(0, 0, true);
        world.advance(1_500_000_000);
        world.publish(0, 0, false);
        let seen: Vec<_> = world
            .peers
            .iter()
            .map(|peer| (peer.rtp.clone(), peer.rtcp.clone()))
            .collect();
        (seen, world.notices.clone())
    };
    assert_eq!(run(), run());
}
