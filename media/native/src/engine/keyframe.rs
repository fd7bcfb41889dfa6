//! Keyframe requests to a publisher, coalesced per encoding.
//!
//! However many viewers ask, at most one request a second goes out. A keyframe
//! that arrives answers all that asked before it. A request that nothing
//! answers is repeated, each time after twice as long, until a keyframe comes.

/// Least time between two requests for one encoding.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// Longest time between repetitions.
pub const REPEAT_NS_MAX: u64 = 8_000_000_000;

/// So many requests, each asked for by somebody, within [`STORM_NS`] are a storm.
pub const STORM_REQUESTS: usize = 5;

/// See [`STORM_REQUESTS`].
pub const STORM_NS: u64 = 10_000_000_000;

/// Why a keyframe is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A viewer has nothing to see. Alone: there is nothing in the cache to begin with; otherwise one of
    /// the last three stands beside it.
    Began,
    /// A viewer must change layers, and can't wait for the next one.
    Switched,
    /// A viewer asked, by PLI, FIR or signaling.
    Viewer,
    /// The last one has become old while people come, or wait to climb.
    Clock,
    /// Packets of the publisher were lost for good.
    Lost,
    /// The keyframe in the cache is too old to begin with.
    Aged,
    /// To catch up from the keyframe in the cache would take too long.
    Slow,
    /// The viewer's way was full: nothing of the past is sent into it.
    Full,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::Began,
        Self::Switched,
        Self::Viewer,
        Self::Clock,
        Self::Lost,
        Self::Aged,
        Self::Slow,
        Self::Full,
    ];

    /// The word for it in notices and the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Switched => "switched",
            Self::Viewer => "viewer",
            Self::Clock => "clock",
            Self::Lost => "lost",
            Self::Aged => "aged",
            Self::Slow => "slow",
            Self::Full => "full",
        }
    }
}

/// Some causes, as a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes(pub u8);

impl Causes {
    /// These, and those.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Their words.
    pub fn words(self) -> Vec<String> {
        let all = Cause::ALL.into_iter();
        let ours = all.filter(|&one| self.0 & Self::from(one).0 != 0);
        ours.map(|one| one.word().to_owned()).collect()
    }
}

impl From<Cause> for Causes {
    fn from(cause: Cause) -> Self {
        Self(1 << cause as u8)
    }
}

/// The requests for one encoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyFrameRequests {
    askers: u32,
    causes: Causes,
    /// A request went out that no keyframe has answered.
    unanswered: bool,
    sent_ns: Option<u64>,
    backoff_ns: u64,
    /// When the last requests went out that somebody had asked for, a ring.
    asked_ns: [u64; STORM_REQUESTS],
    asked_next: usize,
}

impl KeyFrameRequests {
    /// Someone needs a keyframe. Poll then.
    pub fn ask(&mut self, cause: Cause) {
        self.ask_for(1, cause.into());
    }

    /// So many need a keyframe. Poll then.
    pub fn ask_for(&mut self, askers: u32, causes: Causes) {
        self.askers = self.askers.saturating_add(askers);
        self.causes = self.causes.and(causes);
    }

    /// Why the request that went out was made; none for a repetition.
    pub fn take_causes(&mut self) -> Causes {
        std::mem::take(&mut self.causes)
    }

    /// A keyframe began: all who asked are answered.
    pub fn handle_keyframe(&mut self) {
        self.askers = 0;
        self.causes = Causes::default();
        self.unanswered = false;
        self.backoff_ns = 0;
    }

    /// Nobody needs one any more.
    pub fn cancel(&mut self) {
        self.handle_keyframe();
    }

    /// When [`Self::poll`] is due; in the past if it is due now.
    pub fn deadline_ns(&self) -> Option<u64> {
        let sent_ns = match self.sent_ns {
            None => return (self.askers > 0).then_some(0),
            Some(sent_ns) => sent_ns,
        };
        if self.askers > 0 {
            return Some(sent_ns + INTERVAL_NS);
        }
        self.unanswered.then_some(sent_ns + self.backoff_ns)
    }

