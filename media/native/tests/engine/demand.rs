//! The publisher is told what nobody takes, and told again before it is needed.

use _native::engine::{DEMAND_GRACE_NS, DEMAND_HOLD_NS};
use _native::wire::notices::Notice;
use _native::wire::orders::{EntryKind, Order, Remove, SetConsumer, SetProducer};

use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::span::Span;
use crate::support::{MS, S, World};

const FRAME_NS: u64 = 40 * MS;
/// The plane looks every half second, a mirror every second.
const LOOK_NS: u64 = 500 * MS;

fn row() -> SetProducer {
    let encodings = [(None, Some(10)), (None, Some(20)), (None, Some(30))];
    rows::video("p", "send", &encodings)
}

/// A publisher of three encodings, and viewers whose consumers are there but not yet set.
fn room(viewers: usize) -> World {
    let mut world = World::new();
    publish(&mut world);
    for viewer in 0..viewers {
        world.join(&format!("recv{viewer}"), Direction::Recv);
    }
    world
}

fn publish(world: &mut World) {
    let publisher = world.join("send", Direction::Send);
    world.order(Order::SetProducer(row()));
    for ssrc in [10, 20, 30] {
        world.peers[publisher].add(Stream::video(ssrc));
    }
}

fn view(place: usize, spatial_layer: Option<u32>, paused: bool) -> Order {
    Order::SetConsumer(SetConsumer {
        spatial_layer,
        paused,
        ..rows::view(&format!("c{place}"), &format!("recv{place}"), "p", 5000)
    })
}

/// What was told, in order.
fn told(world: &World) -> Vec<Option<u32>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ProducerDemandChanged { spatial_layer, .. } => Some(*spatial_layer),
        _ => None,
    });
    said.collect()
}

/// A publisher that does as it is told sends for so long, keyframes when it begins and when asked.
struct Obedient {
    sends: [bool; 3],
    plis: [usize; 3],
}

impl Obedient {
    fn new() -> Self {
        Self {
            sends: [false; 3],
            plis: [0; 3],
        }
    }

    fn run(&mut self, world: &mut World, duration_ns: u64) {
        for _ in 0..duration_ns / FRAME_NS {
            let highest = told(world).last().copied().unwrap_or(Some(2));
            for (place, ssrc) in [10, 20, 30].into_iter().enumerate() {
                let sends = highest.is_some_and(|highest| place as u32 <= highest);
                let began = sends && !self.sends[place];
                self.sends[place] = sends;
                let plis = world.peers[0].plis(ssrc);
                let asked = plis > std::mem::replace(&mut self.plis[place], plis);
                if sends {
                    world.publish(0, place, began || asked);
                }
            }
            world.advance(FRAME_NS);
        }
    }
}

fn scores(world: &World) -> Vec<Vec<u32>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ProducerScore { scores, .. } => Some(scores.clone()),
        _ => None,
    });
    said.collect()
}

fn frozen(world: &World) -> bool {
    let said = |one: &Notice| matches!(one, Notice::ConsumerFrozen { .. });
    world.notices.iter().any(said)
}

#[test]
fn a_thousand_viewers_cost_one_notice() {
    let mut world = room(1000);
    let mut publisher = Obedient::new();
    publisher.run(&mut world, S);
    for place in 0..1000 {
        world.order(view(place, None, false));
    }
    assert_eq!(told(&world), [Some(2)]);
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    for place in 0..999 {
        let id = format!("c{place}");
        let kind = EntryKind::Consumer;
        world.order(Order::Remove(Remove { kind, id }));
    }
    publisher.run(&mut world, 2 * DEMAND_HOLD_NS);
    assert_eq!(told(&world), [Some(2)]);
}

#[test]
fn nothing_is_told_before_the_producer_has_flowed_for_a_while() {
    let mut world = room(0);
    world.advance(3 * DEMAND_GRACE_NS);
    assert!(told(&world).is_empty(), "it has not even begun");
    let mut publisher = Obedient::new();
    publisher.run(&mut world, DEMAND_GRACE_NS - LOOK_NS);
    assert!(told(&world).is_empty());
    publisher.run(&mut world, 3 * LOOK_NS);
    assert_eq!(told(&world), [None]);
}

