//! Answers viewers' NACKs out of the producers' caches.
//!
//! With an RTX stream (RFC 4588) a packet goes out again under that stream's
//! SSRC and numbers. Without one, the very same SRTP packet is made again: it
//! depends on nothing but the cached packet, the row and the segment that it
//! was sent in (so such a viewer gets no dependency descriptors), see `apply::extensions_for`.
//!
//! What was lost of a higher encoding than the viewer is on its way to stays lost, and so does what was
//! lost before a stream was ended on the way down: a keyframe makes it needless, and must not wait behind it.
//!
//! Bounds: a viewer's stream has a budget a second, and one packet is sent
//! again only after a round trip, for the NACKs in between are about the same loss.

use super::DATAGRAM_BYTES_MAX;
use super::Engine;
use super::consumer::{Consumer, Reason};
use super::descriptors::{edited, picture_of, targets_of};
use super::filter::Structure;
use super::forward::GROWTH_BYTES_MAX;
use super::keyframe::Cause;
use super::serve::MARKER;
use super::table::{ConsumerKey, ProducerKey};
use crate::recorder::Class;
use crate::rtp::{PreparedPacket, RtpPacket, ViewerFields, abs_send_time};

/// Round trip that is reckoned with until the viewer reports one.
const ROUND_TRIP_NS: u64 = 50_000_000;

/// Least and most time between two retransmissions of one packet.
const SPACING_NS_MIN: u64 = 10_000_000;
const SPACING_NS_MAX: u64 = 500_000_000;

/// Numbers of one NACK message that are looked at.
const LOST_MAX: usize = 512;

pub(super) fn handle_nack(
    engine: &mut Engine,
    now_ns: u64,
    key: ConsumerKey,
    lost: impl Iterator<Item = u16>,
) {
    let Some(consumer) = engine.table.consumers.get_mut(key) else {
        return;
    };
    consumer.counters.nacks += 1;
    if consumer.row.paused || !consumer.row.codecs.iter().any(|codec| codec.nack) {
        return;
    }
    for sequence_number in lost.take(LOST_MAX) {
        match left_layer(engine, key, sequence_number) {
            Some((producer, encoding, true)) => {
                engine.ask_keyframe(now_ns, producer, encoding, Cause::Switched);
            }
            Some((_, _, false)) => {}
            None => {
                resend(engine, now_ns, key, sequence_number);
            }
        }
    }
}

/// Of a lost packet whose spatial layer the viewer has gone down from by its bandwidth, without a
/// keyframe (full SVC): the encoding, and whether no keyframe has come since.
///
/// Its picture can't be decoded without it, nor what refers to that. A keyframe of the lower layers is
/// much less than all that was lost of the higher ones, and comes at once.
fn left_layer(engine: &Engine, key: ConsumerKey, lost: u16) -> Option<(ProducerKey, u8, bool)> {
    let consumer = engine.table.consumers.get(key)?;
    let producer = engine.table.producers.get(consumer.producer)?;
    let origin = consumer.rewriter.origin(lost)?;
    let encoding = producer.encodings.get(usize::from(origin.encoding))?;
    let packet = encoding.history.packet(origin.sequence)?;
    let has_left = encoding.structure == Structure::Full
        && consumer.reason == Reason::Bandwidth
        && packet.info.spatial_layer > consumer.filter.current().0;
    let group = encoding.history.group();
    let is_open = group.is_none_or(|group| origin.sequence >= group.first);
    has_left.then_some((consumer.producer, origin.encoding, is_open))
}

fn spacing_ns(consumer: &Consumer) -> u64 {
    let round_trip_ns = consumer.reported.round_trip_ns.unwrap_or(ROUND_TRIP_NS);
    round_trip_ns.clamp(SPACING_NS_MIN, SPACING_NS_MAX)
}

