//! RTCP (RFC 3550, RFC 4585, RFC 5104, REMB, transport-cc, RFC 3611 tolerated): parse and build.
/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// Lengths do not add up.
    Truncated,
    /// Version is not 2.
    BadVersion,
    /// A field contradicts another.
    Malformed,
}
/// One reception report block (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Source that the report is about.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all, 24 bits signed.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub extended_highest_sequence_number: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time.
    pub last_sr: u32,
    /// Delay since the last SR in 1/65536 s.
    pub delay_since_last_sr: u32,
}
/// Sender information (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// 64-bit NTP time.
    pub ntp_timestamp: u64,
    /// The same moment in RTP units.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
}
/// One packet of a compound. Lists are lazy iterators over the received bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RtcpPacket<'a> {
    /// SR.
    SenderReport {
        /// Sender.
        ssrc: u32,
        /// Its counters.
        info: SenderInfo,
        /// Its reports.
        reports: Reports<'a>,
    },
    /// RR.
    ReceiverReport {
        /// Sender.
        ssrc: u32,
        /// Its reports.
        reports: Reports<'a>,
    },
    /// Generic NACK (RFC 4585, 6.2.1).
    Nack {
        /// Sender.
        sender_ssrc: u32,
        /// Source that is to retransmit.
        media_ssrc: u32,
        /// Missing sequence numbers.
        lost: LostList<'a>,
    },
    /// PLI.
    PictureLossIndication {
        /// Sender.
        sender_ssrc: u32,
        /// Source that is to send a keyframe.
        media_ssrc: u32,
    },
    /// A packet that we tolerate and ignore.
    Other {
        /// Packet type.
        packet_type: u8,
    },
}
/// Report blocks of a received packet.
#[derive(Clone, Copy, Debug)]
pub struct Reports<'a>(&'a [u8]);
impl Iterator for Reports<'_> {
    type Item = ReportBlock;
    fn next(&mut self) -> Option<ReportBlock> {
        let _ = self.0;
        todo!()
    }
}
/// Sequence numbers of a received NACK, each once per mention.
#[derive(Clone, Copy, Debug)]
pub struct LostList<'a>(&'a [u8]);
impl Iterator for LostList<'_> {
    type Item = u16;
    fn next(&mut self) -> Option<u16> {
        let _ = self.0;
        todo!()
    }
}
/// Iterates over a compound packet; stops after the first error.
#[derive(Clone, Debug)]
pub struct Compound<'a>(&'a [u8]);
impl<'a> Compound<'a> {
    /// Starts at the first packet of a decrypted compound.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }
}
impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;
    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.0;
        todo!()
    }
}
/// Appends a sender report with at most 31 blocks.
pub fn write_sender_report(
    _out: &mut Vec<u8>,
    _ssrc: u32,
    _info: &SenderInfo,
    _reports: &[ReportBlock],
) {
    todo!()
}
/// Appends a receiver report with at most 31 blocks.
pub fn write_receiver_report(_out: &mut Vec<u8>, _ssrc: u32, _reports: &[ReportBlock]) {
    todo!()
}
/// Appends an SDES packet with one CNAME (at most 255 bytes).
pub fn write_cname(_out: &mut Vec<u8>, _ssrc: u32, _cname: &str) {
    todo!()
}
/// Appends a BYE.
pub fn write_goodbye(_out: &mut Vec<u8>, _ssrcs: &[u32]) {
    todo!()
}
/// Appends a generic NACK; the numbers must be sorted as sequence numbers.
pub fn write_nack(_out: &mut Vec<u8>, _sender_ssrc: u32, _media_ssrc: u32, _lost: &[u16]) {
    todo!()
}
/// Appends a PLI.
pub fn write_pli(_out: &mut Vec<u8>, _sender_ssrc: u32, _media_ssrc: u32) {
    todo!()
}
/// Appends a FIR with one entry.
pub fn write_fir(_out: &mut Vec<u8>, _sender_ssrc: u32, _media_ssrc: u32, _sequence_number: u8) {
    todo!()
}
/// Appends a REMB.
pub fn write_remb(_out: &mut Vec<u8>, _sender_ssrc: u32, _bitrate_bps: u64, _ssrcs: &[u32]) {
    todo!()
}
