//! Viewers that get nothing though their publisher sends.
//!
//! A consumer is *frozen* when for [`FROZEN_AFTER_NS`] nothing was sent to it while it could have
//! been: neither it nor its producer is paused, its transport has consent and keys, and packets of
//! the encoding that it wants keep coming. Most often a keyframe is missing. It is looked for with
//! every tick of a transport, so it is noticed up to half a second late, and costs the forwarding
//! path nothing.

use super::Engine;
use super::consumer::Consumer;
use super::producer::Producer;
use super::table::ConsumerKey;
use super::transport::Transport;
use crate::wire::notices::Notice;

/// How long nothing is sent to a consumer that is frozen.
pub(crate) const FROZEN_AFTER_NS: u64 = 2_500_000_000;

/// A stream whose last packet is older than this does not flow: nobody is frozen for want of it.
const FLOWING_NS: u64 = 1_000_000_000;

/// Whether a consumer is frozen, and since when it could have been sent something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreezeWatch {
    due_since_ns: Option<u64>,
    pub(crate) frozen: bool,
}

impl FreezeWatch {
    /// Looks again; true if `frozen` changed.
    fn look(&mut self, now_ns: u64, due: bool, sent_ns: u64) -> bool {
        let since_ns = due.then(|| self.due_since_ns.unwrap_or(now_ns));
        self.due_since_ns = since_ns;
        let frozen = since_ns.is_some_and(|since_ns| {
            now_ns.saturating_sub(since_ns.max(sent_ns)) >= FROZEN_AFTER_NS
        });
        std::mem::replace(&mut self.frozen, frozen) != frozen
    }
}

/// Looks at the consumers of a transport.
pub(super) fn look(engine: &mut Engine, now_ns: u64, consumers: &[ConsumerKey]) {
    let Engine { table, notices, .. } = engine;
    for &key in consumers {
        let Some(consumer) = table.consumers.get_mut(key) else {
            continue;
        };
        let producer = table.producers.get(consumer.producer);
        let transport = table.transports.get(consumer.transport);
        let due = producer
            .zip(transport)
            .is_some_and(|(producer, transport)| is_due(now_ns, consumer, producer, transport));
        let sent_ns = consumer.meter.last_ns();
        if consumer.freeze.look(now_ns, due, sent_ns) {
            notices.push(Notice::ConsumerFrozen {
                consumer: consumer.row.consumer.clone(),
                frozen: consumer.freeze.frozen,
            });
        }
    }
}

fn is_due(now_ns: u64, consumer: &Consumer, producer: &Producer, transport: &Transport) -> bool {
    let wanted = consumer.selection.target().or(consumer.selection.current());
    let encoding = wanted.and_then(|place| producer.encodings.get(usize::from(place)));
    let flows = encoding.is_some_and(|encoding| {
        encoding.live && now_ns.saturating_sub(encoding.last_packet_ns) < FLOWING_NS
    });
    flows
        && producer.active
        && !producer.row.paused
        && !consumer.row.paused
        && transport.media_remote().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn frozen_when_nothing_was_sent_for_long_enough_and_thawed_by_a_packet() {
        let mut watch = FreezeWatch::default();
        assert!(!watch.look(10 * S, true, 0));
        assert!(!watch.look(12 * S, true, 0));
        assert!(watch.look(13 * S, true, 0) && watch.frozen);
        assert!(!watch.look(14 * S, true, 0));
        assert!(watch.look(15 * S, true, 14 * S) && !watch.frozen);
    }

    #[test]
    fn time_in_which_nothing_could_be_sent_does_not_count() {
        let mut watch = FreezeWatch::default();
        assert!(!watch.look(10 * S, true, 9 * S));
        assert!(!watch.look(12 * S, false, 9 * S));
        assert!(!watch.look(13 * S, true, 9 * S));
        assert!(!watch.look(15 * S, true, 9 * S));
        assert!(watch.look(16 * S, true, 9 * S));
    }
}
