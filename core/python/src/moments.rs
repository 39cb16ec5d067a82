//! Sums over rows that are not kept, from which aligners are fitted.

use crate::{
    aligner::{AlignerOptions, Maps},
    arrays::{matrix, vector},
    environment::Setup,
    error::of_message,
    interruptible::{StopFlag, interruptible},
    progress::PythonReporter,
};
use chiasm_closed_form::{Curve, FitContext, FitExport, SummedView, fit_named};
use chiasm_pipeline::Reporter;
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The moments of the views `view0`, `view1` and so on.
#[pyclass(module = "chiasm._core")]
pub struct Moments(chiasm_closed_form::Moments);

fn failed(py: Python<'_>, error: chiasm_closed_form::Error) -> PyErr {
    of_message(py, "chiasm::moments", error)
}

#[pymethods]
impl Moments {
    /// The moments of no rows of views of these widths.
    #[new]
    #[pyo3(signature = (widths, curve, seed))]
    fn new(py: Python<'_>, widths: Vec<usize>, curve: Option<String>, seed: u64) -> PyResult<Self> {
        let curve: Option<Curve> = serde_json::from_value(Value::from(curve))
            .map_err(|error| of_message(py, "chiasm::moments", format!("curve: {error}")))?;
        let view = |(at, width): (usize, usize)| SummedView::new(&format!("view{at}"), width);
        let views = widths.into_iter().enumerate().map(view).collect();
        chiasm_closed_form::Moments::new(views, curve, seed).map(Self).map_err(|error| failed(py, error))
    }

    /// Reads moments that were serialised.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        chiasm_closed_form::Moments::from_bytes(bytes).map(Self).map_err(|error| failed(py, error))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.0.to_bytes().map_err(|error| failed(py, error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Adds rows, given the items `[n, width]` of each view.
    fn update(&mut self, py: Python<'_>, items: Vec<PyReadonlyArray2<'_, f32>>) -> PyResult<()> {
        let items: Vec<_> = items.iter().map(|items| matrix(py, items)).collect::<PyResult<_>>()?;
        py.detach(|| self.0.update(&items)).map_err(|error| failed(py, error))
    }

    /// Adds the rows of other moments.
    fn merge(&mut self, py: Python<'_>, other: &Self) -> PyResult<()> {
        py.detach(|| self.0.merge(&other.0)).map_err(|error| failed(py, error))
    }

    /// The number of rows.
    #[getter]
    fn count(&self) -> u64 {
        self.0.count()
    }

    /// The widths of the views.
    #[getter]
    fn widths(&self) -> Vec<usize> {
        self.0.views().iter().map(SummedView::width).collect()
    }

    /// Fits the aligner `id`.
    #[pyo3(signature = (id, options, listener=None))]
    fn fit(
        &self,
        py: Python<'_>,
        id: &str,
        options: AlignerOptions,
        listener: Option<Py<PyAny>>,
    ) -> PyResult<Maps> {
        let AlignerOptions { parameters, anchor, seed, device, threads } = options;
        let parameters: Value =
            serde_json::from_str(&parameters).map_err(|error| of_message(py, "chiasm::parameters", error))?;
        let anchor = anchor.and_then(|anchor| self.0.views().iter().position(|view| view.name == anchor));
        let setup = Setup::new(py, &device, threads)?;
        let stop = StopFlag::default();
        let reporter = PythonReporter::new(listener, &stop);
        let export = interruptible(py, &stop, || {
            reporter.begin(&format!("align ({id})"), 0);
            let progress = |_, _| !reporter.stop_requested();
            let fitted =
                fit_named(id, &parameters, &self.0, anchor, FitContext { seed, progress: &progress });
            reporter.end();
            fitted
        })?;
        Ok(maps(export.map_err(|error| failed(py, error))?, setup))
    }
}

