//! Services of the host that a plugin may use during a call.

use chiasm_abi::stable::{RResult, RSlice};
use chiasm_abi::{NamedTensor, ServicesRef};
use chiasm_graph::{Graph, Tensor};
use chiasm_objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};

use crate::export::{tensor, train};
use crate::{Code, Error, Result, error};

/// The severity of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// A failure.
    Error = 1,
    /// Something that may impair the result.
    Warning = 2,
    /// Information for the user.
    Info = 3,
    /// Information for debugging the plugin.
    Debug = 4,
}

/// Services of the host. They may be called from any thread of the plugin.
#[derive(Clone, Copy)]
pub struct Services<'a>(ServiceSource<'a>);

#[derive(Clone, Copy)]
enum ServiceSource<'a> {
    Backend(&'a (dyn ServiceBackend + 'a)),
    Detached { seed: u64, threads: usize },
}

impl<'a> Services<'a> {
    /// Returns services without a host, for tests of a plugin: messages are dropped, nothing is cancelled,
    /// and no graph can be run or trained.
    pub fn detached(seed: u64, threads: usize) -> Self {
        Self(ServiceSource::Detached { seed, threads })
    }

    /// Returns services of this backend, for tests of a plugin with an engine.
    pub fn of(backend: &'a dyn ServiceBackend) -> Self {
        Self(ServiceSource::Backend(backend))
    }

    /// Returns the services that came over the ABI.
    #[doc(hidden)]
    pub fn from_abi(backend: &'a ServicesRef<'_>) -> Self {
        Self(ServiceSource::Backend(backend))
    }

    /// Logs a message for the user.
    pub fn log(&self, level: Level, message: &str) {
        if let ServiceSource::Backend(backend) = self.0 {
            backend.log(level as u8, message);
        }
    }

    /// Reports progress. Call it every few milliseconds of work.
    ///
    /// # Errors
    /// [`Error::cancelled`] if the user asked to stop; return it with `?`.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.progress(done, total),
            ServiceSource::Detached { .. } => Ok(()),
        }
    }

    /// Returns the random seed. The same seed must give the same bytes.
    pub fn seed(&self) -> u64 {
        match self.0 {
            ServiceSource::Backend(backend) => backend.seed(),
            ServiceSource::Detached { seed, .. } => seed,
        }
    }

    /// Returns the number of threads to use, at least 1. rayon is configured with it.
    pub fn threads(&self) -> usize {
        match self.0 {
            ServiceSource::Backend(backend) => backend.threads(),
            ServiceSource::Detached { threads, .. } => threads.max(1),
        }
    }

    /// Trains an objective in the host's engine, on the run's device.
    ///
    /// Returns the weights with the lowest validation loss, which may be the starting weights. The host shows
    /// the progress, writes the curves into the run folder, and resumes a killed run from its checkpoint. The
    /// rows are not copied. The plugin sets `options.seed`, usually to [`Services::seed`].
    ///
    /// # Errors
    /// If the training fails, the user asked to stop, or the services are detached.
    pub fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.train(objective, rows, options),
            ServiceSource::Detached { .. } => {
                Err(Error::unsupported("detached services cannot train; use `Services::of` with a backend"))
            }
        }
    }

    /// Runs a graph in the host's engine on named inputs. Returns all outputs with their names.
    ///
    /// # Errors
    /// If the engine refuses the graph or the inputs, or the services are detached.
    pub fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.run(graph, inputs),
            ServiceSource::Detached { .. } => Err(Error::unsupported(
                "detached services cannot run a graph; use `Services::of` with a backend",
            )),
        }
    }
}

/// The implementation behind [`Services`]: the host over the ABI, or a substitute for tests.
pub trait ServiceBackend: Sync {
    /// As [`Services::log`], with the level as a number.
    fn log(&self, level: u8, message: &str);
    /// As [`Services::progress`].
    fn progress(&self, done: u64, total: u64) -> Result<()>;
    /// As [`Services::seed`].
    fn seed(&self) -> u64;
    /// As [`Services::threads`].
    fn threads(&self) -> usize;
    /// As [`Services::run`].
    fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>>;
    /// As [`Services::train`].
    fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights>;
}

impl ServiceBackend for ServicesRef<'_> {
    fn log(&self, level: u8, message: &str) {
        ServicesRef::log(self, level, message.into());
    }

    fn progress(&self, done: u64, total: u64) -> Result<()> {
        match ServicesRef::progress(self, done, total) {
            RResult::ROk(true) => Ok(()),
            RResult::ROk(false) => Err(Error::cancelled()),
            RResult::RErr(e) => Err(error::from_abi(&e)),
        }
    }

    fn seed(&self) -> u64 {
        ServicesRef::seed(self)
    }

    fn threads(&self) -> usize {
        usize::try_from(ServicesRef::threads(self)).unwrap_or(usize::MAX).max(1)
    }

    fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let bytes = graph.to_bytes()?;
        let shapes: Vec<Vec<i64>> =
            inputs.iter().map(|(_, t)| tensor::shape(t.shape())).collect::<Result<_>>()?;
        let named: Vec<NamedTensor<'_>> = inputs
            .iter()
            .zip(&shapes)
            .map(|((name, t), shape)| NamedTensor {
                name: (*name).into(),
                tensor: tensor::view((*t).into(), shape),
            })
            .collect();
        match ServicesRef::run(self, RSlice::from_slice(&bytes), RSlice::from_slice(&named)) {
            RResult::RErr(e) => Err(error::from_abi(&e)),
            RResult::ROk(outputs) => outputs
                .iter()
                .map(|output| {
                    let read = tensor::from_abi(&output.tensor.view())
                        .map_err(|e| Error::new(Code::HOST, format!("output `{}`: {e}", output.name)))?;
                    Ok((output.name.to_string(), read))
                })
                .collect(),
        }
    }
    fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights> {
        train::request(objective, rows, options, |job| match ServicesRef::train(self, job) {
            RResult::ROk(outcome) => Ok(outcome),
            RResult::RErr(e) => Err(error::from_abi(&e)),
        })
    }
}
