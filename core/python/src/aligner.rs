//! Aligners of plugins, fitted on arrays.

use crate::{
    arrays::{mapped, matrix, to_numpy, vector},
    environment::Setup,
    error::{of_message, of_pipeline},
    interruptible::{StopFlag, interruptible},
    progress::PythonReporter,
};
use chiasm_graph::Graph;
use chiasm_host::{AlignModality, AlignSpec, BorrowedArray, Parameter};
use chiasm_pipeline::{Environment, Error, SilentReporter};
use chiasm_runtime::Session;
use ndarray::Array2;
use numpy::{PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The fitted maps of some views: ONNX graphs from `x` `[n, dim]` to `z` `[n, k]`, and inverses from `z` to
/// `x` where there are any.
#[pyclass(frozen, module = "chiasm._core")]
pub struct Maps {
    maps: Vec<LoadedGraph>,
    inverses: Vec<Option<LoadedGraph>>,
    /// JSON: the parameters that were chosen, and what the plugin noted.
    #[pyo3(get)]
    report: String,
    setup: Setup,
}

/// A graph, and the session that runs it once it was needed.
struct LoadedGraph {
    graph: Graph,
    session: OnceLock<Session>,
}

impl LoadedGraph {
    fn new(graph: Graph) -> Self {
        Self { graph, session: OnceLock::new() }
    }

    /// Runs rows through the graph, from `input` to `output`.
    fn run(&self, rows: Array2<f32>, input: &str, output: &str, setup: &Setup) -> Result<Array2<f32>, Error> {
        let session = match self.session.get() {
            Some(session) => session,
            None => {
                let session = environment(setup)?.session(&self.graph)?;
                self.session.get_or_init(|| session)
            }
        };
        mapped(session, rows, input, output)
    }
}

impl Maps {
    /// The maps of views, their inverses, and the report, a JSON object.
    pub fn new(maps: Vec<Graph>, inverses: Vec<Option<Graph>>, report: String, setup: Setup) -> Self {
        let maps = maps.into_iter().map(LoadedGraph::new).collect();
        let inverses = inverses.into_iter().map(|inverse| inverse.map(LoadedGraph::new)).collect();
        Self { maps, inverses, report, setup }
    }
}

fn environment(setup: &Setup) -> Result<Environment, Error> {
    setup.environment(Arc::new(SilentReporter))
}

#[pymethods]
impl Maps {
    /// Restores maps that were pickled.
    #[staticmethod]
    fn restore(
        py: Python<'_>,
        maps: Vec<Vec<u8>>,
        inverses: Vec<Option<Vec<u8>>>,
        report: String,
        device: &str,
        threads: usize,
    ) -> PyResult<Self> {
        let graph = |bytes: Vec<u8>| {
            Graph::from_bytes(&bytes).map_err(|error| of_message(py, "chiasm::graph", error))
        };
        let maps = maps.into_iter().map(graph).collect::<PyResult<_>>()?;
        let inverses = inverses.into_iter().map(|bytes| bytes.map(graph).transpose());
        let inverses = inverses.collect::<PyResult<_>>()?;
        Ok(Self::new(maps, inverses, report, Setup::new(py, device, threads)?))
    }

    /// Returns what `pickle` stores: the graphs, the report and how they are run.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let maps: Vec<_> = self.maps.iter().map(|map| bytes(py, map)).collect::<PyResult<_>>()?;
        let inverses: Vec<_> = (self.inverses.iter())
            .map(|inverse| inverse.as_ref().map(|inverse| bytes(py, inverse)).transpose())
            .collect::<PyResult<_>>()?;
        let Setup { device, threads } = self.setup;
        let state = (maps, inverses, &self.report, device.as_str(), threads).into_pyobject(py)?;
        Ok((py.get_type::<Self>().getattr("restore")?, state))
    }

    /// The width of the shared space.
    #[getter]
    fn width(&self) -> Option<usize> {
        let outputs = self.maps.first()?.graph.outputs();
        outputs.iter().find(|port| port.name == "z")?.fixed(-1)
    }

    /// Maps rows `[n, dim]` of the view `at` into the shared space `[n, k]`.
    fn transform<'py>(
        &self,
        py: Python<'py>,
        at: usize,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        run(py, self.maps.get(at), rows, ["x", "z"], &self.setup)
    }

    /// Maps rows `[n, k]` of the shared space back to the view `at`.
    fn inverse<'py>(
        &self,
        py: Python<'py>,
        at: usize,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        run(py, self.inverses.get(at).and_then(Option::as_ref), rows, ["z", "x"], &self.setup)
    }

    /// Returns the bytes of the map of a view, an ONNX file.
    fn onnx<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyBytes>> {
        bytes(py, self.maps.get(at).ok_or_else(|| no_map(py))?)
    }
}

