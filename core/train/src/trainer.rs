//! The [`Trainer`]: validates its input, prepares the graphs, resumes from a checkpoint, and runs the
//! training loop.

use std::collections::BTreeMap;
use std::path::Path;

use chiasm_graph::Graph;
use chiasm_objective::{
    Objective, Optimizer, StopReason, TrainedWeights, TrainingOptions, TrainingProgress, TrainingReport,
    TrainingRows,
};
use chiasm_runtime::{Engine, Session, SessionOptions};

use crate::checked_objective::CheckedObjective;
use crate::checkpoint::{self, Checkpoint, SavedProgress, SavedTraining, Tensors};
use crate::rows::{MiniBatches, RandomInputs, TrainingData};
use crate::step;
use crate::training_loop::TrainingLoop;
use crate::validation::Validator;
use crate::{Error, Result};

/// The fewest steps between two checks unless the options say otherwise.
const MIN_CHECK_STEPS: u64 = 10;

/// Trains objectives on an engine.
#[derive(Clone, Copy, Debug)]
pub struct Trainer<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The device and the threads.
    pub session: SessionOptions,
    /// A folder for checkpoints, one file per training, named by a hash of everything it depends on. A
    /// training that finds its checkpoint resumes from it and ends with the same bytes as an uninterrupted
    /// one; a finished training is not repeated.
    pub checkpoints: Option<&'a Path>,
}

impl Trainer<'_> {
    /// Trains and returns the weights with the best score on the validation rows (possibly the starting
    /// weights); without validation rows the last weights. `observe` is called after every step; when it
    /// returns `false`, the training stops with [`Error::Cancelled`].
    ///
    /// # Errors
    /// When the objective, the rows or the options are invalid, the engine fails, or the checkpoint cannot be
    /// written. A diverging loss is not an error: training stops with the best weights so far, and
    /// [`TrainingReport::stopped`] says why.
    pub fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
        observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
    ) -> Result<TrainedWeights> {
        check_options(options)?;
        let checked = CheckedObjective::read(objective)?;
        let data = TrainingData::new(&checked.ports, rows, options)?;
        let (graph, state) = step::training(&checked, options)?;
        let place = SessionOptions { fuse: true, replicas: 1, ..self.session };
        let session = self.engine.session(&graph, &place)?;
        let checkpoint = match self.checkpoints {
            Some(folder) => {
                let key = self.key(objective, &graph, rows, options, &session)?;
                Some(Checkpoint::new(folder, &key))
            }
            None => None,
        };
        let saved = checkpoint.as_ref().and_then(Checkpoint::load);
        let saved = match saved {
            Some(SavedTraining { progress, kept, .. }) if progress.stopped.is_some() => {
                return Ok(trained_weights(&checked, progress, kept));
            }
            other => other,
        };
        let validator = match data.validation() {
            Some((rows, numbers)) => {
                Some(Validator::new(self.engine, &place, &checked, rows, numbers, options.seed)?)
            }
            None => None,
        };
        let rows = data.training.len();
        let check_every = options.check_every.unwrap_or(options.steps_per_epoch(rows).max(MIN_CHECK_STEPS));
        let (progress, state, kept) = starting_point(&checked, state, saved);
        let inputs = graph.inputs();
        let stepper = session.stepper(&data.data.views(&inputs), state)?;
        let batches = MiniBatches::new(data.training, options);
        let training = TrainingLoop {
            noise: RandomInputs::new(&checked, &inputs, batches.batch(), options.seed),
            controls: inputs.into_iter().map(|port| port.name).collect(),
            stepper,
            weights: checked.weights.len(),
            validator,
            batches,
            options,
            steps: options.steps(rows),
            check_every: check_every.max(1),
            checkpoint,
            progress,
            kept,
            sums: BTreeMap::new(),
        };
        let (progress, kept) = training.run(observe)?;
        Ok(trained_weights(&checked, progress, kept))
    }

    fn key(
        &self,
        objective: &Objective,
        step: &Graph,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
        session: &Session,
    ) -> Result<String> {
        let found = self.engine.found();
        let engine = found.version.clone().unwrap_or_else(|| found.path.display().to_string());
        let threads = chiasm_runtime::threads(self.session.threads);
        let place = format!("{engine}, {}, {threads} threads", session.device_used());
        checkpoint::key(objective, step, rows, options, &place)
    }
}

