//! Scores of predictions: classification, multi-label classification, ranking, regression.
//!
//! The definitions are those of scikit-learn (`accuracy_score`, `f1_score`, `roc_auc_score`,
//! `mean_absolute_error`, `r2_score`). Each function documents what it returns where its score is undefined.
//!
//! ```
//! use chiasm_geometry::scores::{ConfusionCounts, accuracy, macro_f1, roc_auc};
//! assert_eq!(accuracy(&[0, 1, 1, 0], &[0, 1, 0, 0])?, 0.75);
//! let counts = ConfusionCounts::per_class(&[0, 1, 1, 0], &[0, 1, 0, 0])?;
//! assert!((macro_f1(&counts) - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
//! assert_eq!(roc_auc(&[true, false, true], &[0.9, 0.2, 0.4])?, Some(1.0));
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{ArrayView1, ArrayView2};
use std::collections::BTreeMap;

use crate::linalg::finite;
use crate::{Error, Result, same};

/// Returns the share of rows with the correct class.
///
/// # Errors
/// When the lengths differ or there are no rows.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64> {
    rows(truth.len(), predicted.len())?;
    let right = truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
    Ok(right as f64 / truth.len() as f64)
}

/// Confusion counts of one class or label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConfusionCounts {
    /// Rows that have the label and were predicted to have it.
    pub true_positives: usize,
    /// Rows that do not have the label but were predicted to have it.
    pub false_positives: usize,
    /// Rows that have the label but were not predicted to have it.
    pub false_negatives: usize,
}

impl ConfusionCounts {
    /// Returns `2 tp / (2 tp + fp + fn)`, or 0 for a label that neither occurs nor is predicted
    /// (`zero_division=0`).
    pub fn f1(self) -> f64 {
        let right = 2 * self.true_positives;
        right as f64 / (right + self.false_positives + self.false_negatives).max(1) as f64
    }

    /// Returns the counts of every class that occurs or is predicted, in ascending order of the classes.
    ///
    /// # Errors
    /// When the lengths differ or there are no rows.
    pub fn per_class(truth: &[usize], predicted: &[usize]) -> Result<Vec<Self>> {
        rows(truth.len(), predicted.len())?;
        let mut counts: BTreeMap<usize, Self> = BTreeMap::new();
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            if truth == predicted {
                counts.entry(truth).or_default().true_positives += 1;
            } else {
                counts.entry(predicted).or_default().false_positives += 1;
                counts.entry(truth).or_default().false_negatives += 1;
            }
        }
        Ok(counts.into_values().collect())
    }

    /// Returns the counts of all labels, which are the columns of `truth [n, l]` and `predicted [n, l]`.
    ///
    /// # Errors
    /// When the shapes differ or there are no rows.
    pub fn per_label(truth: ArrayView2<'_, bool>, predicted: ArrayView2<'_, bool>) -> Result<Vec<Self>> {
        shapes(truth.dim(), predicted.dim())?;
        let of_column = |(truth, predicted): (ArrayView1<'_, bool>, ArrayView1<'_, bool>)| {
            let both = |t: bool, p: bool| {
                truth
                    .iter()
                    .zip(predicted)
                    .filter(|&(&truth, &predicted)| truth == t && predicted == p)
                    .count()
            };
            Self {
                true_positives: both(true, true),
                false_positives: both(false, true),
                false_negatives: both(true, false),
            }
        };
        Ok(truth.columns().into_iter().zip(predicted.columns()).map(of_column).collect())
    }
}

/// Returns the mean F1 over classes or labels, or NaN if there are none.
pub fn macro_f1(counts: &[ConfusionCounts]) -> f64 {
    counts.iter().map(|counts| counts.f1()).sum::<f64>() / counts.len() as f64
}

/// Returns the F1 of the summed counts. For single-label classification it equals the accuracy.
pub fn micro_f1(counts: &[ConfusionCounts]) -> f64 {
    let sum = |of: fn(&ConfusionCounts) -> usize| counts.iter().map(of).sum();
    let total = ConfusionCounts {
        true_positives: sum(|counts| counts.true_positives),
        false_positives: sum(|counts| counts.false_positives),
        false_negatives: sum(|counts| counts.false_negatives),
    };
    total.f1()
}

/// Returns the area under the ROC curve: the probability that a row with the label scores higher than one
/// without, where equal scores count half (Mann and Whitney 1947). Returns `None` if all rows have the label
/// or none has (scikit-learn: NaN).
///
/// # Errors
/// When the lengths differ, there are no rows, or a score is NaN.
pub fn roc_auc(truth: &[bool], scores: &[f32]) -> Result<Option<f64>> {
    rows(truth.len(), scores.len())?;
    if let Some(row) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::NotFinite { what: "scores", row });
    }
    let mut order: Vec<(f32, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut twice) = (0_u64, 0_u64);
    // Compared by `==`, so that -0.0 and 0.0 tie.
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let with = tied.iter().filter(|(_, truth)| *truth).count() as u64;
        let without = tied.len() as u64 - with;
        twice += with * (2 * below + without);
        below += without;
    }
    let with = truth.len() as u64 - below;
    Ok((with > 0 && below > 0).then(|| twice as f64 / (2.0 * with as f64 * below as f64)))
}

