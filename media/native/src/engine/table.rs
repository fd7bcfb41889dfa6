//! The engine's tables, and who goes with whom when an entry is removed.
//!
//! Maps are looked into and never walked through, so nothing depends on the
//! order of a hash.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::arena::{Arena, Key};
use super::consumer::Consumer;
use super::link::Links;
use super::mirror::Home;
use super::producer::Producer;
use super::transport::Transport;

pub(crate) type TransportKey = Key<Transport>;
pub(crate) type ProducerKey = Key<Producer>;
pub(crate) type ConsumerKey = Key<Consumer>;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) transports: Arena<Transport>,
    pub(crate) producers: Arena<Producer>,
    pub(crate) consumers: Arena<Consumer>,
    pub(crate) transport_ids: HashMap<String, TransportKey>,
    pub(crate) producer_ids: HashMap<String, ProducerKey>,
    pub(crate) consumer_ids: HashMap<String, ConsumerKey>,
    /// Accepted local ufrags.
    pub(crate) ufrags: HashMap<String, TransportKey>,
    /// Verified remote addresses.
    pub(crate) tuples: HashMap<SocketAddr, TransportKey>,
    /// To the tables of other workers.
    pub(crate) links: Links,
}

impl Table {
    pub(crate) fn transport(&self, id: &str) -> Option<TransportKey> {
        self.transport_ids.get(id).copied()
    }

    pub(crate) fn producer(&self, id: &str) -> Option<ProducerKey> {
        self.producer_ids.get(id).copied()
    }

    pub(crate) fn consumer(&self, id: &str) -> Option<ConsumerKey> {
        self.consumer_ids.get(id).copied()
    }

    pub(crate) fn remove_transport(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.remove(key) else {
            return;
        };
        self.transport_ids.remove(&transport.row.transport);
        for ufrag in transport.ice.ufrags() {
            self.ufrags.remove(ufrag);
        }
        for remote in transport.ice.tuples() {
            self.tuples.remove(&remote);
        }
        for producer in transport.producers {
            self.remove_producer(producer);
        }
        for consumer in transport.consumers {
            self.remove_consumer(consumer);
        }
    }

    pub(crate) fn remove_producer(&mut self, key: ProducerKey) {
        let Some(producer) = self.producers.remove(key) else {
            return;
        };
        let transport = producer.transport();
        self.producer_ids.remove(&producer.row.producer);
        for consumer in producer.consumers {
            self.remove_consumer(consumer);
        }
        if let Home::Sibling(mirror) = &producer.home {
            self.links.mark_gone(mirror.worker, key.to_bits());
        }
        if let Some(transport) = transport.and_then(|key| self.transports.get_mut(key)) {
            transport.producers.retain(|&one| one != key);
            transport.routes.remove(key);
            if let Some(srtp) = transport.srtp.as_mut() {
                for encoding in &producer.encodings {
                    for ssrc in encoding.ssrc().into_iter().chain(encoding.rtx_ssrc) {
                        srtp.inbound.forget(ssrc);
                    }
                }
            }
        }
    }

    pub(crate) fn remove_consumer(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.remove(key) else {
            return;
        };
        self.consumer_ids.remove(&consumer.row.consumer);
        if let Some(producer) = self.producers.get_mut(consumer.producer) {
            producer.consumers.retain(|&one| one != key);
            producer.release_format(consumer.format);
        }
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            transport.consumers.retain(|&one| one != key);
            transport.remove_streams(key);
            transport
                .ended
                .insert(consumer.row.ssrc, consumer.rewriter.next_sequence());
            if let Some(rtx) = consumer.rtx {
                transport.ended.insert(rtx.ssrc, rtx.next);
            }
        }
    }
}
