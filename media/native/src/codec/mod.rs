//! What the router must know of payloads: where frames and keyframes start, and which layer a
//! packet belongs to. Payloads are never decoded.

pub mod av1;
pub mod dependency_descriptor;
pub mod dependency_rewrite;
pub mod h264;
pub mod red;
pub mod vp8;
pub mod vp9;

use dependency_descriptor::{DecodeTargetIndication, DependencyDescriptor, TemplateStructure};
use dependency_rewrite::ActiveTargets;

/// A codec that the router carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Audio with redundancy (RFC 2198).
    Red,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// AV1 (RTP Payload Format For AV1).
    Av1,
}

impl Codec {
    /// The codec of a MIME type such as `video/VP8`, whose letter case does not matter.
    pub fn from_mime_type(mime_type: &str) -> Option<Self> {
        let known = [
            ("audio/opus", Codec::Opus),
            ("audio/red", Codec::Red),
            ("video/VP8", Codec::Vp8),
            ("video/VP9", Codec::Vp9),
            ("video/H264", Codec::H264),
            ("video/AV1", Codec::Av1),
        ];
        known
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(mime_type))
            .map(|(_, codec)| codec)
    }

    /// Whether a decoder can start at keyframes only.
    pub fn needs_keyframe(self) -> bool {
        !matches!(self, Codec::Opus | Codec::Red)
    }
}

/// What one payload tells of its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadInfo {
    /// The packet starts a keyframe: a decoder can start with it. Never for opus.
    pub keyframe: bool,
    /// The packet starts a frame, or (H264) something that stands before a frame's first slice, or
    /// (VP9) a frame of one spatial layer. Always for opus. For AV1 it takes a dependency
    /// descriptor to tell, except at keyframes.
    pub start_of_frame: bool,
    /// The packet ends a frame (of one spatial layer). Only VP9 and AV1 tell.
    pub end_of_frame: bool,
    /// Spatial layer inside of the stream; 0 where it has none.
    pub spatial_layer: u8,
    /// Temporal layer; 0 where the stream has none, or does not tell (H264 without a dependency
    /// descriptor).
    pub temporal_layer: u8,
    /// A viewer of lower temporal layers may go on with this frame's.
    pub switching_point: bool,
    /// From this frame on, a viewer to whom it is sent may go on with all temporal layers up to this
    /// one; 255: with all that there are. Only dependency descriptors tell.
    pub switches_up_to: u8,
    /// The frame needs no earlier frame of its own spatial layer.
    pub is_layer_start: bool,
    /// Whether the stream has layers at all.
    pub is_layered: bool,
}

impl PayloadInfo {
    /// A packet of a stream without layers.
    pub const fn unlayered(keyframe: bool, start_of_frame: bool) -> Self {
        Self {
            keyframe,
            start_of_frame,
            end_of_frame: false,
            spatial_layer: 0,
            temporal_layer: 0,
            switching_point: false,
            switches_up_to: 0,
            is_layer_start: false,
            is_layered: false,
        }
    }
}

/// Inspects the payloads of one stream, and remembers what later packets refer to.
///
/// AV1 tells the layers of its frames by a template; the templates come with keyframes. So does H264,
/// which has no other way, where its publisher sends dependency descriptors.
#[derive(Clone, Debug, Default)]
pub struct LayerReader {
    structure: Option<Box<TemplateStructure>>,
    /// Decode targets that the publisher sends.
    active: u32,
}

impl LayerReader {
    /// As [`inspect`], with the layers that dependency descriptors tell.
    pub fn inspect(
        &mut self,
        codec: Codec,
        payload: &[u8],
        dependency_descriptor: Option<&[u8]>,
    ) -> PayloadInfo {
        let info = inspect(codec, payload, dependency_descriptor);
        let Some(value) = dependency_descriptor.filter(|_| codec.needs_keyframe()) else {
            return info;
        };
        let descriptor = DependencyDescriptor::parse_after(value, self.structure.as_deref());
        let Some(mut descriptor) = descriptor else {
            return info;
        };
        if let Some(active) = descriptor.active_decode_targets {
            self.active = active;
        }
        if descriptor.structure.is_some() {
            self.structure = descriptor.structure.take();
        }
        match codec {
            Codec::Av1 => self.describe(info, &descriptor),
            Codec::H264 => self.describe_flat(info, &descriptor),
            // They tell it themselves.
            _ => info,
        }
    }

    /// The decode targets that are whole for a viewer who is sent the layers up to these, for the
    /// frame with this descriptor; `one` as [`TemplateStructure::targets_up_to`] has it. The flag:
    /// the publisher sends more. `None` if the frame's structure is not known.
    pub fn targets_for(
        &self,
        value: &[u8],
        (spatial, temporal): (u8, u8),
        one: bool,
    ) -> Option<(ActiveTargets, bool)> {
        let descriptor = DependencyDescriptor::parse_after(value, self.structure.as_deref())?;
        let own = descriptor.structure.as_deref();
        let structure = own.or(self.structure.as_deref())?;
        structure.template(descriptor.template_id)?;
        let count = structure.decode_target_count;
        let all = u32::MAX >> (32 - u32::from(count));
        let sent = descriptor.active_decode_targets.unwrap_or(self.active) & all;
        let mask = structure.targets_up_to(spatial, temporal, one) & sent;
        Some((ActiveTargets { mask, count }, mask != sent))
    }

