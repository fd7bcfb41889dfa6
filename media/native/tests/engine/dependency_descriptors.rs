//! AV1 by its dependency descriptors: what a viewer gets is a stream whose frames are numbered as
//! one, whose references are all there, and whose decode targets are those that it is sent.

use std::collections::BTreeMap;

use _native::codec::dependency_descriptor::{DependencyDescriptor, TemplateStructure};
use _native::wire::orders::{
    ConsumerExtension, ExtensionName, HeaderExtension, Order, SetConsumer,
};

use crate::both_starts::BOTH;
use crate::forwarding::viewer;
use crate::support::peer::{Received, Stream, assert_contiguous};
use crate::support::rows::{self, Direction};
use crate::support::{MS, World};

/// The publisher's id of the extension, and the viewers'.
const DESCRIPTOR: u8 = 12;
const VIEWER_DESCRIPTOR: u8 = 9;

/// Templates of L1T3: temporal layer, indications of three decode targets, frame differences.
const L1T3: [(u8, [u32; 3], &[u16]); 5] = [
    (0, [2, 2, 2], &[]),
    (0, [2, 2, 2], &[4]),
    (1, [0, 1, 2], &[2]),
    (2, [0, 0, 1], &[1]),
    (2, [0, 0, 1], &[1]),
];

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        let bits = |eight: &[bool]| {
            let byte = eight
                .iter()
                .fold(0u8, |byte, bit| byte << 1 | u8::from(*bit));
            byte << (8 - eight.len())
        };
        self.0.chunks(8).map(bits).collect()
    }
}

/// An encoder of L1T3 with the numbers and template ids of its own.
struct Encoder {
    stream: usize,
    frame_number: u16,
    template_offset: u8,
    count: u64,
}

impl Encoder {
    /// A frame of two packets.
    fn send(&mut self, world: &mut World, key: bool, is_h264: bool) {
        if key {
            // As browsers do, so that no structure is taken for the one before.
            self.template_offset = (self.template_offset + 5) % 64;
            self.count = 0;
        }
        let template = match self.count % 4 {
            0 if key => 0,
            0 => 1,
            2 => 2,
            1 => 3,
            _ => 4,
        };
        let temporal = L1T3[usize::from(template)].0;
        for end in [false, true] {
            let value = self.descriptor(template, key, end);
            let stream = &mut world.peers[0].streams[self.stream];
            stream.extensions.retain(|one| one.0 != DESCRIPTOR);
            stream.extensions.push((DESCRIPTOR, value));
            stream.marker = end;
            stream.step = if end { 3_000 } else { 0 };
            // A sequence header, or none; a parameter set, a first slice, another slice.
            let [first, second] = match (is_h264, key, end) {
                (false, true, false) => [0x18, 0x32],
                (false, ..) => [0x10, 0x32],
                (true, true, false) => [0x67, 0x42],
                (true, _, false) => [0x41, 0x9a],
                (true, ..) => [0x41, 0x1a],
            };
            let layers = [self.stream as u8, temporal, u8::from(key)];
            let payload = [&[first, second], &layers[..], &[1, 2, 3]].concat();
            let datagram = world.peers[0].packet_with(self.stream, &payload);
            world.send(0, datagram);
        }
        self.frame_number = self.frame_number.wrapping_add(1);
        self.count += 1;
    }

    fn descriptor(&self, template: u8, key: bool, end: bool) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.push(u32::from(!end) << 1 | u32::from(end), 2);
        bits.push(u32::from((self.template_offset + template) % 64), 6);
        bits.push(u32::from(self.frame_number), 16);
        if !key || end {
            return bits.bytes();
        }
        bits.push(0b10000, 5);
        bits.push(u32::from(self.template_offset), 6);
        bits.push(2, 5);
        for next in [0, 1, 1, 0, 3] {
            bits.push(next, 2);
        }
        for (_, indications, _) in L1T3 {
            indications.iter().for_each(|one| bits.push(*one, 2));
        }
        for (_, _, differences) in L1T3 {
            for difference in differences {
                bits.push(1, 1);
                bits.push(u32::from(difference - 1), 4);
            }
            bits.push(0, 1);
        }
        // No chains (of at most three, in two bits), no resolutions.
        bits.push(0, 2);
        bits.push(0, 1);
        bits.bytes()
    }
}

/// One publisher with two encodings, numbered apart and with the same template ids, and a viewer.
struct Av1 {
    world: World,
    encoders: Vec<Encoder>,
    mime_type: &'static str,
}

impl Av1 {
    fn new(instant: bool) -> Self {
        Self::of("video/AV1", instant)
    }

