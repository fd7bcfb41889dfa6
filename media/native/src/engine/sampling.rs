//! Once a second: what each entity of each room did, as a telemetry frame a room.
//!
//! The sampler keeps each room's table in a fixed order, and for every row the counters of the
//! second before. It touches nothing on the packet path.

use std::collections::{HashMap, HashSet};

use serde_bytes::ByteBuf;

use super::Engine;
use super::consumer::Consumer;
use super::encoding::Encoding;
use super::table::{ConsumerKey, ProducerKey, Table, TransportKey};
use super::timers::{Armed, Timer};
use super::transport::Transport;
use crate::telemetry::{Changes, ENTITIES_MAX, Encoder, EntityId, Head};
use crate::wire::notices::{IceState, Notice};

/// Between two samples. They are taken at full seconds of the engine's clock.
pub(crate) const SAMPLE_NS: u64 = 1_000_000_000;

/// Counters of one row that are told as differences.
const COUNTERS: usize = 8;

type Counters = [i64; COUNTERS];

/// What a row of a room's table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Transport(TransportKey),
    Encoding(ProducerKey, u8),
    Consumer(ConsumerKey),
}

#[derive(Debug)]
struct Row {
    subject: Subject,
    counters: Counters,
}

/// One room's tables: of transports, of encodings, of consumers.
#[derive(Debug, Default)]
struct Room {
    rows: [Vec<Row>; 3],
    known: HashSet<Subject>,
    encoder: Encoder,
    sampled_ns: u64,
}

/// The rooms of an engine. A room without transports is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    pub(super) timer: Armed,
    places: HashMap<String, usize>,
    rooms: Vec<(String, Room)>,
}

impl Engine {
    /// Has rooms sampled from now on, if they are to be.
    pub(super) fn arm_sampling(&mut self, now_ns: u64) {
        if self.config.telemetry {
            let at_ns = (now_ns / SAMPLE_NS + 1) * SAMPLE_NS;
            self.timers
                .arm(&mut self.sampler.timer, at_ns, Timer::Sample);
        }
    }
}

pub(super) fn handle_sample(engine: &mut Engine, now_ns: u64) {
    let unix_ns = engine.unix_ns(now_ns);
    let Engine {
        table,
        sampler,
        notices,
        config,
        ..
    } = engine;
    for (name, transports) in by_room(table) {
        let place = *sampler.places.entry(name.clone()).or_insert_with(|| {
            sampler.rooms.push((name, Room::default()));
            sampler.rooms.len() - 1
        });
        let (name, room) = &mut sampler.rooms[place];
        let data = room.sample(table, &transports, now_ns, config.worker);
        notices.push(Notice::Telemetry {
            room: name.clone(),
            at_ns: unix_ns,
            data: ByteBuf::from(data),
        });
    }
    sampler.rooms.retain(|(_, room)| room.sampled_ns == now_ns);
    sampler.places.clear();
    for (place, (name, _)) in sampler.rooms.iter().enumerate() {
        sampler.places.insert(name.clone(), place);
    }
    if !engine.sampler.rooms.is_empty() {
        engine.arm_sampling(now_ns);
    }
}

