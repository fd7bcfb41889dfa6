//! A world in virtual time: one engine, peers with addresses, and links that lose and delay.

#[allow(dead_code)] // Only networks that change have one.
pub(crate) mod path;
pub(crate) mod peer;
pub(crate) mod rows;
pub(crate) mod span;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use _native::engine::{Answer, Config, DropReason, Engine, OrderError};
use _native::wire::answers::{Data, Stats, StreamStats, Table};
use _native::wire::notices::Notice;
use _native::wire::orders::{
    EntryKind, Order, QueryStats, Remove, Secret, SetSrtpKeys, SrtpProfile,
};

pub(crate) use path::Path;
pub(crate) use peer::Peer;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000 * MS;

/// Segments a transmit may have: as with GSO.
const SEGMENTS_MAX: usize = 64;

/// What a link does to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) loss_permille: u64,
    pub(crate) delay_ns: u64,
    /// Up to so much more delay, which reorders.
    pub(crate) jitter_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Engine,
    Peer,
}

/// Seeded numbers for links.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now_ns: u64,
    pub(crate) notices: Vec<Notice>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) link: Link,
    /// Runs of several datagrams that the engine put out.
    pub(crate) runs: usize,
    /// Sends of media that it took, runs and single packets.
    pub(crate) sends: usize,
    /// Records for the engines of other workers, not yet taken by [`span::Span`].
    pub(crate) records: VecDeque<(u32, Vec<u8>)>,
    /// How many of them find room.
    pub(crate) records_max: usize,
    worker: u32,
    addresses: BTreeMap<SocketAddr, usize>,
    /// Bottlenecks, and who is behind which; others have `link`.
    pub(crate) paths: Vec<Path>,
    pub(crate) routes: BTreeMap<SocketAddr, usize>,
    dice: Dice,
    /// Datagrams under way by time of arrival and order of sending.
    under_way: BTreeMap<(u64, u64), (Side, SocketAddr, Vec<u8>)>,
    sent: u64,
}

