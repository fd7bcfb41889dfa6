//! The engine of one worker: sans-IO, deterministic, and bounded.
//!
//! It owns no socket and reads no clock. What happens is told by `handle_*`,
//! always with the time; what follows is taken by `poll_*`:
//!
//! ```text
//! orders     ─▶ handle_order     ┐               ┌ poll_sibling  ─▶ other workers
//! datagrams  ─▶ handle_datagram  │               ├ poll_transmit ─▶ datagrams
//! siblings   ─▶ handle_sibling   ├─▶ tables ────▶┤ poll_notice   ─▶ notices
//! deadlines  ─▶ handle_timeout   ┘               └ next_deadline_ns
//! ```
//!
//! The law: after every mutation (or a batch of datagrams and records, until
//! [`Engine::wants_drain`]), drain `poll_sibling`, `poll_transmit` and
//! `poll_notice` until all give None. The same seed, orders, datagrams, records
//! and times give the same output.
//!
//! # The path of a packet
//! `handle_datagram` finds the transport by remote address, verifies and
//! decrypts *once*, straight into the packet cache of its encoding, and notes
//! the packet as pending. `poll_transmit` fans pending packets out, viewer by
//! viewer: what is alike for viewers of one format is prepared once, and for
//! each viewer only the header's own fields are written and the payload is
//! encrypted out of place into the send buffer. Packets of one burst to one
//! viewer lie side by side, so that the driver can send them in one call (GSO).
//! In the steady state nothing on this path allocates, locks or makes a system call.
//!
//! # Rooms that span workers
//! What the fan-out takes is `Pending` (plain numbers) and the decrypted bytes
//! in a cache: nothing that refers to the publisher's transport, keys or
//! socket. So viewers of another worker are served there by a *mirror* of the
//! producer, which is fed with decrypted packets: see `mirror`.
//!
//! # Bounds
//! Every table has a maximum in [`Limits`]; every packet that is dropped is
//! counted under a [`DropReason`].

mod ahead;
mod allocate;
mod apply;
mod arena;
mod checks;
mod clock;
mod config;
mod consumer;
mod demand;
mod descriptors;
mod downlink;
mod encoding;
mod error;
mod filter;
mod forward;
mod freeze;
mod history;
mod ice;
mod instant_start;
mod keyframe;
mod layers;
mod link;
mod loudness;
mod meter;
mod mirror;
mod outbox;
mod pacing;
mod picture;
mod probing;
mod producer;
pub(crate) mod random;
mod rates;
mod receive;
mod recording;
mod refresh;
mod retransmit;
mod rewrite;
mod routes;
mod rtcp_in;
mod rtcp_out;
mod runs;
mod sampling;
mod selection;
mod serve;
mod sources;
mod stats;
mod table;
mod timers;
mod transport;
mod turns;

use std::collections::VecDeque;
use std::net::SocketAddr;

pub use apply::Answer;
pub use config::{Config, Limits};
pub use consumer::Reason;
pub use demand::{GRACE_NS as DEMAND_GRACE_NS, HOLD_NS as DEMAND_HOLD_NS};
pub use encoding::SILENCE_NS;
pub use error::{DropReason, Drops, OrderError};
pub use ice::{DISCONNECTED_AFTER_NS, FAILED_AFTER_NS};
pub use keyframe::{Cause, Causes, KeyFrameRequests};
pub use picture::{PictureFields, PictureGaps, PictureNumbers, PictureOffsets};
pub use rewrite::{Beginning, Origin, Rewriter, Rewritten, Squeeze};
pub use selection::{Selection, Verdict, choose};

use self::forward::Fanout;
use self::link::Lost;
use self::loudness::Listener;
use self::meter::Budget;
use self::outbox::Outbox;
use self::random::Random;
use self::sampling::Sampler;
use self::sources::Sources;
use self::table::{Table, TransportKey};
use self::timers::{Timer, Timers};
use crate::demux::{DatagramKind, classify};
use crate::wire::answers::{OrderResult, Refusal};
use crate::wire::notices::Notice;
use crate::wire::orders::Order;
use serde_bytes::ByteBuf;

