//! The receiving half of a session.

use std::fmt;

use crate::rtp::RtpHeader;

use super::replay::{ReplayWindow, estimate_index};
use super::transform::{Transform, derive};
use super::{Profile, SrtpError};

/// SSRCs of which one `Inbound` keeps RTP state, and as many of which it keeps RTCP state. Only
/// the holder of the keys can fill the table; the surplus is refused and nobody is evicted, for a
/// forgotten window would let old packets in again.
pub const SOURCES_MAX: usize = 256;

/// A decrypted RTP packet's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of header and payload in the output buffer.
    pub len: usize,
    /// Packet index: rollover counter * 2^16 + sequence number.
    pub index: u64,
}

/// The receiving half of a session: the peer's keys, and rollover counter and replay window of
/// each of its SSRCs.
pub struct Inbound {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Inbound {
    /// From the peer's master key and salt, of the profile's lengths.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Self, SrtpError> {
        let (rtp, rtcp) = derive(profile, master_key, master_salt)?;
        Ok(Self::from_transforms(profile, rtp, rtcp))
    }

    pub(super) fn from_transforms(profile: Profile, rtp: Transform, rtcp: Transform) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        }
    }

    /// The session's profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Verifies and decrypts an SRTP packet into `out`, which needs the packet's length less the
    /// tag. No state changes unless the packet verifies; the content of `out` is then undefined.
    pub fn unprotect_rtp(
        &mut self,
        packet: &[u8],
        out: &mut [u8],
    ) -> Result<Unprotected, SrtpError> {
        let header = RtpHeader::parse(packet).map_err(|_| SrtpError::Malformed)?;
        let len = packet
            .len()
            .checked_sub(self.rtp.tag_len())
            .filter(|len| *len >= header.header_len)
            .ok_or(SrtpError::Malformed)?;
        let out = out.get_mut(..len).ok_or(SrtpError::BufferTooSmall)?;

        let place = self.rtp_sources.find(header.ssrc)?;
        let window = self.rtp_sources.window(place);
        let highest = window.and_then(ReplayWindow::highest);
        let index = estimate_index(highest, header.sequence_number).ok_or(SrtpError::TooOld)?;
        if index >= 1 << 48 {
            return Err(SrtpError::KeyExhausted);
        }
        if let Some(window) = window {
            window.check(index)?;
        }
        self.rtp
            .open_rtp(header.ssrc, index, packet, header.header_len, out)?;
        self.rtp_sources.mark(place, header.ssrc, index);
        Ok(Unprotected { len, index })
    }

    /// Verifies and decrypts an SRTCP packet into `out`, which needs the packet's length less the
    /// profile's RTCP overhead; returns the length of the compound. Unencrypted SRTCP is refused.
    /// No state changes unless the packet verifies.
    pub fn unprotect_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> Result<usize, SrtpError> {
        let len = packet
            .len()
            .checked_sub(self.profile.rtcp_overhead())
            .filter(|len| *len >= 8 && packet[0] >> 6 == 2)
            .ok_or(SrtpError::Malformed)?;
        let out = out.get_mut(..len).ok_or(SrtpError::BufferTooSmall)?;
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let index = self.rtcp.rtcp_index(packet).ok_or(SrtpError::Malformed)?;

        let place = self.rtcp_sources.find(ssrc)?;
        if let Some(window) = self.rtcp_sources.window(place) {
            window.check(u64::from(index))?;
        }
        self.rtcp.open_rtcp(ssrc, index, packet, out)?;
        self.rtcp_sources.mark(place, ssrc, u64::from(index));
        Ok(len)
    }

    /// Forgets the RTP state of an SSRC, when what it carried is closed for good. Packets recorded
    /// before are accepted again afterwards, so the caller must not route that SSRC any more.
    pub fn forget(&mut self, ssrc: u32) {
        self.rtp_sources.remove(ssrc);
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("profile", &self.profile)
            .field("sources", &self.rtp_sources.ssrcs)
            .finish_non_exhaustive()
    }
}

/// Where a source's window is, or that it may be added.
#[derive(Clone, Copy)]
enum Place {
    Known(usize),
    New,
}

/// Windows by SSRC. The SSRCs lie apart, so that looking one up touches few cache lines.
#[derive(Default)]
struct Sources {
    ssrcs: Vec<u32>,
    windows: Vec<ReplayWindow>,
}

impl Sources {
    fn find(&self, ssrc: u32) -> Result<Place, SrtpError> {
        match self.ssrcs.iter().position(|known| *known == ssrc) {
            Some(at) => Ok(Place::Known(at)),
            None if self.ssrcs.len() < SOURCES_MAX => Ok(Place::New),
            None => Err(SrtpError::TooManySources),
        }
    }

    fn window(&self, place: Place) -> Option<&ReplayWindow> {
        match place {
            Place::Known(at) => self.windows.get(at),
            Place::New => None,
        }
    }

    fn mark(&mut self, place: Place, ssrc: u32, index: u64) {
        let at = match place {
            Place::Known(at) => at,
            Place::New => {
                self.ssrcs.push(ssrc);
                self.windows.push(ReplayWindow::new());
                self.ssrcs.len() - 1
            }
        };
        self.windows[at].mark(index);
    }

    fn remove(&mut self, ssrc: u32) {
        if let Ok(Place::Known(at)) = self.find(ssrc) {
            self.ssrcs.swap_remove(at);
            self.windows.swap_remove(at);
        }
    }
}
