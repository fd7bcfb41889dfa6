//! What one transport does, however hostile, costs the others little, and is counted.

use _native::engine::{Config, DropReason, Limits};
use _native::wire::orders::Order;

use crate::forwarding::room_with;
use crate::support::peer::{Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

/// The publisher and viewer of `forwarding::room`, and a hostile pair of their own beside them.
fn beside_a_hostile_pair(limits: Limits) -> (World, usize) {
    let mut config = Config::new(0, 7);
    config.limits = limits;
    let mut world = room_with(World::with(config, 1), 1);
    let hostile = world.join("bad-send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "bad",
        "bad-send",
        &[(None, Some(7777))],
    )));
    world.peers[hostile].add(Stream::video(7777));
    world.join("bad-recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::view(
        "bad-c", "bad-recv", "bad", 5000,
    )));
    (world, hostile)
}

#[test]
fn media_beyond_a_publishers_budget_is_dropped_before_it_costs_anything() {
    let limits = Limits {
        media_packets_per_second_max: 50,
        ..Limits::default()
    };
    let (mut world, hostile) = beside_a_hostile_pair(limits);
    for _ in 0..20 {
        let flood: Vec<Vec<u8>> = (0..20)
            .map(|n| world.peers[hostile].next_packet(0, n == 0))
            .collect();
        world.send_batch(hostile, flood);
        world.publish(0, 0, true);
        world.advance(50 * MS);
    }
    // One second's worth at once, and one second's worth over that second.
    let taken = world.peers[hostile + 1].media(5000).len();
    assert!((97..=101).contains(&taken), "{taken} of 400 taken");
    let dropped = world.drops("bad-send", DropReason::MediaFlood);
    assert_eq!(taken as u64 + dropped, 400);
    assert_eq!(world.peers[1].media(5000).len(), 20);
    assert_contiguous(&world.peers[1].sequence_numbers(5000));
    assert_eq!(world.drops("send", DropReason::MediaFlood), 0);
}

#[test]
fn a_burst_of_one_publisher_lets_others_have_their_turn() {
    let (mut world, hostile) = beside_a_hostile_pair(Limits::default());
    let flood: Vec<Vec<u8>> = (0..100)
        .map(|n| world.peers[hostile].next_packet(0, n == 0))
        .collect();
    let hostile_address = world.peers[hostile].address;
    for mut datagram in flood {
        let now_ns = world.now_ns;
        world
            .engine
            .handle_datagram(now_ns, hostile_address, &mut datagram);
    }
    let mut mine = world.peers[0].next_packet(0, true);
    let (now_ns, address) = (world.now_ns, world.peers[0].address);
    world.engine.handle_datagram(now_ns, address, &mut mine);
    let viewer = world.peers[1].address;
    let (mut before, mut all, mut found) = (0, 0, false);
    while let Some(transmit) = world.engine.poll_transmit(64) {
        let count = transmit.datagrams().count();
        found |= transmit.remote == viewer;
        before += if found { 0 } else { count };
        all += count;
    }
    assert_eq!((before, all), (32, 101), "a turn, not the whole burst");
}

#[test]
fn a_burst_that_is_served_in_turns_arrives_in_order() {
    let (mut world, hostile) = beside_a_hostile_pair(Limits::default());
    let burst: Vec<Vec<u8>> = (0..100)
        .map(|n| world.peers[hostile].next_packet(0, n == 0))
        .collect();
    let mut mine = world.peers[0].next_packet(0, true);
    let (now_ns, address) = (world.now_ns, world.peers[0].address);
    world.engine.handle_datagram(now_ns, address, &mut mine);
    world.send_batch(hostile, burst);
    world.advance(0);
    let numbers = world.peers[hostile + 1].sequence_numbers(5000);
    assert_eq!(numbers.len(), 100);
    assert_contiguous(&numbers);
}

