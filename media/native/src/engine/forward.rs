//! The fan-out: pending packets of a producer to all of its viewers.
//!
//! Producers that have pending packets stand in line, and each is served with a
//! bounded number of them before the next. One batch is taken at a time and served viewer by viewer, as many as fit the send buffer: a run of
//! packets to one viewer is one transmit. The buffer then empties through
//! `poll_transmit`, and the next viewers follow. So the send buffer stays small
//! enough for the processor's cache, however many viewers there are.
//!
//! Sound that comes while pictures of the same publisher are being sent does not wait until they are:
//! it goes *along*, as the last and shorter packet of a viewer's run. It has a batch of its own, which is
//! served when the pictures are done, to those who have not had it by then. And pictures that come while
//! their publisher's sound is being sent take the rest of it along.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::config::Config;
use super::pacing;
use super::producer::{Pending, Producer};
use super::table::{ProducerKey, Table, TransportKey};
use super::turns;
use super::{DATAGRAM_BYTES_MAX, Engine, Transmit};
use crate::recorder::{Ring, Slab};

/// Pending packets of one producer; more are dropped, for the caller did not drain. One receive
/// call of the driver may bring a thousand.
const PENDING_MAX: usize = 2048;

/// Packets that one producer's viewers are served with at a time.
const BATCH_MAX: usize = 128;

/// Packets that one producer is served with before another one that waits has its turn.
const TURN_MAX: usize = 32;

/// Producers in line among which sound is looked for that goes along.
const LINE_LOOKED_AT_MAX: usize = 8;

/// Pending packets in all after which the caller is to drain.
const DRAIN_AT: usize = 64;

/// As much as is encrypted before it is sent: what lies in a core's cache still.
const CHUNK_BYTES: usize = 96 * 1024;

/// Viewers that are served before what they get is sent, at most: few, so that a batch can grow for
/// the others, and so many that what is prepared for all of them pays. A batch begins with one and
/// doubles: the packets of a frame come one by one, and who is served with the first alone has a
/// send of its own for the rest.
const CHUNK_VIEWERS_MAX: usize = 16;

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

/// The packets of one producer that its viewers are being served with.
///
/// It grows while it is served: what comes meanwhile goes along to those viewers who have not had
/// their turn, in the same run; the others get it in a second round. So a frame whose packets come
/// one by one costs most viewers one send, and nobody waits for it to be complete.
pub(super) struct Batch {
    pub(super) key: ProducerKey,
    pub(super) packets: Vec<Pending>,
    /// Number of the first packet, among all that were ever served.
    pub(super) first: u64,
    /// Place of the next consumer; behind the last comes the first again.
    pub(super) place: usize,
    /// Consumers that have not got all of it.
    pub(super) remaining: usize,
    /// Viewers that are served next, before what they get is sent.
    pub(super) chunk: usize,
}

impl Batch {
    /// The number of the packet behind the last.
    pub(super) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }
}

pub(crate) struct Fanout {
    line: VecDeque<ProducerKey>,
    /// Transports whose next piece is due.
    pub(super) paced: VecDeque<TransportKey>,
    batch: Option<Batch>,
    /// Sound that goes along with that.
    along: Option<Batch>,
    /// Packets that were put into batches so far.
    numbered: u64,
    /// Vectors to reuse.
    spare: Vec<Vec<Pending>>,
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
            paced: VecDeque::new(),
            batch: None,
            along: None,
            numbered: 0,
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

