//! Looking for room: trains of padding in a viewer's RTX stream.
//!
//! While somebody lacks bandwidth for the next layers, a train is sent now and then at the rate that
//! they would need, for [`TRAIN_NS`]. Its packets are padding alone (RFC 3550, 5.1), in the numbers of
//! an RTX stream, so that a decoder never sees them; media that goes out meanwhile counts as part of
//! the train. What the train got through becomes the estimate.
//!
//! Bounds: a train is at most [`TRAIN_BYTES_MAX`] long, and trains that find nothing become rarer.

use super::DATAGRAM_BYTES_MAX;
use super::Engine;
use super::table::{ConsumerKey, TransportKey};
use super::timers::{Armed, Timer};
use crate::recorder::Class;
use crate::rtp::{HEADER_LEN_MIN, PreparedPacket, RtpPacket, ViewerFields, abs_send_time};

/// How long a train is, and how often a piece of it goes out.
const TRAIN_NS: u64 = 40_000_000;
const PIECE_NS: u64 = 5_000_000;
const TRAIN_BYTES_MAX: u64 = 64 * 1024;

/// A train has at least so many bytes, and takes longer where its rate is low: a few packets say nothing.
const TRAIN_BYTES_MIN: u64 = 2_400;

/// A train is at least this fast, however low the estimate.
const RATE_BPS_MIN: u64 = 150_000;

/// Padding of one packet: its last byte counts it.
const PADDING_BYTES: usize = 255;

/// Between two trains: after one that found room, at first, and at most.
const AGAIN_NS: u64 = 400_000_000;
const WAIT_NS: u64 = 1_500_000_000;
const WAIT_NS_MAX: u64 = 2_000_000_000;

/// No train so soon after queues were seen to grow.
const CALM_NS: u64 = 2_000_000_000;

/// A train goes at most so far beyond the estimate.
const BEYOND: u64 = 3;

/// The train of one transport, and when the next one may go.
#[derive(Debug, Default)]
pub(crate) struct Probing {
    pub(crate) timer: Armed,
    train: Option<Train>,
    next_ns: u64,
    wait_ns: u64,
    /// The last train found room.
    found: bool,
    /// The estimate when the last train left.
    before_bps: Option<u64>,
    /// Trains since control was last told, and those of them that found room.
    pub(crate) tried: Tried,
}

/// Trains that have an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) trains: u32,
    pub(crate) found: u32,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    rate_bps: u64,
    length_ns: u64,
    began_ns: u64,
}

impl Engine {
    /// Begins a train if somebody needs more than the estimate, and the time is right: at the rate
    /// that the next layers need, or, where the last train found room, that all of them need.
    pub(super) fn consider_probe(
        &mut self,
        now_ns: u64,
        key: TransportKey,
        wanted_bps: Option<u64>,
        all_bps: u64,
    ) {
        let Some(transport) = self.table.transports.get_mut(key) else {
            return;
        };
        let downlink = &mut transport.downlink;
        let estimator = &mut downlink.estimator;
        let probing = &mut downlink.probing;
        if probing.train.is_some() || estimator.is_probing(now_ns) || !estimator.can_probe() {
            return;
        }
        let estimate_bps = estimator.bitrate_bps().unwrap_or(0);
        if let Some(before_bps) = probing.before_bps.take() {
            let found = estimate_bps > before_bps + before_bps / 10;
            probing.found = found;
            probing.tried.trains += 1;
            probing.tried.found += u32::from(found);
            probing.wait_ns = match found {
                true => AGAIN_NS,
                false => (probing.wait_ns * 2).clamp(WAIT_NS, WAIT_NS_MAX),
            };
            probing.next_ns = now_ns + probing.wait_ns;
        }
        let Some(wanted_bps) = wanted_bps.filter(|&wanted| wanted > estimate_bps) else {
            return;
        };
        let calm = estimator
            .over_ns()
            .is_none_or(|over_ns| now_ns.saturating_sub(over_ns) >= CALM_NS);
        if now_ns < probing.next_ns || !calm {
            return;
        }
        let most_bps = (estimate_bps * BEYOND).max(RATE_BPS_MIN);
        let wanted_bps = match probing.found {
            true => all_bps.max(wanted_bps),
            false => wanted_bps,
        };
        let rate_bps = (wanted_bps + wanted_bps / 8).min(most_bps);
        let least_ns = TRAIN_BYTES_MIN * 8_000_000_000 / rate_bps;
        probing.before_bps = Some(estimate_bps);
        probing.train = Some(Train {
            rate_bps,
            length_ns: least_ns.max(TRAIN_NS),
            began_ns: now_ns,
        });
        estimator.begin_probe(now_ns);
        self.timers
            .arm(&mut probing.timer, now_ns, Timer::Probe(key));
    }