#[test]
fn control_beyond_a_transports_budget_is_dropped() {
    let limits = Limits {
        rtcp_packets_per_second_max: 10,
        ..Limits::default()
    };
    let (mut world, hostile) = beside_a_hostile_pair(limits);
    world.publish(0, 0, true);
    world.publish(hostile, 0, true);
    world.advance(2 * S);
    let numbers = world.peers[hostile + 1].sequence_numbers(5000);
    for _ in 0..500 {
        let nack = world.peers[hostile + 1].nack(5000, &numbers);
        world.send(hostile + 1, nack);
    }
    assert_eq!(world.stream("bad-c", 0).nack_count, 10);
    assert_eq!(world.drops("bad-recv", DropReason::RtcpFlood), 490);
    // The other viewer is heard as ever.
    let number = world.peers[1].sequence_numbers(5000)[0];
    let nack = world.peers[1].nack(5000, &[number]);
    world.send(1, nack);
    assert_eq!(world.peers[1].media(5001).len(), 1);
}

#[test]
fn keyframe_storms_of_one_viewer_cost_its_publisher_one_request_a_second() {
    let (mut world, hostile) = beside_a_hostile_pair(Limits::default());
    world.publish(hostile, 0, true);
    world.advance(S);
    let before = world.peers[hostile].plis(7777);
    for _ in 0..30 {
        for _ in 0..50 {
            let pli = world.peers[hostile + 1].pli(5000);
            world.send(hostile + 1, pli);
        }
        world.publish(hostile, 0, true);
        world.advance(100 * MS);
    }
    let asked = world.peers[hostile].plis(7777) - before;
    assert!((3..=4).contains(&asked), "{asked} requests in 3 s");
}

#[test]
fn garbage_from_a_known_address_changes_nothing_for_others() {
    let (mut world, hostile) = beside_a_hostile_pair(Limits::default());
    world.publish(0, 0, true);
    for round in 0..200u32 {
        for first in [0x00, 0x16, 0x80, 0x90, 0xff] {
            let mut garbage = vec![first; 60 + round as usize];
            garbage[1] = round as u8;
            world.send(hostile, garbage);
        }
        world.publish(0, 0, false);
    }
    assert_eq!(world.peers[1].media(5000).len(), 201);
    assert_contiguous(&world.peers[1].sequence_numbers(5000));
    let stats = world.stats("bad-send").transport.expect("a transport");
    assert_eq!(
        stats.drops.values().sum::<u64>(),
        1000 - 100,
        "{:?}",
        stats.drops
    );
}

#[test]
fn checks_beyond_an_addresss_budget_cost_the_others_no_answer() {
    let (mut world, hostile) = beside_a_hostile_pair(Limits::default());
    let answered = |world: &World, peer: usize| world.peers[peer].stun.len();
    let before = [answered(&world, hostile), answered(&world, 0)];
    for _ in 0..1000 {
        world.check(hostile, true);
    }
    world.check(0, true);
    let taken = answered(&world, hostile) - before[0];
    // Some of the budget was spent when it joined.
    assert!((190..=200).contains(&taken), "{taken} of 1000 answered");
    assert_eq!(answered(&world, 0) - before[1], 1);
    let dropped = world.drops("bad-send", DropReason::StunFlood);
    assert_eq!(taken as u64 + dropped, 1000);
    world.advance(S);
    world.check(hostile, true);
    assert_eq!(answered(&world, hostile) - before[0], taken + 1);
}

#[test]
fn strangers_together_leave_those_who_are_known_their_answers() {
    let limits = Limits {
        stun_of_strangers_max: 300,
        ..Limits::default()
    };
    let (mut world, _) = beside_a_hostile_pair(limits);
    let before = world.peers[0].stun.len();
    let garbage = [[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42].as_slice(), &[7; 12]].concat();
    let now_ns = world.now_ns;
    for n in 0..5000_u16 {
        let source = ([198, 51, (n >> 8) as u8, n as u8], 9).into();
        let mut datagram = garbage.clone();
        world.engine.handle_datagram(now_ns, source, &mut datagram);
        while world.engine.poll_transmit(64).is_some() {}
    }
    let looked_at = world.engine.drops().of(DropReason::StunIncomplete);
    assert!((200..=300).contains(&looked_at), "{looked_at} of 5000");
    assert_eq!(
        world.engine.drops().of(DropReason::StunFlood),
        5000 - looked_at
    );
    world.check(0, true);
    assert_eq!(world.peers[0].stun.len(), before + 1);
}
