//! Tells the past that a stream is given from what is live.
//!
//! A router may begin a viewer's stream with pictures out of a cache, seconds old, sent faster than
//! they were made, until the viewer has caught up; likewise when a viewer climbs to another layer.
//! How old those are says nothing of how long the router takes, so they don't count as latency.

/// How long delays are watched before it is said whether they still shrink.
const WINDOW_NS: u64 = 200_000_000;

/// By so much the least delay of a window shrinks at least while a stream catches up: a tenth of it.
const SHRINKS_NS: u64 = WINDOW_NS / 10;

/// Stamps that go back by less are of packets that were sent at once.
const STEP_NS: u64 = 50_000_000;

/// Delays while a stream is behind.
#[derive(Clone, Copy, Debug)]
struct Behind {
    /// Least delay of the window before.
    before_ns: Option<u64>,
    /// Least delay of this window.
    least_ns: u64,
    ends_ns: u64,
}

/// Whether a stream is live.
#[derive(Debug)]
pub struct CatchingUp {
    came_ns: u64,
    /// The newest stamp that came.
    newest_ns: Option<u64>,
    behind: Option<Behind>,
}

impl CatchingUp {
    /// Of a receiver that came at this monotonic time.
    pub fn new(came_ns: u64) -> Self {
        Self {
            came_ns,
            newest_ns: None,
            behind: None,
        }
    }

    /// Whether the stream is behind now.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Takes a packet in the order of numbers: when it came (monotonic), its stamp (Unix time) and its
    /// delay. Returns whether it was live.
    pub fn is_live(&mut self, now_ns: u64, stamp_ns: u64, delay_ns: u64) -> bool {
        let goes_back = match self.newest_ns {
            None => delay_ns > now_ns.saturating_sub(self.came_ns),
            Some(newest_ns) => stamp_ns + STEP_NS < newest_ns,
        };
        self.newest_ns = Some(stamp_ns);
        if goes_back {
            self.behind = Some(Behind {
                before_ns: None,
                least_ns: delay_ns,
                ends_ns: now_ns + WINDOW_NS,
            });
        }
        let Some(behind) = &mut self.behind else {
            return true;
        };
        if now_ns >= behind.ends_ns {
            let settled = behind
                .before_ns
                .is_some_and(|before_ns| behind.least_ns + SHRINKS_NS > before_ns);
            if settled {
                self.behind = None;
                return true;
            }
            *behind = Behind {
                before_ns: Some(behind.least_ns),
                least_ns: delay_ns,
                ends_ns: now_ns + WINDOW_NS,
            };
        }
        behind.least_ns = behind.least_ns.min(delay_ns);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Packets every 10 ms from `from_ms` on, with the delay that `delay_ms` tells for each.
    fn live(
        stream: &mut CatchingUp,
        from_ms: u64,
        count: u64,
        delay_ms: impl Fn(u64) -> u64,
    ) -> Vec<bool> {
        (0..count)
            .map(|step| {
                let now_ms = from_ms + 10 * step;
                let delay_ns = delay_ms(step) * MS;
                stream.is_live(now_ms * MS, (10_000 + now_ms) * MS - delay_ns, delay_ns)
            })
            .collect()
    }

    #[test]
    fn what_begins_with_what_is_sent_now_is_live_at_once() {
        let mut stream = CatchingUp::new(1_000 * MS);
        assert!(
            live(&mut stream, 1_100, 50, |_| 40)
                .iter()
                .all(|live| *live)
        );
    }

    #[test]
    fn a_newcomer_catches_up_and_is_live_then() {
        let mut stream = CatchingUp::new(1_000 * MS);
        // Three seconds old at first; shrinks by 30 ms every 10 ms.
        let told = live(&mut stream, 1_100, 200, |step| {
            3_000_u64.saturating_sub(30 * step).max(4)
        });
        assert!(told[..100].iter().all(|live| !live));
        assert!(told[150..].iter().all(|live| *live) && !stream.is_behind());
    }

    #[test]
    fn who_climbs_to_a_layer_that_begins_in_the_past_is_behind_again() {
        let mut stream = CatchingUp::new(0);
        assert!(live(&mut stream, 1_000, 50, |_| 3).iter().all(|live| *live));
        let climb = live(&mut stream, 1_500, 100, |step| {
            2_000_u64.saturating_sub(100 * step).max(3)
        });
        assert!(!climb[0] && climb[99]);
    }

    #[test]
    fn a_router_that_falls_behind_itself_counts() {
        let mut stream = CatchingUp::new(0);
        let told = live(&mut stream, 1_000, 200, |step| 3 + 5 * step);
        assert!(told.iter().all(|live| *live));
    }

    #[test]
    fn who_never_catches_up_counts_again_once_the_delay_stays() {
        let mut stream = CatchingUp::new(1_000 * MS);
        let told = live(&mut stream, 1_100, 100, |_| 2_000);
        assert!(!told[0] && told[99]);
    }
}
