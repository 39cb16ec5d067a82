//! A worker of a run: takes batches from the queue and runs them on sessions of its own.

use crate::{
    api_error::ApiError,
    metrics::Metrics,
    options::ServeOptions,
    queue::{Job, JobQueue, Outputs, Work},
};
use chiasm_graph::Tensor;
use chiasm_pipeline::{Error, RawItem, Run, RunOutputs, RunSession, SessionThreads};
use chiasm_runtime::Session;
use ndarray::{Array2, Axis};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// The sessions of a worker. One is loaded when it is first needed.
pub struct Worker<'r> {
    name: &'r str,
    run: &'r Run<'r>,
    threads: usize,
    of_items: BTreeMap<Vec<String>, RunSession<'r>>,
    /// By the outputs.
    of_tensors: BTreeMap<Vec<String>, Session>,
    /// The inputs that each output of `model.onnx` depends on.
    depends: BTreeMap<String, Vec<String>>,
}

impl<'r> Worker<'r> {
    /// Loads what single items of every modality need.
    ///
    /// # Errors
    /// If the engine cannot load it.
    pub fn new(name: &'r str, run: &'r Run<'r>, threads: usize) -> Result<Self, Error> {
        let mut worker = Self {
            name,
            run,
            threads,
            of_items: BTreeMap::new(),
            of_tensors: BTreeMap::new(),
            depends: BTreeMap::new(),
        };
        for modality in run.names() {
            worker.session_of(&[modality.to_owned()])?;
        }
        for output in run.model().outputs() {
            let part = run.model().extract(&[&output.name]).map_err(|e| Error::Internal(e.to_string()))?;
            let inputs = part.inputs().into_iter().map(|port| port.name).collect();
            worker.depends.insert(output.name, inputs);
        }
        Ok(worker)
    }

    /// Answers jobs until the queue is closed and empty.
    pub fn work(mut self, queue: &JobQueue, options: &ServeOptions, metrics: &Metrics) {
        while let Some(batch) = queue.take(options.max_batch, options.max_delay) {
            metrics.batch(self.name, batch.iter().map(|job| job.work.items()).sum());
            // A panic costs the requests of this batch, whose replies are dropped; the next batch is run.
            let _ = catch_unwind(AssertUnwindSafe(|| self.answer(batch)));
        }
    }

    fn answer(&mut self, batch: Vec<Job>) {
        match batch.first().map(|job| &job.work) {
            Some(Work::Items { .. }) => self.answer_items(batch),
            _ => batch.into_iter().for_each(|job| {
                let answer = match &job.work {
                    Work::Tensors { inputs, outputs } => self.tensors(inputs, outputs),
                    Work::Items { .. } => Err(ApiError::internal("a batch of two kinds")),
                };
                let _ = job.reply.send(answer); // the client may have gone
            }),
        }
    }

    fn answer_items(&mut self, batch: Vec<Job>) {
        let (mut joined, mut names): (Vec<Vec<RawItem>>, &[String]) = (Vec::new(), &[]);
        for job in &batch {
            let Work::Items { modalities, columns, .. } = &job.work else { continue };
            names = modalities;
            joined.resize(columns.len(), Vec::new());
            joined.iter_mut().zip(columns).for_each(|(all, own)| all.extend_from_slice(own));
        }
        let columns: Vec<&[RawItem]> = joined.iter().map(Vec::as_slice).collect();
        let ran = self.session_of(names).and_then(|session| session.run(&columns)).map_err(ApiError::from);
        // What fails in one request must not fail the others.
        if ran.is_err() && batch.len() > 1 {
            return batch.into_iter().for_each(|job| self.answer_items(vec![job]));
        }
        let mut start = 0;
        for job in batch {
            let rows = start..start + job.work.items();
            start = rows.end;
            let answer = ran.as_ref().map_err(ApiError::clone).and_then(|ran| {
                match ran.bad.range(rows.clone()).next() {
                    Some((item, reason)) => Err(unreadable(item - rows.start, reason, &job.work)),
                    None => rows_of(&ran.outputs, rows),
                }
            });
            let _ = job.reply.send(answer); // the client may have gone
        }
    }

    fn session_of(&mut self, modalities: &[String]) -> Result<&RunSession<'r>, Error> {
        if !self.of_items.contains_key(modalities) {
            let names: Vec<&str> = modalities.iter().map(String::as_str).collect();
            let session = self.run.session(&names, SessionThreads::Shared(self.threads))?;
            self.of_items.insert(modalities.to_vec(), session);
        }
        self.of_items.get(modalities).ok_or_else(|| Error::Internal("a session is missing".to_owned()))
    }

    /// Runs tensors through the part of `model.onnx` that depends on these inputs only.
    fn tensors(&mut self, inputs: &[(String, Tensor)], wanted: &[String]) -> Result<Outputs, ApiError> {
        let given = |name: &String| inputs.iter().any(|(own, _)| own == name);
        let possible: Vec<String> = (self.depends.iter())
            .filter(|(_, inputs)| inputs.iter().all(given))
            .map(|(output, _)| output.clone())
            .collect();
        if let Some(other) = wanted.iter().find(|name| !possible.contains(name)) {
            return Err(ApiError::bad(match self.depends.get(other) {
                Some(needs) => format!("the output {other:?} needs the inputs {}", needs.join(", ")),
                None => format!("the model has no output {other:?}"),
            }));
        }
        if possible.is_empty() {
            return Err(ApiError::bad("no output depends on the given inputs only"));
        }
        if !self.of_tensors.contains_key(&possible) {
            let names: Vec<&str> = possible.iter().map(String::as_str).collect();
            let session = self.run.tensor_session(&names, self.threads)?;
            self.of_tensors.insert(possible.clone(), session);
        }
        let Some(session) = self.of_tensors.get(&possible) else {
            return Err(ApiError::internal("a session is missing"));
        };
        let named: Vec<(&str, &Tensor)> =
            inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let wanted = if wanted.is_empty() { &possible } else { wanted };
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        // Wrong shapes are the client's: the engine has no other reason to fail on a model that was verified.
        session.run_outputs(&named, &wanted).map_err(|error| ApiError::bad(error.to_string()))
    }
}

/// The error about an item that an adapter could not read. The name of its file, which is the server's own,
/// is left out with what is before it.
fn unreadable(item: usize, reason: &str, work: &Work) -> ApiError {
    let files = match work {
        Work::Items { columns, .. } => columns.iter().filter_map(|column| column.get(item)?.path()).collect(),
        Work::Tensors { .. } => Vec::new(),
    };
    let after = |file: &&Path| Some(reason.split_once(&format!("{}: ", file.display()))?.1);
    let reason = files.iter().find_map(after).unwrap_or(reason);
    ApiError::bad(format!("cannot read item {item}: {reason}"))
}

fn rows_of(outputs: &RunOutputs, rows: std::ops::Range<usize>) -> Result<Outputs, ApiError> {
    let of = |(name, matrix): (&String, &Array2<f32>)| {
        let part = matrix.slice_axis(Axis(0), rows.clone().into());
        if !part.iter().all(|value| value.is_finite()) {
            return Err(ApiError::internal(format!("the output {name:?} is NaN or infinite")));
        }
        let tensor = Tensor::f32(&[part.nrows(), part.ncols()], part.iter().copied().collect());
        Ok((name.clone(), tensor.map_err(|e| ApiError::internal(e.to_string()))?))
    };
    outputs.iter().map(of).collect()
}
