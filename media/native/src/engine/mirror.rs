//! Producers whose viewers are on other workers.
//!
//! A producer lives on its transport's worker. Every other worker that has
//! consumers of it holds a *mirror*: an entry of the same type with caches and
//! formats of its own, so viewers are served, and their NACKs answered, where
//! they are. The producer's worker holds a [`Feed`] for each mirror.
//!
//! ```text
//! home ── packets (decrypted; may be lost), state of the encodings ──▶ mirror
//! home ◀── wants: which encodings, up to which, keyframes asked for ── mirror
//! ```
//!
//! The plane makes a mirror before the first consumer ([`SetMirror`]) and
//! removes it with its producer; a mirror whose last consumer left goes by
//! itself. A packet for a mirror that is not there is answered with `Gone`, so
//! whatever record is lost, no feed outlives its mirror for long.
//!
//! [`SetMirror`]: crate::wire::orders::SetMirror

use super::Engine;
use super::clock::PublisherClock;
use super::demand::{self, Ceiling};
use super::encoding::Encoding;
use super::error::DropReason;
use super::instant_start::Plan;
use super::keyframe::Causes;
use super::link::{About, Ask, EncodingState, Links, Record};
use super::producer::Producer;
use super::receive;
use super::refresh::Patient;
use super::table::{ProducerKey, Table, TransportKey};
use super::timers::{Armed, Timer};
use crate::wire::orders::SetProducer;

/// How often a mirror looks which encodings its viewers no longer need.
const LOOK_NS: u64 = 1_000_000_000;

/// Marks a packet that came before the mirror was fed, beside the encoding.
const PAST: u8 = 0x80;

/// A mirror is fed no more than this of what came before, for all of it is one burst.
const PAST_BYTES_MAX: usize = 1024 * 1024;

/// Where a producer's packets come from.
pub(crate) enum Home {
    /// A publisher.
    Transport(TransportKey),
    /// The worker that the producer lives on.
    Sibling(Mirror),
}

impl Home {
    pub(crate) fn transport(&self) -> Option<TransportKey> {
        match self {
            Self::Transport(key) => Some(*key),
            Self::Sibling(_) => None,
        }
    }
}

/// What only a mirror has.
pub(crate) struct Mirror {
    /// The worker that the producer lives on.
    pub(crate) worker: u32,
    pub(crate) clock: PublisherClock,
    pub(crate) timer: Armed,
    /// A bit for each encoding that is to be fed.
    interest: u64,
    /// The highest layer that a viewer here may be sent.
    pub(super) wanted: Ceiling,
    /// Viewers that asked for a keyframe since it was told.
    asks: Vec<Ask>,
    /// What was told last.
    told: Vec<Ask>,
    /// It was fed with what came before, for those who wait.
    is_primed: bool,
}

impl Mirror {
    /// A viewer needs a keyframe.
    pub(crate) fn ask(&mut self, encoding: u8, causes: Causes) {
        self.ask_for(Ask {
            encoding,
            causes,
            viewers: 1,
        });
    }

    pub(super) fn ask_for(&mut self, ask: Ask) {
        let mut asks = self.asks.iter_mut();
        match asks.find(|one| one.encoding == ask.encoding) {
            Some(one) => {
                one.viewers = one.viewers.saturating_add(ask.viewers);
                one.causes = one.causes.and(ask.causes);
            }
            None => self.asks.push(ask),
        }
    }

    /// The encodings are others now.
    pub(crate) fn forget(&mut self) {
        self.interest = 0;
        self.wanted = None;
        self.asks.clear();
        self.told.clear();
    }

    /// What was told last did not arrive.
    pub(super) fn take_back(&mut self) {
        for ask in std::mem::take(&mut self.told) {
            self.ask_for(ask);
        }
    }
}

/// A mirror, as the producer's worker knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) worker: u32,
    /// Its key there.
    pub(crate) mirror: u64,
    /// A bit for each encoding that it wants.
    interest: u64,
    /// The highest layer that a viewer there may be sent.
    pub(super) wanted: Ceiling,
}

pub(super) fn insert(engine: &mut Engine, now_ns: u64, home: u32, row: SetProducer) {
    let mirror = Mirror {
        worker: home,
        clock: PublisherClock::default(),
        timer: Armed::default(),
        interest: 0,
        wanted: None,
        asks: Vec::new(),
        told: Vec::new(),
        is_primed: false,
    };
    let id = row.producer.clone();
    let producer = Producer::new(row, Home::Sibling(mirror), &engine.config.limits);
    let key = engine.table.producers.insert(producer);
    engine.table.producer_ids.insert(id, key);
    engine.table.links.mark(key);
    arm(engine, now_ns, key);
}

