//! The header extensions that Reprise knows, and their ids on one side of the router.
use super::RtpPacket;
/// A header extension by meaning; its id is a matter of negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExtensionKind {
    /// urn:ietf:params:rtp-hdrext:sdes:mid (RFC 9143).
    Mid,
    /// urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id (RFC 8852).
    Rid,
    /// urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id (RFC 8852).
    RepairedRid,
    /// abs-send-time.
    AbsSendTime,
    /// transport-wide-cc, draft 01.
    TransportCc,
    /// ssrc-audio-level (RFC 6464).
    AudioLevel,
    /// 3gpp:video-orientation.
    VideoOrientation,
    /// playout-delay.
    PlayoutDelay,
    /// AV1 dependency descriptor.
    DependencyDescriptor,
    /// video-layers-allocation00.
    VideoLayersAllocation,
    /// abs-capture-time.
    AbsCaptureTime,
    /// toffset (RFC 5450).
    TransmissionOffset,
}
impl ExtensionKind {
    /// The kind that a URI names.
    pub fn from_uri(_uri: &str) -> Option<Self> {
        todo!()
    }
    /// The URI that names the kind.
    pub fn uri(self) -> &'static str {
        todo!()
    }
}
/// Which id bears which extension, on one transport.
#[derive(Clone, Debug)]
pub struct ExtensionMap {
    by_id: [Option<ExtensionKind>; 256],
}
impl ExtensionMap {
    /// A map from (id, kind) pairs; id 0 is ignored (it is padding).
    pub fn new(_pairs: &[(u8, ExtensionKind)]) -> Self {
        Self { by_id: [None; 256] }
    }
    /// The kind that an id stands for.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        self.by_id[usize::from(id)]
    }
    /// The id of a kind.
    pub fn id(&self, _kind: ExtensionKind) -> Option<u8> {
        todo!()
    }
}
/// The values of one packet's known header extensions; malformed values are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderExtensions<'a> {
    /// Media identification.
    pub mid: Option<&'a str>,
    /// RTP stream id.
    pub rid: Option<&'a str>,
    /// RTP stream id that this RTX packet repairs.
    pub repaired_rid: Option<&'a str>,
    /// 24 bits, 6.18 fixed-point seconds.
    pub abs_send_time: Option<u32>,
    /// Transport-wide sequence number.
    pub transport_cc: Option<u16>,
    /// (voice activity, level in -dBov 0–127).
    pub audio_level: Option<(bool, u8)>,
    /// The raw dependency descriptor.
    pub dependency_descriptor: Option<&'a [u8]>,
}
impl<'a> HeaderExtensions<'a> {
    /// Reads the known extensions of a packet.
    pub fn read(_packet: &RtpPacket<'a>, _map: &ExtensionMap) -> Self {
        todo!()
    }
}
