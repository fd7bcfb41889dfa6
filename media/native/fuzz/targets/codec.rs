//! Payloads of every codec: keyframes start frames, and descriptors stay inside the payload.
#![no_main]

use _native::codec::red::{HEAD_LEN_MAX, Red};
use _native::codec::{Codec, inspect, vp8, vp9};
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

fuzz_target!(|data: &[u8]| {
    for codec in CODECS {
        let info = inspect(codec, data, None);
        assert!(info.start_of_frame || !info.keyframe);
    }
    // The first bytes as a dependency descriptor, the rest as its payload.
    let (descriptor, payload) = data.split_at(data.len().min(16));
    let info = inspect(Codec::Av1, payload, Some(descriptor));
    assert!(info.start_of_frame || !info.keyframe);

    if let Some(red) = Red::read(data) {
        let mut head = [0; HEAD_LEN_MAX];
        let len = red.write_head(Some, &mut head).expect("all are mapped");
        assert_eq!(head[..len], data[..len]);
        assert!(len + red.newest().len() <= data.len());
    }
    if let Some(descriptor) = vp8::Descriptor::parse(data) {
        assert!(descriptor.len < data.len());
        if let Some(picture_id) = descriptor.picture_id {
            let mut rewritten = data.to_vec();
            picture_id.write(&mut rewritten, picture_id.value);
            assert_eq!(rewritten, data);
        }
    }
    if let Some(descriptor) = vp9::Descriptor::parse(data) {
        assert!(
            descriptor
                .tl0_pic_idx
                .is_none_or(|field| field.offset < data.len())
        );
    }
});
