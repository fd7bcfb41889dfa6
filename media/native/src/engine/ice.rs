//! An ICE-lite agent of one transport (RFC 8445, 2.5): credentials, tuples, consent.
//!
//! Theory of operation: a lite agent only answers. A check that verified makes
//! its remote address a *tuple*; media and DTLS are accepted from any tuple, for
//! a peer may send before it nominates. What we send goes to the *selected*
//! tuple: the nominated one, and before any nomination the latest that verified.
//! A verified check is also consent to send (RFC 7675).
//!
//! | state | a check verifies | 10 s without one | 30 s without one |
//! | --- | --- | --- | --- |
//! | new | connected | new | new |
//! | connected | connected | disconnected | |
//! | disconnected | connected | | failed |
//! | failed | connected | | |

use std::net::SocketAddr;

use crate::stun::IntegrityKey;
use crate::wire::notices::IceState;
use crate::wire::orders::IceCredentials;

/// Without a verified check for so long, a transport is disconnected.
pub const DISCONNECTED_AFTER_NS: u64 = 10_000_000_000;

/// Without a verified check for so long, a transport has failed (RFC 7675, 5.1).
pub const FAILED_AFTER_NS: u64 = 30_000_000_000;

/// Generations of credentials that are accepted at a time.
pub const GENERATIONS_MAX: usize = 2;

struct Generation {
    ufrag: String,
    key: IntegrityKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    remote: SocketAddr,
    verified_ns: u64,
}

/// What a verified check changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckOutcome {
    /// The state is another one now.
    pub(crate) state_changed: bool,
    /// The selected tuple is another one now.
    pub(crate) selected_changed: bool,
    /// A tuple that left the table to make room.
    pub(crate) evicted: Option<SocketAddr>,
    /// Credentials that an ICE restart has replaced for good.
    pub(crate) retired_ufrag: Option<String>,
}

#[repr(C)] // What each packet touches lies side by side.
pub(crate) struct IceAgent {
    selected: Option<SocketAddr>,
    state: IceState,
    nominated: bool,
    generations: Vec<Generation>,
    tuples: Vec<Tuple>,
    tuples_max: usize,
    verified_ns: u64,
}

impl IceAgent {
    pub(crate) fn new(credentials: &[IceCredentials], tuples_max: usize) -> Self {
        let mut agent = Self {
            generations: Vec::new(),
            tuples: Vec::new(),
            tuples_max: tuples_max.max(1),
            selected: None,
            nominated: false,
            state: IceState::New,
            verified_ns: 0,
        };
        agent.set_credentials(credentials);
        agent
    }

    /// Accepts these credentials from now on, newest first.
    pub(crate) fn set_credentials(&mut self, credentials: &[IceCredentials]) {
        let accepted = credentials.iter().take(GENERATIONS_MAX);
        self.generations = accepted
            .map(|one| Generation {
                ufrag: one.ufrag.clone(),
                key: IntegrityKey::new(&one.pwd),
            })
            .collect();
    }

