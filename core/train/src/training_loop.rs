//! The training loop: step, check, keep the best weights, save a checkpoint.

use std::collections::BTreeMap;

use chiasm_graph::{Tensor, TensorRef};
use chiasm_objective::{CurvePoint, StopReason, TrainingOptions, TrainingProgress};
use chiasm_runtime::Stepper;

use crate::checkpoint::{Checkpoint, SavedProgress, Tensors};
use crate::optimizer;
use crate::rows::{MiniBatches, RandomInputs};
use crate::step::INDEX;
use crate::validation::{Validator, scalar};
use crate::{Error, Result};

/// A loss has exploded when it is this many times the first one (or 1, if that is larger).
const EXPLOSION: f32 = 1e4;

/// A running training.
pub(crate) struct TrainingLoop<'a, 'd> {
    pub stepper: Stepper<'d>,
    /// The number of weights; they are the first of the stepper's states.
    pub weights: usize,
    pub validator: Option<Validator<'d>>,
    pub batches: MiniBatches,
    pub noise: RandomInputs,
    /// The names of the step's inputs.
    pub controls: Vec<String>,
    pub options: &'a TrainingOptions,
    pub steps: u64,
    pub check_every: u64,
    pub checkpoint: Option<Checkpoint>,
    pub progress: SavedProgress,
    /// The best weights so far.
    pub kept: Tensors,
    /// The sums of the outputs since the last check.
    pub sums: BTreeMap<String, f64>,
}

impl TrainingLoop<'_, '_> {
    /// Runs to the end; returns the progress and the best weights.
    pub fn run(
        mut self,
        observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
    ) -> Result<(SavedProgress, Tensors)> {
        if self.progress.curve.is_empty() {
            self.check()?;
        }
        while self.progress.stopped.is_none() && self.progress.step < self.steps {
            let losses = self.step()?;
            let last = self.progress.step == self.steps;
            if self.progress.stopped.is_none()
                && (last || self.progress.step.is_multiple_of(self.check_every))
            {
                self.check()?;
            }
            let report = TrainingProgress {
                step: self.progress.step,
                steps: self.steps,
                losses: &losses,
                validation: self
                    .validator
                    .as_ref()
                    .and(self.progress.curve.last())
                    .and_then(|point| point.score),
            };
            if !observe(&report) && !last && self.progress.stopped.is_none() {
                return Err(Error::Cancelled { step: self.progress.step, steps: self.steps });
            }
        }
        let no_validation = self.validator.is_none();
        if self.progress.stopped.is_none() {
            self.progress.stopped = Some(StopReason::Finished);
        }
        if no_validation && !matches!(self.progress.stopped, Some(StopReason::Diverged(_))) {
            self.kept = self.current()?;
            self.progress.best_step = self.progress.step;
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.save(&self.progress, &Vec::new(), &self.kept)?;
        }
        Ok((self.progress, self.kept))
    }

    /// Runs one step and returns its outputs by name.
    fn step(&mut self) -> Result<Vec<(String, f32)>> {
        let at = self.progress.step;
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
        self.progress.step += 1;
        for (name, value) in &losses {
            *self.sums.entry(name.clone()).or_default() += f64::from(*value);
        }
        let loss = losses.first().map_or(f32::NAN, |(_, value)| *value);
        let first = *self.progress.first_loss.get_or_insert(loss);
        if !loss.is_finite() {
            self.diverged(&format!("became {loss}"), first);
        } else if loss.abs() > EXPLOSION * first.abs().max(1.0) {
            self.diverged(&format!("exploded to {loss:.3e}"), first);
        }
        Ok(losses)
    }

    /// Scores the current weights: adds a point to the curve, keeps the weights if they are the best, saves a
    /// checkpoint.
    fn check(&mut self) -> Result<()> {
        let weights = self.current()?;
        let validation = match &mut self.validator {
            Some(validator) => validator.outputs(&weights)?,
            None => Vec::new(),
        };
        let since = self.progress.curve.last().map_or(0, |point| point.step);
        let taken = (self.progress.step - since).max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "losses are f32")]
        let training: BTreeMap<String, f32> = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(name, sum)| (name, (sum / taken) as f32))
            .collect();
        // Early stopping needs validation rows: the loss of single batches fluctuates.
        let validated = !validation.is_empty();
        let score = match validation.first() {
            Some((_, score)) => Some(*score),
            None => training.get(chiasm_objective::LOSS).copied(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "for display")]
        let rate = self.options.rate(self.progress.step.saturating_sub(1), self.steps) as f32;
        let step = self.progress.step;
        let finite = |(_, value): &(String, f32)| value.is_finite();
        self.progress.curve.push(CurvePoint {
            step,
            rate,
            training: training.into_iter().filter(finite).collect(),
            validation: validation.into_iter().filter(finite).collect(),
            score: score.filter(|score| score.is_finite()),
        });
        if score.is_some_and(|score| !score.is_finite()) {
            let (what, first) =
                ("on the validation rows is not finite", self.progress.first_loss.unwrap_or(f32::NAN));
            self.diverged(what, first);
            return Ok(());
        }
        let finite =
            |(_, tensor): &(String, Tensor)| tensor.as_f32().is_none_or(|v| v.iter().all(|x| x.is_finite()));
        let better = score.is_some_and(|score| self.progress.best_score.is_none_or(|best| score < best));
        if better && weights.iter().all(finite) {
            self.progress.best_score = score;
            self.progress.best_step = step;
            self.progress.waited = 0;
            self.kept = weights;
        } else if step > 0 {
            self.progress.waited += 1;
        }
        if validated && self.options.patience.is_some_and(|patience| self.progress.waited >= patience.max(1))
        {
            self.progress.stopped = Some(StopReason::Early(self.progress.waited));
        } else if let Some(checkpoint) = &self.checkpoint {
            checkpoint.save(&self.progress, &self.stepper.state()?, &self.kept)?;
        }
        Ok(())
    }

    /// Returns the current weights.
    fn current(&self) -> Result<Tensors> {
        let mut state = self.stepper.state()?;
        state.truncate(self.weights);
        Ok(state)
    }

    fn diverged(&mut self, what: &str, first: f32) {
        let rate = self.options.learning_rate;
        self.progress.stopped = Some(StopReason::Diverged(format!(
            "the loss {what} at step {} (it was {first:.4} at the first); lower the learning rate \
             ({rate:e}), clip the gradient, or look for numbers in the rows that are not finite",
            self.progress.step
        )));
    }
}
