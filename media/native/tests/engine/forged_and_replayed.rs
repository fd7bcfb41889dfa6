//! What is not authentic, or was seen before, is counted and changes nothing.

use _native::engine::DropReason;
use _native::rtcp;
use _native::stun::Class;
use _native::wire::notices::{IceState, Notice};
use _native::wire::orders::{Order, SrtpProfile};

use crate::forwarding::{room, viewer};
use crate::support::rows::{self, Direction};
use crate::support::{Dice, S, World};

#[test]
fn a_check_with_the_wrong_password_is_refused_and_opens_nothing() {
    let mut world = World::new();
    world.order(Order::SetTransport(rows::transport("t", Direction::Send)));
    let peer = world.add_peer("t", SrtpProfile::AeadAes128Gcm);
    let mut check = world.peers[peer].check(true);
    let end = check.len();
    // MESSAGE-INTEGRITY stands before FINGERPRINT; without the latter its forgery shows.
    check.truncate(end - 8);
    check[3] -= 8;
    let place = check.len() - 1;
    check[place] ^= 1;
    world.send(peer, check);
    assert_eq!(world.peers[peer].stun, [(Class::Error, Some(401))]);
    assert_eq!(world.engine.drops().of(DropReason::StunForged), 1);
    assert_eq!(world.table().transports[0].ice_state, IceState::New);
    assert_eq!(world.notices, []);
}

#[test]
fn errors_for_strangers_are_bounded() {
    let mut world = World::new();
    world.order(Order::SetTransport(rows::transport("t", Direction::Send)));
    let peer = world.add_peer("t", SrtpProfile::AeadAes128Gcm);
    world.peers[peer].generation = "nobody".into();
    for _ in 0..500 {
        world.check(peer, true);
    }
    assert_eq!(world.peers[peer].stun.len(), 50);
    assert_eq!(world.engine.drops().of(DropReason::StunUnknownUfrag), 200);
    assert_eq!(world.engine.drops().of(DropReason::StunFlood), 300);
    world.advance(S);
    world.check(peer, true);
    assert_eq!(world.peers[peer].stun.len(), 51);
}

#[test]
fn forged_and_replayed_srtp_is_dropped() {
    let mut world = room(1);
    let first = world.peers[0].next_packet(0, true);
    world.send(0, first.clone());
    let mut forged = world.peers[0].next_packet(0, false);
    let end = forged.len() - 1;
    forged[end] ^= 1;
    world.send(0, forged);
    world.send(0, first);
    assert_eq!(world.drops("send", DropReason::SrtpForged), 1);
    assert_eq!(world.drops("send", DropReason::SrtpReplay), 1);
    assert_eq!(viewer(&world, 0).media(5000).len(), 1);
    assert_eq!(world.stream("p", 0).packets, 1);
}

#[test]
fn forged_and_replayed_srtcp_is_dropped() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.advance(2 * S);
    world.publish(0, 0, false);
    let before = world.peers[0].plis(1111);
    let pli = world.peers[1].pli(5000);
    let mut forged = pli.clone();
    forged[9] ^= 1;
    world.send(1, forged);
    assert_eq!(
        (
            world.drops("recv0", DropReason::SrtcpForged),
            world.peers[0].plis(1111)
        ),
        (1, before)
    );
    world.send(1, pli.clone());
    world.publish(0, 0, true);
    world.advance(2 * S);
    world.send(1, pli);
    assert_eq!(world.drops("recv0", DropReason::SrtcpReplay), 1);
    assert_eq!(world.peers[0].plis(1111), before + 1);
}

#[test]
fn viewers_can_not_publish_and_publishers_can_not_ask() {
    let mut world = room(1);
    world.peers[1].add(crate::support::peer::Stream::video(1111));
    world.publish(1, 0, true);
    assert_eq!(world.drops("recv0", DropReason::UnexpectedMedia), 1);
    world.publish(0, 0, true);
    world.advance(2 * S);
    let before = world.peers[0].plis(1111);
    let pli = world.peers[0].pli(5000);
    world.send(0, pli);
    assert_eq!(world.peers[0].plis(1111), before);
}

#[test]
fn media_before_the_keys_is_counted() {
    let mut world = World::new();
    world.order(Order::SetTransport(rows::transport("t", Direction::Send)));
    let peer = world.add_peer("t", SrtpProfile::AeadAes128Gcm);
    world.check(peer, true);
    world.peers[peer].add(crate::support::peer::Stream::video(1111));
    world.publish(peer, 0, true);
    let report = world.peers[peer].pli(1);
    world.send(peer, report);
    assert_eq!(world.drops("t", DropReason::SrtpNotReady), 2);
}

#[test]
fn malformed_rtcp_after_a_good_packet_is_counted_and_the_good_one_heard() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.advance(2 * S);
    world.publish(0, 0, false);
    let before = world.peers[0].plis(1111);
    let mut compound = Vec::new();
    rtcp::write_pli(&mut compound, 1, 5000);
    compound.extend([0x81, 201, 0xff, 0xff, 0, 0, 0, 0]);
    let datagram = world.peers[1].control(&compound);
    world.send(1, datagram);
    assert_eq!(world.drops("recv0", DropReason::RtcpMalformed), 1);
    assert_eq!(world.peers[0].plis(1111), before + 1);
}

#[test]
fn noise_of_every_kind_changes_nothing() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.take_notices();
    let mut dice = Dice::new(9);
    for _ in 0..20_000 {
        let length = dice.below(80) as usize;
        let mut datagram: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        let firsts = [0, 1, 0x80, 0x81, 0x90, 0xbf, 255];
        if let Some(first) = datagram.first_mut() {
            *first = firsts[dice.below(firsts.len() as u64) as usize];
        }
        world.send(0, datagram);
    }
    let said = world.take_notices();
    assert!(
        said.iter()
            .all(|one| matches!(one, Notice::KeyFrameRequested { .. })),
        "{said:?}"
    );
    let counters = world.stats("send").transport.expect("a transport");
    let dropped: u64 = counters.drops.values().sum();
    assert_eq!(dropped, 20_000);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
}
