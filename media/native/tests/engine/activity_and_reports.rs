//! What the engine says by itself: activity, scores, reports, feedback.

use _native::rtcp::ReportBlock;
use _native::wire::notices::Notice;
use _native::wire::orders::Order;

use crate::forwarding::{room, viewer};
use crate::support::peer::{Control, Stream};
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

fn activity(world: &World) -> Vec<bool> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ProducerActivityChanged { active, .. } => Some(*active),
        _ => None,
    });
    said.collect()
}

#[test]
fn activity_is_told_at_the_first_packet_after_silence_and_when_it_ends() {
    let mut world = room(0);
    assert!(activity(&world).is_empty());
    world.publish(0, 0, true);
    assert_eq!(activity(&world), [true]);
    world.advance(2_400 * MS);
    assert_eq!(activity(&world), [true]);
    world.advance(700 * MS);
    assert_eq!(activity(&world), [true, false]);
    world.publish(0, 0, false);
    assert_eq!(activity(&world), [true, false, true]);
}

#[test]
fn a_goodbye_is_silence_at_once() {
    let mut world = room(0);
    world.publish(0, 0, true);
    let mut compound = Vec::new();
    _native::rtcp::write_goodbye(&mut compound, &[1111, 77]);
    let goodbye = world.peers[0].control(&compound);
    world.send(0, goodbye);
    assert_eq!(activity(&world), [true, false]);
}

#[test]
fn scores_come_on_change_and_at_most_once_a_second() {
    let mut world = room(1);
    let scores = |world: &World, id: &str| -> Vec<u32> {
        let said = world.notices.iter().filter_map(|notice| match notice {
            Notice::ProducerScore { producer, scores } if producer == id => Some(scores[0]),
            Notice::ConsumerScore {
                consumer, score, ..
            } if consumer == id => Some(*score),
            _ => None,
        });
        said.collect()
    };
    for _ in 0..200 {
        world.publish(0, 0, true);
        world.advance(20 * MS);
    }
    assert_eq!(scores(&world, "p"), [10]);
    for _ in 0..100 {
        world.publish(0, 0, false);
        world.peers[0].lose(0, 1);
        world.advance(20 * MS);
    }
    let said = scores(&world, "p");
    assert!(
        (2..=4).contains(&said.len()) && *said.last().expect("some") <= 2,
        "{said:?}"
    );
    for (fraction_lost, n) in [(0, 0), (128, 1), (0, 2), (128, 3)] {
        let block = ReportBlock {
            ssrc: 5000,
            fraction_lost,
            jitter: n,
            ..ReportBlock::default()
        };
        let report = world.peers[1].receiver_report(block);
        world.send(1, report);
        world.advance(400 * MS);
    }
    assert_eq!(scores(&world, "c0"), [10, 1]);
}

#[test]
fn a_publisher_is_told_what_arrived_every_50_ms() {
    let mut world = room(0);
    let stream = world.peers[0].add(Stream::video(1111));
    world.peers[0].streams.swap_remove(0);
    let stream = stream - 1;
    for number in 0..10_u8 {
        let value = vec![(rows::TRANSPORT_CC, vec![0, number])];
        world.peers[0].streams[stream].extensions = value;
        world.publish(0, stream, number == 0);
        world.advance(10 * MS);
    }
    world.advance(50 * MS);
    let arrived: Vec<usize> = world.peers[0]
        .rtcp
        .iter()
        .filter_map(|one| {
            if let Control::Feedback(arrived) = one {
                Some(*arrived)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(arrived.iter().sum::<usize>(), 10);
    assert_eq!(arrived.len(), 2);
    world.peers[0].rtcp.clear();
    world.advance(S);
    assert!(
        !world.peers[0]
            .rtcp
            .iter()
            .any(|one| matches!(one, Control::Feedback(_)))
    );
}

#[test]
fn receiver_reports_tell_the_publisher_its_losses() {
    let mut world = room(0);
    for _ in 0..75 {
        world.publish(0, 0, false);
        world.peers[0].lose(0, 1);
        world.advance(20 * MS);
    }
    let block = world.peers[0].rtcp.iter().find_map(|one| match one {
        Control::Report(block) => Some(*block),
        _ => None,
    });
    let block = block.expect("a report within a second and a half");
    assert_eq!(block.ssrc, 1111);
    assert!((120..=128).contains(&block.fraction_lost), "{block:?}");
    assert!(world.stream("p", 0).packets_lost > 20);
}

#[test]
fn only_a_publisher_without_transport_cc_is_sent_a_generous_remb() {
    for (transport_cc, expected) in [(true, false), (false, true)] {
        let mut world = room(0);
        let mut row = rows::video("p", "send", &[(None, Some(1111))]);
        (row.codecs[0].transport_cc, row.codecs[0].remb) = (transport_cc, true);
        world.order(Order::SetProducer(row));
        for _ in 0..100 {
            world.publish(0, 0, false);
            world.advance(20 * MS);
        }
        let told: Vec<u64> = world.peers[0]
            .rtcp
            .iter()
            .filter_map(|one| {
                if let Control::Remb(bps, _) = one {
                    Some(*bps)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(!told.is_empty(), expected);
        assert!(told.iter().all(|&bps| bps == 3_000_000), "{told:?}");
    }
}

#[test]
fn sender_reports_keep_audio_and_video_in_step() {
    let mut world = World::new();
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, Some(1111))],
    )));
    world.order(Order::SetProducer(rows::audio("a", "send", 2222)));
    let video = world.peers[publisher].add(Stream::video(1111));
    let audio = world.peers[publisher].add(Stream::audio(2222));
    let eye = world.join("recv", Direction::Recv);
    world.order(Order::SetConsumer(rows::view("v", "recv", "p", 5000)));
    world.order(Order::SetConsumer(rows::listen("l", "recv", "a", 6000)));
    // The publisher's clock says that both next packets are made at the same moment; the
    // report about the audio arrives 300 ms late.
    let (ntp, moment) = (
        1_000_u64 << 32,
        (
            world.peers[publisher].streams[video].timestamp,
            world.peers[publisher].streams[audio].timestamp,
        ),
    );
    let reports = [video, audio].map(|stream| world.peers[publisher].sender_report(stream, ntp));
    let [of_video, of_audio] = reports;
    world.publish(publisher, video, true);
    world.publish(publisher, audio, false);
    world.send(publisher, of_video);
    world.advance(300 * MS);
    world.send(publisher, of_audio);
    world.advance(1_500 * MS);
    // How far each stream's report lies behind its moment, in seconds.
    let mut said = std::collections::BTreeMap::new();
    for one in &viewer(&world, 0).rtcp {
        if let Control::SenderReport(ssrc, info) = one {
            let (moment, rate) = if *ssrc == 5000 {
                (moment.0, 90_000.0)
            } else {
                (moment.1, 48_000.0)
            };
            let age_s = f64::from(info.rtp_timestamp.wrapping_sub(moment)) / rate;
            let ntp_s = info.ntp_timestamp as f64 / (1_u64 << 32) as f64;
            said.insert(*ssrc, ntp_s - age_s);
        }
    }
    assert_eq!(eye, 1);
    assert_eq!(said.len(), 2, "both streams were reported");
    let difference_s = said[&5000] - said[&6000];
    assert!(difference_s.abs() < 0.001, "{difference_s}");
    assert!(viewer(&world, 0).rtcp.contains(&Control::Cname(5000)));
}
