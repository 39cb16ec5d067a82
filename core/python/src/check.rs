//! Checks and Jacobians of maps in ONNX files.

use crate::{
    arrays::matrix,
    environment::Setup,
    error::{of_message, of_pipeline},
    interruptible::{StopFlag, interruptible},
};
use chiasm_check::{CheckInput, CheckSettings, InverseSides, LearnedMap, check as check_map};
use chiasm_graph::Graph;
use chiasm_pipeline::{Error, SilentReporter};
use chiasm_runtime::SessionOptions;
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;
use std::{path::PathBuf, sync::Arc};

/// An ONNX model: a file or its bytes.
#[derive(FromPyObject)]
pub enum Model {
    /// The content of a file without external weights.
    Bytes(Vec<u8>),
    /// A file.
    File(PathBuf),
}

impl Model {
    fn load(&self, py: Python<'_>) -> PyResult<Graph> {
        let graph = match self {
            Self::Bytes(bytes) => Graph::from_bytes(bytes),
            Self::File(path) => Graph::load(path),
        };
        graph.map_err(|error| of_message(py, "chiasm::graph", error))
    }
}

/// Checks a map at points `[n, d]`, on a device with some threads. Returns the report as JSON.
#[pyfunction]
#[pyo3(signature = (model, points, inverse, targets, place))]
pub fn check(
    py: Python<'_>,
    model: Model,
    points: PyReadonlyArray2<'_, f32>,
    inverse: Option<Model>,
    targets: Option<PyReadonlyArray2<'_, f32>>,
    place: (String, usize),
) -> PyResult<String> {
    let setup = Setup::new(py, &place.0, place.1)?;
    let map = model.load(py)?;
    let inverse = inverse.map(|inverse| inverse.load(py)).transpose()?;
    let points = matrix(py, &points)?;
    let targets = targets.as_ref().map(|targets| matrix(py, targets)).transpose()?;
    let report = interruptible(py, &StopFlag::default(), || -> Result<_, Error> {
        let env = setup.environment(Arc::new(SilentReporter))?;
        let reached = match targets.filter(|rows| rows.nrows() > rows.ncols()) {
            Some(targets) => Some(chiasm_check::spanned(targets).map_err(failed)?),
            None => None,
        };
        let input = CheckInput {
            name: "map",
            map: &map,
            points,
            inverse: inverse.as_ref().map(|graph| (graph, InverseSides { left: true, right: true })),
            targets,
            labels: None,
            spanned: None,
            reached,
        };
        let options =
            SessionOptions { device: setup.device, threads: setup.threads, ..SessionOptions::default() };
        check_map(&input, &CheckSettings::default(), env.engine()?, &options, &|_, _| ()).map_err(failed)
    })?
    .map_err(|error| of_pipeline(py, &error))?;
    serde_json::to_string(&report).map_err(|error| of_message(py, "chiasm::internal", error))
}

/// Returns the Jacobians `[n, o, d]` of a map at points `[n, d]`.
#[pyfunction]
#[pyo3(signature = (model, points, *, device, threads))]
pub fn jacobian<'py>(
    py: Python<'py>,
    model: Model,
    points: PyReadonlyArray2<'py, f32>,
    device: &str,
    threads: usize,
) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let setup = Setup::new(py, device, threads)?;
    let map = model.load(py)?;
    let points = matrix(py, &points)?;
    let (values, shape) = interruptible(py, &StopFlag::default(), || -> Result<_, Error> {
        let env = setup.environment(Arc::new(SilentReporter))?;
        let options = SessionOptions { device: setup.device, threads, ..SessionOptions::default() };
        let map = LearnedMap::open(&map, env.engine()?, &options).map_err(failed)?;
        map.require_single_rows(points).map_err(failed)?;
        let jacobians = map.jacobians().map_err(failed)?;
        let rows = jacobians
            .each(points, &|_| (), |_, jacobian| {
                Ok((
                    jacobian.transposed.t().iter().copied().collect::<Vec<f64>>(),
                    jacobian.transposed.ncols(),
                ))
            })
            .map_err(failed)?;
        let outputs = rows.first().map_or(0, |(_, outputs)| *outputs);
        let values: Vec<f64> = rows.into_iter().flat_map(|(values, _)| values).collect();
        Ok((values, [points.nrows(), outputs, points.ncols()]))
    })?
    .map_err(|error| of_pipeline(py, &error))?;
    PyArray1::from_vec(py, values).reshape(shape)
}

fn failed(error: chiasm_check::Error) -> Error {
    Error::input("chiasm::check", error.to_string(), "see core/check/README.md")
}
