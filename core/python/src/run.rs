//! An opened run. A thread of its own holds it with the graphs that were loaded, and answers questions.

use crate::{
    arrays::{mapped, matrix, to_numpy},
    environment::Setup,
    error::{exception, of_message, of_pipeline},
    interruptible::{StopFlag, interruptible},
};
use chiasm_host::Takes;
use chiasm_pipeline::{
    Error, Gallery, GalleryHit, RawItem, RunOutputs, RunSession, SessionThreads, SilentReporter,
};
use chiasm_runtime::Session;
use ndarray::{Array1, Array2, Axis, concatenate};
use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

/// The number of items between two looks at Ctrl-C.
const ITEMS: usize = 256;

type PipelineRun<'r> = chiasm_pipeline::Run<'r>;
type Question = Box<dyn for<'r> FnOnce(&mut OpenRun<'r>) + Send>;

/// A run folder that was opened.
#[pyclass(frozen, module = "chiasm._core")]
pub struct Run {
    questions: Mutex<mpsc::Sender<Question>>,
    /// JSON: the manifest of the run.
    #[pyo3(get)]
    manifest: String,
    /// The modalities and what their items are: `path`, `text` or `row`.
    #[pyo3(get)]
    modalities: Vec<(String, &'static str)>,
    /// The width of the shared space.
    #[pyo3(get)]
    dim: usize,
}

/// A run with what was loaded of it.
struct OpenRun<'r> {
    run: &'r PipelineRun<'r>,
    of_items: BTreeMap<Vec<String>, RunSession>,
    of_vectors: BTreeMap<String, Session>,
    galleries: Option<Vec<Gallery>>,
}

#[pymethods]
impl Run {
    /// Opens a run folder.
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, device: &str, threads: usize) -> PyResult<Self> {
        let setup = Setup::new(py, device, threads)?;
        let (opened, answer) = mpsc::channel();
        let (questions, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("chiasm-run".to_owned());
        thread
            .spawn(move || hold(&folder, &setup, &opened, receiver))
            .map_err(|error| of_message(py, "chiasm::run", error))?;
        let answer = Mutex::new(answer);
        let about = py
            .detach(|| answer.lock().unwrap_or_else(PoisonError::into_inner).recv())
            .unwrap_or_else(|_| Err(Error::Internal("opening the run panicked".to_owned())));
        let About { manifest, modalities, dim } = about.map_err(|error| of_pipeline(py, &error))?;
        Ok(Self { questions: Mutex::new(questions), manifest, modalities, dim })
    }

    /// Runs raw items of some modalities, one column of each. Returns the outputs by name, and why items
    /// could not be read, by their index.
    #[expect(clippy::type_complexity, reason = "a tuple for Python")]
    fn outputs<'py>(
        &self,
        py: Python<'py>,
        columns: BTreeMap<String, Vec<String>>,
    ) -> PyResult<(BTreeMap<String, Bound<'py, PyArray2<f32>>>, BTreeMap<usize, String>)> {
        let stop = StopFlag::default();
        let flag = stop.clone();
        let (outputs, bad) = self.ask(py, &stop, move |open| open.outputs(&columns, &flag))?;
        let matrices = outputs.into_iter().map(|(name, matrix)| Ok((name, to_numpy(py, matrix)?)));
        Ok((matrices.collect::<PyResult<_>>()?, bad))
    }

    /// Maps vectors `[n, width]` of a modality that has no encoder into the shared space.
    fn vectors<'py>(
        &self,
        py: Python<'py>,
        modality: String,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let rows = matrix(py, &rows)?.to_owned();
        to_numpy(py, self.ask(py, &StopFlag::default(), move |open| open.vectors(&modality, rows))?)
    }

    /// Returns the best test items of the modality `among` for a query vector: score, row and item.
    fn search(
        &self,
        py: Python<'_>,
        query: Vec<f32>,
        among: String,
        top: usize,
    ) -> PyResult<Vec<(f32, String, String)>> {
        self.ask(py, &StopFlag::default(), move |open| open.search(Array1::from(query), &among, top))
    }
}

impl Run {
    /// Asks the thread of the run, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        stop: &StopFlag,
        question: impl for<'r> FnOnce(&mut OpenRun<'r>) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        let (sender, answer) = mpsc::channel();
        let asked = Box::new(move |open: &mut OpenRun<'_>| {
            // Whoever asked may have been interrupted.
            let _ = sender.send(question(open));
        });
        let sent = self.questions.lock().unwrap_or_else(PoisonError::into_inner).send(asked);
        let gone = || Error::Internal("the run ended with a panic".to_owned());
        let answer = Mutex::new(answer);
        let received = interruptible(py, stop, || {
            sent.map_err(|_| gone())?;
            answer.lock().unwrap_or_else(PoisonError::into_inner).recv().map_err(|_| gone())?
        })?;
        received.map_err(|error| of_pipeline(py, &error))
    }
}

