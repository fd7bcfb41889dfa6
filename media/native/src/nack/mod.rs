//! Losses of a received stream: what to ask of its sender again, and what to report.

mod detector;
mod statistics;

pub use detector::{
    LossDetector, MISSING_MAX, NACKS_MAX, REORDERING_NS, REORDERING_PACKETS, RETRY_NS_MIN,
};
pub use statistics::ReceiverStatistics;
