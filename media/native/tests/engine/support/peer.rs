//! A browser's side of a transport: checks, SRTP, streams that it publishes, and what it received.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use _native::nack::LossDetector;
use _native::rtcp::{self, Compound, ReportBlock, RtcpPacket, SenderInfo};
use _native::rtp::{RtpPacket, split_rtx_payload};
use _native::sequence::SequenceUnwrapper;
use _native::srtp::{Inbound, Outbound, OutboundStream, Profile};
use _native::stun::{
    BindingRequest, Class, IceRole, IntegrityKey, Message, TransactionId, write_binding_request,
};
use _native::wire::orders::{SetSrtpKeys, SrtpProfile};

use super::rows;

/// Bytes of a published payload, but for its last packet's.
pub(crate) const PAYLOAD_BYTES: usize = 100;

/// An RTP packet that a peer received, with an RTX packet taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
    /// Bytes of padding behind it.
    pub(crate) padding: usize,
    pub(crate) extensions: BTreeMap<u8, Vec<u8>>,
    /// For RTX: the sequence number of the original.
    pub(crate) original: Option<u16>,
    pub(crate) at_ns: u64,
}

/// RTCP that a peer received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    SenderReport(u32, SenderInfo),
    Report(ReportBlock),
    Nack(u32, Vec<u16>),
    Pli(u32),
    Fir(u32),
    Remb(u64, Vec<u32>),
    Feedback(usize),
    Cname(u32),
}

/// A stream that a peer publishes.
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// RTP units from one packet to the next.
    pub(crate) step: u32,
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// VP8 picture numbers; None for a payload that is no video.
    pub(crate) picture: Option<(u16, u8)>,
    outbound: OutboundStream,
    /// What was sent, for retransmission.
    sent: BTreeMap<u16, Vec<u8>>,
    rtx: Option<(u32, u64, OutboundStream)>,
}

impl Stream {
    pub(crate) fn video(ssrc: u32) -> Self {
        Self {
            ssrc,
            payload_type: rows::VP8,
            marker: true,
            sequence: 1000,
            timestamp: 50_000,
            step: 3_000,
            extensions: Vec::new(),
            picture: Some((100, 10)),
            outbound: OutboundStream::new(),
            sent: BTreeMap::new(),
            rtx: Some((ssrc + 1, 500, OutboundStream::new())),
        }
    }

    pub(crate) fn audio(ssrc: u32) -> Self {
        let payload_type = rows::OPUS;
        Self {
            payload_type,
            step: 960,
            picture: None,
            rtx: None,
            ..Self::video(ssrc)
        }
    }

    pub(crate) fn at(mut self, sequence: u64, timestamp: u32) -> Self {
        (self.sequence, self.timestamp) = (sequence, timestamp);
        self
    }

    pub(crate) fn with(mut self, id: u8, value: &str) -> Self {
        self.extensions.push((id, value.into()));
        self
    }
}

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) generation: String,
    pub(crate) streams: Vec<Stream>,
    pub(crate) rtp: Vec<Received>,
    pub(crate) rtcp: Vec<Control>,
    pub(crate) dtls: Vec<Vec<u8>>,
    /// Class and error code of each STUN answer.
    pub(crate) stun: Vec<(Class, Option<u16>)>,
    /// SRTP packets that could not be read.
    pub(crate) unreadable: usize,
    /// Whether NACKs are answered, as a publisher does.
    pub(crate) answers_nacks: bool,
    inbound: Inbound,
    outbound: Outbound,
    transactions: u8,
    /// Of a viewer that NACKs: by media SSRC.
    losses: BTreeMap<u32, (SequenceUnwrapper, LossDetector)>,
}

fn profile_of(profile: SrtpProfile) -> Profile {
    match profile {
        SrtpProfile::AeadAes128Gcm => Profile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => Profile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80 => Profile::Aes128CmHmacSha1_80,
    }
}

/// An RTP packet with one-byte extensions.
pub(crate) fn packet(
    stream: &Stream,
    sequence: u64,
    timestamp: u32,
    payload: &[u8],
) -> (Vec<u8>, usize) {
    let marker = if stream.marker { 0x80 } else { 0 };
    let mut out = vec![0x80, stream.payload_type | marker];
    out.extend((sequence as u16).to_be_bytes());
    out.extend(timestamp.to_be_bytes());
    out.extend(stream.ssrc.to_be_bytes());
    if !stream.extensions.is_empty() {
        out[0] |= 0x10;
        let mut block = Vec::new();
        for (id, value) in &stream.extensions {
            block.push(id << 4 | (value.len() as u8 - 1));
            block.extend(value);
        }
        block.resize(block.len().next_multiple_of(4), 0);
        out.extend([0xbe, 0xde]);
        out.extend((block.len() as u16 / 4).to_be_bytes());
        out.extend(block);
    }
    let header_len = out.len();
    out.extend(payload);
    (out, header_len)
}

