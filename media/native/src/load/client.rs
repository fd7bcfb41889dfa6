//! One client: ICE, SRTP, and the streams of one transport, sans-IO.

use std::net::SocketAddr;

use super::histogram::Histogram;
use super::ice::{Credentials, IceAgent, IceChange, IceState};
use super::network::Conditions;
use super::outbox::Outbox;
use super::receive_stream::{Arrived, ReceiveStream};
use super::report::ClientCounts;
use super::send_stream::{SendContext, SendStream};
use crate::demux::{DatagramKind, classify};
use crate::engine::random::Random;
use crate::rtcp::{
    Compound, RtcpPacket, write_cname, write_nack, write_pli, write_receiver_report,
    write_sender_report,
};
use crate::rtp::{ExtensionKind, ExtensionMap, HeaderExtensions, RtpPacket, split_rtx_payload};
use crate::srtp::{Inbound, Outbound, Profile, SrtpError};
use crate::twcc::ArrivalRecorder;

/// Between receiver reports and sender reports.
pub const REPORT_INTERVAL_NS: u64 = 1_000_000_000;

/// Largest datagram that is looked at.
pub const DATAGRAM_LEN_MAX: usize = 2_048;

/// What happened to a client, for who signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A check was answered: DTLS may begin.
    IceConnected {
        /// Whose.
        client: u32,
    },
    /// Consent expired.
    IceFailed {
        /// Whose.
        client: u32,
    },
    /// A DTLS datagram came.
    Dtls {
        /// Whose.
        client: u32,
        /// Its content.
        datagram: Vec<u8>,
    },
}

/// What a new client needs to know.
#[derive(Clone, Debug)]
pub struct ClientParameters {
    /// Names it.
    pub client: u32,
    /// The server's candidate.
    pub remote: SocketAddr,
    /// Our ICE credentials.
    pub ours: Credentials,
    /// The server's.
    pub theirs: Credentials,
    /// The network between it and the world.
    pub conditions: Conditions,
}

/// What all clients share.
pub(crate) struct Shared {
    /// Seeded.
    pub random: Random,
    /// Where datagrams go.
    pub outbox: Outbox,
    /// What happened.
    pub events: Vec<Event>,
    /// One-way latency of video packets, since the last snapshot.
    pub video_latency: Histogram,
    /// The same of audio packets.
    pub audio_latency: Histogram,
    /// Packets whose stamp another process wrote.
    pub foreign_stamps: u64,
    /// Names this process in stamps.
    pub origin: u32,
    /// Between transport-cc feedback packets.
    pub feedback_interval_ns: u64,
    /// Where decrypted packets go.
    pub clear: Box<[u8]>,
    /// Where RTCP and STUN are written.
    pub buffer: Vec<u8>,
    /// Where lost numbers are written.
    pub lost: Vec<u16>,
}

/// A client with one transport.
pub(crate) struct Client {
    id: u32,
    /// The network between it and the world.
    pub conditions: Conditions,
    ice: IceAgent,
    srtp: Option<(Inbound, Outbound)>,
    receivers: Vec<ReceiveStream>,
    senders: Vec<SendStream>,
    extensions: ExtensionMap,
    /// What `extensions` is made of.
    extension_ids: Vec<(u8, ExtensionKind)>,
    arrivals: ArrivalRecorder,
    transport_cc: u16,
    rtcp_ssrc: u32,
    cname: String,
    feedback_due_ns: Option<u64>,
    report_due_ns: u64,
    /// The least round-trip time that is reckoned with.
    rtt_ns: u64,
    /// For which time its timer stands.
    pub scheduled_ns: u64,
    counts: ClientCounts,
}

impl Client {
    /// A client that begins to check at once.
    pub fn new(parameters: &ClientParameters, now_ns: u64, random: &mut Random) -> Self {
        let ClientParameters {
            client,
            remote,
            ours,
            theirs,
            conditions,
        } = parameters;
        Self {
            id: *client,
            conditions: *conditions,
            ice: IceAgent::new(*remote, ours, theirs, random.next_u64(), now_ns),
            srtp: None,
            receivers: Vec::new(),
            senders: Vec::new(),
            extensions: ExtensionMap::default(),
            extension_ids: Vec::new(),
            arrivals: ArrivalRecorder::new(),
            transport_cc: 0,
            rtcp_ssrc: random.next_u64() as u32 | 1,
            cname: format!("load-{:016x}", random.next_u64()),
            feedback_due_ns: None,
            report_due_ns: now_ns + random.below(REPORT_INTERVAL_NS),
            rtt_ns: 2 * (conditions.delay_ns + conditions.jitter_ns) + 10_000_000,
            scheduled_ns: u64::MAX,
            counts: ClientCounts::default(),
        }
    }

