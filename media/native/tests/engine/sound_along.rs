//! Sound that comes while pictures are being sent goes along with them, and nothing else changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use _native::wire::orders::{EntryKind, Order, Remove};
use proptest::prelude::*;

use crate::support::World;
use crate::support::peer::{Stream, assert_contiguous, source_of};
use crate::support::rows::{self, Direction, VIEWER_TRANSPORT_CC};

const PICTURES: u32 = 5000;
const SOUND: u32 = 6000;
const OTHER_SOUND: u32 = 7000;

/// Sends after which a chunk of viewers ends: 1, 2, 4 and 8 of them.
const CHUNKS: usize = 15;

/// The streams of the publisher.
const VIDEO: usize = 0;
const AUDIO: usize = 1;

/// A publisher with camera and microphone, and viewers of both.
struct Hall {
    world: World,
    /// What each send was: to whom, and the SSRCs of its packets.
    sends: Vec<(SocketAddr, Vec<u32>)>,
}

impl Hall {
    fn new(viewers: usize) -> Self {
        let mut world = World::new();
        let publisher = world.join("send", Direction::Send);
        let video = rows::video("p", "send", &[(None, Some(1111))]);
        world.order(Order::SetProducer(video));
        world.order(Order::SetProducer(rows::audio("s", "send", 2222)));
        world.peers[publisher].add(Stream::video(1111));
        world.peers[publisher].add(Stream::audio(2222));
        for viewer in 0..viewers {
            let transport = format!("recv{viewer}");
            world.join(&transport, Direction::Recv);
            let view = rows::view(&format!("v{viewer}"), &transport, "p", PICTURES);
            let mut listen = rows::listen(&format!("a{viewer}"), &transport, "s", SOUND);
            listen.header_extensions = view.header_extensions.clone();
            world.order(Order::SetConsumer(view));
            world.order(Order::SetConsumer(listen));
        }
        let mut hall = Self {
            world,
            sends: Vec::new(),
        };
        hall.take(VIDEO, true, 100);
        hall.take(AUDIO, false, 20);
        hall.send(usize::MAX);
        hall.sends.clear();
        hall
    }

    /// Another publisher, of sound alone, which so many viewers hear; its place among the peers.
    fn add_other(&mut self, viewers: usize) -> usize {
        let other = self.world.join("other", Direction::Send);
        let row = rows::audio("s2", "other", 3333);
        self.world.order(Order::SetProducer(row));
        self.world.peers[other].add(Stream::audio(3333));
        for viewer in 0..viewers {
            let transport = format!("recv{viewer}");
            let mut row = rows::listen(&format!("b{viewer}"), &transport, "s2", OTHER_SOUND);
            row.header_extensions = rows::view("", "", "", 0).header_extensions;
            self.world.order(Order::SetConsumer(row));
        }
        other
    }

    /// A packet of the publisher comes in.
    fn take(&mut self, stream: usize, keyframe: bool, len: usize) {
        let publisher = &mut self.world.peers[0];
        let mut packet = publisher.next_packet_of(stream, keyframe, len);
        self.take_in(0, &mut packet);
    }

    /// A packet of the first stream of another publisher comes in.
    fn take_of(&mut self, publisher: usize, keyframe: bool, len: usize) {
        let mut packet = self.world.peers[publisher].next_packet_of(0, keyframe, len);
        self.take_in(publisher, &mut packet);
    }

    fn take_in(&mut self, publisher: usize, packet: &mut [u8]) {
        let (now_ns, address) = (self.world.now_ns, self.world.peers[publisher].address);
        self.world.engine.handle_datagram(now_ns, address, packet);
    }

    /// At most so many sends leave, and arrive; how many there were.
    fn send(&mut self, most: usize) -> usize {
        let now_ns = self.world.now_ns;
        for count in 0..most {
            let Some(transmit) = self.world.engine.poll_transmit(64) else {
                return count;
            };
            let (remote, peers) = (transmit.remote, &mut self.world.peers);
            let peer = peers.iter_mut().find(|one| one.address == remote);
            let peer = peer.expect("somebody's address");
            let before = peer.rtp.len();
            for datagram in transmit.datagrams() {
                peer.receive(now_ns, datagram);
            }
            let ssrcs: Vec<u32> = peer.rtp[before..].iter().map(|one| one.ssrc).collect();
            if !ssrcs.is_empty() {
                self.sends.push((remote, ssrcs));
            }
        }
        most
    }