    /// Temporal layers of a stream that has one spatial layer, whatever its descriptors say.
    fn describe_flat(&self, info: PayloadInfo, descriptor: &DependencyDescriptor) -> PayloadInfo {
        let described = self.describe(info, descriptor);
        PayloadInfo {
            start_of_frame: descriptor.start_of_frame || info.keyframe,
            end_of_frame: descriptor.end_of_frame,
            spatial_layer: 0,
            ..described
        }
    }

    fn describe(&self, info: PayloadInfo, descriptor: &DependencyDescriptor) -> PayloadInfo {
        let structure = self.structure.as_deref();
        let Some((structure, template)) =
            structure.and_then(|one| Some((one, one.template(descriptor.template_id)?)))
        else {
            return info;
        };
        let top = structure.templates.iter().map(|one| one.temporal_layer);
        let top = top.max().unwrap_or(0);
        let targets = (0..).zip(&structure.target_layers);
        let switched = targets.filter_map(|(target, layers)| {
            let (spatial, temporal) = (*layers)?;
            let switches = template.indication(target) == DecodeTargetIndication::Switch;
            (switches && spatial == template.spatial_layer).then_some(temporal)
        });
        let switches_up_to = match switched.max() {
            Some(temporal) if temporal == top => u8::MAX,
            temporal => temporal.unwrap_or(0),
        };
        PayloadInfo {
            spatial_layer: template.spatial_layer,
            temporal_layer: template.temporal_layer,
            switching_point: info.keyframe,
            switches_up_to,
            is_layered: structure
                .templates
                .iter()
                .any(|one| (one.spatial_layer, one.temporal_layer) != (0, 0)),
            ..info
        }
    }
}

/// Inspects a payload; the dependency descriptor is that of the packet's header extension. Empty
/// and malformed payloads start nothing.
pub fn inspect(codec: Codec, payload: &[u8], dependency_descriptor: Option<&[u8]>) -> PayloadInfo {
    match codec {
        Codec::Opus | Codec::Red => PayloadInfo::unlayered(false, !payload.is_empty()),
        Codec::Vp8 => vp8::inspect(payload),
        Codec::Vp9 => vp9::inspect(payload),
        Codec::H264 => h264::inspect(payload),
        Codec::Av1 => av1::inspect(payload, dependency_descriptor),
    }
}

/// A field of a payload descriptor with its place in the payload, so that it can be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Its value.
    pub value: T,
    /// Where it starts.
    pub offset: usize,
}

/// A picture id of 7 or 15 bits, as VP8 and VP9 have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// Its value.
    pub value: u16,
    /// Where it starts.
    pub offset: usize,
    /// Whether it has 15 bits in two bytes, or 7 in one.
    pub is_long: bool,
}

impl PictureId {
    /// Reads the picture id that starts at `offset`.
    fn read(payload: &[u8], offset: usize) -> Option<Self> {
        let first = *payload.get(offset)?;
        let is_long = first & 0x80 != 0;
        let value = if is_long {
            u16::from(first & 0x7f) << 8 | u16::from(*payload.get(offset + 1)?)
        } else {
            u16::from(first)
        };
        Some(Self {
            value,
            offset,
            is_long,
        })
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        if self.is_long { 2 } else { 1 }
    }

    /// Writes another value in its place, of which the low 7 or 15 bits count. The payload must
    /// have the layout of the one that it was read from.
    pub fn write(&self, payload: &mut [u8], value: u16) {
        if self.is_long {
            payload[self.offset..self.offset + 2].copy_from_slice(&(value | 0x8000).to_be_bytes());
        } else {
            payload[self.offset] = value as u8 & 0x7f;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Codec; 6] = [
        Codec::Opus,
        Codec::Red,
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::Av1,
    ];

    #[test]
    fn codecs_are_found_by_mime_type_in_any_case() {
        assert_eq!(Codec::from_mime_type("VIDEO/h264"), Some(Codec::H264));
        assert_eq!(Codec::from_mime_type("audio/opus"), Some(Codec::Opus));
        assert_eq!(Codec::from_mime_type("video/rtx"), None);
    }

    #[test]
    fn an_empty_payload_starts_nothing() {
        for codec in ALL {
            assert_eq!(inspect(codec, &[], None), PayloadInfo::default());
        }
    }

    #[test]
    fn opus_has_no_keyframes() {
        let info = inspect(Codec::Opus, &[0xfc, 0xff], None);
        assert!(info.start_of_frame && !info.keyframe);
        assert!(!Codec::Opus.needs_keyframe() && Codec::Vp8.needs_keyframe());
    }

    proptest! {
        #[test]
        fn any_payload_is_inspected_without_panic_and_keyframes_start_frames(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            descriptor in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
        ) {
            for codec in ALL {
                let info = inspect(codec, &payload, descriptor.as_deref());
                prop_assert!(info.start_of_frame || !info.keyframe);
            }
        }
    }
}
