//! The packet plane of Reprise.
//!
//! The lower modules are the packet layer: they read and write the formats of the RFCs, hold no
//! socket and read no clock, and every parser takes hostile bytes. Time is integer nanoseconds
//! (`*_ns`) of any monotonic clock, handed in by the caller.

pub mod cache;
pub mod codec;
pub mod demux;
pub mod nack;
pub mod rtcp;
pub mod rtp;
pub mod sequence;
pub mod srtp;
pub mod stun;
pub mod twcc;

#[cfg(test)]
mod test_support;
