//! Dependency descriptors: structures keep their bounds.
#![no_main]

use _native::codec::dependency_descriptor::{
    DECODE_TARGETS_MAX, DependencyDescriptor, SPATIAL_LAYERS_MAX, TEMPLATES_MAX,
};
use _native::codec::dependency_rewrite::{
    ActiveTargets, DescriptorEdit, GROWTH_MAX, VALUE_LEN_MAX,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(descriptor) = DependencyDescriptor::parse(data) else {
        return;
    };
    assert_eq!(
        descriptor.structure.is_some(),
        descriptor.active_decode_targets.is_some()
    );
    let edit = DescriptorEdit {
        frame_number: 3,
        template_id: 61,
        active: Some(ActiveTargets { mask: 1, count: 9 }),
    };
    let mut out = [0; VALUE_LEN_MAX];
    if let Some(len) = edit.apply(data, &mut out) {
        assert!(len <= data.len() + GROWTH_MAX);
        let edited = u16::from_be_bytes([out[1], out[2]]);
        assert_eq!(edited, descriptor.frame_number.wrapping_add(3));
    }
    let Some(structure) = descriptor.structure else {
        return;
    };
    assert!((1..=TEMPLATES_MAX).contains(&structure.templates.len()));
    assert!((1..=DECODE_TARGETS_MAX).contains(&usize::from(structure.decode_target_count)));
    assert!(structure.resolutions.len() <= SPATIAL_LAYERS_MAX);
    for id in 0..64 {
        if let Some(template) = structure.template(id) {
            assert!(usize::from(template.spatial_layer) < SPATIAL_LAYERS_MAX);
            assert!(template.temporal_layer < 8);
            let _ = template.indication(structure.decode_target_count - 1);
        }
    }
});
