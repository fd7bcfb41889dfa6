//! Viewers on another worker than their publisher are served by a mirror there.

use _native::engine::DropReason;
use _native::rtcp;
use _native::wire::notices::Notice;
use _native::wire::orders::{EntryKind, Order, SetConsumer, SetProducer};

use crate::both_starts::BOTH;
use crate::support::peer::{Control, Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction};
use crate::support::span::Span;
use crate::support::{MS, Peer, S, World, without_instant_start};

fn video() -> SetProducer {
    rows::video("p", "send", &[(None, Some(1111))])
}

fn simulcast() -> SetProducer {
    rows::video("p", "send", &[(None, Some(10)), (None, Some(20))])
}

/// A publisher on worker 0, and so many viewers on each worker.
fn room(instant: bool, row: &SetProducer, viewers: [usize; 2]) -> Span {
    let mut span = match instant {
        true => Span::new(5),
        false => Span::with(5, without_instant_start),
    };
    let publisher = span.worlds[0].join("send", Direction::Send);
    span.order(0, Order::SetProducer(row.clone()));
    for encoding in &row.encodings {
        let stream = Stream::video(encoding.ssrc.expect("announced"));
        span.worlds[0].peers[publisher].add(stream);
    }
    for (worker, count) in viewers.into_iter().enumerate() {
        for viewer in 0..count {
            let transport = format!("recv{worker}-{viewer}");
            span.worlds[worker].join(&transport, Direction::Recv);
            if worker == 1 {
                span.mirror(row);
            }
            span.order(
                worker,
                Order::SetConsumer(view(&format!("c{worker}-{viewer}"))),
            );
        }
    }
    span
}

fn view(id: &str) -> SetConsumer {
    rows::view(id, &id.replacen('c', "recv", 1), "p", 5000)
}

fn sources(peer: &Peer) -> Vec<u64> {
    peer.media(5000).iter().map(|one| source_of(one)).collect()
}

fn requests(world: &World) -> usize {
    let asked = |one: &&Notice| matches!(one, Notice::KeyFrameRequested { .. });
    world.notices.iter().filter(asked).count()
}

#[test]
fn viewers_of_both_workers_get_every_packet_in_order() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [1, 2]);
        span.delay_ns_max = 3 * MS;
        span.publish(0, 0, true);
        for _ in 0..50 {
            span.publish(0, 0, false);
            span.advance(2 * MS);
        }
        span.advance(10 * MS);
        let expected: Vec<u64> = (1000..1051).collect();
        assert_eq!(sources(&span.worlds[0].peers[1]), expected);
        for viewer in 0..2 {
            let peer = &span.worlds[1].peers[viewer];
            assert_eq!(sources(peer), expected);
            assert_contiguous(&peer.sequence_numbers(5000));
            assert_eq!(peer.unreadable, 0);
        }
        // Each packet crossed once, however many viewers there are.
        let state_records = span.crossed[0] - 51;
        assert!(state_records < 10, "{state_records} records of state");
    }
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    for instant in BOTH {
        let run = || {
            let mut span = room(instant, &video(), [1, 2]);
            span.delay_ns_max = 5 * MS;
            for count in 0..40 {
                span.publish(0, 0, count % 20 == 0);
                span.advance(MS);
            }
            span.advance(1_500 * MS);
            let seen = span.worlds[1].peers[0].rtp.clone();
            (seen, span.worlds[1].peers[1].rtcp.clone(), span.crossed)
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn a_mirror_answers_the_nacks_of_its_viewers() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        for count in 0..5 {
            span.publish(0, 0, count == 0);
        }
        let crossed = span.crossed[1];
        let lost = span.worlds[1].peers[0].media(5000)[2].clone();
        let nack = span.worlds[1].peers[0].nack(5000, &[lost.sequence_number]);
        span.worlds[1].send(0, nack);
        span.exchange();
        let again = span.worlds[1].peers[0].media(5001);
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].original, Some(lost.sequence_number));
        assert_eq!(again[0].payload, lost.payload);
        assert_eq!(span.crossed[1], crossed, "the other worker is not asked");
    }
}

