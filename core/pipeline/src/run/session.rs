//! A part of a run that is loaded once and runs raw items of some modalities many times.

use super::open::{Run, RunOutputs};
use crate::{
    base::{
        error::Error,
        reporter::{Reporter, StageProgress},
    },
    catalog::{encoder::Encoder, raw::RawItem},
    plan::ModalityEncoders,
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_host::HostError;
use chiasm_runtime::{
    BadItemPolicy, BatchReceiver, EmbedOptions, EmbedRequest, ItemInput, Session, SessionOptions, embed,
};
use ndarray::Array2;
use std::{collections::BTreeMap, sync::Arc};

/// The threads of a [`RunSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionThreads {
    /// As many copies of the graph as the environment has threads, each with one: the fastest for many items.
    OneEach,
    /// One copy with this many threads. Calls of [`RunSession::run`] prepare their items one by one, so that
    /// several sessions can run side by side.
    Shared(usize),
}

/// The graph that raw items of some modalities need, and how they are prepared. It does not need the [`Run`]
/// any more, so that threads can hand it to one another.
pub struct RunSession {
    /// All modalities of the run.
    modalities: Arc<Vec<ModalityEncoders>>,
    reporter: Arc<dyn Reporter>,
    /// The modalities, in the order of the run.
    given: Vec<usize>,
    session: Session,
    outputs: Vec<String>,
    inputs: Vec<ItemInput>,
    /// Which tensors of each encoder of each given modality the graph takes.
    kept: Vec<Vec<Vec<bool>>>,
    /// The values of the ports of absent modalities.
    absent: Vec<Tensor>,
    threads: usize,
}

/// The outputs for some raw items, of which some could not be read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionOutputs {
    /// The outputs, with one row per item; zeros for an item that could not be read.
    pub outputs: RunOutputs,
    /// The items that could not be read, with the reasons.
    pub bad: BTreeMap<usize, String>,
}