    fn of(mime_type: &'static str, instant: bool) -> Self {
        let mut world = World::of(instant);
        let publisher = world.join("send", Direction::Send);
        let mut row = rows::video("p", "send", &[(None, Some(10)), (None, Some(20))]);
        row.codecs[0].mime_type = mime_type.into();
        row.header_extensions.push(HeaderExtension {
            name: ExtensionName::DependencyDescriptor,
            id: DESCRIPTOR,
            mapped_id: VIEWER_DESCRIPTOR,
        });
        world.order(Order::SetProducer(row));
        let mut encoders = Vec::new();
        for (ssrc, frame_number) in [(10, 65_530), (20, 300)] {
            let mut stream = Stream::video(ssrc);
            stream.picture = None;
            encoders.push(Encoder {
                stream: world.peers[publisher].add(stream),
                frame_number,
                template_offset: 55,
                count: 0,
            });
        }
        world.join("recv0", Direction::Recv);
        let mut stage = Self {
            world,
            encoders,
            mime_type,
        };
        stage.want(Some(0), None);
        stage
    }

    fn want(&mut self, spatial: Option<u32>, temporal: Option<u32>) {
        let mut row = wanted(spatial, temporal);
        row.codecs[0].mime_type = self.mime_type.into();
        self.world.order(Order::SetConsumer(row));
    }

    fn frames(&mut self, count: u64, keys: [bool; 2]) {
        for place in 0..count {
            let is_h264 = self.mime_type == "video/H264";
            for (encoder, key) in self.encoders.iter_mut().zip(keys) {
                encoder.send(&mut self.world, key && place == 0, is_h264);
            }
            self.world.advance(33 * MS);
        }
    }

    fn decode(&self) -> Decoder {
        let mut decoder = Decoder::default();
        for received in viewer(&self.world, 0).media(5000) {
            decoder.take(received);
        }
        assert_contiguous(&viewer(&self.world, 0).sequence_numbers(5000));
        decoder
    }
}

fn wanted(spatial_layer: Option<u32>, temporal_layer: Option<u32>) -> SetConsumer {
    let mut row = SetConsumer {
        spatial_layer,
        temporal_layer,
        ..rows::view("c0", "recv0", "p", 5000)
    };
    row.header_extensions.push(ConsumerExtension {
        name: ExtensionName::DependencyDescriptor,
        id: VIEWER_DESCRIPTOR,
    });
    row
}

/// Follows descriptors as a receiver does: any frame whose references are missing is a fault.
#[derive(Default)]
struct Decoder {
    structure: Option<Box<TemplateStructure>>,
    /// Template id and decode targets of each frame, by its number.
    frames: BTreeMap<u64, (u8, u32)>,
    active: u32,
    newest: u64,
    /// First template ids of structures, in their order.
    offsets: Vec<u8>,
    /// (encoding, temporal layer) of each frame.
    shown: Vec<(u8, u8)>,
}

impl Decoder {
    fn take(&mut self, received: &Received) {
        let value = &received.extensions[&VIEWER_DESCRIPTOR];
        let read = DependencyDescriptor::parse_after(value, self.structure.as_deref());
        let read = read.expect("whole");
        let number = match self.frames.is_empty() {
            true => 1 << 16 | u64::from(read.frame_number),
            false => {
                let ahead = read.frame_number.wrapping_sub(self.newest as u16) as i16;
                self.newest.checked_add_signed(i64::from(ahead)).unwrap()
            }
        };
        let [_, _, encoding, temporal, key, ..] = received.payload[..] else {
            panic!("short");
        };
        if let Some(structure) = read.structure {
            let overlaps = self.structure.as_deref().is_some_and(|old| {
                let new = structure.template_id_offset;
                (0..5).any(|id| old.template((new + id) % 64).is_some())
            });
            assert!(!overlaps, "templates of two structures are told apart");
            self.offsets.push(structure.template_id_offset);
            self.structure = Some(structure);
        }
        let structure = self.structure.as_deref().expect("began with one");
        let template = structure
            .template(read.template_id)
            .expect("of this structure");
        assert_eq!(
            template.temporal_layer, temporal,
            "the template of this frame"
        );
        if let Some(active) = read.active_decode_targets {
            self.active = active;
        }
        if !read.start_of_frame {
            assert_eq!(number, self.newest, "the frame goes on");
            return;
        }
        assert!(self.frames.is_empty() || number > self.newest, "runs on");
        let at = (read.template_id + 64 - structure.template_id_offset) % 64;
        for difference in L1T3[usize::from(at)].2 {
            let reference = number - u64::from(*difference);
            assert!(
                self.frames.contains_key(&reference),
                "frame {number} lacks {reference}"
            );
        }
        assert_eq!(at == 0, key == 1);
        if key == 1 && !self.frames.is_empty() {
            assert!(number - self.newest <= 2, "a switch makes no leap");
        }
        self.newest = number;
        self.frames.insert(number, (read.template_id, self.active));
        self.shown.push((encoding, temporal));
    }

