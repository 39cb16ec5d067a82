//! The workbench: the host, the engine and the cache that every verb works with, opened once.

use crate::base::{
    cache::Cache,
    error::Error,
    reporter::Reporter,
    training::{Trainings, Trains},
};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Host, HostServices, Level};
use chiasm_runtime::{Device, Engine, EngineSearch, Session, SessionOptions};
use chiasm_train::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use std::{path::PathBuf, sync::Arc};

/// What verbs work with.
pub struct Workbench {
    /// The plugins.
    pub host: Host,
    /// Folders of model cards named by the user, before those that are found.
    pub models: Vec<PathBuf>,
    /// Where ONNX Runtime is looked for.
    pub search: EngineSearch,
    /// Where graphs run.
    pub device: Device,
    /// Threads to compute with; 0 takes every core.
    pub threads: usize,
    /// Where embeddings are kept.
    pub cache: Cache,
    /// Who is told of progress.
    pub reporter: Arc<dyn Reporter>,
    /// How the trainings went that plugins asked for.
    pub trainings: Trainings,
}

impl Workbench {
    /// The engine, started at the first call.
    ///
    /// # Errors
    /// When there is none: every place tried, and the command that mends it.
    pub fn engine(&self) -> Result<&'static Engine, Error> {
        Ok(Engine::open(&self.search)?)
    }

    /// The engine in words, as it enters hashes and manifests.
    ///
    /// # Errors
    /// As [`Workbench::engine`].
    pub fn engine_identity(&self) -> Result<String, Error> {
        let found = self.engine()?.found();
        let file = || found.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!("onnxruntime {}", found.version.clone().unwrap_or_else(file)))
    }

    /// A session for many batches.
    ///
    /// # Errors
    /// When there is no engine, or it refuses the graph or the device.
    pub fn session_for_batches(&self, graph: &Graph) -> Result<Session, Error> {
        let options = SessionOptions::batches(self.device, self.threads);
        let session = self.engine()?.session(graph, &options)?;
        if self.device == Device::Auto {
            self.reporter.note(&format!("device: {} ({})", session.device_used(), session.device_reason()));
        }
        Ok(session)
    }

    /// A session for single calls.
    ///
    /// # Errors
    /// As [`Workbench::session_for_batches`].
    pub fn session(&self, graph: &Graph) -> Result<Session, Error> {
        Ok(self.engine()?.session(graph, &self.options())?)
    }

    fn options(&self) -> SessionOptions {
        SessionOptions { device: self.device, threads: self.threads, ..SessionOptions::default() }
    }

    /// What the host offers to a plugin while it does `task`; every random choice of the plugin starts from
    /// `seed`.
    pub fn services(&self, task: &str, seed: u64) -> Services {
        Services {
            task: task.to_owned(),
            reporter: Arc::clone(&self.reporter),
            seed,
            threads: chiasm_runtime::threads(self.threads),
            search: self.search.clone(),
            options: self.options(),
            cache: self.cache.clone(),
            trainings: self.trainings.clone(),
        }
    }
}

/// What the host offers to a plugin, for one task.
pub struct Services {
    task: String,
    reporter: Arc<dyn Reporter>,
    seed: u64,
    threads: usize,
    search: EngineSearch,
    options: SessionOptions,
    cache: Cache,
    trainings: Trainings,
}

impl HostServices for Services {
    fn log(&self, plugin: &str, level: Level, message: &str) {
        if level != Level::Debug {
            self.reporter.note(&format!("{plugin}: {message}"));
        }
    }

    fn progress(&self, done: u64, total: u64) -> bool {
        if done == 0 {
            self.reporter.begin(&self.task, total);
        }
        self.reporter.advance(done);
        if done >= total {
            self.reporter.end();
        }
        true
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn run_graph(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
        let run = || Engine::open(&self.search)?.session(graph, &self.options)?.run(inputs);
        run().map_err(|e| e.to_string())
    }

    fn train(
        &self,
        _plugin: &str,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        let trains = Trains {
            task: &self.task,
            search: &self.search,
            session: self.options,
            cache: &self.cache,
            reporter: &*self.reporter,
            trainings: &self.trainings,
        };
        trains.train(objective, rows, options)
    }
}