#[test]
fn what_finds_no_room_is_lost_counted_and_not_made_up_for() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [1, 1]);
        span.publish(0, 0, true);
        span.worlds[0].records_max = 0;
        for _ in 0..7 {
            span.publish(0, 0, false);
        }
        span.worlds[0].records_max = usize::MAX;
        for _ in 0..3 {
            span.publish(0, 0, false);
        }
        assert_eq!(sources(&span.worlds[1].peers[0]), [1000, 1008, 1009, 1010]);
        assert_eq!(span.worlds[0].drops("send", DropReason::WorkerRingFull), 7);
        // Viewers of the publisher's own worker are not concerned; those of the other see the gap.
        assert_eq!(sources(&span.worlds[0].peers[1]).len(), 11);
        let numbers = span.worlds[1].peers[0].sequence_numbers(5000);
        assert_eq!(numbers[1].wrapping_sub(numbers[0]), 8);
    }
}

#[test]
fn what_a_mirror_wants_is_told_again_when_there_was_no_room() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        span.publish(0, 0, true);
        span.advance(1_100 * MS);
        let before = span.worlds[0].peers[0].plis(1111);
        span.worlds[1].records_max = 0;
        let pli = span.worlds[1].peers[0].pli(5000);
        span.worlds[1].send(0, pli);
        span.exchange();
        assert_eq!(span.worlds[0].peers[0].plis(1111), before);
        span.worlds[1].records_max = usize::MAX;
        // Whatever makes the engine drain the next time.
        span.advance(S);
        assert_eq!(span.worlds[0].peers[0].plis(1111), before + 1);
    }
}

#[test]
fn keyframe_requests_go_back_and_stay_one_a_second() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [20, 200]);
        span.publish(0, 0, false);
        assert_eq!(
            span.worlds[0].peers[0].plis(1111),
            1,
            "all wait for the first keyframe"
        );
        span.publish(0, 0, true);
        span.advance(1_500 * MS);
        let crossed = span.crossed[1];
        for viewer in 0..200 {
            let pli = span.worlds[1].peers[viewer].pli(5000);
            span.worlds[1].send(viewer, pli);
            span.exchange();
        }
        assert_eq!(span.worlds[0].peers[0].plis(1111), 2);
        assert!(span.crossed[1] - crossed <= 200);
        span.advance(S);
        assert_eq!(span.worlds[0].peers[0].plis(1111), 3);
        assert_eq!(requests(&span.worlds[1]), 0, "the home worker tells of it");
        assert_eq!(requests(&span.worlds[0]), 3);
        let told = span.worlds[0].notices.iter().rev();
        let causes = told.filter_map(|notice| match notice {
            Notice::KeyFrameRequested { causes, .. } => Some(causes.join(" ")),
            _ => None,
        });
        assert_eq!(causes.collect::<Vec<_>>(), ["viewer", "viewer", "began"]);
    }
}

#[test]
fn viewers_start_with_a_keyframe_though_none_is_at_home() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        for _ in 0..3 {
            span.publish(0, 0, false);
        }
        assert_eq!(span.worlds[0].peers[0].plis(1111), 1);
        span.publish(0, 0, true);
        span.publish(0, 0, false);
        assert_eq!(sources(&span.worlds[1].peers[0]), [1003, 1004]);
        assert!(span.worlds[1].notices.contains(&Notice::LayersChanged {
            consumer: "c1-0".into(),
            spatial_layer: Some(0),
            temporal_layer: None,
            reason: Some("preferred".into()),
            keyframe_age_ns: None,
        }));
    }
}

