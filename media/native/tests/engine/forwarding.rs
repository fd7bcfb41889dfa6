//! A publisher's packets reach its viewers, under each viewer's own identity.

use std::collections::BTreeMap;

use _native::engine::{Config, Limits};
use _native::wire::notices::Notice;
use _native::wire::orders::{EntryKind, Order, SrtpProfile};

use crate::support::peer::{PAYLOAD_BYTES, Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::{MS, Peer, S, World};

/// One video publisher and as many viewers, all joined; the publisher is peer 0.
pub(crate) fn room(viewers: usize) -> World {
    room_with(World::new(), viewers)
}

pub(crate) fn room_with(mut world: World, viewers: usize) -> World {
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, Some(1111))],
    )));
    world.peers[publisher].add(Stream::video(1111));
    for viewer in 0..viewers {
        let (transport, consumer) = (format!("recv{viewer}"), format!("c{viewer}"));
        world.join(&transport, Direction::Recv);
        world.order(Order::SetConsumer(rows::view(
            &consumer, &transport, "p", 5000,
        )));
    }
    world
}

pub(crate) fn viewer(world: &World, place: usize) -> &Peer {
    &world.peers[1 + place]
}

#[test]
fn every_viewer_gets_every_packet_from_the_keyframe_on() {
    let mut world = room(3);
    world.publish(0, 0, false);
    world.publish(0, 0, true);
    for _ in 0..20 {
        world.advance(10 * MS);
        world.publish(0, 0, false);
    }
    for place in 0..3 {
        let seen = viewer(&world, place).media(5000);
        let sources: Vec<u64> = seen.iter().map(|one| source_of(one)).collect();
        assert_eq!(sources, (1001..1022).collect::<Vec<u64>>());
        assert_contiguous(&viewer(&world, place).sequence_numbers(5000));
        assert_eq!(viewer(&world, place).unreadable, 0);
    }
    // Each viewer has a sequence of its own.
    assert_ne!(
        viewer(&world, 0).sequence_numbers(5000),
        viewer(&world, 1).sequence_numbers(5000)
    );
}

#[test]
fn headers_are_those_that_the_viewer_negotiated() {
    let mut world = room(1);
    world.peers[0].streams[0].extensions =
        vec![(rows::MID, b"p".to_vec()), (rows::TRANSPORT_CC, vec![0, 9])];
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    let seen = viewer(&world, 0).media(5000);
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].payload_type, seen[0].marker),
        (rows::MAPPED_VP8, true)
    );
    assert_eq!((seen[0].timestamp, seen[1].timestamp), (50_000, 53_000));
    let ids: Vec<u8> = seen[0].extensions.keys().copied().collect();
    assert_eq!(
        ids,
        [
            rows::VIEWER_MID,
            rows::VIEWER_ABS_SEND_TIME,
            rows::VIEWER_TRANSPORT_CC
        ]
    );
    assert_eq!(seen[0].extensions[&rows::VIEWER_MID], b"v0");
    // Transport-wide numbers are the viewer's transport's own.
    let number = |place: usize| seen[place].extensions[&rows::VIEWER_TRANSPORT_CC].clone();
    assert_eq!((number(0), number(1)), (vec![0, 0], vec![0, 1]));
    assert_eq!(seen[0].payload.len(), PAYLOAD_BYTES);
}

#[test]
fn audio_starts_at_once_and_keeps_its_level_extension() {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::audio("a", "send", 2222)));
    world.peers[publisher].add(Stream::audio(2222).with(rows::AUDIO_LEVEL, "L"));
    let ear = world.join("recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::listen("c", "recv", "a", 6000)));
    for _ in 0..5 {
        world.publish(publisher, 0, false);
    }
    let seen = world.peers[ear].media(6000);
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0].payload_type, rows::MAPPED_OPUS);
    let expected = BTreeMap::from([
        (rows::VIEWER_MID, b"a0".to_vec()),
        (rows::VIEWER_AUDIO_LEVEL, b"L".to_vec()),
    ]);
    assert_eq!(seen[0].extensions, expected);
    // Neither keyframes nor layers are a matter of audio.
    let about_video = |notice: &Notice| {
        matches!(
            notice,
            Notice::LayersChanged { .. } | Notice::KeyFrameRequested { .. }
        )
    };
    assert!(!world.notices.iter().any(about_video));
}

