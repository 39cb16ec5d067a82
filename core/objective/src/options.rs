//! How an objective is optimised.

use serde::{Deserialize, Serialize};

/// How an objective is optimised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How a gradient becomes an update.
    pub optimizer: Optimizer,
    /// The largest step size, reached after the warm-up.
    pub learning_rate: f64,
    /// Decoupled weight decay (Loshchilov and Hutter 2019): every step takes `rate * weight_decay` of each weight that decays.
    pub weight_decay: f64,
    /// Steps in which the step size rises linearly from 0.
    pub warmup: u64,
    /// What is left of the learning rate at the end, as a fraction; it falls there as half a cosine. 1 keeps it constant.
    pub floor: f64,
    /// How long to train.
    pub length: Length,
    /// Rows of a mini-batch. Rows that do not fill one are left out of an epoch.
    pub batch: usize,
    /// Whether every epoch shuffles the rows anew; else they are taken in their order, for rows that somebody else has shuffled.
    pub shuffle: bool,
    /// The largest norm of the whole gradient; a longer one is shortened to it.
    pub clip: Option<f64>,
    /// The fraction of the rows held out to validate on, when no rows are given for that; 0 for none.
    pub validation: f64,
    /// Steps between two checks (validation, curves, checkpoint); an epoch, but at least 10 steps, when not set.
    pub check_every: Option<u64>,
    /// Stops after this many checks without a better one.
    pub patience: Option<u64>,
    /// Seed of the split, the shuffling and the noise.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            optimizer: Optimizer::default(),
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            warmup: 0,
            floor: 0.0,
            length: Length::Epochs(50),
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

/// How a gradient `g` becomes an update of a weight `w`, with step size `r`. Decay is decoupled in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with decoupled decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), with bias correction.
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of their squares.
        beta2: f64,
        /// Keeps the denominator from 0.
        epsilon: f64,
    },
    /// `m' = momentum m + g`, `w' = w - r m'`.
    Sgd {
        /// 0 for plain gradient descent.
        momentum: f64,
    },
    /// `w' = w - r sign(beta1 m + (1 - beta1) g)`, `m' = beta2 m + (1 - beta2) g` (Chen et al. 2023).
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
pub enum Length {
    /// So many mini-batches.
    Steps(u64),
    /// So many passes over the rows.
    Epochs(u64),
}

impl Options {
    /// Mini-batches in a pass over so many rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        (rows / self.batch.clamp(1, rows.max(1))) as u64
    }

    /// Mini-batches in the whole training.
    pub fn steps(&self, rows: usize) -> u64 {
        match self.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => epochs.saturating_mul(self.steps_per_epoch(rows)),
        }
    }

    /// The step size of step `at` of `steps`, counted from 0.
    pub fn rate(&self, at: u64, steps: u64) -> f64 {
        if at < self.warmup {
            return self.learning_rate * (at + 1) as f64 / self.warmup as f64;
        }
        let gone = (at - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * gone.min(1.0)).cos());
        self.learning_rate * (self.floor + (1.0 - self.floor) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_size_rises_then_falls_to_its_floor() {
        let options = Options { learning_rate: 2.0, warmup: 4, floor: 0.1, ..Options::default() };
        let rates: Vec<f64> = (0..=14).map(|at| options.rate(at, 14)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[9] - 2.0 * (0.1 + 0.9 * 0.5)).abs() < 1e-12, "half way down: {}", rates[9]);
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!((rates[14] - 0.2).abs() < 1e-12);
        let constant = Options { learning_rate: 2.0, floor: 1.0, ..Options::default() };
        assert!((0..100).all(|at| constant.rate(at, 100) == 2.0));
    }

    #[test]
    fn epochs_become_steps() {
        let options = Options { batch: 32, length: Length::Epochs(3), ..Options::default() };
        assert_eq!(options.steps(100), 9, "the rows that do not fill a batch wait for the next shuffle");
        assert_eq!(options.steps(20), 3, "fewer rows than a batch are one batch");
        assert_eq!(Options { length: Length::Steps(7), ..options }.steps(100), 7);
    }
}
