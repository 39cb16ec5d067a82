//! Identifiability: how well learned vectors determine factors that are known.
//!
//! The factors `truth [n, d]` are known where data was generated. A representation `found [n, k]` of the same
//! rows can determine them one by one ([`mean_correlation`]), up to a linear map or up to a smooth map
//! ([`held_out_predictions`] with [`Probe::Linear`] or [`Probe::Kernel`]). How well the representations of
//! two modalities agree with each other is [`crate::foscttm`].
//!
//! ```
//! use chiasm_geometry::identifiability::{Probe, factor_r2, held_out_predictions, mean_correlation};
//! use chiasm_geometry::random::Random;
//! let mut random = Random::new(1);
//! let truth = ndarray::Array2::from_shape_simple_fn((200, 2), || random.normal());
//! // Found in another order, with another sign and scale.
//! let found = ndarray::stack![ndarray::Axis(1), truth.column(1).mapv(|v| -3.0 * v), truth.column(0)];
//! let matched = mean_correlation(truth.view(), found.view())?;
//! assert!((matched.mcc - 1.0).abs() < 1e-9);
//! assert_eq!(matched.components, [Some(1), Some(0)]);
//! let folds: Vec<usize> = (0..200).map(|row| row % 5).collect();
//! let guess = held_out_predictions(truth.view(), found.view(), &folds, Probe::Linear)?;
//! assert!(factor_r2(truth.view(), guess.view())?.iter().all(|r2| *r2 > 0.999));
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

mod regression;

pub use regression::Probe;

use chiasm_transport::{SolverLimits, exact, uniform};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::linalg::{finite, product};
use crate::{Error, Result, same};
use regression::{Standard, regress};

/// The result of [`mean_correlation`].
#[derive(Debug, Clone, PartialEq)]
pub struct FactorMatch {
    /// The mean of `correlations`.
    pub mcc: f64,
    /// The component of each factor; `None` if there are fewer components than factors.
    pub components: Vec<Option<usize>>,
    /// The absolute correlation of each factor with its component; 0 without one.
    pub correlations: Vec<f64>,
}

/// Returns the mean correlation coefficient (MCC) between the factors `truth [n, d]` and the components
/// `found [n, k]`.
///
/// `MCC = max over assignments π of 1/d Σ_j |corr(truth_j, found_π(j))|`, where π gives every factor another
/// component (Hyvärinen and Morioka 2016, "Unsupervised feature extraction by time-contrastive learning and
/// nonlinear ICA"). In [0, 1]; it is 1 if the factors are found up to their order, sign and scale. A rotation
/// lowers it. With more components than factors, chance is well above 0. The assignment is exact
/// ([`fn@chiasm_transport::exact`]). A constant component has the correlation 0.
///
/// # Errors
/// When the rows differ, there are fewer than two, a value is not finite, or a factor is constant.
pub fn mean_correlation(truth: ArrayView2<'_, f64>, found: ArrayView2<'_, f64>) -> Result<FactorMatch> {
    paired(truth, found)?;
    let (standard, varied) = standardised(truth);
    if varied.contains(&false) {
        return Err(Error::NoSpread("truth"));
    }
    let correlations = product(&standard.t(), &standardised(found).0)? / truth.nrows() as f64;
    let (d, k) = correlations.dim();
    // Padded to a square with the correlation 0, so that the exact solver's assignment covers every factor.
    let size = d.max(k);
    let cost = Array2::from_shape_fn((size, size), |at| -correlations.get(at).map_or(0.0, |c| c.abs()));
    let weights = uniform(size);
    let plan = exact(cost.view(), &weights, &weights, &SolverLimits::new(usize::MAX))?;
    let mut components = vec![None; d];
    for entry in plan.entries.iter().filter(|entry| entry.source < d && entry.target < k) {
        components[entry.source] = Some(entry.target);
    }
    // Rounding can exceed 1.
    let of = |(j, component): (usize, &Option<usize>)| {
        component.map_or(0.0, |k| correlations[[j, k]].abs().min(1.0))
    };
    let correlations: Vec<f64> = components.iter().enumerate().map(of).collect();
    Ok(FactorMatch { mcc: correlations.iter().sum::<f64>() / d as f64, components, correlations })
}

