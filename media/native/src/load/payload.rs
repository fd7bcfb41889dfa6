//! Payloads of published frames: real frames of an encoder, padded to the wanted size in a way that
//! decoders skip, and with room for a stamp.
//!
//! - VP8: bytes behind the last partition's end (RFC 6386, 9.5: it reaches to the end of the frame,
//!   and its decoder reads no more than it needs).
//! - H.264: supplemental information, user data unregistered (D.2.7), before the picture's slices.
//! - Opus: the padding of a packet of code 3 (RFC 6716, 3.2.5).

use super::stamp::{STAMP_IN_UNIT, STAMP_LEN, TAIL_LEN, UNIT_ID};
use crate::codec::Codec;

/// Largest RTP payload, in bytes: with headers and tag it fits a datagram of 1,200 or a little more.
pub const PAYLOAD_LEN_MAX: usize = 1_160;

/// A byte that no decoder reads.
const FILLER: u8 = 0xb7;

/// VP8 descriptor with a picture id of 15 bits, TL0PICIDX and TID.
const VP8_DESCRIPTOR_LEN: usize = 6;

const SEI: u8 = 6;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// How a frame is cut into packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// As libwebrtc does: about equal, the packets that are larger by a byte come last.
    #[default]
    Even,
    /// Full packets and a rest, as most other senders do.
    Full,
}

/// One RTP payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where a stamp is to be written.
    pub stamp_at: Option<usize>,
}

/// Numbers that a VP8 descriptor bears.
#[derive(Clone, Copy, Debug, Default)]
pub struct PictureNumbers {
    /// Picture id, of which 15 bits count.
    pub picture_id: u16,
    /// TL0PICIDX.
    pub tl0_pic_idx: u8,
}

/// Packs an access unit, as the encoder gave it, so that the frame has about `size` bytes of
/// payload; one that is larger already stays so. Opus packets are padded for the stamp alone.
pub fn pack(
    codec: Codec,
    unit: &[u8],
    size: usize,
    numbers: PictureNumbers,
    split: Split,
) -> Vec<Payload> {
    match codec {
        Codec::Opus => vec![opus(unit)],
        Codec::H264 => h264(unit, size, split),
        _ => vp8(unit, size, numbers, split),
    }
}

fn opus(packet: &[u8]) -> Payload {
    match packet {
        // Code 0: one frame behind the table of contents.
        [toc, frame @ ..] if toc & 3 == 0 => {
            let mut bytes = vec![toc | 3, 0x41, TAIL_LEN as u8];
            bytes.extend(frame);
            let stamp_at = bytes.len();
            bytes.resize(stamp_at + TAIL_LEN, FILLER);
            Payload {
                bytes,
                stamp_at: Some(stamp_at),
            }
        }
        _ => Payload {
            bytes: packet.to_vec(),
            stamp_at: None,
        },
    }
}

fn vp8(frame: &[u8], size: usize, numbers: PictureNumbers, split: Split) -> Vec<Payload> {
    let mut content = frame.to_vec();
    content.resize(size.max(frame.len() + TAIL_LEN), FILLER);
    let mut begin = 0;
    let sizes = cut(content.len(), PAYLOAD_LEN_MAX - VP8_DESCRIPTOR_LEN, split);
    let payloads = sizes.into_iter().map(|len| {
        let [high, low] = (numbers.picture_id | 0x8000).to_be_bytes();
        let first = if begin == 0 { 0x90 } else { 0x80 };
        let mut bytes = vec![first, 0xe0, high, low, numbers.tl0_pic_idx, 0];
        bytes.extend(&content[begin..begin + len]);
        let is_filler = len > TAIL_LEN && begin + len - TAIL_LEN >= frame.len();
        let stamp_at = is_filler.then(|| bytes.len() - TAIL_LEN);
        begin += len;
        Payload { bytes, stamp_at }
    });
    payloads.collect()
}

/// A unit of supplemental information of `len` bytes in all, at least `SEI_LEN_MIN`; its stamp
/// stands at `STAMP_IN_UNIT` if it is that small.
fn supplemental(len: usize) -> Vec<u8> {
    // Header, type, size in steps of 255, and the trailing bit take their bytes.
    let mut data = len - 4;
    data -= data / 256;
    let mut unit = vec![SEI, 5];
    unit.resize(2 + data / 255, 0xff);
    unit.push((data % 255) as u8);
    unit.extend(UNIT_ID);
    unit.resize(unit.len() + data - UNIT_ID.len(), FILLER);
    unit.push(0x80);
    unit
}

const SEI_LEN_MIN: usize = STAMP_IN_UNIT + TAIL_LEN;

fn aggregate(units: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![STAP_A | units.iter().fold(0, |nri, unit| nri.max(unit[0] & 0x60))];
    for unit in units {
        bytes.extend((unit.len() as u16).to_be_bytes());
        bytes.extend(*unit);
    }
    bytes
}

