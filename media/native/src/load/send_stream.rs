//! One stream that a client publishes: frames in bursts, retransmissions, sender reports.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::outbox::Outbox;
use super::payload::{Payload, PictureNumbers, Split, pack};
use super::stamp::{STAMP_LEN, Stamp};
use crate::codec::Codec;
use crate::rtcp::{SenderInfo, ntp_timestamp};
use crate::srtp::{Outbound, OutboundStream};

/// Packets kept for retransmission: three seconds at about 1.5 Mbit/s.
pub const CACHE_PACKETS: usize = 768;

/// Least time between two keyframes that were asked for; as encoders in browsers have it.
pub const KEYFRAME_INTERVAL_NS: u64 = 300_000_000;

/// Beginning of a sequence; below 2^15, so that receivers know the rollover counter.
const FIRST_SEQUENCE: u64 = 1_000;

/// Frames that are caught up after a delay of the tool; what is beyond was never due.
const LATE_FRAMES_MAX: u64 = 3;

/// What a publisher's RTP parameters say of one encoding, and what to send on it.
#[derive(Clone, Debug)]
pub struct SenderParameters {
    /// Names it in reports.
    pub stream: u32,
    /// Its codec.
    pub codec: Codec,
    /// RTP timestamp units a second.
    pub clock_rate: u32,
    /// Payload type.
    pub payload_type: u8,
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC and payload type of retransmissions.
    pub rtx: Option<(u32, u8)>,
    /// Header extensions of each packet, with ids of the one-byte form (RFC 8285).
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// The same for RTX packets, where the rid stands in another element.
    pub rtx_extensions: Vec<(u8, Vec<u8>)>,
    /// Id of the transport-wide sequence number.
    pub transport_cc_id: Option<u8>,
    /// Payload bits a second, in ns between frames.
    pub bitrate_bps: u64,
    /// Between frames, in ns.
    pub frame_interval_ns: u64,
    /// Encoded frames, sent by turns; the first is a keyframe. Not empty.
    pub units: Arc<Vec<Vec<u8>>>,
    /// How frames are cut.
    pub split: Split,
    /// When the first frame is due.
    pub start_ns: u64,
}

/// Counts of one published stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SendCounts {
    /// Packets, without retransmissions.
    pub packets: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// Frames; for audio, packets.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Frames that the tool was too late for, and left out.
    pub frames_skipped: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Numbers that NACKs asked for.
    pub nacked: u64,
    /// PLIs and FIRs that came.
    pub keyframe_requests: u64,
}

impl SendCounts {
    /// Adds those of another stream.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.payload_bytes += other.payload_bytes;
        self.frames += other.frames;
        self.keyframes += other.keyframes;
        self.frames_skipped += other.frames_skipped;
        self.retransmitted += other.retransmitted;
        self.nacked += other.nacked;
        self.keyframe_requests += other.keyframe_requests;
    }
}

#[derive(Debug)]
struct Sent {
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// A stream that is published.
#[derive(Debug)]
pub struct SendStream {
    parameters: SenderParameters,
    outbound: OutboundStream,
    rtx_outbound: OutboundStream,
    sequence: u64,
    rtx_sequence: u64,
    timestamp_base: u32,
    next_frame_ns: u64,
    /// Which unit comes next.
    unit: usize,
    keyframe_wanted: bool,
    last_keyframe_ns: Option<u64>,
    /// Bytes that frames are behind the bitrate, in bits * ns.
    owed: u64,
    sent: VecDeque<Sent>,
    counts: SendCounts,
}

/// What sending needs of the transport.
pub struct SendContext<'a> {
    /// The transport's keys.
    pub srtp: &'a mut Outbound,
    /// Its next transport-wide sequence number.
    pub transport_cc: &'a mut u16,
    /// Where datagrams go.
    pub outbox: &'a mut Outbox,
    /// Whose datagrams they are.
    pub client: u32,
    /// Names this process in stamps.
    pub origin: u32,
    /// Monotonic time.
    pub now_ns: u64,
    /// Unix time.
    pub unix_ns: u64,
}