impl Peer {
    pub(crate) fn new(id: &str, address: SocketAddr, keys: &SetSrtpKeys) -> Self {
        let profile = profile_of(keys.profile);
        let (local, local_salt) = keys.local.expose().split_at(profile.key_len());
        let (remote, remote_salt) = keys.remote.expose().split_at(profile.key_len());
        Self {
            address,
            generation: id.into(),
            streams: Vec::new(),
            rtp: Vec::new(),
            rtcp: Vec::new(),
            dtls: Vec::new(),
            stun: Vec::new(),
            unreadable: 0,
            answers_nacks: false,
            inbound: Inbound::new(profile, local, local_salt).expect("keys fit"),
            outbound: Outbound::new(profile, remote, remote_salt).expect("keys fit"),
            transactions: 0,
            losses: BTreeMap::new(),
        }
    }

    pub(crate) fn check(&mut self, nominate: bool) -> Vec<u8> {
        self.check_as(IceRole::Controlling(7), nominate)
    }

    pub(crate) fn check_as(&mut self, role: IceRole, nominate: bool) -> Vec<u8> {
        let credentials = rows::credentials(&self.generation);
        self.transactions = self.transactions.wrapping_add(1);
        let mut out = Vec::new();
        let request = BindingRequest {
            transaction_id: TransactionId([self.transactions; 12]),
            username: &format!("{}:peer", credentials.ufrag),
            priority: 1,
            use_candidate: nominate,
            role,
        };
        write_binding_request(&mut out, &request, &IntegrityKey::new(&credentials.pwd));
        out
    }

    pub(crate) fn add(&mut self, stream: Stream) -> usize {
        self.streams.push(stream);
        self.streams.len() - 1
    }

    /// The next packet of a stream: a frame by itself.
    pub(crate) fn next_packet(&mut self, stream: usize, keyframe: bool) -> Vec<u8> {
        self.next_packet_of(stream, keyframe, PAYLOAD_BYTES)
    }

    /// The same with so many bytes of payload, 14 at least.
    pub(crate) fn next_packet_of(&mut self, stream: usize, keyframe: bool, len: usize) -> Vec<u8> {
        let mut payload = self.next_payload(stream, keyframe);
        payload.resize(len, 0x5a);
        self.packet_with(stream, &payload)
    }

    fn next_payload(&mut self, stream: usize, keyframe: bool) -> Vec<u8> {
        let stream = &mut self.streams[stream];
        let mut payload = Vec::new();
        if let Some((id, tl0)) = stream.picture.as_mut() {
            payload.extend([0x90, 0xc0]);
            payload.extend((*id | 0x8000).to_be_bytes());
            payload.extend([*tl0, u8::from(!keyframe)]);
            *id = (*id + 1) & 0x7fff;
            *tl0 = tl0.wrapping_add(1);
        }
        payload.extend(stream.sequence.to_be_bytes());
        payload.resize(PAYLOAD_BYTES, 0);
        payload
    }

    /// The next packet of a stream with a payload of one's own.
    pub(crate) fn packet_with(&mut self, stream: usize, payload: &[u8]) -> Vec<u8> {
        let stream = &mut self.streams[stream];
        let (sequence, timestamp) = (stream.sequence, stream.timestamp);
        stream.sequence += 1;
        stream.timestamp = timestamp.wrapping_add(stream.step);
        let (mut plain, header_len) = packet(stream, sequence, timestamp, payload);
        stream.sent.insert(sequence as u16, plain.clone());
        let len = plain.len();
        plain.resize(len + 32, 0);
        let sealed = self.outbound.protect_rtp_in_place(
            &mut stream.outbound,
            sequence,
            &mut plain,
            header_len,
            len,
        );
        plain.truncate(sealed.expect("fits"));
        plain
    }

    /// Skips packets of a stream: they were lost on the way.
    pub(crate) fn lose(&mut self, stream: usize, count: usize) {
        for _ in 0..count {
            self.next_packet(stream, false);
        }
    }

