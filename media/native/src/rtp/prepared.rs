//! Outgoing packets: prepared once for all viewers of one format, finished for each.
//!
//! A `PreparedPacket` holds everything of the header that viewers share, already encoded. A viewer
//! gets a copy of it, into its own send buffer, with the few bytes that are its own. The payload is
//! never copied here: it is encrypted from where it lies into the send buffer.
//!
//! The dependency descriptor and the mid stand last in the extension block, because their lengths
//! differ between viewers.
//! Dropped on the way: rid and repaired rid (a viewer gets one encoding), extensions without an
//! outgoing id, transmission offsets (they are false once a packet was forwarded), padding.

use super::extension_block::{BlockWriter, fits_one_byte};
use super::header::HEADER_LEN_MIN;
use super::mid::MID_LEN_MAX;
use super::{ExtensionKind, ExtensionMap, RtpPacket};
use crate::codec::dependency_rewrite::{
    GROWTH_MAX as DESCRIPTOR_GROWTH_MAX, VALUE_LEN_MAX as DESCRIPTOR_LEN_MAX,
};
use crate::codec::red::{HEAD_LEN_MAX as RED_HEAD_LEN_MAX, Red};

/// Longest header that `PreparedPacket` writes. Extensions that would exceed it are left out.
pub const HEADER_LEN_MAX: usize = 512;

/// Bytes of a template before its extension block: the fixed header and 15 CSRCs.
const BLOCK_START_MAX: usize = HEADER_LEN_MIN + 15 * 4;

/// Room for a template: what `HEADER_LEN_MAX` leaves when the longest descriptor and mid follow, with
/// the elements' heads and padding.
const TEMPLATE_LEN_MAX: usize = HEADER_LEN_MAX - (DESCRIPTOR_LEN_MAX + 2) - (MID_LEN_MAX + 2) - 3;

/// How packets look on the viewers' side: payload types and extension ids. All consumers that
/// negotiated alike share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressFormat {
    extensions: ExtensionMap,
    payload_types: [Option<u8>; 128],
    carries_extensions: bool,
    /// The incoming payload type of redundant audio (RFC 2198).
    red: Option<u8>,
}

impl EgressFormat {
    /// A format from the outgoing extension ids and the (incoming, outgoing) payload types that
    /// are forwarded. Pairs with a payload type above 127 are left out.
    pub fn new(extensions: ExtensionMap, payload_types: &[(u8, u8)]) -> Self {
        let mut by_incoming = [None; 128];
        for (incoming, outgoing) in payload_types.iter().filter(|pair| pair.1 < 128) {
            if let Some(entry) = by_incoming.get_mut(usize::from(*incoming)) {
                *entry = Some(*outgoing);
            }
        }
        let carries_extensions = ExtensionKind::ALL
            .into_iter()
            .any(|kind| extensions.id(kind).is_some());
        Self {
            extensions,
            payload_types: by_incoming,
            carries_extensions,
            red: None,
        }
    }

    /// The same, where packets of the incoming payload type `red` are redundant audio: viewers of a format
    /// that does not forward it get the newest frame of each alone.
    pub fn with_red(self, red: Option<u8>) -> Self {
        Self { red, ..self }
    }

    /// Extension ids towards the viewers.
    pub fn extensions(&self) -> &ExtensionMap {
        &self.extensions
    }

    /// The outgoing payload type of an incoming one, if it is forwarded.
    pub fn payload_type(&self, incoming: u8) -> Option<u8> {
        self.payload_types
            .get(usize::from(incoming))
            .copied()
            .flatten()
    }
}

/// What differs from viewer to viewer.
#[derive(Clone, Copy, Debug)]
pub struct ViewerFields<'a> {
    /// The consumer's SSRC (or that of its RTX stream).
    pub ssrc: u32,
    /// The consumer's sequence number (or that of its RTX stream).
    pub sequence_number: u16,
    /// The consumer's timestamp.
    pub timestamp: u32,
    /// The consumer's mid. Empty, or longer than `MID_LEN_MAX`, leaves the extension out.
    pub mid: &'a [u8],
    /// Transport-wide sequence number, written if the format has the extension.
    pub transport_cc: u16,
    /// abs-send-time (24 bits), written if the format has the extension.
    pub abs_send_time: u32,
    /// Dependency descriptor in place of the packet's own; None leaves it as it came.
    pub descriptor: Option<&'a [u8]>,
}

/// Where in a sent packet the fields lie that change when it is sent later than written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldOffsets {
    /// Offset of the two bytes of the transport-wide sequence number; zero if it is not there.
    pub transport_cc: u16,
    /// Offset of the three bytes of abs-send-time; zero if it is not there.
    pub abs_send_time: u16,
}