fn arm(engine: &mut Engine, now_ns: u64, key: ProducerKey) {
    let Engine { table, timers, .. } = engine;
    if let Some(Home::Sibling(mirror)) = table.producers.get_mut(key).map(|one| &mut one.home) {
        timers.arm(&mut mirror.timer, now_ns + LOOK_NS, Timer::Mirror(key));
    }
}

/// A viewer of a mirror is to see an encoding: it must be fed from now on.
pub(super) fn note_interest(table: &mut Table, key: ProducerKey, encoding: u8) {
    let Some(producer) = table.producers.get_mut(key) else {
        return;
    };
    if let Home::Sibling(mirror) = &mut producer.home {
        let wanted = mirror.interest | 1 << encoding;
        if wanted != mirror.interest {
            mirror.interest = wanted;
            table.links.mark(key);
            // What came while it was fed the last time does not reach up to now.
            if let Some(state) = producer.encodings.get_mut(usize::from(encoding)) {
                state.history.clear();
            }
        }
    }
}

/// Once in a while: what is fed in vain is left, and a mirror without viewers goes.
pub(super) fn handle_look(engine: &mut Engine, now_ns: u64, key: ProducerKey) {
    let table = &mut engine.table;
    let Some(producer) = table.producers.get_mut(key) else {
        return;
    };
    if producer.consumers.is_empty() {
        table.remove_producer(key);
        return;
    }
    let mut interest = 0;
    for consumer in producer
        .consumers
        .iter()
        .filter_map(|&one| table.consumers.get(one))
    {
        let selection = &consumer.selection;
        for encoding in selection.current().into_iter().chain(selection.target()) {
            interest |= 1 << encoding;
        }
    }
    let producer = table.producers.get(key).expect("looked up");
    let wanted = demand::wanted_here(table, producer);
    if let Some(Home::Sibling(mirror)) = table.producers.get_mut(key).map(|one| &mut one.home)
        && (mirror.interest, mirror.wanted) != (interest, wanted)
    {
        (mirror.interest, mirror.wanted) = (interest, wanted);
        table.links.mark(key);
    }
    arm(engine, now_ns, key);
}

/// Hands a packet to the mirrors that want its encoding; how many could not be served.
pub(super) fn feed(
    links: &mut Links,
    feeds: &[Feed],
    transport: TransportKey,
    packet: &FedPacket<'_>,
) -> usize {
    let wanting = feeds
        .iter()
        .filter(|feed| feed.interest & (1 << packet.encoding) != 0);
    let lost = wanting.filter(|feed| {
        let record = Record::Packet {
            mirror: feed.mirror,
            encoding: packet.encoding,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            received_ns: packet.received_ns,
            data: packet.data,
        };
        !links.push(feed.worker, About::Packet(transport), &record)
    });
    lost.count()
}

/// A decrypted packet, as mirrors need it.
pub(super) struct FedPacket<'a> {
    pub(super) encoding: u8,
    pub(super) ssrc: u32,
    pub(super) sequence: u64,
    pub(super) received_ns: u64,
    pub(super) data: &'a [u8],
}

impl Engine {
    /// The producer's state changed: its mirrors hear of it.
    pub(super) fn tell_state(&mut self, key: ProducerKey) {
        let producer = self.table.producers.get(key);
        if producer.is_some_and(|one| !one.feeds.is_empty()) {
            self.table.links.mark(key);
        }
    }

    /// Stages what is to be told besides packets.
    pub(super) fn stage_state(&mut self) {
        let now_ns = self.now_ns;
        let Table {
            links,
            producers,
            transports,
            ..
        } = &mut self.table;
        while let Some(key) = links.take_dirty() {
            let Some(producer) = producers.get_mut(key) else {
                continue;
            };
            match &mut producer.home {
                Home::Sibling(mirror) => {
                    let asks = std::mem::take(&mut mirror.asks);
                    let record = Record::Want {
                        mirror: key.to_bits(),
                        interest: mirror.interest,
                        wanted: mirror.wanted,
                        asks: asks.clone(),
                        producer: &producer.row.producer,
                    };
                    links.push(mirror.worker, About::State(key), &record);
                    mirror.told = asks;
                }
                Home::Transport(transport) => {
                    let clock = transports.get(*transport).map(|one| one.clock);
                    let scores = producer.scores.iter().copied().chain(std::iter::repeat(0));
                    let states = producer.encodings.iter().zip(scores);
                    let states: Vec<EncodingState> = states
                        .map(|(encoding, score)| state_of(encoding, score, now_ns))
                        .collect();
                    for feed in &producer.feeds {
                        let record = Record::State {
                            mirror: feed.mirror,
                            active: producer.active,
                            ahead_ns: clock.and_then(|one| one.ahead_ns()),
                            encodings: states.clone(),
                        };
                        links.push(feed.worker, About::State(key), &record);
                    }
                }
            }
        }
        while let Some((worker, mirror)) = links.take_gone() {
            links.push(worker, About::Gone(mirror), &Record::Gone { mirror });
        }
    }
}

