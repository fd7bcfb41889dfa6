//! What the router must know of payloads: where frames and keyframes start.
/// A codec that the router carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// AV1 RTP payload format.
    Av1,
}
impl Codec {
    /// By MIME type, e.g. `video/VP8`, case-insensitive.
    pub fn from_mime_type(_mime_type: &str) -> Option<Self> {
        todo!()
    }
    /// Whether frames depend on keyframes.
    pub fn needs_keyframe(self) -> bool {
        !matches!(self, Codec::Opus)
    }
}
/// What one packet's payload tells about its frame. Malformed payloads give the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadInfo {
    /// The packet starts a keyframe (or, for opus, is always false).
    pub keyframe: bool,
    /// The packet starts a frame.
    pub start_of_frame: bool,
}
/// Inspects a payload; `dependency_descriptor` helps for AV1 when the extension is there.
pub fn inspect(
    _codec: Codec,
    _payload: &[u8],
    _dependency_descriptor: Option<&[u8]>,
) -> PayloadInfo {
    todo!()
}
