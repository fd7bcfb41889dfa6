//! A full ICE agent with one candidate pair, sans-IO (RFC 8445, RFC 7675).
//!
//! It is controlling, checks until a check succeeds, nominates with a second one, and keeps consent
//! fresh. Servers that check by themselves are answered.

use crate::engine::random::Random;
use crate::stun::{
    BindingRequest, Class, IceRole, IntegrityKey, METHOD_BINDING, Message, TransactionId,
    write_binding_request, write_binding_success,
};
use std::net::SocketAddr;

/// Between checks while there is no answer yet.
pub const CHECK_INTERVAL_NS: u64 = 100_000_000;
/// Between checks that keep consent, on average.
pub const CONSENT_INTERVAL_NS: u64 = 5_000_000_000;
/// Without an answer for so long, the pair has failed (RFC 7675, 5.1).
pub const CONSENT_EXPIRES_NS: u64 = 30_000_000_000;

const REMEMBERED: usize = 16;
/// 110 is the type preference of peer-reflexive candidates (RFC 8445, 5.1.2.2).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// User name fragment and password of one side.
#[derive(Clone)]
pub struct Credentials {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, redacted)", self.ufrag)
    }
}

/// How a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceState {
    /// No check was answered yet.
    Checking,
    /// A check was answered: DTLS may begin.
    Connected,
    /// Consent expired.
    Failed,
}

/// What a call of the agent brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceChange {
    /// The first answer came.
    Connected,
    /// Consent expired.
    Failed,
}

/// One pair: our socket and the server's candidate.
#[derive(Debug)]
pub(crate) struct IceAgent {
    state: IceState,
    nominated: bool,
    remote: SocketAddr,
    username: String,
    remote_key: IntegrityKey,
    local_key: IntegrityKey,
    tie_breaker: u64,
    /// The last checks: whether they nominate, and when they were sent.
    checks: [Option<(TransactionId, bool, u64)>; REMEMBERED],
    sent: usize,
    answered_ns: u64,
    next_ns: u64,
    round_trip_ns: u64,
}

impl IceAgent {
    /// Begins to check at once.
    pub fn new(
        remote: SocketAddr,
        ours: &Credentials,
        theirs: &Credentials,
        tie_breaker: u64,
        now_ns: u64,
    ) -> Self {
        Self {
            state: IceState::Checking,
            nominated: false,
            remote,
            username: format!("{}:{}", theirs.ufrag, ours.ufrag),
            remote_key: IntegrityKey::new(&theirs.pwd),
            local_key: IntegrityKey::new(&ours.pwd),
            tie_breaker,
            checks: [None; REMEMBERED],
            sent: 0,
            answered_ns: now_ns,
            next_ns: now_ns,
            round_trip_ns: 0,
        }
    }

    /// How long the last answer took; 0 before the first.
    pub fn round_trip_ns(&self) -> u64 {
        self.round_trip_ns
    }

    /// How it stands.
    pub fn state(&self) -> IceState {
        self.state
    }

    /// When to call `handle_timeout`.
    pub fn deadline_ns(&self) -> Option<u64> {
        (self.state != IceState::Failed).then_some(self.next_ns)
    }

    /// Writes the next check to `out` where one is due; `out` is left empty otherwise.
    pub fn handle_timeout(
        &mut self,
        now_ns: u64,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) -> Option<IceChange> {
        out.clear();
        if self.state == IceState::Failed || now_ns < self.next_ns {
            return None;
        }
        if now_ns.saturating_sub(self.answered_ns) >= CONSENT_EXPIRES_NS {
            self.state = IceState::Failed;
            return Some(IceChange::Failed);
        }
        let nominate = self.state == IceState::Connected;
        self.next_ns = now_ns
            + if nominate && self.nominated {
                // Between 0.8 and 1.2 of the interval (RFC 7675, 5.1).
                CONSENT_INTERVAL_NS * 4 / 5 + random.below(CONSENT_INTERVAL_NS * 2 / 5)
            } else {
                CHECK_INTERVAL_NS
            };
        let mut id = [0; 12];
        id[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        id[8..].copy_from_slice(&random.next_u64().to_be_bytes()[..4]);
        self.checks[self.sent % REMEMBERED] = Some((TransactionId(id), nominate, now_ns));
        self.sent += 1;
        let request = BindingRequest {
            transaction_id: TransactionId(id),
            username: &self.username,
            priority: PRIORITY,
            use_candidate: nominate,
            role: IceRole::Controlling(self.tie_breaker),
        };
        write_binding_request(out, &request, &self.remote_key);
        None
    }

    /// Takes a STUN message; an answer to it is written to `out`, which is left empty otherwise.
    pub fn handle_datagram(
        &mut self,
        now_ns: u64,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<IceChange> {
        out.clear();
        let message = Message::parse(datagram).ok()?;
        if message.method() != METHOD_BINDING {
            return None;
        }
        match message.class() {
            Class::Request => {
                message.verify_integrity(&self.local_key).ok()?;
                write_binding_success(out, message.transaction_id(), self.remote, &self.local_key);
                None
            }
            Class::Success => self.handle_success(now_ns, &message),
            _ => None,
        }
    }

    fn handle_success(&mut self, now_ns: u64, message: &Message<'_>) -> Option<IceChange> {
        let known = self
            .checks
            .iter_mut()
            .find(|one| one.is_some_and(|(id, ..)| id == message.transaction_id()))?;
        message.verify_integrity(&self.remote_key).ok()?;
        let (_, nominating, sent_ns) = known.take()?;
        self.round_trip_ns = now_ns.saturating_sub(sent_ns);
        self.answered_ns = now_ns;
        if nominating && !self.nominated {
            self.nominated = true;
            self.next_ns = now_ns + CONSENT_INTERVAL_NS;
        }
        if self.state != IceState::Checking {
            return None;
        }
        self.state = IceState::Connected;
        self.next_ns = now_ns;
        Some(IceChange::Connected)
    }
}
