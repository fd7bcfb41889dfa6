//! Redundant audio (RFC 2198), as browsers send opus with it: earlier frames stand before the newest.
//!
//! ```text
//! |1| payload type | timestamp offset, 14 bits | length, 10 bits |   each earlier frame
//! |0| payload type |                                                the newest
//! | earlier frames … | the newest frame |
//! ```
//!
//! Blocks name their codec by the payload type of the stream, which is another one for viewers.

/// Blocks of one payload that are read; browsers send two or three.
pub const BLOCKS_MAX: usize = 16;

/// Longest header of [`BLOCKS_MAX`] blocks, in bytes.
pub const HEAD_LEN_MAX: usize = (BLOCKS_MAX - 1) * EARLIER_LEN + 1;

/// Bytes that the header has for an earlier frame.
const EARLIER_LEN: usize = 4;

/// Another block follows.
const FOLLOWS: u8 = 0x80;

const PAYLOAD_TYPE: u8 = 0x7f;

/// A payload whose blocks lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Red<'a> {
    payload: &'a [u8],
    head_len: usize,
    newest: usize,
}

impl<'a> Red<'a> {
    /// Reads a payload. `None` if it ends too early or has more than [`BLOCKS_MAX`] blocks.
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let (mut at, mut earlier_bytes) = (0, 0);
        for _ in 0..BLOCKS_MAX {
            if payload.get(at)? & FOLLOWS == 0 {
                let head_len = at + 1;
                let newest = head_len + earlier_bytes;
                return (newest <= payload.len()).then_some(Self {
                    payload,
                    head_len,
                    newest,
                });
            }
            let &[_, _, high, low] = payload.get(at..at + EARLIER_LEN)? else {
                return None;
            };
            earlier_bytes += usize::from(u16::from_be_bytes([high & 0x03, low]));
            at += EARLIER_LEN;
        }
        None
    }

    /// The payload type of the newest frame.
    pub fn newest_payload_type(&self) -> u8 {
        self.payload[self.head_len - 1] & PAYLOAD_TYPE
    }

    /// The newest frame: what the payload would be without redundancy.
    pub fn newest(&self) -> &'a [u8] {
        &self.payload[self.newest..]
    }

    /// The header with other payload types, in `out`; its length is that of the header as it came. `None`
    /// if `map` has none for one of them.
    pub fn write_head(
        &self,
        map: impl Fn(u8) -> Option<u8>,
        out: &mut [u8; HEAD_LEN_MAX],
    ) -> Option<usize> {
        let head = out.get_mut(..self.head_len)?;
        head.copy_from_slice(&self.payload[..self.head_len]);
        for first in head.iter_mut().step_by(EARLIER_LEN) {
            *first = *first & FOLLOWS | map(*first & PAYLOAD_TYPE)? & PAYLOAD_TYPE;
        }
        Some(self.head_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two earlier frames of 3 and 2 bytes, 40 and 20 ms before, and a newest one of 4.
    const PAYLOAD: [u8; 18] = [
        0x80 | 111,
        0x1e,
        0x00,
        3,
        0x80 | 111,
        0x0f,
        0x00,
        2,
        111, // the header
        1,
        1,
        1,
        2,
        2,
        3,
        3,
        3,
        3,
    ];

    #[test]
    fn the_newest_frame_is_what_stands_behind_the_earlier_ones() {
        let red = Red::read(&PAYLOAD).expect("whole");
        assert_eq!(red.newest_payload_type(), 111);
        assert_eq!(red.newest(), [3; 4]);
        let alone = Red::read(&[111, 9, 9]).expect("whole");
        assert_eq!(
            (alone.newest_payload_type(), alone.newest()),
            (111, &[9, 9][..])
        );
    }

    #[test]
    fn payload_types_are_written_anew_and_nothing_else() {
        let mut out = [0; HEAD_LEN_MAX];
        let red = Red::read(&PAYLOAD).expect("whole");
        let len = red.write_head(|one| (one == 111).then_some(100), &mut out);
        assert_eq!(len, Some(9));
        let expected = [0x80 | 100, 0x1e, 0, 3, 0x80 | 100, 0x0f, 0, 2, 100];
        assert_eq!(out[..9], expected);
        assert_eq!(red.write_head(|_| None, &mut out), None);
    }

    #[test]
    fn what_ends_too_early_or_never_is_refused() {
        for len in 0..14 {
            assert_eq!(Red::read(&PAYLOAD[..len]), None, "{len} bytes");
        }
        // The newest frame may be empty.
        assert!(Red::read(&PAYLOAD[..14]).is_some());
        let endless = [0x80; 4 * BLOCKS_MAX + 1];
        assert_eq!(Red::read(&endless), None);
        let mut most = [0x80, 0, 0, 0].repeat(BLOCKS_MAX - 1);
        most.push(111);
        assert!(Red::read(&most).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_bounds(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(red) = Red::read(&payload) {
                let mut out = [0; HEAD_LEN_MAX];
                let len = red.write_head(Some, &mut out).expect("all are mapped");
                prop_assert_eq!(&out[..len], &payload[..len]);
                prop_assert!(len + red.newest().len() <= payload.len());
            }
        }
    }
}
