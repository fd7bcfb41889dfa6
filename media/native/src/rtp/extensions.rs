//! The header extensions that Reprise knows: ids on one transport, and their values.

use super::{ExtensionElements, RtpPacket};

/// A header extension by meaning. Its id is a matter of negotiation, see `ExtensionMap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExtensionKind {
    /// Media identification (RFC 9143).
    Mid,
    /// RTP stream id, names an encoding of a simulcast (RFC 8852).
    Rid,
    /// RTP stream id that an RTX stream repairs (RFC 8852).
    RepairedRid,
    /// Absolute send time: 24 bits, 6.18 fixed-point seconds.
    AbsSendTime,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Playout delay.
    PlayoutDelay,
    /// AV1 dependency descriptor.
    DependencyDescriptor,
    /// Video layers allocation.
    VideoLayersAllocation,
    /// Absolute capture time.
    AbsCaptureTime,
    /// Transmission time offset (RFC 5450).
    TransmissionOffset,
}

impl ExtensionKind {
    /// How many kinds there are.
    pub const COUNT: usize = 12;

    /// All kinds, in the order of their discriminants.
    pub const ALL: [ExtensionKind; Self::COUNT] = [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
        ExtensionKind::AbsSendTime,
        ExtensionKind::TransportCc,
        ExtensionKind::AudioLevel,
        ExtensionKind::VideoOrientation,
        ExtensionKind::PlayoutDelay,
        ExtensionKind::DependencyDescriptor,
        ExtensionKind::VideoLayersAllocation,
        ExtensionKind::AbsCaptureTime,
        ExtensionKind::TransmissionOffset,
    ];

    /// The URI that names the kind in SDP and ORTC.
    pub const fn uri(self) -> &'static str {
        match self {
            ExtensionKind::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            ExtensionKind::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            ExtensionKind::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            ExtensionKind::AbsSendTime => {
                "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
            }
            ExtensionKind::TransportCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            ExtensionKind::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            ExtensionKind::VideoOrientation => "urn:3gpp:video-orientation",
            ExtensionKind::PlayoutDelay => {
                "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
            }
            ExtensionKind::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            ExtensionKind::VideoLayersAllocation => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
            }
            ExtensionKind::AbsCaptureTime => {
                "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
            }
            ExtensionKind::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
        }
    }

    /// The kind that a URI names.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Which id bears which extension, on one transport.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtensionMap {
    by_id: [Option<ExtensionKind>; 256],
    ids: [u8; ExtensionKind::COUNT],
}

impl ExtensionMap {
    /// A map from (id, kind) pairs. Id 0 is padding and left out; of two pairs with the same id or
    /// the same kind the later counts.
    pub fn new(pairs: &[(u8, ExtensionKind)]) -> Self {
        let mut map = Self {
            by_id: [None; 256],
            ids: [0; ExtensionKind::COUNT],
        };
        for (id, kind) in pairs.iter().copied().filter(|(id, _)| *id != 0) {
            if let Some(previous) = map.by_id[usize::from(id)].replace(kind) {
                map.ids[previous as usize] = 0;
            }
            let previous = std::mem::replace(&mut map.ids[kind as usize], id);
            if previous != 0 && previous != id {
                map.by_id[usize::from(previous)] = None;
            }
        }
        map
    }

    /// The kind that an id stands for.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        self.by_id[usize::from(id)]
    }

    /// The id of a kind.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        Some(self.ids[kind as usize]).filter(|id| *id != 0)
    }
}

impl Default for ExtensionMap {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl std::fmt::Debug for ExtensionMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = ExtensionKind::ALL
            .into_iter()
            .filter_map(|kind| Some((self.id(kind)?, kind)));
        f.debug_map().entries(pairs).finish()
    }
}

/// Audio level of a packet (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender believes that this is speech.
    pub voice: bool,
    /// In -dBov: 0 is the loudest, 127 is silence.
    pub level: u8,
}

/// How a frame is to be turned for display (3GPP TS 26.114, 7.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Taken by a back-facing camera.
    pub back_camera: bool,
    /// Mirrored horizontally.
    pub flip: bool,
    /// Clockwise rotation in quarter turns, 0–3.
    pub rotation: u8,
}

/// Bounds of the playout delay, in units of 10 ms, 0–4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// Lower bound.
    pub min: u16,
    /// Upper bound.
    pub max: u16,
}