#[test]
fn every_srtp_profile_carries_media_both_ways() {
    let profiles = [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80,
    ];
    for (from, to) in profiles.into_iter().zip(profiles.into_iter().rev()) {
        let mut world = World::new();
        let publisher = world.join_with("send", Direction::Send, from);
        world.order(Order::SetProducer(rows::video(
            "p",
            "send",
            &[(None, Some(1111))],
        )));
        world.peers[publisher].add(Stream::video(1111));
        let eye = world.join_with("recv", Direction::Recv, to);
        world.order(Order::SetConsumer(rows::view("c", "recv", "p", 5000)));
        world.publish(publisher, 0, true);
        let pli = world.peers[eye].pli(5000);
        world.advance(S);
        world.send(eye, pli);
        assert_eq!(world.peers[eye].media(5000).len(), 1);
        assert_eq!(
            world.peers[publisher].plis(1111),
            1,
            "the one that was asked for"
        );
    }
}

#[test]
fn a_burst_to_one_viewer_goes_out_in_one_run() {
    let mut world = room(2);
    world.publish(0, 0, true);
    assert_eq!(world.runs, 0);
    let burst: Vec<Vec<u8>> = (0..10)
        .map(|_| world.peers[0].next_packet(0, false))
        .collect();
    world.send_batch(0, burst);
    assert_eq!(world.runs, 2, "one run of ten for each viewer");
    world.advance(0);
    for place in 0..2 {
        assert_contiguous(&viewer(&world, place).sequence_numbers(5000));
        assert_eq!(viewer(&world, place).media(5000).len(), 11);
    }
}

#[test]
fn sequence_numbers_wrap_on_both_sides() {
    let mut world = room(1);
    world.peers[0].streams[0].sequence = 65_530;
    world.publish(0, 0, true);
    for _ in 0..70_000 {
        world.advance(MS / 5);
        world.publish(0, 0, false);
    }
    assert_eq!(viewer(&world, 0).unreadable, 0);
    let numbers = viewer(&world, 0).sequence_numbers(5000);
    assert_eq!(numbers.len(), 70_001);
    assert_contiguous(&numbers);
}

#[test]
fn reordered_packets_keep_their_places() {
    let mut world = room(1);
    world.publish(0, 0, true);
    let mut burst: Vec<Vec<u8>> = (0..6)
        .map(|_| world.peers[0].next_packet(0, false))
        .collect();
    burst.swap(1, 4);
    for datagram in burst {
        world.send(0, datagram);
    }
    let seen = viewer(&world, 0).media(5000);
    let first = u64::from(seen[0].sequence_number);
    for one in &seen {
        assert_eq!(
            u64::from(one.sequence_number) - first,
            source_of(one) - 1000
        );
    }
    assert_eq!(seen.len(), 7);
}

#[test]
fn padding_without_payload_is_left_out_without_a_gap() {
    let mut world = room(1);
    world.publish(0, 0, true);
    for _ in 0..3 {
        let padding = world.peers[0].packet_with(0, &[]);
        world.send(0, padding);
        world.publish(0, 0, false);
    }
    let numbers = viewer(&world, 0).sequence_numbers(5000);
    assert_eq!(numbers.len(), 4);
    assert_contiguous(&numbers);
}

#[test]
fn removing_an_owner_silences_what_hung_on_it() {
    let mut world = room(2);
    world.publish(0, 0, true);
    world.remove(EntryKind::Consumer, "c0");
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 1);
    assert_eq!(viewer(&world, 1).media(5000).len(), 2);
    world.remove(EntryKind::Transport, "send");
    let table = world.table();
    assert!(table.producers.is_empty() && table.consumers.is_empty());
    assert_eq!(table.transports.len(), 2);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 1).media(5000).len(), 2);
}

