//! Helpers for the host's tests: the libraries of the fixtures, and services that record calls.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses a part of this module")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Host, HostOptions, HostServices, Isolation, Level, PluginSearch, WorkerCommand};
use chiasm_plugin::objective::{
    Objective, StopReason, TrainedWeights, TrainingOptions, TrainingReport, TrainingRows,
};

/// Returns the library of a fixture. A dev-dependency is built into the folder of the test programs.
pub fn library(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe.parent().unwrap().join(format!("lib{}.so", name.replace('-', "_")));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// Returns a host with only these files.
pub fn host_of(paths: &[PathBuf]) -> Host {
    Host::discover(&PluginSearch { plugin_paths: paths.to_vec(), ..PluginSearch::default() })
}

/// The environment variable that tells a test program to serve as the process of a plugin.
const WORKER: &str = "CHIASM_TEST_WORKER";

/// Serves as the process of a plugin, if this test program was started as one. Each test program that uses
/// [`isolated`] has a test `worker` that calls this.
pub fn serve_if_worker() {
    if std::env::var_os(WORKER).is_some() {
        chiasm_host::run_worker();
        std::process::exit(0);
    }
}

/// Returns options by which each plugin has a process of its own: this test program again.
pub fn isolated_options() -> HostOptions {
    let worker = WorkerCommand {
        program: std::env::current_exe().unwrap(),
        name: "worker".into(),
        arguments: ["--exact", "worker", "--nocapture"].map(Into::into).to_vec(),
        variables: vec![(WORKER.into(), "1".into())],
    };
    HostOptions { isolation: Isolation::Always, worker: Some(worker), ..HostOptions::default() }
}

/// Returns a host with only these files and these options.
pub fn host_with(paths: &[PathBuf], options: HostOptions) -> Host {
    let search = PluginSearch { plugin_paths: paths.to_vec(), ..PluginSearch::default() };
    Host::with_options(&search, options)
}

/// Services that record calls, and that can be told to stop or panic.
#[derive(Default)]
pub struct RecordingServices {
    pub log: Mutex<Vec<String>>,
    pub calls: AtomicU64,
    /// The number of calls after which `progress` asks to stop.
    pub stop_at: Option<u64>,
    /// The service that panics.
    pub panics: &'static str,
    pub threads: usize,
    /// Whether the user asked to stop.
    pub stopped: bool,
}

impl RecordingServices {
    fn maybe_panic(&self, service: &str) {
        assert!(self.panics != service, "{service} went wrong");
    }
}

impl HostServices for RecordingServices {
    fn log(&self, plugin: &str, level: Level, message: &str) {
        self.maybe_panic("log");
        self.log.lock().unwrap().push(format!("{plugin} {level:?}: {message}"));
    }
    fn progress(&self, _: u64, _: u64) -> bool {
        self.maybe_panic("progress");
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.stop_at.is_none_or(|stop| call < stop)
    }
    fn stop_requested(&self) -> bool {
        self.stopped
    }
    fn seed(&self) -> u64 {
        self.maybe_panic("seed");
        42
    }
    fn threads(&self) -> usize {
        self.maybe_panic("threads");
        self.threads.max(1)
    }
    /// Returns the inputs doubled, named after the graph.
    fn run_graph(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
        self.maybe_panic("run");
        let double = |tensor: &Tensor| {
            let values = tensor.as_f32().ok_or("not f32")?.iter().map(|v| v * 2.0).collect::<Vec<_>>();
            Tensor::f32(tensor.shape(), values).map_err(|e| e.to_string())
        };
        if inputs.iter().any(|(_, tensor)| tensor.is_empty()) {
            return Err("expected inputs with elements".into());
        }
        inputs
            .iter()
            .map(|(name, tensor)| Ok((format!("{}:{name}", graph.name()), double(tensor)?)))
            .collect()
    }
    /// Returns the starting weights, and logs the rows.
    fn train(
        &self,
        plugin: &str,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        self.maybe_panic("train");
        let given: Vec<String> = rows
            .training
            .iter()
            .chain(rows.validation)
            .map(|(name, view)| {
                format!("{name} {}{:?} at {}", view.dtype(), view.shape(), view.bytes().as_ptr().addr())
            })
            .collect();
        self.log.lock().unwrap().push(format!("{plugin} trains on {}", given.join(", ")));
        if options.batch == 0 {
            return Err("option `batch`: expected at least 1 row".into());
        }
        let weight =
            |name: &str| Ok((name.to_owned(), objective.graph.weight(name).map_err(|e| e.to_string())?));
        let weights = objective.trainable.iter().map(|t| weight(&t.name)).collect::<Result<_, String>>()?;
        let report =
            TrainingReport { steps: 3, best_step: 0, stopped: StopReason::Early(2), curve: Vec::new() };
        Ok(TrainedWeights { weights, report })
    }
}