/// Longest datagram that is taken, in bytes. WebRTC packets stay below 1,500.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// A datagram, or several to one address, to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// Where to.
    pub remote: SocketAddr,
    /// The bytes of all segments.
    pub contents: &'a [u8],
    /// Length of each segment but the last, which may be shorter; None for one datagram.
    pub segment_size: Option<usize>,
}

impl<'a> Transmit<'a> {
    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> {
        self.contents
            .chunks(self.segment_size.unwrap_or(self.contents.len()).max(1))
    }
}

/// A bounded queue; its oldest entry leaves when it is full.
#[derive(Debug)]
struct Notices {
    queue: VecDeque<Notice>,
    max: usize,
    dropped: u64,
}

impl Notices {
    fn push(&mut self, notice: Notice) {
        if self.queue.len() >= self.max {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(notice);
    }
}

/// The packet plane of one worker. See the module's theory of operation.
pub struct Engine {
    config: Config,
    random: Random,
    table: Table,
    timers: Timers,
    notices: Notices,
    outbox: Outbox,
    fanout: Fanout,
    /// Drops that belong to no transport.
    drops: Drops,
    stun_error_budget: Budget,
    sources: Sources,
    sampler: Sampler,
    listener: Listener,
    scratch: Box<[u8]>,
    scratch_vec: Vec<u8>,
    /// The time of the last `handle_*`.
    now_ns: u64,
    /// Whose the last transmit was.
    last_transport: Option<TransportKey>,
    /// And how many datagrams it had.
    last_count: usize,
}

impl Engine {
    /// An engine with empty tables.
    pub fn new(config: Config) -> Self {
        // Of a generator of its own: what others draw does not depend on it.
        let secret = Random::new(config.seed ^ 0x736f_7572_6365_7300).next_u64();
        Self {
            random: Random::new(config.seed),
            table: Table::default(),
            timers: Timers::default(),
            notices: Notices {
                queue: VecDeque::new(),
                max: config.limits.notices_max.max(1),
                dropped: 0,
            },
            outbox: Outbox::default(),
            fanout: Fanout::new(&config),
            drops: Drops::default(),
            stun_error_budget: Budget::new(config.limits.stun_errors_per_second_max),
            sources: Sources::new(
                config.limits.stun_per_source_max,
                config.limits.stun_of_strangers_max,
                secret,
            ),
            sampler: Sampler::default(),
            listener: Listener::default(),
            scratch: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
            scratch_vec: Vec::with_capacity(DATAGRAM_BYTES_MAX),
            now_ns: 0,
            last_transport: None,
            last_count: 0,
            config,
        }
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// An [`OrderError`]; the tables are then as before.
    pub fn handle_order(&mut self, now_ns: u64, order: Order) -> Result<Answer, OrderError> {
        self.now_ns = self.now_ns.max(now_ns);
        if matches!(&order, Order::SetTransport(row) if !row.room.is_empty()) {
            self.arm_sampling(now_ns);
        }
        apply::apply(self, now_ns, order)
    }

    /// Takes a datagram that came at `now_ns`, which may be a little before what was handled last: it
    /// waited its turn. `data` may be overwritten.
    ///
    /// Whatever it is: it changes the tables if it is authentic, and is counted otherwise.
    pub fn handle_datagram(&mut self, now_ns: u64, remote: SocketAddr, data: &mut [u8]) {
        self.now_ns = self.now_ns.max(now_ns);
        let owner = self.table.tuples.get(&remote).copied();
        if let Some(transport) = owner.and_then(|key| self.table.transports.get_mut(key)) {
            transport.counters.packets_received += 1;
            transport.counters.bytes_received += data.len() as u64;
        }
        if data.len() > DATAGRAM_BYTES_MAX {
            self.count_drop(owner, DropReason::TooLong);
            return;
        }
        let kind = classify(data);
        self.record_arrival(owner, remote, kind, data);
        match (kind, owner) {
            (DatagramKind::Stun, _) => checks::handle_stun(self, now_ns, remote, data),
            (DatagramKind::Unknown, _) => self.count_drop(owner, DropReason::UnknownDatagram),
            (_, None) => self.drops.count(DropReason::UnverifiedTuple),
            (DatagramKind::Dtls, Some(key)) => self.handle_dtls(now_ns, key, data),
            (DatagramKind::Rtp, Some(key)) => receive::handle_rtp(self, now_ns, key, data),
            (DatagramKind::Rtcp, Some(key)) => rtcp_in::handle_rtcp(self, now_ns, key, data),
        }
        self.record_settled(owner);
    }

    /// Does what is due at `now_ns`.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some((at_ns, timer)) = self.timers.pop(now_ns) {
            if !self.is_armed(at_ns, timer) {
                continue;
            }
            match timer {
                Timer::Consent(key) => checks::handle_consent(self, now_ns, key),
                Timer::Tick(key) => rtcp_out::handle_tick(self, now_ns, key),
                Timer::Feedback(key) => rtcp_out::send_feedback(self, key),
                Timer::Losses(key, encoding) => receive::handle_losses(self, now_ns, key, encoding),
                Timer::KeyFrame(key, encoding) => self.serve_keyframe(now_ns, key, encoding),
                Timer::Mirror(key) => mirror::handle_look(self, now_ns, key),
                Timer::Allocate(key) => downlink::handle_allocate(self, now_ns, key),
                Timer::Probe(key) => self.handle_probe(now_ns, key),
                Timer::Pace(key) => self.handle_pace(key),
                Timer::Refresh(key, encoding) => self.handle_refresh(now_ns, key, encoding),
                Timer::Sample => sampling::handle_sample(self, now_ns),
                Timer::Levels => loudness::handle_levels(self),
            }
        }
    }