/// The maps of a fit.
fn maps(export: FitExport, setup: Setup) -> Maps {
    let report = serde_json::json!({ "parameters": export.parameters, "notes": export.notes });
    let inverses = export.inverses.into_iter().map(|inverse| inverse.map(|inverse| inverse.graph));
    Maps::new(export.maps, inverses.collect(), report.to_string(), setup)
}

/// The second reading of the rows of moments, for Procrustes.
#[pyclass(module = "chiasm._core")]
pub struct SecondPass {
    pass: chiasm_closed_form::SecondPass,
    names: Vec<String>,
    device: String,
    threads: usize,
}

#[pymethods]
impl SecondPass {
    /// Chooses the parameters that are not given.
    #[new]
    fn new(py: Python<'_>, moments: &Moments, options: AlignerOptions) -> PyResult<Self> {
        let AlignerOptions { parameters, anchor, seed, device, threads } = options;
        let parameters: Value =
            serde_json::from_str(&parameters).map_err(|error| of_message(py, "chiasm::parameters", error))?;
        let names: Vec<String> = moments.0.views().iter().map(|view| view.name.clone()).collect();
        let anchor = anchor.and_then(|anchor| names.iter().position(|name| *name == anchor));
        let stop = StopFlag::default();
        let pass = interruptible(py, &stop, || {
            let progress = |_, _| !stop.is_set();
            let context = FitContext { seed, progress: &progress };
            chiasm_closed_form::SecondPass::of_json(&parameters, &moments.0, anchor, context)
        })?;
        Ok(Self { pass: pass.map_err(|error| failed(py, error))?, names, device, threads })
    }

    /// Adds rows, given the items `[n, width]` of each view.
    fn update(&mut self, py: Python<'_>, items: Vec<PyReadonlyArray2<'_, f32>>) -> PyResult<()> {
        let items: Vec<_> = items.iter().map(|items| matrix(py, items)).collect::<PyResult<_>>()?;
        py.detach(|| self.pass.update(&items)).map_err(|error| failed(py, error))
    }

    /// Adds the rows of another second pass.
    fn merge(&mut self, py: Python<'_>, other: &Self) -> PyResult<()> {
        py.detach(|| self.pass.merge(&other.pass)).map_err(|error| failed(py, error))
    }

    /// The number of rows that were read again.
    #[getter]
    fn count(&self) -> u64 {
        self.pass.count()
    }

    /// The chosen parameters: the curve of each view, and the number of dimensions.
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let chosen = self.pass.parameters();
        let curves = chosen.curve.iter().flat_map(|curve| {
            self.names.iter().filter_map(|name| Some((name, curve.get(name)?.to_string())))
        });
        let found = PyDict::new(py);
        found.set_item("curve", curves.collect::<BTreeMap<_, _>>())?;
        found.set_item("dimensions", chosen.dimensions)?;
        Ok(found)
    }

    /// The sums, which [`SecondPass::restore`] takes.
    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_vec(py, self.pass.sums())
    }

    /// Replaces the sums by those of another second pass with the same moments and parameters.
    fn restore(&mut self, py: Python<'_>, count: u64, sums: PyReadonlyArray1<'_, f64>) -> PyResult<()> {
        let restored = self.pass.clone().with_sums(count, vector(py, &sums)?);
        self.pass = restored.map_err(|error| failed(py, error))?;
        Ok(())
    }

    /// Fits the rotations. The arguments are those of [`Moments::fit`]; all of them were used at the start.
    #[pyo3(signature = (_id, _options, _listener=None))]
    fn fit(
        &self,
        py: Python<'_>,
        _id: &str,
        _options: AlignerOptions,
        _listener: Option<Py<PyAny>>,
    ) -> PyResult<Maps> {
        let setup = Setup::new(py, &self.device, self.threads)?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let export = py.detach(|| self.pass.clone().fit().and_then(|fitted| fitted.export(&names)));
        Ok(maps(export.map_err(|error| failed(py, error))?, setup))
    }
}
