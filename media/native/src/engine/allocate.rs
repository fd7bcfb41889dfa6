//! Shares one transport's bandwidth among its consumers. Pure: candidates in, layers out.
//!
//! Audio is taken off first. Then each video gets its lowest layers, in the order of priority. After
//! that the highest priority climbs as far as it fits, then the next: equal ones in turns, one step a
//! turn. What does not fit stays below, and a video whose lowest layers do not fit is paused.
//!
//! # Hysteresis
//! For a guess nothing is taken away that somebody has. What a video has may use all of the estimate,
//! and while nothing says that the way is full [`KEEP_SHARE`] of it: what gets through is there, and
//! the estimate follows. A step above that must fit into [`RAISE_SHARE`] of it, and not come too soon
//! after a step down ([`Memory`]).

/// Of the estimate, what layers above the present ones must fit into.
pub(crate) const RAISE_SHARE: f64 = 0.92;

/// Of the estimate, what present layers may take as long as the way is not congested: bitrates are
/// measured, and go up and down.
pub(crate) const KEEP_SHARE: f64 = 1.25;

/// RTP headers, extensions and SRTP tags beside payloads.
pub(crate) const OVERHEAD: f64 = 1.06;

/// After a step down, none up for so long; twice as long after each step up that did not last.
const HOLD_NS: u64 = 5_000_000_000;
const HOLD_NS_MAX: u64 = 40_000_000_000;

/// Once the estimate is so many times what it was at the step down, it is another link: the first wait
/// is enough.
const ANOTHER_LINK: u64 = 2;

/// A video that was paused may come back sooner, unless its last step up did not last.
const PAUSED_NS: u64 = 2_000_000_000;

/// The lowest layers that somebody has are kept until the estimate falls below so much of their
/// cost: a picture that comes a little late is better than none.
const PAUSE_PERCENT: u64 = 70;

/// A step up that lasted so long was right.
const LASTED_NS: u64 = 15_000_000_000;

/// Steps of one candidate at most.
pub(crate) const STEPS_MAX: usize = 16;

/// Layers and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    pub(crate) bitrate_bps: u64,
}

/// What a consumer's layers were before, and when they may rise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Layers that were given last; None: paused. Without `given`, nothing was decided yet.
    pub(crate) layers: Option<(u8, u8)>,
    pub(crate) given: bool,
    raised_ns: Option<u64>,
    hold_until_ns: u64,
    hold_ns: u64,
    /// When it last fell by congestion, and the estimate then.
    fell: Option<(u64, u64)>,
}

impl Memory {
    /// Notes what was decided. Only a step down by congestion makes the next one up wait:
    /// `full_bps` is the estimate if the way is full.
    pub(crate) fn note(&mut self, now_ns: u64, layers: Option<(u8, u8)>, full_bps: Option<u64>) {
        if !self.given {
            self.given = true;
        } else if let Some(full_bps) = full_bps.filter(|_| layers < self.layers) {
            self.fell = Some((now_ns, full_bps));
            // Further steps down of the same fall change nothing.
            if let Some(raised_ns) = self.raised_ns.take() {
                let soon = now_ns.saturating_sub(raised_ns) < LASTED_NS;
                self.hold_ns = if soon { self.hold_ns * 2 } else { 0 }.clamp(HOLD_NS, HOLD_NS_MAX);
            }
            let until_ns = now_ns + self.hold_ns.max(HOLD_NS);
            self.hold_until_ns = self.hold_until_ns.max(until_ns);
        } else if layers > self.layers {
            self.raised_ns = Some(now_ns);
        }
        self.layers = layers;
    }

    /// Whether it may be given more, of such an estimate.
    fn may_rise(&self, now_ns: u64, estimate_bps: u64) -> bool {
        let sooner_ns = match self.layers {
            None if self.hold_ns <= HOLD_NS => HOLD_NS - PAUSED_NS,
            _ => 0,
        };
        let (fell_ns, full_bps) = self.fell.unwrap_or_default();
        let is_another = estimate_bps >= full_bps.saturating_mul(ANOTHER_LINK);
        now_ns + sooner_ns >= self.hold_until_ns || (is_another && now_ns >= fell_ns + HOLD_NS)
    }

