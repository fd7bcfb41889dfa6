//! Rings of records between workers: one a direction and pair, lock-free, bounded.
//!
//! A ring is a ring of bytes (`rtrb`: single producer, single consumer), so a
//! packet costs two copies and no allocation. Records lie in it with their
//! length before them. A worker that put something into a ring wakes the other
//! one once a batch.

use std::io;
use std::sync::Arc;

use mio::Waker;

/// Longest record: a datagram and what is told of it.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of all rings that lead to one worker, shared out between them.
const BYTES_TO_ONE_WORKER: usize = 8 * 1024 * 1024;

/// Least and most bytes of one ring.
const RING_BYTES_MIN: usize = 256 * 1024;
const RING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Records that are taken from one ring before the next one has its turn.
const RECORDS_A_TURN: usize = 64;

const LENGTH_BYTES: usize = 4;

/// The way to another worker.
#[derive(Debug)]
struct Outgoing {
    ring: rtrb::Producer<u8>,
    waker: Arc<Waker>,
    /// Something was put into it since the other was woken.
    fresh: bool,
}

/// The ways to and from all other workers.
#[derive(Debug, Default)]
pub struct Rings {
    /// By worker; None for itself.
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<(u32, rtrb::Consumer<u8>)>,
    record: Vec<u8>,
}

impl Rings {
    /// Rings for so many workers as there are wakers, each with its own.
    pub fn connect(wakers: &[Arc<Waker>]) -> Vec<Self> {
        let mut all: Vec<Self> = wakers
            .iter()
            .map(|_| Self {
                record: Vec::with_capacity(RECORD_BYTES_MAX),
                ..Self::default()
            })
            .collect();
        let others = wakers.len().saturating_sub(1).max(1);
        let bytes = (BYTES_TO_ONE_WORKER / others).clamp(RING_BYTES_MIN, RING_BYTES_MAX);
        for from in 0..wakers.len() {
            for (to, waker) in wakers.iter().enumerate() {
                if from == to {
                    all[from].outgoing.push(None);
                    continue;
                }
                let (producer, consumer) = rtrb::RingBuffer::new(bytes);
                all[to].incoming.push((from as u32, consumer));
                all[from].outgoing.push(Some(Outgoing {
                    ring: producer,
                    waker: Arc::clone(waker),
                    fresh: false,
                }));
            }
        }
        all
    }

    /// Puts a record into the ring to a worker; false if there is no room.
    pub fn push(&mut self, worker: u32, record: &[u8]) -> bool {
        let Some(Some(outgoing)) = self.outgoing.get_mut(worker as usize) else {
            return false;
        };
        if record.len() > RECORD_BYTES_MAX {
            return false;
        }
        let Ok(mut chunk) = outgoing.ring.write_chunk(LENGTH_BYTES + record.len()) else {
            return false;
        };
        let (first, second) = chunk.as_mut_slices();
        let length = (record.len() as u32).to_le_bytes();
        copy_to(first, second, 0, &length);
        copy_to(first, second, LENGTH_BYTES, record);
        chunk.commit_all();
        outgoing.fresh = true;
        true
    }

    /// Wakes those into whose rings something was put.
    ///
    /// # Errors
    /// What eventfd says.
    pub fn wake(&mut self) -> io::Result<()> {
        for outgoing in self.outgoing.iter_mut().flatten() {
            if std::mem::take(&mut outgoing.fresh) {
                outgoing.waker.wake()?;
            }
        }
        Ok(())
    }

    /// Takes a turn of records out of each ring; true if there may be more.
    ///
    /// `take` gets the worker that wrote a record, and the record.
    pub fn receive(&mut self, mut take: impl FnMut(u32, &[u8])) -> bool {
        let Self {
            incoming, record, ..
        } = self;
        let mut more = false;
        for (from, ring) in incoming {
            for _ in 0..RECORDS_A_TURN {
                let Some(length) = peek_length(ring) else {
                    break;
                };
                let Ok(chunk) = ring.read_chunk(LENGTH_BYTES + length) else {
                    break;
                };
                let (first, second) = chunk.as_slices();
                if second.is_empty() {
                    take(*from, &first[LENGTH_BYTES..]);
                } else {
                    record.clear();
                    record.extend_from_slice(first);
                    record.extend_from_slice(second);
                    take(*from, &record[LENGTH_BYTES..]);
                }
                chunk.commit_all();
            }
            more |= !ring.is_empty();
        }
        more
    }
}

