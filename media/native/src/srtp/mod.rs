//! SRTP and SRTCP (RFC 3711, RFC 7714): keys, protection, replay windows.
/// A protection profile (RFC 5764, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    Aes128CmHmacSha1_80,
}
impl Profile {
    /// OpenSSL's and IANA's name without the `SRTP_` prefix, e.g. `AEAD_AES_128_GCM`.
    pub fn name(self) -> &'static str {
        todo!()
    }
    /// The profile of a name, with or without the `SRTP_` prefix.
    pub fn from_name(_name: &str) -> Option<Self> {
        todo!()
    }
    /// Length of the master key in bytes.
    pub fn key_len(self) -> usize {
        todo!()
    }
    /// Length of the master salt in bytes.
    pub fn salt_len(self) -> usize {
        todo!()
    }
    /// Bytes that protection adds to an RTP packet.
    pub fn rtp_overhead(self) -> usize {
        todo!()
    }
    /// Bytes that protection adds to an RTCP packet.
    pub fn rtcp_overhead(self) -> usize {
        todo!()
    }
}
/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpError {
    /// Not an RTP/RTCP packet, or too short for its tag.
    Malformed,
    /// Authentication failed.
    AuthenticationFailed,
    /// Seen before.
    Replayed,
    /// Older than the replay window.
    TooOld,
    /// The table of SSRCs is full.
    TooManySources,
    /// The output buffer is too small.
    BufferTooSmall,
    /// Master key or salt of the wrong length.
    BadKeyLength,
    /// This index was used before on this outgoing stream.
    IndexReused,
    /// The key's lifetime is over (2^48 RTP or 2^31 RTCP packets).
    KeyExhausted,
}
/// What `Inbound::unprotect_rtp` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Length of the decrypted packet (header and payload) in `out`.
    pub len: usize,
    /// Packet index: rollover counter * 2^16 + sequence number.
    pub index: u64,
}
/// Receiving half of a session: the peer's keys and per-SSRC state.
pub struct Inbound(());
impl Inbound {
    /// From the peer's master key and salt.
    pub fn new(
        _profile: Profile,
        _master_key: &[u8],
        _master_salt: &[u8],
    ) -> Result<Self, SrtpError> {
        todo!()
    }
    /// Verifies and decrypts an SRTP packet out of place. No state changes unless it verifies.
    pub fn unprotect_rtp(
        &mut self,
        _packet: &[u8],
        _out: &mut [u8],
    ) -> Result<Unprotected, SrtpError> {
        todo!()
    }
    /// Verifies and decrypts an SRTCP packet; returns the length of the compound in `out`.
    pub fn unprotect_rtcp(&mut self, _packet: &[u8], _out: &mut [u8]) -> Result<usize, SrtpError> {
        todo!()
    }
    /// Forgets the state of an SSRC, when its producer is closed.
    pub fn forget(&mut self, _ssrc: u32) {
        todo!()
    }
}
/// Which indexes one outgoing SSRC has used; one per consumer stream.
#[derive(Clone, Debug)]
pub struct OutboundStream(());
impl OutboundStream {
    /// A new stream. Its first index should be below 2^15, for the receiver assumes a rollover counter of 0.
    pub fn new() -> Self {
        todo!()
    }
    /// A stream of which every index below `index` counts as used.
    pub fn resume_at(_index: u64) -> Self {
        todo!()
    }
}
impl Default for OutboundStream {
    fn default() -> Self {
        Self::new()
    }
}
/// Sending half of a session: our keys and the SRTCP index.
pub struct Outbound(());
impl Outbound {
    /// From our master key and salt.
    pub fn new(
        _profile: Profile,
        _master_key: &[u8],
        _master_salt: &[u8],
    ) -> Result<Self, SrtpError> {
        todo!()
    }
    /// Encrypts `payload` behind the header that stands in `out[..header_len]`; returns the
    /// length of the SRTP packet. `index` is the extended sequence number (its low 16 bits are in the header).
    pub fn protect_rtp(
        &self,
        _stream: &mut OutboundStream,
        _index: u64,
        _out: &mut [u8],
        _header_len: usize,
        _payload: &[u8],
    ) -> Result<usize, SrtpError> {
        todo!()
    }
    /// The same for a payload that already stands behind the header, in `out[header_len..packet_len]`.
    pub fn protect_rtp_in_place(
        &self,
        _stream: &mut OutboundStream,
        _index: u64,
        _out: &mut [u8],
        _header_len: usize,
        _packet_len: usize,
    ) -> Result<usize, SrtpError> {
        todo!()
    }
    /// Encrypts a compound RTCP packet into `out`; returns the length.
    pub fn protect_rtcp(&mut self, _compound: &[u8], _out: &mut [u8]) -> Result<usize, SrtpError> {
        todo!()
    }
    /// Continues SRTCP at an index that was never used.
    pub fn resume_rtcp_at(&mut self, _index: u32) {
        todo!()
    }
}