#[test]
fn the_demand_is_the_highest_preference_of_those_who_are_not_paused() {
    let mut world = room(3);
    let mut publisher = Obedient::new();
    publisher.run(&mut world, S);
    world.order(view(0, Some(0), false));
    world.order(view(1, Some(1), false));
    world.order(view(2, None, true));
    assert_eq!(told(&world), [Some(0), Some(1)]);
    publisher.run(&mut world, DEMAND_GRACE_NS);
    world.order(view(2, None, false));
    assert_eq!(told(&world), [Some(0), Some(1), Some(2)]);
    publisher.run(&mut world, S);
    world.order(view(2, None, true));
    publisher.run(&mut world, DEMAND_HOLD_NS - LOOK_NS);
    assert_eq!(told(&world).len(), 3);
    publisher.run(&mut world, 3 * LOOK_NS);
    assert_eq!(told(&world)[3..], [Some(1)]);
    world.order(view(1, Some(7), false));
    assert_eq!(told(&world)[4..], [Some(2)], "no more than there is");
}

#[test]
fn one_who_goes_back_and_forth_is_told_at_a_bounded_rate() {
    let mut world = room(1);
    let mut publisher = Obedient::new();
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    let before = told(&world).len();
    for turn in 0..300 {
        world.order(view(0, None, turn % 2 == 0));
        publisher.run(&mut world, 2 * FRAME_NS);
    }
    assert_eq!(told(&world)[before..], [Some(2)]);
}

#[test]
fn unused_layers_rest_and_the_picture_rises_when_they_are_wanted() {
    let mut world = room(1);
    let mut publisher = Obedient::new();
    world.order(view(0, Some(0), false));
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    assert_eq!(told(&world), [Some(0)]);
    assert_eq!(publisher.sends, [true, false, false]);
    world.order(view(0, None, false));
    let asked_ns = world.now_ns;
    while !layers(&world).contains(&Some(2)) {
        publisher.run(&mut world, FRAME_NS);
        assert!(world.now_ns < asked_ns + 200 * MS, "the picture rises soon");
    }
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    assert_eq!(told(&world), [Some(0), Some(2)]);
    assert!(!frozen(&world));
}

#[test]
fn a_producer_that_nobody_takes_rests_without_fault_and_comes_back_at_once() {
    let mut world = room(1);
    let mut publisher = Obedient::new();
    world.order(view(0, None, false));
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    assert_eq!(scores(&world), [[10, 10, 10]]);
    world.order(view(0, None, true));
    publisher.run(&mut world, 4 * DEMAND_HOLD_NS);
    assert_eq!(publisher.sends, [false; 3]);
    world.order(view(0, None, false));
    let came = world.peers[1].media(5000).len();
    publisher.run(&mut world, 2 * FRAME_NS);
    assert!(
        world.peers[1].media(5000).len() > came,
        "first frame at once"
    );
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    assert_eq!(told(&world), [Some(2), None, Some(2)]);
    assert_eq!(scores(&world), [[10, 10, 10]], "rest is no loss");
    assert!(!frozen(&world));
}

#[test]
fn a_publisher_that_falls_silent_though_it_is_wanted_scores_nothing() {
    let mut world = room(1);
    world.order(view(0, None, false));
    Obedient::new().run(&mut world, 2 * DEMAND_GRACE_NS);
    world.advance(10 * S);
    assert_eq!(scores(&world).last(), Some(&vec![0, 0, 0]));
}

#[test]
fn a_publisher_that_rests_and_does_not_wake_is_silent_once_more() {
    let mut world = room(1);
    let mut publisher = Obedient::new();
    world.order(view(0, None, true));
    publisher.run(&mut world, 4 * DEMAND_GRACE_NS);
    assert_eq!(activity(&world), [true, false]);
    world.order(view(0, None, false));
    world.advance(20 * S);
    assert_eq!(activity(&world), [true, false, false]);
    publisher.run(&mut world, S);
    assert_eq!(activity(&world), [true, false, false, true]);
}

