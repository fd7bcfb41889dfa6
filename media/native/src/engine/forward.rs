//! The fan-out: pending packets of a producer to all of its viewers.
//!
//! Producers that have pending packets stand in line, and each is served with a
//! bounded number of them before the next. One batch is taken at a time and served viewer by viewer, as many as fit the send buffer: a run of
//! packets to one viewer is one transmit. The buffer then empties through
//! `poll_transmit`, and the next viewers follow. So the send buffer stays small
//! enough for the processor's cache, however many viewers there are.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::config::Config;
use super::producer::{Pending, Producer};
use super::serve;
use super::table::{ProducerKey, TransportKey};
use super::{DATAGRAM_BYTES_MAX, Engine, Transmit};
use crate::recorder::{Ring, Slab};

/// Pending packets of one producer; more are dropped, for the caller did not drain.
pub(crate) const PENDING_MAX: usize = 128;

/// Packets that one producer is served with before another one that waits has its turn.
const TURN_MAX: usize = 32;

/// Pending packets in all after which the caller is to drain.
const DRAIN_AT: usize = 64;

/// The send buffer: as much as is encrypted before it is sent.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a packet may grow by on its way out: extensions, RTX header, SRTP tag.
pub(super) const GROWTH_BYTES_MAX: usize = 512;

/// Largest UDP payload of one send call.
const RUN_BYTES_MAX: usize = 65_000;

/// Packets for one address that lie side by side in the send buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) transport: TransportKey,
    remote: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
    pub(crate) count: usize,
    /// A shorter packet ended it.
    closed: bool,
}

pub(crate) struct Fanout {
    line: VecDeque<ProducerKey>,
    /// The batch that is being served, and the place of its next consumer.
    batch: Option<(ProducerKey, Vec<Pending>, usize)>,
    /// A vector to reuse.
    spare: Vec<Pending>,
    waiting: usize,
    buffer: Vec<u8>,
    used: usize,
    runs: VecDeque<Run>,
    /// Here, for each packet that is written is recorded.
    pub(super) recorder: Slab,
}

impl Fanout {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            line: VecDeque::new(),
            batch: None,
            spare: Vec::new(),
            waiting: 0,
            buffer: Vec::new(),
            used: 0,
            runs: VecDeque::new(),
            recorder: Slab::new(config.recorder_bytes, config.recorder_seconds),
        }
    }

    /// Records the packet that was just written into [`Self::room`].
    #[inline]
    pub(super) fn record(&mut self, ring: &mut Ring, now_ns: u64, len: usize, cc: Option<u16>) {
        let packet = &self.buffer[self.used..self.used + len];
        self.recorder.forwarded(ring, now_ns, packet, cc);
    }

    pub(crate) fn wants_drain(&self) -> bool {
        self.waiting >= DRAIN_AT
    }

    pub(crate) fn transmit(&self, run: &Run) -> Transmit<'_> {
        let contents = &self.buffer[run.start..run.end];
        let segment_size = (run.count > 1).then_some(run.segment);
        Transmit {
            remote: run.remote,
            contents,
            segment_size,
        }
    }

    /// Whether so many packets of any length fit; an empty buffer takes any batch.
    pub(super) fn has_room(&self, packets: usize) -> bool {
        self.used == 0
            || self.used + packets * (DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX) <= self.buffer.len()
    }

    /// Where the next packet is written.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            let least = PENDING_MAX * 2 * (DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX);
            self.buffer.resize(BUFFER_BYTES.max(least), 0);
        }
        &mut self.buffer[self.used..]
    }

    /// Puts the packet that was just written into [`Self::room`] into a run.
    pub(super) fn commit(
        &mut self,
        transport: TransportKey,
        remote: SocketAddr,
        len: usize,
        segments_max: usize,
    ) {
        let (start, end) = (self.used, self.used + len);
        self.used = end;
        if let Some(run) = self.runs.back_mut() {
            let fits = run.remote == remote
                && run.end == start
                && !run.closed
                && len <= run.segment
                && run.count < segments_max
                && end - run.start <= RUN_BYTES_MAX;
            if fits {
                run.end = end;
                run.count += 1;
                run.closed = len < run.segment;
                return;
            }
        }
        let run = Run {
            transport,
            remote,
            start,
            end,
            segment: len,
            count: 1,
            closed: false,
        };
        self.runs.push_back(run);
    }
}

/// Notes a packet for forwarding; false if too much waits already.
pub(super) fn enqueue(
    fanout: &mut Fanout,
    producer: &mut Producer,
    key: ProducerKey,
    pending: Pending,
) -> bool {
    if producer.row.paused || producer.consumers.is_empty() {
        return true;
    }
    if producer.pending.len() >= PENDING_MAX {
        return false;
    }
    if producer.pending.is_empty() {
        fanout.line.push_back(key);
    }
    producer.pending.push(pending);
    fanout.waiting += 1;
    true
}

/// The next run, after filling the send buffer if it is empty.
pub(super) fn poll_run(engine: &mut Engine, segments_max: usize) -> Option<Run> {
    loop {
        if let Some(run) = engine.fanout.runs.pop_front() {
            if let Some(transport) = engine.table.transports.get_mut(run.transport) {
                transport.counters.packets_sent += run.count as u64;
                transport.counters.bytes_sent += (run.end - run.start) as u64;
            }
            return Some(run);
        }
        engine.fanout.used = 0;
        if !fill(engine, segments_max.max(1)) {
            return None;
        }
    }
}

/// Serves viewers until the send buffer is full; false if nothing waits.
fn fill(engine: &mut Engine, segments_max: usize) -> bool {
    let Engine { fanout, table, .. } = engine;
    if fanout.batch.is_none() {
        let Some(key) = fanout.line.pop_front() else {
            fanout.waiting = 0;
            return false;
        };
        let Some(producer) = table.producers.get_mut(key) else {
            return true;
        };
        let mut batch = std::mem::take(&mut fanout.spare);
        if fanout.line.is_empty() || producer.pending.len() <= TURN_MAX {
            std::mem::swap(&mut batch, &mut producer.pending);
        } else {
            batch.extend(producer.pending.drain(..TURN_MAX));
            fanout.line.push_back(key);
        }
        fanout.waiting = fanout.waiting.saturating_sub(batch.len());
        fanout.batch = Some((key, batch, 0));
    }
    let (key, batch, first) = fanout.batch.take().expect("just set");
    let next = serve::serve(engine, key, &batch, first, segments_max);
    if let Some(next) = next {
        engine.fanout.batch = Some((key, batch, next));
    } else {
        engine.fanout.spare = batch;
        engine.fanout.spare.clear();
    }
    true
}
