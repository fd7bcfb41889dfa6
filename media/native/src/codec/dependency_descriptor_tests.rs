//! Descriptors written bit by bit, as the specification's syntax tables have them.

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Writer {
    bits: Vec<bool>,
}

impl Writer {
    fn push(&mut self, value: u32, count: u32) -> &mut Self {
        for bit in (0..count).rev() {
            self.bits.push(value >> bit & 1 == 1);
        }
        self
    }

    fn non_symmetric(&mut self, value: u32, bound: u32) -> &mut Self {
        let width = 32 - bound.leading_zeros();
        let short = (1 << width) - bound;
        if value < short {
            self.push(value, width - 1)
        } else {
            self.push(value + short, width)
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bits
            .chunks(8)
            .map(|bits| {
                let byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                byte << (8 - bits.len())
            })
            .collect()
    }
}

/// The layers of an L2T2 stream.
pub(in crate::codec) const L2T2: [(u8, u8); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// A keyframe's descriptor for the given layers.
pub(in crate::codec) fn write(
    layers: &[(u8, u8)],
    targets: u32,
    chains: u32,
    active: Option<u32>,
) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.push(1, 1).push(0, 1).push(5, 6).push(0x1234, 16);
    writer
        .push(1, 1)
        .push(u32::from(active.is_some()), 1)
        .push(0, 3);
    writer.push(62, 6).push(targets - 1, 5);
    for (at, layer) in layers.iter().enumerate() {
        let idc = match layers.get(at + 1) {
            None => 3,
            Some(next) if next == layer => 0,
            Some(next) if next.0 == layer.0 => 1,
            Some(_) => 2,
        };
        writer.push(idc, 2);
    }
    for at in 0..layers.len() as u32 {
        for target in 0..targets {
            writer.push((at + target) % 4, 2);
        }
    }
    for at in 0..layers.len() as u32 {
        for difference in 0..at % 3 {
            writer.push(1, 1).push(difference, 4);
        }
        writer.push(0, 1);
    }
    writer.non_symmetric(chains, targets + 1);
    if chains > 0 {
        for target in 0..targets {
            writer.non_symmetric(target % chains, chains);
        }
        for at in 0..layers.len() as u32 * chains {
            writer.push(at % 16, 4);
        }
    }
    writer.push(1, 1);
    for layer in 0..=u32::from(layers.last().unwrap().0) {
        writer
            .push((320 << layer) - 1, 16)
            .push((180 << layer) - 1, 16);
    }
    if let Some(active) = active {
        writer.push(active, targets);
    }
    writer.bytes()
}

#[test]
fn a_short_descriptor_has_the_mandatory_fields_alone() {
    let descriptor = DependencyDescriptor::parse(&[0xc1, 0x12, 0x34]).unwrap();
    assert!(descriptor.start_of_frame && descriptor.end_of_frame);
    assert_eq!(
        (descriptor.template_id, descriptor.frame_number),
        (1, 0x1234)
    );
    assert_eq!(descriptor.structure, None);
    for len in 0..3 {
        assert_eq!(
            DependencyDescriptor::parse(&[0xc1, 0x12, 0x34][..len]),
            None
        );
    }
}

#[test]
fn custom_fields_without_a_structure_are_left_alone() {
    let descriptor = DependencyDescriptor::parse(&[0x80, 0, 1, 0x38, 0xff]).unwrap();
    assert_eq!(descriptor.structure, None);
}

#[test]
fn a_structure_tells_the_layers_of_its_templates() {
    let value = write(&L2T2, 4, 2, Some(0b0101));
    let descriptor = DependencyDescriptor::parse(&value).unwrap();
    assert!(descriptor.start_of_frame && !descriptor.end_of_frame);
    assert_eq!(
        (descriptor.template_id, descriptor.frame_number),
        (5, 0x1234)
    );
    assert_eq!(descriptor.active_decode_targets, Some(0b0101));
    let structure = descriptor.structure.unwrap();
    assert_eq!(structure.decode_target_count, 4);
    assert_eq!(structure.resolutions, [(320, 180), (640, 360)]);
    // Ids wrap at 64: the offset is 62.
    for (id, layers) in [62, 63, 0, 1].into_iter().zip(L2T2) {
        let template = structure.template(id).unwrap();
        assert_eq!((template.spatial_layer, template.temporal_layer), layers);
    }
    assert_eq!(structure.template(2), None);
    assert_eq!(structure.template(61), None);
    let second = structure.template(63).unwrap();
    let indications = [0, 1, 2, 3].map(|target| second.indication(target));
    assert_eq!(
        indications,
        [
            DecodeTargetIndication::Discardable,
            DecodeTargetIndication::Switch,
            DecodeTargetIndication::Required,
            DecodeTargetIndication::NotPresent,
        ]
    );
}

#[test]
fn all_decode_targets_are_active_unless_told_otherwise() {
    for (targets, expected) in [(1, 1), (4, 0b1111), (32, u32::MAX)] {
        let value = write(&L2T2, targets, 0, None);
        let descriptor = DependencyDescriptor::parse(&value).unwrap();
        assert_eq!(descriptor.active_decode_targets, Some(expected));
    }
}

#[test]
fn a_truncated_structure_is_none() {
    let value = write(&L2T2, 4, 2, Some(1));
    for len in 4..value.len() {
        assert_eq!(
            DependencyDescriptor::parse(&value[..len]),
            None,
            "{len} bytes"
        );
    }
}

#[test]
fn layers_beyond_their_bounds_are_refused() {
    // Zeros: same layer again and again. 0x55: temporal layers without end; 0xaa: spatial ones.
    for filler in [0x00, 0x55, 0xaa] {
        let mut value = vec![0x80, 0, 1, 0x80, 0x00];
        value.extend([filler; 250]);
        assert_eq!(DependencyDescriptor::parse(&value), None, "{filler:#x}");
    }
}

proptest! {
    #[test]
    fn structures_round_trip(
        shape in prop::collection::vec(1u8..=4, 1..=4), targets in 1u32..=32, chain_share in 0u32..=32,
    ) {
        let layers: Vec<(u8, u8)> = shape
            .iter()
            .enumerate()
            .flat_map(|(spatial, count)| (0..*count).map(move |t| (spatial as u8, t)))
            .collect();
        let chains = chain_share.min(targets);
        let value = write(&layers, targets, chains, None);
        let structure = DependencyDescriptor::parse(&value).unwrap().structure.unwrap();
        let read: Vec<_> = structure
            .templates
            .iter()
            .map(|t| (t.spatial_layer, t.temporal_layer))
            .collect();
        prop_assert_eq!(read, layers);
        prop_assert_eq!(structure.resolutions.len(), shape.len());
        prop_assert_eq!(structure.resolutions[0], (320, 180));
        prop_assert_eq!(u32::from(structure.decode_target_count), targets);
    }

    #[test]
    fn any_bytes_are_read_without_panic(value in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Some(structure) = DependencyDescriptor::parse(&value).and_then(|d| d.structure) {
            prop_assert!(structure.templates.len() <= TEMPLATES_MAX);
            for id in 0..64 {
                let _ = structure.template(id);
            }
        }
    }
}
