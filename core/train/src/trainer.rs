//! The loop: step, look, check, keep the best, leave a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use chiasm_graph::{Graph, Tensor, TensorRef};
use chiasm_objective::{
    CurvePoint, Objective, Optimizer, StopReason, TrainedWeights, TrainingOptions, TrainingProgress,
    TrainingReport, TrainingRows,
};
use chiasm_runtime::{Engine, Session, SessionOptions, Stepper};

use crate::checkpoint::{self, Checkpoint, SavedTraining, Tensors, TrainingState};
use crate::optimizer;
use crate::rows::{MiniBatches, RandomInputs, TrainingData};
use crate::step::{self, INDEX};
use crate::task::CheckedObjective;
use crate::validation::{Validator, scalar};
use crate::{Error, Result};

/// A loss this many times the first one (or 1, if that is more) has exploded.
const EXPLOSION: f32 = 1e4;
/// Between two checks, when an epoch is shorter.
const FEWEST_STEPS: u64 = 10;

/// Where trainings run.
#[derive(Clone, Copy, Debug)]
pub struct Trainer<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Device and threads.
    pub session: SessionOptions,
    /// A folder for checkpoints, one file for each training, named by a hash of everything it depends on. A training that finds its
    /// own goes on from there, and ends with the same bytes as one that was never stopped; a finished one is not repeated.
    pub checkpoints: Option<&'a Path>,
}

impl Trainer<'_> {
    /// Trains, and returns the weights that did best on the validation rows, which the starting weights may be; without validation
    /// rows the last ones. The observer hears of every step; false stops with [`Error::Cancelled`].
    ///
    /// # Errors
    /// When objective, rows or options make no sense, the engine fails, or the checkpoint cannot be written. A diverging loss is no
    /// error: training stops with the best weights so far, and [`TrainingReport::stopped`] says why.
    pub fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
        observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
    ) -> Result<TrainedWeights> {
        check(options)?;
        let task = CheckedObjective::read(objective)?;
        let material = TrainingData::new(&task.ports, rows, options)?;
        let (graph, state) = step::training(&task, options)?;
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
            Some(SavedTraining { ledger, kept, .. }) if ledger.stopped.is_some() => {
                return Ok(over(&task, ledger, kept));
            }
            other => other,
        };
        let judge = match material.held() {
            Some((data, held)) => Some(Validator::new(self.engine, &place, &task, data, held, options.seed)?),
            None => None,
        };
        let rows = material.training.len();
        let check_every = options.check_every.unwrap_or(options.steps_per_epoch(rows).max(FEWEST_STEPS));
        let (ledger, state, kept) = begin(&task, state, saved);
        let inputs = graph.inputs();
        let stepper = session.stepper(&material.data.views(&inputs), state)?;
        let batches = MiniBatches::new(material.training, options);
        let run = TrainingLoop {
            noise: RandomInputs::new(&task, &inputs, batches.batch(), options.seed),
            controls: inputs.into_iter().map(|port| port.name).collect(),
            stepper,
            weights: task.weights.len(),
            judge,
            batches,
            options,
            steps: options.steps(rows),
            check_every: check_every.max(1),
            checkpoint,
            ledger,
            kept,
            sums: BTreeMap::new(),
        };
        let (ledger, kept) = run.finish(observe)?;
        Ok(over(&task, ledger, kept))
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

