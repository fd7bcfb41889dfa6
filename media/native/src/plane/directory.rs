//! Which worker carries which entry.

use std::collections::HashMap;

use crate::wire::orders::EntryKind;

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
    producers: HashMap<String, (u32, String)>,
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

    pub(super) fn add_producer(&mut self, id: &str, worker: u32, transport: &str) -> bool {
        self.producers
            .insert(id.to_owned(), (worker, transport.to_owned()))
            .is_none()
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
                    one.transport != id && of_producer.is_none_or(|(_, transport)| transport != id)
                });
                producers.retain(|_, (_, transport)| transport != id);
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

    fn filled() -> Directory {
        let mut directory = Directory::default();
        assert!(directory.add_transport("send", 0));
        assert!(directory.add_transport("recv", 0));
        assert!(directory.add_producer("p", 0, "send"));
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
