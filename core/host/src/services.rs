//! Services of the host for plugins. A panic of a service is caught here: in the plugin it would end the
//! process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use chiasm_abi::stable::{RErr, ROk, RResult, RSlice, RStr, RVec};
use chiasm_abi::{Code, NamedOwned, NamedTensor, PluginError, TrainJob, TrainOutcome};
use chiasm_graph::{Graph, Tensor};
use chiasm_objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use chiasm_plugin::export::{tensor, train};
use chiasm_plugin::{Level, export};

use crate::{HostError, Phase};

/// Services that the host offers to a plugin. They may be called from any thread of the plugin.
pub trait HostServices: Send + Sync {
    /// Logs a message of this plugin.
    fn log(&self, plugin: &str, level: Level, message: &str);
    /// Receives the progress. `false` asks the plugin to stop.
    fn progress(&self, done: u64, total: u64) -> bool;
    /// Returns whether the user asked to stop. A plugin in a process of its own that does not end its call
    /// soon is stopped.
    fn stop_requested(&self) -> bool {
        false
    }
    /// Returns the random seed.
    fn seed(&self) -> u64;
    /// Returns the number of threads that a plugin may use.
    fn threads(&self) -> usize;
    /// Runs a graph and returns all outputs in the graph's order.
    fn run_graph(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, String>;
    /// Trains an objective for this plugin. The rows lie in the plugin's memory.
    fn train(
        &self,
        plugin: &str,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String>;
}

/// The services of one call, with panics caught and requests to stop recorded.
pub(crate) struct GuardedServices<'a> {
    host: &'a dyn HostServices,
    plugin: &'a str,
    stopped: AtomicBool,
    /// The first panic of a service, because some services cannot return an error.
    panicked: Mutex<Option<String>>,
}

impl<'a> GuardedServices<'a> {
    pub(crate) fn new(host: &'a dyn HostServices, plugin: &'a str) -> Self {
        Self { host, plugin, stopped: AtomicBool::new(false), panicked: Mutex::new(None) }
    }

    /// Returns an error if a service panicked during the call, or the plugin ignored a request to stop.
    pub(crate) fn check_after_call(self, phase: Phase) -> Result<(), HostError> {
        if let Some(message) = self.panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(HostError::new(Code::HOST, phase, message));
        }
        if self.stopped.into_inner() {
            return Err(HostError::new(Code::CANCELLED, phase, "stopped as asked"));
        }
        Ok(())
    }

    /// Returns whether the user asked to stop, or a service told the plugin so.
    pub(crate) fn stop_requested(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
            || self.guarded("stop_requested", || self.host.stop_requested()).unwrap_or(true)
    }

    fn guarded<T>(&self, service: &str, work: impl FnOnce() -> T) -> Result<T, PluginError> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
            let message = format!("the host's own service `{service}` panicked: {}", text(payload));
            let mut first = self.panicked.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| message.clone());
            failure(message)
        })
    }
}

impl chiasm_abi::Services for GuardedServices<'_> {
    fn log(&self, level: u8, message: RStr<'_>) {
        let level = match level {
            1 => Level::Error,
            2 => Level::Warning,
            3 => Level::Info,
            _ => Level::Debug,
        };
        // A panic is recorded for `check_after_call`, because `log` has no return value.
        let _ = self.guarded("log", || self.host.log(self.plugin, level, message.as_str()));
    }

    fn progress(&self, done: u64, total: u64) -> RResult<bool, PluginError> {
        let go_on = self.guarded("progress", || self.host.progress(done, total));
        if matches!(go_on, Ok(false)) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        go_on.into()
    }

    fn seed(&self) -> u64 {
        self.guarded("seed", || self.host.seed()).unwrap_or_default()
    }

    fn threads(&self) -> u64 {
        self.guarded("threads", || self.host.threads()).map_or(1, |threads| threads.max(1) as u64)
    }

    fn run(
        &self,
        graph: RSlice<'_, u8>,
        inputs: RSlice<'_, NamedTensor<'_>>,
    ) -> RResult<RVec<NamedOwned>, PluginError> {
        let outcome = self.guarded("run", || run(self.host, graph.as_slice(), inputs.as_slice()));
        match outcome {
            Ok(Ok(outputs)) => ROk(outputs),
            Ok(Err(message)) => RErr(failure(message)),
            Err(panicked) => RErr(panicked),
        }
    }

    fn train(&self, job: TrainJob<'_>) -> RResult<TrainOutcome, PluginError> {
        let served = self.guarded("train", || {
            train::serve(&job, |objective, rows, options| {
                let trained = self.host.train(self.plugin, objective, rows, options);
                trained.map_err(|message| chiasm_plugin::Error::new(Code::HOST, message))
            })
        });
        match served {
            Ok(Ok(outcome)) => ROk(outcome),
            Ok(Err(e)) => RErr(export::to_abi(e)),
            Err(panicked) => RErr(panicked),
        }
    }
}

fn run(
    host: &dyn HostServices,
    graph: &[u8],
    inputs: &[NamedTensor<'_>],
) -> Result<RVec<NamedOwned>, String> {
    let graph = Graph::from_bytes(graph).map_err(|e| format!("the graph to run is invalid: {e}"))?;
    let read = |input: &NamedTensor<'_>| {
        tensor::from_abi(&input.tensor)
            .map_err(|e| format!("input `{}` of the graph to run: {e}", input.name))
    };
    let tensors: Vec<Tensor> = inputs.iter().map(read).collect::<Result<_, _>>()?;
    let named: Vec<(&str, &Tensor)> = inputs.iter().map(|input| input.name.as_str()).zip(&tensors).collect();
    let outputs = host.run_graph(&graph, &named)?;
    let give = |(name, output): (String, Tensor)| {
        let tensor = tensor::to_abi(output).map_err(|e| e.to_string())?;
        Ok(NamedOwned { name: name.into(), tensor })
    };
    outputs.into_iter().map(give).collect()
}

fn failure(message: String) -> PluginError {
    export::to_abi(chiasm_plugin::Error::new(Code::HOST, message))
}

fn text(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    std::mem::forget(payload); // its drop might panic too
    text
}
