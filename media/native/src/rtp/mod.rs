//! RTP packets (RFC 3550), their header extensions (RFC 8285) and RTX (RFC 4588).

mod extensions;
mod header;
mod prepared;

pub use extensions::*;
pub use header::*;
pub use prepared::*;