    /// What the estimate would have to be to give it more, which would take so much: as long as it waits,
    /// that of another link.
    fn wanted_bps(&self, now_ns: u64, least_bps: u64) -> u64 {
        let (_, full_bps) = self.fell.unwrap_or_default();
        match self.may_rise(now_ns, least_bps) {
            true => least_bps,
            false => least_bps.max(full_bps.saturating_mul(ANOTHER_LINK)),
        }
    }

    /// Whether room for more may be looked for.
    fn may_look(&self, now_ns: u64) -> bool {
        self.may_rise(now_ns, u64::MAX)
    }
}

/// A video that wants bandwidth.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Higher ones first; among equals the order of the list.
    pub(crate) priority: u8,
    /// From the lowest to the highest wanted.
    pub(crate) steps: Vec<Step>,
    pub(crate) memory: Memory,
    /// The outcome: how many steps; 0 is paused.
    pub(crate) taken: usize,
}

impl Candidate {
    fn cost_bps(&self, taken: usize) -> u64 {
        match taken {
            0 => 0,
            _ => (self.steps[taken - 1].bitrate_bps as f64 * OVERHEAD) as u64,
        }
    }

    /// How many steps it has now; all of them while nothing was decided.
    fn held(&self) -> usize {
        match (self.memory.given, self.memory.layers) {
            (false, _) => self.steps.len(),
            (true, None) => 0,
            (true, Some(layers)) => self
                .steps
                .iter()
                .filter(|one| (one.spatial, one.temporal) <= layers)
                .count(),
        }
    }

    /// The outcome as layers.
    pub(crate) fn layers(&self) -> Option<(u8, u8)> {
        let step = self.steps.get(self.taken.checked_sub(1)?)?;
        Some((step.spatial, step.temporal))
    }
}

/// What an allocation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What was given away, audio included.
    pub(crate) spent_bps: u64,
    /// What the estimate would have to be for one step more; None if nobody lacks anything.
    pub(crate) wanted_bps: Option<u64>,
    /// And for all that is wanted.
    pub(crate) all_bps: u64,
}

/// What there is to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// All of it, audio included.
    pub(crate) estimate_bps: u64,
    /// What audio takes.
    pub(crate) audio_bps: u64,
    /// The estimate is no guess: it may take away what somebody has.
    pub(crate) known: bool,
    /// The way was full lately.
    pub(crate) congested: bool,
}

