//! The flight recorder: the headers of the last packets of each transport, in and out.
//!
//! It is always on, so what it costs a packet is all that counts. One slab of memory a worker is
//! cut into pages; a transport writes records into its current page and takes another one when it is
//! full: one that its owner left longer ago than recordings reach back, or one that was never
//! written, and only when there are no more of those the one that was left first of all. So memory
//! grows with what is to be kept, up to a bound. Nobody is told that a page of his is gone, for pages
//! bear serial numbers, and a transport's older pages are found by links that hold only as long as
//! the serial does: nothing is allocated or searched.
//!
//! # Records
//! A packet that comes in, and whatever goes out that is no forwarded media, takes 8 bytes and what
//! is captured of it. Of forwarded packets there are a thousand times more. Most follow their stream's
//! last one as expected: the next sequence number, the same payload type, the next transport-wide
//! number. One that differs from it by a few bytes of length, and in its timestamp by as much as usual
//! or not at all (padded or not), takes 4 bytes; packets that are alike and leave together, as most of a frame do, take
//! 4 bytes in all; anything else that follows takes 8. One that does not follow takes 20. Each page
//! can be read by itself. [`Ring::expand`] turns the records into [`Entry`]s when a recording is frozen.
//!
//! # What is captured, and what never is
//! Of RTP the header with its extensions, of RTCP the compound after decryption, each up to
//! [`CAPTURE_MAX`] bytes; of STUN the 20-byte header, and so neither USERNAME nor MESSAGE-INTEGRITY;
//! of DTLS the 13-byte record header. Never a payload, a key, a password or a ufrag.

mod expand;
mod page;

use std::net::SocketAddr;

pub use expand::{Entry, chunks};
pub(crate) use page::{Ring, Slab};

/// Bytes that are captured of one packet.
pub const CAPTURE_MAX: usize = 64;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// RTP, protected by SRTP; its header is in the clear.
    Rtp = 1,
    /// RTCP, after decryption.
    Rtcp = 2,
    /// STUN.
    Stun = 3,
    /// DTLS.
    Dtls = 4,
    /// Something else.
    Other = 5,
    /// No packet: the remote address is this from here on.
    Remote = 6,
}

impl Class {
    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Rtp,
            Self::Rtcp,
            Self::Stun,
            Self::Dtls,
            Self::Other,
            Self::Remote,
        ]
        .into_iter()
        .find(|&class| class as u8 == code)
    }

    /// How much of a packet may be captured.
    pub(crate) fn captured(self, packet: &[u8]) -> &[u8] {
        let most = match self {
            Self::Rtp => rtp_header_len(packet),
            // Protected: all but the header and the sender would be noise.
            Self::Rtcp => 8,
            Self::Stun => 20,
            Self::Dtls => 13,
            Self::Other => 0,
            Self::Remote => CAPTURE_MAX,
        };
        &packet[..most.min(packet.len()).min(CAPTURE_MAX)]
    }
}

fn rtp_header_len(packet: &[u8]) -> usize {
    if packet.len() < 12 {
        return 0;
    }
    let fixed = 12 + 4 * usize::from(packet[0] & 0x0F);
    let words = packet
        .get(fixed + 2..fixed + 4)
        .filter(|_| packet[0] & 0x10 != 0);
    fixed
        + words.map_or(0, |words| {
            4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]))
        })
}

/// An address as it is kept in a record.
pub(crate) fn address_bytes(remote: SocketAddr) -> ([u8; 19], usize) {
    let mut bytes = [0; 19];
    bytes[..2].copy_from_slice(&remote.port().to_be_bytes());
    match remote.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => {
            bytes[2..6].copy_from_slice(&ip.octets());
            (bytes, 6)
        }
        std::net::IpAddr::V6(ip) => {
            bytes[2..18].copy_from_slice(&ip.octets());
            (bytes, 18)
        }
    }
}

#[cfg(test)]
mod tests;
