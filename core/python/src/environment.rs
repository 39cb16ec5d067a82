//! The plugins, the engine and the cache that the functions of the package use.

use crate::error::of_pipeline;
use chiasm_host::{Host, HostOptions, PluginSearch, WorkerCommand};
use chiasm_pipeline::{Cache, Environment, Error, Reporter, TrainingLog, crash_records, plugin_lock};
use chiasm_runtime::{Device, EngineSearch};
use pyo3::prelude::*;
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// The folder of the package with the program `chiasm` and the plugins, and the library of ONNX Runtime.
static FOLDER: OnceLock<(PathBuf, Option<PathBuf>)> = OnceLock::new();

/// The name of the program in the folder of the package.
const PROGRAM: &str = "chiasm";
/// The argument by which it becomes the process of a plugin.
const PLUGIN_PROCESS: &str = "plugin-process";

/// Says where the package keeps its program and plugins, and which library is ONNX Runtime.
#[pyfunction]
#[pyo3(signature = (folder, engine=None))]
pub fn use_folder(folder: PathBuf, engine: Option<PathBuf>) {
    let _ = FOLDER.set((folder, engine));
}

/// How graphs are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// `cpu`, `cuda` or `auto`.
    pub device: Device,
    /// The number of threads; 0 means all cores.
    pub threads: usize,
}

impl Setup {
    /// Checks the arguments of a Python function.
    pub fn new(py: Python<'_>, device: &str, threads: usize) -> PyResult<Self> {
        let device = match device {
            "cpu" => Device::Cpu,
            "cuda" => Device::Cuda,
            "auto" => Device::Auto,
            other => {
                let message = format!("device: expected \"cpu\", \"cuda\" or \"auto\", got {other:?}");
                return Err(of_pipeline(py, &Error::input("chiasm::option", message, "use one of these")));
            }
        };
        Ok(Self { device, threads })
    }

    /// Returns an environment that reports to `reporter`.
    ///
    /// # Errors
    /// If the lock file of the working folder cannot be read.
    pub fn environment(&self, reporter: Arc<dyn Reporter>) -> Result<Environment, Error> {
        let folder = FOLDER.get();
        let mut search = PluginSearch::from_environment(Vec::new());
        let (lock, crashes) = (plugin_lock()?, crash_records());
        let mut options = HostOptions { lock, crashes, ..HostOptions::default() };
        if let Some((folder, _)) = folder {
            search.executable_dir = Some(folder.clone());
            options.worker = Some(WorkerCommand {
                program: folder.join(PROGRAM),
                name: "chiasm-plugin".to_owned(),
                arguments: vec![PLUGIN_PROCESS.into()],
                variables: Vec::new(),
            });
        }
        Ok(Environment {
            host: Host::with_options(&search, options),
            models: Vec::new(),
            search: EngineSearch::from_environment(folder.and_then(|(_, engine)| engine.clone())),
            device: self.device,
            threads: self.threads,
            cache: Cache::of_user(),
            reporter,
            trainings: TrainingLog::default(),
            allow_changed: false,
        })
    }
}