/// An outgoing packet without the fields of its viewer. Borrows the incoming payload.
#[derive(Clone)]
pub struct PreparedPacket<'a> {
    template: [u8; TEMPLATE_LEN_MAX],
    template_len: usize,
    /// Where the extension block starts; equals `template_len` without extensions.
    block_start: usize,
    two_byte: bool,
    mid_id: u8,
    offsets: FieldOffsets,
    /// Outgoing id and value of the dependency descriptor.
    descriptor: Option<(u8, &'a [u8])>,
    payload: &'a [u8],
    head: Head,
}

/// Bytes that stand in place of a payload's first ones.
#[derive(Clone, Copy)]
struct Head {
    bytes: [u8; RED_HEAD_LEN_MAX],
    len: usize,
}

impl Head {
    const NONE: Self = Self {
        bytes: [0; RED_HEAD_LEN_MAX],
        len: 0,
    };
}

impl<'a> PreparedPacket<'a> {
    /// Prepares an incoming packet for a format. `None` if the format does not forward its payload
    /// type.
    pub fn new(
        packet: &RtpPacket<'a>,
        incoming: &ExtensionMap,
        format: &EgressFormat,
    ) -> Option<Self> {
        let incoming_type = packet.header.payload_type;
        let (payload_type, payload, head) = match format.red {
            Some(red) if red == incoming_type && !packet.payload().is_empty() => {
                unpack_red(packet.payload(), red, format)?
            }
            _ => (
                format.payload_type(incoming_type)?,
                packet.payload(),
                Head::NONE,
            ),
        };
        let csrcs = packet.csrc_bytes();
        let block_start = HEADER_LEN_MIN + csrcs.len();

        let mut template = [0; TEMPLATE_LEN_MAX];
        template[0] = 0x80 | packet.header.csrc_count;
        template[1] = payload_type | if packet.header.marker { 0x80 } else { 0 };
        template[HEADER_LEN_MIN..block_start].copy_from_slice(csrcs);

        let mut prepared = Self {
            template,
            template_len: block_start,
            block_start,
            two_byte: false,
            mid_id: format.extensions.id(ExtensionKind::Mid).unwrap_or(0),
            offsets: FieldOffsets::default(),
            descriptor: None,
            payload,
            head,
        };
        if format.carries_extensions {
            prepared.template[0] |= 0x10;
            prepared.write_extensions(packet, incoming, &format.extensions);
        }
        Some(prepared)
    }

    /// Encodes all extensions but the mid.
    fn write_extensions(
        &mut self,
        packet: &RtpPacket<'a>,
        incoming: &ExtensionMap,
        outgoing: &ExtensionMap,
    ) {
        // Each kind once, the last value, as `HeaderExtensions` reads them.
        let mut passed: [Option<(u8, &[u8])>; ExtensionKind::COUNT] = [None; ExtensionKind::COUNT];
        for (id, value) in packet.extensions() {
            if let Some(kind) = incoming.kind(id).filter(|kind| is_passed(*kind)) {
                passed[kind as usize] = outgoing.id(kind).map(|id| (id, value));
            }
        }
        // An empty one says nothing, and the one-byte form can't hold it.
        self.descriptor = passed[ExtensionKind::DependencyDescriptor as usize]
            .take()
            .filter(|(_, value)| !value.is_empty());
        let passed = passed.into_iter().flatten();
        let transport_cc = outgoing.id(ExtensionKind::TransportCc);
        let abs_send_time = outgoing.id(ExtensionKind::AbsSendTime);
        let own_ids = [
            self.mid_id,
            transport_cc.unwrap_or(0),
            abs_send_time.unwrap_or(0),
        ];
        self.two_byte = own_ids.iter().any(|id| *id > 14)
            || passed
                .clone()
                .any(|(id, value)| !fits_one_byte(id, value.len()))
            || self
                .descriptor
                .is_some_and(|(id, value)| !fits_one_byte(id, value.len() + DESCRIPTOR_GROWTH_MAX));

        debug_assert!(self.block_start <= BLOCK_START_MAX);
        let block = &mut self.template[self.block_start..];
        let Some(mut writer) = BlockWriter::new(block, self.two_byte) else {
            return;
        };
        let start = self.block_start;
        let mut reserve = |id: Option<u8>, len: usize| {
            id.and_then(|id| writer.push(id, &[0; 3][..len]))
                .map_or(0, |at| (start + at) as u16)
        };
        self.offsets = FieldOffsets {
            transport_cc: reserve(transport_cc, 2),
            abs_send_time: reserve(abs_send_time, 3),
        };
        for (id, value) in passed {
            // One that does not fit the template is left out, as documented.
            let _ = writer.push(id, value);
        }
        self.template_len = self.block_start + writer.len();
    }

    /// The payload, to be encrypted behind the header, but for what [`Self::head`] has in place of its
    /// first bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// What stands in place of the payload's first bytes: they are other ones for viewers of this format.
    /// Mostly empty.
    pub fn head(&self) -> &[u8] {
        &self.head.bytes[..self.head.len]
    }

