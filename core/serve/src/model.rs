//! A run that is served: what it takes and gives, its queue, and its galleries.

use crate::{
    api_error::ApiError,
    index::galleries,
    job::{Job, Outputs, Work},
    metrics::Metrics,
    options::{ServeOptions, ServedRun},
    queue::{FEW, JobQueue, Refused},
    worker::{Reply, Sessions, Worker},
};
use axum::http::StatusCode;
use chiasm_graph::{Port, Tensor};
use chiasm_host::Takes;
use chiasm_pipeline::{Environment, Error, Gallery, Run};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread::Scope,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;

/// A lone text or row is run in the thread of its request if the last one took less than this: the other
/// requests that the thread has to read wait so long.
const AT_ONCE: Duration = Duration::from_millis(2);

/// A modality of a run.
pub struct ServedModality {
    pub name: String,
    /// The kind of its raw items.
    pub takes: Takes,
    /// The output with its embeddings.
    pub output: String,
}

/// A loaded run.
pub struct Model {
    pub name: String,
    pub modalities: Vec<ServedModality>,
    /// The ports of `model.onnx`.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// What can be searched; or why nothing can.
    pub galleries: Result<Vec<Gallery>, String>,
    /// When it was loaded, in seconds since 1970.
    pub loaded: u64,
    queue: JobQueue<Sessions>,
    metrics: Arc<Metrics>,
    max_batch: usize,
    max_queue: usize,
    /// Whether a lone item is run without a worker.
    at_once: bool,
}

/// The outcome of [`Model::submit`] if the run was replaced meanwhile: what was to be run.
pub enum Submitted {
    Answer(Result<Outputs, ApiError>),
    Replaced(Work),
}

/// What all runs are served with.
#[derive(Clone, Copy)]
pub struct Service<'e> {
    pub env: &'e Environment,
    pub options: &'e ServeOptions,
    pub metrics: &'e Arc<Metrics>,
}

impl Model {
    /// Loads a run, and starts its workers. They end when [`Model::close`] was called and the queue is empty.
    ///
    /// # Errors
    /// If the run cannot be opened or loaded.
    pub fn load<'scope, 'e: 'scope>(
        served: &ServedRun,
        service: Service<'e>,
        scope: &'scope Scope<'scope, 'e>,
    ) -> Result<Arc<Self>, Error> {
        let served = served.clone();
        let (loaded, model) = mpsc::channel();
        scope.spawn(move || {
            let failed = loaded.clone();
            if let Err(error) = host(&served, service, loaded) {
                let _ = failed.send(Err(error)); // only the first result is waited for
            }
        });
        model.recv().unwrap_or_else(|_| Err(Error::Internal("loading a run panicked".to_owned())))
    }

    /// Returns a modality.
    pub fn modality(&self, name: &str) -> Result<&ServedModality, ApiError> {
        self.modalities.iter().find(|own| own.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.modalities.iter().map(|own| own.name.as_str()).collect();
            ApiError::bad(format!("{} has no modality {name:?}: it has {}", self.name, names.join(", ")))
        })
    }

    /// Returns the gallery of a modality.
    pub fn gallery(&self, name: &str) -> Result<&Gallery, ApiError> {
        let galleries = self.galleries.as_ref().map_err(ApiError::missing)?;
        galleries.iter().find(|own| own.modality == name).ok_or_else(|| {
            let names: Vec<&str> = galleries.iter().map(|own| own.modality.as_str()).collect();
            ApiError::bad(format!(
                "{} has no items {name:?} to search: it has {}",
                self.name,
                names.join(", ")
            ))
        })
    }

    /// Puts work into the queue, in parts that several workers can share, and waits for the outputs.
    pub async fn submit(&self, work: Work) -> Submitted {
        let items = work.items();
        if items > self.max_queue {
            let message = format!("expected at most {} items in a request, got {items}", self.max_queue);
            return Submitted::Answer(Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)));
        }
        // The files of the items are needed until the last part is done.
        let (work, files) = match work {
            Work::Items { modalities, columns, files } => {
                (Work::Items { modalities, columns, files: Vec::new() }, files)
            }
            tensors => (tensors, Vec::new()),
        };
        let queued = Instant::now();
        let (mut jobs, mut answers) = (Vec::new(), Vec::new());
        for work in parts(work, self.max_batch.min(FEW)) {
            let (reply, answer) = oneshot::channel();
            jobs.push(Job { work, reply, queued });
            answers.push(answer);
        }
        match self.queue.push(jobs, |free, work| self.at_once && free.can_run_at_once(work, AT_ONCE)) {
            Ok(None) => {}
            Ok(Some((job, sessions))) => self.run_at_once(job, sessions),
            Err(Refused::Full(waiting)) => {
                return Submitted::Answer(Err(ApiError::busy(format!(
                    "{waiting} items wait already, and at most {} may: try again later",
                    self.max_queue
                ))));
            }
            Err(Refused::Closed(jobs)) => {
                return Submitted::Replaced(whole(jobs.into_iter().map(|job| job.work).collect(), files));
            }
        }
        let mut outputs = Vec::new();
        for answer in answers {
            match answer.await {
                Ok(Ok(part)) => outputs.push(part),
                Ok(Err(error)) => return Submitted::Answer(Err(error)),
                Err(_) => return Submitted::Answer(Err(ApiError::internal("a worker failed on this batch"))),
            }
        }
        drop(files);
        Submitted::Answer(joined(outputs))
    }

    /// Runs a lone job in this thread, which reads and answers requests: waking a worker and being woken by
    /// it would take as long as a small model does.
    fn run_at_once(&self, job: Job, mut sessions: Sessions) {
        self.metrics.batch(&self.name, 1);
        // A panic costs this request.
        let replies = catch_unwind(AssertUnwindSafe(|| sessions.answer_one(job)));
        self.queue.put(sessions);
        replies.into_iter().flatten().for_each(Reply::send);
    }

    /// Accepts no more work. What was accepted is answered.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Returns the number of items that wait.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

