//! Folds frames into buckets of time, so that an hour is drawn from a few hundred points.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::decode::{Decoder, FrameError};
use super::encode::EntityId;
use super::{Kind, Metric};

/// What a bucket holds of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// When its first sample was taken.
    pub at_ns: i64,
    /// Samples with a known value.
    pub count: u32,
    /// The least of them.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// All of them.
    pub sum: f64,
    /// The last.
    pub last: f64,
}

/// What is folded; None stands for all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Ids of entities.
    pub ids: Option<HashSet<String>>,
    /// Names of metrics.
    pub metrics: Option<HashSet<String>>,
}

/// Points of a series by the number of their bucket.
type Series = BTreeMap<u32, Cell>;

/// Folds the frames of a room, of all its workers, into equal buckets of time.
#[derive(Debug)]
pub struct Fold {
    since_ns: i64,
    bucket_ns: i64,
    buckets: u32,
    wanted: Wanted,
    decoders: HashMap<u64, Decoder>,
    series: BTreeMap<(Kind, EntityId), HashMap<usize, Series>>,
    /// Frames that could not be read for want of another.
    skipped: u64,
}

impl Fold {
    /// From `since_ns` up to `until_ns` in `points` buckets, at least one.
    pub fn new(since_ns: i64, until_ns: i64, points: u32, wanted: Wanted) -> Self {
        let buckets = points.max(1);
        let span = until_ns.saturating_sub(since_ns).max(1);
        let bucket_ns = (span.saturating_add(i64::from(buckets) - 1) / i64::from(buckets)).max(1);
        Self {
            since_ns,
            bucket_ns,
            buckets,
            wanted,
            decoders: HashMap::new(),
            series: BTreeMap::new(),
            skipped: 0,
        }
    }

    /// Takes a frame; frames of one worker come in order. Those before the time are needed too, to
    /// read the others.
    ///
    /// # Errors
    /// [`FrameError`]; the fold goes on with the worker's next key frame.
    pub fn take(&mut self, at_ns: i64, frame: &[u8]) -> Result<(), FrameError> {
        let worker = Decoder::worker_of(frame).ok_or(FrameError::Malformed)?;
        let decoder = self.decoders.entry(worker).or_default();
        if !decoder.decode(frame)? {
            self.skipped += 1;
            return Ok(());
        }
        let bucket = at_ns
            .saturating_sub(self.since_ns)
            .div_euclid(self.bucket_ns);
        let Some(bucket) = u32::try_from(bucket).ok().filter(|&n| n < self.buckets) else {
            return Ok(());
        };
        for (kind, table) in Kind::ALL.into_iter().zip(&decoder.tables) {
            let metrics = kind.metrics();
            let columns: Vec<(usize, &Metric)> = metrics
                .iter()
                .enumerate()
                .filter(|(_, metric)| {
                    let names = self.wanted.metrics.as_ref();
                    names.is_none_or(|names| names.contains(metric.name))
                })
                .collect();
            for (row, entity) in table.ids.iter().enumerate() {
                let ids = self.wanted.ids.as_ref();
                if columns.is_empty() || !ids.is_none_or(|ids| ids.contains(&entity.id)) {
                    continue;
                }
                let values = &table.values[row * metrics.len()..(row + 1) * metrics.len()];
                let of_entity = match self.series.get_mut(&(kind, entity.clone())) {
                    Some(found) => found,
                    None => self.series.entry((kind, entity.clone())).or_default(),
                };
                for &(column, metric) in &columns {
                    let series = of_entity.entry(column).or_default();
                    if let Some(value) = value_of(metric, values[column]) {
                        note(series, bucket, at_ns, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Frames that could not be read because one before them is missing.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// All entities with a known value in the time, in order of kind and id.
    pub fn entities(&self) -> impl Iterator<Item = (Kind, &EntityId)> {
        self.series.keys().map(|(kind, entity)| (*kind, entity))
    }

    /// The points of one series in order of time.
    pub fn series(&self, kind: Kind, entity: &EntityId, metric: &str) -> Vec<Cell> {
        let column = kind.metrics().iter().position(|one| one.name == metric);
        let of_entity = self.series.get(&(kind, entity.clone()));
        let found = column.and_then(|column| of_entity?.get(&column));
        found.map_or_else(Vec::new, |series| series.values().copied().collect())
    }
}

fn value_of(metric: &Metric, coded: i64) -> Option<f64> {
    let known = if metric.optional {
        coded.checked_sub(1).filter(|&known| known >= 0)?
    } else {
        coded
    };
    Some(known as f64 * metric.scale)
}

fn note(series: &mut Series, bucket: u32, at_ns: i64, value: f64) {
    let cell = series.entry(bucket).or_insert(Cell {
        at_ns,
        count: 0,
        min: value,
        max: value,
        sum: 0.0,
        last: value,
    });
    cell.count += 1;
    cell.min = cell.min.min(value);
    cell.max = cell.max.max(value);
    cell.sum += value;
    cell.last = value;
}
