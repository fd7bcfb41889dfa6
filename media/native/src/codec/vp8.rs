//! The VP8 payload descriptor (RFC 7741, 4.2).

use super::{Field, PayloadInfo, PictureId};

/// A VP8 payload descriptor, with the places of what a router rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The frame is not used as a reference (N).
    pub is_discardable: bool,
    /// The packet starts a partition (S).
    pub starts_partition: bool,
    /// Partition index (PID).
    pub partition: u8,
    /// Picture id.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX: counts frames of the temporal base layer.
    pub tl0_pic_idx: Option<Field<u8>>,
    /// TID: temporal layer, 0–3.
    pub temporal_layer: Option<u8>,
    /// Y: the frame depends on the base layer only, so that one can switch up to its layer here.
    pub layer_sync: bool,
    /// KEYIDX, 5 bits, in the byte that also bears TID and Y.
    pub key_idx: Option<Field<u8>>,
    /// Length of the descriptor; the VP8 payload follows.
    pub len: usize,
    /// The packet starts a keyframe.
    pub keyframe: bool,
}

impl Descriptor {
    /// Parses the start of a payload. `None` if it is truncated, also if no payload follows the
    /// descriptor.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self {
            is_discardable: first & 0x20 != 0,
            starts_partition: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id: None,
            tl0_pic_idx: None,
            temporal_layer: None,
            layer_sync: false,
            key_idx: None,
            len: 1,
            keyframe: false,
        };
        if first & 0x80 != 0 {
            descriptor.read_extension(payload)?;
        }
        let header = payload.get(descriptor.len)?;
        // The inverse keyframe bit P of the payload header (RFC 7741, 4.3).
        descriptor.keyframe = descriptor.starts_frame() && header & 0x01 == 0;
        Some(descriptor)
    }

    fn read_extension(&mut self, payload: &[u8]) -> Option<()> {
        let present = *payload.get(1)?;
        let mut at = 2;
        if present & 0x80 != 0 {
            let picture_id = PictureId::read(payload, at)?;
            at += picture_id.len_bytes();
            self.picture_id = Some(picture_id);
        }
        if present & 0x40 != 0 {
            let value = *payload.get(at)?;
            self.tl0_pic_idx = Some(Field { value, offset: at });
            at += 1;
        }
        if present & 0x30 != 0 {
            let byte = *payload.get(at)?;
            if present & 0x20 != 0 {
                self.temporal_layer = Some(byte >> 6);
                self.layer_sync = byte & 0x20 != 0;
            }
            if present & 0x10 != 0 {
                let value = byte & 0x1f;
                self.key_idx = Some(Field { value, offset: at });
            }
            at += 1;
        }
        self.len = at;
        Some(())
    }

    /// Whether the packet starts a frame: it starts the first partition.
    pub fn starts_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

pub(super) fn inspect(payload: &[u8]) -> PayloadInfo {
    Descriptor::parse(payload).map_or_else(PayloadInfo::default, |descriptor| PayloadInfo {
        keyframe: descriptor.keyframe,
        start_of_frame: descriptor.starts_frame(),
        temporal_layer: descriptor.temporal_layer.unwrap_or(0),
        switching_point: descriptor.layer_sync || descriptor.keyframe,
        is_layer_start: descriptor.keyframe,
        is_layered: descriptor.temporal_layer.is_some(),
        ..PayloadInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keyframes_start_the_first_partition_with_p_zero() {
        assert!(inspect(&[0x10, 0x00]).keyframe);
        assert!(!inspect(&[0x10, 0x01]).keyframe);
        assert!(inspect(&[0x10, 0x01]).start_of_frame);
        // A continuation, and another partition, whatever their payload.
        assert_eq!(inspect(&[0x00, 0x00]), PayloadInfo::default());
        assert_eq!(inspect(&[0x11, 0x00]), PayloadInfo::default());
    }

    #[test]
    fn all_fields_are_read_with_their_places() {
        let payload = [0xb0, 0xf0, 0x92, 0x34, 0x56, 0xa7, 0x00];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor,
            Descriptor {
                is_discardable: true,
                starts_partition: true,
                partition: 0,
                picture_id: Some(PictureId {
                    value: 0x1234,
                    offset: 2,
                    is_long: true
                }),
                tl0_pic_idx: Some(Field {
                    value: 0x56,
                    offset: 4
                }),
                temporal_layer: Some(2),
                layer_sync: true,
                key_idx: Some(Field {
                    value: 7,
                    offset: 5
                }),
                len: 6,
                keyframe: true,
            }
        );
    }

    #[test]
    fn every_truncation_is_none() {
        let payload = [0xb0, 0xf0, 0x92, 0x34, 0x56, 0xa7, 0x00];
        for len in 0..payload.len() {
            assert_eq!(Descriptor::parse(&payload[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_short_picture_id_stays_short() {
        let mut payload = [0x90, 0x80, 0x7f, 0x00];
        let picture_id = Descriptor::parse(&payload).unwrap().picture_id.unwrap();
        assert_eq!((picture_id.value, picture_id.len_bytes()), (0x7f, 1));
        picture_id.write(&mut payload, 0x181);
        assert_eq!(payload, [0x90, 0x80, 0x01, 0x00]);
    }

    proptest! {
        #[test]
        fn a_rewritten_picture_id_changes_nothing_else(
            flags: u8, present: u8, rest: [u8; 6], value: u16,
        ) {
            let mut payload = vec![flags | 0x80, present | 0x80];
            payload.extend(rest);
            let before = Descriptor::parse(&payload).unwrap();
            let picture_id = before.picture_id.unwrap();
            picture_id.write(&mut payload, value);
            let mut after = Descriptor::parse(&payload).unwrap();
            let mask = if picture_id.is_long { 0x7fff } else { 0x7f };
            prop_assert_eq!(after.picture_id.unwrap().value, value & mask);
            after.picture_id = before.picture_id;
            prop_assert_eq!(after, before);
        }
    }
}