    /// An empty batch of a producer.
    fn begin(&mut self, key: ProducerKey) -> Batch {
        Batch {
            key,
            packets: self.spare.pop().unwrap_or_default(),
            first: self.numbered,
            place: 0,
            remaining: 0,
            chunk: 1,
        }
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

    /// Whether enough was encrypted to send it before going on.
    pub(super) fn is_chunk(&self) -> bool {
        self.used >= CHUNK_BYTES
    }

    /// Forgets packets of an encoding whose numbers begin anew.
    pub(super) fn forget(&mut self, key: ProducerKey, encoding: u8) {
        let batches = self.batch.iter_mut().chain(&mut self.along);
        for batch in batches.filter(|batch| batch.key == key) {
            for packet in &mut batch.packets {
                packet.void |= packet.encoding == encoding;
            }
        }
    }

    /// Where the next packet is written.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            let least = BATCH_MAX * 2 * (DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX);
            self.buffer.resize(CHUNK_BYTES + least, 0);
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
        if pacing::serve_next(engine, segments_max.max(1)) {
            continue;
        }
        if !fill(engine, segments_max.max(1)) {
            return None;
        }
    }
}

/// Serves viewers with as much as is sent at once; false if nothing waits.
fn fill(engine: &mut Engine, segments_max: usize) -> bool {
    let Engine { fanout, table, .. } = engine;
    let mut batch = match fanout.batch.take() {
        Some(batch) => batch,
        None => {
            let Some(key) = fanout.line.pop_front() else {
                fanout.waiting = 0;
                return false;
            };
            fanout.begin(key)
        }
    };
    let mut along = fanout.along.take();
    if along.is_none() {
        if let Some(pictures) = pictures_of(fanout, table, batch.key) {
            along = Some(std::mem::replace(&mut batch, fanout.begin(pictures)));
        } else {
            let key = sound_of(fanout, table, batch.key);
            along = key.map(|key| fanout.begin(key));
        }
    }
    for batch in std::iter::once(&mut batch).chain(&mut along) {
        if let Some(producer) = table.producers.get_mut(batch.key) {
            grow(fanout, producer, batch);
        }
    }
    if batch.remaining > 0 {
        turns::serve(engine, &mut batch, along.as_ref(), segments_max);
        batch.chunk = (2 * batch.chunk).min(CHUNK_VIEWERS_MAX);
    }
    let fanout = &mut engine.fanout;
    if batch.remaining > 0 {
        (fanout.batch, fanout.along) = (Some(batch), along);
    } else {
        // Those who have not had the sound have it next.
        fanout.batch = along;
        batch.packets.clear();
        fanout.spare.push(batch.packets);
    }
    true
}

/// The sound that stands in line of the publisher whose pictures these are.
fn sound_of(fanout: &Fanout, table: &Table, pictures: ProducerKey) -> Option<ProducerKey> {
    let pictures = table.producers.get(pictures).filter(|one| one.is_video())?;
    let mut line = fanout.line.iter().copied().take(LINE_LOOKED_AT_MAX);
    line.find(|&key| {
        let waiting = table.producers.get(key).filter(|one| !one.is_video());
        waiting.is_some_and(|one| one.row.transport == pictures.row.transport)
    })
}

/// The pictures that are next in line, if they are of the publisher whose sound this is.
fn pictures_of(fanout: &Fanout, table: &Table, sound: ProducerKey) -> Option<ProducerKey> {
    let sound = table.producers.get(sound).filter(|one| !one.is_video())?;
    let next = *fanout.line.front()?;
    let waiting = table.producers.get(next).filter(|one| one.is_video())?;
    (waiting.row.transport == sound.row.transport).then_some(next)
}

/// Puts what waits of the producer into its batch, as far as others who wait allow.
fn grow(fanout: &mut Fanout, producer: &mut Producer, batch: &mut Batch) {
    if producer.pending.is_empty() {
        return;
    }
    fanout.line.retain(|&one| one != batch.key);
    let most = if fanout.line.is_empty() {
        BATCH_MAX
    } else {
        TURN_MAX
    };
    let count = most
        .saturating_sub(batch.packets.len())
        .min(producer.pending.len());
    batch.packets.extend(producer.pending.drain(..count));
    if !producer.pending.is_empty() {
        fanout.line.push_back(batch.key);
    }
    if count > 0 {
        fanout.numbered += count as u64;
        fanout.waiting = fanout.waiting.saturating_sub(count);
        batch.remaining = producer.consumers.len();
    }
}