/// When a frame was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// NTP time, 32.32 fixed point, of the capturer's clock.
    pub ntp_timestamp: u64,
    /// What to add to get to the sender's clock, 32.32 fixed point.
    pub clock_offset: Option<i64>,
}

/// The known header extensions of one packet. A value that is malformed is `None`.
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
    /// Audio level.
    pub audio_level: Option<AudioLevel>,
    /// Video orientation.
    pub video_orientation: Option<VideoOrientation>,
    /// Playout delay.
    pub playout_delay: Option<PlayoutDelay>,
    /// Dependency descriptor, see `codec::dependency_descriptor`.
    pub dependency_descriptor: Option<&'a [u8]>,
    /// Video layers allocation, opaque.
    pub video_layers_allocation: Option<&'a [u8]>,
    /// Absolute capture time.
    pub abs_capture_time: Option<AbsCaptureTime>,
    /// Transmission time offset in timestamp units, 24 bits signed.
    pub transmission_offset: Option<i32>,
}

impl<'a> HeaderExtensions<'a> {
    /// Reads the known extensions of a packet.
    pub fn read(packet: &RtpPacket<'a>, map: &ExtensionMap) -> Self {
        Self::from_elements(packet.extensions(), map)
    }

    /// The same from the elements of a header; of repeated elements the last counts.
    pub fn from_elements(elements: ExtensionElements<'a>, map: &ExtensionMap) -> Self {
        let mut values = Self::default();
        for (id, value) in elements {
            if let Some(kind) = map.kind(id) {
                values.set(kind, value);
            }
        }
        values
    }

    fn set(&mut self, kind: ExtensionKind, value: &'a [u8]) {
        match kind {
            ExtensionKind::Mid => self.mid = identifier(value),
            ExtensionKind::Rid => self.rid = identifier(value),
            ExtensionKind::RepairedRid => self.repaired_rid = identifier(value),
            ExtensionKind::AbsSendTime => self.abs_send_time = u24(value),
            ExtensionKind::TransportCc => {
                // Version 2 appends a feedback request, which we do not negotiate.
                self.transport_cc = value.first_chunk().map(|b| u16::from_be_bytes(*b));
            }
            ExtensionKind::AudioLevel => {
                self.audio_level = value.first().map(|b| AudioLevel {
                    voice: b & 0x80 != 0,
                    level: b & 0x7f,
                });
            }
            ExtensionKind::VideoOrientation => {
                self.video_orientation = value.first().map(|b| VideoOrientation {
                    back_camera: b & 8 != 0,
                    flip: b & 4 != 0,
                    rotation: b & 3,
                });
            }
            ExtensionKind::PlayoutDelay => {
                self.playout_delay = u24(value).map(|bits| PlayoutDelay {
                    min: (bits >> 12) as u16,
                    max: (bits & 0xfff) as u16,
                });
            }
            ExtensionKind::DependencyDescriptor => self.dependency_descriptor = Some(value),
            ExtensionKind::VideoLayersAllocation => self.video_layers_allocation = Some(value),
            ExtensionKind::AbsCaptureTime => {
                self.abs_capture_time =
                    value.split_first_chunk().map(|(ntp, rest)| AbsCaptureTime {
                        ntp_timestamp: u64::from_be_bytes(*ntp),
                        clock_offset: rest.first_chunk().map(|b| i64::from_be_bytes(*b)),
                    });
            }
            ExtensionKind::TransmissionOffset => {
                self.transmission_offset = u24(value).map(|bits| ((bits << 8) as i32) >> 8);
            }
        }
    }
}

/// abs-send-time of a moment: the low 24 bits of 6.18 fixed-point seconds.
pub fn abs_send_time(now_ns: u64) -> u32 {
    // Seconds wrap at 64, so nothing is lost by taking them off before shifting.
    let wrapped_ns = now_ns % 64_000_000_000;
    (((wrapped_ns << 18) / 1_000_000_000) & 0xff_ffff) as u32
}

