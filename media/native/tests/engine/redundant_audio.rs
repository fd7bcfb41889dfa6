//! Audio with redundancy (RFC 2198) reaches viewers with their payload types, or without the redundancy.

use _native::wire::orders::{
    ConsumerCodec, Order, ProducerCodec, SetConsumer, SetProducer, SrtpProfile,
};

use crate::support::peer::{Received, Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

const SOUND: u32 = 6000;
const RED: u8 = 63;
const MAPPED_RED: u8 = 117;
const NEWEST: [u8; 4] = [7, 7, 7, 7];

/// A microphone whose packets bear the frame before as well.
fn microphone() -> SetProducer {
    let mut row = rows::audio("mic", "send", 2222);
    let red = ProducerCodec {
        payload_type: RED,
        mapped_payload_type: MAPPED_RED,
        mime_type: "audio/red".into(),
        ..row.codecs[0].clone()
    };
    row.codecs.insert(0, red);
    row
}

fn listener(id: &str, transport: &str, takes_red: bool, nack: bool) -> SetConsumer {
    let mut row = rows::listen(id, transport, "mic", SOUND);
    row.codecs[0].nack = nack;
    let red = ConsumerCodec {
        payload_type: MAPPED_RED,
        mime_type: "audio/red".into(),
        ..row.codecs[0].clone()
    };
    if takes_red {
        row.codecs.insert(0, red);
    }
    row
}

/// Three bytes of an earlier frame, then the newest, with these payload types.
fn payload(earlier: u8, newest: u8) -> Vec<u8> {
    let mut payload = vec![0x80 | earlier, 0x0f, 0x00, 3, newest, 1, 1, 1];
    payload.extend(NEWEST);
    payload
}

/// One who takes redundancy, one who does not, and one who does and sends NACKs without RTX.
fn hall() -> World {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(microphone()));
    let mut stream = Stream::audio(2222);
    stream.payload_type = RED;
    world.peers[publisher].add(stream);
    for (place, (takes_red, nack)) in [(true, false), (false, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let transport = format!("recv{place}");
        world.join(&transport, Direction::Recv);
        let row = listener(&format!("ear{place}"), &transport, takes_red, nack);
        world.order(Order::SetConsumer(row));
    }
    world
}

fn speak(world: &mut World, payload: &[u8]) {
    let datagram = world.peers[0].packet_with(0, payload);
    world.send(0, datagram);
}

#[test]
fn each_viewer_gets_what_it_negotiated() {
    let mut world = hall();
    for _ in 0..5 {
        speak(&mut world, &payload(rows::OPUS, rows::OPUS));
    }
    for (viewer, payload_type, expected) in [
        (1, MAPPED_RED, payload(rows::MAPPED_OPUS, rows::MAPPED_OPUS)),
        (2, rows::MAPPED_OPUS, NEWEST.to_vec()),
        (3, MAPPED_RED, payload(rows::MAPPED_OPUS, rows::MAPPED_OPUS)),
    ] {
        let heard = world.peers[viewer].media(SOUND);
        assert_eq!(heard.len(), 5, "viewer {viewer}");
        for one in heard {
            assert_eq!((one.payload_type, &one.payload), (payload_type, &expected));
        }
        assert_contiguous(&world.peers[viewer].sequence_numbers(SOUND));
    }
}

#[test]
fn what_nobody_can_read_is_left_out_without_a_gap() {
    let mut world = hall();
    speak(&mut world, &payload(rows::OPUS, rows::OPUS));
    // Ends within its header; carries a codec that was never agreed on.
    speak(&mut world, &payload(rows::OPUS, rows::OPUS)[..4]);
    speak(&mut world, &payload(13, 13));
    // Here only what is redundant was not agreed on: the newest frame is sent alone.
    speak(&mut world, &payload(13, rows::OPUS));
    for viewer in 1..=3 {
        let heard = world.peers[viewer].media(SOUND);
        assert_eq!(heard.len(), 2, "viewer {viewer}");
        assert_eq!(heard[1].payload_type, rows::MAPPED_OPUS);
        assert_eq!(heard[1].payload, NEWEST);
        assert_contiguous(&world.peers[viewer].sequence_numbers(SOUND));
    }
}

#[test]
fn a_retransmission_is_the_same_packet_again() {
    let mut world = hall();
    speak(&mut world, &payload(rows::OPUS, rows::OPUS));
    let first = world.peers[3].media(SOUND)[0].clone();
    // The viewer's replay protection would refuse it, as it has it: one that lost it is made of it.
    let fresh = world.add_peer("recv2", SrtpProfile::AeadAes128Gcm);
    world.advance(60 * MS);
    let request = world.peers[fresh].check(true);
    world.send(fresh, request);
    let nack = world.peers[fresh].nack(SOUND, &[first.sequence_number]);
    world.send(fresh, nack);
    let again = world.peers[fresh].media(SOUND);
    assert_eq!(again.len(), 1);
    let again = Received {
        at_ns: first.at_ns,
        ..again[0].clone()
    };
    assert_eq!(again, first);
}

#[test]
fn a_microphone_may_change_between_both_ways_at_any_packet() {
    let mut world = hall();
    speak(&mut world, &payload(rows::OPUS, rows::OPUS));
    world.peers[0].streams[0].payload_type = rows::OPUS;
    speak(&mut world, &NEWEST);
    world.peers[0].streams[0].payload_type = RED;
    speak(&mut world, &payload(rows::OPUS, rows::OPUS));
    let types = |viewer: usize| -> Vec<u8> {
        let heard = world.peers[viewer].media(SOUND);
        heard.iter().map(|one| one.payload_type).collect()
    };
    assert_eq!(types(1), [MAPPED_RED, rows::MAPPED_OPUS, MAPPED_RED]);
    assert_eq!(types(2), [rows::MAPPED_OPUS; 3]);
}
