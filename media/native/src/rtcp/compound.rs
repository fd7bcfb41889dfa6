//! Taking a compound apart.

use super::lists::{FirEntries, LostList, Reports, SdesChunks, Sources};
use super::transport_feedback::TransportFeedback;
use super::{
    FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, FORMAT_TRANSPORT_CC, GOODBYE,
    PAYLOAD_SPECIFIC_FEEDBACK, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderInfo, TRANSPORT_LAYER_FEEDBACK, be32,
};

/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// Shorter than a length says.
    Truncated,
    /// Version is not 2.
    BadVersion,
    /// A count, length or padding contradicts another.
    Malformed,
}

impl std::fmt::Display for RtcpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RtcpError::Truncated => "shorter than its length says",
            RtcpError::BadVersion => "version is not 2",
            RtcpError::Malformed => "contradicts itself",
        })
    }
}

impl std::error::Error for RtcpError {}

/// One packet of a compound. Lists are lazy iterators over the received bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RtcpPacket<'a> {
    /// SR (RFC 3550, 6.4.1).
    SenderReport {
        /// Who sends it.
        ssrc: u32,
        /// Its clock and counters.
        info: SenderInfo,
        /// Its reports on what it receives.
        reports: Reports<'a>,
    },
    /// RR (RFC 3550, 6.4.2).
    ReceiverReport {
        /// Who sends it.
        ssrc: u32,
        /// Its reports on what it receives.
        reports: Reports<'a>,
    },
    /// SDES (RFC 3550, 6.5).
    SourceDescription {
        /// Chunk by chunk.
        chunks: SdesChunks<'a>,
    },
    /// BYE (RFC 3550, 6.6).
    Goodbye {
        /// Sources that leave.
        ssrcs: Sources<'a>,
    },
    /// Generic NACK (RFC 4585, 6.2.1).
    Nack {
        /// Who sends it.
        sender_ssrc: u32,
        /// Source that is to retransmit.
        media_ssrc: u32,
        /// Missing sequence numbers.
        lost: LostList<'a>,
    },
    /// PLI (RFC 4585, 6.3.1).
    PictureLossIndication {
        /// Who sends it.
        sender_ssrc: u32,
        /// Source that is to send a keyframe.
        media_ssrc: u32,
    },
    /// FIR (RFC 5104, 4.3.1).
    FullIntraRequest {
        /// Who sends it.
        sender_ssrc: u32,
        /// Sources that are to send a keyframe.
        entries: FirEntries<'a>,
    },
    /// REMB.
    ReceiverEstimatedMaximumBitrate {
        /// Who sends it.
        sender_ssrc: u32,
        /// The estimate; `u64::MAX` if it is larger.
        bitrate_bps: u64,
        /// Sources that share it.
        ssrcs: Sources<'a>,
    },
    /// Transport-cc feedback.
    TransportFeedback(TransportFeedback<'a>),
    /// A packet that is tolerated and not read.
    Other {
        /// Its packet type.
        packet_type: u8,
        /// Its count or feedback format.
        format: u8,
    },
}

/// Iterates over a decrypted compound; yields an error at most once, and then ends.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Starts at the first packet.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = split_packet(self.rest).and_then(|(packet, rest)| {
            self.rest = rest;
            read_packet(packet, rest.is_empty())
        });
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

fn split_packet(data: &[u8]) -> Result<(&[u8], &[u8]), RtcpError> {
    let [first, _, l0, l1] = *data.first_chunk::<4>().ok_or(RtcpError::Truncated)?;
    if first >> 6 != 2 {
        return Err(RtcpError::BadVersion);
    }
    let len = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
    data.split_at_checked(len).ok_or(RtcpError::Truncated)
}

