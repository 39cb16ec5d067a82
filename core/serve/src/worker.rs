//! A worker of a run: takes batches from the queue and runs them on free sessions.

use crate::{
    api_error::ApiError,
    job::{Job, Outputs, Work},
    metrics::Metrics,
    options::ServeOptions,
    queue::{FEW, JobQueue},
};
use chiasm_graph::Tensor;
use chiasm_pipeline::{Error, RawItem, Run, RunOutputs, RunSession, SessionThreads};
use chiasm_runtime::Session;
use ndarray::{Array2, Axis};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// More than [`FEW`] items are run together if that took no longer than this at the last time: requests that
/// come meanwhile may have to wait so long.
const BATCH_TIME: Duration = Duration::from_millis(50);

/// Sessions of a run, on which one batch runs at a time.
#[derive(Default)]
pub struct Sessions {
    /// By the modalities.
    of_items: BTreeMap<Vec<String>, ItemSession>,
    /// By the outputs.
    of_tensors: BTreeMap<Vec<String>, Session>,
}

/// A session for raw items.
struct ItemSession {
    session: RunSession,
    /// How long its last run of one item took.
    one_took: Option<Duration>,
    /// How long the last run of several items took, for each of them.
    each_took: Option<Duration>,
}

/// An answer, and who waits for it.
pub struct Reply(oneshot::Sender<Result<Outputs, ApiError>>, Result<Outputs, ApiError>);

impl Reply {
    pub fn send(self) {
        let _ = self.0.send(self.1); // the client may have gone
    }
}

/// What makes the sessions of a run and runs batches on them.
pub struct Worker<'r> {
    run: &'r Run<'r>,
    threads: usize,
    /// The inputs that each output of `model.onnx` depends on.
    depends: BTreeMap<String, Vec<String>>,
}

impl Sessions {
    /// Returns whether the work is one item that takes no long preparation, and the last one of its
    /// modalities was run in less than `limit`.
    pub fn can_run_at_once(&self, work: &Work, limit: Duration) -> bool {
        let Work::Items { modalities, columns, .. } = work else { return false };
        let took = self.of_items.get(modalities).and_then(|session| session.one_took);
        work.items() == 1 && took.is_some_and(|took| took < limit) && columns.iter().flatten().all(is_small)
    }

    /// Returns how many items of the work's kind may be run together: as many as took [`BATCH_TIME`] at the
    /// last time, and at least [`FEW`].
    pub fn most_together(&self, work: &Work) -> usize {
        let Work::Items { modalities, .. } = work else { return FEW };
        let each = self.of_items.get(modalities).and_then(|session| session.each_took);
        each.map_or(FEW, |each| (BATCH_TIME.as_nanos() / each.as_nanos().max(1)) as usize).max(FEW)
    }

    /// Runs a job for which [`Sessions::can_run_at_once`] holds.
    pub fn answer_one(&mut self, job: Job) -> Vec<Reply> {
        let Work::Items { modalities, .. } = &job.work else { return Vec::new() };
        self.of_items.get_mut(modalities).map(|session| session.answer(vec![job])).unwrap_or_default()
    }
}

impl<'r> Worker<'r> {
    /// Returns a worker for a run, whose sessions get this many threads.
    ///
    /// # Errors
    /// If the outputs of the model cannot be extracted.
    pub fn new(run: &'r Run<'r>, threads: usize) -> Result<Self, Error> {
        let depends = run.model().outputs().into_iter().map(|output| {
            let part = run.model().extract(&[&output.name]).map_err(|e| Error::Internal(e.to_string()))?;
            Ok((output.name, part.inputs().into_iter().map(|port| port.name).collect()))
        });
        Ok(Self { run, threads, depends: depends.collect::<Result<_, Error>>()? })
    }

    /// Loads what single items of every modality need. The others are loaded when they are first needed.
    ///
    /// # Errors
    /// If the engine cannot load it.
    pub fn sessions(&self) -> Result<Sessions, Error> {
        let mut sessions = Sessions::default();
        for modality in self.run.names() {
            self.session_of(&mut sessions, &[modality.to_owned()])?;
        }
        Ok(sessions)
    }

    /// Answers jobs until the queue is closed and empty.
    pub fn work(&self, name: &str, queue: &JobQueue<Sessions>, options: &ServeOptions, metrics: &Metrics) {
        let most = |sessions: &Sessions, work: &Work| sessions.most_together(work).min(options.max_batch);
        while let Some((batch, mut sessions)) = queue.take(most, options.max_delay) {
            let items = batch.iter().map(|job| job.work.items()).sum();
            metrics.batch(name, items);
            // A panic costs the requests of this batch, whose replies are dropped; the next batch is run.
            let replies = catch_unwind(AssertUnwindSafe(|| self.answer(&mut sessions, batch)));
            // Before the replies: the next request of a client must not find the sessions in use.
            queue.put_back(sessions, items);
            replies.into_iter().flatten().for_each(Reply::send);
        }
    }