fn fragments(unit: &[u8], split: Split) -> Vec<Payload> {
    let body = &unit[1..];
    let sizes = cut(body.len(), PAYLOAD_LEN_MAX - 2, split);
    let mut begin = 0;
    let payloads = sizes.into_iter().map(|len| {
        let end = begin + len;
        let mut flags = unit[0] & 0x1f;
        flags |= if begin == 0 { 0x80 } else { 0 };
        flags |= if end == body.len() { 0x40 } else { 0 };
        let mut bytes = vec![unit[0] & 0x60 | FU_A, flags];
        bytes.extend(&body[begin..end]);
        let has_room = unit[0] & 0x1f == SEI && len > SEI_LEN_MIN + 8;
        begin = end;
        Payload {
            stamp_at: has_room.then(|| bytes.len() - TAIL_LEN),
            bytes,
        }
    });
    payloads.collect()
}

fn h264(access_unit: &[u8], size: usize, split: Split) -> Vec<Payload> {
    let small = supplemental(SEI_LEN_MIN);
    let mut payloads = Vec::new();
    let units = split_units(access_unit);
    let mut parameters: Vec<&[u8]> = units
        .iter()
        .copied()
        .filter(|unit| matches!(unit[0] & 0x1f, 7 | 8))
        .collect();
    if !parameters.is_empty() {
        let at = 1 + parameters.iter().map(|unit| 2 + unit.len()).sum::<usize>() + 2;
        parameters.push(&small);
        payloads.push(Payload {
            bytes: aggregate(&parameters),
            stamp_at: Some(at + STAMP_IN_UNIT),
        });
    }
    let slices: Vec<&[u8]> = units
        .into_iter()
        .filter(|unit| matches!(unit[0] & 0x1f, 1 | 5))
        .collect();
    let used: usize = payloads.iter().map(|one| one.bytes.len()).sum();
    let rest: usize = slices.iter().map(|unit| unit.len() + SEI_LEN_MIN + 5).sum();
    if let Some(padding) = size.checked_sub(used + rest).filter(|len| *len > 128) {
        payloads.extend(fragments(&supplemental(padding), split));
    }
    for slice in slices {
        if slice.len() + SEI_LEN_MIN + 5 <= PAYLOAD_LEN_MAX {
            payloads.push(Payload {
                bytes: aggregate(&[&small, slice]),
                stamp_at: Some(3 + STAMP_IN_UNIT),
            });
        } else {
            payloads.extend(fragments(slice, split));
        }
    }
    payloads
}

/// Units of an access unit with start codes of three or four bytes (H.264, annex B).
fn split_units(data: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..data.len().saturating_sub(3))
        .filter(|at| data[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| {
        let unit = &data[start + 3..end];
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        &unit[..unit.len() - zeros]
    });
    units.filter(|unit| !unit.is_empty()).collect()
}

/// Sizes of the parts of `len` bytes, each at most `part_max`.
fn cut(len: usize, part_max: usize, split: Split) -> Vec<usize> {
    let parts = len.div_ceil(part_max);
    match split {
        Split::Even => {
            let larger = len % parts;
            let size = |at| len / parts + usize::from(at >= parts - larger);
            (0..parts).map(size).collect()
        }
        Split::Full => {
            let size = |at| part_max.min(len - at * part_max);
            (0..parts).map(size).collect()
        }
    }
}

