//! The fan-out: pending packets of a producer to all of its viewers.
//!
//! Producers that have pending packets stand in line. One batch is taken at a
//! time and served viewer by viewer, as many as fit the send buffer: a run of
//! packets to one viewer is one transmit. The buffer then empties through
//! `poll_transmit`, and the next viewers follow. So the send buffer stays small
//! enough for the processor's cache, however many viewers there are.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::consumer::Consumer;
use super::encoding::Encoding;
use super::producer::{Pending, Producer, SharedFormat};
use super::rewrite::Beginning;
use super::selection::Verdict;
use super::table::{ProducerKey, TransportKey};
use super::transport::Transport;
use super::{DATAGRAM_BYTES_MAX, Engine, Notices, Transmit};
use crate::rtcp::ntp_timestamp;
use crate::rtp::{ExtensionMap, PreparedPacket, RtpPacket, ViewerFields};
use crate::wire::notices::Notice;

/// Pending packets of one producer; more are dropped, for the caller did not drain.
pub(crate) const PENDING_MAX: usize = 128;

/// Pending packets in all after which the caller is to drain.
const DRAIN_AT: usize = 64;

/// The send buffer: as much as is encrypted before it is sent.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a packet may grow by on its way out: extensions, RTX header, SRTP tag.
pub(super) const GROWTH_BYTES_MAX: usize = 512;

/// Largest UDP payload of one send call.
const RUN_BYTES_MAX: usize = 65_000;

/// Packets that a late beginning may pull after it.
const CATCH_UP_MAX: u64 = 64;

/// Packets for one address that lie side by side in the send buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) transport: TransportKey,
    remote: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
    count: usize,
    /// A shorter packet ended it.
    closed: bool,
}

#[derive(Default)]
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
}

impl Fanout {
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

    fn has_room(&self, packets: usize) -> bool {
        self.used == 0
            || self.used + packets * (DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX) <= self.buffer.len()
    }

    /// Puts the packet that was just written behind `used` into a run.
    fn commit(
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
        let spare = std::mem::take(&mut fanout.spare);
        let batch = std::mem::replace(&mut producer.pending, spare);
        fanout.waiting = fanout.waiting.saturating_sub(batch.len());
        fanout.batch = Some((key, batch, 0));
    }
    let (key, batch, first) = fanout.batch.take().expect("just set");
    let next = serve(engine, key, &batch, first, segments_max);
    if let Some(next) = next {
        engine.fanout.batch = Some((key, batch, next));
    } else {
        engine.fanout.spare = batch;
        engine.fanout.spare.clear();
    }
    true
}

/// Serves the consumers from place `first` on; the place to go on at, or None at the end.
fn serve(
    engine: &mut Engine,
    key: ProducerKey,
    batch: &[Pending],
    first: usize,
    segments_max: usize,
) -> Option<usize> {
    let now_ns = engine.now_ns;
    let unix_ns = engine.unix_ns(now_ns);
    let Engine {
        table,
        fanout,
        notices,
        ..
    } = engine;
    if fanout.buffer.is_empty() {
        let least = PENDING_MAX * 2 * (DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX);
        fanout.buffer.resize(BUFFER_BYTES.max(least), 0);
    }
    let producer = table.producers.get(key)?;
    let extensions = table.transports.get(producer.transport)?.extensions.clone();
    let packets: Vec<Option<RtpPacket<'_>>> = batch
        .iter()
        .map(|pending| {
            let encoding = producer.encodings.get(usize::from(pending.encoding))?;
            let cached = encoding.cache.lookup(pending.sequence, now_ns)?;
            RtpPacket::parse(cached.data).ok()
        })
        .collect();
    let work = Work {
        producer,
        batch,
        packets: &packets,
        prepared: producer
            .formats
            .iter()
            .map(|shared| prepare(shared, &packets, &extensions))
            .collect(),
        extensions: &extensions,
        now_ns,
        abs_send_time: abs_send_time(unix_ns),
        segments_max,
    };
    for (place, &consumer_key) in producer.consumers.iter().enumerate().skip(first) {
        if !fanout.has_room(2 * batch.len()) {
            return Some(place);
        }
        let Some(consumer) = table.consumers.get_mut(consumer_key) else {
            continue;
        };
        let transport_key = consumer.transport;
        let Some(transport) = table.transports.get_mut(transport_key) else {
            continue;
        };
        let Some(remote) = transport.media_remote().filter(|_| !consumer.row.paused) else {
            continue;
        };
        work.serve(
            consumer,
            transport,
            (transport_key, remote),
            fanout,
            notices,
        );
    }
    None
}

