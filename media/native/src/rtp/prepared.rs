//! An outgoing packet, prepared once for all viewers of one format.
use super::{ExtensionMap, RtpPacket};
/// How packets look on the viewers' side: mapped payload types and extension ids.
/// Shared by all consumers that negotiated alike.
#[derive(Clone, Debug)]
pub struct EgressFormat {
    /// Extension ids towards the viewer.
    pub extensions: ExtensionMap,
}
impl EgressFormat {
    /// A format from the ids and (incoming, outgoing) payload types.
    pub fn new(_extensions: ExtensionMap, _payload_types: &[(u8, u8)]) -> Self {
        todo!()
    }
    /// The outgoing payload type of an incoming one, if it is forwarded.
    pub fn payload_type(&self, _incoming: u8) -> Option<u8> {
        todo!()
    }
}
/// What differs from viewer to viewer.
#[derive(Clone, Copy, Debug)]
pub struct ViewerFields<'a> {
    /// The consumer's SSRC.
    pub ssrc: u32,
    /// The consumer's sequence number.
    pub sequence_number: u16,
    /// The consumer's timestamp.
    pub timestamp: u32,
    /// The consumer's mid, at most 16 bytes; empty leaves the extension out.
    pub mid: &'a [u8],
    /// Transport-wide number, written if the format has the extension.
    pub transport_cc: u16,
    /// abs-send-time (24 bits), written if the format has the extension.
    pub abs_send_time: u32,
}
/// An outgoing packet without its per-viewer fields. Borrows the incoming payload.
#[derive(Clone, Debug)]
pub struct PreparedPacket<'a> {
    payload: &'a [u8],
}
impl<'a> PreparedPacket<'a> {
    /// Prepares an incoming packet for a format; `None` if its payload type is not forwarded.
    pub fn new(
        _packet: &RtpPacket<'a>,
        _incoming: &ExtensionMap,
        _format: &EgressFormat,
    ) -> Option<Self> {
        todo!()
    }
    /// The payload, to be encrypted behind the header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
    /// Writes the header with a viewer's fields; returns its length. `None` if `out` is too small.
    pub fn write_header(&self, _fields: &ViewerFields<'_>, _out: &mut [u8]) -> Option<usize> {
        todo!()
    }
    /// Writes an RTX header and the original sequence number (RFC 4588, 4); returns
    /// (header length, length with OSN). The fields are those of the RTX stream.
    pub fn write_rtx_header(
        &self,
        _fields: &ViewerFields<'_>,
        _rtx_payload_type: u8,
        _original_sequence_number: u16,
        _out: &mut [u8],
    ) -> Option<(usize, usize)> {
        todo!()
    }
}
/// Takes the original sequence number off an RTX payload (RFC 4588); `None` if it is too short.
pub fn split_rtx_payload(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (osn, rest) = payload.split_first_chunk()?;
    Some((u16::from_be_bytes(*osn), rest))
}
