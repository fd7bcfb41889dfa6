//! Two workers of one plane: two worlds whose engines are linked by bounded rings.

use std::collections::VecDeque;

use _native::engine::Config;
use _native::wire::orders::{EntryKind, Order, Remove, SetMirror, SetProducer};

use super::{Dice, MS, World};

/// Records of one direction: (when they arrive, bytes).
type Way = VecDeque<(u64, Vec<u8>)>;

/// Worker 0 and worker 1.
pub(crate) struct Span {
    pub(crate) worlds: [World; 2],
    /// What is under way from each of them to the other.
    ways: [Way; 2],
    dice: Dice,
    /// Records take up to so long, in order.
    pub(crate) delay_ns_max: u64,
    /// Records that crossed from each worker.
    pub(crate) crossed: [usize; 2],
}

impl Span {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |config| config)
    }

    /// The same, with other settings.
    pub(crate) fn with(seed: u64, set: impl Fn(Config) -> Config) -> Self {
        let config = |worker| set(Config::new(worker, seed + u64::from(worker)));
        let world = |worker| World::with(config(worker), seed);
        Self {
            worlds: [world(0), world(1)],
            ways: [Way::new(), Way::new()],
            dice: Dice::new(seed),
            delay_ns_max: 0,
            crossed: [0; 2],
        }
    }

    /// Carries out an order on a worker and lets what follows cross.
    pub(crate) fn order(&mut self, worker: usize, order: Order) {
        self.worlds[worker].order(order);
        self.exchange();
    }

    /// Tells worker 1 of a producer of worker 0, as the plane does before each consumer of it.
    pub(crate) fn mirror(&mut self, row: &SetProducer) {
        let order = Order::SetMirror(SetMirror {
            home: 0,
            row: row.clone(),
        });
        self.order(1, order);
    }

    /// Removes an entry on both workers, as the plane does with a mirrored producer.
    pub(crate) fn remove(&mut self, kind: EntryKind, id: &str) {
        for worker in [0, 1] {
            let id = id.into();
            self.order(worker, Order::Remove(Remove { kind, id }));
        }
    }

    /// Sends a packet of a publisher of worker 0.
    pub(crate) fn publish(&mut self, place: usize, stream: usize, keyframe: bool) {
        self.worlds[0].publish(place, stream, keyframe);
        self.exchange();
    }

    /// Lets time pass, a millisecond after the other.
    pub(crate) fn advance(&mut self, duration_ns: u64) {
        for _ in 0..duration_ns / MS {
            for world in &mut self.worlds {
                world.advance(MS);
            }
            self.exchange();
        }
    }

    /// Hands over what has arrived, until nothing more is said.
    pub(crate) fn exchange(&mut self) {
        loop {
            let mut moved = false;
            for from in [0, 1] {
                let now_ns = self.worlds[from].now_ns;
                while let Some((to, record)) = self.worlds[from].records.pop_front() {
                    assert_eq!(to, 1 - from as u32, "to the other worker");
                    let last_ns = self.ways[from].back().map_or(0, |&(at_ns, _)| at_ns);
                    let delay_ns = self.dice.below(self.delay_ns_max + 1);
                    let at_ns = (now_ns + delay_ns).max(last_ns);
                    self.ways[from].push_back((at_ns, record));
                }
                let arrived = self.ways[from].iter().take_while(|one| one.0 <= now_ns);
                let count = arrived.count();
                let records: Vec<Vec<u8>> =
                    self.ways[from].drain(..count).map(|one| one.1).collect();
                self.crossed[from] += count;
                if count > 0 {
                    moved = true;
                    self.worlds[1 - from].receive_records(from as u32, &records);
                }
            }
            if !moved {
                return;
            }
        }
    }
}