/// Prepares a batch for the viewers of one format.
fn prepare<'a>(
    shared: &SharedFormat,
    packets: &[Option<RtpPacket<'a>>],
    extensions: &ExtensionMap,
) -> Vec<Option<PreparedPacket<'a>>> {
    let packets = packets
        .iter()
        .take(if shared.users > 0 { packets.len() } else { 0 });
    packets
        .map(|packet| PreparedPacket::new(packet.as_ref()?, extensions, &shared.format))
        .collect()
}

/// A batch with all that is alike for its viewers.
struct Work<'a> {
    producer: &'a Producer,
    batch: &'a [Pending],
    packets: &'a [Option<RtpPacket<'a>>],
    /// By format, then by packet.
    prepared: Vec<Vec<Option<PreparedPacket<'a>>>>,
    extensions: &'a ExtensionMap,
    now_ns: u64,
    abs_send_time: u32,
    segments_max: usize,
}

impl Work<'_> {
    /// Serves one viewer with the whole batch.
    fn serve(
        &self,
        consumer: &mut Consumer,
        transport: &mut Transport,
        to: (TransportKey, SocketAddr),
        fanout: &mut Fanout,
        notices: &mut Notices,
    ) {
        for (place, pending) in self.batch.iter().enumerate() {
            let prepared = self.prepared[consumer.format]
                .get(place)
                .and_then(Option::as_ref);
            match consumer
                .selection
                .judge(pending.encoding, pending.start && prepared.is_some())
            {
                Verdict::Skip => continue,
                Verdict::Forward => {}
                Verdict::Begin => self.begin(consumer, pending, notices),
            }
            let Some(prepared) = prepared.filter(|_| !pending.empty) else {
                // Of another codec, or only padding: nothing that this viewer would miss.
                consumer.rewriter.leave_out(pending.sequence);
                continue;
            };
            if pending.start {
                consumer.counters.key_frames += u64::from(consumer.is_video());
            }
            let began = consumer.rewriter.segment_begins_at(pending.sequence);
            consumer.last_payload_type = self.packets[place].map(|one| one.header.payload_type);
            self.send(consumer, transport, to, pending, prepared, fanout);
            if began {
                self.catch_up(consumer, transport, to, place, fanout);
            }
        }
    }

    fn begin(&self, consumer: &mut Consumer, pending: &Pending, notices: &mut Notices) {
        let last = consumer
            .rewriter
            .encoding()
            .filter(|&last| last != pending.encoding);
        let last = last.and_then(|last| self.producer.encodings.get(usize::from(last)));
        let this = self.producer.encodings.get(usize::from(pending.encoding));
        let clock = |encoding: &Encoding| encoding.reception.as_ref().and_then(|one| one.clock);
        let aligned = this.and_then(clock).zip(last.and_then(clock));
        consumer.rewriter.begin(&Beginning {
            encoding: pending.encoding,
            sequence: pending.sequence,
            timestamp: pending.timestamp,
            received_ns: pending.received_ns,
            last_encoding_timestamp: aligned
                .map(|(this, last)| last.timestamp_at(this.publisher_ns_of(pending.timestamp))),
        });
        consumer.selection.begin(pending.encoding);
        if consumer.is_video() {
            notices.push(Notice::LayersChanged {
                consumer: consumer.row.consumer.clone(),
                spatial_layer: Some(u32::from(pending.encoding)),
                temporal_layer: None,
            });
        }
    }

    fn send(
        &self,
        consumer: &mut Consumer,
        transport: &mut Transport,
        to: (TransportKey, SocketAddr),
        pending: &Pending,
        prepared: &PreparedPacket<'_>,
        fanout: &mut Fanout,
    ) {
        let Some(rewritten) =
            consumer
                .rewriter
                .forward(pending.sequence, pending.timestamp, pending.received_ns)
        else {
            return;
        };
        let Some(srtp) = transport.srtp.as_ref() else {
            return;
        };
        let fields = ViewerFields {
            ssrc: consumer.row.ssrc,
            sequence_number: rewritten.sequence as u16,
            timestamp: rewritten.timestamp,
            mid: consumer.row.mid.as_bytes(),
            transport_cc: transport.transport_cc_next,
            abs_send_time: self.abs_send_time,
        };
        let out = &mut fanout.buffer[fanout.used..];
        let Some(header_len) = prepared.write_header(&fields, out) else {
            return;
        };
        let payload = prepared.payload();
        let stream = &mut consumer.stream;
        let protected =
            srtp.outbound
                .protect_rtp(stream, rewritten.sequence, out, header_len, payload);
        let Ok(len) = protected else { return };
        let format = &self.producer.formats[consumer.format];
        if format.numbers_packets {
            transport.transport_cc_next = transport.transport_cc_next.wrapping_add(1);
        }
        consumer.counters.packets += 1;
        consumer.counters.bytes += payload.len() as u64;
        consumer.counters.header_bytes += header_len as u64;
        consumer.meter.record(self.now_ns, payload.len());
        fanout.commit(to.0, to.1, len, self.segments_max);
    }

    /// Sends what had come before the packet that a segment begins with, though it follows it.
    ///
    /// So it is when the first packet of a keyframe was lost and came as a
    /// retransmission: the rest of the frame is in the cache already.
    fn catch_up(
        &self,
        consumer: &mut Consumer,
        transport: &mut Transport,
        to: (TransportKey, SocketAddr),
        place: usize,
        fanout: &mut Fanout,
    ) {
        let first = &self.batch[place];
        let later = &self.batch[place + 1..];
        let Some(encoding) = self.producer.encodings.get(usize::from(first.encoding)) else {
            return;
        };
        let highest = encoding
            .reception
            .as_ref()
            .map_or(0, |reception| reception.highest);
        let last = highest.min(first.sequence + CATCH_UP_MAX);
        for sequence in first.sequence + 1..=last {
            let own_turn = later
                .iter()
                .any(|one| one.encoding == first.encoding && one.sequence == sequence);
            if own_turn || !fanout.has_room(self.batch.len()) {
                continue;
            }
            let Some(cached) = encoding.cache.lookup(sequence, self.now_ns) else {
                continue;
            };
            let Ok(packet) = RtpPacket::parse(cached.data) else {
                continue;
            };
            let format = &self.producer.formats[consumer.format].format;
            let Some(prepared) = PreparedPacket::new(&packet, self.extensions, format) else {
                continue;
            };
            let pending = Pending {
                encoding: first.encoding,
                sequence,
                timestamp: packet.header.timestamp,
                received_ns: cached.received_ns,
                start: false,
                empty: packet.payload().is_empty(),
            };
            if !pending.empty {
                self.send(consumer, transport, to, &pending, &prepared, fanout);
            }
        }
    }
}

/// 24 bits of 6.18 fixed-point seconds.
pub(super) fn abs_send_time(unix_ns: u64) -> u32 {
    ((ntp_timestamp(unix_ns) >> 14) & 0x00FF_FFFF) as u32
}
