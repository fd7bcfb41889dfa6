//! Reads frames. They come from a file, so nothing in them is trusted.

use std::fmt;

use super::encode::EntityId;
use super::varint::{Bytes, unzigzag};
use super::{ENTITIES_MAX, Kind, VERSION};

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is of another version of the format.
    Version(u8),
    /// It is cut off, or contradicts the tables.
    Malformed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "telemetry frame of version {version}"),
            Self::Malformed => f.write_str("malformed telemetry frame"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The table of one kind, as of the last frame.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) ids: Vec<EntityId>,
    pub(crate) values: Vec<i64>,
}

/// Follows the frames of one room and worker.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(crate) tables: [Table; 3],
    /// Of the next frame; None until a key frame was read.
    expected: Option<u64>,
    interval_us: u64,
}

impl Decoder {
    /// Takes the next frame; false if it can't be read without one that is missing.
    ///
    /// # Errors
    /// [`FrameError`]; a key frame is needed then.
    pub fn decode(&mut self, frame: &[u8]) -> Result<bool, FrameError> {
        let before = self.expected.take();
        let mut bytes = Bytes(frame);
        let version = bytes.byte().ok_or(FrameError::Malformed)?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.read(&mut bytes, before).ok_or(FrameError::Malformed)
    }

    /// Time since the sample before the last frame, in µs.
    pub fn interval_us(&self) -> u64 {
        self.interval_us
    }

    /// The worker that a frame is of.
    pub fn worker_of(frame: &[u8]) -> Option<u64> {
        Bytes(frame.get(2..)?).varint()
    }

    fn read(&mut self, bytes: &mut Bytes<'_>, before: Option<u64>) -> Option<bool> {
        let key = bytes.byte()? & 1 != 0;
        let _worker = bytes.varint()?;
        let sequence = bytes.varint()?;
        let interval_us = bytes.varint()?;
        if !key && before != Some(sequence) {
            return Some(false);
        }
        if key {
            self.tables = Default::default();
        }
        for (kind, table) in Kind::ALL.into_iter().zip(&mut self.tables) {
            table.read_rows(bytes, kind.metrics().len())?;
        }
        for (kind, table) in Kind::ALL.into_iter().zip(&mut self.tables) {
            let width = kind.metrics().len();
            for column in 0..width {
                table.read_column(bytes, column, width)?;
            }
        }
        self.interval_us = interval_us;
        self.expected = bytes.0.is_empty().then_some(sequence + 1);
        self.expected.map(|_| true)
    }
}

impl Table {
    fn read_rows(&mut self, bytes: &mut Bytes<'_>, width: usize) -> Option<()> {
        let removed = bytes.varint()?;
        if removed > self.ids.len() as u64 {
            return None;
        }
        let mut keep = vec![true; self.ids.len()];
        let mut next = 0_u64;
        for _ in 0..removed {
            let row = next.checked_add(bytes.varint()?)?;
            *keep.get_mut(usize::try_from(row).ok()?)? = false;
            next = row + 1;
        }
        if removed > 0 {
            let mut row = 0;
            let mut values = Vec::with_capacity(self.values.len());
            self.ids.retain(|_| {
                let kept = keep[row];
                if kept {
                    values.extend_from_slice(&self.values[row * width..(row + 1) * width]);
                }
                row += 1;
                kept
            });
            self.values = values;
        }
        let added = bytes.varint()?;
        if added > ENTITIES_MAX as u64 {
            return None;
        }
        for _ in 0..added {
            let length = bytes.varint()?;
            let id = std::str::from_utf8(bytes.take(length)?).ok()?.to_owned();
            let encoding = u8::try_from(bytes.varint()?).ok()?;
            self.ids.push(EntityId { id, encoding });
        }
        (self.ids.len() <= ENTITIES_MAX).then(|| self.values.resize(self.ids.len() * width, 0))
    }

    fn read_column(&mut self, bytes: &mut Bytes<'_>, column: usize, width: usize) -> Option<()> {
        let rows = self.ids.len();
        let mut row = 0;
        while row < rows {
            match bytes.varint()? {
                0 => {
                    let run = usize::try_from(bytes.varint()?).ok()?;
                    row = row.checked_add(run)?.checked_add(1)?;
                    if row > rows {
                        return None;
                    }
                }
                delta => {
                    let cell = &mut self.values[row * width + column];
                    *cell = cell.wrapping_add(unzigzag(delta));
                    row += 1;
                }
            }
        }
        Some(())
    }
}
