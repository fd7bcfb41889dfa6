//! What a publisher's packets lose on their way is asked for, and comes as RTX.

use _native::engine::DropReason;

use crate::forwarding::{room, room_with, viewer};
use crate::support::peer::{Control, assert_contiguous, source_of};
use crate::support::{Link, MS, World};

#[test]
fn a_gap_is_nacked_and_the_retransmission_fills_it() {
    let mut world = room(1);
    world.peers[0].answers_nacks = true;
    world.publish(0, 0, true);
    world.peers[0].lose(0, 2);
    world.publish(0, 0, false);
    world.advance(200 * MS);
    assert!(
        world.peers[0]
            .rtcp
            .contains(&Control::Nack(1111, vec![1001, 1002]))
    );
    let mut sources: Vec<u64> = viewer(&world, 0)
        .media(5000)
        .iter()
        .map(|one| source_of(one))
        .collect();
    assert_eq!(sources, [1000, 1003, 1001, 1002], "forwarded as they came");
    sources.sort_unstable();
    let mut numbers = viewer(&world, 0).sequence_numbers(5000);
    numbers.sort_unstable();
    assert_contiguous(&numbers);
    let stream = world.stream("p", 0);
    assert_eq!((stream.packets, stream.retransmitted_packets), (2, 2));
    assert!(stream.nack_count >= 1);
}

#[test]
fn a_second_copy_is_counted_and_not_forwarded() {
    let mut world = room(1);
    world.publish(0, 0, true);
    world.publish(0, 0, false);
    let copy = world.peers[0].rtx(0, 1001);
    world.send(0, copy);
    assert_eq!(viewer(&world, 0).media(5000).len(), 2);
    assert_eq!(world.drops("send", DropReason::Duplicate), 1);
    assert_eq!(world.stream("p", 0).packets_discarded, 1);
}

#[test]
fn a_keyframe_whose_first_packet_comes_late_is_still_shown() {
    let mut world = room(1);
    world.peers[0].answers_nacks = true;
    world.publish(0, 0, false);
    // The keyframe is lost; the frames after it can't be shown without it.
    world.peers[0].next_packet(0, true);
    world.publish(0, 0, false);
    world.publish(0, 0, false);
    assert_eq!(viewer(&world, 0).media(5000).len(), 0);
    world.advance(200 * MS);
    let sources: Vec<u64> = viewer(&world, 0)
        .media(5000)
        .iter()
        .map(|one| source_of(one))
        .collect();
    assert_eq!(sources, [1001, 1002, 1003]);
    assert_contiguous(&viewer(&world, 0).sequence_numbers(5000));
}

#[test]
fn on_a_lossy_path_nearly_all_packets_arrive_in_the_end() {
    let mut world = room_with(World::with(_native::engine::Config::new(0, 3), 11), 1);
    world.peers[0].answers_nacks = true;
    world.publish(0, 0, true);
    world.peers[1].watch(5000);
    world.link = Link {
        loss_permille: 50,
        delay_ns: 10 * MS,
        jitter_ns: 5 * MS,
    };
    for _ in 0..1000 {
        world.publish(0, 0, false);
        world.advance(10 * MS);
        for nack in world.peers[1].poll_nacks(world.now_ns) {
            world.send(1, nack);
        }
    }
    world.link.loss_permille = 0;
    world.advance(1000 * MS);
    let sources: std::collections::BTreeSet<u64> =
        viewer(&world, 0).rtp.iter().map(source_of).collect();
    assert!(sources.len() >= 995, "{} of 1001 packets", sources.len());
    assert_eq!(viewer(&world, 0).unreadable, 0);
    assert!(world.stream("p", 0).retransmitted_packets > 20);
    assert!(world.stream("c0", 0).retransmitted_packets > 20);
}
