//! The options of a training.

use serde::{Deserialize, Serialize};

/// How an objective is optimised.
///
/// The step size rises linearly from 0 during the warm-up, then falls as half a cosine (Loshchilov and Hutter
/// 2017) to `floor * learning_rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The largest step size, reached after the warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay (Loshchilov and Hutter 2019): every step multiplies each weight that decays by
    /// `1 - rate * weight_decay`.
    pub weight_decay: f64,
    /// The number of warm-up steps.
    pub warmup: u64,
    /// The final learning rate as a fraction of the largest; 1 keeps it constant.
    pub floor: f64,
    /// How long to train.
    pub length: TrainingLength,
    /// The rows of a mini-batch. An epoch leaves out the last rows that do not fill one.
    pub batch: usize,
    /// Whether every epoch shuffles the rows; otherwise they are used in the given order.
    pub shuffle: bool,
    /// Clips the norm of the whole gradient to this value.
    pub clip: Option<f64>,
    /// The fraction of the training rows held out for validation when no validation rows are given; 0 for
    /// none.
    pub validation: f64,
    /// The steps between two checks (validation, curve, checkpoint); `None` is an epoch, but at least 10
    /// steps.
    pub check_every: Option<u64>,
    /// Early stopping: ends the training after this many checks without a better score.
    pub patience: Option<u64>,
    /// The seed of the split, the shuffling and the noise.
    pub seed: u64,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            optimizer: Optimizer::default(),
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            warmup: 0,
            floor: 0.0,
            length: TrainingLength::Epochs(50),
            batch: 256,
            shuffle: true,
            clip: None,
            validation: 0.1,
            check_every: None,
            patience: None,
            seed: 0,
        }
    }
}

/// An update rule for a weight `w` with gradient `g` and step size `r`. Weight decay is decoupled in all of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// AdamW with bias correction (Kingma and Ba 2015; Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the moving average of gradients.
        beta1: f64,
        /// Decay of the moving average of squared gradients.
        beta2: f64,
        /// Added to the denominator.
        epsilon: f64,
    },
    /// Stochastic gradient descent: `m' = momentum m + g`, `w' = w - r m'`.
    Sgd {
        /// 0 for plain gradient descent.
        momentum: f64,
    },
    /// Lion (Chen et al. 2023): `w' = w - r sign(beta1 m + (1 - beta1) g)`, `m' = beta2 m + (1 - beta2) g`.
    Lion {
        /// Weight of the momentum in the update.
        beta1: f64,
        /// Decay of the momentum.
        beta2: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingLength {
    /// This many mini-batches.
    Steps(u64),
    /// This many passes over the rows.
    Epochs(u64),
}

impl TrainingOptions {
    /// Returns the number of mini-batches in one epoch over `rows` rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        (rows / self.batch.clamp(1, rows.max(1))) as u64
    }

    /// Returns the number of mini-batches of the whole training over `rows` rows.
    pub fn steps(&self, rows: usize) -> u64 {
        match self.length {
            TrainingLength::Steps(steps) => steps,
            TrainingLength::Epochs(epochs) => epochs.saturating_mul(self.steps_per_epoch(rows)),
        }
    }

    /// Returns the step size of step `at` of `steps`, counted from 0.
    pub fn rate(&self, at: u64, steps: u64) -> f64 {
        if at < self.warmup {
            return self.learning_rate * (at + 1) as f64 / self.warmup as f64;
        }
        let done = (at - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
        self.learning_rate * (self.floor + (1.0 - self.floor) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_size_rises_and_then_falls_to_the_floor() {
        let options =
            TrainingOptions { learning_rate: 2.0, warmup: 4, floor: 0.1, ..TrainingOptions::default() };
        let rates: Vec<f64> = (0..=14).map(|at| options.rate(at, 14)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[9] - 2.0 * (0.1 + 0.9 * 0.5)).abs() < 1e-12, "half way down: {}", rates[9]);
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!((rates[14] - 0.2).abs() < 1e-12);
        let constant = TrainingOptions { learning_rate: 2.0, floor: 1.0, ..TrainingOptions::default() };
        assert!((0..100).all(|at| constant.rate(at, 100) == 2.0));
    }

    #[test]
    fn epochs_become_steps() {
        let options =
            TrainingOptions { batch: 32, length: TrainingLength::Epochs(3), ..TrainingOptions::default() };
        assert_eq!(options.steps(100), 9, "rows that do not fill a batch are left out");
        assert_eq!(options.steps(20), 3, "fewer rows than a batch are one batch");
        assert_eq!(TrainingOptions { length: TrainingLength::Steps(7), ..options }.steps(100), 7);
    }
}
