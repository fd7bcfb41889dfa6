//! Picture and frame numbers that run on when a viewer is switched to another encoding.
//!
//! Each simulcast encoding counts its pictures (picture id) and those of the
//! temporal base layer (TL0PICIDX) by itself (RFC 7741, 4.2), and the frames and
//! templates of its dependency descriptors. Receivers order frames by them, so a
//! jump back at a switch would make them drop what follows.

use crate::codec::dependency_descriptor::{DependencyDescriptor, TEMPLATES_MAX};
use crate::codec::dependency_rewrite::DescriptorEdit;
use crate::codec::{Field, PictureId, vp8, vp9};
use crate::sequence::SequenceMap;

/// The picture numbers of a packet, with their places in its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureFields {
    /// Picture id.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX.
    pub tl0_pic_idx: Option<Field<u8>>,
    /// Pictures are counted so that one that is left out shows as a loss (VP8). VP9's receivers
    /// know by the layers which pictures to expect, and references count in picture ids.
    pub counts_gaps: bool,
    /// Of the dependency descriptor.
    pub frame: Option<FrameFields>,
}

/// What a dependency descriptor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFields {
    /// Number of the frame.
    pub number: u16,
    /// With a structure: its first template id, and how many there are.
    pub templates: Option<(u8, u8)>,
}

impl FrameFields {
    /// Of a descriptor's value; `None` if it is truncated.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let descriptor = DependencyDescriptor::parse(value)?;
        let structure = descriptor.structure.as_deref();
        Some(Self {
            number: descriptor.frame_number,
            templates: structure.map(|one| (one.template_id_offset, one.templates.len() as u8)),
        })
    }
}

impl From<&vp8::Descriptor> for PictureFields {
    fn from(descriptor: &vp8::Descriptor) -> Self {
        Self {
            picture_id: descriptor.picture_id,
            tl0_pic_idx: descriptor.tl0_pic_idx,
            counts_gaps: true,
            frame: None,
        }
    }
}

impl From<&vp9::Descriptor> for PictureFields {
    fn from(descriptor: &vp9::Descriptor) -> Self {
        Self {
            picture_id: descriptor.picture_id,
            tl0_pic_idx: descriptor.tl0_pic_idx,
            counts_gaps: false,
            frame: None,
        }
    }
}

/// Closes the gaps that left-out pictures of higher temporal layers would leave in picture ids.
///
/// Begins with the first picture that is left out; what was sent before it keeps its id.
#[derive(Clone, Debug)]
pub struct PictureGaps {
    map: SequenceMap,
    newest: u64,
}

impl PictureGaps {
    /// Begins with a picture that is left out.
    pub fn new(picture_id: u16) -> Self {
        let number = 1 << 15 | u64::from(picture_id & ID_MASK);
        let mut map = SequenceMap::new(number, number);
        map.drop(number);
        Self {
            map,
            newest: number,
        }
    }

    /// Leaves a picture out; again for each of its packets does no harm.
    pub fn leave_out(&mut self, picture_id: u16) {
        let number = self.extend(picture_id);
        self.map.drop(number);
        self.newest = self.newest.max(number);
    }

    /// How far the id of a picture that is sent moves down.
    pub fn pass(&mut self, picture_id: u16) -> u16 {
        let number = self.extend(picture_id);
        self.map.forward(number);
        self.newest = self.newest.max(number);
        self.behind(picture_id)
    }

    /// How far the id of a picture that was sent moved down.
    pub fn behind(&self, picture_id: u16) -> u16 {
        let number = self.extend(picture_id);
        let known = self.map.known(number);
        known.map_or(0, |outgoing| (number - outgoing) as u16 & ID_MASK)
    }

    fn extend(&self, picture_id: u16) -> u64 {
        let ahead = picture_id.wrapping_sub(self.newest as u16) & ID_MASK;
        let distance = if ahead < 0x4000 {
            i64::from(ahead)
        } else {
            i64::from(ahead) - 0x8000
        };
        self.newest.saturating_add_signed(distance)
    }
}

/// What is added to the picture numbers of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureOffsets {
    picture_id: u16,
    tl0_pic_idx: u8,
    frame_number: u16,
    template_id: u8,
}

impl PictureOffsets {
    /// The same with the picture id moved down.
    pub fn down(mut self, by: u16) -> Self {
        self.picture_id = self.picture_id.wrapping_sub(by) & ID_MASK;
        self
    }

    /// Whether nothing of a payload changes.
    pub fn is_identity(&self) -> bool {
        (self.picture_id, self.tl0_pic_idx) == (0, 0)
    }