impl SendStream {
    /// A stream that has sent nothing.
    pub fn new(parameters: SenderParameters, timestamp_base: u32) -> Self {
        Self {
            outbound: OutboundStream::new(),
            rtx_outbound: OutboundStream::new(),
            sequence: FIRST_SEQUENCE,
            rtx_sequence: FIRST_SEQUENCE,
            timestamp_base,
            next_frame_ns: parameters.start_ns,
            unit: 0,
            keyframe_wanted: false,
            last_keyframe_ns: None,
            owed: 0,
            sent: VecDeque::new(),
            counts: SendCounts::default(),
            parameters,
        }
    }

    /// What it was made of.
    pub fn parameters(&self) -> &SenderParameters {
        &self.parameters
    }

    /// Counts so far.
    pub fn counts(&self) -> SendCounts {
        self.counts
    }

    /// When the next frame is due.
    pub fn deadline_ns(&self) -> u64 {
        self.next_frame_ns
    }

    /// A PLI or FIR came.
    pub fn handle_keyframe_request(&mut self) {
        self.counts.keyframe_requests += 1;
        self.keyframe_wanted = true;
    }

    /// Sends a frame where one is due.
    pub fn handle_timeout(&mut self, context: &mut SendContext<'_>) {
        let interval_ns = self.parameters.frame_interval_ns;
        if context.now_ns < self.next_frame_ns {
            return;
        }
        let late = (context.now_ns - self.next_frame_ns) / interval_ns;
        if late > LATE_FRAMES_MAX {
            self.counts.frames_skipped += late;
            self.next_frame_ns += late * interval_ns;
        }
        let frame_ns = self.next_frame_ns;
        self.next_frame_ns += interval_ns;
        self.send_frame(frame_ns, context);
    }

    fn send_frame(&mut self, frame_ns: u64, context: &mut SendContext<'_>) {
        let is_allowed = self
            .last_keyframe_ns
            .is_none_or(|at_ns| frame_ns >= at_ns + KEYFRAME_INTERVAL_NS);
        if std::mem::take(&mut self.keyframe_wanted) {
            if is_allowed {
                self.unit = 0;
            } else {
                self.keyframe_wanted = self.unit != 0;
            }
        }
        let parameters = &self.parameters;
        let is_keyframe = self.unit == 0 && parameters.codec.needs_keyframe();
        if is_keyframe {
            self.last_keyframe_ns = Some(frame_ns);
            self.counts.keyframes += 1;
        }
        self.owed += parameters.bitrate_bps * parameters.frame_interval_ns;
        let size = self.owed / 8_000_000_000;
        self.owed -= size * 8_000_000_000;
        let numbers = PictureNumbers {
            picture_id: self.counts.frames as u16,
            tl0_pic_idx: self.counts.frames as u8,
        };
        let unit = &parameters.units[self.unit];
        let mut payloads = pack(
            parameters.codec,
            unit,
            size as usize,
            numbers,
            parameters.split,
        );
        self.unit = (self.unit + 1) % parameters.units.len();
        let stamp = Stamp {
            origin: context.origin,
            unix_ns: context.unix_ns,
            frame: self.counts.frames as u32,
        };
        let timestamp = self.timestamp(frame_ns);
        let last = payloads.len() - 1;
        let is_video = self.parameters.codec.needs_keyframe();
        self.counts.frames += 1;
        for (at, payload) in payloads.iter_mut().enumerate() {
            if let Some(at) = payload.stamp_at {
                stamp.write(&mut payload.bytes[at..at + STAMP_LEN]);
            }
            self.send_packet(payload, timestamp, is_video && at == last, context);
        }
    }

    /// RTP time of a moment.
    fn timestamp(&self, at_ns: u64) -> u32 {
        let ticks = u128::from(at_ns) * u128::from(self.parameters.clock_rate) / 1_000_000_000;
        self.timestamp_base.wrapping_add(ticks as u32)
    }