    /// Every viewer got all that was published so far, once and in order, numbered as it was sent.
    fn assert_whole(&self, pictures: usize, sounds: usize) {
        for viewer in &self.world.peers[1..] {
            assert_eq!(viewer.unreadable, 0);
            for (ssrc, count) in [(PICTURES, pictures), (SOUND, sounds)] {
                let sources: Vec<u64> = viewer.media(ssrc).into_iter().map(source_of).collect();
                let expected: Vec<u64> = (1000..1000 + count as u64).collect();
                assert_eq!(sources, expected, "of {ssrc}");
                assert_contiguous(&viewer.sequence_numbers(ssrc));
            }
            let numbers: Vec<u16> = viewer
                .rtp
                .iter()
                .map(|one| &one.extensions[&VIEWER_TRANSPORT_CC])
                .map(|value| u16::from_be_bytes([value[0], value[1]]))
                .collect();
            assert_contiguous(&numbers);
        }
    }

    /// How many sends each viewer got.
    fn sends_of_each(&self) -> Vec<usize> {
        let mut counts = BTreeMap::new();
        for (remote, _) in &self.sends {
            *counts.entry(*remote).or_default() += 1;
        }
        counts.into_values().collect()
    }
}

#[test]
fn sound_that_came_with_pictures_is_the_end_of_their_run() {
    let mut hall = Hall::new(40);
    for _ in 0..3 {
        hall.take(VIDEO, false, 1_000);
    }
    hall.take(AUDIO, false, 90);
    hall.send(usize::MAX);
    assert_eq!(hall.sends.len(), 40);
    let run = [PICTURES, PICTURES, PICTURES, SOUND];
    assert!(hall.sends.iter().all(|(_, ssrcs)| *ssrcs == run));
    hall.assert_whole(4, 2);
}

#[test]
fn sound_that_comes_while_pictures_are_sent_goes_along_to_those_who_wait() {
    let mut hall = Hall::new(48);
    hall.take(VIDEO, false, 1_000);
    hall.take(VIDEO, false, 1_000);
    assert_eq!(hall.send(CHUNKS), CHUNKS);
    hall.take(AUDIO, false, 90);
    hall.send(usize::MAX);
    // So many had their pictures before: they get it by itself, and last.
    assert_eq!(hall.sends.len(), 48 + CHUNKS);
    let (along, alone) = hall.sends[CHUNKS..].split_at(48 - CHUNKS);
    let run = [PICTURES, PICTURES, SOUND];
    assert!(along.iter().all(|(_, ssrcs)| *ssrcs == run));
    assert!(alone.iter().all(|(_, ssrcs)| *ssrcs == [SOUND]));
    hall.assert_whole(3, 2);
}

#[test]
fn pictures_that_come_while_sound_is_sent_take_the_rest_of_it_along() {
    let mut hall = Hall::new(48);
    hall.take(AUDIO, false, 90);
    assert_eq!(hall.send(CHUNKS), CHUNKS);
    hall.take(VIDEO, false, 1_000);
    hall.take(VIDEO, false, 1_000);
    hall.send(usize::MAX);
    assert_eq!(hall.sends.len(), CHUNKS + 48);
    let both = hall.sends.iter().filter(|(_, ssrcs)| ssrcs.len() == 3);
    assert_eq!(both.count(), 48 - CHUNKS);
    hall.assert_whole(3, 2);
}

#[test]
fn pictures_do_not_overtake_who_waits_before_them() {
    let mut hall = Hall::new(48);
    let other = hall.add_other(48);
    hall.take(AUDIO, false, 90);
    hall.send(CHUNKS);
    hall.take_of(other, false, 90);
    hall.take(VIDEO, false, 1_000);
    hall.send(usize::MAX);
    let kinds: Vec<u32> = hall.sends.iter().map(|(_, ssrcs)| ssrcs[0]).collect();
    assert!(kinds[..48].iter().all(|&ssrc| ssrc == SOUND));
    assert!(kinds[48..96].iter().all(|&ssrc| ssrc == OTHER_SOUND));
    assert!(kinds[96..].iter().all(|&ssrc| ssrc == PICTURES));
    assert_eq!(kinds.len(), 3 * 48);
}