/// Room that the stamp's unit needs in an aggregate, for tests of sizes.
const _: () = assert!(SEI_LEN_MIN == 3 + 16 + STAMP_LEN + 1);

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamp;
    use super::*;
    use crate::codec::{inspect, vp8::Descriptor};

    const STAMP: Stamp = Stamp {
        origin: 9,
        unix_ns: 5,
        frame: 3,
    };

    fn stamped(codec: Codec, payloads: &mut [Payload]) -> usize {
        let mut found = 0;
        for payload in payloads {
            if let Some(at) = payload.stamp_at {
                STAMP.write(&mut payload.bytes[at..at + STAMP_LEN]);
                assert_eq!(Stamp::find(codec, &payload.bytes), Some(STAMP));
                found += 1;
            } else {
                assert_eq!(Stamp::find(codec, &payload.bytes), None);
            }
            assert!(payload.bytes.len() <= PAYLOAD_LEN_MAX);
        }
        found
    }

    #[test]
    fn a_vp8_frame_is_padded_to_its_size_and_stamped_in_each_packet() {
        // A keyframe: the inverse bit is clear.
        let frame = [vec![0x10, 2, 0, 0x9d, 1, 0x2a], vec![7; 200]].concat();
        let numbers = PictureNumbers {
            picture_id: 0x1_234,
            tl0_pic_idx: 9,
        };
        let mut payloads = pack(Codec::Vp8, &frame, 6_250, numbers, Split::Even);
        assert_eq!(payloads.len(), 6);
        let sizes: Vec<usize> = payloads.iter().map(|one| one.bytes.len() - 6).collect();
        assert_eq!(sizes, [1_041, 1_041, 1_042, 1_042, 1_042, 1_042]);
        assert_eq!(stamped(Codec::Vp8, &mut payloads), 6);
        let first = Descriptor::parse(&payloads[0].bytes).unwrap();
        assert!(first.keyframe && first.len == 6);
        assert_eq!(first.picture_id.unwrap().value, 0x1_234);
        let starts = payloads
            .iter()
            .filter(|one| inspect(Codec::Vp8, &one.bytes, None).start_of_frame);
        assert_eq!(starts.count(), 1);
        assert_eq!(payloads[0].bytes[6..6 + frame.len()], frame);
    }

    #[test]
    fn full_packets_come_before_the_rest() {
        let payloads = pack(
            Codec::Vp8,
            &[1; 10],
            3_000,
            PictureNumbers::default(),
            Split::Full,
        );
        let sizes: Vec<usize> = payloads.iter().map(|one| one.bytes.len()).collect();
        assert_eq!(sizes, [1_160, 1_160, 698]);
    }

    #[test]
    fn a_frame_that_exceeds_its_size_is_sent_whole_and_its_own_bytes_are_left_alone() {
        let frame = vec![1; 2_500];
        let mut payloads = pack(
            Codec::Vp8,
            &frame,
            100,
            PictureNumbers::default(),
            Split::Even,
        );
        assert_eq!(stamped(Codec::Vp8, &mut payloads), 1);
        let sent: Vec<u8> = payloads
            .iter()
            .flat_map(|one| one.bytes[6..].to_vec())
            .collect();
        assert_eq!(sent[..frame.len()], frame);
    }

    /// The units that the payloads carry, put together again.
    fn depacketize(payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            let bytes = &payload.bytes;
            match bytes[0] & 0x1f {
                STAP_A => {
                    let mut rest = &bytes[1..];
                    while let Some((len, tail)) = rest.split_first_chunk() {
                        let (unit, tail) = tail.split_at(usize::from(u16::from_be_bytes(*len)));
                        units.push(unit.to_vec());
                        rest = tail;
                    }
                }
                FU_A => {
                    if bytes[1] & 0x80 != 0 {
                        units.push(vec![bytes[0] & 0x60 | bytes[1] & 0x1f]);
                    }
                    units.last_mut().unwrap().extend(&bytes[2..]);
                }
                _ => units.push(bytes.clone()),
            }
        }
        units
    }

    #[test]
    fn an_h264_picture_keeps_its_units_behind_supplemental_information() {
        let sps = [0x67, 0x42, 0xe0, 0x1f, 9];
        let pps = [0x68, 0xce, 0x3c, 0x80];
        let slice = [vec![0x65, 0x88], vec![9; 50]].concat();
        let mut access_unit = Vec::new();
        for unit in [&sps[..], &pps, &[0x06, 5, 1, 2, 0x80], &slice] {
            access_unit.extend([0, 0, 0, 1]);
            access_unit.extend(unit);
        }
        for size in [0, 500, 1_000, 1_500, 6_250, 40_000] {
            let mut payloads = pack(
                Codec::H264,
                &access_unit,
                size,
                PictureNumbers::default(),
                Split::Even,
            );
            let total: usize = payloads.iter().map(|one| one.bytes.len()).sum();
            assert!(size < 500 || total.abs_diff(size) < 160, "{size}: {total}");
            assert_eq!(stamped(Codec::H264, &mut payloads), payloads.len());
            assert!(inspect(Codec::H264, &payloads[0].bytes, None).keyframe);
            let units = depacketize(&payloads);
            let kinds: Vec<u8> = units.iter().map(|unit| unit[0] & 0x1f).collect();
            assert_eq!(kinds[..3], [7, 8, 6]);
            assert_eq!(units[0], sps);
            assert_eq!(units.last().unwrap(), &slice);
            for unit in units.iter().filter(|unit| unit[0] == SEI) {
                assert_eq!(sei_size(unit), unit.len(), "its size is what it says");
            }
        }
    }

    /// Length of a unit by its own size field.
    fn sei_size(unit: &[u8]) -> usize {
        let full = unit[2..].iter().take_while(|byte| **byte == 0xff).count();
        2 + full + 1 + 255 * full + usize::from(unit[2 + full]) + 1
    }

    #[test]
    fn supplemental_information_has_about_the_length_asked_for() {
        for len in SEI_LEN_MIN..5_000 {
            let unit = supplemental(len);
            assert!(unit.len().abs_diff(len) <= 1, "{len}: {}", unit.len());
            assert_eq!(sei_size(&unit), unit.len());
        }
    }

    #[test]
    fn an_opus_packet_becomes_one_of_code_3_with_padding() {
        let payload = opus(&[0xfc, 1, 2, 3]);
        assert_eq!(payload.bytes[..6], [0xff, 0x41, 23, 1, 2, 3]);
        assert_eq!(payload.bytes.len(), 6 + 23);
        assert_eq!(stamped(Codec::Opus, &mut [payload]), 1);
        assert_eq!(opus(&[0xfd, 1, 2]).stamp_at, None);
    }
}
