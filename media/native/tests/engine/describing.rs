//! The table tells a controller that comes late what the notices told the one before.

use _native::rtcp::ReportBlock;
use _native::wire::answers::{ConsumerEntry, EncodingEntry, ProducerEntry};
use _native::wire::notices::Notice;
use _native::wire::orders::{EntryKind, Order, Remove};

use crate::forwarding::room;
use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::{MS, S, World};

/// What somebody knows who heard every notice.
fn heard(world: &World) -> (ProducerEntry, ConsumerEntry) {
    let mut producer = ProducerEntry {
        producer: "p".into(),
        demand: Some(0),
        scores: vec![0],
        encodings: vec![EncodingEntry {
            ssrc: Some(1111),
            rtx_ssrc: Some(1112),
        }],
        ..ProducerEntry::default()
    };
    let mut consumer = ConsumerEntry {
        consumer: "c0".into(),
        ..ConsumerEntry::default()
    };
    for notice in &world.notices {
        match notice.clone() {
            Notice::ProducerActivityChanged { active, .. } => producer.active = active,
            Notice::ProducerDemandChanged { spatial_layer, .. } => producer.demand = spatial_layer,
            Notice::ProducerScore { scores, .. } => producer.scores = scores,
            Notice::LayersChanged {
                spatial_layer,
                temporal_layer,
                ..
            } => {
                (consumer.spatial_layer, consumer.temporal_layer) = (spatial_layer, temporal_layer)
            }
            Notice::ConsumerFrozen { frozen, .. } => consumer.frozen = frozen,
            Notice::ConsumerScore { score, .. } => consumer.score = Some(score),
            _ => {}
        }
    }
    (producer, consumer)
}

/// What the table says, but for what notices need not have told: why, and a score seen since.
fn described(world: &mut World) -> (ProducerEntry, ConsumerEntry) {
    let mut table = world.table();
    let mut consumer = table.consumer_entries.remove(0);
    consumer.reason.clear();
    consumer.producer_score = 0;
    (table.producer_entries.remove(0), consumer)
}

#[test]
fn the_table_follows_the_notices() {
    let mut world = room(1);
    assert_eq!(described(&mut world), heard(&world));
    let mut seen = vec![heard(&world)];
    let mut look = |world: &mut World| {
        assert_eq!(described(world), heard(world));
        seen.push(heard(world));
    };
    for number in 0..100 {
        world.publish(0, 0, number == 0);
        world.advance(20 * MS);
    }
    look(&mut world);
    let block = ReportBlock {
        ssrc: 5000,
        fraction_lost: 128,
        ..ReportBlock::default()
    };
    let report = world.peers[1].receiver_report(block);
    world.send(1, report);
    look(&mut world);
    world.advance(4 * S);
    look(&mut world);
    // Packets again, but not the keyframe that the viewer waits for.
    for _ in 0..200 {
        world.publish(0, 0, false);
        world.advance(20 * MS);
    }
    look(&mut world);
    // Nobody wants it any more.
    world.order(Order::Remove(Remove {
        kind: EntryKind::Consumer,
        id: "c0".into(),
    }));
    for _ in 0..400 {
        world.publish(0, 0, false);
        world.advance(20 * MS);
    }
    let entry = world.table().producer_entries.remove(0);
    assert_eq!((&entry, entry.demand), (&heard(&world).0, None));
    let (producers, consumers): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    assert!(producers.iter().any(|one| one.active) && producers.iter().any(|one| !one.active));
    assert!(producers.iter().any(|one| one.scores == [10]));
    assert!(consumers.iter().any(|one| one.spatial_layer == Some(0)));
    assert!(consumers.iter().any(|one| one.score == Some(1)));
}

#[test]
fn what_was_learned_is_in_the_table() {
    let mut world = World::new();
    world.join("send", Direction::Send);
    world.order(Order::SetProducer(rows::video(
        "p",
        "send",
        &[(None, None)],
    )));
    let unknown = EncodingEntry::default();
    assert_eq!(world.table().producer_entries[0].encodings, [unknown]);
    let stream = world.peers[0].add(Stream::video(20).with(rows::MID, "p"));
    world.publish(0, stream, true);
    let known = EncodingEntry {
        ssrc: Some(20),
        rtx_ssrc: None,
    };
    assert_eq!(world.table().producer_entries[0].encodings, [known]);
}