#[test]
fn a_batch_begins_with_few_viewers_so_that_it_can_grow() {
    let mut hall = Hall::new(48);
    hall.take(VIDEO, false, 1_000);
    // The rest of the frame comes while the first send is under way.
    assert_eq!(hall.send(1), 1);
    for _ in 0..5 {
        hall.take(VIDEO, false, 1_000);
    }
    hall.send(usize::MAX);
    assert_eq!(hall.sends.len(), 48 + 1);
    hall.assert_whole(7, 1);
}

#[test]
fn who_has_no_pictures_gets_the_sound_in_its_turn() {
    let mut hall = Hall::new(3);
    hall.world.join("deaf", Direction::Recv);
    let row = rows::view("v-deaf", "deaf", "p", PICTURES);
    hall.world.order(Order::SetConsumer(row));
    hall.world.join("blind", Direction::Recv);
    let row = rows::listen("a-blind", "blind", "s", SOUND);
    hall.world.order(Order::SetConsumer(row));
    let mut paused = rows::listen("a1", "recv1", "s", SOUND);
    paused.header_extensions = rows::view("", "", "", 0).header_extensions;
    paused.paused = true;
    hall.world.order(Order::SetConsumer(paused));
    hall.take(VIDEO, true, 1_000);
    hall.take(AUDIO, false, 90);
    hall.send(usize::MAX);
    let got = |place: usize| hall.world.peers[place].rtp.last().map(|one| one.ssrc);
    assert_eq!([got(1), got(2), got(3)], [SOUND, PICTURES, SOUND].map(Some));
    assert_eq!([got(4), got(5)], [PICTURES, SOUND].map(Some));
}

#[test]
fn sound_of_another_publisher_has_its_own_turn() {
    let mut hall = Hall::new(20);
    let other = hall.add_other(20);
    hall.take(VIDEO, false, 1_000);
    hall.take_of(other, false, 90);
    hall.send(usize::MAX);
    assert!(
        hall.sends[..20]
            .iter()
            .all(|(_, ssrcs)| *ssrcs == [PICTURES])
    );
    assert!(
        hall.sends[20..]
            .iter()
            .all(|(_, ssrcs)| *ssrcs == [OTHER_SOUND])
    );
    assert_eq!(hall.sends.len(), 40);
}

#[test]
fn streams_that_end_while_they_are_sent_are_not_sent_on() {
    for gone in ["p", "s"] {
        let mut hall = Hall::new(48);
        hall.take(VIDEO, false, 1_000);
        hall.take(AUDIO, false, 90);
        hall.send(CHUNKS);
        let remove = Order::Remove(Remove {
            kind: EntryKind::Producer,
            id: gone.into(),
        });
        let now_ns = hall.world.now_ns;
        let removed = hall.world.engine.handle_order(now_ns, remove);
        removed.expect("it was there");
        hall.sends.clear();
        hall.send(usize::MAX);
        let kept = if gone == "p" { SOUND } else { PICTURES };
        assert_eq!(hall.sends.len(), 48 - CHUNKS, "without {gone}");
        assert!(hall.sends.iter().all(|(_, ssrcs)| *ssrcs == [kept]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However pictures and sound come in, and however far sending has got, everybody gets all, once
    /// and in order, in no more sends than if each came by itself.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        viewers in prop_oneof![1..6_usize, 30..50_usize],
        steps in prop::collection::vec((any::<bool>(), 1..4_usize, 0..40_usize), 1..24),
    ) {
        let mut hall = Hall::new(viewers);
        let (mut pictures, mut sounds) = (1, 1);
        for (is_video, count, sends) in steps {
            for _ in 0..count {
                match is_video {
                    true => hall.take(VIDEO, false, 1_000),
                    false => hall.take(AUDIO, false, 90),
                }
            }
            *if is_video { &mut pictures } else { &mut sounds } += count;
            hall.send(sends);
        }
        hall.send(usize::MAX);
        hall.assert_whole(pictures, sounds);
        for sends in hall.sends_of_each() {
            prop_assert!(sends <= pictures + sounds - 2);
        }
    }
}