fn resend(engine: &mut Engine, now_ns: u64, key: ConsumerKey, sequence_number: u16) -> Option<()> {
    let unix_ns = engine.unix_ns(now_ns);
    let Engine { table, outbox, .. } = engine;
    let consumer = table.consumers.get_mut(key)?;
    let producer = table.producers.get(consumer.producer)?;
    let transport_key = consumer.transport;
    let transport = table.transports.get_mut(transport_key)?;
    let remote = transport.media_remote()?;

    let origin = consumer.rewriter.origin(sequence_number)?;
    let outgoing = consumer.rewriter.extend(sequence_number)?;
    if consumer.has_left(origin.encoding) || consumer.forsakes(outgoing) {
        return None;
    }
    let encoding = producer.encodings.get(usize::from(origin.encoding))?;
    let cached = encoding.cache.lookup(origin.sequence, now_ns)?;
    let packet = RtpPacket::parse(cached.data).ok()?;
    let shared = producer.formats.get(consumer.format)?;
    let prepared = PreparedPacket::new(&packet, &producer.extensions, &shared.format)?;
    if !consumer.may_resend(outgoing, now_ns, spacing_ns(consumer)) {
        return None;
    }

    let picture = picture_of(producer, &packet);
    let picture_id = picture.and_then(|one| one.picture_id).map(|id| id.value);
    let offsets = consumer.rewriter.passed_picture(outgoing, picture_id);
    let is_present = consumer.rewriter.encoding() == Some(origin.encoding);
    let mut edit = offsets.descriptor_edit();
    edit.active = prepared
        .descriptor()
        .filter(|_| is_present)
        .and_then(|value| targets_of(consumer, encoding, value));
    let mut descriptor = None;
    let timestamp = origin.outgoing_timestamp(packet.header.timestamp);
    let mut fields = ViewerFields {
        ssrc: consumer.brief.ssrc,
        sequence_number,
        timestamp,
        mid: consumer.brief.mid.as_bytes(),
        transport_cc: transport.transport_cc_next,
        abs_send_time: abs_send_time(unix_ns),
        descriptor: edited(&edit, prepared.descriptor(), &mut descriptor),
    };
    let mut out = [0; DATAGRAM_BYTES_MAX + GROWTH_BYTES_MAX];
    let outbound = &transport.srtp.as_ref()?.outbound;
    let rtx_payload_type = consumer.rtx_payload_type(packet.header.payload_type);
    let payload = prepared.payload();
    let picture = picture.filter(|_| !offsets.is_identity());
    let rewrite = |copy: &mut [u8]| {
        if let Some(picture) = &picture {
            offsets.apply(picture, copy);
        }
    };
    let marker = if origin.is_marked { MARKER } else { 0 };
    let sealed = match (consumer.rtx.as_mut(), rtx_payload_type) {
        (Some(rtx), Some(payload_type)) => {
            let index = rtx.next;
            rtx.next += 1;
            fields.ssrc = rtx.ssrc;
            fields.sequence_number = index as u16;
            let (header_len, packet_len) =
                prepared.write_rtx(&fields, payload_type, sequence_number, &mut out)?;
            out[1] |= marker;
            rewrite(&mut out[packet_len - payload.len()..packet_len]);
            let stream = &mut rtx.stream;
            outbound.protect_rtp_in_place(stream, index, &mut out, header_len, packet_len)
        }
        (None, _) => {
            let header_len = prepared.write_header(&fields, &mut out)?;
            out[1] |= marker;
            let packet_len = header_len + payload.len();
            let copy = out.get_mut(header_len..packet_len)?;
            prepared.write_payload(copy);
            rewrite(copy);
            let stream = &consumer.stream;
            outbound.protect_rtp_again(stream, outgoing, &mut out, header_len, packet_len)
        }
        // The viewer negotiated RTX, but not for this codec.
        (Some(_), None) => return None,
    };
    let len = sealed.ok()?;
    if shared.numbers_packets {
        let estimator = &mut transport.downlink.estimator;
        estimator.handle_sent(fields.transport_cc, now_ns, len);
        transport.transport_cc_next = transport.transport_cc_next.wrapping_add(1);
    }
    consumer.counters.retransmitted += 1;
    outbox.push(transport_key, remote, &out[..len]);
    let header = &out[..len];
    engine.record_departure(transport_key, Class::Rtp, len, Class::Rtp.captured(header));
    Some(())
}
