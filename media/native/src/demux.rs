//! Tells the protocols that share one UDP port apart (RFC 7983, and RFC 5761 for RTCP).

/// What a datagram claims to be, by its first bytes alone. Nothing else is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// STUN (first byte 0–3).
    Stun,
    /// DTLS (first byte 20–63).
    Dtls,
    /// RTP or SRTP (first byte 128–191, second byte no RTCP packet type).
    Rtp,
    /// RTCP or SRTCP (first byte 128–191, packet type 192–223).
    Rtcp,
    /// Anything else, to be dropped.
    Unknown,
}

/// Classifies a datagram. Takes any bytes; an empty datagram is `Unknown`.
pub fn classify(datagram: &[u8]) -> DatagramKind {
    match datagram {
        [0..=3, ..] => DatagramKind::Stun,
        [20..=63, ..] => DatagramKind::Dtls,
        [128..=191, 192..=223, ..] => DatagramKind::Rtcp,
        [128..=191, _, ..] => DatagramKind::Rtp,
        _ => DatagramKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_the_kind_of_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => DatagramKind::Stun,
                20..=63 => DatagramKind::Dtls,
                128..=191 => DatagramKind::Rtp,
                _ => DatagramKind::Unknown,
            };
            assert_eq!(classify(&[first, 96, 0, 0]), expected, "first byte {first}");
        }
    }

    #[test]
    fn rtcp_packet_types_are_told_from_marked_payload_types() {
        assert_eq!(classify(&[0x80, 200]), DatagramKind::Rtcp);
        assert_eq!(classify(&[0x81, 223]), DatagramKind::Rtcp);
        assert_eq!(classify(&[0x80, 96 | 0x80]), DatagramKind::Rtp);
        assert_eq!(classify(&[0x80, 63 | 0x80]), DatagramKind::Rtp);
    }

    #[test]
    fn an_empty_datagram_is_unknown() {
        assert_eq!(classify(&[]), DatagramKind::Unknown);
    }
}