fn read_packet(packet: &[u8], is_last: bool) -> Result<RtcpPacket<'_>, RtcpError> {
    let mut body = &packet[4..];
    if packet[0] & 0x20 != 0 {
        let padding = usize::from(*body.last().ok_or(RtcpError::Malformed)?);
        // RFC 3550 (6.4.1) pads a whole compound, by words. libwebrtc fills each transport-cc
        // feedback up to its word with one to three bytes, and says so by the same bit.
        let is_own =
            packet[1] == TRANSPORT_LAYER_FEEDBACK && packet[0] & 0x1f == FORMAT_TRANSPORT_CC;
        if padding == 0 || (!is_own && (!is_last || !padding.is_multiple_of(4))) {
            return Err(RtcpError::Malformed);
        }
        let len = body
            .len()
            .checked_sub(padding)
            .ok_or(RtcpError::Malformed)?;
        body = &body[..len];
    }
    let format = packet[0] & 0x1f;
    let read = match packet[1] {
        SENDER_REPORT => sender_report(format, body),
        RECEIVER_REPORT => receiver_report(format, body),
        SOURCE_DESCRIPTION => Some(RtcpPacket::SourceDescription {
            chunks: SdesChunks {
                rest: body,
                left: format,
            },
        }),
        GOODBYE => body
            .get(..4 * usize::from(format))
            .map(|ssrcs| RtcpPacket::Goodbye {
                ssrcs: Sources(ssrcs),
            }),
        packet_type @ (TRANSPORT_LAYER_FEEDBACK | PAYLOAD_SPECIFIC_FEEDBACK) => {
            feedback(packet_type, format, body)
        }
        packet_type => Some(RtcpPacket::Other {
            packet_type,
            format,
        }),
    };
    read.ok_or(RtcpError::Malformed)
}

fn sender_report(count: u8, body: &[u8]) -> Option<RtcpPacket<'_>> {
    let (head, rest) = body.split_at_checked(4 + SenderInfo::LEN)?;
    Some(RtcpPacket::SenderReport {
        ssrc: be32(head),
        info: SenderInfo {
            ntp_timestamp: u64::from(be32(&head[4..])) << 32 | u64::from(be32(&head[8..])),
            rtp_timestamp: be32(&head[12..]),
            packet_count: be32(&head[16..]),
            octet_count: be32(&head[20..]),
        },
        reports: reports(count, rest)?,
    })
}

fn receiver_report(count: u8, body: &[u8]) -> Option<RtcpPacket<'_>> {
    let (ssrc, rest) = body.split_first_chunk()?;
    Some(RtcpPacket::ReceiverReport {
        ssrc: u32::from_be_bytes(*ssrc),
        reports: reports(count, rest)?,
    })
}

/// The blocks that a count announces; profile-specific extensions may follow them.
fn reports(count: u8, rest: &[u8]) -> Option<Reports<'_>> {
    rest.get(..ReportBlock::LEN * usize::from(count))
        .map(Reports)
}

fn feedback(packet_type: u8, format: u8, body: &[u8]) -> Option<RtcpPacket<'_>> {
    let (head, control) = body.split_first_chunk::<8>()?;
    let sender_ssrc = be32(head);
    let media_ssrc = be32(&head[4..]);
    Some(match (packet_type, format) {
        (TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK) => RtcpPacket::Nack {
            sender_ssrc,
            media_ssrc,
            lost: LostList::new(control),
        },
        (TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_CC) => RtcpPacket::TransportFeedback(
            TransportFeedback::parse(sender_ssrc, media_ssrc, control)?,
        ),
        (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_PLI) => RtcpPacket::PictureLossIndication {
            sender_ssrc,
            media_ssrc,
        },
        (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_FIR) => RtcpPacket::FullIntraRequest {
            sender_ssrc,
            entries: FirEntries(control),
        },
        (PAYLOAD_SPECIFIC_FEEDBACK, FORMAT_APPLICATION) if control.starts_with(b"REMB") => {
            remb(sender_ssrc, control)?
        }
        _ => RtcpPacket::Other {
            packet_type,
            format,
        },
    })
}

fn remb(sender_ssrc: u32, control: &[u8]) -> Option<RtcpPacket<'_>> {
    let (head, rest) = control.split_first_chunk::<8>()?;
    let exponent = u32::from(head[5] >> 2);
    let mantissa = u64::from(be32(&head[4..]) & 0x0003_ffff);
    let bitrate_bps = if mantissa.leading_zeros() >= exponent {
        mantissa << exponent
    } else {
        u64::MAX
    };
    Some(RtcpPacket::ReceiverEstimatedMaximumBitrate {
        sender_ssrc,
        bitrate_bps,
        ssrcs: Sources(rest.get(..4 * usize::from(head[4]))?),
    })
}
