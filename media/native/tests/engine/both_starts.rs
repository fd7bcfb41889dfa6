//! What holds with instant start, and without.

/// With it, and without.
pub(crate) const BOTH: [bool; 2] = [true, false];

/// So many pictures at 30 a second after a keyframe, a publisher is asked for the next one at once.
pub(crate) const PICTURES_OLD: usize = 125;
