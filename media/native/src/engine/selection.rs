//! Which encoding a viewer is sent, and when it may change.
//!
//! `target` is the encoding that the viewer should see, `current` the one that
//! it sees. A stream that needs keyframes changes over only with one: until it
//! comes, the current encoding runs on.

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not for this viewer.
    Skip,
    /// The next packet of what it sees.
    Forward,
    /// The first packet of a new segment.
    Begin,
}

/// The highest live encoding that is wanted; None if nothing can be chosen.
///
/// When none of the wanted ones is live, the lowest that is live serves, for a
/// picture that is too large is better than none. When nothing is live yet, the
/// only encoding of a producer, or the lowest, is waited for.
pub fn choose(live: impl ExactSizeIterator<Item = bool>, wanted: Option<u32>) -> Option<u8> {
    let count = live.len();
    let highest = wanted.map_or(usize::MAX, |layer| layer as usize);
    let mut below = None;
    let mut above = None;
    for (index, live) in live.enumerate() {
        if live && index <= highest {
            below = Some(index);
        } else if live && above.is_none() {
            above = Some(index);
        }
    }
    let nothing = (count > 0).then_some(0);
    below.or(above).or(nothing).map(|index| index as u8)
}

/// The choice of one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    current: Option<u8>,
    target: Option<u8>,
}

impl Selection {
    /// What is sent now.
    pub fn current(&self) -> Option<u8> {
        self.current
    }

    /// What should be sent.
    pub fn target(&self) -> Option<u8> {
        self.target
    }

    /// Whether a beginning of `target` is waited for.
    pub fn is_waiting(&self) -> bool {
        self.target.is_some() && self.current != self.target
    }

    /// Wants another encoding; true if that begins a wait.
    pub fn aim(&mut self, target: Option<u8>) -> bool {
        let before = (self.target, self.is_waiting());
        self.target = target;
        self.is_waiting() && before != (target, true)
    }

    /// Sends nothing from now on, until something begins. True if something was sent.
    pub fn stop(&mut self) -> bool {
        self.current.take().is_some()
    }

    /// Judges a packet of `encoding` that can (`is_start`) or can't begin a segment.
    pub fn judge(&self, encoding: u8, is_start: bool) -> Verdict {
        if self.current == Some(encoding) {
            Verdict::Forward
        } else if self.target == Some(encoding) && is_start {
            Verdict::Begin
        } else {
            Verdict::Skip
        }
    }

    /// A segment of `encoding` began.
    pub fn begin(&mut self, encoding: u8) {
        self.current = Some(encoding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_live_encoding_up_to_the_wanted_one_is_chosen() {
        let choose = |live: [bool; 3], wanted| choose(live.into_iter(), wanted);
        assert_eq!(choose([true, true, true], None), Some(2));
        assert_eq!(choose([true, true, true], Some(1)), Some(1));
        assert_eq!(choose([true, false, true], Some(1)), Some(0));
        assert_eq!(choose([false, false, true], Some(0)), Some(2));
        assert_eq!(choose([false, false, false], None), Some(0));
        assert_eq!(super::choose([].into_iter(), None), None);
    }

    #[test]
    fn current_encoding_runs_on_until_the_target_can_begin() {
        let mut selection = Selection::default();
        assert!(selection.aim(Some(0)));
        assert_eq!(selection.judge(0, false), Verdict::Skip);
        assert_eq!(selection.judge(0, true), Verdict::Begin);
        selection.begin(0);
        assert!(selection.aim(Some(1)));
        assert!(!selection.aim(Some(1)));
        assert_eq!(selection.judge(0, false), Verdict::Forward);
        assert_eq!(selection.judge(1, false), Verdict::Skip);
        assert_eq!(selection.judge(1, true), Verdict::Begin);
        selection.begin(1);
        assert_eq!(selection.judge(0, true), Verdict::Skip);
        assert!(!selection.is_waiting());
    }
}