/// What a run tells when it was opened.
struct About {
    manifest: String,
    modalities: Vec<(String, &'static str)>,
    dim: usize,
}

/// Opens a run and answers questions until its channel is closed.
fn hold(
    folder: &Path,
    setup: &Setup,
    opened: &mpsc::Sender<Result<About, Error>>,
    questions: mpsc::Receiver<Question>,
) {
    let begin = || setup.environment(Arc::new(SilentReporter));
    let env = match begin() {
        Ok(env) => env,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let run = match PipelineRun::open(folder, &env) {
        Ok(run) => run,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let mut open =
        OpenRun { run: &run, of_items: BTreeMap::new(), of_vectors: BTreeMap::new(), galleries: None };
    if opened.send(open.about()).is_ok() {
        for question in questions {
            question(&mut open);
        }
    }
}

impl OpenRun<'_> {
    fn about(&self) -> Result<About, Error> {
        let manifest =
            serde_json::to_string(&self.run.manifest).map_err(|error| Error::Internal(error.to_string()))?;
        let modalities = (self.run.manifest.modalities.iter())
            .map(|modality| {
                let takes = match self.run.takes(&modality.name)? {
                    Takes::Path => "path",
                    Takes::Text => "text",
                    Takes::Row => "row",
                };
                Ok((modality.name.clone(), takes))
            })
            .collect::<Result<_, Error>>()?;
        let embeds = self.run.manifest.modalities.first().map(|modality| modality.output.as_str());
        let ports = self.run.model().outputs();
        let port = ports.iter().find(|port| Some(port.name.as_str()) == embeds);
        Ok(About { manifest, modalities, dim: port.and_then(|port| port.fixed(-1)).unwrap_or_default() })
    }

    fn outputs(
        &mut self,
        columns: &BTreeMap<String, Vec<String>>,
        stop: &StopFlag,
    ) -> Result<(RunOutputs, BTreeMap<usize, String>), Error> {
        let names: Vec<String> = self
            .run
            .names()
            .into_iter()
            .filter(|name| columns.contains_key(*name))
            .map(str::to_owned)
            .collect();
        let mut items: Vec<Vec<RawItem>> = Vec::new();
        for name in &names {
            let takes = self.run.takes(name)?;
            let parse = |written: &String| match RawItem::parse(written, takes, Path::new("")) {
                Ok(item) => Ok(item),
                Err(message) => Err(Error::input("chiasm::run::item", message, "give another item")),
            };
            items.push(columns[name].iter().map(parse).collect::<Result<_, Error>>()?);
        }
        let session = match self.of_items.remove(&names) {
            Some(session) => session,
            None => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.run.session(&names, SessionThreads::OneEach)?
            }
        };
        let session = self.of_items.entry(names).or_insert(session);
        let count = items.iter().map(Vec::len).min().unwrap_or_default();
        let mut parts: BTreeMap<String, Vec<Array2<f32>>> = BTreeMap::new();
        let mut bad = BTreeMap::new();
        for start in (0..count).step_by(ITEMS) {
            if stop.is_set() {
                return Err(Error::input("chiasm::interrupted", "it was stopped", "run it again"));
            }
            let end = (start + ITEMS).min(count);
            let columns: Vec<&[RawItem]> = items.iter().map(|items| &items[start..end]).collect();
            let found = session.run(&columns)?;
            bad.extend(found.bad.into_iter().map(|(at, reason)| (start + at, reason)));
            found.outputs.into_iter().for_each(|(name, rows)| parts.entry(name).or_default().push(rows));
        }
        let outputs = parts.into_iter().map(|(name, parts)| Ok((name, joined(&parts)?)));
        Ok((outputs.collect::<Result<_, Error>>()?, bad))
    }

    fn vectors(&mut self, modality: &str, rows: Array2<f32>) -> Result<Array2<f32>, Error> {
        let found = self.run.manifest.modalities.iter().find(|own| own.name == modality);
        let manifest = found.ok_or_else(|| Error::Internal(format!("no modality {modality:?}")))?;
        let inputs: Vec<&String> = manifest.encoders.iter().flat_map(|own| own.inputs.values()).collect();
        let [input] = inputs[..] else {
            let message =
                format!("{modality:?} does not take vectors: its model has {} inputs", inputs.len());
            return Err(Error::input("chiasm::run::item", message, "give its raw items"));
        };
        let expected: usize = manifest.encoders.iter().map(|own| own.pooled).sum();
        if rows.ncols() != expected {
            let message = format!("{modality}: expected vectors of width {expected}, got {}", rows.ncols());
            return Err(Error::input("chiasm::run::item", message, "give vectors of the file's encoder"));
        }
        let session = match self.of_vectors.remove(modality) {
            Some(session) => session,
            None => self.run.tensor_session(&[&manifest.output], 0)?,
        };
        let session = self.of_vectors.entry(modality.to_owned()).or_insert(session);
        mapped(session, rows, input, &manifest.output)
    }

    fn search(
        &mut self,
        query: Array1<f32>,
        among: &str,
        top: usize,
    ) -> Result<Vec<(f32, String, String)>, Error> {
        let galleries = match self.galleries.take() {
            Some(galleries) => galleries,
            None => self.run.galleries()?,
        };
        let galleries = self.galleries.insert(galleries);
        let gallery = galleries.iter().find(|gallery| gallery.modality == among);
        let gallery = gallery.ok_or_else(|| Error::Internal(format!("no modality {among:?}")))?;
        let hit =
            |hit: GalleryHit| (hit.score, gallery.ids[hit.item].clone(), gallery.raw[hit.item].describe());
        Ok(gallery.search(query.view(), top)?.into_iter().map(hit).collect())
    }
}

/// Returns the error about an item that cannot be read.
#[pyfunction]
pub fn unreadable(py: Python<'_>, message: &str) -> Py<PyAny> {
    let error = exception(py, "chiasm::run::unreadable_item", message, Some("give another item"), None);
    error.into_value(py).into_any()
}

/// Joins the rows of several parts; tokens of different lengths are padded with zeros.
fn joined(parts: &[Array2<f32>]) -> Result<Array2<f32>, Error> {
    let width = parts.iter().map(Array2::ncols).max().unwrap_or_default();
    let wide: Vec<Array2<f32>> = (parts.iter())
        .map(|part| {
            let mut wide = Array2::zeros((part.nrows(), width));
            wide.slice_axis_mut(Axis(1), (..part.ncols()).into()).assign(part);
            wide
        })
        .collect();
    let views: Vec<_> = wide.iter().map(Array2::view).collect();
    concatenate(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))
}