    /// Sends the piece of the train that is due.
    pub(super) fn handle_probe(&mut self, now_ns: u64, key: TransportKey) {
        let Some(transport) = self.table.transports.get_mut(key) else {
            return;
        };
        let Some(train) = transport.downlink.probing.train else {
            return;
        };
        let carrier = transport.consumers.iter().copied().find(|&one| {
            self.table
                .consumers
                .get(one)
                .is_some_and(|one| one.rtx.is_some() && !one.rtx_payload_types.is_empty())
        });
        let elapsed_ns = now_ns.saturating_sub(train.began_ns);
        let over = elapsed_ns >= train.length_ns;
        let due_ns = elapsed_ns + PIECE_NS;
        let due_bytes = (train.rate_bps * due_ns / 8_000_000_000).min(TRAIN_BYTES_MAX);
        if let Some(carrier) = carrier.filter(|_| !over) {
            while self.table.transports.get(key).is_some_and(|transport| {
                transport.downlink.estimator.probe_sent_bytes() < due_bytes
            }) {
                if self.send_padding(now_ns, carrier).is_none() {
                    break;
                }
            }
        }
        let transport = self.table.transports.get_mut(key).expect("looked up");
        let downlink = &mut transport.downlink;
        if over || carrier.is_none() {
            downlink.probing.train = None;
            downlink.estimator.end_probe(now_ns);
        } else {
            let at_ns = now_ns + PIECE_NS;
            self.timers
                .arm(&mut downlink.probing.timer, at_ns, Timer::Probe(key));
        }
    }

    /// Sends one packet of padding in a consumer's RTX stream.
    fn send_padding(&mut self, now_ns: u64, key: ConsumerKey) -> Option<()> {
        let unix_ns = self.unix_ns(now_ns);
        let Engine { table, outbox, .. } = self;
        let consumer = table.consumers.get_mut(key)?;
        let producer = table.producers.get(consumer.producer)?;
        let transport_key = consumer.transport;
        let transport = table.transports.get_mut(transport_key)?;
        let remote = transport.media_remote()?;
        let shared = producer.formats.get(consumer.format)?;
        let &(incoming, rtx_payload_type) = consumer.rtx_payload_types.first()?;
        if !shared.numbers_packets {
            return None;
        }
        let mut bare = [0; HEADER_LEN_MIN];
        bare[0] = 0x80;
        bare[1] = incoming & 0x7f;
        let packet = RtpPacket::parse(&bare).ok()?;
        let prepared = PreparedPacket::new(&packet, &producer.extensions, &shared.format)?;
        let rtx = consumer.rtx.as_mut()?;
        let index = rtx.next;
        let fields = ViewerFields {
            ssrc: rtx.ssrc,
            sequence_number: index as u16,
            timestamp: consumer.rewriter.newest_timestamp().unwrap_or(0),
            mid: consumer.brief.mid.as_bytes(),
            transport_cc: transport.transport_cc_next,
            abs_send_time: abs_send_time(unix_ns),
            descriptor: None,
        };
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let header_len = prepared.write_header(&fields, &mut out)?;
        out[0] |= 0x20;
        out[1] = rtx_payload_type & 0x7f;
        let packet_len = header_len + PADDING_BYTES;
        out[packet_len - 1] = PADDING_BYTES as u8;
        let outbound = &transport.srtp.as_ref()?.outbound;
        let sealed =
            outbound.protect_rtp_in_place(&mut rtx.stream, index, &mut out, header_len, packet_len);
        let len = sealed.ok()?;
        rtx.next += 1;
        let downlink = &mut transport.downlink;
        downlink
            .estimator
            .handle_sent(fields.transport_cc, now_ns, len);
        transport.transport_cc_next = transport.transport_cc_next.wrapping_add(1);
        outbox.push(transport_key, remote, &out[..len]);
        let captured = Class::Rtp.captured(&out[..len]);
        self.record_departure(transport_key, Class::Rtp, len, captured);
        Some(())
    }
}
