//! Which producer and encoding a packet belongs to, when SSRCs are known and when they are learned.

use _native::engine::{Config, DropReason, Limits};
use _native::wire::notices::Notice;
use _native::wire::orders::Order;

use crate::support::World;
use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};

const RIDS: [(Option<&str>, Option<u32>); 2] = [(Some("l"), None), (Some("h"), None)];

fn publisher(encodings: &[(Option<&str>, Option<u32>)]) -> World {
    let mut world = World::new();
    world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video("p", "send", encodings)));
    world.take_notices();
    world
}

fn labelled(ssrc: u32, rid: &str) -> Stream {
    Stream::video(ssrc)
        .with(rows::MID, "p")
        .with(rows::RID, rid)
}

fn learned(world: &World) -> Vec<(u32, u32, Option<u32>)> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ProducerStreamLearned {
            encoding,
            ssrc,
            rtx_ssrc,
            ..
        } => Some((*encoding, *ssrc, *rtx_ssrc)),
        _ => None,
    });
    said.collect()
}

#[test]
fn encodings_are_learned_by_mid_and_rid() {
    let mut world = publisher(&RIDS);
    let low = world.peers[0].add(labelled(10, "l"));
    let high = world.peers[0].add(labelled(20, "h"));
    world.publish(0, high, true);
    world.publish(0, low, true);
    assert_eq!(learned(&world), [(1, 20, None), (0, 10, None)]);
    // Once learned, the extensions are not needed any more.
    world.peers[0].streams[high].extensions.clear();
    world.publish(0, high, false);
    assert_eq!(world.stream("p", 1).packets, 2);
    assert_eq!(
        (
            world.stream("p", 1).ssrc,
            world.stream("p", 1).rid.as_deref()
        ),
        (20, Some("h"))
    );
}

#[test]
fn an_rtx_probe_can_come_first() {
    let mut world = publisher(&RIDS);
    let high = world.peers[0].add(labelled(20, "h"));
    let probe = world.peers[0].rtx_with(high, 0, &[]);
    world.send(0, probe);
    assert_eq!(learned(&world), []);
    assert_eq!(world.drops("send", DropReason::RtxProbe), 1);
    world.publish(0, high, true);
    assert_eq!(learned(&world), [(1, 20, Some(21))]);
    world.peers[0].lose(high, 1);
    let recovered = world.peers[0].rtx(high, 1001);
    world.send(0, recovered);
    assert_eq!(world.stream("p", 1).retransmitted_packets, 1);
}

#[test]
fn a_single_stream_is_learned_by_mid_or_by_payload_type() {
    for with_mid in [true, false] {
        let mut world = publisher(&[(None, None)]);
        let stream = Stream::video(10);
        let stream = if with_mid {
            stream.with(rows::MID, "p")
        } else {
            stream
        };
        let place = world.peers[0].add(stream);
        world.publish(0, place, true);
        let rtx = world.peers[0].rtx_with(place, 0, &[]);
        world.send(0, rtx);
        assert_eq!(
            learned(&world),
            [(0, 10, None), (0, 10, Some(11))],
            "with mid: {with_mid}"
        );
    }
}

#[test]
fn a_payload_type_of_two_producers_routes_nothing() {
    let mut world = publisher(&[(None, None)]);
    world.order(Order::SetProducer(rows::video(
        "q",
        "send",
        &[(None, None)],
    )));
    let stream = world.peers[0].add(Stream::video(10));
    world.publish(0, stream, true);
    assert_eq!(
        (
            learned(&world).len(),
            world.drops("send", DropReason::UnknownSsrc)
        ),
        (0, 1)
    );
    world.peers[0].streams[stream].extensions = vec![(rows::MID, b"q".to_vec())];
    world.publish(0, stream, true);
    assert_eq!(
        (world.stream("q", 0).packets, world.stream("p", 0).packets),
        (1, 0)
    );
}

#[test]
fn unknown_ssrcs_and_payload_types_are_counted_and_dropped() {
    let mut world = publisher(&[(None, Some(1111))]);
    let stranger = world.peers[0].add(Stream::video(9));
    let known = world.peers[0].add(Stream::video(1111));
    world.publish(0, stranger, true);
    world.peers[0].streams[known].payload_type = 120;
    world.publish(0, known, true);
    assert_eq!(world.drops("send", DropReason::UnknownSsrc), 1);
    assert_eq!(world.drops("send", DropReason::UnknownPayloadType), 1);
    assert_eq!(world.stream("p", 0).packets, 0);
}

#[test]
fn a_stream_that_changes_its_ssrc_goes_on_at_a_keyframe() {
    let mut world = publisher(&RIDS[..1]);
    let eye = world.join("recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::view("c", "recv", "p", 5000)));
    let old = world.peers[0].add(labelled(10, "l"));
    world.publish(0, old, true);
    let new = world.peers[0].add(labelled(30, "l").at(7, 1));
    world.publish(0, new, false);
    world.publish(0, new, true);
    world.publish(0, new, false);
    assert_eq!(learned(&world), [(0, 10, None), (0, 30, None)]);
    crate::support::peer::assert_contiguous(&world.peers[eye].sequence_numbers(5000));
    assert_eq!(world.peers[eye].media(5000).len(), 3);
    // The old SSRC is nobody's now, unless it is labelled again.
    world.peers[0].streams[old].extensions.clear();
    world.publish(0, old, false);
    assert_eq!(world.peers[eye].media(5000).len(), 3);
}

#[test]
fn learning_ends_at_its_bound() {
    let mut config = Config::new(0, 7);
    config.limits = Limits {
        learned_per_producer_max: 5,
        ..Limits::default()
    };
    let mut world = World::with(config, 1);
    world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video("p", "send", &RIDS[..1])));
    for ssrc in 0..20 {
        let stream = world.peers[0].add(labelled(100 + ssrc, "l"));
        world.publish(0, stream, true);
    }
    assert_eq!(learned(&world).len(), 5);
    assert_eq!(world.drops("send", DropReason::TooManySsrcs), 15);
}
