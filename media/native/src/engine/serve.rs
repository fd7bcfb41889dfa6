//! Serves viewers with a batch of packets: the hot path of the engine.
//!
//! What is alike for all viewers is made once a batch: parsed packets, prepared
//! headers by format, picture numbers. For each viewer and packet there remain
//! the sequence number, the header's own fields, and the encryption.

use std::net::SocketAddr;

use super::consumer::{Consumer, Reason};
use super::descriptors::{edited, picture_of, pictures, targets_of};
use super::encoding::Encoding;
use super::filter::{Sieve, Structure};
use super::forward::Fanout;
use super::instant_start::Plan;
use super::pacing::Cursor;
use super::picture::PictureFields;
use super::producer::{Pending, Producer, SharedFormat};
use super::rewrite::Beginning;
use super::runs::PADDING_MAX;
use super::selection::Verdict;
use super::table::TransportKey;
use super::transport::Transport;
use super::{Engine, Notices};
use crate::codec::dependency_rewrite::{ActiveTargets, DescriptorEdit};
use crate::rtp::{ExtensionMap, PreparedPacket, RtpPacket, ViewerFields, abs_send_time};

/// The marker bit, in the second byte of an RTP header.
pub(super) const MARKER: u8 = 0x80;

/// The padding bit, in the first byte of an RTP header.
const PADDING: u8 = 0x20;

/// Packets that a late beginning may pull after it.
const CATCH_UP_MAX: u64 = 64;

/// A viewer's stream and where it goes.
pub(super) struct Viewer<'a> {
    pub(super) consumer: &'a mut Consumer,
    pub(super) transport: &'a mut Transport,
    pub(super) transport_key: TransportKey,
    pub(super) remote: SocketAddr,
    /// By place in the batch; empty for none.
    pub(super) padding: &'a [u8],
    /// Bytes that it may be sent now; None for any.
    pub(super) allowance: Option<i64>,
    /// What it may not be sent now is sent later.
    pub(super) fell_behind: bool,
}

/// A packet with what is known of it before any viewer gets it.
struct Outgoing<'a> {
    sequence: u64,
    timestamp: u32,
    received_ns: u64,
    prepared: &'a PreparedPacket<'a>,
    picture: Option<PictureFields>,
    /// Decode targets that its dependency descriptor is to tell.
    targets: Option<ActiveTargets>,
    /// It ends the viewer's picture, though not the publisher's.
    is_last: bool,
    /// Bytes that make it as long as others of its run.
    padding: u8,
}

/// When packets are sent, and how many at most in one run.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now_ns: u64,
    pub(super) abs_send_time: u32,
    pub(super) segments_max: usize,
}

impl Moment {
    pub(super) fn of(engine: &Engine, segments_max: usize) -> Self {
        let now_ns = engine.now_ns;
        Self {
            now_ns,
            abs_send_time: abs_send_time(engine.unix_ns(now_ns)),
            segments_max,
        }
    }
}

/// The cached packets of a batch.
pub(super) fn find<'a>(
    producer: &'a Producer,
    batch: &[Pending],
    now_ns: u64,
) -> Vec<Option<RtpPacket<'a>>> {
    let find = |pending: &Pending| {
        if pending.void {
            return None;
        }
        let encoding = producer.encodings.get(usize::from(pending.encoding))?;
        let cached = encoding.cache.lookup(pending.sequence, now_ns)?;
        RtpPacket::parse(cached.data).ok()
    };
    batch.iter().map(find).collect()
}

