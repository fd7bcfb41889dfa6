//! The RTP header (RFC 3550, 5.1) as a view over received bytes.

use super::extension_block::{ExtensionElements, elements};

/// Length of the fixed header.
pub const HEADER_LEN_MIN: usize = 12;

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

impl std::fmt::Display for RtpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RtpError::Truncated => "shorter than its header says",
            RtpError::BadVersion => "version is not 2",
            RtpError::BadPadding => "bad padding count",
        })
    }
}

impl std::error::Error for RtpError {}

/// The fields of an RTP header and where the payload starts. None of it is encrypted, so it can be
/// read from an SRTP packet before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit; its meaning is the codec's.
    pub marker: bool,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence_number: u16,
    /// RTP timestamp, in units of the codec's clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Length of the whole header with CSRCs and extensions, in bytes.
    pub header_len: usize,
    /// Number of CSRCs, 0–15.
    pub csrc_count: u8,
    /// Whether the padding bit is set. The count of padding bytes itself is encrypted.
    pub has_padding: bool,
    /// Whether there is a header extension block.
    pub has_extensions: bool,
}

impl RtpHeader {
    /// Reads a header from the start of an RTP or SRTP packet.
    pub fn parse(data: &[u8]) -> Result<Self, RtpError> {
        let fixed: &[u8; HEADER_LEN_MIN] = data.first_chunk().ok_or(RtpError::Truncated)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let csrc_count = fixed[0] & 0x0f;
        let has_extensions = fixed[0] & 0x10 != 0;
        let mut header_len = HEADER_LEN_MIN + 4 * usize::from(csrc_count);
        if has_extensions {
            let words = data
                .get(header_len + 2..header_len + 4)
                .ok_or(RtpError::Truncated)?;
            header_len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if header_len > data.len() {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            header_len,
            csrc_count,
            has_padding: fixed[0] & 0x20 != 0,
            has_extensions,
        })
    }

    /// Header extension elements of the packet that this header was read from, as (id, value) in
    /// wire order; values may be empty in the two-byte form. Of an unknown profile, or behind a
    /// malformed element, there are none (RFC 8285, 4).
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtensionElements<'a> {
        let start = HEADER_LEN_MIN + 4 * usize::from(self.csrc_count);
        match packet.get(start..self.header_len) {
            Some(block) if self.has_extensions => elements(block),
            _ => ExtensionElements::default(),
        }
    }
}

/// A whole decrypted RTP packet.
#[derive(Clone, Copy, Debug)]
pub struct RtpPacket<'a> {
    /// The header's fields.
    pub header: RtpHeader,
    data: &'a [u8],
    payload_end: usize,
}

impl<'a> RtpPacket<'a> {
    /// Parses a decrypted packet and checks its padding.
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        let header = RtpHeader::parse(data)?;
        let mut payload_end = data.len();
        if header.has_padding {
            let padding = usize::from(data[data.len() - 1]);
            if padding == 0 || padding > data.len() - header.header_len {
                return Err(RtpError::BadPadding);
            }
            payload_end -= padding;
        }
        Ok(Self {
            header,
            data,
            payload_end,
        })
    }

    /// The payload without padding. Empty in packets that only probe the bandwidth.
    pub fn payload(&self) -> &'a [u8] {
        &self.data[self.header.header_len..self.payload_end]
    }

    /// Number of padding bytes, their count included.
    pub fn padding_len(&self) -> usize {
        self.data.len() - self.payload_end
    }

    /// The whole packet.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The CSRC list as it stands on the wire, four bytes each.
    pub fn csrc_bytes(&self) -> &'a [u8] {
        &self.data[HEADER_LEN_MIN..][..4 * usize::from(self.header.csrc_count)]
    }

    /// Contributing sources.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + 'a {
        let (sources, _) = self.csrc_bytes().as_chunks::<4>();
        sources.iter().map(|source| u32::from_be_bytes(*source))
    }

    /// Header extension elements, see `RtpHeader::extensions`.
    pub fn extensions(&self) -> ExtensionElements<'a> {
        self.header.extensions(self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 15] = [
        0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 7, 0xca, 0xfe, 0xba, 0xbe, 1, 2, 3,
    ];

    #[test]
    fn fields_are_read_where_rfc_3550_puts_them() {
        let packet = RtpPacket::parse(&PLAIN).unwrap();
        assert!(packet.header.marker);
        assert_eq!(packet.header.payload_type, 96);
        assert_eq!(packet.header.sequence_number, 0x1234);
        assert_eq!(packet.header.timestamp, 7);
        assert_eq!(packet.header.ssrc, 0xcafe_babe);
        assert_eq!(packet.header.header_len, 12);
        assert_eq!(packet.payload(), [1, 2, 3]);
        assert_eq!(packet.padding_len(), 0);
        assert_eq!(packet.extensions().count(), 0);
    }

    #[test]
    fn csrcs_and_extensions_lie_before_the_payload() {
        let mut data = PLAIN[..12].to_vec();
        data[0] = 0x92;
        data.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        data.extend([0xbe, 0xde, 0, 1, 0x10, 9, 0, 0]);
        data.extend([5, 6]);
        let packet = RtpPacket::parse(&data).unwrap();
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(packet.header.header_len, 28);
        assert_eq!(packet.payload(), [5, 6]);
        assert_eq!(packet.extensions().collect::<Vec<_>>(), [(1, &[9][..])]);
    }

    #[test]
    fn every_truncated_header_is_refused() {
        let mut data = PLAIN[..12].to_vec();
        data[0] = 0x91;
        data.extend([0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, 9, 0, 0]);
        for len in 0..data.len() {
            assert_eq!(
                RtpPacket::parse(&data[..len]).err(),
                Some(RtpError::Truncated),
                "{len} bytes"
            );
        }
        assert!(RtpPacket::parse(&data).is_ok());
    }

    #[test]
    fn other_versions_are_refused() {
        let mut data = PLAIN;
        data[0] = 0x40;
        assert_eq!(RtpHeader::parse(&data), Err(RtpError::BadVersion));
    }

    #[test]
    fn padding_is_taken_off_and_checked() {
        let mut data = PLAIN;
        data[0] |= 0x20;
        for (count, expected) in [(0, None), (1, Some(2)), (3, Some(0)), (4, None)] {
            data[14] = count;
            let payload_len = RtpPacket::parse(&data).ok().map(|p| p.payload().len());
            assert_eq!(payload_len, expected, "padding count {count}");
        }
    }
}
