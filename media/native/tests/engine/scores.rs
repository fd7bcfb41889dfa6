//! Scores: of each encoding how it arrives, of a viewer how it receives, beside that of the encoding
//! that it is sent. What came as a retransmission counts for little.

use _native::rtcp::ReportBlock;
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer};

use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

const LOW: usize = 0;
const HIGH: usize = 1;

fn room() -> World {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    let encodings = [(None, Some(10)), (None, Some(20))];
    world.order(Order::SetProducer(rows::video("p", "send", &encodings)));
    for ssrc in [10, 20] {
        world.peers[publisher].add(Stream::video(ssrc));
    }
    world.join("recv0", Direction::Recv);
    want(&mut world, 0);
    world
}

fn want(world: &mut World, spatial_layer: u32) {
    let row = SetConsumer {
        spatial_layer: Some(spatial_layer),
        ..rows::view("c0", "recv0", "p", 5000)
    };
    world.order(Order::SetConsumer(row));
}

/// A second of both encodings, of the high one every other packet lost and sent again if so wished;
/// then the viewer reports.
fn second(world: &mut World, lossy: bool, repaired: bool, reported: (u32, u8)) {
    for place in 0..50 {
        world.publish(0, LOW, place == 0);
        world.publish(0, HIGH, place == 0);
        if lossy {
            let number = world.peers[0].streams[HIGH].sequence as u16;
            world.peers[0].lose(HIGH, 1);
            if repaired {
                let again = world.peers[0].rtx(HIGH, number);
                world.send(0, again);
            }
        }
        world.advance(20 * MS);
    }
    let block = ReportBlock {
        ssrc: 5000,
        extended_highest_sequence_number: reported.0,
        fraction_lost: reported.1,
        ..ReportBlock::default()
    };
    let report = world.peers[1].receiver_report(block);
    world.send(1, report);
}

fn producer_scores(world: &World) -> Vec<u32> {
    let said = world.notices.iter().rev().find_map(|notice| match notice {
        Notice::ProducerScore { scores, .. } => Some(scores.clone()),
        _ => None,
    });
    said.unwrap_or_default()
}

/// The viewer's score, and that of what it is sent.
fn consumer_scores(world: &World) -> Option<(u32, u32)> {
    world.notices.iter().rev().find_map(|notice| match notice {
        Notice::ConsumerScore {
            score,
            producer_score,
            ..
        } => Some((*score, *producer_score)),
        _ => None,
    })
}

#[test]
fn a_viewer_is_told_the_score_of_the_encoding_that_it_is_sent() {
    let mut world = room();
    for place in 1..=5 {
        second(&mut world, true, false, (place * 50, 0));
    }
    let scores = producer_scores(&world);
    assert_eq!(scores[LOW], 10);
    assert!(scores[HIGH] <= 2, "{scores:?}");
    assert_eq!(consumer_scores(&world), Some((10, 10)));
    want(&mut world, 1);
    for place in 6..=9 {
        second(&mut world, true, false, (place * 50, 0));
    }
    let (score, producer_score) = consumer_scores(&world).expect("told");
    assert_eq!(score, 10, "its own way is well");
    assert!(producer_score <= 2, "though its own score is what it was");
}

#[test]
fn what_is_sent_again_in_time_costs_little() {
    let mut world = room();
    for place in 1..=5 {
        second(&mut world, true, true, (place * 50, 0));
    }
    let repaired = producer_scores(&world)[HIGH];
    assert!((5..=7).contains(&repaired), "{repaired}");
}

#[test]
fn a_viewers_losses_count_by_what_was_not_repaired() {
    let mut world = room();
    second(&mut world, false, false, (50, 0));
    second(&mut world, false, false, (100, 0));
    second(&mut world, false, false, (150, 64));
    assert_eq!(consumer_scores(&world).map(|one| one.0), Some(3));
    let numbers = world.peers[1].sequence_numbers(5000);
    let lost = &numbers[numbers.len() - 13..];
    let nack = world.peers[1].nack(5000, lost);
    world.send(1, nack);
    second(&mut world, false, false, (200, 64));
    assert_eq!(consumer_scores(&world).map(|one| one.0), Some(8));
}
