//! Looks ahead: brings into the core's cache what the next viewers' turns need.
//!
//! Between two turns of a viewer hundreds of others have pushed its lines out of the cache, and a turn
//! needs some twenty of them, each found by way of the one before. To read one word of each for all viewers of
//! a chunk first lets the core fetch many at a time, for they do not depend on each other.

use std::hint::black_box;

use super::consumer::Consumer;
use super::table::{ConsumerKey, ProducerKey};
use super::transport::Transport;
use super::turns::Desk;

/// Looks at those who are served next with packets below the number `end`, and at what they get of `along`.
pub(super) fn look(
    next: impl Iterator<Item = ConsumerKey> + Clone,
    end: u64,
    along: Option<ProducerKey>,
    desk: &Desk<'_>,
) {
    let mut seen = 0;
    for key in next.clone() {
        seen ^= desk.consumers.get(key).map_or(0, Consumer::glance);
    }
    let has_turn = |one: &&Consumer| one.served < end;
    let transports = next.filter_map(|key| {
        let consumer = desk.consumers.get(key).filter(has_turn)?;
        desk.transports.get(consumer.transport)
    });
    for transport in transports.clone() {
        seen ^= transport.glance();
    }
    let recorder = &desk.fanout.recorder;
    let far = |one: &Transport| one.downlink.estimator.glance() ^ recorder.glance(&one.ring);
    for transport in transports.clone() {
        seen ^= far(transport);
    }
    if let Some(producer) = along {
        for transport in transports {
            let key = transport.consumer_of(producer, desk.consumers);
            let consumer = key.and_then(|key| desk.consumers.get(key));
            seen ^= consumer.map_or(0, Consumer::glance);
        }
    }
    black_box(seen);
}