/// Where a training begins: at the start, or where a checkpoint left it.
fn begin(
    task: &CheckedObjective,
    state: Vec<chiasm_runtime::StateVariable>,
    saved: Option<SavedTraining>,
) -> (TrainingState, Vec<chiasm_runtime::StateVariable>, Tensors) {
    let start = || {
        let ledger = TrainingState {
            step: 0,
            first_loss: None,
            best_step: 0,
            best_score: None,
            waited: 0,
            curve: Vec::new(),
            stopped: None,
        };
        let kept = task.weights.iter().map(|w| (w.name.clone(), w.first.clone())).collect();
        (ledger, state.clone(), kept)
    };
    let resume = |saved: SavedTraining| {
        let at = |state: &chiasm_runtime::StateVariable| {
            let (_, value) = saved.state.iter().find(|(name, _)| *name == state.input)?;
            let fits = value.shape() == state.first.shape() && value.dtype() == state.first.dtype();
            fits.then(|| chiasm_runtime::StateVariable { first: value.clone(), ..state.clone() })
        };
        let state = state.iter().map(at).collect::<Option<Vec<_>>>()?;
        Some((saved.ledger, state, saved.kept))
    };
    saved.and_then(resume).unwrap_or_else(start)
}

/// What is returned of a training that is over.
fn over(task: &CheckedObjective, ledger: TrainingState, mut kept: Tensors) -> TrainedWeights {
    let place = |name: &str| task.weights.iter().position(|weight| weight.name == name);
    kept.sort_by_key(|(name, _)| place(name));
    let stopped = ledger.stopped.unwrap_or(StopReason::Finished);
    TrainedWeights {
        weights: kept,
        report: TrainingReport {
            steps: ledger.step,
            best_step: ledger.best_step,
            stopped,
            curve: ledger.curve,
        },
    }
}

/// A training under way.
struct TrainingLoop<'a, 'd> {
    stepper: Stepper<'d>,
    /// How many of the stepper's states, the first ones, are weights.
    weights: usize,
    judge: Option<Validator<'d>>,
    batches: MiniBatches,
    noise: RandomInputs,
    /// Names of the step's inputs, by which scalars are given.
    controls: Vec<String>,
    options: &'a TrainingOptions,
    steps: u64,
    check_every: u64,
    checkpoint: Option<Checkpoint>,
    ledger: TrainingState,
    /// The best weights so far.
    kept: Tensors,
    /// Sums of the outputs since the last check.
    sums: BTreeMap<String, f64>,
}

impl TrainingLoop<'_, '_> {
    fn finish(
        mut self,
        observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
    ) -> Result<(TrainingState, Tensors)> {
        if self.ledger.curve.is_empty() {
            self.check()?;
        }
        while self.ledger.stopped.is_none() && self.ledger.step < self.steps {
            let losses = self.step()?;
            let last = self.ledger.step == self.steps;
            if self.ledger.stopped.is_none() && (last || self.ledger.step.is_multiple_of(self.check_every)) {
                self.check()?;
            }
            let progress = TrainingProgress {
                step: self.ledger.step,
                steps: self.steps,
                losses: &losses,
                validation: self.judge.as_ref().and(self.ledger.curve.last()).and_then(|point| point.score),
            };
            if !observe(&progress) && !last && self.ledger.stopped.is_none() {
                return Err(Error::Cancelled { step: self.ledger.step, steps: self.steps });
            }
        }
        let unjudged = self.judge.is_none();
        if self.ledger.stopped.is_none() {
            self.ledger.stopped = Some(StopReason::Finished);
        }
        if unjudged && !matches!(self.ledger.stopped, Some(StopReason::Diverged(_))) {
            self.kept = self.current()?;
            self.ledger.best_step = self.ledger.step;
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.save(&self.ledger, &Vec::new(), &self.kept)?;
        }
        Ok((self.ledger, self.kept))
    }

