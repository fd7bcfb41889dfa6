//! Datagrams that wait to be taken by `poll_transmit`, other than forwarded media.

use std::net::SocketAddr;

use super::table::TransportKey;

/// Datagrams that wait at most; a caller that drains never comes near.
const DATAGRAMS_MAX: usize = 65_536;

/// One datagram of the outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) transport: Option<TransportKey>,
    pub(crate) remote: SocketAddr,
    start: usize,
    end: usize,
}

/// A first-in, first-out store in one reused buffer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, transport: TransportKey, remote: SocketAddr, datagram: &[u8]) {
        self.push_for(Some(transport), remote, datagram);
    }

    /// Without a transport: an answer to one who named none of ours.
    pub(crate) fn push_for(
        &mut self,
        transport: Option<TransportKey>,
        remote: SocketAddr,
        datagram: &[u8],
    ) {
        if self.entries.len() >= DATAGRAMS_MAX {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.entries.push(Entry {
            transport,
            remote,
            start,
            end: self.bytes.len(),
        });
    }

    /// The next entry; its bytes stay until the next call.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        if let Some(&entry) = self.entries.get(self.next) {
            self.next += 1;
            return Some(entry);
        }
        self.bytes.clear();
        self.entries.clear();
        self.next = 0;
        None
    }

    pub(crate) fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start..entry.end]
    }
}

impl Entry {
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}
