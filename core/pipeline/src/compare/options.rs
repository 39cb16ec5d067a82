//! The options of a comparison.

use crate::run::query_scores::StudyMetric;
use std::path::PathBuf;

/// Options of [`crate::compare()`].
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Recipes and run folders.
    pub subjects: Vec<PathBuf>,
    /// `--set` assignments of the recipes.
    pub overrides: Vec<String>,
    /// `key=a,b` or `key=[...]` assignments; every combination is a variant of each recipe.
    pub swaps: Vec<String>,
    /// The row that others are compared with: a run folder, or the name of a row. `None` for the first row.
    pub baseline: Option<String>,
    /// The metric of the values and differences.
    pub metric: StudyMetric,
    /// Numbers of training rows with two or more modalities that each variant is also fitted on.
    pub pairs: Vec<usize>,
    /// The number of seeds of each variant: that of its recipe, and those after it.
    pub seeds: usize,
    /// Number of folds (row mod n) of the cross-validation of each variant; 0 for none.
    pub folds: usize,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
}