    fn targets(&self) -> u32 {
        self.active
    }
}

#[test]
fn frames_are_numbered_as_one_over_switches_and_wraps() {
    for instant in BOTH {
        let mut av1 = Av1::new(instant);
        av1.frames(12, [true, true]);
        // None of what is in the cache is begun with after that.
        av1.frames(24, [false, false]);
        for (spatial, keys) in [(1, [false, true]), (0, [true, false]), (1, [false, true])] {
            av1.want(Some(spatial), None);
            av1.frames(3, [false, false]);
            av1.frames(9, keys);
        }
        let decoder = av1.decode();
        // Frames that came beside the keyframe of a switch up are of both.
        assert_eq!(decoder.shown.len(), 74);
        let encodings: Vec<u8> = decoder.shown.iter().map(|one| one.0).collect();
        let mut order = encodings.clone();
        order.dedup();
        assert_eq!(order, [0, 1, 0, 1]);
        // Both encoders' ids begin at 60: each switch moves them behind those before.
        assert_eq!(decoder.offsets, [60, 1, 6, 11]);
        let numbers: Vec<u64> = decoder.frames.keys().copied().collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
        assert_eq!(decoder.targets(), 0b111);
    }
}

#[test]
fn who_is_sent_fewer_layers_is_told_the_decode_targets() {
    for instant in BOTH {
        let mut av1 = Av1::new(instant);
        av1.frames(8, [true, true]);
        assert_eq!(av1.decode().targets(), 0b111);
        for (temporal, targets) in [(0, 0b001), (1, 0b011), (2, 0b111), (1, 0b011)] {
            av1.want(Some(0), Some(temporal));
            av1.frames(8, [false, false]);
            let decoder = av1.decode();
            assert_eq!(decoder.targets(), targets, "{temporal}");
            let recent = &decoder.shown[decoder.shown.len() - 2..];
            assert!(
                recent.iter().all(|one| u32::from(one.1) <= temporal),
                "{recent:?}"
            );
        }
        let decoder = av1.decode();
        assert!(decoder.shown.len() < 40, "it is thinned");
        // The other encoding begins with all that is wanted of it.
        av1.want(Some(1), None);
        av1.frames(6, [false, true]);
        assert_eq!(av1.decode().targets(), 0b111);
    }
}

#[test]
fn what_is_sent_again_is_the_same_frame() {
    for instant in BOTH {
        let mut av1 = Av1::new(instant);
        av1.frames(8, [true, true]);
        av1.want(Some(1), Some(0));
        av1.frames(8, [false, true]);
        let sent: BTreeMap<u16, Received> = viewer(&av1.world, 0)
            .media(5000)
            .into_iter()
            .map(|one| (one.sequence_number, one.clone()))
            .collect();
        let lost: Vec<u16> = sent.keys().copied().collect();
        let nack = av1.world.peers[1].nack(5000, &lost);
        av1.world.send(1, nack);
        av1.world.advance(20 * MS);
        let again = viewer(&av1.world, 0).media(5001);
        assert!(again.len() >= 16, "{}", again.len());
        for packet in again {
            let first = &sent[&packet.original.expect("RTX")];
            assert_eq!(
                packet.extensions[&VIEWER_DESCRIPTOR][..3],
                first.extensions[&VIEWER_DESCRIPTOR][..3]
            );
        }
    }
}

#[test]
fn h264_is_thinned_in_time_by_its_descriptors() {
    for instant in BOTH {
        let mut h264 = Av1::of("video/H264", instant);
        h264.frames(8, [true, true]);
        let whole = h264.decode();
        assert_eq!(whole.shown.len(), 8);
        h264.want(Some(0), Some(0));
        h264.frames(8, [false, false]);
        let thinned = h264.decode();
        assert_eq!(thinned.shown[8..], [(0, 0), (0, 0)]);
        assert_eq!(thinned.targets(), 0b001);
        h264.frames(16, [false, false]);
        h264.want(Some(1), Some(1));
        h264.frames(8, [false, true]);
        let switched = h264.decode();
        assert_eq!(switched.shown[15..], [(1, 0), (1, 1), (1, 0), (1, 1)]);
    }
}
