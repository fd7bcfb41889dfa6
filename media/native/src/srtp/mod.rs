//! SRTP and SRTCP (RFC 3711, RFC 7714).
//!
//! One `Inbound` and one `Outbound` belong to a DTLS session. `Inbound` keeps rollover counters
//! and replay windows per SSRC; nothing in it changes before a packet has authenticated.
//! `Outbound` keeps only keys and the SRTCP index: the index of an RTP packet belongs to the
//! consumer that sends it, and `OutboundStream` makes sure that none is used twice.
//!
//! No MKI, no key derivation rate, and SRTCP is always encrypted, as DTLS-SRTP has it (RFC 5764).

mod inbound;
mod kdf;
mod outbound;
mod profile;
mod replay;
mod transform;

#[cfg(test)]
mod tests;

pub use inbound::{Inbound, SOURCES_MAX, Unprotected};
pub use outbound::{Outbound, OutboundStream};
pub use profile::Profile;
pub use replay::WINDOW_LEN;

use std::fmt;

/// Why a packet was refused, or keys were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpError {
    /// Not an RTP or RTCP packet, or too short for its tag.
    Malformed,
    /// Forged, damaged, or encrypted with other keys.
    AuthenticationFailed,
    /// Seen before.
    Replayed,
    /// Older than the replay window.
    TooOld,
    /// `SOURCES_MAX` sources are known already.
    TooManySources,
    /// The output buffer is too small.
    BufferTooSmall,
    /// Master key or salt of the wrong length.
    BadKeyLength,
    /// This index was used before on this outgoing stream, or is too old to know.
    IndexReused,
    /// The key's lifetime is over: 2^48 RTP or 2^31 RTCP packets (RFC 3711, 9.2).
    KeyExhausted,
}

impl fmt::Display for SrtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SrtpError::Malformed => "malformed packet",
            SrtpError::AuthenticationFailed => "authentication failed",
            SrtpError::Replayed => "replayed packet",
            SrtpError::TooOld => "packet older than the replay window",
            SrtpError::TooManySources => "too many sources",
            SrtpError::BufferTooSmall => "output buffer too small",
            SrtpError::BadKeyLength => "master key or salt of the wrong length",
            SrtpError::IndexReused => "packet index used before",
            SrtpError::KeyExhausted => "key lifetime is over",
        })
    }
}

impl std::error::Error for SrtpError {}