/// Returns the mean area under the ROC curve over labels, the columns of `truth [n, l]` and `scores [n, l]`.
///
/// Labels that all rows have or none has are skipped (scikit-learn returns NaN). Returns `None` if all are
/// skipped.
///
/// # Errors
/// When the shapes differ, there are no rows, or a score is NaN.
pub fn macro_roc_auc(truth: ArrayView2<'_, bool>, scores: ArrayView2<'_, f32>) -> Result<Option<f64>> {
    shapes(truth.dim(), scores.dim())?;
    let columns = truth.columns().into_iter().zip(scores.columns());
    mean_roc_auc(columns.map(|(truth, scores)| (truth.to_vec(), scores.to_vec())))
}

/// Returns the mean area under the ROC curve of each class against the rest (`multi_class="ovr"`), for the
/// classes `truth [n]` and the scores `[n, c]`.
///
/// Scores are compared between rows, so they should be probabilities, not logits. Classes that all rows have
/// or none has are skipped (scikit-learn raises an error). Returns `None` if all are skipped. For two classes
/// with probabilities that sum to one, it equals the area of the second class.
///
/// # Errors
/// When the lengths differ, there are no rows, a class has no column, or a score is NaN.
pub fn roc_auc_one_vs_rest(truth: &[usize], scores: ArrayView2<'_, f32>) -> Result<Option<f64>> {
    rows(truth.len(), scores.nrows())?;
    if let Some(&class) = truth.iter().find(|&&class| class >= scores.ncols()) {
        let expected = format!("a class below {}, the columns of the scores", scores.ncols());
        return Err(Error::Setting { what: "class", expected, got: class.to_string() });
    }
    let of_class = |(class, scores): (usize, ArrayView1<'_, f32>)| {
        (truth.iter().map(|&truth| truth == class).collect(), scores.to_vec())
    };
    mean_roc_auc(scores.columns().into_iter().enumerate().map(of_class))
}

fn mean_roc_auc(columns: impl Iterator<Item = (Vec<bool>, Vec<f32>)>) -> Result<Option<f64>> {
    let areas: Vec<Option<f64>> =
        columns.map(|(truth, scores)| roc_auc(&truth, &scores)).collect::<Result<_>>()?;
    let known: Vec<f64> = areas.into_iter().flatten().collect();
    Ok((!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64))
}

/// Returns the mean absolute error over all values of `truth [n, c]` and `predicted [n, c]`.
///
/// # Errors
/// When the shapes differ, there are no values, or one is not finite.
pub fn mean_absolute_error(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> Result<f64> {
    numbers(truth, predicted)?;
    let errors = truth.iter().zip(predicted).map(|(&t, &p)| (f64::from(t) - f64::from(p)).abs());
    Ok(errors.sum::<f64>() / truth.len() as f64)
}

/// Returns the coefficient of determination `1 - Σ (t - p)² / Σ (t - mean t)²`, averaged over the columns of
/// `truth [n, c]` and `predicted [n, c]`.
///
/// A constant column has 1 if it is predicted exactly, otherwise 0 (`force_finite=True`). Returns `None` for
/// fewer than two rows (scikit-learn: NaN).
///
/// # Errors
/// When the shapes differ, there are no values, or one is not finite.
pub fn r2(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> Result<Option<f64>> {
    numbers(truth, predicted)?;
    if truth.nrows() < 2 {
        return Ok(None);
    }
    let of_column = |(truth, predicted): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
        let constant = truth.iter().all(|&t| t == truth[0]);
        let mean = truth.iter().map(|&t| f64::from(t)).sum::<f64>() / truth.len() as f64;
        let spread: f64 = truth.iter().map(|&t| (f64::from(t) - mean).powi(2)).sum();
        let errors: f64 =
            truth.iter().zip(predicted).map(|(&t, &p)| (f64::from(t) - f64::from(p)).powi(2)).sum();
        match (constant, errors == 0.0) {
            (_, true) => 1.0,
            (true, false) => 0.0,
            (false, false) => 1.0 - errors / spread,
        }
    };
    let columns = truth.columns().into_iter().zip(predicted.columns()).map(of_column);
    Ok(Some(columns.sum::<f64>() / truth.ncols() as f64))
}

fn rows(truth: usize, answers: usize) -> Result<()> {
    same("rows of the predictions", truth, answers)?;
    if truth == 0 {
        let expected = "at least one row".into();
        return Err(Error::Setting { what: "predictions", expected, got: "none".into() });
    }
    Ok(())
}

fn shapes(truth: (usize, usize), answers: (usize, usize)) -> Result<()> {
    rows(truth.0, answers.0)?;
    same("columns of the predictions", truth.1, answers.1)
}

fn numbers(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> Result<()> {
    shapes(truth.dim(), predicted.dim())?;
    if truth.ncols() == 0 {
        let expected = "at least one column".into();
        return Err(Error::Setting { what: "predictions", expected, got: "none".into() });
    }
    finite("truth", truth)?;
    finite("predictions", predicted)
}