#[test]
fn only_the_layers_that_somebody_wants_cross() {
    for instant in BOTH {
        let mut span = room(instant, &simulcast(), [1, 0]);
        span.worlds[1].join("recv1-0", Direction::Recv);
        span.mirror(&simulcast());
        let wants = |spatial_layer| {
            Order::SetConsumer(SetConsumer {
                spatial_layer,
                ..view("c1-0")
            })
        };
        span.order(1, wants(Some(0)));
        span.publish(0, 0, true);
        span.publish(0, 1, true);
        for _ in 0..45 {
            span.advance(100 * MS);
            span.publish(0, 0, false);
            span.publish(0, 1, false);
        }
        let crossed = span.crossed[0];
        for _ in 0..100 {
            span.publish(0, 1, false);
        }
        assert_eq!(span.crossed[0], crossed, "nobody there wants the upper one");
        for _ in 0..10 {
            span.publish(0, 0, false);
        }
        assert_eq!(span.crossed[0], crossed + 10);

        // The switch: the lower one runs on until a keyframe of the upper one came.
        span.order(1, wants(Some(1)));
        assert!(span.worlds[0].peers[0].plis(20) > 0);
        let seen = span.worlds[1].peers[0].media(5000).len();
        span.publish(0, 0, false);
        span.publish(0, 1, true);
        span.publish(0, 1, false);
        let numbers = span.worlds[1].peers[0].sequence_numbers(5000);
        assert_eq!(numbers.len(), seen + 3);
        assert_contiguous(&numbers);

        // A while later the lower one is not fed any more.
        for _ in 0..30 {
            span.publish(0, 0, false);
            span.publish(0, 1, false);
            span.advance(100 * MS);
        }
        let crossed = span.crossed[0];
        for _ in 0..10 {
            span.publish(0, 0, false);
        }
        assert_eq!(span.crossed[0], crossed);
        assert_eq!(span.worlds[1].peers[0].unreadable, 0);
    }
}

#[test]
fn a_mirror_follows_its_producer_into_pause_and_row_changes() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        span.publish(0, 0, true);
        let paused = SetProducer {
            paused: true,
            ..video()
        };
        for row in [paused, video()] {
            span.order(0, Order::SetProducer(row.clone()));
            span.mirror(&row);
            span.publish(0, 0, false);
        }
        assert_eq!(sources(&span.worlds[1].peers[0]), [1000]);
        span.advance(S);
        span.publish(0, 0, true);
        assert_eq!(sources(&span.worlds[1].peers[0]), [1000, 1003]);
        assert_contiguous(&span.worlds[1].peers[0].sequence_numbers(5000));
    }
}

#[test]
fn another_ssrc_begins_anew_in_the_mirror() {
    let mut span = Span::new(9);
    span.worlds[0].join("send", Direction::Send);
    let row = rows::video("p", "send", &[(None, None)]);
    span.order(0, Order::SetProducer(row.clone()));
    for (ssrc, sequence) in [(1111, 60_000), (2222, 10)] {
        let stream = Stream::video(ssrc).with(rows::MID, "p").at(sequence, 1);
        span.worlds[0].peers[0].add(stream);
    }
    span.worlds[1].join("recv1-0", Direction::Recv);
    span.mirror(&row);
    span.order(1, Order::SetConsumer(view("c1-0")));
    span.publish(0, 0, true);
    span.publish(0, 0, false);
    span.publish(0, 1, false);
    span.publish(0, 1, true);
    span.publish(0, 1, false);
    assert_eq!(sources(&span.worlds[1].peers[0]), [60_000, 60_001, 11, 12]);
    assert_contiguous(&span.worlds[1].peers[0].sequence_numbers(5000));
}

#[test]
fn sender_reports_of_a_mirror_speak_of_the_publishers_clock() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [1, 1]);
        span.publish(0, 0, true);
        let unix_ns = 1_700_000_000 * S + span.worlds[0].now_ns - 50 * MS;
        let report = span.worlds[0].peers[0].sender_report(0, rtcp::ntp_timestamp(unix_ns));
        span.worlds[0].send(0, report);
        span.exchange();
        for _ in 0..60 {
            span.publish(0, 0, false);
            span.advance(33 * MS);
        }
        // What one tick of the first packet's timestamp says about our clock, at each worker.
        let moment = |worker: usize, place: usize| {
            let peer = &span.worlds[worker].peers[place];
            let info = peer.rtcp.iter().rev().find_map(|one| match one {
                Control::SenderReport(5000, info) => Some(*info),
                _ => None,
            });
            let info = info.expect("a report");
            let ns = (u128::from(info.ntp_timestamp) * 1_000_000_000) >> 32;
            let ticks = info
                .rtp_timestamp
                .wrapping_sub(peer.media(5000)[0].timestamp);
            ns as i128 - i128::from(ticks) * 1_000_000_000 / 90_000
        };
        let (here, there) = (moment(0, 1), moment(1, 0));
        assert!(
            (here - there).abs() < 50_000,
            "{here} and {there} ns differ by more than an RTP unit or two"
        );
    }
}

