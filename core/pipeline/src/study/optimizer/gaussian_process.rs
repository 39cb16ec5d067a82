//! Gaussian process regression (Rasmussen and Williams 2006, chapters 2, 4 and 5) with a Matérn 5/2 kernel.
//!
//! ```text
//! y = m + f(x) + e,    cov(f(x), f(x')) = s² (1 + r + r²/3) exp(-r),    var(e) = s² v
//! r² = 5 Σ_d (x_d - x'_d)² / l_d²
//! ```
//!
//! m is the mean of the scores. s² has a closed form given the lengths and v: the one of the largest
//! likelihood is `(y - m)ᵀ (K + v I)⁻¹ (y - m) / n`. The lengths, one for each axis, and v are those of a
//! grid with the largest marginal likelihood times a log-normal prior of the lengths, found by changing one
//! at a time. With few scores the prior keeps an axis from being ignored by accident.

use faer::{
    Mat, Par,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch},
        triangular_solve::solve_lower_triangular_in_place,
    },
};
use std::f64::consts::TAU;

/// The lengths that are tried, relative to the unit interval.
const LENGTHS: [f64; 8] = [0.1, 0.18, 0.3, 0.5, 0.8, 1.3, 2.2, 4.0];
/// The variances of the noise that are tried, relative to that of the function.
const NOISES: [f64; 7] = [1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0];
/// The median and the standard deviation of the logarithm of a length in its prior.
const PRIOR: (f64, f64) = (0.5, 1.0);
/// How often each length and the noise are changed.
const SWEEPS: usize = 3;

/// A Gaussian process, conditioned on scores at some points.
#[derive(Debug, Clone)]
pub struct GaussianProcess {
    points: Vec<Vec<f64>>,
    /// The length of each coordinate.
    lengths: Vec<f64>,
    mean: f64,
    /// s².
    variance: f64,
    /// The lower Cholesky factor L of K + v I.
    factor: Mat<f64>,
    /// L⁻¹ (y - m).
    whitened: Mat<f64>,
}

impl GaussianProcess {
    /// Conditions a process with the best lengths and noise of the grid. `axes[d]` is the axis of coordinate
    /// d; coordinates of one axis have one length. Returns `None` without points.
    pub fn fit(points: &[Vec<f64>], scores: &[f64], axes: &[usize]) -> Option<Self> {
        let count = axes.iter().max().map_or(0, |last| last + 1);
        let mut lengths = vec![PRIOR.0; count];
        let mut noise = 1e-2;
        let process = |lengths: &[f64], noise: f64| {
            let of_coordinates: Vec<f64> = axes.iter().map(|axis| lengths[*axis]).collect();
            Self::conditioned(points, scores, &of_coordinates, noise)
        };
        let value = |lengths: &[f64], noise: f64| {
            let prior: f64 = lengths.iter().map(|l| ((l / PRIOR.0).ln() / PRIOR.1).powi(2)).sum();
            process(lengths, noise).map_or(f64::NEG_INFINITY, |p| p.log_likelihood() - 0.5 * prior)
        };
        for _ in 0..SWEEPS {
            noise = best(&NOISES, noise, |noise| value(&lengths, noise));
            for axis in 0..count {
                let with = |length| {
                    let mut changed = lengths.clone();
                    changed[axis] = length;
                    value(&changed, noise)
                };
                lengths[axis] = best(&LENGTHS, lengths[axis], with);
            }
        }
        process(&lengths, noise)
    }

    /// Conditions a process with these lengths, one for each coordinate, and this noise. Returns `None`
    /// without points, or if the matrix is not positive definite.
    pub fn conditioned(points: &[Vec<f64>], scores: &[f64], lengths: &[f64], noise: f64) -> Option<Self> {
        let n = points.len();
        if n == 0 {
            return None;
        }
        let mean = scores.iter().sum::<f64>() / n as f64;
        let mut factor = Mat::from_fn(n, n, |i, j| {
            kernel(&points[i], &points[j], lengths) + if i == j { noise } else { 0.0 }
        });
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
        let stack = MemStack::new(&mut memory);
        cholesky_in_place(factor.as_mut(), Default::default(), Par::Seq, stack, Default::default()).ok()?;
        let mut whitened = Mat::from_fn(n, 1, |i, _| scores[i] - mean);
        solve_lower_triangular_in_place(factor.as_ref(), whitened.as_mut(), Par::Seq);
        // Equal scores have no variance; the smallest one keeps the likelihood finite.
        let variance = (whitened.squared_norm_l2() / n as f64).max(f64::MIN_POSITIVE);
        Some(Self { points: points.to_vec(), lengths: lengths.to_vec(), mean, variance, factor, whitened })
    }

