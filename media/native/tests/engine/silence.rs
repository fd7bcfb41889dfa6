//! Discontinuous transmission (RFC 7587, 3.1.3): a microphone in a silent room sends a packet of one or two
//! bytes now and then. That is no silence of its publisher, no loss, no jitter and no freeze.

use _native::rtcp::ReportBlock;
use _native::wire::notices::Notice;
use _native::wire::orders::Order;

use crate::support::peer::{Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

const SOUND: u32 = 6000;
/// What libopus sends while nobody speaks: one packet of twenty.
const STILL_NS: u64 = 400 * MS;
const STILL_TICKS: u32 = 19_200;
const TICKS: u32 = 960;

/// A microphone that has been speaking for two seconds, and one who listens.
fn speaking() -> World {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::audio("mic", "send", 2222)));
    let mut stream = Stream::audio(2222);
    stream.extensions.push((rows::AUDIO_LEVEL, vec![20]));
    world.peers[publisher].add(stream);
    world.join("recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::listen(
        "ear", "recv", "mic", SOUND,
    )));
    speak(&mut world, 100);
    world
}

fn speak(world: &mut World, packets: usize) {
    world.peers[0].streams[0].step = TICKS;
    world.peers[0].streams[0].extensions = vec![(rows::AUDIO_LEVEL, vec![20])];
    for _ in 0..packets {
        world.publish(0, 0, false);
        world.advance(20 * MS);
    }
}

/// So many packets of silence; those at `lost` do not arrive.
fn be_still(world: &mut World, packets: usize, lost: &[usize]) {
    world.peers[0].streams[0].step = STILL_TICKS;
    world.peers[0].streams[0].extensions = vec![(rows::AUDIO_LEVEL, vec![127])];
    for packet in 0..packets {
        let datagram = world.peers[0].packet_with(0, &[0x78, 0xff][..1 + packet % 2]);
        if !lost.contains(&packet) {
            world.send(0, datagram);
        }
        let block = ReportBlock {
            ssrc: SOUND,
            ..ReportBlock::default()
        };
        let report = world.peers[1].receiver_report(block);
        world.send(1, report);
        if packet % 5 == 0 {
            world.check(0, true);
            world.check(1, true);
        }
        world.advance(STILL_NS);
    }
}

/// Scores that were told, of the producer and of the consumer.
fn scores(notices: &[Notice]) -> Vec<u32> {
    let told = notices.iter().filter_map(|notice| match notice {
        Notice::ProducerScore { scores, .. } => Some(scores[0]),
        Notice::ConsumerScore { score, .. } => Some(*score),
        _ => None,
    });
    told.collect()
}

fn is_trouble(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::ProducerActivityChanged { active: false, .. }
            | Notice::ConsumerFrozen { .. }
            | Notice::KeyFrameRequested { .. }
            | Notice::IceStateChanged { .. }
    )
}

#[test]
fn a_microphone_in_a_silent_room_is_at_no_fault() {
    let mut world = speaking();
    world.take_notices();
    be_still(&mut world, 150, &[]);
    speak(&mut world, 50);
    let told = world.take_notices();
    assert!(!told.iter().any(is_trouble), "{told:?}");
    assert!(scores(&told).iter().all(|&score| score == 10), "{told:?}");
    let levels = told
        .iter()
        .filter(|one| matches!(one, Notice::AudioLevels { .. }));
    assert!(
        levels.count() <= 8,
        "it is told once that nobody is heard: {told:?}"
    );
    let sent = world.stream("mic", 0);
    assert_eq!((sent.packets_lost, sent.jitter_ms), (0, 0.0), "{sent:?}");
}

#[test]
fn packets_of_silence_reach_the_listener_as_they_were() {
    let mut world = speaking();
    be_still(&mut world, 30, &[]);
    speak(&mut world, 10);
    let heard = world.peers[1].media(SOUND);
    assert_eq!(heard.len(), 140);
    assert_contiguous(&world.peers[1].sequence_numbers(SOUND));
    for (place, one) in heard[100..130].iter().enumerate() {
        assert_eq!(one.payload, [0x78, 0xff][..1 + place % 2]);
    }
    let steps = heard.windows(2);
    let steps: Vec<u32> = steps
        .map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp))
        .collect();
    assert!(steps[..100].iter().all(|&step| step == TICKS), "{steps:?}");
    assert!(
        steps[100..130].iter().all(|&step| step == STILL_TICKS),
        "{steps:?}"
    );
    assert!(steps[130..].iter().all(|&step| step == TICKS), "{steps:?}");
}

#[test]
fn one_packet_of_silence_that_is_lost_makes_no_bad_score() {
    let mut world = speaking();
    world.take_notices();
    be_still(&mut world, 100, &[30, 70]);
    speak(&mut world, 100);
    let told = world.take_notices();
    assert!(!told.iter().any(is_trouble), "{told:?}");
    let least = scores(&told).into_iter().min().unwrap_or(10);
    assert!(least >= 7, "{told:?}");
    assert_eq!(world.stream("mic", 0).packets_lost, 2);
    assert_contiguous_but(&world.peers[1].sequence_numbers(SOUND), 2);
}

/// The numbers rise, with so many missing.
fn assert_contiguous_but(numbers: &[u16], missing: usize) {
    let gaps = numbers.windows(2);
    let gaps: usize = gaps
        .map(|two| usize::from(two[1].wrapping_sub(two[0])) - 1)
        .sum();
    assert_eq!(gaps, missing, "{numbers:?}");
}

#[test]
fn a_microphone_that_really_ceases_is_told_of() {
    let mut world = speaking();
    be_still(&mut world, 10, &[]);
    world.take_notices();
    world.advance(3 * S);
    let told = world.take_notices();
    assert!(told.iter().any(is_trouble), "{told:?}");
}