    /// A retransmission of a packet that was sent, by RTX.
    pub(crate) fn rtx(&mut self, stream: usize, sequence_number: u16) -> Vec<u8> {
        let plain = self.streams[stream].sent[&sequence_number].clone();
        let original = RtpPacket::parse(&plain).expect("ours");
        let mut payload = sequence_number.to_be_bytes().to_vec();
        payload.extend(original.payload());
        let timestamp = original.header.timestamp;
        self.rtx_with(stream, timestamp, &payload)
    }

    /// An RTX packet with a payload of one's own.
    pub(crate) fn rtx_with(&mut self, stream: usize, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let stream = &mut self.streams[stream];
        let (ssrc, next, outbound) = stream.rtx.as_mut().expect("has RTX");
        let copy = Stream {
            extensions: stream
                .extensions
                .iter()
                .map(|(id, value)| {
                    let id = if *id == rows::RID {
                        rows::REPAIRED_RID
                    } else {
                        *id
                    };
                    (id, value.clone())
                })
                .collect(),
            payload_type: rows::VP8_RTX,
            ..Stream::video(*ssrc)
        };
        let (mut plain, header_len) = packet(&copy, *next, timestamp, payload);
        let len = plain.len();
        plain.resize(len + 32, 0);
        let sealed = self
            .outbound
            .protect_rtp_in_place(outbound, *next, &mut plain, header_len, len);
        *next += 1;
        plain.truncate(sealed.expect("fits"));
        plain
    }

    /// A protected compound.
    pub(crate) fn control(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut out = vec![0; compound.len() + 32];
        let len = self
            .outbound
            .protect_rtcp(compound, &mut out)
            .expect("fits");
        out.truncate(len);
        out
    }

    pub(crate) fn pli(&mut self, media_ssrc: u32) -> Vec<u8> {
        let mut compound = Vec::new();
        rtcp::write_pli(&mut compound, 1, media_ssrc);
        self.control(&compound)
    }

    pub(crate) fn nack(&mut self, media_ssrc: u32, lost: &[u16]) -> Vec<u8> {
        let mut compound = Vec::new();
        rtcp::write_nack(&mut compound, 1, media_ssrc, lost);
        self.control(&compound)
    }

    pub(crate) fn receiver_report(&mut self, block: ReportBlock) -> Vec<u8> {
        let mut compound = Vec::new();
        rtcp::write_receiver_report(&mut compound, 1, &[block]);
        self.control(&compound)
    }

    pub(crate) fn sender_report(&mut self, stream: usize, ntp_timestamp: u64) -> Vec<u8> {
        let stream = &self.streams[stream];
        let info = SenderInfo {
            ntp_timestamp,
            rtp_timestamp: stream.timestamp,
            packet_count: 0,
            octet_count: 0,
        };
        let mut compound = Vec::new();
        rtcp::write_sender_report(&mut compound, stream.ssrc, &info, &[]);
        rtcp::write_cname(&mut compound, stream.ssrc, "publisher");
        self.control(&compound)
    }

    /// Watches a stream for losses from now on; `poll_nacks` then asks for what is missing.
    pub(crate) fn watch(&mut self, media_ssrc: u32) {
        self.losses.insert(
            media_ssrc,
            (SequenceUnwrapper::default(), LossDetector::new()),
        );
    }

    pub(crate) fn poll_nacks(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let mut asked = Vec::new();
        for (&ssrc, (_, detector)) in &mut self.losses {
            let mut lost = Vec::new();
            detector.poll(now_ns, 20_000_000, &mut lost);
            if !lost.is_empty() {
                asked.push((ssrc, lost));
            }
        }
        asked
            .into_iter()
            .map(|(ssrc, lost)| self.nack(ssrc, &lost))
            .collect()
    }

    /// Takes a datagram; what it answers at once.
    pub(crate) fn receive(&mut self, now_ns: u64, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut out = vec![0; datagram.len() + 64];
        match datagram {
            [0..=3, ..] => {
                let message = Message::parse(datagram).expect("the engine writes valid STUN");
                if message.class() == Class::Success {
                    assert_eq!(message.xor_mapped_address(), Some(self.address));
                    let key = IntegrityKey::new(&rows::credentials(&self.generation).pwd);
                    message
                        .verify_integrity(&key)
                        .expect("signed with our password");
                }
                self.stun.push((message.class(), message.error_code()));
            }
            [20..=63, ..] => self.dtls.push(datagram.to_vec()),
            [_, 192..=223, ..] => match self.inbound.unprotect_rtcp(datagram, &mut out) {
                Ok(len) => return self.receive_control(&out[..len]),
                Err(_) => self.unreadable += 1,
            },
            _ => match self.inbound.unprotect_rtp(datagram, &mut out) {
                Ok(found) => self.receive_media(now_ns, &out[..found.len]),
                Err(_) => self.unreadable += 1,
            },
        }
        Vec::new()
    }