    /// When `handle_timeout` must be called at the latest. May be early, never late.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.timers.next_ns()
    }

    /// The next thing to send, of at most `segments_max` datagrams.
    ///
    /// Its bytes lie in a buffer that the next call may reuse.
    pub fn poll_transmit(&mut self, segments_max: usize) -> Option<Transmit<'_>> {
        if let Some(entry) = self.outbox.pop() {
            (self.last_transport, self.last_count) = (entry.transport, 1);
            if let Some(transport) = entry
                .transport
                .and_then(|key| self.table.transports.get_mut(key))
            {
                transport.counters.packets_sent += 1;
                transport.counters.bytes_sent += entry.len() as u64;
            }
            let (remote, contents) = (entry.remote, self.outbox.bytes(&entry));
            return Some(Transmit {
                remote,
                contents,
                segment_size: None,
            });
        }
        let run = forward::poll_run(self, segments_max)?;
        (self.last_transport, self.last_count) = (Some(run.transport), run.count);
        Some(self.fanout.transmit(&run))
    }

    /// Takes a record of the engine of worker `from`, as it came out of `poll_sibling` there.
    pub fn handle_sibling(&mut self, now_ns: u64, from: u32, record: &[u8]) {
        self.now_ns = self.now_ns.max(now_ns);
        mirror::handle_record(self, now_ns, from, record);
    }

    /// The next record for another worker's engine: that worker, and the bytes.
    ///
    /// Records to one worker keep their order on the way. They go before
    /// `poll_transmit`, so that no worker waits for the viewers of another.
    pub fn poll_sibling(&mut self) -> Option<(u32, &[u8])> {
        if !self.table.links.has_records() {
            self.stage_state();
        }
        self.table.links.pop()
    }

    /// Says that there was no room for the last record of `poll_sibling`.
    ///
    /// A packet is lost and counted; all else is told again at the next drain.
    pub fn handle_sibling_lost(&mut self) {
        match self.table.links.handle_lost() {
            Some(Lost::Packet(transport)) => mirror::count_lost(self, transport, 1),
            Some(Lost::Want(key)) => {
                if let Some(mirror::Home::Sibling(mirror)) =
                    self.table.producers.get_mut(key).map(|one| &mut one.home)
                {
                    mirror.take_back();
                }
            }
            None => {}
        }
    }

    /// Says that the last transmit could not be sent.
    pub fn handle_send_lost(&mut self) {
        for _ in 0..self.last_count {
            self.count_drop(self.last_transport, DropReason::SendBufferFull);
        }
        self.record_lost();
    }

    /// Whether so much waits to be forwarded that it is time to drain.
    pub fn wants_drain(&self) -> bool {
        self.fanout.wants_drain() || self.table.links.wants_drain()
    }

    /// The oldest notice.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.queue.pop_front()
    }

    /// Notices that left the full queue unread.
    pub fn notices_dropped(&self) -> u64 {
        self.notices.dropped
    }

    /// Drops that belong to no transport, such as checks with an unknown ufrag.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    fn is_armed(&mut self, at_ns: u64, timer: Timer) -> bool {
        let Table {
            transports,
            producers,
            ..
        } = &mut self.table;
        let armed = match timer {
            Timer::Consent(key) => transports.get_mut(key).map(|one| &mut one.consent_timer),
            Timer::Tick(key) => transports.get_mut(key).map(|one| &mut one.tick_timer),
            Timer::Feedback(key) => transports.get_mut(key).map(|one| &mut one.feedback_timer),
            Timer::Losses(key, encoding) => producers
                .get_mut(key)
                .and_then(|one| one.encodings.get_mut(usize::from(encoding)))
                .map(|one| &mut one.losses_timer),
            Timer::KeyFrame(key, encoding) => producers
                .get_mut(key)
                .and_then(|one| one.encodings.get_mut(usize::from(encoding)))
                .map(|one| &mut one.keyframes_timer),
            Timer::Mirror(key) => match producers.get_mut(key).map(|one| &mut one.home) {
                Some(mirror::Home::Sibling(mirror)) => Some(&mut mirror.timer),
                _ => None,
            },
            Timer::Allocate(key) => transports.get_mut(key).map(|one| &mut one.downlink.timer),
            Timer::Probe(key) => transports
                .get_mut(key)
                .map(|one| &mut one.downlink.probing.timer),
            Timer::Refresh(key, encoding) => producers
                .get_mut(key)
                .and_then(|one| one.encodings.get_mut(usize::from(encoding)))
                .map(|one| &mut one.refresh.timer),
            Timer::Pace(key) => transports.get_mut(key).map(|one| &mut one.pacer.timer),
            Timer::Sample => Some(&mut self.sampler.timer),
            Timer::Levels => Some(&mut self.listener.timer),
        };
        armed.is_some_and(|armed| armed.fired(at_ns))
    }

    fn count_drop(&mut self, transport: Option<TransportKey>, reason: DropReason) {
        match transport.and_then(|key| self.table.transports.get_mut(key)) {
            Some(transport) => transport.drop(reason),
            None => self.drops.count(reason),
        }
    }

    fn handle_dtls(&mut self, now_ns: u64, key: TransportKey, data: &[u8]) {
        let transport = self
            .table
            .transports
            .get_mut(key)
            .expect("tuples name living transports");
        if !transport.dtls_budget.take(now_ns) {
            transport.drop(DropReason::DtlsFlood);
            return;
        }
        let id = transport.row.transport.clone();
        let datagrams = vec![ByteBuf::from(data)];
        self.notices.push(Notice::DtlsReceived {
            transport: id,
            datagrams,
        });
    }

    fn unix_ns(&self, now_ns: u64) -> u64 {
        self.config.unix_offset_ns.saturating_add(now_ns)
    }
}

impl From<Result<Answer, OrderError>> for OrderResult {
    fn from(result: Result<Answer, OrderError>) -> Self {
        match result {
            Ok(Answer::Done) => Self::Done,
            Ok(Answer::Data(data)) => Self::Data(data),
            Err(error) => Self::Error(error.into()),
        }
    }
}

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
        }
    }
}