#[test]
fn silence_does_not_count_from_before_it_was_wanted_again() {
    let mut world = room(1);
    let mut publisher = Obedient::new();
    publisher.run(&mut world, 2 * DEMAND_GRACE_NS);
    world.order(view(0, None, false));
    publisher.run(&mut world, 10 * S);
    world.order(view(0, None, true));
    while told(&world).last() != Some(&None) {
        publisher.run(&mut world, FRAME_NS);
    }
    publisher.run(&mut world, 2_360 * MS);
    let before = activity(&world).len();
    world.order(view(0, None, false));
    world.advance(600 * MS);
    publisher.run(&mut world, 4 * S);
    assert_eq!(activity(&world)[before..], [], "it was not gone for long");
}

fn activity(world: &World) -> Vec<bool> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::ProducerActivityChanged { active, .. } => Some(*active),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_publisher_that_ignores_what_it_is_told_goes_on_working() {
    let mut world = room(1);
    let run = |world: &mut World, duration_ns: u64| {
        let mut publisher = Obedient::new();
        for _ in 0..duration_ns / FRAME_NS {
            for (place, ssrc) in [10, 20, 30].into_iter().enumerate() {
                let plis = world.peers[0].plis(ssrc);
                let asked = plis > std::mem::replace(&mut publisher.plis[place], plis);
                world.publish(0, place, asked);
            }
            world.advance(FRAME_NS);
        }
    };
    run(&mut world, 2 * DEMAND_GRACE_NS);
    assert_eq!(told(&world), [None]);
    world.order(view(0, None, false));
    run(&mut world, S);
    assert_eq!(told(&world), [None, Some(2)]);
    assert!(world.peers[1].media(5000).len() > 20);
}

fn layers(world: &World) -> Vec<Option<u32>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::LayersChanged { spatial_layer, .. } => Some(*spatial_layer),
        _ => None,
    });
    said.collect()
}

/// A viewer on each worker; the publisher is on worker 0.
fn span() -> Span {
    let mut span = Span::new(5);
    publish(&mut span.worlds[0]);
    for worker in 0..2 {
        span.worlds[worker].join(&format!("recv{worker}"), Direction::Recv);
    }
    span.mirror(&row());
    span
}

fn run(span: &mut Span, duration_ns: u64) {
    for turn in 0..duration_ns / FRAME_NS {
        for place in 0..3 {
            span.publish(0, place, turn % 25 == 0);
        }
        span.advance(FRAME_NS);
    }
}

#[test]
fn viewers_of_another_worker_count() {
    let mut span = span();
    span.order(0, view(0, Some(0), false));
    span.order(1, view(1, Some(1), false));
    assert_eq!(told(&span.worlds[0]), [Some(0), Some(1)]);
    run(&mut span, 2 * DEMAND_GRACE_NS);
    span.order(1, view(1, None, false));
    assert_eq!(told(&span.worlds[0])[2..], [Some(2)], "at once");
    span.order(1, view(1, None, true));
    run(&mut span, DEMAND_HOLD_NS + 4 * LOOK_NS);
    assert_eq!(told(&span.worlds[0])[3..], [Some(0)]);
    assert!(told(&span.worlds[1]).is_empty(), "the home tells it");
}

#[test]
fn a_mirror_that_is_gone_wants_nothing() {
    let mut span = span();
    span.order(1, view(1, None, false));
    run(&mut span, 2 * DEMAND_GRACE_NS);
    let kind = EntryKind::Consumer;
    span.order(
        1,
        Order::Remove(Remove {
            kind,
            id: "c1".into(),
        }),
    );
    run(&mut span, DEMAND_HOLD_NS + 4 * LOOK_NS);
    assert_eq!(told(&span.worlds[0]), [Some(2), None]);
}