/// Predicts the factors `truth [n, d]` from `found [n, k]`. The rows of each fold are predicted by a
/// regression on the other folds; `folds [n]` has the fold of every row. Returns `[n, d]`.
///
/// The penalty is one of n 10^-6, n 10^-5, ..., n for n fitted rows. It is the one with the smallest squared
/// error when every fitted row is left out in turn, `(y - ŷ)_i / (1 - H_ii)` for the hat matrix H (Golub,
/// Heath and Wahba 1979), summed over the factors, as in scikit-learn's `RidgeCV`. Rows of one group, such as
/// captions of one picture, belong into one fold.
///
/// # Errors
/// When the rows differ, a value is not finite, `found` is constant, there is only one fold, or fewer than
/// three rows are outside of a fold.
pub fn held_out_predictions(
    truth: ArrayView2<'_, f64>,
    found: ArrayView2<'_, f64>,
    folds: &[usize],
    probe: Probe,
) -> Result<Array2<f64>> {
    paired(truth, found)?;
    same("folds of the rows", truth.nrows(), folds.len())?;
    let mut names = folds.to_vec();
    names.sort_unstable();
    names.dedup();
    let of_fold = |fold: &usize| -> Result<(Vec<usize>, Array2<f64>)> {
        let (held, fitted): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|row| folds[*row] == *fold);
        if fitted.len() < 3 {
            let expected = "three or more rows outside of every fold".to_owned();
            return Err(Error::Setting { what: "folds", expected, got: fitted.len().to_string() });
        }
        let rows = |cloud: ArrayView2<'_, f64>, rows: &[usize]| cloud.select(Axis(0), rows);
        let (x, y, new) = (rows(found, &fitted), rows(truth, &fitted), rows(found, &held));
        Ok((held, regress(x.view(), y.view(), new.view(), probe)?))
    };
    let parts: Vec<(Vec<usize>, Array2<f64>)> = names.par_iter().map(of_fold).collect::<Result<_>>()?;
    let mut predicted = Array2::zeros(truth.dim());
    for (rows, values) in &parts {
        rows.iter().zip(values.outer_iter()).for_each(|(row, value)| predicted.row_mut(*row).assign(&value));
    }
    Ok(predicted)
}

/// Returns the coefficient of determination of every factor, `1 - Σ (t - p)² / Σ (t - mean t)²`
/// (scikit-learn's `r2_score`). It is negative if the mean would be a better prediction.
///
/// # Errors
/// When the shapes differ, there are fewer than two rows, a value is not finite, or a factor is constant.
pub fn factor_r2(truth: ArrayView2<'_, f64>, predicted: ArrayView2<'_, f64>) -> Result<Vec<f64>> {
    paired(truth, predicted)?;
    same("columns of the predictions", truth.ncols(), predicted.ncols())?;
    let of = |(truth, predicted): (ArrayView1<'_, f64>, ArrayView1<'_, f64>)| {
        let mean = truth.sum() / truth.len() as f64;
        let spread = truth.mapv(|t| (t - mean).powi(2)).sum();
        let error = (&truth - &predicted).mapv(|e| e * e).sum();
        if spread > 0.0 { Ok(1.0 - error / spread) } else { Err(Error::NoSpread("truth")) }
    };
    truth.columns().into_iter().zip(predicted.columns()).map(of).collect()
}

fn paired(truth: ArrayView2<'_, f64>, found: ArrayView2<'_, f64>) -> Result<()> {
    same("rows of the representation (row i belongs to row i of the truth)", truth.nrows(), found.nrows())?;
    if truth.nrows() < 2 || truth.ncols() == 0 || found.ncols() == 0 {
        let expected = "two or more rows, one or more factors and components".to_owned();
        let got = format!("{} rows, {} factors, {} components", truth.nrows(), truth.ncols(), found.ncols());
        return Err(Error::Setting { what: "truth and representation", expected, got });
    }
    finite("truth", truth)?;
    finite("representation", found)
}