impl RunSession {
    /// Loads a graph of the run that takes the items of these modalities. Its further inputs, `fuse/...`,
    /// belong to absent ones and get one masked token.
    pub(super) fn open(
        run: &Run<'_>,
        given: Vec<usize>,
        graph: &Graph,
        threads: SessionThreads,
    ) -> Result<Self, Error> {
        let (session, threads) = match threads {
            SessionThreads::OneEach => (run.env.session_for_batches(graph)?, run.env.threads),
            SessionThreads::Shared(threads) => {
                let options =
                    SessionOptions { replicas: 1, ..SessionOptions::batches(run.env.device, threads) };
                (run.env.engine()?.session(graph, &options)?, 1)
            }
        };
        let is_input = |name: &String| session.inputs().iter().any(|port| port.name == *name);
        // Of every encoder, the inputs that this graph has, by the merged model's names.
        let mut inputs: Vec<ItemInput> = Vec::new();
        let mut kept: Vec<Vec<Vec<bool>>> = Vec::new();
        for at in &given {
            let recorded = &run.manifest.modalities[*at].encoders;
            let mut of_modality = Vec::new();
            for (encoder, recorded) in run.modalities[*at].encoders.iter().zip(recorded) {
                let names: Vec<Option<&String>> = (encoder.inputs.iter())
                    .map(|i| recorded.inputs.get(&i.name).filter(|name| is_input(name)))
                    .collect();
                inputs.extend(encoder.inputs.iter().zip(&names).filter_map(|(i, name)| {
                    let name = (*name)?.clone();
                    Some(ItemInput { name, dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
                }));
                of_modality.push(names.iter().map(Option::is_some).collect());
            }
            kept.push(of_modality);
        }
        let absent = session.inputs().iter().filter(|port| port.name.starts_with("fuse/")).map(masked);
        let (absent_inputs, absent): (Vec<ItemInput>, Vec<Tensor>) =
            absent.collect::<Result<Vec<_>, Error>>()?.into_iter().unzip();
        inputs.extend(absent_inputs);
        let outputs = session.outputs().iter().map(|port| port.name.clone()).collect();
        let (modalities, reporter) = (Arc::clone(&run.modalities), Arc::clone(&run.env.reporter));
        Ok(Self { modalities, reporter, given, session, outputs, inputs, kept, absent, threads })
    }

    /// Returns the names of the modalities, in the order of the run.
    pub fn modalities(&self) -> Vec<&str> {
        self.given.iter().map(|at| self.modalities[*at].name.as_str()).collect()
    }

    /// Returns the outputs: name, element type, and axes after the first, which is that of the items.
    pub fn outputs(&self) -> &[Port] {
        self.session.outputs()
    }

    /// Runs raw items, one column for each of [`RunSession::modalities`]; item i of each belongs to one row.
    /// Items that cannot be read are named in the result and do not affect the others.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn run(&self, columns: &[&[RawItem]]) -> Result<SessionOutputs, Error> {
        let mut collector = OutputCollector::new(&self.outputs, rows_of(columns), None);
        collector.skip_bad = true;
        self.embed(columns, &mut collector)?;
        let bad = std::mem::take(&mut collector.bad);
        Ok(SessionOutputs { outputs: collector.matrices(), bad })
    }

    /// Runs raw items as [`RunSession::run`] does, and reports the progress.
    pub(super) fn run_all(&self, columns: &[&[RawItem]]) -> Result<RunOutputs, Error> {
        let steps = StageProgress::begin(&*self.reporter, "run", rows_of(columns));
        self.run_reported(columns, &steps)
    }

    /// Runs raw items, all of which must be readable, as steps of a stage.
    pub(super) fn run_reported(
        &self,
        columns: &[&[RawItem]],
        steps: &StageProgress<'_>,
    ) -> Result<RunOutputs, Error> {
        let mut collector = OutputCollector::new(&self.outputs, rows_of(columns), Some(steps));
        self.embed(columns, &mut collector)?;
        Ok(collector.matrices())
    }

    fn embed(&self, columns: &[&[RawItem]], collector: &mut OutputCollector<'_>) -> Result<(), Error> {
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let options = EmbedOptions { threads: self.threads, limits: None };
        let request =
            EmbedRequest { items: rows_of(columns), inputs: &self.inputs, outputs: &outputs, options };
        match embed(&self.session, &request, |row| self.prepare(columns, row), collector) {
            Err(chiasm_runtime::Error::Item { index, reason }) => {
                let shown: Vec<String> = columns.iter().map(|column| column[index].describe()).collect();
                let message = format!("cannot read {}: {reason}", shown.join(" and "));
                Err(Error::input("chiasm::run::unreadable_item", message, "give another item"))
            }
            Err(other) => Err(other.into()),
            Ok(_) => Ok(()),
        }
    }

    fn prepare(&self, columns: &[&[RawItem]], row: usize) -> Result<Vec<Tensor>, HostError> {
        let mut tensors = Vec::new();
        for ((at, column), kept) in self.given.iter().zip(columns).zip(&self.kept) {
            let encoders: &[Encoder] = &self.modalities[*at].encoders;
            for (encoder, kept) in encoders.iter().zip(kept) {
                let made = encoder.prepare(&column[row])?;
                tensors.extend(made.into_iter().zip(kept).filter_map(|(t, keep)| keep.then_some(t)));
            }
        }
        tensors.extend(self.absent.iter().cloned());
        Ok(tensors)
    }
}

fn rows_of(columns: &[&[RawItem]]) -> usize {
    columns.iter().map(|column| column.len()).min().unwrap_or_default()
}

/// Returns the value for a port of an absent modality: zeros of length one.
fn masked(port: &Port) -> Result<(ItemInput, Tensor), Error> {
    let free = |dim: &Dim| dim.fixed().unwrap_or(1);
    let shape: Vec<usize> = port.dims.iter().flatten().skip(1).map(free).collect();
    let dims = shape.iter().copied().map(Some).collect();
    let tensor = Tensor::zeros(DType::F32, &shape).map_err(|e| Error::Internal(e.to_string()))?;
    Ok((ItemInput { name: port.name.clone(), dtype: DType::F32, dims, pad: None }, tensor))
}

/// Collects the rows of every output. Rows may have different lengths.
struct OutputCollector<'a> {
    outputs: BTreeMap<String, Vec<Vec<f32>>>,
    bad: BTreeMap<usize, String>,
    skip_bad: bool,
    steps: Option<&'a StageProgress<'a>>,
    before: usize,
}

impl<'a> OutputCollector<'a> {
    fn new(outputs: &[String], rows: usize, steps: Option<&'a StageProgress<'a>>) -> Self {
        let outputs = outputs.iter().map(|name| (name.clone(), vec![Vec::new(); rows])).collect();
        Self { outputs, bad: BTreeMap::new(), skip_bad: false, steps, before: 0 }
    }

    fn matrices(self) -> RunOutputs {
        self.outputs.into_iter().map(|(name, rows)| (name, padded(rows))).collect()
    }
}

impl BatchReceiver for OutputCollector<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        for (name, tensor) in outputs {
            let kept = self.outputs.get_mut(&name).ok_or_else(|| format!("unexpected output `{name}`"))?;
            let width = tensor.shape().iter().skip(1).product::<usize>();
            let values = tensor.as_f32().ok_or_else(|| format!("`{name}` is {}, not f32", tensor.dtype()))?;
            for (row, values) in rows.iter().zip(values.chunks_exact(width.max(1))) {
                kept[*row] = values.to_vec();
            }
        }
        Ok(())
    }

    fn bad_item(&mut self, item: usize, reason: &str) -> BadItemPolicy {
        if !self.skip_bad {
            return BadItemPolicy::Abort;
        }
        self.bad.insert(item, reason.to_owned());
        BadItemPolicy::Skip
    }

    fn progress(&mut self, done: usize, _: usize) -> bool {
        let Some(steps) = self.steps else { return true };
        let go_on = steps.add(done - self.before);
        self.before = done;
        go_on
    }
}

/// Returns rows as a matrix, padded with zeros to the longest.
fn padded(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut all = Array2::zeros((rows.len(), width));
    for (mut to, from) in all.outer_iter_mut().zip(rows) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from);
    }
    all
}