fn state_of(encoding: &Encoding, score: u32, now_ns: u64) -> EncodingState {
    EncodingState {
        live: encoding.live,
        score,
        bitrate_bps: encoding.bitrate_bps(now_ns),
        clock: encoding.reception.as_ref().and_then(|one| one.clock),
    }
}

/// A record of a sibling. One that is none, or about nothing that is here, is left.
pub(super) fn handle_record(engine: &mut Engine, now_ns: u64, worker: u32, record: &[u8]) {
    match Record::read(record) {
        Some(Record::Packet {
            mirror,
            encoding,
            ssrc,
            sequence,
            received_ns,
            data,
        }) => {
            let packet = FedPacket {
                encoding,
                ssrc,
                sequence,
                received_ns,
                data,
            };
            handle_packet(engine, now_ns, worker, mirror, &packet);
        }
        Some(Record::State {
            mirror,
            active,
            ahead_ns,
            encodings,
        }) => {
            let clock = PublisherClock::new(ahead_ns);
            handle_state(engine, now_ns, worker, mirror, active, clock, &encodings);
        }
        Some(Record::Want {
            mirror,
            interest,
            wanted,
            asks,
            producer,
        }) => {
            let feed = Feed {
                worker,
                mirror,
                interest,
                wanted,
            };
            handle_want(engine, now_ns, producer, feed, &asks);
        }
        Some(Record::Gone { mirror }) => handle_gone(engine, worker, mirror),
        None => debug_assert!(false, "siblings write valid records"),
    }
}

/// The mirror with this key, if it is one of a producer of `worker`.
fn mirror_of(table: &mut Table, worker: u32, mirror: u64) -> Option<(ProducerKey, &mut Producer)> {
    let key = ProducerKey::from_bits(mirror);
    let producer = table.producers.get_mut(key)?;
    let is_ours = matches!(&producer.home, Home::Sibling(one) if one.worker == worker);
    is_ours.then_some((key, producer))
}

fn handle_packet(
    engine: &mut Engine,
    now_ns: u64,
    worker: u32,
    mirror: u64,
    packet: &FedPacket<'_>,
) {
    let Engine { table, config, .. } = engine;
    let Some((key, producer)) = mirror_of(table, worker, mirror) else {
        table.links.mark_gone(worker, mirror);
        return;
    };
    let kind = producer.row.kind;
    let is_past = packet.encoding & PAST != 0;
    let packet = &FedPacket {
        encoding: packet.encoding & !PAST,
        ..*packet
    };
    if let (true, Home::Sibling(mirror)) = (is_past, &mut producer.home) {
        mirror.is_primed = true;
    }
    let Some(encoding) = producer.encodings.get_mut(usize::from(packet.encoding)) else {
        return;
    };
    let before = encoding.ssrc();
    encoding.set_ssrc(packet.ssrc, &config.limits, kind);
    if before.is_some_and(|before| before != packet.ssrc) {
        receive::handle_restarted(engine, key, packet.encoding);
    }
    let stored = match is_past {
        true => receive::store_past(engine, key, packet),
        false => receive::store_fed(engine, now_ns, key, packet),
    };
    if let Err(reason) = stored {
        engine.drops.count(reason);
    }
}

