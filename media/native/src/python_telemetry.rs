//! Telemetry's Python face, for readers. The docstrings are in `media/_native.pyi`.

use std::collections::HashSet;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::telemetry::{EntityId, Fold, Kind, Wanted};

/// At, count, least, most, sum, last.
type Point = (i64, u32, f64, f64, f64, f64);

/// Folds frames into buckets of time.
#[pyclass(module = "media._native")]
pub(crate) struct TelemetryFold(Fold);

fn kind_of(word: &str) -> PyResult<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.word() == word)
        .ok_or_else(|| PyValueError::new_err(format!("no kind of entity: {word}")))
}

#[pymethods]
impl TelemetryFold {
    #[new]
    #[pyo3(signature = (*, since_ns, until_ns, points, ids = None, metrics = None))]
    fn new(
        since_ns: i64,
        until_ns: i64,
        points: u32,
        ids: Option<HashSet<String>>,
        metrics: Option<HashSet<String>>,
    ) -> Self {
        Self(Fold::new(
            since_ns,
            until_ns,
            points,
            Wanted { ids, metrics },
        ))
    }

    fn take(&mut self, at_ns: i64, frame: &[u8]) -> PyResult<()> {
        self.0
            .take(at_ns, frame)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn skipped(&self) -> u64 {
        self.0.skipped()
    }

    fn entities(&self) -> Vec<(&'static str, String, u8)> {
        let all = self.0.entities();
        all.map(|(kind, entity)| (kind.word(), entity.id.clone(), entity.encoding))
            .collect()
    }

    fn series(&self, kind: &str, id: String, encoding: u8, metric: &str) -> PyResult<Vec<Point>> {
        let entity = EntityId { id, encoding };
        let cells = self.0.series(kind_of(kind)?, &entity, metric);
        Ok(cells
            .iter()
            .map(|one| (one.at_ns, one.count, one.min, one.max, one.sum, one.last))
            .collect())
    }
}

/// The names of a kind's metrics.
#[pyfunction]
pub(crate) fn telemetry_metrics(kind: &str) -> PyResult<Vec<&'static str>> {
    Ok(kind_of(kind)?
        .metrics()
        .iter()
        .map(|one| one.name)
        .collect())
}