/// The transports of each room, rooms in the order of their first transport.
fn by_room(table: &Table) -> Vec<(String, Vec<TransportKey>)> {
    let mut rooms: Vec<(String, Vec<TransportKey>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (key, transport) in table.transports.entries() {
        let name = transport.row.room.as_str();
        if name.is_empty() {
            continue;
        }
        let place = *places.entry(name).or_insert_with(|| {
            rooms.push((name.to_owned(), Vec::new()));
            rooms.len() - 1
        });
        rooms[place].1.push(key);
    }
    rooms
}

impl Room {
    fn sample(
        &mut self,
        table: &Table,
        transports: &[TransportKey],
        now_ns: u64,
        worker: u32,
    ) -> Vec<u8> {
        let interval_ns = match self.sampled_ns {
            0 => SAMPLE_NS,
            before => now_ns.saturating_sub(before).max(1),
        };
        self.sampled_ns = now_ns;
        let mut changes: [Changes; 3] = Default::default();
        self.drop_gone(table, &mut changes);
        self.add_new(table, transports, &mut changes);
        for (rows, change) in self.rows.iter_mut().zip(&mut changes) {
            for row in rows {
                measure(table, row, interval_ns, &mut change.values);
            }
        }
        let head = Head {
            worker,
            interval_us: interval_ns / 1000,
        };
        self.encoder.encode(head, changes)
    }

    fn drop_gone(&mut self, table: &Table, changes: &mut [Changes; 3]) {
        for (rows, change) in self.rows.iter_mut().zip(changes) {
            let mut place = 0;
            rows.retain(|row| {
                let stays = is_there(table, row.subject);
                if !stays {
                    change.removed.push(place);
                    self.known.remove(&row.subject);
                }
                place += 1;
                stays
            });
        }
    }

    fn add_new(&mut self, table: &Table, transports: &[TransportKey], changes: &mut [Changes; 3]) {
        for &key in transports {
            let Some(transport) = table.transports.get(key) else {
                continue;
            };
            let id = || transport.row.transport.clone();
            self.add(0, Subject::Transport(key), id, 0, changes);
            for &producer in &transport.producers {
                let Some(entry) = table.producers.get(producer) else {
                    continue;
                };
                for encoding in 0..entry.encodings.len() as u8 {
                    let subject = Subject::Encoding(producer, encoding);
                    self.add(1, subject, || entry.row.producer.clone(), encoding, changes);
                }
            }
            for &consumer in &transport.consumers {
                let Some(entry) = table.consumers.get(consumer) else {
                    continue;
                };
                let id = || entry.row.consumer.clone();
                self.add(2, Subject::Consumer(consumer), id, 0, changes);
            }
        }
    }

    fn add(
        &mut self,
        kind: usize,
        subject: Subject,
        id: impl Fn() -> String,
        encoding: u8,
        changes: &mut [Changes; 3],
    ) {
        if self.known.contains(&subject) || self.rows[kind].len() >= ENTITIES_MAX / 3 {
            return;
        }
        self.known.insert(subject);
        let counters = Counters::default();
        self.rows[kind].push(Row { subject, counters });
        let id = id();
        changes[kind].added.push(EntityId { id, encoding });
    }
}

fn is_there(table: &Table, subject: Subject) -> bool {
    match subject {
        Subject::Transport(key) => table.transports.get(key).is_some(),
        Subject::Encoding(key, place) => table
            .producers
            .get(key)
            .is_some_and(|one| usize::from(place) < one.encodings.len()),
        Subject::Consumer(key) => table.consumers.get(key).is_some(),
    }
}

/// Appends the coded values of one row, in the order of the kind's metrics.
fn measure(table: &Table, row: &mut Row, interval_ns: u64, out: &mut Vec<i64>) {
    match row.subject {
        Subject::Transport(key) => {
            let transport = table.transports.get(key).expect("looked up before");
            of_transport(transport, &mut row.counters, interval_ns, out);
        }
        Subject::Encoding(key, place) => {
            let producer = table.producers.get(key).expect("looked up before");
            let encoding = &producer.encodings[usize::from(place)];
            let score = producer.scores.get(usize::from(place)).copied();
            of_encoding(encoding, score, &mut row.counters, interval_ns, out);
        }
        Subject::Consumer(key) => {
            let consumer = table.consumers.get(key).expect("looked up before");
            of_consumer(consumer, &mut row.counters, interval_ns, out);
        }
    }
}

/// How far counters went since the sample before. One that fell began anew.
fn advance(before: &mut Counters, now: Counters) -> Counters {
    let mut gone = now;
    for (gone, before) in gone.iter_mut().zip(before.iter()) {
        if *gone >= *before {
            *gone -= before;
        }
    }
    *before = now;
    gone
}

/// Kilobits a second, to the nearest.
fn kbps(bytes: i64, interval_ns: u64) -> i64 {
    let interval_ns = i128::from(interval_ns.max(1));
    let bits_e6 = i128::from(bytes) * 8 * 1_000_000;
    i64::try_from((bits_e6 + interval_ns / 2) / interval_ns).unwrap_or(0)
}

/// One more than a known value, 0 for an unknown one.
fn coded(value: Option<i64>) -> i64 {
    value.map_or(0, |known| known.max(0).saturating_add(1))
}

/// Tenths of a millisecond of so many RTP units.
fn jitter(units: u32, clock_rate: u32) -> i64 {
    i64::from(units) * 10_000 / i64::from(clock_rate.max(1))
}

fn of_transport(one: &Transport, before: &mut Counters, interval_ns: u64, out: &mut Vec<i64>) {
    let counters = &one.counters;
    let now = [
        counters.bytes_sent as i64,
        counters.bytes_received as i64,
        counters.packets_sent as i64,
        counters.packets_received as i64,
        counters.drops.total() as i64,
        0,
        0,
        0,
    ];
    let gone = advance(before, now);
    let ice_state = match one.ice.state() {
        IceState::New => 0,
        IceState::Connected => 1,
        IceState::Disconnected => 2,
        IceState::Failed => 3,
    };
    out.extend([
        kbps(gone[0], interval_ns),
        kbps(gone[1], interval_ns),
        gone[2],
        gone[3],
        gone[4],
        ice_state,
        coded(
            one.downlink
                .estimator
                .bitrate_bps()
                .map(|bps| (bps / 1000) as i64),
        ),
    ]);
}

fn of_encoding(
    one: &Encoding,
    score: Option<u32>,
    before: &mut Counters,
    interval_ns: u64,
    out: &mut Vec<i64>,
) {
    let counters = &one.counters;
    let reception = one.reception.as_ref();
    let report = reception.map(|one| one.last_report).unwrap_or_default();
    let lost_before = before[2];
    let now = [
        counters.bytes as i64,
        counters.packets as i64,
        i64::from(report.cumulative_lost),
        counters.nacks as i64,
        (counters.plis + counters.firs) as i64,
        counters.key_frames as i64,
        counters.recovered as i64,
        counters.discarded as i64,
    ];
    let gone = advance(before, now);
    let jitter = (counters.packets > 0).then(|| jitter(report.jitter, one.clock_rate));
    out.extend([
        kbps(gone[0], interval_ns),
        gone[1],
        // A late packet takes a loss back (RFC 3550, A.3): this one may fall.
        now[2] - lost_before,
        coded(jitter),
        gone[3],
        gone[4],
        gone[5],
        gone[6],
        gone[7],
        coded(score.filter(|_| counters.packets > 0).map(i64::from)),
        i64::from(one.live),
    ]);
}

fn of_consumer(one: &Consumer, before: &mut Counters, interval_ns: u64, out: &mut Vec<i64>) {
    let counters = &one.counters;
    let block = one.reported.block;
    let lost_before = before[2];
    let lost = block.map_or(0, |block| i64::from(block.cumulative_lost));
    let now = [
        counters.bytes as i64,
        counters.packets as i64,
        lost,
        counters.nacks as i64,
        (counters.plis + counters.firs) as i64,
        counters.key_frames as i64,
        counters.retransmitted as i64,
        0,
    ];
    let gone = advance(before, now);
    let round_trip = one.reported.round_trip_ns.map(|ns| (ns / 100_000) as i64);
    let layer = one.selection.current().filter(|_| one.is_video());
    out.extend([
        kbps(gone[0], interval_ns),
        gone[1],
        now[2] - lost_before,
        coded(block.map(|block| jitter(block.jitter, one.clock_rate))),
        coded(round_trip),
        gone[3],
        gone[4],
        gone[5],
        gone[6],
        coded(one.score.map(i64::from)),
        coded(layer.map(i64::from)),
        coded(one.told.and_then(|told| told.1).map(i64::from)),
        i64::from(one.row.paused),
        i64::from(one.freeze.frozen),
    ]);
}
