//! VP8 picture numbers that run on when a viewer is switched to another encoding.
//!
//! Each simulcast encoding counts its pictures (picture id) and those of the
//! temporal base layer (TL0PICIDX) by itself (RFC 7741, 4.2). Receivers order
//! frames by both, so a jump back at a switch would make them drop what follows.

use crate::codec::vp8::Descriptor;

/// What is added to the picture numbers of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureOffsets {
    picture_id: u16,
    tl0_pic_idx: u8,
}

impl PictureOffsets {
    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// Rewrites a payload whose descriptor this is.
    pub fn apply(&self, descriptor: &Descriptor, payload: &mut [u8]) {
        if let Some(id) = descriptor.picture_id {
            id.write(payload, id.value.wrapping_add(self.picture_id));
        }
        if let Some(index) = descriptor.tl0_pic_idx {
            payload[index.offset] = index.value.wrapping_add(self.tl0_pic_idx);
        }
    }
}

/// The newest picture numbers that a viewer was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureNumbers {
    picture_id: Option<u16>,
    tl0_pic_idx: Option<u8>,
}

/// Picture ids have 15 bits; short ones are compared in the same ring.
const ID_MASK: u16 = 0x7fff;

impl PictureNumbers {
    /// The offsets of a segment whose first packet has this descriptor: its picture is the next one.
    pub fn continue_with(&self, descriptor: &Descriptor) -> PictureOffsets {
        let mut offsets = PictureOffsets::default();
        if let (Some(newest), Some(id)) = (self.picture_id, descriptor.picture_id) {
            offsets.picture_id = newest.wrapping_add(1).wrapping_sub(id.value) & ID_MASK;
        }
        if let (Some(newest), Some(index)) = (self.tl0_pic_idx, descriptor.tl0_pic_idx) {
            offsets.tl0_pic_idx = newest.wrapping_add(1).wrapping_sub(index.value);
        }
        offsets
    }

    /// A packet goes out.
    pub fn record(&mut self, descriptor: &Descriptor, offsets: PictureOffsets) {
        if let Some(id) = descriptor.picture_id {
            let sent = id.value.wrapping_add(offsets.picture_id) & ID_MASK;
            let ahead = |newest: u16| sent.wrapping_sub(newest) & ID_MASK;
            if self.picture_id.is_none_or(|newest| ahead(newest) < 0x4000) {
                self.picture_id = Some(sent);
            }
        }
        if let Some(index) = descriptor.tl0_pic_idx {
            let sent = index.value.wrapping_add(offsets.tl0_pic_idx);
            if self
                .tl0_pic_idx
                .is_none_or(|newest| sent.wrapping_sub(newest) < 0x80)
            {
                self.tl0_pic_idx = Some(sent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor with a 15-bit picture id and TL0PICIDX, before an inter frame's byte.
    fn payload(picture_id: u16, tl0_pic_idx: u8) -> Vec<u8> {
        let id = (picture_id | 0x8000).to_be_bytes();
        vec![0x90, 0xc0, id[0], id[1], tl0_pic_idx, 0x01]
    }

    fn numbers(payload: &[u8]) -> (u16, u8) {
        let descriptor = Descriptor::parse(payload).expect("valid");
        let id = descriptor.picture_id.expect("there").value;
        (id, descriptor.tl0_pic_idx.expect("there").value)
    }

    #[test]
    fn other_encoding_continues_where_the_last_one_stopped() {
        let mut sent = PictureNumbers::default();
        for (id, tl0) in [(0x7ffe, 254), (0x7fff, 255), (0x7ffd, 253)] {
            let descriptor = Descriptor::parse(&payload(id, tl0)).expect("valid");
            sent.record(&descriptor, PictureOffsets::default());
        }
        let mut first = payload(500, 7);
        let descriptor = Descriptor::parse(&first).expect("valid");
        let offsets = sent.continue_with(&descriptor);
        assert!(!offsets.is_identity());
        offsets.apply(&descriptor, &mut first);
        assert_eq!(numbers(&first), (0, 0));
        sent.record(&descriptor, offsets);
        let mut next = payload(501, 8);
        let descriptor = Descriptor::parse(&next).expect("valid");
        offsets.apply(&descriptor, &mut next);
        assert_eq!(numbers(&next), (1, 1));
    }

    #[test]
    fn first_segment_is_left_as_it_is() {
        let descriptor = Descriptor::parse(&payload(9, 9)).expect("valid");
        assert!(
            PictureNumbers::default()
                .continue_with(&descriptor)
                .is_identity()
        );
    }
}
