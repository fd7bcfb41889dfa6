//! Building RTCP packets. Every function appends one whole packet.

use super::{
    COUNT_MAX, FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, GOODBYE,
    PAYLOAD_SPECIFIC_FEEDBACK, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderInfo, TRANSPORT_LAYER_FEEDBACK,
};

/// Starts a packet; `end` completes it.
pub(super) fn begin(out: &mut Vec<u8>, count: u8, packet_type: u8) -> usize {
    let start = out.len();
    out.extend([0x80 | count, packet_type, 0, 0]);
    start
}

/// Writes the length of the packet that started at `start`.
pub(super) fn end(out: &mut [u8], start: usize) {
    let words = (out.len() - start) / 4 - 1;
    out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
}

pub(super) fn begin_feedback(
    out: &mut Vec<u8>,
    format: u8,
    packet_type: u8,
    sender_ssrc: u32,
    media_ssrc: u32,
) -> usize {
    let start = begin(out, format, packet_type);
    out.extend(sender_ssrc.to_be_bytes());
    out.extend(media_ssrc.to_be_bytes());
    start
}

fn push_reports(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for report in reports {
        out.extend(report.encode());
    }
}

/// Appends an SR with the first `COUNT_MAX` of the reports.
pub fn write_sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    info: &SenderInfo,
    reports: &[ReportBlock],
) {
    let reports = &reports[..reports.len().min(COUNT_MAX)];
    let start = begin(out, reports.len() as u8, SENDER_REPORT);
    out.extend(ssrc.to_be_bytes());
    out.extend(info.ntp_timestamp.to_be_bytes());
    out.extend(info.rtp_timestamp.to_be_bytes());
    out.extend(info.packet_count.to_be_bytes());
    out.extend(info.octet_count.to_be_bytes());
    push_reports(out, reports);
    end(out, start);
}

/// Appends an RR with the first `COUNT_MAX` of the reports.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, reports: &[ReportBlock]) {
    let reports = &reports[..reports.len().min(COUNT_MAX)];
    let start = begin(out, reports.len() as u8, RECEIVER_REPORT);
    out.extend(ssrc.to_be_bytes());
    push_reports(out, reports);
    end(out, start);
}

/// Appends an SDES packet with one CNAME, of which at most 255 bytes are written.
pub fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    let start = begin(out, 1, SOURCE_DESCRIPTION);
    out.extend(ssrc.to_be_bytes());
    out.extend([1, cname.len() as u8]);
    out.extend(cname);
    let unpadded = out.len() - start;
    out.resize(start + (unpadded + 1).next_multiple_of(4), 0);
    end(out, start);
}

/// Appends a BYE for the first `COUNT_MAX` of the sources.
pub fn write_goodbye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(COUNT_MAX)];
    let start = begin(out, ssrcs.len() as u8, GOODBYE);
    for ssrc in ssrcs {
        out.extend(ssrc.to_be_bytes());
    }
    end(out, start);
}

/// Appends a generic NACK. It is smallest when the numbers ascend (around the wrap as well); four
/// bytes a number otherwise. Writes nothing for an empty list.
pub fn write_nack(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, lost: &[u16]) {
    let Some((first, rest)) = lost.split_first() else {
        return;
    };
    let start = begin_feedback(
        out,
        FORMAT_NACK,
        TRANSPORT_LAYER_FEEDBACK,
        sender_ssrc,
        media_ssrc,
    );
    let mut push = |pid: u16, mask: u16| {
        out.extend(pid.to_be_bytes());
        out.extend(mask.to_be_bytes());
    };
    let (mut pid, mut mask) = (*first, 0u16);
    for number in rest {
        match number.wrapping_sub(pid) {
            0 => {}
            distance @ 1..=16 => mask |= 1 << (distance - 1),
            _ => {
                push(pid, mask);
                (pid, mask) = (*number, 0);
            }
        }
    }
    push(pid, mask);
    end(out, start);
}

/// Appends a PLI.
pub fn write_pli(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    let start = begin_feedback(
        out,
        FORMAT_PLI,
        PAYLOAD_SPECIFIC_FEEDBACK,
        sender_ssrc,
        media_ssrc,
    );
    end(out, start);
}

/// Appends a FIR with one entry. A new request bears the next `sequence_number`.
pub fn write_fir(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, sequence_number: u8) {
    // The media source of the packet itself is unused and zero (RFC 5104, 4.3.1.2).
    let start = begin_feedback(out, FORMAT_FIR, PAYLOAD_SPECIFIC_FEEDBACK, sender_ssrc, 0);
    out.extend(media_ssrc.to_be_bytes());
    out.extend([sequence_number, 0, 0, 0]);
    end(out, start);
}

/// Appends a REMB for the first 255 of the sources. The bitrate is rounded down to 18 bits.
pub fn write_remb(out: &mut Vec<u8>, sender_ssrc: u32, bitrate_bps: u64, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(255)];
    let start = begin_feedback(
        out,
        FORMAT_APPLICATION,
        PAYLOAD_SPECIFIC_FEEDBACK,
        sender_ssrc,
        0,
    );
    let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate_bps >> exponent) as u32;
    out.extend(b"REMB");
    out.extend((((ssrcs.len() as u32) << 24) | exponent << 18 | mantissa).to_be_bytes());
    for ssrc in ssrcs {
        out.extend(ssrc.to_be_bytes());
    }
    end(out, start);
}
