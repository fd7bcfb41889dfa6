//! The sending half of a session.

use std::fmt;

use crate::rtp::HEADER_LEN_MIN;

use super::replay::{ReplayWindow, estimate_index};
use super::transform::{Transform, derive};
use super::{Profile, SrtpError};

/// Which indexes one outgoing SSRC has used. Every consumer stream has one, beside its counter.
///
/// With a repeated index both AES-GCM and AES-CM lose their secrecy, so `Outbound` refuses it.
#[derive(Clone, Debug)]
pub struct OutboundStream {
    used: ReplayWindow,
}

impl OutboundStream {
    /// A stream that has sent nothing. Its first index should be below 2^15, for receivers assume a
    /// rollover counter of zero and must not mistake a reordered start (RFC 3711, 3.3.1).
    pub fn new() -> Self {
        Self {
            used: ReplayWindow::new(),
        }
    }

    /// A stream of which every index below `index` counts as used: a sender that comes back
    /// continues at the mark up to which it had reserved.
    pub fn resume_at(index: u64) -> Self {
        Self {
            used: ReplayWindow::used_below(index),
        }
    }

    /// One above the highest index used; zero when none was.
    pub fn next_index(&self) -> u64 {
        self.used.highest().map_or(0, |highest| highest + 1)
    }

    /// Reads a word of the lines that the next index needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        self.used.glance()
    }

    /// The index that a sequence number stands for, next to the highest used; `None` if it lies
    /// before index 0. For senders that count 16 bits only.
    pub fn index_near(&self, sequence_number: u16) -> Option<u64> {
        estimate_index(self.used.highest(), sequence_number)
    }

    fn claim(&mut self, index: u64) -> Result<(), SrtpError> {
        if index >= 1 << 48 {
            return Err(SrtpError::KeyExhausted);
        }
        self.used.check(index).map_err(|_| SrtpError::IndexReused)?;
        self.used.mark(index);
        Ok(())
    }
}

impl Default for OutboundStream {
    fn default() -> Self {
        Self::new()
    }
}

/// The sending half of a session: our keys and the SRTCP index.
pub struct Outbound {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    rtcp_next_index: u32,
}

impl Outbound {
    /// From our master key and salt, of the profile's lengths.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, SrtpError> {
        let (rtp, rtcp) = derive(profile, master_key, master_salt)?;
        Ok(Self::from_transforms(profile, rtp, rtcp))
    }

    pub(super) fn from_transforms(profile: Profile, rtp: Transform, rtcp: Transform) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            rtcp_next_index: 0,
        }
    }

    /// Reads a word of the lines that a packet needs, but for the keys.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        u64::from(self.rtcp_next_index) ^ self.rtp.tag_len() as u64
    }

    /// The session's profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Encrypts `payload` behind the header that stands in `out[..header_len]`; returns the length
    /// of the SRTP packet. `index` is the extended sequence number; its low 16 bits must be the
    /// ones in the header. `out` needs the profile's RTP overhead behind the payload.
    pub fn protect_rtp(
        &self,
        stream: &mut OutboundStream,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        payload: &[u8],
    ) -> Result<usize, SrtpError> {
        self.protect_rtp_padded(stream, index, out, header_len, [payload, &[]])
    }

    /// The same for a payload with padding behind it: bytes of which the last is their number (RFC
    /// 3550, 5.1). The padding bit is the header's, and so the caller's.
    pub fn protect_rtp_padded(
        &self,
        stream: &mut OutboundStream,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        [payload, padding]: [&[u8]; 2],
    ) -> Result<usize, SrtpError> {
        let packet_len = header_len + payload.len() + padding.len();
        let ssrc = self.prepare(stream, index, out, header_len, packet_len)?;
        self.rtp
            .seal_rtp(ssrc, index, out, header_len, [payload, padding])?;
        Ok(packet_len + self.rtp.tag_len())
    }

    /// As `protect_rtp`, for a payload that already stands behind the header, in
    /// `out[header_len..packet_len]`.
    pub fn protect_rtp_in_place(
        &self,
        stream: &mut OutboundStream,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        packet_len: usize,
    ) -> Result<usize, SrtpError> {
        let ssrc = self.prepare(stream, index, out, header_len, packet_len)?;
        self.rtp
            .seal_rtp_in_place(ssrc, index, out, header_len, packet_len)?;
        Ok(packet_len + self.rtp.tag_len())
    }

    /// Encrypts a packet once more that was sent before, for a viewer without an RTX stream. The
    /// payload stands behind the header, as for `protect_rtp_in_place`.
    ///
    /// The caller answers for its being the very same packet, header and payload: then the result
    /// is the same, too, and nothing is given away. An index that may not have been used yet is
    /// refused as `Malformed`.
    pub fn protect_rtp_again(
        &self,
        stream: &OutboundStream,
        index: u64,
        out: &mut [u8],
        header_len: usize,
        packet_len: usize,
    ) -> Result<usize, SrtpError> {
        if stream.used.check(index).is_ok() {
            return Err(SrtpError::Malformed);
        }
        let ssrc = self.check_room(index, out, header_len, packet_len)?;
        self.rtp
            .seal_rtp_in_place(ssrc, index, out, header_len, packet_len)?;
        Ok(packet_len + self.rtp.tag_len())
    }

    fn prepare(
        &self,
        stream: &mut OutboundStream,
        index: u64,
        out: &[u8],
        header_len: usize,
        packet_len: usize,
    ) -> Result<u32, SrtpError> {
        let ssrc = self.check_room(index, out, header_len, packet_len)?;
        stream.claim(index)?;
        Ok(ssrc)
    }

    /// The SSRC of a packet whose header fits the index and whose bytes fit the buffer.
    fn check_room(
        &self,
        index: u64,
        out: &[u8],
        header_len: usize,
        packet_len: usize,
    ) -> Result<u32, SrtpError> {
        if packet_len + self.rtp.tag_len() > out.len() {
            return Err(SrtpError::BufferTooSmall);
        }
        let sequence_number = (index as u16).to_be_bytes();
        if !(HEADER_LEN_MIN..=packet_len).contains(&header_len) || out[2..4] != sequence_number {
            return Err(SrtpError::Malformed);
        }
        Ok(u32::from_be_bytes([out[8], out[9], out[10], out[11]]))
    }

    /// Encrypts a compound RTCP packet into `out`, which needs the profile's RTCP overhead more
    /// than the compound; returns the length of the SRTCP packet.
    pub fn protect_rtcp(&mut self, compound: &[u8], out: &mut [u8]) -> Result<usize, SrtpError> {
        let len = compound.len() + self.profile.rtcp_overhead();
        let out = out.get_mut(..len).ok_or(SrtpError::BufferTooSmall)?;
        if compound.len() < 8 {
            return Err(SrtpError::Malformed);
        }
        let index = self.rtcp_next_index;
        if index >= 1 << 31 {
            return Err(SrtpError::KeyExhausted);
        }
        self.rtcp_next_index += 1;
        let ssrc = u32::from_be_bytes([compound[4], compound[5], compound[6], compound[7]]);
        self.rtcp.seal_rtcp(ssrc, index, compound, out)?;
        Ok(len)
    }

    /// The SRTCP index of the next compound.
    pub fn next_rtcp_index(&self) -> u32 {
        self.rtcp_next_index
    }

    /// Continues SRTCP at an index; never goes back.
    pub fn resume_rtcp_at(&mut self, index: u32) {
        self.rtcp_next_index = self.rtcp_next_index.max(index);
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("profile", &self.profile)
            .field("rtcp_next_index", &self.rtcp_next_index)
            .finish_non_exhaustive()
    }
}
