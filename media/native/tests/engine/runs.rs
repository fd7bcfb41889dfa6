//! A frame whose packets are about equally long costs a viewer one send, and it sees no difference.

use _native::wire::orders::{Order, SrtpProfile};
use proptest::prelude::*;

use crate::forwarding::{room, viewer};
use crate::support::peer::{Received, Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

/// Publishes packets with payloads of these lengths as one burst; the sends that it took in all.
fn burst(world: &mut World, lens: &[usize]) -> usize {
    let publisher = &mut world.peers[0];
    let packets = lens.iter();
    let packets = packets.map(|&len| publisher.next_packet_of(0, false, len));
    let packets = packets.collect();
    let before = world.sends;
    world.send_batch(0, packets);
    world.advance(0);
    world.sends - before
}

/// What a viewer got of the last burst of so many packets.
fn got(world: &World, place: usize, count: usize) -> Vec<Received> {
    let all = viewer(world, place).media(5000);
    all[all.len() - count..].iter().copied().cloned().collect()
}

fn lens(received: &[Received]) -> Vec<(usize, usize)> {
    let lens = received.iter().map(|one| (one.payload.len(), one.padding));
    lens.collect()
}

/// A viewer without retransmission stream beside the others.
fn join_without_rtx(world: &mut World) {
    world.join("plain", Direction::Recv);
    let mut row = rows::view("c-plain", "plain", "p", 5000);
    row.rtx_ssrc = None;
    row.codecs[0].rtx_payload_type = None;
    world.order(Order::SetConsumer(row));
}

#[test]
fn a_frame_that_is_cut_evenly_is_one_send_a_viewer() {
    let mut world = room(3);
    world.publish(0, 0, true);
    assert_eq!(burst(&mut world, &[1041, 1041, 1042]), 3);
    for place in 0..3 {
        let seen = got(&world, place, 3);
        assert_eq!(lens(&seen), [(1041, 1), (1041, 1), (1042, 0)]);
        assert_eq!(
            seen.iter().map(source_of).collect::<Vec<_>>(),
            [1001, 1002, 1003]
        );
        assert!(seen.iter().all(|one| {
            one.payload[14..]
                .iter()
                .all(|&byte| byte == 0x5a || byte == 0)
        }));
        assert_contiguous(&viewer(&world, place).sequence_numbers(5000));
        assert_eq!(viewer(&world, place).unreadable, 0);
    }
}

#[test]
fn a_much_shorter_packet_in_the_middle_ends_the_run() {
    let mut world = room(1);
    world.publish(0, 0, true);
    assert_eq!(burst(&mut world, &[1041, 1042, 90, 1041, 1042]), 2);
    let expected = [(1041, 1), (1042, 0), (90, 0), (1041, 1), (1042, 0)];
    assert_eq!(lens(&got(&world, 0, 5)), expected);
}

#[test]
fn every_profile_carries_padded_packets() {
    let profiles = [SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];
    for profile in profiles {
        let mut world = room(0);
        world.join_with("recv0", Direction::Recv, profile);
        world.order(Order::SetConsumer(rows::view("c0", "recv0", "p", 5000)));
        world.publish(0, 0, true);
        assert_eq!(burst(&mut world, &[1026, 1041, 1042]), 1);
        assert_eq!(lens(&got(&world, 0, 3)), [(1026, 16), (1041, 1), (1042, 0)]);
        assert_eq!(viewer(&world, 0).unreadable, 0);
    }
}

#[test]
fn padding_counts_as_header_bytes_and_not_as_payload() {
    let mut world = room(2);
    world.publish(0, 0, true);
    let before = world.stream("c0", 0);
    burst(&mut world, &[1040, 1042]);
    let even = world.stream("c0", 0);
    burst(&mut world, &[1042, 1040]);
    let after = world.stream("c0", 0);
    assert_eq!(
        (even.bytes - before.bytes, after.bytes - even.bytes),
        (2082, 2082)
    );
    let headers = after.header_bytes - even.header_bytes;
    assert_eq!(even.header_bytes - before.header_bytes, headers + 2);
}

#[test]
fn a_retransmission_bears_the_original_without_padding() {
    let mut world = room(1);
    world.publish(0, 0, true);
    burst(&mut world, &[1041, 1042]);
    let lost = got(&world, 0, 2)[0].clone();
    assert_eq!(lost.padding, 1);
    let nack = world.peers[1].nack(5000, &[lost.sequence_number]);
    world.send(1, nack);
    let again = viewer(&world, 0).media(5001)[0].clone();
    assert_eq!((&again.payload, again.padding), (&lost.payload, 0));
}

#[test]
fn without_rtx_nothing_is_padded_for_the_same_packet_goes_out_again() {
    let mut world = room(1);
    join_without_rtx(&mut world);
    world.publish(0, 0, true);
    assert_eq!(burst(&mut world, &[1041, 1042]), 1 + 2);
    let first = got(&world, 1, 2)[0].clone();
    assert_eq!(first.padding, 0);
    // One that lost it is made of the one that has it.
    let fresh = world.add_peer("plain", SrtpProfile::AeadAes128Gcm);
    world.advance(60 * MS);
    let request = world.peers[fresh].check(true);
    world.send(fresh, request);
    let nack = world.peers[fresh].nack(5000, &[first.sequence_number]);
    world.send(fresh, nack);
    let again = world.peers[fresh].media(5000)[0].clone();
    assert_eq!(
        Received {
            at_ns: first.at_ns,
            ..again
        },
        first
    );
}

#[test]
fn audio_is_never_padded() {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::audio("a", "send", 2222)));
    world.peers[publisher].add(Stream::audio(2222));
    let ear = world.join("recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::listen("c", "recv", "a", 6000)));
    let packets = [80, 82].map(|len| world.peers[0].next_packet_of(0, false, len));
    world.send_batch(publisher, packets.to_vec());
    world.advance(0);
    let seen = world.peers[ear].media(6000);
    assert_eq!(
        seen.iter()
            .map(|one| (one.payload.len(), one.padding))
            .collect::<Vec<_>>(),
        [(80, 0), (82, 0)]
    );
}