#[test]
fn a_closed_producer_takes_its_mirror_and_consumers_along() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        span.publish(0, 0, true);
        span.remove(EntryKind::Producer, "p");
        assert!(span.worlds[1].table().consumers.is_empty());
        let crossed = span.crossed[0];
        span.publish(0, 0, false);
        span.advance(3 * S);
        assert_eq!(span.crossed[0], crossed);
    }
}

#[test]
fn the_last_consumer_that_leaves_ends_the_feed() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [1, 2]);
        span.publish(0, 0, true);
        for consumer in ["c1-0", "c1-1"] {
            span.worlds[1].remove(EntryKind::Consumer, consumer);
        }
        // For a moment the feed stays, for those who come right back.
        span.mirror(&video());
        span.order(1, Order::SetConsumer(view("c1-1")));
        span.publish(0, 0, true);
        let mut expected = vec![1000, 1001];
        if instant {
            expected.insert(0, 1000); // Once more, for the one who came back.
        }
        assert_eq!(sources(&span.worlds[1].peers[1]), expected);
        span.worlds[1].remove(EntryKind::Transport, "recv1-1");
        span.advance(1_100 * MS);
        let crossed = span.crossed[0];
        for _ in 0..10 {
            span.publish(0, 0, false);
        }
        span.advance(S);
        assert_eq!(span.crossed[0], crossed);
    }
}

#[test]
fn a_worker_without_viewers_costs_nothing() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [2, 0]);
        span.publish(0, 0, true);
        for _ in 0..100 {
            span.publish(0, 0, false);
            span.advance(20 * MS);
        }
        assert_eq!(span.crossed, [0, 0]);
    }
}

#[test]
fn a_feed_whose_mirror_is_gone_without_a_word_is_ended() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [0, 1]);
        span.publish(0, 0, true);
        // The plane removes the mirror, and the word of it is lost.
        span.worlds[1].remove(EntryKind::Producer, "p");
        span.worlds[1].records.clear();
        span.publish(0, 0, false);
        let crossed = span.crossed[0];
        span.publish(0, 0, false);
        assert_eq!(span.crossed[0], crossed);
    }
}

#[test]
fn orders_may_come_again_and_mirrors_are_no_entries_of_the_table() {
    for instant in BOTH {
        let mut span = room(instant, &video(), [1, 1]);
        span.publish(0, 0, true);
        let before = (span.worlds[0].table(), span.worlds[1].table());
        assert!(before.1.producers.is_empty());
        assert_eq!(before.1.consumers, ["c1-0"]);
        let crossed = span.crossed;
        span.order(0, Order::SetProducer(video()));
        span.mirror(&video());
        span.order(1, Order::SetConsumer(view("c1-0")));
        assert_eq!(span.crossed, crossed);
        assert_eq!((span.worlds[0].table(), span.worlds[1].table()), before);
        span.publish(0, 0, false);
        assert_eq!(sources(&span.worlds[1].peers[0]), [1000, 1001]);
        let stats = Order::QueryStats(_native::wire::orders::QueryStats {
            ids: vec!["p".into()],
        });
        let answer = span.worlds[1].order(stats);
        assert_eq!(format!("{answer:?}"), "Data(Stats([]))");
    }
}

#[test]
fn a_producer_cannot_be_its_own_mirror() {
    for instant in BOTH {
        use _native::engine::OrderError;
        use _native::wire::orders::SetMirror;
        let mut span = room(instant, &video(), [0, 0]);
        let mirror = |home| Order::SetMirror(SetMirror { home, row: video() });
        assert_eq!(span.worlds[0].refusal(mirror(0)), OrderError::WrongWorker);
        assert_eq!(
            span.worlds[0].refusal(mirror(1)),
            OrderError::ImmutableField
        );
    }
}
