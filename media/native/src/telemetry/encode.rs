//! Writes frames.

use super::varint::{put, zigzag};
use super::{KEY_EVERY, Kind, VERSION};

/// Names an entity in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId {
    /// The id of the transport, producer or consumer.
    pub id: String,
    /// Index of a producer's encoding, else 0.
    pub encoding: u8,
}

/// What stands at the head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The worker that sampled.
    pub worker: u32,
    /// Time since the sample before, in µs.
    pub interval_us: u64,
}

/// How the table of one kind changed, and what its entities did.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Rows of the table as it was that are gone, ascending.
    pub removed: Vec<u32>,
    /// Entities that come at its end.
    pub added: Vec<EntityId>,
    /// Coded values, row by row, of the table as it is now.
    pub values: Vec<i64>,
}

#[derive(Debug, Default)]
struct Table {
    ids: Vec<EntityId>,
    values: Vec<i64>,
}

/// Writes the frames of one room, each as the difference to the one before.
#[derive(Debug, Default)]
pub struct Encoder {
    tables: [Table; 3],
    sequence: u64,
}

impl Encoder {
    /// Writes the next frame.
    ///
    /// # Panics
    /// If the changes do not fit the tables: a row that is not there, or too few values.
    pub fn encode(&mut self, head: Head, changes: [Changes; 3]) -> Vec<u8> {
        let key = self.sequence.is_multiple_of(KEY_EVERY);
        let mut out = Vec::with_capacity(256);
        out.extend([VERSION, u8::from(key)]);
        put(&mut out, u64::from(head.worker));
        put(&mut out, self.sequence);
        put(&mut out, head.interval_us);
        self.sequence += 1;
        for ((kind, table), change) in Kind::ALL.into_iter().zip(&mut self.tables).zip(&changes) {
            table.change(change, kind.metrics().len());
            if key {
                table.values.fill(0);
                put_rows(&mut out, &[], &table.ids);
            } else {
                put_rows(&mut out, &change.removed, &change.added);
            }
        }
        for ((kind, table), change) in Kind::ALL.into_iter().zip(&mut self.tables).zip(changes) {
            let width = kind.metrics().len();
            assert_eq!(change.values.len(), table.values.len(), "a value a cell");
            for column in 0..width {
                put_column(&mut out, &table.values, &change.values, column, width);
            }
            table.values = change.values;
        }
        out
    }
}

impl Table {
    fn change(&mut self, change: &Changes, width: usize) {
        let mut removed = change.removed.iter().peekable();
        let mut place = 0;
        let mut gone = |row: &mut u32| {
            let is_gone = removed.next_if(|&&one| one == *row).is_some();
            *row += 1;
            is_gone
        };
        if !change.removed.is_empty() {
            let mut row = 0;
            let (ids, values) = (&mut self.ids, &mut self.values);
            let mut kept = Vec::with_capacity(values.len());
            ids.retain(|_| {
                let keep = !gone(&mut row);
                if keep {
                    kept.extend_from_slice(&values[place..place + width]);
                }
                place += width;
                keep
            });
            *values = kept;
        }
        self.ids.extend_from_slice(&change.added);
        self.values.resize(self.ids.len() * width, 0);
    }
}

fn put_rows(out: &mut Vec<u8>, removed: &[u32], added: &[EntityId]) {
    put(out, removed.len() as u64);
    let mut next = 0;
    for &row in removed {
        put(out, u64::from(row - next));
        next = row + 1;
    }
    put(out, added.len() as u64);
    for entity in added {
        put(out, entity.id.len() as u64);
        out.extend_from_slice(entity.id.as_bytes());
        put(out, u64::from(entity.encoding));
    }
}

fn put_column(out: &mut Vec<u8>, before: &[i64], now: &[i64], column: usize, width: usize) {
    let mut zeros = 0_u64;
    for cell in (column..now.len()).step_by(width) {
        let delta = now[cell].wrapping_sub(before[cell]);
        if delta == 0 {
            zeros += 1;
            continue;
        }
        if zeros > 0 {
            out.push(0);
            put(out, zeros - 1);
            zeros = 0;
        }
        put(out, zigzag(delta));
    }
    if zeros > 0 {
        out.push(0);
        put(out, zeros - 1);
    }
}