    fn answer(&self, sessions: &mut Sessions, batch: Vec<Job>) -> Vec<Reply> {
        match batch.first().map(|job| &job.work) {
            Some(Work::Items { modalities, .. }) => {
                let modalities = modalities.clone();
                match self.session_of(sessions, &modalities).map_err(ApiError::from) {
                    Ok(session) => session.answer(batch),
                    Err(error) => batch.into_iter().map(|job| Reply(job.reply, Err(error.clone()))).collect(),
                }
            }
            _ => batch
                .into_iter()
                .map(|job| {
                    let answer = match &job.work {
                        Work::Tensors { inputs, outputs } => self.tensors(sessions, inputs, outputs),
                        Work::Items { .. } => Err(ApiError::internal("a batch of two kinds")),
                    };
                    Reply(job.reply, answer)
                })
                .collect(),
        }
    }

    fn session_of<'s>(
        &self,
        sessions: &'s mut Sessions,
        modalities: &[String],
    ) -> Result<&'s mut ItemSession, Error> {
        if !sessions.of_items.contains_key(modalities) {
            let names: Vec<&str> = modalities.iter().map(String::as_str).collect();
            let session = self.run.session(&names, SessionThreads::Shared(self.threads))?;
            sessions
                .of_items
                .insert(modalities.to_vec(), ItemSession { session, one_took: None, each_took: None });
        }
        sessions
            .of_items
            .get_mut(modalities)
            .ok_or_else(|| Error::Internal("a session is missing".to_owned()))
    }

    /// Runs tensors through the part of `model.onnx` that depends on these inputs only.
    fn tensors(
        &self,
        sessions: &mut Sessions,
        inputs: &[(String, Tensor)],
        wanted: &[String],
    ) -> Result<Outputs, ApiError> {
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
        if !sessions.of_tensors.contains_key(&possible) {
            let names: Vec<&str> = possible.iter().map(String::as_str).collect();
            let session = self.run.tensor_session(&names, self.threads)?;
            sessions.of_tensors.insert(possible.clone(), session);
        }
        let Some(session) = sessions.of_tensors.get(&possible) else {
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

/// The longest text, in bytes, that is surely tokenised in a fraction of a millisecond.
const SHORT_TEXT: usize = 2048;

fn is_small(item: &RawItem) -> bool {
    match item {
        RawItem::Text(text) => text.len() <= SHORT_TEXT,
        RawItem::Row(_) => true,
        RawItem::Path(_) => false,
    }
}

impl ItemSession {
    /// Answers jobs of items of these modalities.
    fn answer(&mut self, batch: Vec<Job>) -> Vec<Reply> {
        let items = batch.iter().map(|job| job.work.items()).sum::<usize>();
        let started = Instant::now();
        let replies = answer_items(&self.session, batch);
        match items {
            1 => self.one_took = Some(started.elapsed()),
            _ => self.each_took = Some(started.elapsed() / u32::try_from(items.max(1)).unwrap_or(u32::MAX)),
        }
        replies
    }
}

/// Runs jobs of items of the same modalities together.
fn answer_items(session: &RunSession, batch: Vec<Job>) -> Vec<Reply> {
    let mut joined: Vec<Vec<RawItem>> = Vec::new();
    for job in &batch {
        let Work::Items { columns, .. } = &job.work else { continue };
        joined.resize(columns.len(), Vec::new());
        joined.iter_mut().zip(columns).for_each(|(all, own)| all.extend_from_slice(own));
    }
    let columns: Vec<&[RawItem]> = joined.iter().map(Vec::as_slice).collect();
    let ran = session.run(&columns).map_err(ApiError::from);
    // What fails in one request must not fail the others.
    if ran.is_err() && batch.len() > 1 {
        return batch.into_iter().flat_map(|job| answer_items(session, vec![job])).collect();
    }
    let mut start = 0;
    let reply = |job: Job| {
        let rows = start..start + job.work.items();
        start = rows.end;
        let answer =
            ran.as_ref().map_err(ApiError::clone).and_then(|ran| match ran.bad.range(rows.clone()).next() {
                Some((item, reason)) => Err(unreadable(item - rows.start, reason, &job.work)),
                None => rows_of(&ran.outputs, rows),
            });
        Reply(job.reply, answer)
    };
    batch.into_iter().map(reply).collect()
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
