//! Header extension blocks of the one-byte and the two-byte form (RFC 8285, 4).

const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Elements that are read of one packet. There is no use for more, so hostile packets cost no more.
const ELEMENTS_MAX: u8 = 32;

#[derive(Clone, Copy, Debug, Default)]
enum Form {
    #[default]
    OneByte,
    TwoByte,
}

/// Iterates over the elements of one packet as (id, value).
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtensionElements<'a> {
    form: Form,
    rest: &'a [u8],
    read: u8,
}

/// The elements of a block that starts with its profile and length.
pub(super) fn elements(block: &[u8]) -> ExtensionElements<'_> {
    let Some(([p0, p1, ..], rest)) = block.split_first_chunk::<4>() else {
        return ExtensionElements::default();
    };
    let form = match u16::from_be_bytes([*p0, *p1]) {
        ONE_BYTE_PROFILE => Form::OneByte,
        // The low four bits are application bits.
        profile if profile & 0xfff0 == TWO_BYTE_PROFILE => Form::TwoByte,
        _ => return ExtensionElements::default(),
    };
    ExtensionElements {
        form,
        rest,
        read: 0,
    }
}

impl<'a> Iterator for ExtensionElements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.read == ELEMENTS_MAX {
            return None;
        }
        while let [0, rest @ ..] = self.rest {
            self.rest = rest; // padding
        }
        let (id, len, rest) = match (self.form, self.rest) {
            (Form::OneByte, [head, rest @ ..]) => (head >> 4, usize::from(head & 0x0f) + 1, rest),
            (Form::TwoByte, [id, len, rest @ ..]) => (*id, usize::from(*len), rest),
            _ => return None,
        };
        // Id 15 stops a one-byte block; so does id 0 with a length, which is reserved.
        if matches!((self.form, id), (Form::OneByte, 0 | 15)) {
            self.rest = &[];
            return None;
        }
        let Some((value, rest)) = rest.split_at_checked(len) else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        self.read += 1;
        Some((id, value))
    }
}

/// Whether a set of elements fits the one-byte form; it is the smaller and older one.
pub(super) fn fits_one_byte(id: u8, value_len: usize) -> bool {
    (1..=14).contains(&id) && (1..=16).contains(&value_len)
}

/// Writes an extension block into a buffer, element by element.
pub(super) struct BlockWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    two_byte: bool,
}

impl<'a> BlockWriter<'a> {
    /// Starts a block; `None` if not even its head fits.
    pub(super) fn new(out: &'a mut [u8], two_byte: bool) -> Option<Self> {
        let profile = if two_byte {
            TWO_BYTE_PROFILE
        } else {
            ONE_BYTE_PROFILE
        };
        out.first_chunk_mut::<4>()?[..2].copy_from_slice(&profile.to_be_bytes());
        Some(Self {
            out,
            len: 4,
            two_byte,
        })
    }

    /// Goes on with a block whose head and elements stand in `out[..len]`, unpadded.
    pub(super) fn resume(out: &'a mut [u8], len: usize, two_byte: bool) -> Self {
        Self { out, len, two_byte }
    }

    /// Appends an element and returns where its value starts. `None`, and nothing written, if it
    /// does not fit the buffer or the form.
    pub(super) fn push(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        let head = if self.two_byte { 2 } else { 1 };
        let end = self.len + head + value.len();
        if end > self.out.len() || id == 0 || value.len() > 255 {
            return None;
        }
        if self.two_byte {
            self.out[self.len] = id;
            self.out[self.len + 1] = value.len() as u8;
        } else if fits_one_byte(id, value.len()) {
            self.out[self.len] = id << 4 | (value.len() - 1) as u8;
        } else {
            return None;
        }
        let at = self.len + head;
        self.out[at..end].copy_from_slice(value);
        self.len = end;
        Some(at)
    }

    /// Bytes written so far, with the head and without final padding.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Pads the block to whole words, writes its length and returns it in bytes. `None` if the
    /// padding does not fit.
    pub(super) fn finish(self) -> Option<usize> {
        let end = self.len.next_multiple_of(4);
        self.out.get_mut(self.len..end)?.fill(0);
        let words = ((end - 4) / 4) as u16;
        self.out[2..4].copy_from_slice(&words.to_be_bytes());
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(block: &[u8]) -> Vec<(u8, Vec<u8>)> {
        elements(block).map(|(id, v)| (id, v.to_vec())).collect()
    }

    #[test]
    fn one_byte_elements_are_read_around_padding() {
        let block = [0xbe, 0xde, 0, 2, 0, 0x10, 7, 0, 0, 0x21, 8, 9];
        assert_eq!(read(&block), [(1, vec![7]), (2, vec![8, 9])]);
    }

    #[test]
    fn id_15_ends_a_one_byte_block() {
        let block = [0xbe, 0xde, 0, 1, 0x10, 7, 0xf0, 1];
        assert_eq!(read(&block), [(1, vec![7])]);
    }

    #[test]
    fn two_byte_elements_may_be_empty_or_long() {
        let mut block = vec![0x10, 0x03, 0, 6, 200, 0, 15, 20];
        block.extend([3; 20]);
        assert_eq!(read(&block), [(200, vec![]), (15, vec![3; 20])]);
    }

    #[test]
    fn an_element_longer_than_its_block_is_left_out() {
        assert_eq!(read(&[0xbe, 0xde, 0, 1, 0x10, 7, 0x2f, 8]), [(1, vec![7])]);
        assert_eq!(read(&[0x10, 0, 0, 1, 1, 1, 7, 2]), [(1, vec![7])]);
    }

    #[test]
    fn other_profiles_have_no_elements() {
        assert!(read(&[0xab, 0xcd, 0, 1, 0x10, 7, 0, 0]).is_empty());
    }

    fn distinct(
        ids: std::ops::Range<u8>,
        len: std::ops::Range<usize>,
    ) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        prop::collection::btree_map(ids, prop::collection::vec(any::<u8>(), len), 0..12)
            .prop_map(|map| map.into_iter().collect())
    }

    fn write(elements: &[(u8, Vec<u8>)], two_byte: bool) -> Vec<u8> {
        let mut out = [0xaa; 4096];
        let mut writer = BlockWriter::new(&mut out, two_byte).unwrap();
        for (id, value) in elements {
            writer.push(*id, value).unwrap();
        }
        let len = writer.finish().unwrap();
        out[..len].to_vec()
    }

    proptest! {
        #[test]
        fn one_byte_blocks_round_trip(elements in distinct(1..15, 1..17)) {
            prop_assert_eq!(read(&write(&elements, false)), elements);
        }

        #[test]
        fn two_byte_blocks_round_trip(elements in distinct(1..255, 0..100)) {
            prop_assert_eq!(read(&write(&elements, true)), elements);
        }

        #[test]
        fn any_bytes_are_read_without_panic(block in prop::collection::vec(any::<u8>(), 0..200)) {
            let total: usize = elements(&block).map(|(_, value)| value.len()).sum();
            prop_assert!(total <= block.len());
        }
    }
}
