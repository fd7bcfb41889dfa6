//! The time stamp that a load publisher puts into its payloads.
//!
//! All its bytes have the high bit set, so that it may stand anywhere in an H.264 unit without
//! emulation prevention. It stands before the last byte of a payload (in what decoders take for
//! padding), or, for H.264, in a unit of supplemental information at a fixed place.

use crate::codec::Codec;

/// Bytes of a stamp.
pub const STAMP_LEN: usize = 22;

/// Bytes that a payload's end needs for it: the stamp and the byte behind it.
pub const TAIL_LEN: usize = STAMP_LEN + 1;

const MAGIC: [u8; 4] = [0xd2, 0xc5, 0xf0, 0xe9];

/// Identifies the stamp's unit among supplemental information (H.264, D.2.7).
pub const UNIT_ID: [u8; 16] = [
    0xb1, 0xd3, 0xa6, 0xf4, 0x9c, 0xe2, 0x47, 0x8b, 0xa5, 0xc7, 0xd9, 0xe8, 0x93, 0xfa, 0x8d, 0xbe,
];

/// Where the stamp stands in a unit: behind its header, payload type, size, and `UNIT_ID`.
pub const STAMP_IN_UNIT: usize = 3 + UNIT_ID.len();

/// When and by whom a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Names the process that sent it: with one of another machine, clocks differ.
    pub origin: u32,
    /// Unix time of sending, in ns.
    pub unix_ns: u64,
    /// Counts the frames of its stream, modulo 2^28.
    pub frame: u32,
}

impl Stamp {
    /// Writes it to `out`, which has `STAMP_LEN` bytes.
    pub fn write(&self, out: &mut [u8]) {
        let (magic, rest) = out.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        put(&mut rest[..5], u64::from(self.origin));
        put(&mut rest[5..14], self.unix_ns);
        put(&mut rest[14..18], u64::from(self.frame));
    }

    /// Reads what `write` wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        if *magic != MAGIC || rest.len() < STAMP_LEN - MAGIC.len() {
            return None;
        }
        Some(Self {
            origin: take(&rest[..5])? as u32,
            unix_ns: take(&rest[5..14])?,
            frame: take(&rest[14..18])? as u32,
        })
    }

    /// Finds the stamp of a payload, if it bears one.
    pub fn find(codec: Codec, payload: &[u8]) -> Option<Self> {
        let at = payload.len().checked_sub(TAIL_LEN)?;
        Self::read(&payload[at..]).or_else(|| match codec {
            Codec::H264 if payload[0] & 0x1f == 24 => in_aggregate(&payload[1..]),
            _ => None,
        })
    }
}

fn in_aggregate(mut units: &[u8]) -> Option<Stamp> {
    while let Some((len, rest)) = units.split_first_chunk() {
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        if unit.first().is_some_and(|head| head & 0x1f == 6) {
            return Stamp::read(unit.get(STAMP_IN_UNIT..)?);
        }
        units = rest;
    }
    None
}

/// Seven bits in each byte, the low ones last.
fn put(out: &mut [u8], mut value: u64) {
    for byte in out.iter_mut().rev() {
        *byte = 0x80 | value as u8;
        value >>= 7;
    }
}

fn take(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |value, byte| {
        (byte & 0x80 != 0).then_some(value << 7 | u64::from(byte & 0x7f))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        origin: 0xdead_beef,
        unix_ns: 1_700_000_000_123_456_789,
        frame: 77_777,
    };

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_needs_no_emulation_prevention() {
        for stamp in [
            STAMP,
            Stamp {
                origin: 0,
                unix_ns: 0,
                frame: 0,
            },
        ] {
            let mut bytes = [0; STAMP_LEN];
            stamp.write(&mut bytes);
            assert!(bytes.iter().all(|byte| byte & 0x80 != 0));
            assert_eq!(Stamp::read(&bytes), Some(stamp));
        }
    }

    #[test]
    fn payloads_without_a_stamp_have_none() {
        for len in 0..64 {
            assert_eq!(Stamp::find(Codec::Vp8, &vec![0x90; len]), None);
            assert_eq!(Stamp::find(Codec::H264, &vec![24; len]), None);
        }
        let mut bytes = [0; STAMP_LEN];
        STAMP.write(&mut bytes);
        bytes[10] = 1;
        assert_eq!(Stamp::read(&bytes), None);
    }
}
