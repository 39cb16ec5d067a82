//! Sums over rows that are not kept, from which aligners are fitted.

use crate::{
    aligner::{AlignerOptions, Maps},
    arrays::matrix,
    environment::Setup,
    error::of_message,
    interruptible::{StopFlag, interruptible},
    progress::PythonReporter,
};
use chiasm_closed_form::{Curve, FitContext, SummedView, fit_named};
use chiasm_pipeline::Reporter;
use numpy::PyReadonlyArray2;
use pyo3::{prelude::*, types::PyBytes};
use serde_json::Value;

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
        let export = export.map_err(|error| failed(py, error))?;
        let report = serde_json::json!({ "parameters": export.parameters, "notes": export.notes });
        let inverses = export.inverses.into_iter().map(|inverse| inverse.map(|inverse| inverse.graph));
        Ok(Maps::new(export.maps, inverses.collect(), report.to_string(), setup))
    }
}
