//! The bounded queue of notices on their way to the controller.

use std::collections::{HashMap, VecDeque};
use std::mem;

use crate::wire::notices::Notice;

/// Notices that wait for a slow or absent controller.
pub const NOTICES_MAX: usize = 8192;

/// Bytes of DTLS that wait; records beyond it are dropped, and DTLS sends them again.
pub const DTLS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of telemetry and recordings that wait. What comes beyond it is dropped: readers of
/// telemetry wait for a key frame, a recording lacks a part and says so.
pub const BULK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Notices in order, with the newest state only.
///
/// A state notice replaces an older one of the same type about the same entry,
/// for only the newest is true. When the queue is full, the oldest notice is
/// dropped and counted: a controller that lagged that far asks with `Describe`.
/// What was said while there was no controller waits for the next one.
#[derive(Debug, Default)]
pub struct NoticeQueue {
    /// `None` where a notice was replaced by a newer one.
    queue: VecDeque<Option<Notice>>,
    /// Absolute place of the newest state notice of an entry.
    newest: HashMap<(mem::Discriminant<Notice>, String, u32), u64>,
    /// Absolute place of the queue's front.
    front: u64,
    dtls_bytes: usize,
    bulk_bytes: usize,
    dropped: u64,
}

impl NoticeQueue {
    /// Appends a notice.
    pub fn push(&mut self, notice: Notice) {
        if let Notice::DtlsReceived { datagrams, .. } = &notice {
            let bytes: usize = datagrams.iter().map(|datagram| datagram.len()).sum();
            if self.dtls_bytes + bytes > DTLS_BYTES_MAX {
                self.dropped += 1;
                return;
            }
            self.dtls_bytes += bytes;
        }
        if let Some(bytes) = notice.bulk_bytes() {
            if self.bulk_bytes + bytes > BULK_BYTES_MAX {
                self.dropped += 1;
                return;
            }
            self.bulk_bytes += bytes;
        }
        if let Some((id, part)) = subject(&notice) {
            let place = self.front + self.queue.len() as u64;
            let key = (mem::discriminant(&notice), id.to_owned(), part);
            if let Some(older) = self.newest.insert(key, place) {
                self.queue[(older - self.front) as usize] = None;
            }
        }
        self.queue.push_back(Some(notice));
        while self.queue.len() > NOTICES_MAX {
            if self.take_front().is_some() {
                self.dropped += 1;
            }
        }
    }

    /// The oldest notice that still holds.
    pub fn pop(&mut self) -> Option<Notice> {
        while !self.queue.is_empty() {
            if let Some(notice) = self.take_front() {
                return Some(notice);
            }
        }
        None
    }

    /// Notices that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take_front(&mut self) -> Option<Notice> {
        let notice = self.queue.pop_front()?;
        let place = self.front;
        self.front += 1;
        let notice = notice?;
        if let Notice::DtlsReceived { datagrams, .. } = &notice {
            self.dtls_bytes -= datagrams
                .iter()
                .map(|datagram| datagram.len())
                .sum::<usize>();
        }
        self.bulk_bytes -= notice.bulk_bytes().unwrap_or(0);
        if let Some((id, part)) = subject(&notice) {
            let key = (mem::discriminant(&notice), id.to_owned(), part);
            if self.newest.get(&key) == Some(&place) {
                self.newest.remove(&key);
            }
        }
        Some(notice)
    }
}

/// Whose state a notice tells; None when each one counts.
fn subject(notice: &Notice) -> Option<(&str, u32)> {
    match notice {
        Notice::IceStateChanged { transport, .. }
        | Notice::IceTupleChanged { transport, .. }
        | Notice::BandwidthEstimated { transport, .. } => Some((transport, 0)),
        Notice::ProducerStreamLearned {
            producer, encoding, ..
        } => Some((producer, *encoding)),
        Notice::ProducerActivityChanged { producer, .. }
        | Notice::ProducerDemandChanged { producer, .. }
        | Notice::ProducerScore { producer, .. } => Some((producer, 0)),
        Notice::ConsumerScore { consumer, .. }
        | Notice::LayersChanged { consumer, .. }
        | Notice::ConsumerFrozen { consumer, .. } => Some((consumer, 0)),
        Notice::AudioLevels { room, worker, .. } => Some((room, *worker)),
        Notice::DtlsReceived { .. }
        | Notice::KeyFrameRequested { .. }
        | Notice::Telemetry { .. }
        | Notice::Recording { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::notices::IceState;

    fn ice(transport: &str, state: IceState) -> Notice {
        Notice::IceStateChanged {
            transport: transport.into(),
            state,
            remote: None,
        }
    }

    #[test]
    fn newer_state_replaces_older_of_the_same_entry() {
        let mut queue = NoticeQueue::default();
        queue.push(ice("a", IceState::Connected));
        queue.push(ice("b", IceState::Connected));
        queue.push(ice("a", IceState::Failed));
        assert_eq!(queue.pop(), Some(ice("b", IceState::Connected)));
        assert_eq!(queue.pop(), Some(ice("a", IceState::Failed)));
        assert_eq!(queue.pop(), None);
        queue.push(ice("a", IceState::Connected));
        assert_eq!(queue.pop(), Some(ice("a", IceState::Connected)));
    }

    #[test]
    fn full_queue_drops_the_oldest_and_counts() {
        let mut queue = NoticeQueue::default();
        for n in 0..NOTICES_MAX + 5 {
            queue.push(ice(&n.to_string(), IceState::New));
        }
        assert_eq!(queue.dropped(), 5);
        assert_eq!(queue.pop(), Some(ice("5", IceState::New)));
    }

    #[test]
    fn dtls_is_never_merged_and_bounded_in_bytes() {
        let record = |size| Notice::DtlsReceived {
            transport: "a".into(),
            datagrams: vec![serde_bytes::ByteBuf::from(vec![22; size])],
        };
        let mut queue = NoticeQueue::default();
        queue.push(record(10));
        queue.push(record(10));
        queue.push(record(DTLS_BYTES_MAX));
        assert_eq!(queue.dropped(), 1);
        assert!(queue.pop().is_some() && queue.pop().is_some() && queue.pop().is_none());
        queue.push(record(DTLS_BYTES_MAX));
        assert!(queue.pop().is_some());
    }

    #[test]
    fn telemetry_is_bounded_in_bytes() {
        let frame = |size| Notice::Telemetry {
            room: "a".into(),
            at_ns: 1,
            data: serde_bytes::ByteBuf::from(vec![0; size]),
        };
        let mut queue = NoticeQueue::default();
        queue.push(frame(10));
        queue.push(frame(BULK_BYTES_MAX));
        assert_eq!(queue.dropped(), 1);
        assert_eq!((queue.pop(), queue.pop()), (Some(frame(10)), None));
        queue.push(frame(BULK_BYTES_MAX));
        assert!(queue.pop().is_some());
    }
}