/// Returns the state to start from: the initial one, or that of a checkpoint.
fn starting_point(
    objective: &CheckedObjective,
    state: Vec<chiasm_runtime::StateVariable>,
    saved: Option<SavedTraining>,
) -> (SavedProgress, Vec<chiasm_runtime::StateVariable>, Tensors) {
    let start = || {
        let progress = SavedProgress {
            step: 0,
            first_loss: None,
            best_step: 0,
            best_score: None,
            waited: 0,
            curve: Vec::new(),
            stopped: None,
        };
        let kept = objective.weights.iter().map(|w| (w.name.clone(), w.first.clone())).collect();
        (progress, state.clone(), kept)
    };
    let resume = |saved: SavedTraining| {
        let at = |state: &chiasm_runtime::StateVariable| {
            let (_, value) = saved.state.iter().find(|(name, _)| *name == state.input)?;
            let fits = value.shape() == state.first.shape() && value.dtype() == state.first.dtype();
            fits.then(|| chiasm_runtime::StateVariable { first: value.clone(), ..state.clone() })
        };
        let state = state.iter().map(at).collect::<Option<Vec<_>>>()?;
        Some((saved.progress, state, saved.kept))
    };
    saved.and_then(resume).unwrap_or_else(start)
}

/// Returns the result of a training that has ended.
fn trained_weights(
    objective: &CheckedObjective,
    progress: SavedProgress,
    mut kept: Tensors,
) -> TrainedWeights {
    let place = |name: &str| objective.weights.iter().position(|weight| weight.name == name);
    kept.sort_by_key(|(name, _)| place(name));
    let stopped = progress.stopped.unwrap_or(StopReason::Finished);
    TrainedWeights {
        weights: kept,
        report: TrainingReport {
            steps: progress.step,
            best_step: progress.best_step,
            stopped,
            curve: progress.curve,
        },
    }
}

/// Checks that every option is in its range.
fn check_options(options: &TrainingOptions) -> Result<()> {
    let positive = |value: f64| value > 0.0 && value.is_finite();
    let part = |value: f64| (0.0..1.0).contains(&value);
    let (optimizer, momenta) = match options.optimizer {
        Optimizer::AdamW { beta1, beta2, epsilon } => {
            (part(beta1) && part(beta2) && positive(epsilon), format!("{beta1}, {beta2}, {epsilon}"))
        }
        Optimizer::Sgd { momentum } => (part(momentum), momentum.to_string()),
        Optimizer::Lion { beta1, beta2 } => (part(beta1) && part(beta2), format!("{beta1}, {beta2}")),
    };
    let rules = [
        ("optimizer", optimizer, "decays in [0, 1) and an epsilon above 0", momenta),
        (
            "learning_rate",
            positive(options.learning_rate),
            "a finite number above 0",
            options.learning_rate.to_string(),
        ),
        (
            "weight_decay",
            options.weight_decay == 0.0 || positive(options.weight_decay),
            "0 or above",
            options.weight_decay.to_string(),
        ),
        (
            "floor",
            (0.0..=1.0).contains(&options.floor),
            "a fraction of the learning rate, 0 to 1",
            options.floor.to_string(),
        ),
        ("batch", options.batch > 0, "at least 1 row", options.batch.to_string()),
        ("clip", options.clip.is_none_or(positive), "a norm above 0", format!("{:?}", options.clip)),
        (
            "validation",
            part(options.validation),
            "a fraction of the rows, from 0 to below 1",
            options.validation.to_string(),
        ),
    ];
    match rules.into_iter().find(|(_, holds, _, _)| !holds) {
        Some((option, _, expected, got)) => Err(Error::Option { option, expected, got }),
        None => Ok(()),
    }
}
