//! Audio levels: five notices a second and room while somebody is heard, one when all fell silent.

use _native::wire::notices::{Level, Notice};
use _native::wire::orders::{Order, SetTransport};

use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

/// A speaker in a room, whose packets tell `level` (-dBov); its place among the peers.
fn speaker(world: &mut World, id: &str, room: &str, ssrc: u32, level: u8) -> usize {
    let place = world.join(id, Direction::Send);
    world.order(Order::SetTransport(SetTransport {
        room: room.into(),
        ..rows::transport(id, Direction::Send)
    }));
    world.order(Order::SetProducer(rows::audio(
        &format!("{id}-mic"),
        id,
        ssrc,
    )));
    speaks(world, place, ssrc, level);
    place
}

fn speaks(world: &mut World, place: usize, ssrc: u32, level: u8) {
    let stream = Stream::audio(ssrc);
    match world.peers[place].streams.first_mut() {
        Some(first) => first.extensions = vec![(rows::AUDIO_LEVEL, vec![level])],
        None => {
            let mut stream = stream;
            stream.extensions.push((rows::AUDIO_LEVEL, vec![level]));
            world.peers[place].add(stream);
        }
    }
}

fn told(world: &World, wanted: &str) -> Vec<Vec<Level>> {
    let said = world.notices.iter().filter_map(|notice| match notice {
        Notice::AudioLevels { room, levels, .. } if room == wanted => Some(levels.clone()),
        _ => None,
    });
    said.collect()
}

fn level(producer: &str, level: u8) -> Level {
    Level {
        producer: producer.into(),
        level,
    }
}

/// A second of sound from each of these peers.
fn second(world: &mut World, places: &[usize]) {
    for _ in 0..50 {
        for &place in places {
            world.publish(place, 0, false);
        }
        world.advance(20 * MS);
    }
}

#[test]
fn levels_of_each_room_are_told_five_times_a_second_loudest_first() {
    let mut world = World::new();
    // The first bit says that the sender believes it to be speech (RFC 6464).
    let quiet = speaker(&mut world, "a", "one", 1111, 0x80 | 50);
    let loud = speaker(&mut world, "b", "one", 2222, 20);
    let other = speaker(&mut world, "c", "two", 3333, 30);
    second(&mut world, &[quiet, loud, other]);
    let one = told(&world, "one");
    assert_eq!(one.len(), 5);
    assert_eq!(one[4], [level("b-mic", 20), level("a-mic", 50)]);
    assert_eq!(told(&world, "two")[4], [level("c-mic", 30)]);
}

#[test]
fn a_room_that_falls_silent_is_told_of_once() {
    let mut world = World::new();
    let place = speaker(&mut world, "a", "one", 1111, 20);
    second(&mut world, &[place]);
    speaks(&mut world, place, 1111, 127);
    world.notices.clear();
    second(&mut world, &[place]);
    second(&mut world, &[place]);
    let said = told(&world, "one");
    assert_eq!(said.last(), Some(&Vec::new()));
    assert!(said.iter().filter(|levels| levels.is_empty()).count() == 1);
}

#[test]
fn silence_by_absence_of_packets_is_told_too_and_then_no_timer_runs() {
    let mut world = World::new();
    let place = speaker(&mut world, "a", "one", 1111, 20);
    second(&mut world, &[place]);
    world.notices.clear();
    world.advance(1_000 * MS);
    assert_eq!(told(&world, "one").last(), Some(&Vec::new()));
    world.notices.clear();
    world.advance(1_000 * MS);
    assert_eq!(told(&world, "one"), Vec::<Vec<Level>>::new());
}

#[test]
fn a_paused_microphone_is_not_heard() {
    let mut world = World::new();
    let place = speaker(&mut world, "a", "one", 1111, 20);
    let mut row = rows::audio("a-mic", "a", 1111);
    row.paused = true;
    world.order(Order::SetProducer(row));
    second(&mut world, &[place]);
    assert_eq!(told(&world, "one"), Vec::<Vec<Level>>::new());
}