#[test]
fn a_consumer_that_comes_back_with_its_ssrc_never_reuses_an_index() {
    let mut world = room_with(World::without_instant_start(), 1);
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    world.remove(EntryKind::Consumer, "c0");
    world.order(Order::SetConsumer(rows::view("c0", "recv0", "p", 5000)));
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
    assert_eq!(
        (
            viewer(&world, 0).media(5000).len(),
            viewer(&world, 0).unreadable
        ),
        (4, 0)
    );
}

#[test]
fn transports_do_not_see_each_others_streams() {
    let mut config = Config::new(0, 1);
    config.limits = Limits::default();
    let mut world = room_with(World::with(config, 5), 1);
    let other = world.join("send2", Direction::Send);
    world.peers[other].add(Stream::video(1111));
    world.publish(0, 0, true);
    // The same SSRC, but of a transport that has no producer.
    world.publish(other, 0, true);
    assert_eq!(viewer(&world, 0).media(5000).len(), 1);
    world.order(Order::SetProducer(rows::video(
        "p2",
        "send2",
        &[(None, Some(1111))],
    )));
    world.publish(other, 0, true);
    assert_eq!(viewer(&world, 0).media(5000).len(), 1);
    assert_eq!(world.stream("p", 0).packets, 1);
    assert_eq!(world.stream("p2", 0).packets, 1);
}

#[test]
fn what_comes_while_a_batch_is_sent_goes_along_to_those_who_come_later() {
    let mut world = room(200);
    world.publish(0, 0, true);
    let publisher = world.peers[0].address;
    let mut packets: Vec<Vec<u8>> = (0..6)
        .map(|_| world.peers[0].next_packet(0, false))
        .collect();
    let now_ns = world.now_ns;
    world
        .engine
        .handle_datagram(now_ns, publisher, &mut packets[0]);
    let mut received: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    let mut runs = 0;
    let mut rest = packets.split_off(1).into_iter();
    while let Some(transmit) = world.engine.poll_transmit(64) {
        let remote = transmit.remote;
        let datagrams: Vec<Vec<u8>> = transmit.datagrams().map(<[u8]>::to_vec).collect();
        received.entry(remote).or_default().extend(datagrams);
        runs += 1;
        if runs == 4 {
            // The rest of the frame comes when four viewers have been sent its first packet.
            for mut packet in rest.by_ref() {
                world.engine.handle_datagram(now_ns, publisher, &mut packet);
            }
        }
    }
    assert_eq!(received.len(), 200);
    for place in 0..200 {
        let before = viewer(&world, place).media(5000).len();
        let address = viewer(&world, place).address;
        for datagram in &received[&address] {
            world.peers[1 + place].receive(now_ns, datagram);
        }
        assert_eq!(viewer(&world, place).media(5000).len(), before + 6);
        assert_contiguous(&viewer(&world, place).sequence_numbers(5000));
    }
    // Those whose packets lay in the buffer already get the rest in a second round.
    assert!(runs <= 200 + 16, "{runs} runs");
}

#[test]
fn another_source_amid_a_batch_does_not_mix_with_it() {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, None)],
    )));
    for ssrc in [1111, 2222] {
        let stream = Stream::video(ssrc).with(rows::MID, "p").at(1000, 50_000);
        world.peers[publisher].add(stream);
    }
    for place in 0..120 {
        let (transport, consumer) = (format!("recv{place}"), format!("c{place}"));
        world.join(&transport, Direction::Recv);
        world.order(Order::SetConsumer(rows::view(
            &consumer, &transport, "p", 5000,
        )));
    }
    let (now_ns, address) = (world.now_ns, world.peers[0].address);
    let mut old = world.peers[0].next_packet(0, true);
    let mut new = world.peers[0].next_packet(1, false);
    world.engine.handle_datagram(now_ns, address, &mut old);
    let mut to: BTreeMap<_, usize> = BTreeMap::new();
    let mut runs = 0;
    while let Some(transmit) = world.engine.poll_transmit(64) {
        *to.entry(transmit.remote).or_default() += transmit.datagrams().count();
        runs += 1;
        if runs == 4 {
            world.engine.handle_datagram(now_ns, address, &mut new);
        }
    }
    to.remove(&address);
    assert!(
        !to.is_empty() && to.len() < 120,
        "{} had the old one",
        to.len()
    );
    assert!(to.values().all(|&count| count == 1));
}