    /// What changes in dependency descriptors.
    pub fn descriptor_edit(&self) -> DescriptorEdit {
        DescriptorEdit {
            frame_number: self.frame_number,
            template_id: self.template_id,
            active: None,
        }
    }

    /// Rewrites a payload whose descriptor this is.
    pub fn apply(&self, descriptor: &PictureFields, payload: &mut [u8]) {
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
    frame_number: Option<u16>,
    /// Behind the ids of the newest structure.
    template_id: Option<u8>,
}

/// Picture ids have 15 bits; short ones are compared in the same ring.
const ID_MASK: u16 = 0x7fff;

impl PictureNumbers {
    /// The offsets of a segment whose first packet has this descriptor: its picture is the next one.
    pub fn continue_with(&self, descriptor: &PictureFields) -> PictureOffsets {
        let mut offsets = PictureOffsets::default();
        if let (Some(newest), Some(id)) = (self.picture_id, descriptor.picture_id) {
            offsets.picture_id = newest.wrapping_add(1).wrapping_sub(id.value) & ID_MASK;
        }
        if let (Some(newest), Some(index)) = (self.tl0_pic_idx, descriptor.tl0_pic_idx) {
            offsets.tl0_pic_idx = newest.wrapping_add(1).wrapping_sub(index.value);
        }
        if let (Some(newest), Some(frame)) = (self.frame_number, descriptor.frame) {
            offsets.frame_number = newest.wrapping_add(1).wrapping_sub(frame.number);
        }
        let templates = descriptor.frame.and_then(|frame| frame.templates);
        if let (Some(next), Some((first, _))) = (self.template_id, templates) {
            offsets.template_id = next.wrapping_sub(first) % TEMPLATES_MAX as u8;
        }
        offsets
    }

    /// A packet goes out.
    pub fn record(&mut self, descriptor: &PictureFields, offsets: PictureOffsets) {
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
        if let Some(frame) = descriptor.frame {
            let sent = frame.number.wrapping_add(offsets.frame_number);
            let is_newer = |newest: u16| sent.wrapping_sub(newest) < 0x8000;
            if self.frame_number.is_none_or(is_newer) {
                self.frame_number = Some(sent);
            }
            if let Some((first, count)) = frame.templates {
                let next = first.wrapping_add(count).wrapping_add(offsets.template_id);
                self.template_id = Some(next % TEMPLATES_MAX as u8);
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

    fn parse(payload: &[u8]) -> PictureFields {
        PictureFields::from(&vp8::Descriptor::parse(payload).expect("valid"))
    }

    fn numbers(payload: &[u8]) -> (u16, u8) {
        let descriptor = parse(payload);
        let id = descriptor.picture_id.expect("there").value;
        (id, descriptor.tl0_pic_idx.expect("there").value)
    }

    #[test]
    fn other_encoding_continues_where_the_last_one_stopped() {
        let mut sent = PictureNumbers::default();
        for (id, tl0) in [(0x7ffe, 254), (0x7fff, 255), (0x7ffd, 253)] {
            let descriptor = parse(&payload(id, tl0));
            sent.record(&descriptor, PictureOffsets::default());
        }
        let mut first = payload(500, 7);
        let descriptor = parse(&first);
        let offsets = sent.continue_with(&descriptor);
        assert!(!offsets.is_identity());
        offsets.apply(&descriptor, &mut first);
        assert_eq!(numbers(&first), (0, 0));
        sent.record(&descriptor, offsets);
        let mut next = payload(501, 8);
        let descriptor = parse(&next);
        offsets.apply(&descriptor, &mut next);
        assert_eq!(numbers(&next), (1, 1));
    }

    #[test]
    fn first_segment_is_left_as_it_is() {
        let descriptor = parse(&payload(9, 9));
        assert!(
            PictureNumbers::default()
                .continue_with(&descriptor)
                .is_identity()
        );
    }

    #[test]
    fn left_out_pictures_leave_no_gap_and_what_was_sent_keeps_its_id() {
        let mut gaps = PictureGaps::new(0x7ffe);
        assert_eq!(gaps.pass(0x7ffd), 0);
        assert_eq!(gaps.pass(0x7fff), 1);
        gaps.leave_out(0);
        gaps.leave_out(0);
        // 1 is lost: its gap stays.
        assert_eq!(gaps.pass(2), 2);
        assert_eq!(
            (gaps.behind(0x7fff), gaps.behind(2), gaps.pass(1)),
            (1, 2, 2)
        );
        assert_eq!(PictureOffsets::default().down(1).picture_id, 0x7fff);
    }
}