/// Opens a run, sends its model when all workers are ready, and stays until they end.
fn host(
    served: &ServedRun,
    service: Service<'_>,
    loaded: mpsc::Sender<Result<Arc<Model>, Error>>,
) -> Result<(), Error> {
    let Service { env, options, metrics } = service;
    let run = Run::open(&served.folder, env)?;
    let file = options.indexes.iter().find(|(name, _)| *name == served.name).map(|(_, path)| path.as_path());
    let galleries = match galleries(&run, file) {
        Err(error) if file.is_some() => return Err(error),
        other => other.map_err(|error| format!("{} cannot be searched: {error}", served.name)),
    };
    if let Err(reason) = &galleries {
        env.reporter.note(reason);
    }
    let threads = chiasm_runtime::threads(env.threads);
    let workers = match options.workers {
        0 => threads.min(4),
        workers => workers,
    };
    let worker = Worker::new(&run, (threads / workers).max(1))?;
    let free = (0..workers).map(|_| worker.sessions()).collect::<Result<Vec<_>, _>>()?;
    let model = Arc::new(Model {
        name: served.name.clone(),
        modalities: modalities(&run)?,
        inputs: run.model().inputs(),
        outputs: run.model().outputs(),
        galleries,
        loaded: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        queue: JobQueue::new(options.max_queue, free),
        metrics: Arc::clone(metrics),
        max_batch: options.max_batch,
        max_queue: options.max_queue,
        at_once: options.max_delay.is_zero(),
    });
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| worker.work(&model.name, &model.queue, options, metrics));
        }
        let _ = loaded.send(Ok(Arc::clone(&model))); // the server may be stopping
    });
    Ok(())
}

fn modalities(run: &Run<'_>) -> Result<Vec<ServedModality>, Error> {
    let of = run.manifest.modalities.iter().map(|modality| {
        let (name, output) = (modality.name.clone(), modality.output.clone());
        Ok(ServedModality { takes: run.takes(&name)?, name, output })
    });
    of.collect()
}

/// Cuts items into parts of at most `most`. Tensors stay together.
fn parts(work: Work, most: usize) -> Vec<Work> {
    let items = work.items();
    match work {
        Work::Items { modalities, columns, .. } if items > most => (0..items)
            .step_by(most)
            .map(|start| Work::Items {
                modalities: modalities.clone(),
                columns: columns.iter().map(|own| own[start..(start + most).min(items)].to_vec()).collect(),
                files: Vec::new(),
            })
            .collect(),
        other => vec![other],
    }
}

/// Joins what [`parts`] cut.
fn whole(parts: Vec<Work>, kept: Vec<tempfile::TempPath>) -> Work {
    let (mut all_modalities, mut all): (Vec<String>, Vec<Vec<_>>) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Work::Items { modalities, columns, .. } => {
                all.resize(columns.len(), Vec::new());
                all.iter_mut().zip(columns).for_each(|(all, own)| all.extend(own));
                all_modalities = modalities;
            }
            tensors => return tensors,
        }
    }
    Work::Items { modalities: all_modalities, columns: all, files: kept }
}

/// Joins the outputs of the parts of a request.
fn joined(mut parts: Vec<Outputs>) -> Result<Outputs, ApiError> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let names: Vec<String> = parts.first().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let join = |(at, name): (usize, String)| {
        let (mut rows, mut width, mut values) = (0, 0, Vec::new());
        for part in &parts {
            let tensor = &part[at].1;
            rows += tensor.shape().first().copied().unwrap_or(0);
            width = tensor.shape().get(1).copied().unwrap_or(0);
            values.extend_from_slice(tensor.as_f32().unwrap_or_default());
        }
        let tensor = Tensor::f32(&[rows, width], values).map_err(|e| ApiError::internal(e.to_string()))?;
        Ok((name, tensor))
    };
    names.into_iter().enumerate().map(join).collect()
}