    /// One step: its outputs by name.
    fn step(&mut self) -> Result<Vec<(String, f32)>> {
        let at = self.ledger.step;
        self.noise.step(at);
        let scalars = optimizer::controls(self.options, at, self.steps);
        let rows = self.batches.at(at);
        let shape = [rows.len()];
        let mut given = vec![(INDEX, TensorRef::i64(&shape, rows)?)];
        given.extend(self.noise.views().collect::<Result<Vec<_>>>()?);
        for (name, value) in scalars.iter().filter(|(name, _)| self.controls.contains(name)) {
            given.push((name, TensorRef::f32(&[], std::slice::from_ref(value))?));
        }
        let outputs = self.stepper.step(&given)?;
        let losses: Vec<(String, f32)> =
            outputs.into_iter().map(|(name, value)| (name, scalar(&value))).collect();
        self.ledger.step += 1;
        for (name, value) in &losses {
            *self.sums.entry(name.clone()).or_default() += f64::from(*value);
        }
        let loss = losses.first().map_or(f32::NAN, |(_, value)| *value);
        let first = *self.ledger.first_loss.get_or_insert(loss);
        if !loss.is_finite() {
            self.diverged(&format!("became {loss}"), first);
        } else if loss.abs() > EXPLOSION * first.abs().max(1.0) {
            self.diverged(&format!("exploded to {loss:.3e}"), first);
        }
        Ok(losses)
    }

    /// Looks at the weights as they are: a point of the curve, perhaps the best weights, a checkpoint.
    fn check(&mut self) -> Result<()> {
        let weights = self.current()?;
        let validation = match &mut self.judge {
            Some(judge) => judge.judge(&weights)?,
            None => Vec::new(),
        };
        let since = self.ledger.curve.last().map_or(0, |point| point.step);
        let taken = (self.ledger.step - since).max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "losses are f32")]
        let training: BTreeMap<String, f32> = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(name, sum)| (name, (sum / taken) as f32))
            .collect();
        // Patience is about rows held out: the loss of one batch rises and falls.
        let judged = !validation.is_empty();
        let score = match validation.first() {
            Some((_, score)) => Some(*score),
            None => training.get(chiasm_objective::LOSS).copied(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "for the eye")]
        let rate = self.options.rate(self.ledger.step.saturating_sub(1), self.steps) as f32;
        let step = self.ledger.step;
        let finite = |(_, value): &(String, f32)| value.is_finite();
        self.ledger.curve.push(CurvePoint {
            step,
            rate,
            training: training.into_iter().filter(finite).collect(),
            validation: validation.into_iter().filter(finite).collect(),
            score: score.filter(|score| score.is_finite()),
        });
        if score.is_some_and(|score| !score.is_finite()) {
            let (what, first) =
                ("on the validation rows is no finite number", self.ledger.first_loss.unwrap_or(f32::NAN));
            self.diverged(what, first);
            return Ok(());
        }
        let finite =
            |(_, tensor): &(String, Tensor)| tensor.as_f32().is_none_or(|v| v.iter().all(|x| x.is_finite()));
        let better = score.is_some_and(|score| self.ledger.best_score.is_none_or(|best| score < best));
        if better && weights.iter().all(finite) {
            self.ledger.best_score = score;
            self.ledger.best_step = step;
            self.ledger.waited = 0;
            self.kept = weights;
        } else if step > 0 {
            self.ledger.waited += 1;
        }
        if judged && self.options.patience.is_some_and(|patience| self.ledger.waited >= patience.max(1)) {
            self.ledger.stopped = Some(StopReason::Early(self.ledger.waited));
        } else if let Some(checkpoint) = &self.checkpoint {
            checkpoint.save(&self.ledger, &self.stepper.state()?, &self.kept)?;
        }
        Ok(())
    }

    /// The weights as they are now.
    fn current(&self) -> Result<Tensors> {
        let mut state = self.stepper.state()?;
        state.truncate(self.weights);
        Ok(state)
    }

    fn diverged(&mut self, what: &str, first: f32) {
        let rate = self.options.learning_rate;
        self.ledger.stopped = Some(StopReason::Diverged(format!(
            "the loss {what} at step {} (it was {first:.4} at the first); lower the learning rate ({rate:e}), clip the \
             gradient, or look for numbers in the rows that are not finite",
            self.ledger.step
        )));
    }
}

/// Options that make sense.
fn check(options: &TrainingOptions) -> Result<()> {
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