/// Prepares a batch for the viewers of one format.
pub(super) fn prepare<'a>(
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
pub(super) struct Work<'a> {
    pub(super) producer: &'a Producer,
    pub(super) batch: &'a [Pending],
    pub(super) packets: &'a [Option<RtpPacket<'a>>],
    /// By format, then by packet.
    pub(super) prepared: Vec<Vec<Option<PreparedPacket<'a>>>>,
    /// By packet; empty where no picture numbers need be rewritten.
    pub(super) pictures: Vec<Option<PictureFields>>,
    pub(super) moment: Moment,
    /// The batch is of packets that others have had; with what begins with it.
    pub(super) past: Option<Option<Plan>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        producer: &'a Producer,
        batch: &'a [Pending],
        packets: &'a [Option<RtpPacket<'a>>],
        moment: Moment,
    ) -> Self {
        let formats = producer.formats.iter();
        let prepared = formats.map(|shared| prepare(shared, packets, &producer.extensions));
        Self {
            producer,
            batch,
            packets,
            prepared: prepared.collect(),
            pictures: pictures(producer, batch, packets),
            moment,
            past: None,
        }
    }

    /// Serves one viewer with the batch, but for so many packets that it has had.
    pub(super) fn serve(
        &self,
        viewer: &mut Viewer<'_>,
        had: usize,
        fanout: &mut Fanout,
        notices: &mut Notices,
    ) {
        for (place, pending) in self.batch.iter().enumerate().skip(had) {
            if pending.void {
                continue;
            }
            let consumer = &mut *viewer.consumer;
            if let Some(cursor) = consumer.cursor.filter(|_| self.past.is_none()) {
                let has_had = |sequence| consumer.rewriter.has_had(sequence);
                if cursor.passes_over(pending.encoding, pending.sequence, has_had) {
                    continue;
                }
            }
            let prepared = self.prepared[consumer.format]
                .get(place)
                .and_then(Option::as_ref);
            let can_begin = pending.start && !pending.empty && prepared.is_some();
            let is_current = consumer.selection.current() == Some(pending.encoding);
            let begins_picture = pending.info.start_of_frame && pending.info.spatial_layer == 0;
            if consumer.cut && is_current && begins_picture {
                consumer.selection.stop();
                consumer.cut = false;
            }
            let verdict = match self.beginning() {
                Some(plan) if plan.group.first == pending.sequence && can_begin => Verdict::Begin,
                _ => consumer.selection.judge(pending.encoding, can_begin),
            };
            match verdict {
                Verdict::Skip => continue,
                Verdict::Forward => {}
                Verdict::Begin => self.begin(consumer, place, notices),
            }
            if viewer.allowance.is_some_and(|bytes| bytes <= 0) {
                let is_next = consumer.rewriter.is_ahead(pending.sequence);
                if is_next && self.has_history(pending) {
                    consumer.cursor = Some(Cursor::behind(self.moment.now_ns, pending));
                    viewer.fell_behind = true;
                    continue;
                }
            }
            let Some(prepared) = prepared.filter(|_| !pending.empty) else {
                // Of another codec, or only padding: nothing that this viewer would miss.
                consumer.rewriter.leave_out(pending.sequence);
                continue;
            };
            let picture = self.pictures.get(place).copied().flatten();
            let structure = self.structure_of(pending.encoding);
            let info = &pending.info;
            let may_change = info.is_layered && info.start_of_frame;
            let is_ahead = may_change && consumer.rewriter.is_ahead(pending.sequence);
            let sieve =
                consumer
                    .filter
                    .sift(&pending.info, structure, pending.key_picture, is_ahead);
            if sieve == Sieve::LeaveOut {
                consumer.rewriter.leave_out(pending.sequence);
                let id = picture.filter(|one| one.counts_gaps);
                if let Some(id) = id.and_then(|one| one.picture_id).filter(|one| one.is_long) {
                    consumer.rewriter.leave_out_picture(id.value);
                }
                continue;
            }
            if pending.start && consumer.is_video() {
                consumer.counters.key_frames += 1;
            }
            let encoding = self.producer.encodings.get(usize::from(pending.encoding));
            let targets = prepared
                .descriptor()
                .zip(encoding)
                .and_then(|(value, encoding)| targets_of(consumer, encoding, value));
            consumer.last_payload_type = self.packets[place].map(|one| one.header.payload_type);
            let outgoing = Outgoing {
                sequence: pending.sequence,
                timestamp: pending.timestamp,
                received_ns: if consumer
                    .cursor
                    .is_some_and(|one| one.is_replay && !one.live)
                {
                    self.moment.now_ns // As near to what the squeezed timestamp says.
                } else {
                    pending.received_ns
                },
                prepared,
                picture,
                targets,
                is_last: sieve == Sieve::PassLast,
                padding: viewer.padding.get(place).copied().unwrap_or(0),
            };
            self.send(viewer, &outgoing, fanout);
            if verdict == Verdict::Begin && self.past.is_none() {
                self.catch_up(viewer, place, fanout);
            }
        }
    }

    /// What a segment begins with, if it is one of the past.
    fn beginning(&self) -> Option<Plan> {
        self.past.flatten()
    }

    /// Whether a packet can be had later.
    fn has_history(&self, pending: &Pending) -> bool {
        let encoding = self.producer.encodings.get(usize::from(pending.encoding));
        encoding.is_some_and(|one| one.history.packet(pending.sequence).is_some())
    }

    fn begin(&self, consumer: &mut Consumer, place: usize, notices: &mut Notices) {
        let pending = &self.batch[place];
        let plan = self.beginning();
        let (timestamp, received_ns) =
            plan.map_or((pending.timestamp, pending.received_ns), |one| one.newest);
        if plan.is_none() {
            consumer.cursor = None;
        }
        let last = consumer
            .rewriter
            .encoding()
            .filter(|&last| last != pending.encoding);
        let last = last.and_then(|last| self.producer.encodings.get(usize::from(last)));
        let this = self.producer.encodings.get(usize::from(pending.encoding));
        let clock = |encoding: &Encoding| encoding.reception.as_ref().and_then(|one| one.clock);
        let aligned = this.and_then(clock).zip(last.and_then(clock));
        let picture_offsets = match self.pictures.get(place).copied().flatten() {
            Some(picture) if consumer.rewriter.encoding().is_some() => {
                consumer.pictures.continue_with(&picture)
            }
            _ => consumer.rewriter.picture_offsets(),
        };
        if consumer.is_cut_off() && consumer.reason == Reason::Bandwidth {
            consumer.forsaken = consumer.rewriter.next_sequence();
        }
        consumer.rewriter.begin(&Beginning {
            encoding: pending.encoding,
            sequence: pending.sequence,
            timestamp,
            received_ns,
            last_encoding_timestamp: aligned
                .map(|(this, last)| last.timestamp_at(this.publisher_ns_of(timestamp))),
            picture_offsets,
            squeeze: plan.map(|one| one.squeeze),
        });
        if consumer.selection.current().is_none() {
            consumer.started_ns = self.moment.now_ns;
        }
        consumer.selection.begin(pending.encoding);
        consumer.cut = false;
        let (spatial, temporal) = consumer.wanted;
        let is_thin = plan.is_some_and(|one| one.thin);
        consumer
            .filter
            .aim(spatial, if is_thin { 0 } else { temporal });
        consumer.filter.begin();
        if consumer.is_video() {
            let layers = consumer.layers_sent(self.moment.now_ns, self.producer);
            let age_ns = plan.map(|one| self.moment.now_ns.saturating_sub(one.group.received_ns));
            consumer.tell_layers(layers, age_ns, notices);
        }
    }

    fn structure_of(&self, encoding: u8) -> Structure {
        let encoding = self.producer.encodings.get(usize::from(encoding));
        encoding.map_or(Structure::Flat, |one| one.structure)
    }

    fn send(&self, viewer: &mut Viewer<'_>, packet: &Outgoing<'_>, fanout: &mut Fanout) {
        let Viewer {
            consumer,
            transport,
            transport_key,
            remote,
            allowance,
            ..
        } = viewer;
        let rewriter = &mut consumer.rewriter;
        let rewritten = rewriter.forward(packet.sequence, packet.timestamp, packet.received_ns);
        let Some(rewritten) = rewritten else { return };
        let Some(srtp) = transport.srtp.as_ref() else {
            return;
        };
        let mut picture_offsets = consumer.rewriter.picture_offsets();
        if let Some(picture) = &packet.picture {
            let id = picture.picture_id.map(|id| id.value);
            picture_offsets = consumer.rewriter.pass_picture(id);
            consumer.pictures.record(picture, picture_offsets);
        }
        let mut descriptor = None;
        let edit = DescriptorEdit {
            active: packet.targets,
            ..picture_offsets.descriptor_edit()
        };
        let fields = ViewerFields {
            ssrc: consumer.brief.ssrc,
            sequence_number: rewritten.sequence as u16,
            timestamp: rewritten.timestamp,
            mid: consumer.brief.mid.as_bytes(),
            transport_cc: transport.transport_cc_next,
            abs_send_time: self.moment.abs_send_time,
            descriptor: edited(&edit, packet.prepared.descriptor(), &mut descriptor),
        };
        let out = fanout.room();
        let Some(header_len) = packet.prepared.write_header(&fields, out) else {
            return;
        };
        if packet.is_last {
            out[1] |= MARKER;
            consumer.rewriter.mark(packet.sequence);
        }
        let payload = packet.prepared.payload();
        let mut padding = [0; PADDING_MAX];
        let padding = &mut padding[..usize::from(packet.padding)];
        if let Some(last) = padding.last_mut() {
            *last = packet.padding;
            out[0] |= PADDING;
        }
        let (stream, index) = (&mut consumer.stream, rewritten.sequence);
        let outbound = &srtp.outbound;
        let picture = packet.picture.filter(|_| !picture_offsets.is_identity());
        let sealed = match (picture, packet.prepared.head()) {
            (None, []) => {
                outbound.protect_rtp_padded(stream, index, out, header_len, [payload, padding])
            }
            (picture, _) => {
                let packet_len = header_len + payload.len() + padding.len();
                let Some(body) = out.get_mut(header_len..packet_len) else {
                    return;
                };
                let (copy, tail) = body.split_at_mut(payload.len());
                packet.prepared.write_payload(copy);
                tail.copy_from_slice(padding);
                if let Some(picture) = picture {
                    picture_offsets.apply(&picture, copy);
                }
                outbound.protect_rtp_in_place(stream, index, out, header_len, packet_len)
            }
        };
        let Ok(len) = sealed else { return };
        let numbered = self.producer.formats[consumer.format].numbers_packets;
        let transport_cc = numbered.then_some(fields.transport_cc);
        fanout.record(&mut transport.ring, self.moment.now_ns, len, transport_cc);
        if numbered {
            let estimator = &mut transport.downlink.estimator;
            estimator.handle_sent(fields.transport_cc, self.moment.now_ns, len);
            transport.transport_cc_next = transport.transport_cc_next.wrapping_add(1);
        }
        if let Some(allowance) = allowance {
            *allowance -= len as i64;
            transport.pacer.spend(len);
        }
        consumer.counters.packets += 1;
        consumer.counters.bytes += payload.len() as u64;
        consumer.counters.header_bytes += (header_len + padding.len()) as u64;
        consumer.meter.record(self.moment.now_ns, payload.len());
        fanout.commit(*transport_key, *remote, len, self.moment.segments_max);
    }

    /// Sends what had come before the packet that a segment begins with, though it follows it.
    ///
    /// So it is when the first packet of a keyframe was lost and came as a
    /// retransmission: the rest of the frame is in the cache already.
    fn catch_up(&self, viewer: &mut Viewer<'_>, place: usize, fanout: &mut Fanout) {
        let first = &self.batch[place];
        let later = &self.batch[place + 1..];
        let encoding = self.producer.encodings.get(usize::from(first.encoding));
        let Some(encoding) = encoding else { return };
        let highest = encoding
            .reception
            .as_ref()
            .map_or(0, |reception| reception.highest);
        let last = highest.min(first.sequence + CATCH_UP_MAX);
        for sequence in first.sequence + 1..=last {
            let has_its_turn = later
                .iter()
                .chain(&self.producer.pending)
                .any(|one| (one.encoding, one.sequence) == (first.encoding, sequence));
            if has_its_turn || !fanout.has_room(self.batch.len()) {
                continue;
            }
            let Some(cached) = encoding.cache.lookup(sequence, self.moment.now_ns) else {
                continue;
            };
            let Ok(packet) = RtpPacket::parse(cached.data) else {
                continue;
            };
            let format = &self.producer.formats[viewer.consumer.format].format;
            let prepared = PreparedPacket::new(&packet, &self.producer.extensions, format);
            let Some(prepared) = prepared.filter(|_| !packet.payload().is_empty()) else {
                continue;
            };
            let outgoing = Outgoing {
                sequence,
                timestamp: packet.header.timestamp,
                received_ns: cached.received_ns,
                prepared: &prepared,
                picture: picture_of(self.producer, &packet).filter(|_| !self.pictures.is_empty()),
                targets: None,
                is_last: false,
                padding: 0,
            };
            self.send(viewer, &outgoing, fanout);
        }
    }
}
