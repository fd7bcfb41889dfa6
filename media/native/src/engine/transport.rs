//! A BUNDLE transport: connectivity, keys, and the streams on it.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::arena::Arena;
use super::clock::PublisherClock;
use super::config::Limits;
use super::consumer::Consumer;
use super::downlink::Downlink;
use super::error::{DropReason, Drops};
use super::ice::IceAgent;
use super::meter::Budget;
use super::pacing::Pacer;
use super::routes::{Routes, StreamKind};
use super::table::{ConsumerKey, ProducerKey};
use super::timers::Armed;
use crate::bwe::{Estimator, Uplink};
use crate::recorder::Ring;
use crate::rtp::{ExtensionKind, ExtensionMap};
use crate::srtp::{Inbound, Outbound};
use crate::twcc::ArrivalRecorder;
use crate::wire::notices::IceState;
use crate::wire::orders::{Direction, SetSrtpKeys, SetTransport};

/// Consumers that are looked through for the one whose sound goes along.
const CONSUMERS_FEW: usize = 8;

/// SRTP of a finished handshake.
#[repr(C)] // What each packet touches lies side by side.
pub(crate) struct Srtp {
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    pub(crate) keys: SetSrtpKeys,
}

/// Counters of a transport.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransportCounters {
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) packets_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) stun_requests: u64,
    pub(crate) feedbacks: u64,
    pub(crate) drops: Drops,
}

/// What each packet to a viewer reads and writes stands first, as in [`super::consumer::Consumer`].
#[repr(C, align(64))]
pub(crate) struct Transport {
    pub(crate) transport_cc_next: u16,
    pub(crate) downlink: Box<Downlink>,
    pub(crate) pacer: Pacer,
    pub(crate) ice: IceAgent,
    pub(crate) srtp: Option<Srtp>,
    pub(crate) ring: Ring,
    pub(crate) counters: TransportCounters,

    pub(crate) row: SetTransport,
    pub(crate) dtls_budget: Budget,
    pub(crate) media_budget: Budget,
    pub(crate) rtcp_budget: Budget,
    pub(crate) consent_timer: Armed,
    pub(crate) tick_timer: Armed,
    /// SSRC of our own RTCP.
    pub(crate) rtcp_ssrc: u32,

    // Of a publisher.
    pub(crate) producers: Vec<ProducerKey>,
    pub(crate) routes: Routes,
    pub(crate) extensions: ExtensionMap,
    pub(crate) extension_ids: Vec<(u8, ExtensionKind)>,
    pub(crate) arrivals: ArrivalRecorder,
    pub(crate) feedback_timer: Armed,
    pub(crate) clock: PublisherClock,
    pub(crate) remb_bps: u64,
    /// Of a publisher that takes REMB and no transport-wide feedback.
    pub(crate) uplink: Option<Box<Uplink>>,
    /// When receiver reports were last sent.
    pub(crate) reported_ns: u64,

    // Of a viewer.
    pub(crate) consumers: Vec<ConsumerKey>,
    /// Outgoing streams by SSRC, sorted.
    pub(crate) streams: Vec<(u32, ConsumerKey, StreamKind)>,
    /// Where streams of removed consumers ended: an index is never used twice with one key.
    pub(crate) ended: HashMap<u32, u64>,
}

impl Transport {
    pub(crate) fn new(row: SetTransport, rtcp_ssrc: u32, limits: &Limits) -> Self {
        Self {
            ice: IceAgent::new(&row.ice, limits.tuples_per_transport_max),
            row,
            srtp: None,
            counters: TransportCounters::default(),
            ring: Ring::default(),
            dtls_budget: Budget::new(limits.dtls_per_second_max),
            media_budget: Budget::new(limits.media_packets_per_second_max),
            rtcp_budget: Budget::new(limits.rtcp_packets_per_second_max),
            consent_timer: Armed::default(),
            tick_timer: Armed::default(),
            rtcp_ssrc,
            producers: Vec::new(),
            routes: Routes::new(
                limits.ssrcs_per_transport_max,
                limits.learned_per_producer_max,
            ),
            extensions: ExtensionMap::new(&[]),
            extension_ids: Vec::new(),
            arrivals: ArrivalRecorder::new(),
            feedback_timer: Armed::default(),
            clock: PublisherClock::default(),
            remb_bps: 0,
            uplink: None,
            reported_ns: 0,
            consumers: Vec::new(),
            streams: Vec::new(),
            transport_cc_next: 0,
            downlink: Box::default(),
            pacer: Pacer::default(),
            ended: HashMap::new(),
        }
    }

    pub(crate) fn is_publisher(&self) -> bool {
        self.row.direction == Direction::Send
    }

    /// Where media may be sent to: consent is not over and keys are there.
    pub(crate) fn media_remote(&self) -> Option<SocketAddr> {
        let consent = matches!(
            self.ice.state(),
            IceState::Connected | IceState::Disconnected
        );
        self.ice
            .selected()
            .filter(|_| consent && self.srtp.is_some())
    }

    /// Tells the estimator something that may change the estimate; the pace follows.
    pub(crate) fn estimate(&mut self, tell: impl FnOnce(&mut Estimator)) {
        let estimator = &mut self.downlink.estimator;
        tell(estimator);
        self.pacer.follow(estimator);
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.counters.drops.count(reason);
        self.ring.dropped = reason as u8 + 1;
    }

    /// The consumer of a producer, if there are few of them.
    pub(crate) fn consumer_of(
        &self,
        producer: ProducerKey,
        consumers: &Arena<Consumer>,
    ) -> Option<ConsumerKey> {
        if self.consumers.len() > CONSUMERS_FEW {
            return None;
        }
        let is_its = |key| consumers.get(key).map(|one| one.producer) == Some(producer);
        self.consumers.iter().copied().find(|&key| is_its(key))
    }

    /// Reads a word of the lines that a packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        let remote = self.ice.selected().map_or(0, |one| u64::from(one.port()));
        let key = self.srtp.as_ref().map_or(0, |one| one.outbound.glance());
        remote
            ^ key
            ^ self.ring.glance()
            ^ self.counters.packets_sent
            ^ u64::from(self.transport_cc_next)
    }

    /// The consumer that sends with this SSRC.
    pub(crate) fn stream_of(&self, ssrc: u32) -> Option<(ConsumerKey, StreamKind)> {
        let place = self
            .streams
            .binary_search_by_key(&ssrc, |&(one, _, _)| one)
            .ok()?;
        let (_, consumer, stream) = self.streams[place];
        Some((consumer, stream))
    }

    pub(crate) fn add_stream(&mut self, ssrc: u32, consumer: ConsumerKey, stream: StreamKind) {
        let place = self.streams.partition_point(|&(one, _, _)| one < ssrc);
        self.streams.insert(place, (ssrc, consumer, stream));
    }

    pub(crate) fn remove_streams(&mut self, consumer: ConsumerKey) {
        self.streams.retain(|&(_, one, _)| one != consumer);
    }
}
