//! The VP9 payload descriptor (RFC 9628, 4.2), up to the layer indices.

use super::{Field, PayloadInfo, PictureId};

/// The part of a VP9 payload descriptor that a router needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Picture id.
    pub picture_id: Option<PictureId>,
    /// P: the frame is predicted from earlier pictures.
    pub is_inter_predicted: bool,
    /// F: references are given per frame, not by the scalability structure.
    pub is_flexible: bool,
    /// B: the packet starts a frame of its layer.
    pub starts_frame: bool,
    /// E: the packet ends a frame of its layer.
    pub ends_frame: bool,
    /// V: a scalability structure follows.
    pub has_scalability_structure: bool,
    /// Z: no higher spatial layer is predicted from this frame.
    pub is_not_reference: bool,
    /// The layer indices, if the stream has layers.
    pub layers: Option<Layers>,
    /// TL0PICIDX, in the non-flexible mode of a stream with layers.
    pub tl0_pic_idx: Option<Field<u8>>,
}

/// Layer indices of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// TID: temporal layer, 0–7.
    pub temporal_layer: u8,
    /// U: one can switch up to this temporal layer here.
    pub is_switching_up_point: bool,
    /// SID: spatial layer, 0–7.
    pub spatial_layer: u8,
    /// D: the frame depends on the spatial layer below.
    pub is_inter_layer_predicted: bool,
}

impl Layers {
    /// U says that pictures of higher temporal layers which follow refer to none of theirs before. So
    /// who is sent this picture may go on with all layers. It says nothing of this picture itself: one
    /// of layer 2 may refer to one of layer 1. Only for those of layer 1 it is taken to say that they
    /// refer to layer 0, for there are encoders that do not set it in layer 0.
    fn switches_up_to(self) -> u8 {
        if self.is_switching_up_point {
            u8::MAX
        } else {
            0
        }
    }
}

impl Descriptor {
    /// Parses the start of a payload. `None` if it is truncated.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let has = |bit: u8| first & bit != 0;
        let mut at = 1;
        let picture_id = match has(0x80) {
            true => Some(PictureId::read(payload, at)?),
            false => None,
        };
        at += picture_id.map_or(0, |id| id.len_bytes());
        let is_flexible = has(0x10);
        let (mut layers, mut tl0_pic_idx) = (None, None);
        if has(0x20) {
            let byte = *payload.get(at)?;
            layers = Some(Layers {
                temporal_layer: byte >> 5,
                is_switching_up_point: byte & 0x10 != 0,
                spatial_layer: byte >> 1 & 0x07,
                is_inter_layer_predicted: byte & 0x01 != 0,
            });
            if !is_flexible {
                let value = *payload.get(at + 1)?;
                tl0_pic_idx = Some(Field {
                    value,
                    offset: at + 1,
                });
            }
        }
        Some(Self {
            picture_id,
            is_inter_predicted: has(0x40),
            is_flexible,
            starts_frame: has(0x08),
            ends_frame: has(0x04),
            has_scalability_structure: has(0x02),
            is_not_reference: has(0x01),
            layers,
            tl0_pic_idx,
        })
    }

    /// Whether the packet starts a keyframe: the lowest spatial layer of a picture that is not
    /// predicted from others.
    pub fn starts_keyframe(&self) -> bool {
        self.starts_frame
            && !self.is_inter_predicted
            && self.layers.is_none_or(|layers| layers.spatial_layer == 0)
    }
}

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    Descriptor::parse(payload).map_or_else(PayloadInfo::default, |descriptor| PayloadInfo {
        keyframe: descriptor.starts_keyframe(),
        start_of_frame: descriptor.starts_frame,
        end_of_frame: descriptor.ends_frame,
        spatial_layer: descriptor.layers.map_or(0, |one| one.spatial_layer),
        temporal_layer: descriptor.layers.map_or(0, |one| one.temporal_layer),
        switching_point: descriptor
            .layers
            .is_some_and(|one| one.is_switching_up_point && one.temporal_layer == 1),
        is_layer_start: descriptor.starts_frame && !descriptor.is_inter_predicted,
        switches_up_to: descriptor.layers.map_or(0, Layers::switches_up_to),
        is_layered: descriptor.layers.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_read_with_their_places() {
        // I, L, B, V; picture id 0x1234, TID 2, U, SID 1, D, TL0PICIDX 0x56.
        let descriptor = Descriptor::parse(&[0xaa, 0x92, 0x34, 0x53, 0x56]).unwrap();
        assert_eq!(
            descriptor,
            Descriptor {
                picture_id: Some(PictureId {
                    value: 0x1234,
                    offset: 1,
                    is_long: true
                }),
                is_inter_predicted: false,
                is_flexible: false,
                starts_frame: true,
                ends_frame: false,
                has_scalability_structure: true,
                is_not_reference: false,
                layers: Some(Layers {
                    temporal_layer: 2,
                    is_switching_up_point: true,
                    spatial_layer: 1,
                    is_inter_layer_predicted: true,
                }),
                tl0_pic_idx: Some(Field {
                    value: 0x56,
                    offset: 4
                }),
            }
        );
    }

    #[test]
    fn every_truncation_is_none() {
        let payload = [0xaa, 0x92, 0x34, 0x53, 0x56];
        for len in 0..payload.len() {
            assert_eq!(Descriptor::parse(&payload[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_keyframe_starts_with_its_lowest_spatial_layer() {
        assert!(inspect(&[0x08]).keyframe);
        assert!(inspect(&[0x28, 0x00, 0x00]).keyframe);
        // Spatial layer 1 of the same picture, an inter-predicted frame, a continuation.
        let upper = inspect(&[0x28, 0x02, 0x00]);
        assert!(upper.start_of_frame && !upper.keyframe);
        assert!(!inspect(&[0x48]).keyframe);
        assert_eq!(inspect(&[0x00]), PayloadInfo::default());
    }

    #[test]
    fn a_switching_up_point_is_for_the_layers_above_it() {
        let at = |temporal: u8, up: u8| inspect(&[0xa8, 1, temporal << 5 | up << 4, 0]);
        assert_eq!(
            (at(0, 1).switches_up_to, at(2, 1).switches_up_to),
            (255, 255)
        );
        assert_eq!((at(0, 0).switches_up_to, at(2, 0).switches_up_to), (0, 0));
        assert!(at(1, 1).switching_point);
        assert!(!at(2, 1).switching_point && !at(1, 0).switching_point);
    }

    #[test]
    fn the_flexible_mode_has_no_tl0_pic_idx() {
        let descriptor = Descriptor::parse(&[0x38, 0x00]).unwrap();
        assert_eq!(descriptor.tl0_pic_idx, None);
        assert!(descriptor.layers.is_some());
    }
}
