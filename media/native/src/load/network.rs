//! A simulated network between a client and the world: it loses and delays, by a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::engine::random::Random;

/// Datagrams under way in all; more are lost, as in a router whose queue is full.
pub const UNDER_WAY_MAX: usize = 1_000_000;

/// What the network does to each datagram, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Lost, of a million.
    pub loss_ppm: u32,
    /// Delay, in ns.
    pub delay_ns: u64,
    /// Up to so much more delay, which may reorder, in ns.
    pub jitter_ns: u64,
}

impl Conditions {
    /// Whether nothing happens to datagrams.
    pub fn is_ideal(&self) -> bool {
        *self == Self::default()
    }
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the client.
    In,
    /// From the client.
    Out,
}

/// A datagram under way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnderWay {
    /// When it arrives.
    pub at_ns: u64,
    /// Keeps those of one moment in order.
    order: u64,
    /// How long it took, in ns.
    pub delay_ns: u64,
    /// Whose it is.
    pub client: u32,
    /// Which way it goes.
    pub direction: Direction,
    /// Its content.
    pub data: Vec<u8>,
}

/// All datagrams under way.
#[derive(Debug)]
pub struct Network {
    random: Random,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    lost: u64,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes at once: the caller goes on with it.
    Passes,
    /// It is lost, or arrives later by `pop`.
    Taken,
}

impl Network {
    /// An empty network.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            under_way: BinaryHeap::new(),
            order: 0,
            lost: 0,
        }
    }

    /// Lets a datagram into the network.
    pub fn send(
        &mut self,
        conditions: &Conditions,
        now_ns: u64,
        client: u32,
        direction: Direction,
        data: &[u8],
    ) -> Fate {
        if conditions.is_ideal() {
            return Fate::Passes;
        }
        let is_lost = self.random.below(1_000_000) < u64::from(conditions.loss_ppm);
        if is_lost || self.under_way.len() >= UNDER_WAY_MAX {
            self.lost += 1;
            return Fate::Taken;
        }
        let delay_ns = conditions.delay_ns + self.random.below(conditions.jitter_ns + 1);
        if delay_ns == 0 {
            return Fate::Passes;
        }
        self.order += 1;
        self.under_way.push(Reverse(UnderWay {
            at_ns: now_ns + delay_ns,
            order: self.order,
            delay_ns,
            client,
            direction,
            data: data.to_vec(),
        }));
        Fate::Taken
    }

    /// The next datagram that has arrived by now.
    pub fn pop(&mut self, now_ns: u64) -> Option<UnderWay> {
        if self.under_way.peek()?.0.at_ns > now_ns {
            return None;
        }
        self.under_way.pop().map(|Reverse(one)| one)
    }

    /// When the next datagram arrives.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse(one)| one.at_ns)
    }

    /// Datagrams that it lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn an_ideal_network_lets_all_pass() {
        let mut network = Network::new(1);
        let fate = network.send(&Conditions::default(), 5, 1, Direction::In, b"x");
        assert_eq!((fate, network.deadline_ns()), (Fate::Passes, None));
    }

    #[test]
    fn datagrams_arrive_after_their_delay_in_order() {
        let mut network = Network::new(1);
        let conditions = Conditions {
            delay_ns: 20 * MS,
            ..Conditions::default()
        };
        for (now_ns, data) in [(0, b"a"), (0, b"b"), (5 * MS, b"c")] {
            let fate = network.send(&conditions, now_ns, 7, Direction::Out, data);
            assert_eq!(fate, Fate::Taken);
        }
        assert!(network.pop(19 * MS).is_none());
        assert_eq!(network.pop(20 * MS).unwrap().data, b"a");
        assert_eq!(network.pop(20 * MS).unwrap().data, b"b");
        assert!(network.pop(20 * MS).is_none());
        assert_eq!(network.deadline_ns(), Some(25 * MS));
        let last = network.pop(26 * MS).unwrap();
        assert_eq!((last.client, last.delay_ns), (7, 20 * MS));
    }

    #[test]
    fn it_loses_what_it_is_told_to_and_the_same_with_the_same_seed() {
        let conditions = Conditions {
            loss_ppm: 20_000,
            ..Conditions::default()
        };
        let run = |seed| {
            let mut network = Network::new(seed);
            let mut send = || network.send(&conditions, 0, 1, Direction::In, b"x");
            (0..50_000).map(|_| send()).collect::<Vec<_>>()
        };
        let fates = run(3);
        let lost = fates.iter().filter(|fate| **fate == Fate::Taken).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert_eq!(fates, run(3));
        assert_ne!(fates, run(4));
    }
}