#[test]
fn packets_that_are_only_padding_are_left_out_of_runs() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let publisher = &mut world.peers[0];
    let packets = vec![
        publisher.next_packet_of(0, false, 1041),
        publisher.packet_with(0, &[]),
        publisher.next_packet_of(0, false, 1042),
    ];
    let before = world.sends;
    world.send_batch(0, packets);
    world.advance(0);
    assert_eq!(world.sends - before, 1);
    assert_eq!(lens(&got(&world, 0, 2)), [(1041, 1), (1042, 0)]);
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_lengths_payloads_come_as_they_were_sent(
        bursts in prop::collection::vec(
            prop::collection::vec(prop_oneof![14_usize..80, 1_000_usize..1_060], 1..12), 1..6,
        ),
        extended in any::<bool>(),
    ) {
        let mut world = room(1);
        join_without_rtx(&mut world);
        world.publish(0, 0, true);
        if extended {
            world.peers[0].streams[0].extensions = vec![(rows::MID, b"p".to_vec())];
        }
        for one in &bursts {
            let sends = burst(&mut world, one);
            let (padded, plain) = (got(&world, 0, one.len()), got(&world, 1, one.len()));
            let runs = |of: &[Received]| {
                let whole = of.iter().map(|one| one.payload.len() + one.padding);
                whole.fold((0, None), |(count, run), len| match run {
                    Some((segment, false)) if len <= segment => {
                        (count, Some((segment, len < segment)))
                    }
                    _ => (count + 1, Some((len, false))),
                })
                .0
            };
            prop_assert!(runs(&padded) <= runs(&plain));
            prop_assert_eq!(sends, runs(&padded) + runs(&plain));
            for (left, right) in padded.iter().zip(&plain) {
                prop_assert_eq!(&left.payload, &right.payload);
                prop_assert!(left.padding <= 16 && right.padding == 0);
            }
            prop_assert_eq!(lens(&plain).iter().map(|one| one.0).collect::<Vec<_>>(), one.clone());
        }
        prop_assert_eq!(viewer(&world, 0).unreadable, 0);
    }
}