    /// Installs the keys of a DTLS handshake, each followed by its salt.
    ///
    /// # Errors
    /// Keys of the wrong length.
    pub fn set_keys(
        &mut self,
        profile: Profile,
        local: &[u8],
        remote: &[u8],
    ) -> Result<(), SrtpError> {
        let split = |bytes: &'_ [u8]| {
            let (key, salt) = bytes
                .split_at_checked(profile.key_len())
                .ok_or(SrtpError::BadKeyLength)?;
            Ok((key.to_vec(), salt.to_vec()))
        };
        let (local_key, local_salt) = split(local)?;
        let (remote_key, remote_salt) = split(remote)?;
        self.srtp = Some((
            Inbound::new(profile, &remote_key, &remote_salt)?,
            Outbound::new(profile, &local_key, &local_salt)?,
        ));
        Ok(())
    }

    /// Receives a stream from now on. Ids of extensions mean the same on the whole transport.
    pub fn add_receiver(&mut self, stream: ReceiveStream, extensions: &[(u8, ExtensionKind)]) {
        self.extension_ids.extend(extensions);
        self.extensions = ExtensionMap::new(&self.extension_ids);
        self.receivers.push(stream);
    }

    /// Publishes a stream from now on.
    pub fn add_sender(&mut self, stream: SendStream) {
        self.senders.push(stream);
    }

    /// Streams that it receives.
    pub fn receivers(&self) -> &[ReceiveStream] {
        &self.receivers
    }

    /// Streams that it publishes.
    pub fn senders(&self) -> &[SendStream] {
        &self.senders
    }

    /// Counts so far.
    pub fn counts(&self) -> ClientCounts {
        ClientCounts {
            ice_connected: u64::from(self.ice.state() == IceState::Connected),
            keyed: u64::from(self.srtp.is_some()),
            ..self.counts
        }
    }

    /// When to call `handle_timeout`.
    pub fn deadline_ns(&self) -> u64 {
        let mut deadline_ns = self.ice.deadline_ns().unwrap_or(u64::MAX);
        if self.srtp.is_some() {
            deadline_ns = deadline_ns
                .min(self.report_due_ns)
                .min(self.feedback_due_ns.unwrap_or(u64::MAX));
            for receiver in &self.receivers {
                deadline_ns = deadline_ns.min(receiver.deadline_ns().unwrap_or(u64::MAX));
            }
            for sender in &self.senders {
                deadline_ns = deadline_ns.min(sender.deadline_ns());
            }
        }
        deadline_ns
    }

    /// Takes a datagram of the server.
    pub fn handle_datagram(&mut self, now_ns: u64, unix_ns: u64, data: &[u8], shared: &mut Shared) {
        match classify(data) {
            DatagramKind::Stun => {
                let change = self.ice.handle_datagram(now_ns, data, &mut shared.buffer);
                if !shared.buffer.is_empty() {
                    shared.outbox.push(self.id, &shared.buffer);
                }
                self.tell(change, shared);
            }
            DatagramKind::Dtls if data.len() <= DATAGRAM_LEN_MAX => {
                shared.events.push(Event::Dtls {
                    client: self.id,
                    datagram: data.to_vec(),
                });
            }
            DatagramKind::Rtp => self.handle_rtp(now_ns, unix_ns, data, shared),
            DatagramKind::Rtcp => self.handle_rtcp(now_ns, unix_ns, data, shared),
            DatagramKind::Dtls | DatagramKind::Unknown => self.counts.unknown_datagrams += 1,
        }
    }

    fn tell(&self, change: Option<IceChange>, shared: &mut Shared) {
        let client = self.id;
        match change {
            Some(IceChange::Connected) => shared.events.push(Event::IceConnected { client }),
            Some(IceChange::Failed) => shared.events.push(Event::IceFailed { client }),
            None => {}
        }
    }

    fn handle_rtp(&mut self, now_ns: u64, unix_ns: u64, data: &[u8], shared: &mut Shared) {
        let Some((inbound, _)) = &mut self.srtp else {
            // Ours is the later side of the handshake to end: what comes before counts as lost.
            self.counts.early_packets += 1;
            return;
        };
        let Ok(clear) = inbound.unprotect_rtp(data, &mut shared.clear) else {
            self.counts.undecryptable += 1;
            return;
        };
        let Ok(packet) = RtpPacket::parse(&shared.clear[..clear.len]) else {
            self.counts.undecryptable += 1;
            return;
        };
        self.counts.datagram_bytes += data.len() as u64;
        let header = packet.header;
        if header.has_extensions {
            let values = HeaderExtensions::read(&packet, &self.extensions);
            if let Some(number) = values.transport_cc {
                self.arrivals.record(number, now_ns);
                if self.feedback_due_ns.is_none() {
                    self.feedback_due_ns = Some(now_ns + shared.feedback_interval_ns);
                }
            }
        }
        let ssrc = header.ssrc;
        let found = self.receivers.iter_mut().find(|one| {
            let parameters = one.parameters();
            parameters.ssrc == ssrc || parameters.rtx_ssrc == Some(ssrc)
        });
        let Some(receiver) = found else {
            self.counts.unknown_ssrc += 1;
            return;
        };
        let retransmitted = receiver.parameters().ssrc != ssrc;
        let (sequence_number, payload) = if retransmitted {
            match split_rtx_payload(packet.payload()) {
                Some(original) => original,
                None => return, // probes the bandwidth
            }
        } else {
            (header.sequence_number, packet.payload())
        };
        let arrived = Arrived {
            sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload,
            retransmitted,
            now_ns,
            unix_ns,
        };
        if let Some((latency_ns, origin)) = receiver.handle(&arrived) {
            let histogram = match receiver.parameters().codec.needs_keyframe() {
                true => &mut shared.video_latency,
                false => &mut shared.audio_latency,
            };
            histogram.record(latency_ns);
            shared.foreign_stamps += u64::from(origin != shared.origin);
        }
    }

    fn handle_rtcp(&mut self, now_ns: u64, unix_ns: u64, data: &[u8], shared: &mut Shared) {
        let Some((inbound, _)) = &mut self.srtp else {
            self.counts.early_packets += 1;
            return;
        };
        let Ok(len) = inbound.unprotect_rtcp(data, &mut shared.clear) else {
            self.counts.undecryptable += 1;
            return;
        };
        let clear = std::mem::take(&mut shared.clear);
        for packet in Compound::new(&clear[..len]).flatten() {
            match packet {
                RtcpPacket::SenderReport { ssrc, info, .. } => {
                    for receiver in &mut self.receivers {
                        if receiver.parameters().ssrc == ssrc {
                            receiver.handle_sender_report(info.ntp_timestamp, now_ns);
                        }
                    }
                }
                RtcpPacket::Nack {
                    media_ssrc, lost, ..
                } => {
                    self.with_senders(now_ns, unix_ns, shared, |sender, context| {
                        if sender.parameters().ssrc == media_ssrc {
                            sender.handle_nack(lost, context);
                        }
                    });
                }
                RtcpPacket::PictureLossIndication { media_ssrc, .. } => {
                    ask_for_keyframe(&mut self.senders, media_ssrc);
                }
                RtcpPacket::FullIntraRequest { entries, .. } => {
                    entries.for_each(|one| ask_for_keyframe(&mut self.senders, one.ssrc));
                }
                RtcpPacket::TransportFeedback(_) => self.counts.feedback_received += 1,
                _ => {}
            }
        }
        shared.clear = clear;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ns: u64, unix_ns: u64, shared: &mut Shared) {
        let change = self
            .ice
            .handle_timeout(now_ns, &mut shared.random, &mut shared.buffer);
        if !shared.buffer.is_empty() {
            shared.outbox.push(self.id, &shared.buffer);
        }
        self.tell(change, shared);
        self.with_senders(now_ns, unix_ns, shared, SendStream::handle_timeout);
        if self.srtp.is_some() {
            self.ask(now_ns, shared);
            self.send_feedback(now_ns, shared);
            if now_ns >= self.report_due_ns {
                self.report_due_ns = now_ns + REPORT_INTERVAL_NS;
                self.send_reports(now_ns, unix_ns, shared);
            }
        }
    }

    /// Has each stream that is published send something, once there are keys.
    fn with_senders(
        &mut self,
        now_ns: u64,
        unix_ns: u64,
        shared: &mut Shared,
        mut send: impl FnMut(&mut SendStream, &mut SendContext<'_>),
    ) {
        let Some((_, outbound)) = &mut self.srtp else {
            return;
        };
        let mut context = SendContext {
            srtp: outbound,
            transport_cc: &mut self.transport_cc,
            outbox: &mut shared.outbox,
            client: self.id,
            origin: shared.origin,
            now_ns,
            unix_ns,
        };
        for sender in &mut self.senders {
            send(sender, &mut context);
        }
    }

    /// NACKs and PLIs.
    fn ask(&mut self, now_ns: u64, shared: &mut Shared) {
        shared.buffer.clear();
        let rtt_ns = self.rtt_ns.max(self.ice.round_trip_ns());
        for receiver in &mut self.receivers {
            if receiver.deadline_ns().is_none_or(|at_ns| now_ns < at_ns) {
                continue;
            }
            let media_ssrc = receiver.parameters().ssrc;
            let wishes = receiver.handle_timeout(now_ns, rtt_ns, &mut shared.lost);
            write_nack(&mut shared.buffer, self.rtcp_ssrc, media_ssrc, &shared.lost);
            if wishes.keyframe {
                write_pli(&mut shared.buffer, self.rtcp_ssrc, media_ssrc);
            }
        }
        self.send_rtcp(shared);
    }

    fn send_feedback(&mut self, now_ns: u64, shared: &mut Shared) {
        if self.feedback_due_ns.is_none_or(|due_ns| now_ns < due_ns) {
            return;
        }
        self.feedback_due_ns = None;
        let media_ssrc = self
            .receivers
            .first()
            .map_or(0, |one| one.parameters().ssrc);
        shared.buffer.clear();
        // One packet is enough for thousands a second; what is left waits for the next time.
        let is_written =
            self.arrivals
                .write_feedback(self.rtcp_ssrc, media_ssrc, &mut shared.buffer);
        if is_written {
            self.counts.feedback_sent += 1;
            self.feedback_due_ns = Some(now_ns + shared.feedback_interval_ns);
        }
        self.send_rtcp(shared);
    }

    fn send_reports(&mut self, now_ns: u64, unix_ns: u64, shared: &mut Shared) {
        let blocks: Vec<_> = self
            .receivers
            .iter_mut()
            .filter_map(|one| one.report(now_ns))
            .collect();
        shared.buffer.clear();
        if !blocks.is_empty() {
            write_receiver_report(&mut shared.buffer, self.rtcp_ssrc, &blocks);
            write_cname(&mut shared.buffer, self.rtcp_ssrc, &self.cname);
            self.counts.reports_sent += 1;
        }
        for sender in &self.senders {
            let ssrc = sender.parameters().ssrc;
            let info = sender.sender_info(now_ns, unix_ns);
            write_sender_report(&mut shared.buffer, ssrc, &info, &[]);
            write_cname(&mut shared.buffer, ssrc, &self.cname);
        }
        self.send_rtcp(shared);
    }

    /// Sends what stands in the buffer as one compound.
    fn send_rtcp(&mut self, shared: &mut Shared) {
        if shared.buffer.is_empty() {
            return;
        }
        if let Some((_, outbound)) = &mut self.srtp
            && let Ok(len) = outbound.protect_rtcp(&shared.buffer, &mut shared.clear)
        {
            shared.outbox.push(self.id, &shared.clear[..len]);
        }
    }
}

fn ask_for_keyframe(senders: &mut [SendStream], ssrc: u32) {
    for sender in senders {
        if sender.parameters().ssrc == ssrc {
            sender.handle_keyframe_request();
        }
    }
}