fn no_map(py: Python<'_>) -> PyErr {
    of_message(py, "chiasm::inverse", "this view has no such map: the aligner has no inverse for it")
}

fn bytes<'py>(py: Python<'py>, map: &LoadedGraph) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = map.graph.to_bytes().map_err(|error| of_message(py, "chiasm::graph", error))?;
    Ok(PyBytes::new(py, &bytes))
}

fn run<'py>(
    py: Python<'py>,
    map: Option<&LoadedGraph>,
    rows: PyReadonlyArray2<'py, f32>,
    [input, output]: [&str; 2],
    setup: &Setup,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let map = map.ok_or_else(|| no_map(py))?;
    let rows = matrix(py, &rows)?;
    let found = py.detach(|| map.run(rows.to_owned(), input, output, setup));
    to_numpy(py, found.map_err(|error| of_pipeline(py, &error))?)
}

/// The views `[n_i, dim_i]` that maps are fitted on, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct AlignerData<'py> {
    views: Vec<PyReadonlyArray2<'py, f32>>,
    /// The row number of each item: items of one number belong together.
    rows: Vec<PyReadonlyArray1<'py, i64>>,
    names: Vec<String>,
}

/// How maps are fitted, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct AlignerOptions {
    /// The parameters of the plugin, a JSON object.
    pub parameters: String,
    /// The name of the view that the others are compared with.
    pub anchor: Option<String>,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// Where graphs run.
    pub device: String,
    /// The number of threads; 0 means all cores.
    pub threads: usize,
}

/// Fits the aligner `id`.
#[pyfunction]
#[pyo3(signature = (id, data, options, listener=None))]
pub fn fit_aligner(
    py: Python<'_>,
    id: &str,
    data: AlignerData<'_>,
    options: AlignerOptions,
    listener: Option<Py<PyAny>>,
) -> PyResult<Maps> {
    let AlignerData { views, rows, names } = data;
    let AlignerOptions { parameters, anchor, seed, device, threads } = options;
    let parameters: Value =
        serde_json::from_str(&parameters).map_err(|error| of_message(py, "chiasm::parameters", error))?;
    let setup = Setup::new(py, &device, threads)?;
    let stop = StopFlag::default();
    let reporter = PythonReporter::new(listener, &stop);
    let views: Vec<_> = views.iter().map(|view| matrix(py, view)).collect::<PyResult<_>>()?;
    let rows: Vec<_> = rows.iter().map(|rows| vector(py, rows)).collect::<PyResult<_>>()?;
    let learned = interruptible(py, &stop, || -> Result<_, Error> {
        let env = setup.environment(reporter)?;
        let modality =
            |(name, dim): (&String, usize)| AlignModality { name: name.clone(), dim, blocks: vec![dim] };
        let widths = views.iter().map(|view| view.ncols());
        let spec = AlignSpec { modalities: names.iter().zip(widths).map(modality).collect(), anchor };
        let ports: Vec<[String; 2]> =
            names.iter().map(|name| [format!("{name}.pooled"), format!("{name}.row")]).collect();
        let mut data: Vec<(&str, BorrowedArray<'_>)> = Vec::new();
        for (([pooled, row], view), rows) in ports.iter().zip(&views).zip(&rows) {
            let shape = [view.nrows(), view.ncols()];
            data.push((pooled, BorrowedArray::f32(&shape, view.as_slice().unwrap_or_default())));
            data.push((row, BorrowedArray::i64(&[rows.len()], rows)));
        }
        let services = env.services(&format!("align ({id})"), seed);
        Ok(env.host.aligner(id)?.fit(&spec, &data, &parameters, &services)?)
    })?
    .map_err(|error| of_pipeline(py, &error))?;
    let report = serde_json::json!({ "parameters": learned.parameters, "notes": learned.notes });
    let inverses = learned.inverses.into_iter().map(|inverse| inverse.map(|inverse| inverse.graph));
    Ok(Maps::new(learned.maps, inverses.collect(), report.to_string(), setup))
}

/// Returns the names, the documentation and the default values (JSON) of an aligner's parameters.
#[pyfunction]
pub fn aligner_parameters(py: Python<'_>, id: &str) -> PyResult<Vec<(String, String, String)>> {
    let setup = Setup::new(py, "cpu", 0)?;
    let found = environment(&setup).and_then(|env| Ok(env.host.aligner(id)?.parameters()?));
    let described = |parameter: Parameter| {
        let default = serde_json::to_string(&parameter.default).unwrap_or_else(|_| "null".to_owned());
        (parameter.name.to_string(), parameter.doc.to_string(), default)
    };
    Ok(found.map_err(|error| of_pipeline(py, &error))?.into_iter().map(described).collect())
}
