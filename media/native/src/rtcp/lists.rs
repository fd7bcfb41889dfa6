//! The lists inside received packets, read lazily from their bytes.

use super::{ReportBlock, be32};

/// Report blocks of an SR or RR.
#[derive(Clone, Copy, Debug)]
pub struct Reports<'a>(pub(super) &'a [u8]);

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(ReportBlock::decode(block))
    }
}

/// SSRCs of a BYE or REMB.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a>(pub(super) &'a [u8]);

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (ssrc, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*ssrc))
    }
}

/// Sequence numbers of a generic NACK, in the order of their mention (RFC 4585, 6.2.1). A packet of
/// n bytes names at most 17 n / 4 of them.
#[derive(Clone, Copy, Debug)]
pub struct LostList<'a> {
    entries: &'a [u8],
    pid: u16,
    /// Bits of the current BLP that were not yet yielded.
    mask: u16,
}

impl<'a> LostList<'a> {
    pub(super) fn new(entries: &'a [u8]) -> Self {
        Self {
            entries,
            pid: 0,
            mask: 0,
        }
    }
}

impl Iterator for LostList<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask != 0 {
            let bit = self.mask.trailing_zeros() as u16;
            self.mask &= self.mask - 1;
            return Some(self.pid.wrapping_add(1 + bit));
        }
        let ([p0, p1, m0, m1], rest) = self.entries.split_first_chunk::<4>()?;
        self.entries = rest;
        self.pid = u16::from_be_bytes([*p0, *p1]);
        self.mask = u16::from_be_bytes([*m0, *m1]);
        Some(self.pid)
    }
}

/// One entry of a FIR (RFC 5104, 4.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// Source that is to send a keyframe.
    pub ssrc: u32,
    /// Number of the request; a repetition bears the same.
    pub sequence_number: u8,
}

/// Entries of a FIR.
#[derive(Clone, Copy, Debug)]
pub struct FirEntries<'a>(pub(super) &'a [u8]);

impl Iterator for FirEntries<'_> {
    type Item = FirEntry;

    fn next(&mut self) -> Option<FirEntry> {
        let (entry, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(FirEntry {
            ssrc: be32(entry),
            sequence_number: entry[4],
        })
    }
}

/// One chunk of an SDES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// Source that is described.
    pub ssrc: u32,
    /// Its canonical name, UTF-8 by intent.
    pub cname: Option<&'a [u8]>,
}

/// Chunks of an SDES packet (RFC 3550, 6.5); ends before a malformed one.
#[derive(Clone, Copy, Debug)]
pub struct SdesChunks<'a> {
    pub(super) rest: &'a [u8],
    pub(super) left: u8,
}

impl<'a> Iterator for SdesChunks<'a> {
    type Item = SdesChunk<'a>;

    fn next(&mut self) -> Option<SdesChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let chunk = self.rest;
        let (ssrc, mut items) = chunk.split_first_chunk()?;
        let mut cname = None;
        loop {
            let (kind, after_kind) = items.split_first()?;
            if *kind == 0 {
                break;
            }
            let (len, after_len) = after_kind.split_first()?;
            let (value, after_value) = after_len.split_at_checked(usize::from(*len))?;
            if *kind == 1 {
                cname.get_or_insert(value);
            }
            items = after_value;
        }
        // One to four zeros end the items at a word bound.
        let used = chunk.len() - items.len();
        self.rest = chunk.get((used + 1).next_multiple_of(4)..)?;
        Some(SdesChunk {
            ssrc: u32::from_be_bytes(*ssrc),
            cname,
        })
    }
}
