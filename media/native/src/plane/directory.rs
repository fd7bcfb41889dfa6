//! Which worker carries which entry.

use std::collections::HashMap;

use crate::wire::orders::{EntryKind, SetProducer};

#[derive(Clone, Debug)]
struct Consumer {
    worker: u32,
    transport: String,
    producer: String,
}

/// Mirrors the tables of all workers, as far as orders must find their way.
#[derive(Debug, Default)]
pub(super) struct Directory {
    transports: HashMap<String, u32>,
    producers: HashMap<String, (u32, SetProducer)>,
    consumers: HashMap<String, Consumer>,
}

impl Directory {
    pub(super) fn transport(&self, id: &str) -> Option<u32> {
        self.transports.get(id).copied()
    }

    pub(super) fn producer(&self, id: &str) -> Option<u32> {
        self.producers.get(id).map(|(worker, _)| *worker)
    }

    pub(super) fn consumer(&self, id: &str) -> Option<u32> {
        self.consumers.get(id).map(|consumer| consumer.worker)
    }

    /// Notes an entry; true if it was not there.
    pub(super) fn add_transport(&mut self, id: &str, worker: u32) -> bool {
        self.transports.insert(id.to_owned(), worker).is_none()
    }

    pub(super) fn add_producer(&mut self, row: &SetProducer, worker: u32) -> bool {
        self.producers
            .insert(row.producer.clone(), (worker, row.clone()))
            .is_none()
    }

    /// The row of a producer, as last ordered.
    pub(super) fn producer_row(&self, id: &str) -> Option<&SetProducer> {
        self.producers.get(id).map(|(_, row)| row)
    }

    /// The other workers that have consumers of a producer, and so a mirror of it; rising.
    pub(super) fn mirrors_of(&self, producer: &str) -> Vec<u32> {
        let home = self.producer(producer);
        let consumers = self.consumers.values();
        let mut workers: Vec<u32> = consumers
            .filter(|one| one.producer == producer && Some(one.worker) != home)
            .map(|one| one.worker)
            .collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    }

    /// The producers that end with an entry.
    pub(super) fn producers_ending_with(&self, kind: EntryKind, id: &str) -> Vec<String> {
        let mut ending: Vec<String> = match kind {
            EntryKind::Transport => {
                let of_transport = self.producers.values();
                let of_transport = of_transport.filter(|(_, row)| row.transport == id);
                of_transport.map(|(_, row)| row.producer.clone()).collect()
            }
            EntryKind::Producer => vec![id.to_owned()],
            EntryKind::Consumer => Vec::new(),
        };
        ending.sort_unstable();
        ending
    }

    pub(super) fn add_consumer(
        &mut self,
        id: &str,
        worker: u32,
        transport: &str,
        producer: &str,
    ) -> bool {
        let (transport, producer) = (transport.to_owned(), producer.to_owned());
        let consumer = Consumer {
            worker,
            transport,
            producer,
        };
        self.consumers.insert(id.to_owned(), consumer).is_none()
    }

    /// Takes an entry out with all that hangs on it; the worker that had it.
    pub(super) fn remove(&mut self, kind: EntryKind, id: &str) -> Option<u32> {
        match kind {
            EntryKind::Transport => {
                let worker = self.transports.remove(id)?;
                let producers = &mut self.producers;
                let consumers = &mut self.consumers;
                consumers.retain(|_, one| {
                    let of_producer = producers.get(&one.producer);
                    one.transport != id && of_producer.is_none_or(|(_, row)| row.transport != id)
                });
                producers.retain(|_, (_, row)| row.transport != id);
                Some(worker)
            }
            EntryKind::Producer => {
                let (worker, _) = self.producers.remove(id)?;
                self.consumers.retain(|_, one| one.producer != id);
                Some(worker)
            }
            EntryKind::Consumer => self.consumers.remove(id).map(|one| one.worker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::orders::Kind;

    fn producer(id: &str, transport: &str) -> SetProducer {
        SetProducer {
            producer: id.into(),
            transport: transport.into(),
            kind: Kind::Audio,
            codecs: Vec::new(),
            encodings: Vec::new(),
            header_extensions: Vec::new(),
            mid: None,
            cname: String::new(),
            paused: false,
        }
    }

    #[test]
    fn mirrors_are_where_consumers_are_and_the_producer_is_not() {
        let mut directory = filled();
        assert!(directory.mirrors_of("p").is_empty());
        assert!(directory.add_transport("far", 2));
        assert!(directory.add_consumer("d", 2, "far", "p"));
        assert!(directory.add_consumer("e", 2, "far", "p"));
        assert_eq!(directory.mirrors_of("p"), [2]);
        let ending = |kind, id| directory.producers_ending_with(kind, id);
        assert_eq!(ending(EntryKind::Transport, "send"), ["p"]);
        assert_eq!(ending(EntryKind::Producer, "p"), ["p"]);
        assert!(ending(EntryKind::Transport, "far").is_empty());
        assert!(ending(EntryKind::Consumer, "d").is_empty());
        directory.remove(EntryKind::Transport, "far");
        assert!(directory.mirrors_of("p").is_empty());
    }

    fn filled() -> Directory {
        let mut directory = Directory::default();
        assert!(directory.add_transport("send", 0));
        assert!(directory.add_transport("recv", 0));
        assert!(directory.add_producer(&producer("p", "send"), 0));
        assert!(directory.add_consumer("c", 0, "recv", "p"));
        assert!(!directory.add_consumer("c", 0, "recv", "p"));
        directory
    }

    #[test]
    fn removal_takes_along_what_hangs_on_it() {
        let mut directory = filled();
        assert_eq!(directory.remove(EntryKind::Transport, "send"), Some(0));
        assert_eq!(
            (directory.producer("p"), directory.consumer("c")),
            (None, None)
        );
        assert_eq!(directory.transport("recv"), Some(0));
        let mut directory = filled();
        directory.remove(EntryKind::Transport, "recv");
        assert_eq!(
            (directory.producer("p"), directory.consumer("c")),
            (Some(0), None)
        );
        let mut directory = filled();
        directory.remove(EntryKind::Producer, "p");
        assert_eq!(
            (directory.transport("send"), directory.consumer("c")),
            (Some(0), None)
        );
        assert_eq!(directory.remove(EntryKind::Producer, "p"), None);
    }
}
