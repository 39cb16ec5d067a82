//! Geometry measures of two clouds.

use crate::{
    arrays::{matrix, vector},
    error::of_message,
    interruptible::{StopFlag, interruptible},
};
use chiasm_geometry::measure::{MeasureOptions, measure as measure_clouds};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

/// What is measured, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct MeasureChoice {
    only: Option<Vec<String>>,
    k: Option<usize>,
    null: usize,
    seed: u64,
}

/// Measures two clouds of points `[n, a]` and `[m, b]` in double precision. Returns JSON.
#[pyfunction]
#[pyo3(signature = (x, y, options, labels=None))]
pub fn measure(
    py: Python<'_>,
    x: PyReadonlyArray2<'_, f64>,
    y: PyReadonlyArray2<'_, f64>,
    options: MeasureChoice,
    labels: Option<PyReadonlyArray1<'_, u64>>,
) -> PyResult<String> {
    let MeasureChoice { only, k, null, seed } = options;
    let mut options = MeasureOptions::new().null(null).seed(seed);
    if let Some(only) = &only {
        options = options.only(only);
    }
    if let Some(k) = k {
        options = options.k(k);
    }
    let labels = (labels.as_ref())
        .map(|labels| Ok::<_, PyErr>(vector(py, labels)?.iter().map(|label| *label as usize).collect()))
        .transpose()?;
    let options = options.labels(labels);
    let (x, y) = (matrix(py, &x)?, matrix(py, &y)?);
    let report = interruptible(py, &StopFlag::default(), || measure_clouds(x, y, &options, &|_, _, _| {}))?
        .map_err(|error| of_message(py, "chiasm::measure", error))?;
    serde_json::to_string(&report).map_err(|error| of_message(py, "chiasm::internal", error))
}