    /// Whether a request goes out now, and for how many askers since the last one.
    ///
    /// The first one goes out at once; 0 askers means a repetition.
    pub fn poll(&mut self, now_ns: u64) -> Option<u32> {
        self.deadline_ns().filter(|&due_ns| due_ns <= now_ns)?;
        let repeated = self.unanswered && self.askers == 0;
        let backoff_ns = if repeated {
            self.backoff_ns * 2
        } else {
            INTERVAL_NS
        };
        self.backoff_ns = backoff_ns.min(REPEAT_NS_MAX);
        self.unanswered = true;
        self.sent_ns = Some(now_ns);
        let askers = std::mem::take(&mut self.askers);
        if askers > 0 {
            self.asked_ns[self.asked_next] = now_ns;
            self.asked_next = (self.asked_next + 1) % STORM_REQUESTS;
        }
        Some(askers)
    }

    /// Whether the request that went out at `now_ns` makes a storm; the next one takes as many anew.
    pub fn is_storm(&mut self, now_ns: u64) -> bool {
        let recent = |&at_ns: &u64| at_ns > 0 && now_ns.saturating_sub(at_ns) < STORM_NS;
        let storm = self.asked_ns.iter().all(recent);
        if storm {
            self.asked_ns = [0; STORM_REQUESTS];
        }
        storm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1000 * MS;

    #[test]
    fn first_asker_is_served_at_once_and_the_rest_together() {
        let mut requests = KeyFrameRequests::default();
        assert_eq!(requests.poll(5 * S), None);
        requests.ask(Cause::Viewer);
        assert_eq!(requests.poll(5 * S), Some(1));
        for _ in 0..999 {
            requests.ask(Cause::Viewer);
        }
        assert_eq!(requests.poll(5 * S + 999 * MS), None);
        assert_eq!(requests.poll(6 * S), Some(999));
    }

    #[test]
    fn a_request_tells_all_of_its_causes_once() {
        let mut requests = KeyFrameRequests::default();
        requests.ask(Cause::Viewer);
        requests.ask_for(3, Causes::from(Cause::Began).and(Cause::Clock.into()));
        assert_eq!(requests.poll(S), Some(4));
        assert_eq!(requests.take_causes().words(), ["began", "viewer", "clock"]);
        requests.poll(2 * S);
        assert_eq!(requests.take_causes(), Causes::default());
    }

    #[test]
    fn keyframe_answers_all_who_asked_before_it() {
        let mut requests = KeyFrameRequests::default();
        requests.ask(Cause::Viewer);
        assert_eq!(requests.poll(S), Some(1));
        requests.ask(Cause::Viewer);
        requests.handle_keyframe();
        assert_eq!((requests.deadline_ns(), requests.poll(9 * S)), (None, None));
    }

    #[test]
    fn asker_after_the_keyframe_waits_for_the_second_to_be_over() {
        let mut requests = KeyFrameRequests::default();
        requests.ask(Cause::Viewer);
        requests.poll(S);
        requests.handle_keyframe();
        requests.ask(Cause::Viewer);
        assert_eq!(requests.deadline_ns(), Some(2 * S));
        assert_eq!(requests.poll(2 * S), Some(1));
    }

    #[test]
    fn unanswered_request_is_repeated_ever_more_slowly() {
        let mut requests = KeyFrameRequests::default();
        requests.ask(Cause::Viewer);
        requests.poll(S);
        let mut at_ns = S;
        for wait_s in [1, 2, 4, 8, 8] {
            let due_ns = requests.deadline_ns().expect("unanswered");
            assert_eq!(due_ns, at_ns + wait_s * S);
            assert_eq!(requests.poll(due_ns - 1), None);
            assert_eq!(requests.poll(due_ns), Some(0));
            at_ns = due_ns;
        }
    }

    #[test]
    fn five_requests_in_ten_seconds_are_one_storm() {
        let mut requests = KeyFrameRequests::default();
        let mut storms = Vec::new();
        for second in 1..=20 {
            requests.ask(Cause::Viewer);
            assert_eq!(requests.poll(second * S), Some(1));
            requests.handle_keyframe();
            if requests.is_storm(second * S) {
                storms.push(second);
            }
        }
        assert_eq!(storms, [5, 10, 15, 20]);
        for n in 0..20 {
            requests.ask(Cause::Viewer);
            requests.poll(100 * S + n * 3 * S);
            assert!(!requests.is_storm(100 * S + n * 3 * S));
        }
    }
}