    pub(crate) fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.generations
            .iter()
            .map(|generation| generation.ufrag.as_str())
    }

    pub(crate) fn key_of(&self, ufrag: &str) -> Option<&IntegrityKey> {
        let found = self
            .generations
            .iter()
            .find(|generation| generation.ufrag == ufrag);
        found.map(|generation| &generation.key)
    }

    pub(crate) fn state(&self) -> IceState {
        self.state
    }

    /// Where we send to.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub(crate) fn tuples(&self) -> impl Iterator<Item = SocketAddr> {
        self.tuples.iter().map(|tuple| tuple.remote)
    }

    /// A check with the credentials `ufrag` verified.
    pub(crate) fn handle_check(
        &mut self,
        now_ns: u64,
        remote: SocketAddr,
        ufrag: &str,
        use_candidate: bool,
    ) -> CheckOutcome {
        let mut outcome = CheckOutcome::default();
        let newest = self
            .generations
            .first()
            .is_some_and(|newest| newest.ufrag == ufrag);
        if newest && self.generations.len() > 1 {
            outcome.retired_ufrag = self.generations.pop().map(|old| old.ufrag);
            // The restart's own pair is to be nominated anew (RFC 8445, 9).
            self.nominated = false;
        }
        self.verified_ns = now_ns;
        match self.tuples.iter_mut().find(|tuple| tuple.remote == remote) {
            Some(tuple) => tuple.verified_ns = now_ns,
            None => {
                if self.tuples.len() >= self.tuples_max {
                    outcome.evicted = self.evict();
                }
                self.tuples.push(Tuple {
                    remote,
                    verified_ns: now_ns,
                });
            }
        }
        if use_candidate {
            self.nominated = true;
        }
        if (use_candidate || !self.nominated) && self.selected != Some(remote) {
            self.selected = Some(remote);
            outcome.selected_changed = true;
        }
        outcome.state_changed = self.enter(IceState::Connected);
        outcome
    }

    /// Looks whether consent is still fresh; true if the state changed.
    pub(crate) fn handle_timeout(&mut self, now_ns: u64) -> bool {
        let silent_ns = now_ns.saturating_sub(self.verified_ns);
        match self.state {
            IceState::Connected if silent_ns >= DISCONNECTED_AFTER_NS => {
                self.enter(IceState::Disconnected)
            }
            IceState::Disconnected if silent_ns >= FAILED_AFTER_NS => self.enter(IceState::Failed),
            _ => false,
        }
    }

    /// When consent must be looked at next.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        match self.state {
            IceState::New | IceState::Failed => None,
            IceState::Connected => Some(self.verified_ns + DISCONNECTED_AFTER_NS),
            IceState::Disconnected => Some(self.verified_ns + FAILED_AFTER_NS),
        }
    }

    /// Another transport verified this address later; true if it was the selected one.
    ///
    /// The latest other tuple takes its place; without one the agent is disconnected.
    pub(crate) fn lose_tuple(&mut self, remote: SocketAddr) -> bool {
        self.tuples.retain(|tuple| tuple.remote != remote);
        if self.selected != Some(remote) {
            return false;
        }
        let latest = self.tuples.iter().max_by_key(|tuple| tuple.verified_ns);
        self.selected = latest.map(|tuple| tuple.remote);
        self.nominated = false;
        if self.selected.is_none() && self.state == IceState::Connected {
            self.state = IceState::Disconnected;
        }
        true
    }

    fn enter(&mut self, state: IceState) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }

    fn evict(&mut self) -> Option<SocketAddr> {
        let spared = self.selected.filter(|_| self.tuples_max > 1);
        let candidates = self.tuples.iter().enumerate();
        let oldest = candidates
            .filter(|(_, tuple)| Some(tuple.remote) != spared)
            .min_by_key(|(_, tuple)| tuple.verified_ns)
            .map(|(place, _)| place)?;
        Some(self.tuples.remove(oldest).remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn credentials(names: &[&str]) -> Vec<IceCredentials> {
        let one = |name: &&str| IceCredentials {
            ufrag: (*name).into(),
            pwd: "p".repeat(22),
        };
        names.iter().map(one).collect()
    }

    fn remote(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn latest_check_selects_until_one_nominates() {
        let mut agent = IceAgent::new(&credentials(&["a"]), 8);
        assert!(agent.handle_check(S, remote(1), "a", false).state_changed);
        assert!(
            agent
                .handle_check(S, remote(2), "a", false)
                .selected_changed
        );
        assert!(agent.handle_check(S, remote(1), "a", true).selected_changed);
        assert!(
            !agent
                .handle_check(S, remote(2), "a", false)
                .selected_changed
        );
        assert_eq!(agent.selected(), Some(remote(1)));
        assert!(agent.handle_check(S, remote(2), "a", true).selected_changed);
    }

    #[test]
    fn full_table_drops_the_oldest_but_never_the_selected() {
        let mut agent = IceAgent::new(&credentials(&["a"]), 2);
        agent.handle_check(S, remote(1), "a", true);
        agent.handle_check(2 * S, remote(2), "a", false);
        let outcome = agent.handle_check(3 * S, remote(3), "a", false);
        assert_eq!(outcome.evicted, Some(remote(2)));
        assert_eq!(agent.selected(), Some(remote(1)));
    }

    #[test]
    fn consent_is_lost_in_two_steps_and_comes_back() {
        let mut agent = IceAgent::new(&credentials(&["a"]), 8);
        assert_eq!(agent.deadline_ns(), None);
        agent.handle_check(S, remote(1), "a", true);
        assert!(!agent.handle_timeout(11 * S - 1));
        assert!(agent.handle_timeout(11 * S));
        assert_eq!(agent.state(), IceState::Disconnected);
        assert_eq!(agent.deadline_ns(), Some(31 * S));
        assert!(agent.handle_timeout(31 * S));
        assert_eq!(
            (agent.state(), agent.deadline_ns()),
            (IceState::Failed, None)
        );
        assert!(
            agent
                .handle_check(40 * S, remote(1), "a", true)
                .state_changed
        );
        assert_eq!(agent.state(), IceState::Connected);
    }

    #[test]
    fn first_check_with_new_credentials_retires_the_old() {
        let mut agent = IceAgent::new(&credentials(&["a"]), 8);
        agent.handle_check(S, remote(1), "a", true);
        agent.set_credentials(&credentials(&["b", "a"]));
        assert!(agent.key_of("a").is_some());
        assert_eq!(
            agent.handle_check(S, remote(1), "a", false).retired_ufrag,
            None
        );
        let outcome = agent.handle_check(S, remote(2), "b", false);
        assert_eq!(outcome.retired_ufrag.as_deref(), Some("a"));
        assert!(outcome.selected_changed && agent.key_of("a").is_none());
    }

    #[test]
    fn losing_the_last_tuple_disconnects() {
        let mut agent = IceAgent::new(&credentials(&["a"]), 8);
        agent.handle_check(S, remote(1), "a", true);
        agent.handle_check(2 * S, remote(2), "a", false);
        assert!(!agent.lose_tuple(remote(2)));
        assert!(agent.lose_tuple(remote(1)));
        assert_eq!(
            (agent.selected(), agent.state()),
            (None, IceState::Disconnected)
        );
    }
}
