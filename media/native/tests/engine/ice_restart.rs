//! New credentials take over from the old at their first check, while media flows on.

use _native::stun::Class;
use _native::wire::notices::{IceState, Notice};
use _native::wire::orders::{Order, SetTransport};

use crate::forwarding::{room, viewer};
use crate::support::rows::{self, Direction};

fn row(generations: &[&str]) -> Order {
    let ice = generations
        .iter()
        .map(|one| rows::credentials(one))
        .collect();
    Order::SetTransport(SetTransport {
        ice,
        ..rows::transport("recv0", Direction::Recv)
    })
}

#[test]
fn both_generations_are_answered_until_the_new_one_verified() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.order(row(&["new", "recv0"]));
    world.check(1, true);
    world.peers[1].generation = "new".into();
    world.check(1, true);
    world.peers[1].generation = "recv0".into();
    world.check(1, true);
    let answers: Vec<_> = viewer(&world, 0).stun.clone();
    assert_eq!(
        answers,
        [
            (Class::Success, None),
            (Class::Success, None),
            (Class::Success, None),
            (Class::Error, Some(401))
        ]
    );
    world.publish(0, 0, false);
    assert_eq!(
        viewer(&world, 0).media(5000).len(),
        2,
        "media never stopped"
    );
}

#[test]
fn the_row_may_be_sent_again_after_the_old_generation_ended() {
    let mut world = room(1);
    world.order(row(&["new", "recv0"]));
    world.peers[1].generation = "new".into();
    world.check(1, true);
    world.order(row(&["new", "recv0"]));
    world.peers[1].generation = "recv0".into();
    world.check(1, true);
    assert_eq!(
        viewer(&world, 0).stun.last(),
        Some(&(Class::Error, Some(401)))
    );
}

#[test]
fn a_restart_from_another_address_moves_the_selected_tuple() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.take_notices();
    world.order(row(&["new", "recv0"]));
    let address = "198.51.100.7:4000".parse().expect("an address");
    world.move_peer(1, address);
    world.peers[1].generation = "new".into();
    world.check(1, true);
    assert_eq!(
        world.take_notices(),
        [Notice::IceTupleChanged {
            transport: "recv0".into(),
            remote: address.to_string()
        }]
    );
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    assert_eq!(world.table().transports[1].ice_state, IceState::Connected);
}