/// Returns the columns with mean 0 and variance 1, and whether each one varies. Constant columns become 0.
fn standardised(cloud: ArrayView2<'_, f64>) -> (Array2<f64>, Vec<bool>) {
    let scale = Standard::of(cloud);
    let varied = scale.deviation.iter().map(|s| *s > 0.0).collect();
    (scale.apply(cloud), varied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::thin_svd;
    use crate::random::Random;
    use ndarray::Array1;

    fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((rows, columns), || random.normal())
    }

    fn folds(rows: usize) -> Vec<usize> {
        (0..rows).map(|row| row % 5).collect()
    }

    /// Two independent standard factors, turned by the angle φ, correlate with the components by cos φ.
    /// 20,000 rows estimate it within 5 / sqrt(20000) = 0.035.
    #[test]
    fn a_rotation_lowers_the_mean_correlation_to_its_cosine() {
        let truth = noise(20_000, 2, 1);
        for angle in [0.2_f64, 0.6] {
            let (sin, cos) = angle.sin_cos();
            let turned = truth.dot(&ndarray::array![[cos, sin], [-sin, cos]]);
            let found = mean_correlation(truth.view(), turned.view()).unwrap();
            assert!((found.mcc - cos).abs() < 0.035, "{angle}: {found:?}");
        }
    }

    /// The first factor correlates by 0.65 and 0.6 with the components, the second one by 0.6 and 0. Taking
    /// the largest correlation first would leave 0 for the second factor.
    #[test]
    fn the_assignment_is_optimal_and_not_greedy() {
        let axes = orthonormal(400, 4);
        let truth = axes.select(Axis(1), &[0, 1]);
        let mix = |a: f64, b: f64| {
            let rest = (1.0 - a * a - b * b).sqrt();
            &axes.column(0) * a + &axes.column(1) * b + &axes.column(2) * rest
        };
        let second = &axes.column(0) * 0.6 + &axes.column(3) * 0.8;
        let found = ndarray::stack![Axis(1), mix(0.65, 0.6), second];
        let matched = mean_correlation(truth.view(), found.view()).unwrap();
        assert_eq!(matched.components, [Some(1), Some(0)]);
        assert!((matched.mcc - 0.6).abs() < 1e-9, "{matched:?}");
    }

    /// Returns columns with mean 0 that are orthogonal up to rounding.
    fn orthonormal(rows: usize, columns: usize) -> Array2<f64> {
        let raw = noise(rows, columns, 3);
        thin_svd(standardised(raw.view()).0.view()).unwrap().u
    }

    #[test]
    fn too_few_components_leave_factors_without_one() {
        let truth = noise(100, 3, 4);
        let found = truth.select(Axis(1), &[2]);
        let matched = mean_correlation(truth.view(), found.view()).unwrap();
        assert_eq!(matched.components, [None, None, Some(0)]);
        assert!((matched.mcc - 1.0 / 3.0).abs() < 1e-12);
        let constant = Array2::from_elem((100, 2), 0.1);
        assert_eq!(mean_correlation(truth.view(), constant.view()).unwrap().mcc, 0.0);
    }

    /// A linear map is undone by the linear probe, a smooth one only by the kernel. The limit of 0.93 allows
    /// for the edges of the sample, where the kernel has few neighbours.
    #[test]
    fn the_probes_find_linear_and_smooth_maps() {
        let truth = noise(400, 2, 5);
        let linear = truth.dot(&ndarray::array![[1.0, 2.0, 0.0], [0.5, -1.0, 1.0]]);
        let mean = |found: &Array2<f64>, probe| {
            let guess = held_out_predictions(truth.view(), found.view(), &folds(400), probe).unwrap();
            factor_r2(truth.view(), guess.view()).unwrap().iter().sum::<f64>() / 2.0
        };
        assert!(mean(&linear, Probe::Linear) > 1.0 - 1e-9);
        let curve =
            |t: &Array1<f64>| [(2.0 * t).mapv(f64::sin), (2.0 * t).mapv(f64::cos), t.mapv(|v| v * v * v)];
        let parts = truth.columns().into_iter().flat_map(|column| curve(&column.to_owned()));
        let columns: Vec<Array1<f64>> = parts.collect();
        let views: Vec<ArrayView1<'_, f64>> = columns.iter().map(Array1::view).collect();
        let curved = ndarray::stack(Axis(1), &views).unwrap();
        let [straight, smooth] = [Probe::Linear, Probe::Kernel].map(|probe| mean(&curved, probe));
        assert!(smooth > 0.93 && straight < smooth - 0.05, "{straight} {smooth}");
    }

    /// Of an unrelated representation nothing is predicted; overfitting would make R2 clearly negative.
    #[test]
    fn an_unrelated_representation_has_no_r2() {
        let (truth, found) = (noise(300, 2, 6), noise(300, 5, 7));
        for probe in [Probe::Linear, Probe::Kernel] {
            let guess = held_out_predictions(truth.view(), found.view(), &folds(300), probe).unwrap();
            let r2 = factor_r2(truth.view(), guess.view()).unwrap();
            assert!(r2.iter().all(|r2| (-0.2..0.05).contains(r2)), "{probe:?}: {r2:?}");
        }
    }

    #[test]
    fn invalid_input_is_refused() {
        let truth = noise(10, 2, 8);
        let error = |truth: &Array2<f64>, found: &Array2<f64>| {
            mean_correlation(truth.view(), found.view()).unwrap_err().to_string()
        };
        assert!(error(&truth, &noise(9, 2, 9)).contains("expected 10, got 9"));
        assert!(error(&Array2::ones((10, 1)), &truth).contains("truth has no spread"));
        let mut broken = truth.clone();
        broken[[4, 1]] = f64::NAN;
        assert!(error(&truth, &broken).contains("representation: row 4"));
        let probe = |folds: &[usize], found: &Array2<f64>| {
            held_out_predictions(truth.view(), found.view(), folds, Probe::Kernel).unwrap_err().to_string()
        };
        assert!(probe(&[0; 10], &truth).contains("outside of every fold"));
        assert!(probe(&folds(10), &Array2::ones((10, 3))).contains("no spread"));
        assert!(probe(&[0, 1], &truth).contains("folds"));
    }
}
