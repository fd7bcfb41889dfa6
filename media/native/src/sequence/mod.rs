//! Sequence numbers and timestamps without their wraps, and what one consumer sees of them.

mod map;
mod unwrap;

pub use map::{MAP_WINDOW_LEN, SequenceMap};
pub use unwrap::{SequenceUnwrapper, TimestampUnwrapper};
