//! Layers inside of a stream (SVC) count as demand, for viewers of any worker, and rest without blame.

use _native::codec::vp9::Descriptor;
use _native::engine::{DEMAND_GRACE_NS, DEMAND_HOLD_NS};
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer, SetProducer};

use crate::support::peer::{Received, Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::span::Span;
use crate::support::{MS, S};

const FRAME_NS: u64 = 40 * MS;
const SSRC: u32 = 1111;
const VIEWED: u32 = 5000;
/// Until a mirror and then the home have looked, and less has held.
const RESTS_NS: u64 = 2 * DEMAND_GRACE_NS + DEMAND_HOLD_NS;

/// A publisher of one stream of three spatial layers, and a viewer on each of two workers.
struct Room {
    span: Span,
    picture: u16,
    layers: u8,
    plis: usize,
    is_obedient: bool,
}

impl Room {
    fn new(mode: &str, is_obedient: bool) -> Self {
        let mut span = Span::new(5);
        let publisher = span.worlds[0].join("send", Direction::Send);
        let row = row(mode);
        span.worlds[0].order(Order::SetProducer(row.clone()));
        let mut stream = Stream::video(SSRC);
        (stream.step, stream.picture) = (0, None);
        span.worlds[0].peers[publisher].add(stream);
        for worker in 0..2 {
            span.worlds[worker].join(&format!("recv{worker}"), Direction::Recv);
        }
        span.mirror(&row);
        Self {
            span,
            picture: 70,
            layers: 3,
            plis: 0,
            is_obedient,
        }
    }

    fn want(&mut self, worker: usize, spatial_layer: Option<u32>, paused: bool) {
        let id = format!("c{worker}");
        let mut row = SetConsumer {
            spatial_layer,
            paused,
            ..rows::view(&id, &format!("recv{worker}"), "p", VIEWED)
        };
        row.codecs[0].mime_type = "video/VP9".into();
        self.span.order(worker, Order::SetConsumer(row));
    }

    fn told(&self) -> Vec<Option<u32>> {
        let said = self.span.worlds[0].notices.iter();
        let said = said.filter_map(|notice| match notice {
            Notice::ProducerDemandChanged { spatial_layer, .. } => Some(*spatial_layer),
            _ => None,
        });
        said.collect()
    }

    fn run(&mut self, duration_ns: u64) {
        for _ in 0..duration_ns / FRAME_NS {
            let plis = self.span.worlds[0].peers[0].plis(SSRC);
            let mut key = self.picture == 70 || plis > std::mem::replace(&mut self.plis, plis);
            if self.is_obedient {
                let highest = self.told().last().copied().unwrap_or(Some(2));
                let layers = highest.map_or(0, |highest| highest as u8 + 1);
                key |= layers != std::mem::replace(&mut self.layers, layers);
            }
            self.send(key);
            self.span.advance(FRAME_NS);
        }
    }

    fn send(&mut self, key: bool) {
        let home = &mut self.span.worlds[0];
        for layer in 0..self.layers {
            let predicted = if key { 0 } else { 0x40 };
            let id = (self.picture | 0x8000).to_be_bytes();
            let upper = u8::from(layer > 0 && key);
            let mut payload = vec![0xac | predicted, id[0], id[1], layer << 1 | upper, 9];
            payload.resize(200 << layer, 7);
            home.peers[0].streams[0].marker = layer + 1 == self.layers;
            let datagram = home.peers[0].packet_with(0, &payload);
            home.send(0, datagram);
        }
        self.picture += 1;
        home.peers[0].streams[0].timestamp += 3_600;
        self.span.exchange();
    }

    /// The highest layers of what a viewer got since it had so many packets.
    fn seen(&self, worker: usize, before: usize) -> Vec<u8> {
        let all = self.media(worker);
        all[before..].iter().map(|one| layer(one)).collect()
    }

    fn media(&self, worker: usize) -> Vec<&Received> {
        let world = &self.span.worlds[worker];
        world.peers.last().expect("a viewer").media(VIEWED)
    }
}

fn row(mode: &str) -> SetProducer {
    let mut row = rows::video("p", "send", &[(None, Some(SSRC))]);
    row.codecs[0].mime_type = "video/VP9".into();
    row.encodings[0].scalability_mode = Some(mode.into());
    row
}

fn layer(received: &Received) -> u8 {
    let descriptor = Descriptor::parse(&received.payload).expect("VP9");
    descriptor.layers.expect("has layers").spatial_layer
}

#[test]
fn viewers_of_any_worker_wake_the_layer_that_they_want_and_no_other_viewer_notices() {
    for mode in ["L3T1", "L3T1_KEY"] {
        for worker in [0, 1] {
            let mut room = Room::new(mode, true);
            room.want(0, Some(0), false);
            room.want(1, Some(0), false);
            room.run(RESTS_NS);
            assert_eq!(room.told(), [Some(0)], "{mode}");
            assert_eq!(room.layers, 1);
            let before = [0, 1].map(|one| room.media(one).len());
            let asked = room.span.worlds[0].peers[0].plis(SSRC);
            room.want(worker, None, false);
            assert_eq!(room.told()[1..], [Some(2)], "{mode}: at once");
            room.run(2 * S);
            let seen = room.seen(worker, before[worker]);
            assert!(seen.contains(&2), "{mode}, {worker}: {seen:?}");
            let other = room.seen(1 - worker, before[1 - worker]);
            assert!(
                other.len() > 45 && other.iter().all(|&one| one == 0),
                "{mode}"
            );
            assert!(room.span.worlds[0].peers[0].plis(SSRC) <= asked + 1);
            room.want(worker, Some(1), false);
            room.run(RESTS_NS);
            assert_eq!(room.told()[2..], [Some(1)], "{mode}");
            for one in 0..2 {
                let sequence_numbers: Vec<u16> =
                    room.media(one).iter().map(|p| p.sequence_number).collect();
                assert_contiguous(&sequence_numbers);
            }
            let blamed = |one: &Notice| match one {
                Notice::ProducerActivityChanged { active, .. } => !active,
                Notice::ProducerScore { scores, .. } => scores.iter().any(|&one| one < 10),
                Notice::ConsumerFrozen { .. } => true,
                _ => false,
            };
            for world in &room.span.worlds {
                assert!(!world.notices.iter().any(blamed), "{mode}");
            }
        }
    }
}

#[test]
fn a_publisher_that_goes_on_sending_all_layers_is_left_to_it() {
    for mode in ["L3T1", "L3T1_KEY"] {
        let mut room = Room::new(mode, false);
        room.want(0, Some(0), false);
        room.run(RESTS_NS);
        assert_eq!(room.told(), [Some(0)]);
        let before = room.media(0).len();
        room.run(S);
        assert!(room.seen(0, before).iter().all(|&one| one == 0), "{mode}");
        room.want(0, Some(2), false);
        room.run(5 * S);
        let seen = room.seen(0, before);
        assert_eq!(seen.last(), Some(&2), "{mode}: {seen:?}");
        room.want(0, Some(2), true);
        room.run(RESTS_NS);
        assert_eq!(room.told(), [Some(0), Some(2), None], "{mode}");
    }
}