    fn receive_media(&mut self, now_ns: u64, plain: &[u8]) {
        let packet = RtpPacket::parse(plain).expect("the engine writes valid RTP");
        let header = packet.header;
        let (original, payload) = if header.payload_type == rows::MAPPED_VP8_RTX {
            match split_rtx_payload(packet.payload()) {
                Some((original, payload)) => (Some(original), payload),
                // A probe: padding alone.
                None => (None, packet.payload()),
            }
        } else {
            (None, packet.payload())
        };
        let media_ssrc = if original.is_some() {
            header.ssrc - 1
        } else {
            header.ssrc
        };
        if let Some((unwrapper, detector)) = self.losses.get_mut(&media_ssrc) {
            let sequence = unwrapper.unwrap(original.unwrap_or(header.sequence_number));
            detector.record(sequence, now_ns);
        }
        self.rtp.push(Received {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: payload.to_vec(),
            padding: packet.padding_len(),
            extensions: packet
                .extensions()
                .map(|(id, value)| (id, value.to_vec()))
                .collect(),
            original,
            at_ns: now_ns,
        });
    }

    fn receive_control(&mut self, compound: &[u8]) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for packet in Compound::new(compound) {
            match packet.expect("the engine writes valid RTCP") {
                RtcpPacket::SenderReport { ssrc, info, .. } => {
                    self.rtcp.push(Control::SenderReport(ssrc, info));
                }
                RtcpPacket::ReceiverReport { reports, .. } => {
                    self.rtcp.extend(reports.map(Control::Report));
                }
                RtcpPacket::Nack {
                    media_ssrc, lost, ..
                } => {
                    let lost: Vec<u16> = lost.collect();
                    let stream = self.streams.iter().position(|one| one.ssrc == media_ssrc);
                    if let Some(stream) = stream.filter(|_| self.answers_nacks) {
                        answers.extend(lost.iter().map(|&number| self.rtx(stream, number)));
                    }
                    self.rtcp.push(Control::Nack(media_ssrc, lost));
                }
                RtcpPacket::PictureLossIndication { media_ssrc, .. } => {
                    self.rtcp.push(Control::Pli(media_ssrc));
                }
                RtcpPacket::FullIntraRequest { entries, .. } => {
                    self.rtcp
                        .extend(entries.map(|entry| Control::Fir(entry.ssrc)));
                }
                RtcpPacket::ReceiverEstimatedMaximumBitrate {
                    bitrate_bps, ssrcs, ..
                } => {
                    self.rtcp.push(Control::Remb(bitrate_bps, ssrcs.collect()));
                }
                RtcpPacket::TransportFeedback(feedback) => {
                    let arrived = feedback.arrivals().count();
                    self.rtcp.push(Control::Feedback(arrived));
                }
                RtcpPacket::SourceDescription { chunks } => {
                    self.rtcp
                        .extend(chunks.map(|chunk| Control::Cname(chunk.ssrc)));
                }
                _ => {}
            }
        }
        answers
    }

    /// How many PLIs came for an SSRC.
    pub(crate) fn plis(&self, ssrc: u32) -> usize {
        self.rtcp
            .iter()
            .filter(|one| **one == Control::Pli(ssrc))
            .count()
    }

    /// Media packets of a stream, as they came.
    pub(crate) fn media(&self, ssrc: u32) -> Vec<&Received> {
        self.rtp.iter().filter(|one| one.ssrc == ssrc).collect()
    }

    /// Sequence numbers of a stream, as they came.
    pub(crate) fn sequence_numbers(&self, ssrc: u32) -> Vec<u16> {
        self.media(ssrc)
            .iter()
            .map(|one| one.sequence_number)
            .collect()
    }
}

/// The publisher's own number of a packet, out of its payload.
pub(crate) fn source_of(received: &Received) -> u64 {
    let video = matches!(
        received.payload_type,
        rows::MAPPED_VP8 | rows::MAPPED_VP8_RTX
    );
    let at = if video { 6 } else { 0 };
    u64::from_be_bytes(
        received.payload[at..at + 8]
            .try_into()
            .expect("eight bytes"),
    )
}

/// Asserts that numbers follow each other without a gap.
pub(crate) fn assert_contiguous(numbers: &[u16]) {
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0].wrapping_add(1), "gap in {numbers:?}");
    }
}