/// Shares the room among candidates.
pub(crate) fn allocate(now_ns: u64, room: &Room, candidates: &mut [Candidate]) -> Outcome {
    let Room {
        estimate_bps,
        audio_bps,
        known,
        congested,
    } = *room;
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(candidates[place].priority));
    let raise_bps = (estimate_bps as f64 * RAISE_SHARE) as u64;
    let keep_bps = match congested {
        true => estimate_bps,
        false => (estimate_bps as f64 * KEEP_SHARE) as u64,
    };
    let mut spent_bps = audio_bps;
    for candidate in candidates.iter_mut() {
        candidate.taken = 0;
    }
    let mut climb = |candidate: &mut Candidate, anyway: bool| {
        if candidate.taken == candidate.steps.len() {
            return false;
        }
        let next = candidate.taken + 1;
        let rest_bps = spent_bps - candidate.cost_bps(candidate.taken);
        let total_bps = rest_bps + candidate.cost_bps(next);
        let fits = if next <= candidate.held() {
            let present_bps = match candidate.memory.given {
                true if known => keep_bps,
                true => u64::MAX,
                false => estimate_bps,
            };
            total_bps <= present_bps
                || (next == 1 && total_bps * PAUSE_PERCENT / 100 <= estimate_bps)
        } else {
            total_bps <= raise_bps && candidate.memory.may_rise(now_ns, estimate_bps)
        };
        if fits || anyway {
            candidate.taken = next;
            spent_bps = total_bps;
        }
        fits || anyway
    };
    for &place in &order {
        climb(&mut candidates[place], !known);
    }
    let equals =
        order.chunk_by(|&one, &next| candidates[one].priority == candidates[next].priority);
    let equals: Vec<&[usize]> = equals.collect();
    for equal in equals {
        let mut climbed = true;
        while climbed {
            climbed = false;
            for &place in equal {
                let candidate = &mut candidates[place];
                climbed |= candidate.taken > 0 && climb(candidate, false);
            }
        }
    }
    let lacking = candidates
        .iter()
        .filter(|one| one.taken < one.steps.len() && one.memory.may_look(now_ns));
    let wanted_bps = lacking
        .map(|one| {
            let total_bps = spent_bps - one.cost_bps(one.taken) + one.cost_bps(one.taken + 1);
            let least_bps = (total_bps as f64 / RAISE_SHARE) as u64 + 1;
            one.memory.wanted_bps(now_ns, least_bps)
        })
        .min();
    let all_bps = candidates.iter().map(|one| one.cost_bps(one.steps.len()));
    let all_bps = audio_bps + all_bps.sum::<u64>();
    Outcome {
        spent_bps,
        wanted_bps,
        all_bps: (all_bps as f64 / RAISE_SHARE) as u64 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn video(priority: u8, rates_kbps: &[u64]) -> Candidate {
        let steps = rates_kbps.iter().enumerate().map(|(place, kbps)| Step {
            spatial: place as u8,
            temporal: 0,
            bitrate_bps: kbps * 1000,
        });
        Candidate {
            priority,
            steps: steps.collect(),
            memory: Memory::default(),
            taken: 0,
        }
    }

    /// On a way that is full.
    fn room(estimate_bps: u64, audio_bps: u64, known: bool) -> Room {
        Room {
            estimate_bps,
            audio_bps,
            known,
            congested: true,
        }
    }

    fn taken(candidates: &[Candidate]) -> Vec<usize> {
        candidates.iter().map(|one| one.taken).collect()
    }

    #[test]
    fn everybody_gets_the_lowest_before_anybody_climbs() {
        let mut all = vec![video(1, &[100, 500, 1500]), video(1, &[100, 500, 1500])];
        let outcome = allocate(S, &room(900_000, 40_000, true), &mut all);
        assert_eq!(taken(&all), [2, 1]);
        assert!(outcome.spent_bps <= 900_000 && outcome.wanted_bps.is_some());
        allocate(S, &room(250_000 + 40_000, 40_000, true), &mut all);
        assert_eq!(taken(&all), [1, 1]);
    }

    #[test]
    fn higher_priority_climbs_first_and_is_paused_last() {
        let mut all = vec![video(1, &[100, 500]), video(9, &[100, 500])];
        allocate(S, &room(750_000, 0, true), &mut all);
        assert_eq!(taken(&all), [1, 2]);
        allocate(S, &room(140_000, 0, true), &mut all);
        assert_eq!(taken(&all), [0, 1]);
    }

    #[test]
    fn the_highest_priority_climbs_to_its_top_before_others_leave_the_lowest() {
        let rates = [100, 300, 600, 1000];
        let mut all: Vec<Candidate> = [1, 3, 1, 2]
            .map(|priority| video(priority, &rates))
            .to_vec();
        // Three at the lowest, one at its top.
        allocate(S, &room(1_500_000, 0, true), &mut all);
        assert_eq!(taken(&all), [1, 4, 1, 1]);
        // Then the next one, as far as it goes.
        allocate(S, &room(2_100_000, 0, true), &mut all);
        assert_eq!(taken(&all), [1, 4, 1, 3]);
        // What is left goes to equals in turns.
        allocate(S, &room(2_800_000, 0, true), &mut all);
        assert_eq!(taken(&all), [2, 4, 2, 4]);
        // And in a drought it is paused last.
        allocate(S, &room(220_000, 0, true), &mut all);
        assert_eq!(taken(&all), [0, 1, 0, 1]);
        allocate(S, &room(110_000, 0, true), &mut all);
        assert_eq!(taken(&all), [0, 1, 0, 0]);
    }

    #[test]
    fn a_guess_pauses_nobody() {
        let mut all = vec![video(1, &[3_000, 6_000])];
        let outcome = allocate(S, &room(900_000, 0, false), &mut all);
        assert_eq!(taken(&all), [1]);
        assert!(outcome.wanted_bps.is_some());
    }

    #[test]
    fn a_step_up_needs_room_and_time() {
        let mut all = vec![video(1, &[100, 500])];
        all[0].memory.note(S, Some((1, 0)), Some(300_000));
        all[0].memory.note(2 * S, Some((0, 0)), Some(300_000));
        // Too soon, then too tight, then right.
        allocate(3 * S, &room(2_000_000, 0, true), &mut all);
        assert_eq!(taken(&all), [1]);
        allocate(8 * S, &room(560_000, 0, true), &mut all);
        assert_eq!(taken(&all), [1]);
        allocate(8 * S, &room(600_000, 0, true), &mut all);
        assert_eq!(taken(&all), [2]);
    }

    #[test]
    fn steps_that_do_not_last_are_tried_ever_more_rarely() {
        let mut memory = Memory::default();
        memory.note(0, Some((0, 0)), Some(300_000));
        let mut now_ns = S;
        let mut waits = Vec::new();
        for _ in 0..6 {
            memory.note(now_ns, Some((1, 0)), Some(300_000));
            memory.note(now_ns + S, Some((0, 0)), Some(300_000));
            waits.push((memory.hold_until_ns - now_ns - S) / S);
            now_ns = memory.hold_until_ns;
        }
        assert_eq!(waits, [5, 10, 20, 40, 40, 40]);
    }

    #[test]
    fn a_link_that_became_another_one_ends_a_long_wait() {
        let mut all = vec![video(1, &[100, 500])];
        for second in 1..=6 {
            let layers = Some((second as u8 % 2, 0));
            all[0].memory.note(second * S, layers, Some(300_000));
        }
        let looks = |all: &mut [Candidate], at_ns, estimate_bps| {
            let outcome = allocate(at_ns, &room(estimate_bps, 0, true), all);
            (all[0].taken, outcome.wanted_bps.is_some())
        };
        assert!(all[0].memory.hold_until_ns > 15 * S);
        assert_eq!(looks(&mut all, 10 * S, 900_000), (1, false));
        assert_eq!(looks(&mut all, 11 * S, 590_000), (1, true));
        assert_eq!(looks(&mut all, 11 * S, 600_000), (2, false));
    }

    #[test]
    fn what_is_held_stays_in_a_tight_estimate() {
        let mut all = vec![video(1, &[100, 500])];
        all[0].memory.note(S, Some((1, 0)), Some(300_000));
        allocate(S, &room(535_000, 0, true), &mut all);
        assert_eq!(taken(&all), [2]);
        let outcome = allocate(S, &room(525_000, 0, true), &mut all);
        assert_eq!((taken(&all), outcome.wanted_bps.is_some()), (vec![1], true));
    }

    #[test]
    fn while_a_step_up_waits_another_link_is_looked_for() {
        let mut one = video(1, &[100, 500]);
        one.memory.note(S, Some((1, 0)), None);
        one.memory.note(2 * S, Some((0, 0)), None);
        one.memory.note(3 * S, Some((1, 0)), None);
        one.memory.note(4 * S, Some((0, 0)), Some(400_000));
        one.memory.hold_until_ns = 40 * S;
        let wanted = |now_ns| {
            let mut all = [one.clone()];
            allocate(now_ns, &room(300_000, 0, true), &mut all).wanted_bps
        };
        assert_eq!(wanted(5 * S), None, "so soon room is not looked for");
        assert_eq!(wanted(20 * S), Some(2 * 400_000));
        let least_bps = (500_000.0 * OVERHEAD / RAISE_SHARE) as u64 + 1;
        assert_eq!(wanted(41 * S), Some(least_bps));
    }

    #[test]
    fn what_is_held_may_take_more_while_the_way_is_not_full() {
        let mut all = vec![video(1, &[100, 500])];
        all[0].memory.note(S, Some((1, 0)), Some(300_000));
        let calm = |estimate_bps| Room {
            congested: false,
            ..room(estimate_bps, 0, true)
        };
        allocate(S, &calm(430_000), &mut all);
        assert_eq!(taken(&all), [2]);
        allocate(S, &calm(420_000), &mut all);
        assert_eq!(taken(&all), [1]);
        let guess = Room {
            known: false,
            ..calm(100_000)
        };
        allocate(S, &guess, &mut all);
        assert_eq!(taken(&all), [2]);
    }
}
