//! The RTP header as a view over received bytes.
/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Shorter than its header says.
    Truncated,
    /// Version is not 2.
    BadVersion,
    /// The padding count is zero or larger than the payload.
    BadPadding,
}
/// The fixed fields of an RTP header and where the payload starts. Readable before decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Length of the whole header with CSRCs and extensions, in bytes.
    pub header_len: usize,
    /// Whether the padding bit is set.
    pub has_padding: bool,
}
impl RtpHeader {
    /// Reads a header from the start of an RTP or SRTP packet.
    pub fn parse(_data: &[u8]) -> Result<Self, RtpError> {
        todo!()
    }
}
/// A whole decrypted RTP packet.
#[derive(Clone, Copy, Debug)]
pub struct RtpPacket<'a> {
    /// The header's fields.
    pub header: RtpHeader,
    data: &'a [u8],
}
impl<'a> RtpPacket<'a> {
    /// Parses a decrypted packet and checks its padding.
    pub fn parse(_data: &'a [u8]) -> Result<Self, RtpError> {
        todo!()
    }
    /// The payload without padding.
    pub fn payload(&self) -> &'a [u8] {
        todo!()
    }
    /// The whole packet.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
    /// Contributing sources.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + 'a {
        std::iter::empty()
    }
    /// Header extension elements as (id, value), in wire order.
    pub fn extensions(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        std::iter::empty()
    }
}
