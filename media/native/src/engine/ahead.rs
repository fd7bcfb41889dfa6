//! Looks ahead: brings into the core's cache what the next viewers' turns need.
//!
//! Between two turns of a viewer hundreds of others have pushed its lines out of the cache, and a turn
//! needs some twenty of them, each found by way of the one before. To read one word of each for all viewers of
//! a chunk first lets the core fetch many at a time, for they do not depend on each other.

use std::hint::black_box;

use super::arena::Arena;
use super::consumer::Consumer;
use super::table::{ConsumerKey, ProducerKey};
use super::transport::Transport;
use super::turns::consumer_of;
use crate::recorder::Slab;

/// Looks at those who are served next, and at what they get of `along`.
pub(super) fn look(
    next: &[ConsumerKey],
    along: Option<ProducerKey>,
    consumers: &Arena<Consumer>,
    transports: &Arena<Transport>,
    recorder: &Slab,
) {
    let mut seen = 0;
    for &key in next {
        seen ^= consumers.get(key).map_or(0, Consumer::glance);
    }
    let transport = |key| transports.get(consumers.get(key)?.transport);
    for &key in next {
        seen ^= transport(key).map_or(0, Transport::glance);
    }
    for &key in next {
        let far = |one: &Transport| one.downlink.estimator.glance() ^ recorder.glance(&one.ring);
        seen ^= transport(key).map_or(0, far);
    }
    if let Some(producer) = along {
        for &key in next {
            let one = consumers.get(key).map(|one| one.transport);
            let key = one.and_then(|one| consumer_of(consumers, transports, one, producer));
            let one = key.and_then(|key| consumers.get(key));
            seen ^= one.map_or(0, Consumer::glance);
        }
    }
    black_box(seen);
}
