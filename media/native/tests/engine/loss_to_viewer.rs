//! Viewers' NACKs are answered from the producer's one cache.

use _native::engine::{Config, Limits};
use _native::rtcp::ReportBlock;
use _native::wire::orders::Order;

use crate::forwarding::{room, room_with, viewer};
use crate::support::peer::{Control, Peer, Received, source_of};
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

fn nack(world: &mut World, place: usize, lost: &[u16]) {
    let nack = world.peers[place].nack(5000, lost);
    world.send(place, nack);
}

#[test]
fn a_lost_packet_comes_again_as_rtx() {
    let mut world = room(2);
    for keyframe in [true, false, false] {
        world.publish(0, 0, keyframe);
    }
    let lost = viewer(&world, 0).media(5000)[1].clone();
    nack(&mut world, 1, &[lost.sequence_number]);
    let again: Vec<Received> = viewer(&world, 0).media(5001).into_iter().cloned().collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].original, Some(lost.sequence_number));
    assert_eq!(again[0].payload_type, rows::MAPPED_VP8_RTX);
    assert_eq!(
        (&again[0].payload, again[0].timestamp),
        (&lost.payload, lost.timestamp)
    );
    assert_eq!(
        viewer(&world, 1).media(5001).len(),
        0,
        "the other viewer lost nothing"
    );
    assert_eq!(world.stream("c0", 0).retransmitted_packets, 1);
    assert_eq!(
        world.peers[0].rtcp.len(),
        0,
        "the publisher hears nothing of it"
    );
}

#[test]
fn one_loss_is_answered_once_a_round_trip() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let number = viewer(&world, 0).sequence_numbers(5000)[0];
    for _ in 0..5 {
        nack(&mut world, 1, &[number, number]);
    }
    assert_eq!(viewer(&world, 0).media(5001).len(), 1);
    world.advance(60 * MS);
    nack(&mut world, 1, &[number]);
    assert_eq!(viewer(&world, 0).media(5001).len(), 2);
}

#[test]
fn a_viewers_retransmissions_have_a_budget() {
    let mut config = Config::new(0, 7);
    config.limits = Limits {
        retransmissions_per_second_max: 20,
        ..Limits::default()
    };
    let mut world = room_with(World::with(config, 1), 1);
    world.publish(0, 0, true);
    for _ in 0..200 {
        world.publish(0, 0, false);
    }
    let numbers = viewer(&world, 0).sequence_numbers(5000);
    for lost in numbers.chunks(17) {
        nack(&mut world, 1, lost);
    }
    assert_eq!(viewer(&world, 0).media(5001).len(), 20);
    world.advance(500 * MS);
    nack(&mut world, 1, &numbers[150..]);
    assert_eq!(viewer(&world, 0).media(5001).len(), 30);
}

#[test]
fn without_rtx_the_very_same_packet_is_sent_again() {
    let mut world = room(0);
    world.join("recv0", Direction::Recv);
    let mut row = rows::view("c0", "recv0", "p", 5000);
    row.rtx_ssrc = None;
    row.codecs[0].rtx_payload_type = None;
    world.order(Order::SetConsumer(row));
    for keyframe in [true, false] {
        world.publish(0, 0, keyframe);
    }
    let first = viewer(&world, 0).media(5000)[0].clone();
    assert!(!first.extensions.contains_key(&rows::VIEWER_ABS_SEND_TIME));
    // The viewer's replay protection would refuse it, as it has it: one that lost it is made of it.
    let fresh = world.add_peer("recv0", _native::wire::orders::SrtpProfile::AeadAes128Gcm);
    world.advance(60 * MS);
    let request = world.peers[fresh].check(true);
    world.send(fresh, request);
    // SRTCP of the same keys goes on where the first peer's would.
    nack(&mut world, fresh, &[first.sequence_number]);
    let again = world.peers[fresh].media(5000);
    assert_eq!(again.len(), 1);
    let again = Received {
        at_ns: first.at_ns,
        ..again[0].clone()
    };
    assert_eq!(again, first);
}

#[test]
fn numbers_that_were_never_sent_are_not_answered() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let number = viewer(&world, 0).sequence_numbers(5000)[0];
    nack(
        &mut world,
        1,
        &[
            number.wrapping_add(1),
            number.wrapping_sub(1),
            number.wrapping_add(30_000),
        ],
    );
    assert_eq!(viewer(&world, 0).media(5001).len(), 0);
}

#[test]
fn packets_that_left_the_cache_are_not_answered() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let number = viewer(&world, 0).sequence_numbers(5000)[0];
    world.advance(10_100 * MS);
    nack(&mut world, 1, &[number]);
    assert_eq!(viewer(&world, 0).media(5001).len(), 0);
}

#[test]
fn a_viewers_report_shows_in_its_statistics() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.advance(1_000 * MS);
    world.publish(0, 0, false);
    let last_sr = sender_report_of(viewer(&world, 0));
    world.advance(40 * MS);
    let report = world.peers[1].receiver_report(ReportBlock {
        ssrc: 5000,
        fraction_lost: 64,
        cumulative_lost: 3,
        jitter: 900,
        last_sr,
        ..ReportBlock::default()
    });
    world.send(1, report);
    let stream = world.stream("c0", 0);
    assert_eq!(
        (stream.packets_lost, stream.fraction_lost, stream.jitter_ms),
        (3, 0.25, 10.0)
    );
    let round_trip_ms = stream.round_trip_time_ms.expect("measured");
    assert!((40.0..1_100.0).contains(&round_trip_ms), "{round_trip_ms}");
    assert_eq!(source_of(viewer(&world, 0).media(5000)[1]), 1001);
}

#[test]
fn a_report_that_waited_its_turn_counts_from_when_it_came() {
    let measured = |waited_ns: u64| {
        let mut world = room(1);
        world.publish(0, 0, true);
        world.advance(1_000 * MS);
        let last_sr = sender_report_of(viewer(&world, 0));
        world.advance(40 * MS);
        let mut report = world.peers[1].receiver_report(ReportBlock {
            ssrc: 5000,
            last_sr,
            ..ReportBlock::default()
        });
        let (came_ns, address) = (world.now_ns, world.peers[1].address);
        world.advance(waited_ns);
        world.engine.handle_datagram(came_ns, address, &mut report);
        world.stream("c0", 0).round_trip_time_ms.expect("measured")
    };
    assert!((measured(0) - measured(15 * MS)).abs() < f64::EPSILON);
}

/// The middle of the NTP timestamp of the last sender report that came.
fn sender_report_of(viewer: &Peer) -> u32 {
    let last = viewer.rtcp.iter().find_map(|one| match one {
        Control::SenderReport(5000, info) => Some((info.ntp_timestamp >> 16) as u32),
        _ => None,
    });
    last.expect("a sender report came within a second")
}
