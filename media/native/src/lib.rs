//! The packet plane of Reprise.
//!
//! The lower modules are the packet layer: they read and write the formats of the RFCs, hold no
//! socket and read no clock, and every parser takes hostile bytes. Time is integer nanoseconds
//! (`*_ns`) of any monotonic clock, handed in by the caller.
//!
//! Upon them stands the [`engine`], sans-IO too; around it the [`driver`], which knows sockets and
//! clocks; around that the [`plane`], a process that takes orders ([`wire`]) on a Unix socket.

pub mod bwe;
pub mod cache;
pub mod codec;
pub mod demux;
pub mod driver;
pub mod engine;
pub mod load;
pub mod nack;
pub mod plane;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "python")]
mod python_load;
#[cfg(feature = "python")]
mod python_packets;
#[cfg(feature = "python")]
mod python_telemetry;
pub mod recorder;
pub mod rtcp;
pub mod rtp;
pub mod sequence;
pub mod srtp;
pub mod stun;
pub mod telemetry;
pub mod twcc;
pub mod wire;

#[cfg(test)]
mod test_support;