    /// Returns the mean and the variance of f at a point.
    pub fn predict(&self, point: &[f64]) -> (f64, f64) {
        let n = self.points.len();
        let mut own = Mat::from_fn(n, 1, |i, _| kernel(&self.points[i], point, &self.lengths));
        solve_lower_triangular_in_place(self.factor.as_ref(), own.as_mut(), Par::Seq);
        let explained: f64 = (0..n).map(|i| own[(i, 0)] * self.whitened[(i, 0)]).sum();
        let left = (1.0 - own.squared_norm_l2()).max(0.0);
        (self.mean + explained, self.variance * left)
    }

    /// Returns the logarithm of the marginal likelihood of the scores.
    pub fn log_likelihood(&self) -> f64 {
        let n = self.points.len() as f64;
        let half_determinant: f64 = (0..self.points.len()).map(|i| self.factor[(i, i)].ln()).sum();
        -0.5 * n * (TAU * self.variance).ln() - half_determinant - 0.5 * n
    }
}

/// Returns the correlation of the function at two points.
fn kernel(x: &[f64], y: &[f64], lengths: &[f64]) -> f64 {
    let square: f64 = x.iter().zip(y).zip(lengths).map(|((x, y), l)| ((x - y) / l).powi(2)).sum();
    let r = (5.0 * square).sqrt();
    (1.0 + r + r * r / 3.0) * (-r).exp()
}

/// Returns the value of a grid with the largest `of`; `current` wins ties.
fn best(grid: &[f64], current: f64, of: impl Fn(f64) -> f64) -> f64 {
    let start = (current, of(current));
    let pick = |best: (f64, f64), value: f64| {
        let found = of(value);
        if found > best.1 { (value, found) } else { best }
    };
    grid.iter().copied().fold(start, pick).0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `tests/reference/gaussian_process.py`, which inverts the matrices with numpy. The tolerance
    /// allows for the condition number of the matrix, about 1e4.
    #[test]
    fn the_posterior_is_that_of_numpy() {
        let text = include_str!("../../../tests/reference/gaussian_process.json");
        let known: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = |key: &str| -> Vec<Vec<f64>> { serde_json::from_value(known[key].clone()).unwrap() };
        let list = |key: &str| -> Vec<f64> { serde_json::from_value(known[key].clone()).unwrap() };
        let number = |key: &str| known[key].as_f64().unwrap();
        let (points, scores, lengths) = (rows("points"), list("scores"), list("lengths"));
        let process = GaussianProcess::conditioned(&points, &scores, &lengths, number("noise")).unwrap();
        assert!((process.log_likelihood() - number("log_likelihood")).abs() < 1e-9);
        for ((query, mean), variance) in rows("queries").iter().zip(list("means")).zip(list("variances")) {
            let found = process.predict(query);
            assert!((found.0 - mean).abs() < 1e-10, "{query:?}: {} {mean}", found.0);
            assert!((found.1 - variance).abs() < 1e-10, "{query:?}: {} {variance}", found.1);
        }
    }

    /// A function of the first of two axes gets a longer length on the second one.
    #[test]
    fn an_axis_without_influence_gets_a_long_length() {
        let points: Vec<Vec<f64>> =
            (0..20).map(|i| vec![f64::from(i) / 19.0, f64::from(i * 7 % 20) / 19.0]).collect();
        let scores: Vec<f64> = points.iter().map(|p| (7.0 * p[0]).sin()).collect();
        let process = GaussianProcess::fit(&points, &scores, &[0, 1]).unwrap();
        assert!(process.lengths[1] > 3.0 * process.lengths[0], "{:?}", process.lengths);
        let (mean, _) = process.predict(&[0.31, 0.9]);
        assert!((mean - (7.0_f64 * 0.31).sin()).abs() < 0.05, "{mean}");
    }

    #[test]
    fn equal_scores_and_no_scores_are_handled() {
        assert!(GaussianProcess::fit(&[], &[], &[]).is_none());
        let process = GaussianProcess::fit(&[vec![0.0], vec![1.0]], &[3.0, 3.0], &[0]).unwrap();
        assert_eq!(process.predict(&[0.5]).0, 3.0);
    }
}