    fn send_packet(
        &mut self,
        payload: &mut Payload,
        timestamp: u32,
        marker: bool,
        context: &mut SendContext<'_>,
    ) {
        let parameters = &self.parameters;
        let sequence = self.sequence;
        self.sequence += 1;
        let bytes = std::mem::take(&mut payload.bytes);
        let mut packet = Vec::with_capacity(1_400);
        write_header(
            &mut packet,
            parameters.payload_type,
            marker,
            sequence as u16,
            timestamp,
            parameters.ssrc,
            &parameters.extensions,
            parameters
                .transport_cc_id
                .map(|id| (id, next(context.transport_cc))),
        );
        let header_len = packet.len();
        packet.extend(&bytes);
        seal(
            &mut packet,
            header_len,
            sequence,
            &mut self.outbound,
            context,
        );
        self.counts.packets += 1;
        self.counts.payload_bytes += bytes.len() as u64;
        if self.parameters.rtx.is_some() {
            if self.sent.len() == CACHE_PACKETS {
                self.sent.pop_front();
            }
            self.sent.push_back(Sent {
                sequence_number: sequence as u16,
                timestamp,
                marker,
                payload: bytes,
            });
        }
    }

    /// Sends again what a NACK asks for and is still kept.
    pub fn handle_nack(&mut self, lost: impl Iterator<Item = u16>, context: &mut SendContext<'_>) {
        for number in lost {
            self.counts.nacked += 1;
            let Some((ssrc, payload_type)) = self.parameters.rtx else {
                continue;
            };
            let behind = usize::from((self.sequence as u16).wrapping_sub(number));
            let Some(sent) = self
                .sent
                .len()
                .checked_sub(behind)
                .and_then(|at| self.sent.get(at))
            else {
                continue;
            };
            debug_assert_eq!(sent.sequence_number, number);
            let sequence = self.rtx_sequence;
            self.rtx_sequence += 1;
            let mut packet = Vec::with_capacity(1_400);
            write_header(
                &mut packet,
                payload_type,
                sent.marker,
                sequence as u16,
                sent.timestamp,
                ssrc,
                &self.parameters.rtx_extensions,
                self.parameters
                    .transport_cc_id
                    .map(|id| (id, next(context.transport_cc))),
            );
            let header_len = packet.len();
            packet.extend(number.to_be_bytes());
            packet.extend(&sent.payload);
            seal(
                &mut packet,
                header_len,
                sequence,
                &mut self.rtx_outbound,
                context,
            );
            self.counts.retransmitted += 1;
        }
    }

    /// What a sender report says now.
    pub fn sender_info(&self, now_ns: u64, unix_ns: u64) -> SenderInfo {
        SenderInfo {
            ntp_timestamp: ntp_timestamp(unix_ns),
            rtp_timestamp: self.timestamp(now_ns),
            packet_count: self.counts.packets as u32,
            octet_count: self.counts.payload_bytes as u32,
        }
    }
}

fn next(counter: &mut u16) -> u16 {
    let number = *counter;
    *counter = number.wrapping_add(1);
    number
}

#[allow(clippy::too_many_arguments)]
fn write_header(
    out: &mut Vec<u8>,
    payload_type: u8,
    marker: bool,
    sequence_number: u16,
    timestamp: u32,
    ssrc: u32,
    extensions: &[(u8, Vec<u8>)],
    transport_cc: Option<(u8, u16)>,
) {
    let has_extensions = !extensions.is_empty() || transport_cc.is_some();
    out.push(if has_extensions { 0x90 } else { 0x80 });
    out.push(u8::from(marker) << 7 | payload_type);
    out.extend(sequence_number.to_be_bytes());
    out.extend(timestamp.to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    if !has_extensions {
        return;
    }
    out.extend([0xbe, 0xde, 0, 0]);
    let start = out.len();
    for (id, value) in extensions {
        out.push(id << 4 | (value.len() as u8 - 1));
        out.extend(value);
    }
    if let Some((id, number)) = transport_cc {
        out.push(id << 4 | 1);
        out.extend(number.to_be_bytes());
    }
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    let words = (out.len() - start) / 4;
    out[start - 2..start].copy_from_slice(&(words as u16).to_be_bytes());
}

fn seal(
    packet: &mut Vec<u8>,
    header_len: usize,
    index: u64,
    stream: &mut OutboundStream,
    context: &mut SendContext<'_>,
) {
    let packet_len = packet.len();
    packet.resize(packet_len + context.srtp.profile().rtp_overhead(), 0);
    let sealed = context
        .srtp
        .protect_rtp_in_place(stream, index, packet, header_len, packet_len);
    if let Ok(len) = sealed {
        context.outbox.push(context.client, &packet[..len]);
    }
}
