//! Tables, caches and queues have maxima, and say when they are reached.

use _native::engine::{Config, DropReason, Limits, OrderError};
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetTransport};

use crate::forwarding::{room_with, viewer};
use crate::support::rows::{self, Direction};
use crate::support::{S, World};

fn bounded(limits: Limits) -> World {
    let mut config = Config::new(0, 7);
    config.limits = limits;
    World::with(config, 1)
}

fn set(id: &str, direction: Direction) -> Order {
    Order::SetTransport(rows::transport(id, direction))
}

#[test]
fn full_tables_refuse_and_have_room_again_after_a_removal() {
    let limits = Limits {
        transports_max: 2,
        producers_per_transport_max: 1,
        consumers_max: 1,
        ..Limits::default()
    };
    let mut world = bounded(limits);
    world.order(set("a", Direction::Send));
    world.order(set("b", Direction::Recv));
    assert_eq!(
        world.refusal(set("c", Direction::Send)),
        OrderError::TableFull
    );
    world.order(set("a", Direction::Send));
    world.order(Order::SetProducer(rows::video(
        "p",
        "a",
        &[(None, Some(1))],
    )));
    let more = rows::audio("q", "a", 5);
    assert_eq!(
        world.refusal(Order::SetProducer(more.clone())),
        OrderError::TableFull
    );
    world.order(Order::SetConsumer(rows::view("v", "b", "p", 50)));
    let another = Order::SetConsumer(rows::view("w", "b", "p", 60));
    assert_eq!(world.refusal(another), OrderError::TableFull);
    world.remove(_native::wire::orders::EntryKind::Producer, "p");
    world.order(Order::SetProducer(more));
}

#[test]
fn the_cache_forgets_the_oldest_packets() {
    let limits = Limits {
        cache_packets_max: 64,
        ..Limits::default()
    };
    let mut world = room_with(bounded(limits), 1);
    world.publish(0, 0, true);
    for _ in 0..200 {
        world.publish(0, 0, false);
    }
    let numbers = viewer(&world, 0).sequence_numbers(5000);
    for lost in numbers.chunks(17) {
        let nack = world.peers[1].nack(5000, lost);
        world.send(1, nack);
    }
    let again: Vec<u16> = viewer(&world, 0)
        .media(5001)
        .iter()
        .filter_map(|one| one.original)
        .collect();
    assert_eq!(again, numbers[numbers.len() - 64..]);
}

#[test]
fn a_dtls_flood_is_cut_to_what_a_handshake_needs() {
    let mut world = bounded(Limits {
        dtls_per_second_max: 10,
        ..Limits::default()
    });
    let peer = world.join("t", Direction::Send);
    world.take_notices();
    for _ in 0..100 {
        world.send(peer, vec![22; 50]);
    }
    let passed = |world: &mut World| {
        let said = world.take_notices();
        said.iter()
            .filter(|one| matches!(one, Notice::DtlsReceived { .. }))
            .count()
    };
    assert_eq!(passed(&mut world), 10);
    assert_eq!(world.drops("t", DropReason::DtlsFlood), 90);
    world.advance(S / 2);
    for _ in 0..100 {
        world.send(peer, vec![22; 50]);
    }
    assert_eq!(passed(&mut world), 5);
}

#[test]
fn a_caller_that_does_not_drain_loses_media_and_not_memory() {
    let limits = Limits {
        cache_packets_max: 4096,
        ..Limits::default()
    };
    let mut world = room_with(bounded(limits), 1);
    world.publish(0, 0, true);
    let burst: Vec<Vec<u8>> = (0..3000)
        .map(|_| world.peers[0].next_packet(0, false))
        .collect();
    world.send_batch(0, burst);
    world.advance(0);
    let passed = viewer(&world, 0).media(5000).len() as u64 - 1;
    assert_eq!(
        passed + world.drops("send", DropReason::ForwardQueueFull),
        3000
    );
    assert_eq!(passed, 2048);
}

#[test]
fn what_is_longer_than_any_packet_is_dropped() {
    let mut world = room_with(bounded(Limits::default()), 0);
    world.send(0, vec![0x80; 3000]);
    assert_eq!(world.drops("send", DropReason::TooLong), 1);
}

#[test]
fn unread_notices_leave_oldest_first() {
    let mut world = bounded(Limits {
        notices_max: 3,
        ..Limits::default()
    });
    for id in ["a", "b", "c", "d", "e"] {
        let order = set(id, Direction::Send);
        world
            .engine
            .handle_order(world.now_ns, order)
            .expect("carried out");
    }
    for id in ["a", "b", "c", "d", "e"] {
        let peer = world.add_peer(id, _native::wire::orders::SrtpProfile::AeadAes128Gcm);
        let remote = world.peers[peer].address;
        let mut check = world.peers[peer].check(true);
        world
            .engine
            .handle_datagram(world.now_ns, remote, &mut check);
    }
    assert_eq!(world.engine.notices_dropped(), 2);
    let Some(Notice::IceStateChanged { transport, .. }) = world.engine.poll_notice() else {
        panic!("a transport connected");
    };
    assert_eq!(transport, "c");
}

#[test]
fn rows_that_make_no_sense_are_refused() {
    let mut world = bounded(Limits::default());
    let none = SetTransport {
        ice: Vec::new(),
        ..rows::transport("t", Direction::Send)
    };
    assert_eq!(
        world.refusal(Order::SetTransport(none)),
        OrderError::InvalidRow
    );
    let far = SetTransport {
        worker: 1,
        ..rows::transport("t", Direction::Send)
    };
    assert_eq!(
        world.refusal(Order::SetTransport(far)),
        OrderError::WrongWorker
    );
    world.order(set("t", Direction::Send));
    let same = SetTransport {
        transport: "u".into(),
        ..rows::transport("t", Direction::Send)
    };
    assert_eq!(
        world.refusal(Order::SetTransport(same)),
        OrderError::UfragInUse
    );
    world.order(Order::SetProducer(rows::video(
        "p",
        "t",
        &[(None, Some(1))],
    )));
    let taken = rows::audio("q", "t", 2);
    assert_eq!(
        world.refusal(Order::SetProducer(taken)),
        OrderError::SsrcInUse
    );
    let mut clash = rows::audio("q", "t", 5);
    clash.header_extensions[1].id = rows::RID;
    assert_eq!(
        world.refusal(Order::SetProducer(clash)),
        OrderError::ExtensionConflict
    );
    let mut empty = rows::audio("q", "t", 5);
    empty.codecs.clear();
    assert_eq!(
        world.refusal(Order::SetProducer(empty)),
        OrderError::InvalidRow
    );
    world.order(set("r", Direction::Recv));
    let mut foreign = rows::view("c", "r", "p", 50);
    foreign.codecs[0].payload_type = 35;
    assert_eq!(
        world.refusal(Order::SetConsumer(foreign)),
        OrderError::NoCommonCodec
    );
    let mut keys = crate::support::keys("t", _native::wire::orders::SrtpProfile::AeadAes128Gcm);
    keys.profile = _native::wire::orders::SrtpProfile::AeadAes256Gcm;
    assert_eq!(
        world.refusal(Order::SetSrtpKeys(keys)),
        OrderError::BadKeyLength
    );
    let left = world.table();
    assert_eq!((left.producers.len(), left.consumers.len()), (1, 0));
}