    /// Writes the payload as viewers of this format get it. `out` is as long as the payload.
    pub fn write_payload(&self, out: &mut [u8]) {
        out.copy_from_slice(self.payload);
        out[..self.head.len].copy_from_slice(self.head());
    }

    /// The dependency descriptor, as it came, if viewers of this format get it.
    pub fn descriptor(&self) -> Option<&'a [u8]> {
        self.descriptor.map(|(_, value)| value)
    }

    /// Where `write_header` puts the fields that depend on the moment of sending.
    pub fn offsets(&self) -> FieldOffsets {
        self.offsets
    }

    /// Length of the header that `write_header` writes for a viewer's mid, in bytes, with the
    /// dependency descriptor as it came.
    pub fn header_len(&self, mid: &[u8]) -> usize {
        if self.block_start == self.template_len {
            return self.template_len;
        }
        let own_len = match mid.len() {
            len @ 1..=MID_LEN_MAX if self.mid_id != 0 => len + 1 + usize::from(self.two_byte),
            _ => 0,
        };
        let descriptor_len = self
            .descriptor
            .map_or(0, |(_, value)| value.len() + 1 + usize::from(self.two_byte));
        let block_len = self.template_len - self.block_start + own_len + descriptor_len;
        self.block_start + block_len.next_multiple_of(4)
    }

    /// Writes the header with a viewer's fields and returns its length, at most `HEADER_LEN_MAX`.
    /// `None` if `out` is too small.
    pub fn write_header(&self, fields: &ViewerFields<'_>, out: &mut [u8]) -> Option<usize> {
        out.get_mut(..self.template_len)?
            .copy_from_slice(&self.template[..self.template_len]);
        out[2..4].copy_from_slice(&fields.sequence_number.to_be_bytes());
        out[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        if self.block_start == self.template_len {
            return Some(self.template_len);
        }
        let at = usize::from(self.offsets.transport_cc);
        if at != 0 {
            out[at..at + 2].copy_from_slice(&fields.transport_cc.to_be_bytes());
        }
        let at = usize::from(self.offsets.abs_send_time);
        if at != 0 {
            out[at..at + 3].copy_from_slice(&fields.abs_send_time.to_be_bytes()[1..]);
        }
        let mut writer = BlockWriter::resume(
            &mut out[self.block_start..],
            self.template_len - self.block_start,
            self.two_byte,
        );
        if let Some((id, value)) = self.descriptor {
            let value = fields.descriptor.unwrap_or(value);
            writer.push(id, value)?;
        }
        if self.mid_id != 0 && (1..=MID_LEN_MAX).contains(&fields.mid.len()) {
            writer.push(self.mid_id, fields.mid)?;
        }
        Some(self.block_start + writer.finish()?)
    }

    /// Writes the header of an RTX packet, the original sequence number and the payload (RFC 4588,
    /// 4); returns the lengths of the header and of the whole packet. The fields are those of the
    /// RTX stream, with the timestamp of the original. `None` if `out` is too small.
    pub fn write_rtx(
        &self,
        fields: &ViewerFields<'_>,
        rtx_payload_type: u8,
        original_sequence_number: u16,
        out: &mut [u8],
    ) -> Option<(usize, usize)> {
        let header_len = self.write_header(fields, out)?;
        out[1] = out[1] & 0x80 | rtx_payload_type & 0x7f;
        let packet_len = header_len + 2 + self.payload.len();
        let body = out.get_mut(header_len..packet_len)?;
        body[..2].copy_from_slice(&original_sequence_number.to_be_bytes());
        self.write_payload(&mut body[2..]);
        Some((header_len, packet_len))
    }
}

impl std::fmt::Debug for PreparedPacket<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedPacket")
            .field("template", &&self.template[..self.template_len])
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Redundant audio as viewers of a format get it: with their payload types, or the newest frame alone.
fn unpack_red<'a>(
    payload: &'a [u8],
    payload_type: u8,
    format: &EgressFormat,
) -> Option<(u8, &'a [u8], Head)> {
    let red = Red::read(payload)?;
    let mut head = Head::NONE;
    let written = red.write_head(|one| format.payload_type(one), &mut head.bytes);
    if let Some((outgoing, len)) = format.payload_type(payload_type).zip(written) {
        head.len = len;
        return Some((outgoing, payload, head));
    }
    let newest = format.payload_type(red.newest_payload_type())?;
    Some((newest, red.newest(), Head::NONE))
}

/// Whether an extension's value means the same to a viewer as to the router.
fn is_passed(kind: ExtensionKind) -> bool {
    !matches!(
        kind,
        ExtensionKind::Mid
            | ExtensionKind::Rid
            | ExtensionKind::RepairedRid
            | ExtensionKind::AbsSendTime
            | ExtensionKind::TransportCc
            | ExtensionKind::TransmissionOffset
    )
}

#[cfg(test)]
#[path = "prepared_tests.rs"]
mod tests;
