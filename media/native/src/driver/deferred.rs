//! Reports that came while packets were being sent: they can wait until those are out.
//!
//! While a burst goes out to a thousand viewers some hundred and fifty reports of viewers come in, and to
//! handle them takes a millisecond, by which all who are still to be sent to would wait longer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::demux::{DatagramKind, classify};

/// Bytes that wait at most, and datagrams.
const BYTES_MAX: usize = 64 * 1024;
const DATAGRAMS_MAX: usize = 512;

/// A datagram that waits.
#[derive(Clone, Copy, Debug)]
struct Entry {
    arrived_ns: u64,
    remote: SocketAddr,
    len: usize,
}

/// Datagrams of RTCP in the order they came, bounded.
#[derive(Debug, Default)]
pub struct Deferred {
    bytes: Vec<u8>,
    /// Bytes at the front that were handed over.
    given: usize,
    entries: VecDeque<Entry>,
}

impl Deferred {
    /// Whether a datagram can wait.
    pub fn can_wait(datagram: &[u8]) -> bool {
        classify(datagram) == DatagramKind::Rtcp
    }

    /// Whether there is room for it. An empty buffer takes any datagram.
    pub fn has_room(&self, datagram: &[u8]) -> bool {
        let waiting = self.bytes.len() - self.given;
        self.is_empty()
            || self.entries.len() < DATAGRAMS_MAX && waiting + datagram.len() <= BYTES_MAX
    }

    /// Keeps a datagram that came at `now_ns` (monotonic, in ns).
    pub fn keep(&mut self, now_ns: u64, remote: SocketAddr, datagram: &[u8]) {
        if self.given >= BYTES_MAX {
            self.bytes.drain(..self.given);
            self.given = 0;
        }
        self.bytes.extend_from_slice(datagram);
        self.entries.push_back(Entry {
            arrived_ns: now_ns,
            remote,
            len: datagram.len(),
        });
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hands over what waited, with when it came (monotonic, in ns), and forgets it: `most` datagrams.
    pub fn give(&mut self, most: usize, mut take: impl FnMut(u64, SocketAddr, &mut [u8])) {
        let count = most.min(self.entries.len());
        for entry in self.entries.drain(..count) {
            let end = self.given + entry.len;
            let datagram = &mut self.bytes[self.given..end];
            take(entry.arrived_ns, entry.remote, datagram);
            self.given = end;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
            self.given = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn reports_can_wait_and_nothing_else() {
        assert!(Deferred::can_wait(&REPORT));
        for at_once in [&[0x80, 96, 0, 1][..], &[22, 254, 253], &[0, 1, 0, 0], &[]] {
            assert!(!Deferred::can_wait(at_once));
        }
    }

    #[test]
    fn what_waits_is_given_once_in_order_and_with_its_time() {
        let mut deferred = Deferred::default();
        deferred.keep(5, remote(1), &REPORT);
        deferred.keep(7, remote(3), &REPORT[..4]);
        assert!(!deferred.is_empty());
        let mut given = Vec::new();
        let mut give = |deferred: &mut Deferred| {
            deferred.give(1, |at_ns, remote, datagram| {
                given.push((at_ns, remote.port(), datagram.to_vec()));
            });
        };
        give(&mut deferred);
        deferred.keep(9, remote(1), &REPORT[..6]);
        give(&mut deferred);
        give(&mut deferred);
        assert!(deferred.is_empty());
        give(&mut deferred);
        assert_eq!(
            given,
            [
                (5, 1, REPORT.to_vec()),
                (7, 3, REPORT[..4].to_vec()),
                (9, 1, REPORT[..6].to_vec())
            ]
        );
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_by_size() {
        let mut large = [0; 1400];
        large[..8].copy_from_slice(&REPORT);
        for (datagram, most) in [(&REPORT[..], DATAGRAMS_MAX), (&large, BYTES_MAX / 1400)] {
            let mut deferred = Deferred::default();
            let mut kept = 0;
            while deferred.has_room(datagram) {
                deferred.keep(1, remote(1), datagram);
                kept += 1;
            }
            assert_eq!(kept, most);
            // As much as was handed over has room again, and the buffer grows to twice the bound at most.
            for _ in 0..5 * most {
                deferred.give(1, |_, _, bytes| assert_eq!(bytes, datagram));
                assert!(deferred.has_room(datagram));
                deferred.keep(1, remote(1), datagram);
                assert!(deferred.bytes.len() <= 2 * BYTES_MAX + datagram.len());
            }
            deferred.give(kept, |_, _, _| {});
            assert!(deferred.has_room(&[0x80; 2 * BYTES_MAX]));
        }
    }
}