/// A mid or rid: printable ASCII, not empty, no longer than RFC 8285's one-byte form carries.
fn identifier(value: &[u8]) -> Option<&str> {
    if value.is_empty() || value.len() > 16 || !value.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

fn u24(value: &[u8]) -> Option<u32> {
    let [a, b, c] = *value.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
mod tests {
    use super::super::extension_block::{BlockWriter, elements};
    use super::*;

    fn read(kind: ExtensionKind, value: &[u8]) -> HeaderExtensions<'static> {
        let mut block = [0; 512];
        let mut writer = BlockWriter::new(&mut block, true).unwrap();
        writer.push(3, value).unwrap();
        let len = writer.finish().unwrap();
        let block = Vec::leak(block[..len].to_vec());
        HeaderExtensions::from_elements(elements(block), &ExtensionMap::new(&[(3, kind)]))
    }

    #[test]
    fn every_kind_is_found_by_its_uri() {
        for (at, kind) in ExtensionKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
        }
        assert_eq!(ExtensionKind::from_uri("urn:x"), None);
    }

    #[test]
    fn a_map_is_one_to_one() {
        use ExtensionKind::{AbsSendTime, Mid, Rid};
        let map = ExtensionMap::new(&[(1, Mid), (0, Rid), (2, Mid), (3, Rid), (3, AbsSendTime)]);
        assert_eq!((map.kind(1), map.kind(2)), (None, Some(Mid)));
        assert_eq!((map.id(Mid), map.id(Rid)), (Some(2), None));
        assert_eq!(
            (map.kind(3), map.id(AbsSendTime)),
            (Some(AbsSendTime), Some(3))
        );
        assert_eq!(map.kind(0), None);
    }

    #[test]
    fn identifiers_must_be_printable_and_short() {
        assert_eq!(read(ExtensionKind::Mid, b"0").mid, Some("0"));
        assert_eq!(read(ExtensionKind::Rid, b"hi").rid, Some("hi"));
        assert_eq!(read(ExtensionKind::RepairedRid, b"").repaired_rid, None);
        assert_eq!(read(ExtensionKind::Mid, b"a b").mid, None);
        assert_eq!(read(ExtensionKind::Mid, &[0xff]).mid, None);
        assert_eq!(read(ExtensionKind::Mid, &[b'x'; 17]).mid, None);
    }

    #[test]
    fn fixed_values_are_decoded() {
        let level = read(ExtensionKind::AudioLevel, &[0x85]).audio_level;
        assert_eq!(
            level,
            Some(AudioLevel {
                voice: true,
                level: 5
            })
        );
        let turned = read(ExtensionKind::VideoOrientation, &[0x0e]).video_orientation;
        assert_eq!(
            turned,
            Some(VideoOrientation {
                back_camera: true,
                flip: true,
                rotation: 2
            })
        );
        let delay = read(ExtensionKind::PlayoutDelay, &[0x00, 0x1f, 0xff]).playout_delay;
        assert_eq!(delay, Some(PlayoutDelay { min: 1, max: 0xfff }));
        let sent = read(ExtensionKind::AbsSendTime, &[1, 2, 3]).abs_send_time;
        assert_eq!(sent, Some(0x01_0203));
        assert_eq!(
            read(ExtensionKind::TransportCc, &[1, 2]).transport_cc,
            Some(258)
        );
        let offset = read(ExtensionKind::TransmissionOffset, &[0xff, 0xff, 0xff]);
        assert_eq!(offset.transmission_offset, Some(-1));
        let mut capture = vec![0, 0, 0, 1, 0, 0, 0, 0];
        let short = read(ExtensionKind::AbsCaptureTime, &capture).abs_capture_time;
        assert_eq!(
            short,
            Some(AbsCaptureTime {
                ntp_timestamp: 1 << 32,
                clock_offset: None
            })
        );
        capture.extend([0xff; 8]);
        let long = read(ExtensionKind::AbsCaptureTime, &capture).abs_capture_time;
        assert_eq!(long.unwrap().clock_offset, Some(-1));
    }

    #[test]
    fn truncated_values_are_none() {
        let fixed = [
            (ExtensionKind::AbsSendTime, 2),
            (ExtensionKind::TransportCc, 1),
            (ExtensionKind::AudioLevel, 0),
            (ExtensionKind::VideoOrientation, 0),
            (ExtensionKind::PlayoutDelay, 2),
            (ExtensionKind::AbsCaptureTime, 7),
            (ExtensionKind::TransmissionOffset, 2),
        ];
        for (kind, len) in fixed {
            assert_eq!(
                read(kind, &vec![0; len]),
                HeaderExtensions::default(),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn abs_send_time_is_18_bits_a_second_and_wraps_at_64_s() {
        assert_eq!(abs_send_time(1_000_000_000), 1 << 18);
        assert_eq!(abs_send_time(64_500_000_000), 1 << 17);
        assert_eq!(abs_send_time(63_999_999_999), 0xff_ffff);
    }
}
