//! RTP packets (RFC 3550), their header extensions (RFC 8285) and RTX (RFC 4588).
//!
//! Incoming: `RtpHeader` reads what is not encrypted, `RtpPacket` views a decrypted packet,
//! `HeaderExtensions` decodes what it carries. Outgoing: `PreparedPacket`, once per format of
//! viewers, then `write_header` for each viewer.

mod extension_block;
mod extensions;
mod header;
mod mid;
mod prepared;
mod rtx;

pub use extension_block::ExtensionElements;
pub use extensions::{
    AbsCaptureTime, AudioLevel, ExtensionKind, ExtensionMap, HeaderExtensions, PlayoutDelay,
    VideoOrientation, abs_send_time,
};
pub use header::{HEADER_LEN_MIN, RtpError, RtpHeader, RtpPacket};
pub use mid::{MID_LEN_MAX, Mid};
pub use prepared::{EgressFormat, FieldOffsets, HEADER_LEN_MAX, PreparedPacket, ViewerFields};
pub use rtx::{restore_rtx, restore_rtx_in_place, split_rtx_payload};
