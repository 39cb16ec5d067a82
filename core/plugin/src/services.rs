//! What the host lends for the length of a call.

use chiasm_abi::stable::{RResult, RSlice};
use chiasm_abi::{NamedTensor, ServicesRef};
use chiasm_graph::{Graph, Tensor};
use chiasm_objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};

use crate::export::{tensor, train};
use crate::{Code, Error, Result, error};

/// How loud a message is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// The result may disappoint.
    Warning = 2,
    /// Worth knowing.
    Info = 3,
    /// For whoever debugs the plugin.
    Debug = 4,
}

/// The host's lent hand. May be used from any of the plugin's threads.
#[derive(Clone, Copy)]
pub struct Services<'a>(ServiceSource<'a>);

#[derive(Clone, Copy)]
enum ServiceSource<'a> {
    Backend(&'a (dyn ServiceBackend + 'a)),
    Detached { seed: u64, threads: usize },
}

impl<'a> Services<'a> {
    /// Services without a host, for a plugin's own tests: says nothing, never cancels, runs no graph.
    pub fn detached(seed: u64, threads: usize) -> Self {
        Self(ServiceSource::Detached { seed, threads })
    }

    /// Services of a lender of one's own, for a plugin's own tests with an engine.
    pub fn of(backend: &'a dyn ServiceBackend) -> Self {
        Self(ServiceSource::Backend(backend))
    }

    /// The host's, as they came over the ABI.
    #[doc(hidden)]
    pub fn from_abi(backend: &'a ServicesRef<'_>) -> Self {
        Self(ServiceSource::Backend(backend))
    }

    /// Says something to the user.
    pub fn log(&self, level: Level, message: &str) {
        if let ServiceSource::Backend(backend) = self.0 {
            backend.log(level as u8, message);
        }
    }

    /// Tells how far the work is. Call it often (every few milliseconds of work); the error is [`Error::cancelled`] when the user
    /// asked to stop, so `?` is all it takes.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.progress(done, total),
            ServiceSource::Detached { .. } => Ok(()),
        }
    }

    /// The seed of every random choice: same seed, same bytes.
    pub fn seed(&self) -> u64 {
        match self.0 {
            ServiceSource::Backend(backend) => backend.seed(),
            ServiceSource::Detached { seed, .. } => seed,
        }
    }

    /// How many threads to keep busy, at least 1. rayon already keeps to it.
    pub fn threads(&self) -> usize {
        match self.0 {
            ServiceSource::Backend(backend) => backend.threads(),
            ServiceSource::Detached { threads, .. } => threads.max(1),
        }
    }

    /// Trains an objective in the host's engine, on the run's device, and gives the weights that did best on the validation rows (the
    /// starting weights, when nothing beat them). The host shows the progress, writes the curves into the run folder, and goes on
    /// where a killed run was. The rows are lent, not copied; `options.seed` is the plugin's to set, usually from [`Services::seed`].
    pub fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.train(objective, rows, options),
            ServiceSource::Detached { .. } => {
                Err(Error::unsupported("there is no engine to train on: these services are detached"))
            }
        }
    }

    /// Runs a graph in the host's engine on named inputs; gives all its outputs, by name.
    pub fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        match self.0 {
            ServiceSource::Backend(backend) => backend.run(graph, inputs),
            ServiceSource::Detached { .. } => {
                Err(Error::unsupported("there is no engine to run a graph on: these services are detached"))
            }
        }
    }
}

/// Who lends: the host over the ABI, or a stand-in. The methods are those of [`Services`].
pub trait ServiceBackend: Sync {
    /// As [`Services::log`]; the level as its number.
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
