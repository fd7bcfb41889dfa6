//! Vectors worked out by hand from the syntax tables, and descriptors of any shape.

use proptest::prelude::*;

use super::super::dependency_descriptor::tests::{L2T2, write};
use super::*;

fn edit(frame_number: u16, template_id: u8, active: Option<(u32, u8)>) -> DescriptorEdit {
    DescriptorEdit {
        frame_number,
        template_id,
        active: active.map(|(mask, count)| ActiveTargets { mask, count }),
    }
}

fn apply(edit: &DescriptorEdit, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = [0xee; VALUE_LEN_MAX];
    let len = edit.apply(value, &mut out)?;
    Some(out[..len].to_vec())
}

#[test]
fn numbers_wrap_and_the_rest_stays() {
    let moved = apply(&edit(2, 60, None), &[0xc5, 0xff, 0xff]).unwrap();
    assert_eq!(moved, [0xc0 | 1, 0x00, 0x01]);
    let nothing = DescriptorEdit::default();
    assert!(nothing.is_identity());
    assert_eq!(
        apply(&nothing, &[0x85, 1, 2, 0x38, 0xff]).unwrap(),
        [0x85, 1, 2, 0x38, 0xff]
    );
}

#[test]
fn a_short_descriptor_grows_by_flags_and_mask() {
    // 0 1 000, then the mask 0011, then zeros.
    let told = apply(&edit(0, 0, Some((0b0011, 4))), &[0x85, 0x12, 0x34]).unwrap();
    assert_eq!(told, [0x85, 0x12, 0x34, 0b0100_0001, 0b1000_0000]);
}

#[test]
fn a_mask_goes_between_flags_and_what_follows_them() {
    // Custom frame differences: 0 0 010, then 01 0011 (a difference of 4), 00 (no more), padding.
    let value = [0x85, 0x12, 0x34, 0b0001_0010, 0b0110_0000];
    let told = apply(&edit(0, 0, Some((0b101, 3))), &value).unwrap();
    // 0 1 010, then 101, then 01 0011 00.
    let expected = [0x85, 0x12, 0x34, 0b0101_0101, 0b0100_1100, 0];
    assert_eq!(told, expected);
}

#[test]
fn a_mask_that_is_there_is_replaced() {
    // 0 1 000 with 1111, then 0 0 0 0 1111.
    let value = [0x85, 0x12, 0x34, 0b0100_0111, 0b1000_0000];
    let told = apply(&edit(0, 0, Some((0b0001, 4))), &value).unwrap();
    assert_eq!(told, [0x85, 0x12, 0x34, 0b0100_0000, 0b1000_0000]);
}

#[test]
fn a_structure_keeps_all_but_its_first_template_id() {
    for active in [None, Some(0b1111)] {
        let value = write(&L2T2, 4, 2, active);
        let told = apply(&edit(0x10, 7, Some((0b0101, 4))), &value).unwrap();
        let (before, after) = (
            DependencyDescriptor::parse(&value).unwrap(),
            DependencyDescriptor::parse(&told).unwrap(),
        );
        assert_eq!(after.frame_number, before.frame_number + 0x10);
        assert_eq!(after.template_id, 5 + 7);
        assert_eq!(after.active_decode_targets, Some(0b0101));
        let (before, mut after) = (before.structure.unwrap(), after.structure.unwrap());
        assert_eq!(after.template_id_offset, (62 + 7) % 64);
        after.template_id_offset = before.template_id_offset;
        assert_eq!(after, before);
        // And nothing else: writing it back gives the same bits.
        let back = apply(
            &edit(0x10u16.wrapping_neg(), 64 - 7, Some((0b1111, 4))),
            &told,
        );
        let whole = write(&L2T2, 4, 2, Some(0b1111));
        assert_eq!(back.unwrap()[..whole.len()], whole);
    }
}

#[test]
fn what_cannot_be_read_is_not_edited() {
    assert_eq!(apply(&edit(1, 0, None), &[0x80, 0]), None);
    let value = write(&L2T2, 4, 2, None);
    assert_eq!(apply(&edit(0, 0, Some((1, 4))), &value[..10]), None);
    assert_eq!(
        apply(&edit(0, 0, Some((1, 32))), &[0x3f; VALUE_LEN_MAX]),
        None
    );
}

#[test]
fn decode_targets_are_those_of_the_layers_that_are_sent() {
    let value = write(&L2T2, 4, 0, None);
    let structure = DependencyDescriptor::parse(&value)
        .unwrap()
        .structure
        .unwrap();
    // Indications are (template + target) % 4: target 0 lacks template 0, target 1 template 3 …
    assert_eq!(
        structure.target_layers,
        [Some((1, 1)), Some((1, 1)), Some((1, 1)), Some((1, 1))]
    );
    assert_eq!(structure.targets_up_to(0, 7, false), 0);
    assert_eq!(structure.targets_up_to(255, 255, true), 0b1111);
}

proptest! {
    #[test]
    fn any_descriptor_is_edited_within_its_bounds(
        value in prop::collection::vec(any::<u8>(), 0..=VALUE_LEN_MAX),
        frame_number in any::<u16>(), template_id in 0u8..64,
        mask in any::<u32>(), count in 1u8..=32,
    ) {
        let active = Some((mask & (u32::MAX >> (32 - u32::from(count))), count));
        let edit = edit(frame_number, template_id, active);
        if let Some(told) = apply(&edit, &value) {
            prop_assert!(told.len() <= value.len() + GROWTH_MAX);
            let number = u16::from_be_bytes([value[1], value[2]]).wrapping_add(frame_number);
            prop_assert_eq!(u16::from_be_bytes([told[1], told[2]]), number);
            prop_assert_eq!(told[0] & 0xc0, value[0] & 0xc0);
        }
    }

    #[test]
    fn edits_of_structures_are_undone_by_their_inverse(
        shape in prop::collection::vec(1u8..=3, 1..=3), targets in 1u32..=12,
        frame_number in any::<u16>(), template_id in 0u8..64, mask in any::<u32>(),
    ) {
        let layers: Vec<(u8, u8)> = shape
            .iter()
            .enumerate()
            .flat_map(|(spatial, count)| (0..*count).map(move |t| (spatial as u8, t)))
            .collect();
        let all = u32::MAX >> (32 - targets);
        let value = write(&layers, targets, 0, Some(all));
        let count = targets as u8;
        let told = apply(&edit(frame_number, template_id, Some((mask & all, count))), &value);
        let told = told.unwrap();
        let read = DependencyDescriptor::parse(&told).unwrap();
        prop_assert_eq!(read.active_decode_targets, Some(mask & all));
        let inverse = edit(0u16.wrapping_sub(frame_number), 64 - template_id, Some((all, count)));
        prop_assert_eq!(apply(&inverse, &told).unwrap(), value);
    }
}
