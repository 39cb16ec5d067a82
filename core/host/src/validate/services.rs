//! The services during a test: those of the host, with a seed, a number of threads and a stop of the test's.

use std::sync::atomic::{AtomicBool, Ordering};

use chiasm_graph::{Graph, Tensor};
use chiasm_objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};

use crate::{HostServices, Level};

pub(super) struct TestServices<'a> {
    pub(super) engine: &'a dyn HostServices,
    pub(super) seed: u64,
    pub(super) threads: usize,
    /// Whether the first report of progress asks the plugin to stop.
    pub(super) stop: bool,
    /// Whether the plugin was asked to stop.
    pub(super) asked: AtomicBool,
}

impl<'a> TestServices<'a> {
    pub(super) fn new(engine: &'a dyn HostServices, seed: u64) -> Self {
        Self { engine, seed, threads: 1, stop: false, asked: AtomicBool::new(false) }
    }
}

impl HostServices for TestServices<'_> {
    fn log(&self, _: &str, _: Level, _: &str) {}

    fn progress(&self, _: u64, _: u64) -> bool {
        if self.stop {
            self.asked.store(true, Ordering::Relaxed);
        }
        !self.stop
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn run_graph(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String> {
        self.engine.run_graph(graph, inputs)
    }

    fn train(
        &self,
        plugin: &str,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        if self.stop {
            self.asked.store(true, Ordering::Relaxed);
            return Err("stopped as asked".into());
        }
        self.engine.train(plugin, objective, rows, options)
    }
}
