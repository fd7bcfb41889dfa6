//! Where we send to, whom we believe, and when we stop.

use _native::engine::{Config, DropReason, Limits};
use _native::stun::{Class, IceRole};
use _native::wire::notices::{IceState, Notice};
use _native::wire::orders::{Order, SendDtls, SrtpProfile};

use crate::forwarding::{room, viewer};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;

fn states(world: &mut World, id: &str) -> Vec<IceState> {
    let said = world
        .take_notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::IceStateChanged {
                transport, state, ..
            } if transport == id => Some(state),
            _ => None,
        });
    said.collect()
}

#[test]
fn media_is_taken_from_any_verified_tuple_and_sent_to_the_nominated_one() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let second = "198.51.100.7:4000".parse().expect("an address");
    // The publisher checks from a second address, without nominating it.
    world.move_peer(0, second);
    world.check(0, false);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    assert_eq!(
        world.table().transports[0].remote.as_deref(),
        Some("192.0.2.1:1000")
    );
    world.take_notices();
    world.check(0, true);
    assert_eq!(
        world.take_notices(),
        [Notice::IceTupleChanged {
            transport: "send".into(),
            remote: second.to_string()
        }]
    );
}

#[test]
fn an_address_that_never_verified_delivers_nothing() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let stranger = "203.0.113.9:9".parse().expect("an address");
    world.move_peer(0, stranger);
    world.publish(0, 0, false);
    world.send(0, vec![22, 1, 2, 3]);
    assert_eq!(viewer(&world, 0).media(5000).len(), 1);
    assert_eq!(world.engine.drops().of(DropReason::UnverifiedTuple), 2);
    assert!(
        !world
            .notices
            .iter()
            .any(|one| matches!(one, Notice::DtlsReceived { .. }))
    );
}

#[test]
fn consent_is_lost_in_steps_and_media_stops_with_it() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.take_notices();
    world.advance(10 * S - MS);
    assert_eq!(states(&mut world, "recv0"), []);
    world.check(0, true);
    world.advance(2 * MS);
    assert_eq!(states(&mut world, "recv0"), [IceState::Disconnected]);
    world.publish(0, 0, false);
    assert_eq!(
        viewer(&world, 0).media(5000).len(),
        2,
        "consent is not over yet"
    );
    for _ in 0..4 {
        world.advance(5 * S);
        world.check(0, true);
    }
    assert_eq!(states(&mut world, "recv0"), [IceState::Failed]);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    // It comes back: with a keyframe, for it missed something.
    let plis = world.peers[0].plis(1111);
    world.check(1, true);
    assert_eq!(states(&mut world, "recv0"), [IceState::Connected]);
    assert_eq!(world.peers[0].plis(1111), plis + 1);
    world.publish(0, 0, false);
    world.publish(0, 0, true);
    assert_eq!(viewer(&world, 0).media(5000).len(), 3);
}

#[test]
fn a_transport_that_was_never_reached_does_not_fail() {
    let mut world = World::new();
    world.order(Order::SetTransport(rows::transport("t", Direction::Send)));
    world.advance(100 * S);
    assert_eq!(world.notices, []);
    assert_eq!(world.table().transports[0].ice_state, IceState::New);
}

#[test]
fn the_latest_check_wins_an_address_and_the_loser_hears_of_it() {
    let mut world = World::new();
    let first = world.join("a", Direction::Send);
    world.order(Order::SetTransport(rows::transport("b", Direction::Send)));
    let second = world.add_peer("b", PROFILE);
    let address = world.peers[first].address;
    world.move_peer(second, address);
    world.take_notices();
    world.check(second, true);
    assert_eq!(states(&mut world, "a"), [IceState::Disconnected]);
    assert_eq!(world.drops("a", DropReason::TupleStolen), 1);
    let table = world.table();
    assert_eq!(
        (
            table.transports[0].remote.as_deref(),
            table.transports[1].ice_state
        ),
        (None, IceState::Connected)
    );
}

#[test]
fn tuples_are_bounded_and_the_oldest_leaves() {
    let mut config = Config::new(0, 7);
    config.limits = Limits {
        tuples_per_transport_max: 3,
        ..Limits::default()
    };
    let mut world = World::with(config, 1);
    let peer = world.join("t", Direction::Send);
    for port in 0..5 {
        world.advance(MS);
        world.move_peer(peer, ([198, 51, 100, 1], 2000 + port).into());
        world.check(peer, false);
    }
    world.move_peer(peer, ([198, 51, 100, 1], 2000).into());
    world.send(peer, vec![22, 1]);
    assert_eq!(world.engine.drops().of(DropReason::UnverifiedTuple), 1);
    world.move_peer(peer, ([198, 51, 100, 1], 2004).into());
    world.send(peer, vec![22, 2]);
    assert!(
        world
            .notices
            .iter()
            .any(|one| matches!(one, Notice::DtlsReceived { .. }))
    );
    assert_eq!(
        world.table().transports[0].remote.as_deref(),
        Some("192.0.2.1:1000")
    );
}

#[test]
fn dtls_goes_to_control_and_comes_back_to_the_selected_tuple() {
    let mut world = World::new();
    let peer = world.join("t", Direction::Send);
    world.take_notices();
    world.send(peer, vec![22, 254, 253]);
    let datagrams = vec![serde_bytes::ByteBuf::from(vec![22, 254, 253])];
    assert_eq!(
        world.take_notices(),
        [Notice::DtlsReceived {
            transport: "t".into(),
            datagrams
        }]
    );
    let answer = vec![vec![22, 1], vec![22, 2]];
    let datagrams = answer.iter().cloned().map(Into::into).collect();
    world.order(Order::SendDtls(SendDtls {
        transport: "t".into(),
        datagrams,
    }));
    world.advance(0);
    assert_eq!(world.peers[peer].dtls, answer);
}

#[test]
fn a_peer_that_claims_our_role_is_told_to_switch() {
    let mut world = World::new();
    world.order(Order::SetTransport(rows::transport("t", Direction::Send)));
    let peer = world.add_peer("t", PROFILE);
    let check = world.peers[peer].check_as(IceRole::Controlled(1), false);
    world.send(peer, check);
    assert_eq!(world.peers[peer].stun, [(Class::Error, Some(487))]);
    assert_eq!(world.table().transports[0].ice_state, IceState::New);
}