/// The same, but publishers are asked for each keyframe.
pub(crate) fn without_instant_start(config: Config) -> Config {
    Config {
        keyframe_interval_ns: 0,
        ..config
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::new(0, 7), 42)
    }

    /// One where viewers wait for keyframes: none begins with one of the past.
    pub(crate) fn without_instant_start() -> Self {
        Self::of(false)
    }

    /// One with instant start, as users run it, or without.
    pub(crate) fn of(instant: bool) -> Self {
        let config = Config::new(0, 7);
        let config = match instant {
            true => config,
            false => without_instant_start(config),
        };
        Self::with(config, 42)
    }

    pub(crate) fn with(mut config: Config, seed: u64) -> Self {
        config.unix_offset_ns = 1_700_000_000 * S;
        Self {
            records: VecDeque::new(),
            records_max: usize::MAX,
            worker: config.worker,
            engine: Engine::new(config),
            now_ns: 100 * S,
            notices: Vec::new(),
            peers: Vec::new(),
            link: Link::default(),
            runs: 0,
            sends: 0,
            addresses: BTreeMap::new(),
            paths: Vec::new(),
            routes: BTreeMap::new(),
            dice: Dice::new(seed),
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Carries out an order that must succeed.
    pub(crate) fn order(&mut self, order: Order) -> Answer {
        let answer = self.engine.handle_order(self.now_ns, order);
        self.drain();
        self.run_until(self.now_ns);
        answer.expect("the order is carried out")
    }

    pub(crate) fn refusal(&mut self, order: Order) -> OrderError {
        let answer = self.engine.handle_order(self.now_ns, order);
        self.drain();
        answer.expect_err("the order is refused")
    }

    pub(crate) fn remove(&mut self, kind: EntryKind, id: &str) {
        self.order(Order::Remove(Remove {
            kind,
            id: id.into(),
        }));
    }

    /// A transport with a peer behind it: ICE done, keys set.
    pub(crate) fn join(&mut self, id: &str, direction: rows::Direction) -> usize {
        self.join_with(id, direction, SrtpProfile::AeadAes128Gcm)
    }

    pub(crate) fn join_with(
        &mut self,
        id: &str,
        direction: rows::Direction,
        profile: SrtpProfile,
    ) -> usize {
        let mut row = rows::transport(id, direction);
        row.worker = self.worker;
        self.order(Order::SetTransport(row));
        let place = self.add_peer(id, profile);
        self.check(place, true);
        self.order(Order::SetSrtpKeys(keys(id, profile)));
        place
    }

    /// A peer that knows the transport's credentials and keys, at an address of its own.
    pub(crate) fn add_peer(&mut self, id: &str, profile: SrtpProfile) -> usize {
        let place = self.peers.len();
        let address = SocketAddr::from(([192, 0, 2, 1], 1000 + place as u16));
        self.peers.push(Peer::new(id, address, &keys(id, profile)));
        self.addresses.insert(address, place);
        place
    }

    /// Gives a peer another address, as a change of network does.
    pub(crate) fn move_peer(&mut self, place: usize, address: SocketAddr) {
        self.peers[place].address = address;
        self.addresses.insert(address, place);
    }

    /// A connectivity check of a peer.
    pub(crate) fn check(&mut self, place: usize, nominate: bool) {
        let request = self.peers[place].check(nominate);
        self.send(place, request);
    }

    /// Sends a datagram from a peer.
    pub(crate) fn send(&mut self, place: usize, datagram: Vec<u8>) {
        self.put_under_way(Side::Engine, self.peers[place].address, datagram);
        self.run_until(self.now_ns);
    }

    /// Hands several datagrams over before the engine is drained, as one batch of the driver; or
    /// one by one, if there is a path.
    pub(crate) fn send_batch(&mut self, place: usize, datagrams: Vec<Vec<u8>>) {
        let remote = self.peers[place].address;
        if self.routes.contains_key(&remote) {
            for datagram in datagrams {
                self.send(place, datagram);
            }
            return;
        }
        for mut datagram in datagrams {
            self.engine
                .handle_datagram(self.now_ns, remote, &mut datagram);
        }
        self.drain();
    }

    /// Hands over records of another worker's engine, as one batch.
    pub(crate) fn receive_records(&mut self, from: u32, records: &[Vec<u8>]) {
        for record in records {
            self.engine.handle_sibling(self.now_ns, from, record);
        }
        self.drain();
        self.run_until(self.now_ns);
    }

    /// Lets time pass: what is due happens, and what is under way arrives.
    pub(crate) fn advance(&mut self, duration_ns: u64) {
        self.run_until(self.now_ns + duration_ns);
    }

    fn run_until(&mut self, end_ns: u64) {
        loop {
            let arrival_ns = self.under_way.keys().next().map(|&(at_ns, _)| at_ns);
            let deadline_ns = self
                .engine
                .next_deadline_ns()
                .map(|at_ns| at_ns.max(self.now_ns));
            let next = [arrival_ns, deadline_ns].into_iter().flatten().min();
            let Some(at_ns) = next.filter(|&at_ns| at_ns <= end_ns) else {
                break;
            };
            self.now_ns = self.now_ns.max(at_ns);
            if arrival_ns.is_some_and(|arrival_ns| arrival_ns <= self.now_ns) {
                let (_, (side, address, datagram)) = self.under_way.pop_first().expect("peeked");
                self.deliver(side, address, datagram);
            } else {
                self.engine.handle_timeout(self.now_ns);
                self.drain();
            }
        }
        self.now_ns = end_ns;
    }

    fn deliver(&mut self, side: Side, address: SocketAddr, mut datagram: Vec<u8>) {
        match side {
            Side::Engine => {
                self.engine
                    .handle_datagram(self.now_ns, address, &mut datagram);
                self.drain();
            }
            Side::Peer => {
                let Some(&place) = self.addresses.get(&address) else {
                    return;
                };
                for answer in self.peers[place].receive(self.now_ns, &datagram) {
                    self.put_under_way(Side::Engine, self.peers[place].address, answer);
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some((worker, record)) = self.engine.poll_sibling() {
            if self.records.len() < self.records_max {
                self.records.push_back((worker, record.to_vec()));
            } else {
                self.engine.handle_sibling_lost();
            }
        }
        let mut out = Vec::new();
        while let Some(transmit) = self.engine.poll_transmit(SEGMENTS_MAX) {
            self.runs += usize::from(transmit.segment_size.is_some());
            let is_media = matches!(transmit.contents, [128..=191, second, ..] if !(192..=223).contains(second));
            self.sends += usize::from(is_media);
            out.extend(
                transmit
                    .datagrams()
                    .map(|one| (transmit.remote, one.to_vec())),
            );
        }
        self.notices
            .extend(std::iter::from_fn(|| self.engine.poll_notice()));
        for (remote, datagram) in out {
            self.put_under_way(Side::Peer, remote, datagram);
        }
    }

    fn put_under_way(&mut self, side: Side, address: SocketAddr, datagram: Vec<u8>) {
        if let Some(&path) = self.routes.get(&address) {
            let (now_ns, dice) = (self.now_ns, &mut self.dice);
            let path = &mut self.paths[path];
            let arrival_ns = match side {
                Side::Engine if path.is_uplink => path.pass(now_ns, datagram.len(), dice),
                Side::Engine => Some(now_ns + path.delay_ns),
                Side::Peer if path.is_uplink => Some(now_ns + path.delay_ns),
                Side::Peer => path.pass(now_ns, datagram.len(), dice),
            };
            self.sent += 1;
            if let Some(at_ns) = arrival_ns {
                self.under_way
                    .insert((at_ns, self.sent), (side, address, datagram));
            }
            return;
        }
        if self.dice.below(1000) < self.link.loss_permille {
            return;
        }
        let delay_ns = self.link.delay_ns + self.dice.below(self.link.jitter_ns + 1);
        self.sent += 1;
        self.under_way.insert(
            (self.now_ns + delay_ns, self.sent),
            (side, address, datagram),
        );
    }

    /// Sends one packet of a peer's stream and lets it be forwarded.
    pub(crate) fn publish(&mut self, place: usize, stream: usize, keyframe: bool) {
        let datagram = self.peers[place].next_packet(stream, keyframe);
        self.send(place, datagram);
    }

    /// The notices since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn stats(&mut self, id: &str) -> Stats {
        let order = Order::QueryStats(QueryStats {
            ids: vec![id.into()],
        });
        let Answer::Data(Data::Stats(mut stats)) = self.order(order) else {
            panic!("statistics are data");
        };
        assert_eq!(stats.len(), 1, "{id} is in the table");
        stats.remove(0)
    }

    pub(crate) fn stream(&mut self, id: &str, place: usize) -> StreamStats {
        self.stats(id).streams.remove(place)
    }

    pub(crate) fn drops(&mut self, id: &str, reason: DropReason) -> u64 {
        let transport = self.stats(id).transport.expect("a transport");
        transport.drops.get(reason.word()).copied().unwrap_or(0)
    }

    pub(crate) fn table(&mut self) -> Table {
        match self.order(Order::Describe {}) {
            Answer::Data(Data::Table(table)) => table,
            other => panic!("not a table: {other:?}"),
        }
    }
}

/// Keys of a transport, made of its name.
pub(crate) fn keys(id: &str, profile: SrtpProfile) -> SetSrtpKeys {
    let length = match profile {
        SrtpProfile::AeadAes128Gcm => 16 + 12,
        SrtpProfile::AeadAes256Gcm => 32 + 12,
        SrtpProfile::Aes128CmHmacSha1_80 => 16 + 14,
    };
    let secret = |salt: u8| {
        let bytes: Vec<u8> = id
            .bytes()
            .cycle()
            .take(length)
            .map(|byte| byte ^ salt)
            .collect();
        Secret::new(bytes)
    };
    SetSrtpKeys {
        transport: id.into(),
        profile,
        local: secret(1),
        remote: secret(2),
    }
}
