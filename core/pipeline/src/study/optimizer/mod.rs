//! Bayesian optimisation: which setting to try next, given the scores of those tried before.
//!
//! A [Gaussian process](gaussian_process) predicts the score of every setting with its uncertainty. The next
//! setting is the one with the largest expected improvement over the best one so far (Močkus 1975; Jones,
//! Schonlau and Welch 1998):
//!
//! ```text
//! EI(x) = E max(f(x) - b, 0) = (µ - b) Φ(z) + σ φ(z),    z = (µ - b) / σ
//! ```
//!
//! Scores on a few rows are noisy, and b is therefore the largest predicted mean at a tried setting, not the
//! largest score. The first settings are a Halton sequence (Halton 1960) with permuted digits (Braaten and
//! Weller 1979) and a shift (Cranley and Patterson 1976), which covers the space more evenly than random
//! settings. Everything is a function of the seed and of the scores, so that an interrupted search continues
//! as if it had not been interrupted.
//!
//! This is a small implementation of our own, because the one in the ecosystem of linfa (egobox) adds two
//! more versions of ndarray and about sixty crates to the build, for the settings of a handful of keys.

pub mod axis;
pub mod gaussian_process;

use axis::Axis;
use chiasm_geometry::random::Random;
use gaussian_process::GaussianProcess;
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Bases of the Halton sequence, one for each axis; they are used again beyond the last.
const PRIMES: [usize; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
/// Settings drawn uniformly as candidates for the next one.
const UNIFORM: usize = 1000;
/// Settings drawn around the best one with each of these standard deviations.
const NEAR: usize = 200;
const SPREADS: [f64; 3] = [0.2, 0.06, 0.02];
/// Halton points that are skipped while they repeat a setting.
const MOST_REPEATS: usize = 1000;

/// A search for the setting with the largest score. A setting is a value for each axis.
#[derive(Debug, Clone)]
pub struct Optimizer {
    axes: Vec<Axis>,
    seed: u64,
    start: usize,
    settings: Vec<Vec<f64>>,
    /// `None` if the setting could not be scored.
    scores: Vec<Option<f64>>,
}

impl Optimizer {
    /// Begins a search. The first settings do not depend on scores: twice the number of axes, 4 to 10.
    pub fn new(axes: Vec<Axis>, seed: u64) -> Self {
        let start = (2 * axes.len()).clamp(4, 10);
        Self { axes, seed, start, settings: Vec::new(), scores: Vec::new() }
    }

    /// Records the score of a setting; `None` if it could not be scored.
    pub fn record(&mut self, setting: Vec<f64>, score: Option<f64>) {
        self.settings.push(setting);
        self.scores.push(score.filter(|score| score.is_finite()));
    }

    /// Returns the next setting to try, or `None` if all settings were tried.
    pub fn next_setting(&self) -> Option<Vec<f64>> {
        if self.settings.len() < self.start { self.halton() } else { self.most_promising() }
    }

    fn is_new(&self, setting: &[f64]) -> bool {
        !self.settings.iter().any(|own| own == setting)
    }

    /// Returns the next point of the Halton sequence that was not tried.
    fn halton(&self) -> Option<Vec<f64>> {
        let mut random = Random::new(self.seed);
        let mut order = |base: usize| -> (f64, Vec<usize>) {
            // 0 stays 0, since a number has infinitely many zeros before its first digit.
            let digits = random.permutation(base - 1).into_iter().map(|digit| digit + 1);
            let digits = std::iter::once(0).chain(digits).collect();
            (random.uniform(), digits)
        };
        let bases = (0..self.axes.len()).map(|at| PRIMES[at % PRIMES.len()]);
        let sequences: Vec<(f64, Vec<usize>)> = bases.map(&mut order).collect();
        let point = |index: usize| -> Vec<f64> {
            let value = |(axis, (shift, digits)): (&Axis, &(f64, Vec<usize>))| {
                axis.value((radical_inverse(index + 1, digits) + shift).fract())
            };
            self.axes.iter().zip(&sequences).map(value).collect()
        };
        (self.settings.len()..self.settings.len() + MOST_REPEATS).map(point).find(|point| self.is_new(point))
    }

    /// Returns the candidate with the largest expected improvement.
    fn most_promising(&self) -> Option<Vec<f64>> {
        let points: Vec<Vec<f64>> = self.settings.iter().map(|setting| self.features(setting)).collect();
        let Some(lowest) = self.scores.iter().flatten().copied().min_by(f64::total_cmp) else {
            return self.halton(); // nothing could be scored yet
        };
        let scores: Vec<f64> = self.scores.iter().map(|score| score.unwrap_or(lowest)).collect();
        let axes = self.axes.iter().enumerate().flat_map(|(at, axis)| vec![at; axis.features()]);
        let process = GaussianProcess::fit(&points, &scores, &axes.collect::<Vec<_>>())?;
        let means: Vec<f64> = points.iter().map(|point| process.predict(point).0).collect();
        let top = (0..means.len()).max_by(|a, b| means[*a].total_cmp(&means[*b]))?;
        let promise = |setting: &Vec<f64>| {
            let (mean, variance) = process.predict(&self.features(setting));
            (expected_improvement(mean, variance.sqrt(), means[top]), variance)
        };
        let mut random = Random::new(self.seed.wrapping_add(self.settings.len() as u64));
        let mut candidates: Vec<Vec<f64>> = (0..UNIFORM).map(|_| self.uniform(&mut random)).collect();
        for spread in SPREADS {
            candidates.extend((0..NEAR).map(|_| self.near(&self.settings[top], spread, &mut random)));
        }
        let promising = candidates.into_iter().filter(|setting| self.is_new(setting));
        let promising = promising.map(|setting| (promise(&setting), setting));
        let best = promising.max_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let ((improvement, _), mut setting) = best?;
        let mut reached = improvement;
        for spread in SPREADS {
            for _ in 0..NEAR {
                let nearby = self.near(&setting, spread / 4.0, &mut random);
                let (improvement, _) = promise(&nearby);
                if improvement > reached && self.is_new(&nearby) {
                    (reached, setting) = (improvement, nearby);
                }
            }
        }
        Some(setting)
    }

    fn uniform(&self, random: &mut Random) -> Vec<f64> {
        self.axes.iter().map(|axis| axis.value(random.uniform())).collect()
    }

    /// Returns a setting near another one; a choice is drawn again with the probability `spread`.
    fn near(&self, setting: &[f64], spread: f64, random: &mut Random) -> Vec<f64> {
        let moved = |(axis, value): (&Axis, &f64)| {
            if matches!(axis, Axis::Choice { .. }) {
                let (kept, other) = (random.uniform() >= spread, random.uniform());
                return if kept { *value } else { axis.value(other) };
            }
            let unit = axis.unit(*value).unwrap_or(0.5) + spread * random.normal();
            axis.value(unit.clamp(0.0, 1.0))
        };
        self.axes.iter().zip(setting).map(moved).collect()
    }

    fn features(&self, setting: &[f64]) -> Vec<f64> {
        let mut features = Vec::new();
        self.axes.iter().zip(setting).for_each(|(axis, value)| axis.push_features(*value, &mut features));
        features
    }
}

/// Returns the expected improvement of a normal value with this mean and deviation over `best`.
fn expected_improvement(mean: f64, deviation: f64, best: f64) -> f64 {
    let gain = mean - best;
    if deviation <= 0.0 {
        return gain.max(0.0);
    }
    let z = gain / deviation;
    let density = (-0.5 * z * z).exp() / TAU.sqrt();
    let probability = 0.5 * libm::erfc(-z * FRAC_1_SQRT_2);
    gain * probability + deviation * density
}

/// Returns the digits of `index`, mirrored at the point: the coordinate of a Halton point. Each digit is
/// replaced by the one at its place in `digits`, whose number is the base.
fn radical_inverse(mut index: usize, digits: &[usize]) -> f64 {
    let base = digits.len();
    let (mut value, mut place) = (0.0, 1.0);
    while index > 0 {
        place /= base as f64;
        value += digits[index % base] as f64 * place;
        index /= base;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a budget and returns the largest value found.
    fn search(axes: &[Axis], seed: u64, budget: usize, of: impl Fn(&[f64]) -> f64) -> f64 {
        let mut optimizer = Optimizer::new(axes.to_vec(), seed);
        for _ in 0..budget {
            let Some(setting) = optimizer.next_setting() else { break };
            let score = of(&setting);
            optimizer.record(setting, Some(score));
        }
        optimizer.scores.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The function of Branin (Dixon and Szegő 1978), whose minimum is 0.397887. Its values go up to 308, and
    /// 5 % of uniform settings are below 2.
    fn branin(x: &[f64]) -> f64 {
        let pi = std::f64::consts::PI;
        let bend = x[1] - 5.1 / (4.0 * pi * pi) * x[0] * x[0] + 5.0 / pi * x[0] - 6.0;
        bend * bend + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x[0].cos() + 10.0
    }

    #[test]
    fn the_minimum_of_branin_is_found_within_25_settings() {
        let axes = [
            Axis::Real { low: -5.0, high: 10.0, log: false },
            Axis::Real { low: 0.0, high: 15.0, log: false },
        ];
        for seed in 0..3 {
            let lowest = -search(&axes, seed, 25, |x| -branin(x));
            assert!(lowest < 0.397_887 + 0.1, "seed {seed}: {lowest}");
        }
    }

    /// The best of 3 x 6 settings, of which one choice is best, and only with a middle integer.
    #[test]
    fn choices_and_integers_are_searched() {
        let axes = [Axis::Choice { count: 3 }, Axis::Integer { low: 0, high: 5, log: false }];
        let of = |x: &[f64]| if x[0] == 1.0 { 1.0 - (x[1] - 3.0).abs() } else { -3.0 };
        assert_eq!(search(&axes, 1, 14, of), 1.0);
        // more settings than there are: each is tried once
        let mut optimizer = Optimizer::new(vec![Axis::Choice { count: 5 }], 2);
        while let Some(setting) = optimizer.next_setting() {
            optimizer.record(setting, None);
        }
        assert_eq!(optimizer.settings.len(), 5);
    }

    /// E max(f - b, 0) by the trapezoidal rule over 12 standard deviations, whose error is below 1e-9.
    #[test]
    fn the_expected_improvement_is_the_integral() {
        for (mean, deviation, best) in [(0.3, 0.2, 0.25), (-1.0, 0.5, 0.0), (2.0, 1.5, 0.5)] {
            let steps = 200_000;
            let value = |i: i32| {
                let z = -12.0 + 24.0 * f64::from(i) / f64::from(steps);
                (mean + deviation * z - best).max(0.0) * (-0.5 * z * z).exp() / TAU.sqrt()
            };
            let integral: f64 = (0..=steps).map(value).sum::<f64>() * 24.0 / f64::from(steps);
            let found = expected_improvement(mean, deviation, best);
            assert!((found - integral).abs() < 1e-8, "{found} {integral}");
        }
        assert_eq!(expected_improvement(1.0, 0.0, 0.25), 0.75);
        assert_eq!(expected_improvement(0.0, 0.0, 0.25), 0.0);
    }

    #[test]
    fn halton_points_are_the_published_ones() {
        let found: Vec<f64> = (1..=4).map(|index| radical_inverse(index, &[0, 1, 2])).collect();
        let known = [1.0 / 3.0, 2.0 / 3.0, 1.0 / 9.0, 4.0 / 9.0];
        assert!(found.iter().zip(known).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
    }

    #[test]
    fn failed_settings_count_as_the_worst() {
        let axes = [Axis::Real { low: 0.0, high: 1.0, log: false }];
        let mut optimizer = Optimizer::new(axes.to_vec(), 3);
        for _ in 0..12 {
            let setting = optimizer.next_setting().unwrap();
            let score = (setting[0] < 0.5).then_some(setting[0]);
            optimizer.record(setting, score);
        }
        let later = &optimizer.settings[6..];
        assert!(later.iter().filter(|setting| setting[0] < 0.5).count() >= later.len() / 2, "{later:?}");
    }
}
