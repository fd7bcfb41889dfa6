//! Frozen recordings: what came, left and was dropped, as entries of a chunk.

use _native::engine::{DropReason, OrderError};
use _native::wire::notices::Notice;
use _native::wire::orders::{FreezeRecorder, Order};

use crate::forwarding::room;
use crate::support::{MS, S, World};

/// (class, out, reason, captured bytes, length)
type Entry = (u8, bool, u8, Vec<u8>, u16);

fn freeze(world: &mut World, transport: &str) -> Vec<Entry> {
    world.order(Order::FreezeRecorder(FreezeRecorder {
        transport: transport.into(),
        reason: "test".into(),
        position: 7,
    }));
    let mut entries = Vec::new();
    for notice in std::mem::take(&mut world.notices) {
        if let Notice::Recording { data, position, .. } = notice {
            assert_eq!(position, 7);
            entries.extend(read(&data));
        }
    }
    entries
}

fn read(chunk: &[u8]) -> Vec<Entry> {
    assert_eq!(chunk[0], 1);
    let mut at = 10;
    for _ in 0..chunk[9] {
        at += 1 + usize::from(chunk[at]);
    }
    let mut entries = Vec::new();
    while at < chunk.len() {
        let head = &chunk[at..at + 12];
        let captured = chunk[at + 12..at + 12 + usize::from(head[7])].to_vec();
        let length = u16::from_le_bytes([head[8], head[9]]);
        at += 12 + captured.len();
        entries.push((head[4], head[5] & 1 != 0, head[6], captured, length));
    }
    entries
}

#[test]
fn viewers_recording_has_the_headers_that_it_was_sent() {
    let mut world = room(1);
    for step in 0..50 {
        world.publish(0, 0, step == 0);
        world.advance(20 * MS);
    }
    let sent = world.peers[1].sequence_numbers(5000);
    let entries = freeze(&mut world, "recv0");
    let told: Vec<u16> = entries
        .iter()
        .filter(|(class, out, ..)| *class == 1 && *out)
        .map(|(_, _, _, header, _)| {
            assert_eq!(header[8..12], 5000_u32.to_be_bytes());
            u16::from_be_bytes([header[2], header[3]])
        })
        .collect();
    assert_eq!(told.len(), 50);
    assert_eq!(sent.len(), 50);
    // The check before the first packet, its answer, and reports later on.
    assert!(entries.iter().any(|one| one.0 == 3 && !one.1));
    assert!(entries.iter().any(|one| one.0 == 3 && one.1));
    assert!(
        entries
            .iter()
            .any(|one| one.0 == 2 && one.1 && one.3[1] == 200)
    );
}

#[test]
fn publishers_recording_says_what_was_dropped_and_why() {
    let mut world = room(0);
    let packet = world.peers[0].next_packet(0, true);
    world.send(0, packet.clone());
    world.send(0, packet.clone());
    let mut forged = world.peers[0].next_packet(0, false);
    *forged.last_mut().expect("some") ^= 1;
    world.send(0, forged);
    let entries = freeze(&mut world, "send");
    let reasons: Vec<u8> = entries
        .iter()
        .filter(|(class, out, ..)| *class == 1 && !*out)
        .map(|one| one.2)
        .collect();
    let code = |reason: DropReason| reason as u8 + 1;
    assert_eq!(
        reasons,
        [
            0,
            code(DropReason::SrtpReplay),
            code(DropReason::SrtpForged)
        ]
    );
}

#[test]
fn nothing_secret_is_in_a_recording() {
    let mut world = room(1);
    for step in 0..20 {
        world.publish(0, 0, step == 0);
        world.check(1, true);
        world.advance(20 * MS);
    }
    for transport in ["send", "recv0"] {
        for (class, _, _, captured, _) in freeze(&mut world, transport) {
            let most = match class {
                3 => 20,
                4 => 13,
                _ => 64,
            };
            assert!(captured.len() <= most);
            // The ufrag of a transport is its name here, and stands in each check's USERNAME.
            let name = transport.as_bytes();
            assert!(!captured.windows(name.len()).any(|part| part == name));
        }
    }
}

#[test]
fn recording_reaches_back_thirty_seconds_and_is_repeatable() {
    let mut world = room(1);
    for step in 0..4000 {
        if step % 500 == 0 {
            world.check(0, true);
            world.check(1, true);
        }
        world.publish(0, 0, step == 0);
        world.advance(10 * MS);
    }
    let media = |entries: &[Entry]| entries.iter().filter(|one| one.0 == 1).count();
    let first = freeze(&mut world, "recv0");
    assert!((2950..=3050).contains(&media(&first)), "{}", media(&first));
    let second = freeze(&mut world, "recv0");
    assert_eq!(media(&first), media(&second));
    world.advance(31 * S);
    assert_eq!(media(&freeze(&mut world, "recv0")), 0);
}

#[test]
fn transport_that_is_not_there_has_no_recording() {
    let mut world = World::new();
    let order = Order::FreezeRecorder(FreezeRecorder {
        transport: "nobody".into(),
        reason: "test".into(),
        position: 1,
    });
    assert_eq!(world.refusal(order), OrderError::UnknownTransport);
}
