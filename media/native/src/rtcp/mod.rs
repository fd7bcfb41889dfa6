//! RTCP: parse compounds, build the packets that the router sends.
//!
//! Read: SR, RR, SDES, BYE (RFC 3550), generic NACK, PLI (RFC 4585), FIR (RFC 5104), REMB
//! (draft-alvestrand-rmcat-remb-03) and transport-cc feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Anything else, such as XR (RFC 3611) and
//! APP, is `Other`. Compounds may be reduced-size (RFC 5506).
//!
//! Built packets are appended to a buffer that the caller keeps; a compound is what was appended
//! since it was cleared.

mod build;
mod compound;
mod lists;
mod transport_feedback;

#[cfg(test)]
mod tests;

pub use build::{
    write_cname, write_fir, write_goodbye, write_nack, write_pli, write_receiver_report,
    write_remb, write_sender_report,
};
pub use compound::{Compound, RtcpError, RtcpPacket};
pub use lists::{FirEntries, FirEntry, LostList, Reports, SdesChunk, SdesChunks, Sources};
pub use transport_feedback::{
    FEEDBACK_LEN_MAX, FEEDBACK_STATUSES_MAX, FeedbackArrival, FeedbackArrivals, TransportFeedback,
    write_transport_feedback,
};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_LAYER_FEEDBACK: u8 = 205;
const PAYLOAD_SPECIFIC_FEEDBACK: u8 = 206;

const FORMAT_NACK: u8 = 1;
const FORMAT_TRANSPORT_CC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

/// Report blocks and SSRCs that one packet can hold; the count has five bits.
pub const COUNT_MAX: usize = 31;

/// One reception report block (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Source that the report is about.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all; 24 bits, negative when duplicates arrived.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub extended_highest_sequence_number: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP timestamp; zero if there was none.
    pub last_sr: u32,
    /// Delay since the last SR in 1/65536 s; zero if there was none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Length of a block on the wire.
    pub const LEN: usize = 24;

    fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| be32(&bytes[at..]);
        let cumulative = word(4) & 0x00ff_ffff;
        Self {
            ssrc: word(0),
            fraction_lost: bytes[4],
            cumulative_lost: (cumulative << 8) as i32 >> 8,
            extended_highest_sequence_number: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }
    }

    fn encode(&self) -> [u8; Self::LEN] {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0x00ff_ffff;
        let words = [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.extended_highest_sequence_number,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; Self::LEN];
        for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The round-trip time that a report about our sender report shows, in ns: `now_ntp_middle` is
    /// the middle 32 bits of our NTP time when the report arrived (RFC 3550, 6.4.1). `None` without
    /// a sender report, or if the clocks contradict each other.
    pub fn round_trip_time_ns(&self, now_ntp_middle: u32) -> Option<u64> {
        if self.last_sr == 0 {
            return None;
        }
        let units = now_ntp_middle
            .wrapping_sub(self.last_sr)
            .wrapping_sub(self.delay_since_last_sr) as i32;
        let units = u64::try_from(units).ok()?;
        Some((units * 1_000_000_000) >> 16)
    }
}

/// Sender information of an SR (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// 64-bit NTP timestamp, 32.32 fixed point.
    pub ntp_timestamp: u64,
    /// The same moment in RTP timestamp units.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
}

impl SenderInfo {
    /// Length on the wire.
    pub const LEN: usize = 20;
}

/// The middle 32 bits of an NTP timestamp, 16.16 fixed point.
pub const fn ntp_middle(ntp_timestamp: u64) -> u32 {
    (ntp_timestamp >> 16) as u32
}

/// NTP timestamp of a time in nanoseconds since the Unix epoch.
pub const fn ntp_timestamp(unix_ns: u64) -> u64 {
    const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
    let seconds = unix_ns / 1_000_000_000 + SECONDS_1900_TO_1970;
    let fraction = ((unix_ns % 1_000_000_000) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// The first four bytes of a slice that has them.
fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
