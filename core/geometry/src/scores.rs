//! How well answers match the truth: classification, labels, ranking of labels, regression.
//!
//! The definitions are scikit-learn's (`accuracy_score`, `f1_score`, `roc_auc_score`, `mean_absolute_error`,
//! `r2_score`); where a score is not defined and scikit-learn warns, it is said here what is returned.

use ndarray::{ArrayView1, ArrayView2};
use std::collections::BTreeMap;

use crate::linalg::finite;
use crate::{Error, Result, same};

/// Share of rows whose class was found.
///
/// # Errors
/// When the lengths differ or there are no rows.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64> {
    rows(truth.len(), predicted.len())?;
    let right = truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
    Ok(right as f64 / truth.len() as f64)
}

/// How often one class or label was found rightly, found wrongly, and missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that have it and were given it.
    pub true_positives: usize,
    /// Rows that were given it without having it.
    pub false_positives: usize,
    /// Rows that have it without being given it.
    pub false_negatives: usize,
}

impl Counts {
    /// `2 tp / (2 tp + fp + fn)`; 0 for a label that no row has or was given, as `zero_division=0`.
    pub fn f1(self) -> f64 {
        let right = 2 * self.true_positives;
        right as f64 / (right + self.false_positives + self.false_negatives).max(1) as f64
    }

    /// The counts of every class that occurs in the truth or in the answers, in the order of their numbers.
    ///
    /// # Errors
    /// When the lengths differ or there are no rows.
    pub fn of_classes(truth: &[usize], predicted: &[usize]) -> Result<Vec<Self>> {
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

    /// The counts of every label, columns of `truth [n, l]` and `predicted [n, l]`, also of labels that no
    /// row has.
    ///
    /// # Errors
    /// When the shapes differ or there are no rows.
    pub fn of_labels(truth: ArrayView2<'_, bool>, predicted: ArrayView2<'_, bool>) -> Result<Vec<Self>> {
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

/// Mean of the F1 of each class or label; NaN when there are none.
pub fn macro_f1(counts: &[Counts]) -> f64 {
    counts.iter().map(|counts| counts.f1()).sum::<f64>() / counts.len() as f64
}

/// F1 of the summed counts; for one class a row it is the accuracy.
pub fn micro_f1(counts: &[Counts]) -> f64 {
    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum();
    let total = Counts {
        true_positives: sum(|counts| counts.true_positives),
        false_positives: sum(|counts| counts.false_positives),
        false_negatives: sum(|counts| counts.false_negatives),
    };
    total.f1()
}

/// Area under the ROC curve: the probability that a row with the label scores above one without, equal scores
/// counting half (Mann and Whitney 1947). Nothing when all rows have the label or none has, where
/// scikit-learn gives NaN.
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
    // `==`, so that -0 and 0 tie
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let with = tied.iter().filter(|(_, truth)| *truth).count() as u64;
        let without = tied.len() as u64 - with;
        twice += with * (2 * below + without);
        below += without;
    }
    let with = truth.len() as u64 - below;
    Ok((with > 0 && below > 0).then(|| twice as f64 / (2.0 * with as f64 * below as f64)))
}

/// Mean area under the ROC curve over labels, the columns of `truth [n, l]` and `scores [n, l]`.
///
/// A label that all rows have or none has is left out (scikit-learn gives NaN for the whole); nothing when
/// all are.
///
/// # Errors
/// When the shapes differ, there are no rows, or a score is NaN.
pub fn macro_roc_auc(truth: ArrayView2<'_, bool>, scores: ArrayView2<'_, f32>) -> Result<Option<f64>> {
    shapes(truth.dim(), scores.dim())?;
    let columns = truth.columns().into_iter().zip(scores.columns());
    mean_roc_auc(columns.map(|(truth, scores)| (truth.to_vec(), scores.to_vec())))
}

/// Mean area under the ROC curve of each class against the rest (`multi_class="ovr"`), for the classes `truth
/// [n]` and scores `[n, c]`.
///
/// Scores should be probabilities, for they are compared between rows: what softmax takes off a row's logits
/// counts. A class that all rows have or none has is left out (scikit-learn refuses it); nothing when all
/// are. For two classes it is the area of the second class's scores where the two columns sum to one.
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

/// Mean absolute error over all rows and columns of `truth [n, c]` and `predicted [n, c]`, in the unit of the
/// values.
///
/// # Errors
/// When the shapes differ, there are no values, or one is not finite.
pub fn mean_absolute_error(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> Result<f64> {
    numbers(truth, predicted)?;
    let errors = truth.iter().zip(predicted).map(|(&t, &p)| (f64::from(t) - f64::from(p)).abs());
    Ok(errors.sum::<f64>() / truth.len() as f64)
}

/// Coefficient of determination `1 - Σ (t - p)² / Σ (t - mean t)²`, the mean over the columns of `truth [n,
/// c]` and `predicted [n, c]`.
///
/// A column that never changes has 1 where it is met exactly and 0 elsewhere (`force_finite=True`). Nothing
/// for fewer than two rows, where scikit-learn gives NaN.
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
    same("rows of the answers (the truth's are expected)", truth, answers)?;
    if truth == 0 {
        let expected = "at least one row".into();
        return Err(Error::Setting { what: "answers", expected, got: "none".into() });
    }
    Ok(())
}

fn shapes(truth: (usize, usize), answers: (usize, usize)) -> Result<()> {
    rows(truth.0, answers.0)?;
    same("columns of the answers (the truth's are expected)", truth.1, answers.1)
}

fn numbers(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> Result<()> {
    shapes(truth.dim(), predicted.dim())?;
    if truth.ncols() == 0 {
        let expected = "at least one column".into();
        return Err(Error::Setting { what: "answers", expected, got: "none".into() });
    }
    finite("truth", truth)?;
    finite("answers", predicted)
}
