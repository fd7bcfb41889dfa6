//! Taking RTX packets apart (RFC 4588). Building them is `PreparedPacket::write_rtx`.

use super::{RtpError, RtpPacket};

/// Splits an RTX payload into the original sequence number and the original payload. `None` if it
/// is too short, as in packets that only probe the bandwidth.
pub fn split_rtx_payload(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

/// Restores the packet that an RTX packet repeats: the original sequence number from the payload,
/// the payload type and SSRC of the stream that it repairs, everything else as it came. Padding is
/// taken off. Returns the length in `out`, or `None` if it carries no original packet or does not
/// fit.
pub fn restore_rtx(
    packet: &RtpPacket<'_>,
    payload_type: u8,
    ssrc: u32,
    out: &mut [u8],
) -> Option<usize> {
    let (sequence_number, payload) = split_rtx_payload(packet.payload())?;
    let header_len = packet.header.header_len;
    let out = out.get_mut(..header_len + payload.len())?;
    let (header, body) = out.split_at_mut(header_len);
    header.copy_from_slice(&packet.data()[..header_len]);
    header[0] &= !0x20;
    header[1] = header[1] & 0x80 | payload_type & 0x7f;
    header[2..4].copy_from_slice(&sequence_number.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    body.copy_from_slice(payload);
    Some(out.len())
}

/// The same in place, for a packet of `data.len()` bytes in its own buffer. Returns the new length.
pub fn restore_rtx_in_place(
    data: &mut [u8],
    payload_type: u8,
    ssrc: u32,
) -> Result<Option<usize>, RtpError> {
    let packet = RtpPacket::parse(data)?;
    let header_len = packet.header.header_len;
    let payload_len = packet.payload().len();
    let Some((sequence_number, original)) = split_rtx_payload(packet.payload()) else {
        return Ok(None);
    };
    let len = header_len + original.len();
    data.copy_within(header_len + 2..header_len + payload_len, header_len);
    data[0] &= !0x20;
    data[1] = data[1] & 0x80 | payload_type & 0x7f;
    data[2..4].copy_from_slice(&sequence_number.to_be_bytes());
    data[8..12].copy_from_slice(&ssrc.to_be_bytes());
    Ok(Some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RTX with one extension word, 2 bytes of OSN, 3 of payload, 2 of padding.
    const RTX: [u8; 27] = [
        0xb0, 0xe1, 0, 9, 0, 0, 0, 5, 0, 0, 0, 8, 0xbe, 0xde, 0, 1, 0x10, b'0', 0, 0, 0x12, 0x34,
        1, 2, 3, 0, 2,
    ];

    #[test]
    fn the_original_packet_is_restored() {
        let rtx = RtpPacket::parse(&RTX).unwrap();
        let mut out = [0; 64];
        let len = restore_rtx(&rtx, 96, 7, &mut out).unwrap();
        let original = RtpPacket::parse(&out[..len]).unwrap();
        assert_eq!(original.payload(), [1, 2, 3]);
        assert_eq!(original.header.sequence_number, 0x1234);
        assert_eq!(
            (original.header.payload_type, original.header.ssrc),
            (96, 7)
        );
        assert_eq!(
            (original.header.timestamp, original.header.marker),
            (5, true)
        );
        assert_eq!(original.extensions().collect::<Vec<_>>(), [(1, &b"0"[..])]);

        let mut in_place = RTX;
        assert_eq!(restore_rtx_in_place(&mut in_place, 96, 7), Ok(Some(len)));
        assert_eq!(in_place[..len], out[..len]);
    }

    #[test]
    fn a_packet_of_padding_restores_nothing() {
        let mut probe = RTX[..24].to_vec();
        probe[23] = 4;
        let packet = RtpPacket::parse(&probe).unwrap();
        assert_eq!(packet.payload().len(), 0);
        assert_eq!(restore_rtx(&packet, 96, 7, &mut [0; 64]), None);
        assert_eq!(restore_rtx_in_place(&mut probe, 96, 7), Ok(None));
    }

    #[test]
    fn a_small_buffer_is_refused() {
        let rtx = RtpPacket::parse(&RTX).unwrap();
        assert_eq!(restore_rtx(&rtx, 96, 7, &mut [0; 22]), None);
    }
}
