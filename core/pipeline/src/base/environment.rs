//! The environment that operations run in: plugins, engine, device, cache and reporter.

use crate::base::{
    cache::Cache,
    digest::sha256_of,
    error::Error,
    reporter::Reporter,
    training::{TrainingLog, TrainingRunner},
};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Host, HostServices, Level};
use chiasm_runtime::{Device, Engine, EngineSearch, Session, SessionOptions};
use chiasm_train::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use std::{path::PathBuf, sync::Arc};

/// The environment that operations run in.
pub struct Environment {
    /// The plugins.
    pub host: Host,
    /// Folders of model cards given by the user; searched before all others.
    pub models: Vec<PathBuf>,
    /// Where to look for ONNX Runtime.
    pub search: EngineSearch,
    /// The device that graphs run on.
    pub device: Device,
    /// Number of threads; 0 means all cores.
    pub threads: usize,
    /// The cache of embeddings and checkpoints.
    pub cache: Cache,
    /// Receives progress reports.
    pub reporter: Arc<dyn Reporter>,
    /// The trainings requested by plugins.
    pub trainings: TrainingLog,
    /// Open runs although an adapter has changed since their fit.
    pub allow_changed: bool,
}

impl Environment {
    /// Returns an environment on the CPU with all cores and the user's cache. Plugins, models and ONNX
    /// Runtime are searched in the default places and in those that the environment variables name.
    pub fn discover(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            host: Host::discover(&chiasm_host::PluginSearch::from_environment(Vec::new())),
            models: Vec::new(),
            search: EngineSearch::from_environment(None),
            device: Device::Cpu,
            threads: 0,
            cache: Cache::of_user(),
            reporter,
            trainings: TrainingLog::default(),
            allow_changed: false,
        }
    }

    /// Returns ONNX Runtime, which is loaded at the first call.
    ///
    /// # Errors
    /// If it is not found. The message lists every path tried and the command that installs it.
    pub fn engine(&self) -> Result<&'static Engine, Error> {
        Ok(Engine::open(&self.search)?)
    }

    /// Returns the engine's name and version, as used in digests and manifests.
    ///
    /// # Errors
    /// As [`Environment::engine`].
    pub fn engine_identity(&self) -> Result<String, Error> {
        let found = self.engine()?.found();
        let file = || found.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!("onnxruntime {}", found.version.clone().unwrap_or_else(file)))
    }

    /// Returns the SHA-256 of the engine's library.
    ///
    /// # Errors
    /// As [`Environment::engine`], and if the library cannot be read any more.
    pub fn engine_digest(&self) -> Result<String, Error> {
        let path = &self.engine()?.found().path;
        sha256_of(path).map_err(|e| Error::io("read", path, e))
    }

    /// Returns the name of the device that graphs run on. For `auto` it is the GPU if the engine can use one.
    ///
    /// # Errors
    /// As [`Environment::engine`].
    pub fn device_name(&self) -> Result<&'static str, Error> {
        let works = || Ok::<_, Error>(self.engine()?.cuda().is_ok());
        Ok(match self.device {
            Device::Auto if works()? => Device::Cuda.as_str(),
            Device::Auto => Device::Cpu.as_str(),
            chosen => chosen.as_str(),
        })
    }

    /// Returns a session that is optimised for many batches.
    ///
    /// # Errors
    /// If the engine is missing, or cannot load the graph on the device.
    pub fn session_for_batches(&self, graph: &Graph) -> Result<Session, Error> {
        let options = SessionOptions::batches(self.device, self.threads);
        let session = self.engine()?.session(graph, &options)?;
        if self.device == Device::Auto {
            self.reporter.note(&format!("device: {} ({})", session.device_used(), session.device_reason()));
        }
        Ok(session)
    }

    /// Returns a session for single calls.
    ///
    /// # Errors
    /// As [`Environment::session_for_batches`].
    pub fn session(&self, graph: &Graph) -> Result<Session, Error> {
        Ok(self.engine()?.session(graph, &self.options())?)
    }

    fn options(&self) -> SessionOptions {
        SessionOptions { device: self.device, threads: self.threads, ..SessionOptions::default() }
    }

    /// Returns the services for a plugin that carries out `task`; `seed` is the seed it gets.
    pub fn services(&self, task: &str, seed: u64) -> TaskServices {
        TaskServices {
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

/// The services that the host offers to a plugin during one task.
pub struct TaskServices {
    task: String,
    reporter: Arc<dyn Reporter>,
    seed: u64,
    threads: usize,
    search: EngineSearch,
    options: SessionOptions,
    cache: Cache,
    trainings: TrainingLog,
}

impl HostServices for TaskServices {
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
        !self.reporter.stop_requested()
    }

    fn stop_requested(&self) -> bool {
        self.reporter.stop_requested()
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
        let trains = TrainingRunner {
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