fn handle_state(
    engine: &mut Engine,
    now_ns: u64,
    worker: u32,
    mirror: u64,
    active: bool,
    clock: PublisherClock,
    states: &[EncodingState],
) {
    let table = &mut engine.table;
    let Some((key, producer)) = mirror_of(table, worker, mirror) else {
        table.links.mark_gone(worker, mirror);
        return;
    };
    producer.active = active;
    let mut was_primed = false;
    if let Home::Sibling(mirror) = &mut producer.home {
        mirror.clock = clock;
        was_primed = std::mem::take(&mut mirror.is_primed);
    }
    producer.scores.clear();
    producer.scores.extend(states.iter().map(|one| one.score));
    let mut changed = false;
    for (encoding, state) in producer.encodings.iter_mut().zip(states) {
        changed |= encoding.live != state.live;
        encoding.live = state.live;
        encoding.told_bps = Some(state.bitrate_bps);
        if let Some(reception) = encoding.reception.as_mut() {
            reception.clock = state.clock;
        }
    }
    if changed {
        engine.select_layers(now_ns, key);
    }
    if was_primed {
        engine.start_waiting_of_producer(now_ns, key);
    }
}

/// Feeds a mirror with the last keyframe of encodings (a bit for each) and what followed. The
/// encodings of which there is enough are those that its viewers can begin with.
fn feed_past(
    engine: &mut Engine,
    now_ns: u64,
    key: ProducerKey,
    feed: Feed,
    encodings: u64,
) -> u64 {
    if engine.config.keyframe_interval_ns == 0 {
        return 0;
    }
    let Table {
        links, producers, ..
    } = &mut engine.table;
    let Some(producer) = producers.get(key) else {
        return 0;
    };
    let Some(transport) = producer.transport().filter(|_| producer.is_video()) else {
        return 0;
    };
    let mut fed = 0;
    for (place, encoding) in producer.encodings.iter().enumerate() {
        if encodings & 1 << place == 0 || !encoding.live {
            continue;
        }
        let plan = Plan::of(encoding, now_ns, u64::MAX / 2);
        let plan = plan.filter(|plan| plan.bytes <= PAST_BYTES_MAX);
        let (Some(plan), Some(ssrc)) = (plan, encoding.ssrc()) else {
            continue;
        };
        for sequence in plan.group.first..=encoding.history.newest() {
            if let Some(cached) = encoding.cache.lookup(sequence, now_ns) {
                let record = Record::Packet {
                    mirror: feed.mirror,
                    encoding: place as u8 | PAST,
                    ssrc,
                    sequence,
                    received_ns: cached.received_ns,
                    data: cached.data,
                };
                links.push(feed.worker, About::Packet(transport), &record);
            }
        }
        fed |= 1 << place;
    }
    fed
}

fn handle_want(engine: &mut Engine, now_ns: u64, id: &str, feed: Feed, asks: &[Ask]) {
    let table = &mut engine.table;
    let Some(key) = table.producer(id) else {
        return;
    };
    let Some(producer) = table.producers.get_mut(key) else {
        return;
    };
    if producer.transport().is_none() {
        return;
    }
    // A worker has one mirror of a producer: another key means that the old one is gone.
    let mut had = 0;
    match producer
        .feeds
        .iter_mut()
        .find(|one| one.worker == feed.worker)
    {
        Some(known) => {
            if known.mirror == feed.mirror {
                had = known.interest;
            }
            *known = feed;
        }
        None => producer.feeds.push(feed),
    }
    table.links.mark(key);
    let primed = feed_past(engine, now_ns, key, feed, feed.interest & !had);
    if let Some(ceiling) = feed.wanted {
        demand::raise(engine, now_ns, key, ceiling);
    }
    for &Ask {
        encoding,
        causes,
        viewers,
    } in asks
    {
        let primed = encoding < 64 && primed & 1 << encoding != 0;
        let began = primed.then_some((
            encoding,
            Patient {
                viewers,
                joins: true,
            },
        ));
        if let Some((encoding, who)) = Patient::read(encoding, viewers).or(began) {
            engine.ask_patiently(now_ns, key, encoding, who);
            continue;
        }
        let producer = engine.table.producers.get_mut(key).expect("looked up");
        if let Some(state) = producer.encodings.get_mut(usize::from(encoding)) {
            state.keyframes.ask_for(viewers, causes);
            engine.serve_keyframe(now_ns, key, encoding);
        }
    }
}

fn handle_gone(engine: &mut Engine, worker: u32, mirror: u64) {
    // Rare, and tables are bounded: no index of feeds is kept.
    for producer in engine.table.producers.iter_mut() {
        producer
            .feeds
            .retain(|feed| (feed.worker, feed.mirror) != (worker, mirror));
    }
}

/// Counts packets that did not get into the staging buffer or the ring.
pub(super) fn count_lost(engine: &mut Engine, transport: TransportKey, packets: usize) {
    for _ in 0..packets {
        engine.count_drop(Some(transport), DropReason::WorkerRingFull);
    }
}
