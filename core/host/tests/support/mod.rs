//! What the host's tests share: the fixtures' files, and services that record.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses its own part of this")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Host, HostServices, Level, PluginSearch};
use chiasm_plugin::objective::{
    Objective, StopReason, TrainedWeights, TrainingOptions, TrainingReport, TrainingRows,
};

/// The library of a fixture: as a dev-dependency it is built into the folder of the test programs.
pub fn library(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe.parent().unwrap().join(format!("lib{}.so", name.replace('-', "_")));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// A host that knows these files and nothing else.
pub fn host_of(paths: &[PathBuf]) -> Host {
    Host::discover(&PluginSearch { plugin_paths: paths.to_vec(), ..PluginSearch::default() })
}

/// Services that record what they are asked, and misbehave when told to.
#[derive(Default)]
pub struct RecordingServices {
    pub log: Mutex<Vec<String>>,
    pub calls: AtomicU64,
    /// Progress says stop from this call on.
    pub stop_at: Option<u64>,
    /// The service that panics.
    pub panics: &'static str,
    pub threads: usize,
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
    fn seed(&self) -> u64 {
        self.maybe_panic("seed");
        42
    }
    fn threads(&self) -> usize {
        self.maybe_panic("threads");
        self.threads.max(1)
    }
    /// An engine that gives the graph's inputs back, doubled, under the graph's name.
    fn run_graph(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
        self.maybe_panic("run");
        let double = |tensor: &Tensor| {
            let values = tensor.as_f32().ok_or("not f32")?.iter().map(|v| v * 2.0).collect::<Vec<_>>();
            Tensor::f32(tensor.shape(), values).map_err(|e| e.to_string())
        };
        if inputs.iter().any(|(_, tensor)| tensor.is_empty()) {
            return Err("nothing to run on".into());
        }
        inputs
            .iter()
            .map(|(name, tensor)| Ok((format!("{}:{name}", graph.name()), double(tensor)?)))
            .collect()
    }
    /// A trainer that gives the starting weights back, and logs what it was given.
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