/// Copies into two slices as if they were one.
fn copy_to(first: &mut [u8], second: &mut [u8], at: usize, bytes: &[u8]) {
    let fits = first.len().saturating_sub(at).min(bytes.len());
    let (head, tail) = bytes.split_at(fits);
    if !head.is_empty() {
        first[at..at + fits].copy_from_slice(head);
    }
    if !tail.is_empty() {
        let at = (at + fits) - first.len();
        second[at..at + tail.len()].copy_from_slice(tail);
    }
}

fn peek_length(ring: &mut rtrb::Consumer<u8>) -> Option<usize> {
    let chunk = ring.read_chunk(LENGTH_BYTES).ok()?;
    let (first, second) = chunk.as_slices();
    let mut bytes = [0; LENGTH_BYTES];
    for (to, from) in bytes.iter_mut().zip(first.iter().chain(second)) {
        *to = *from;
    }
    // Not committed: what was read stays.
    Some(u32::from_le_bytes(bytes) as usize)
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    fn wakers(count: usize) -> (Vec<Poll>, Vec<Arc<Waker>>) {
        let polls: Vec<Poll> = (0..count).map(|_| Poll::new().expect("epoll")).collect();
        let wakers = polls
            .iter()
            .map(|poll| Arc::new(Waker::new(poll.registry(), Token(0)).expect("eventfd")))
            .collect();
        (polls, wakers)
    }

    fn drain(rings: &mut Rings) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        while rings.receive(|from, record| all.push((from, record.to_vec()))) {}
        all
    }

    #[test]
    fn records_come_whole_and_in_order_however_the_ring_wraps() {
        let (_polls, wakers) = wakers(2);
        let mut rings = Rings::connect(&wakers);
        let (mut a, mut b) = (rings.remove(0), rings.remove(0));
        let mut number = 0u32;
        for _ in 0..400 {
            let sent: Vec<Vec<u8>> = (0..40)
                .map(|_| {
                    number += 1;
                    let len = 4 + (number as usize * 7919) % 1500;
                    let mut record = number.to_le_bytes().to_vec();
                    record.resize(len, number as u8);
                    record
                })
                .collect();
            assert!(sent.iter().all(|record| a.push(1, record)));
            let came = drain(&mut b);
            assert!(came.iter().all(|(from, _)| *from == 0));
            assert!(came.into_iter().map(|(_, record)| record).eq(sent));
        }
    }

    #[test]
    fn a_full_ring_refuses_and_goes_on_when_it_is_read() {
        let (_polls, wakers) = wakers(3);
        let mut rings = Rings::connect(&wakers);
        let record = [7; 1200];
        let mut taken = 0;
        while rings[2].push(0, &record) {
            taken += 1;
        }
        assert_eq!(taken, RING_BYTES_MAX / 1204);
        // Others are not concerned.
        assert!(rings[1].push(0, b"x") && rings[2].push(1, b"y"));
        assert_eq!(drain(&mut rings[0]).len(), taken + 1);
        assert!(rings[2].push(0, &record));
    }

    #[test]
    fn one_wake_up_a_batch() {
        let (mut polls, wakers) = wakers(2);
        let mut rings = Rings::connect(&wakers);
        let mut events = mio::Events::with_capacity(4);
        let mut woken = |poll: &mut Poll| {
            poll.poll(&mut events, Some(std::time::Duration::ZERO))
                .expect("epoll");
            events.iter().count()
        };
        rings[0].wake().expect("eventfd");
        assert_eq!(woken(&mut polls[1]), 0);
        assert!(rings[0].push(1, b"a") && rings[0].push(1, b"b"));
        rings[0].wake().expect("eventfd");
        assert_eq!(woken(&mut polls[1]), 1);
    }

    #[test]
    fn what_no_ring_leads_to_is_refused() {
        let (_polls, wakers) = wakers(1);
        let mut rings = Rings::connect(&wakers);
        assert!(!rings[0].push(0, b"x") && !rings[0].push(9, b"x"));
        assert!(drain(&mut rings[0]).is_empty());
    }
}
