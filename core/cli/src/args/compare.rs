//! The arguments of `chiasm compare`.

use super::{MetricArg, study::at_least_one};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chiasm compare recipe.toml --swap align.plugin=procrustes,ridge,cca -o compared
  chiasm compare recipe.toml --swap align.plugin=ridge,mlp --pairs 50,100,200 --seeds 5 -o compared
  chiasm compare run-new --baseline run-main --fail-if 'recall@1 drops 0.01'

Every row answers the same test queries. A difference to the baseline has a 95 % interval and a p-value by a
paired bootstrap over the test rows (Efron and Tibshirani 1993, section 16.4; Sakai 2006), and a p-value with
Holm's correction for the number of rows (Holm 1979). With several seeds, seeds and rows are resampled (Owen
2007). Finished fits are kept in the cache, so a comparison that was stopped goes on with the next fit, and a
larger one fits only what is missing.
DIR/report.html is a page about the result, DIR/comparison.csv the table, DIR/pairs.csv the curves over pairs,
DIR/comparison.json all of it, and DIR/best the best row as a run, with its merged model and its checks.

Conditions of --fail-if (exit code 1 if one holds):
  METRIC drops AMOUNT          a row is below the baseline by AMOUNT or more: recall@1 drops 0.01
  METRIC drops N%              the same, as a share of the baseline: rsum drops 2%
  METRIC drops significantly   a row is below the baseline, with a corrected p-value below 0.05
  METRIC below VALUE           a row is below VALUE: recall@1 below 0.3
  ... in DIRECTION             one direction, not the mean over all: recall@1 drops 0.01 in image->text
METRIC is recall@1, recall@5, recall@10, mrr, map, ndcg@10 or rsum.")]
pub struct CompareArgs {
    /// Recipe files (TOML) and run folders.
    #[arg(value_name = "RECIPE|RUN", required = true)]
    pub subjects: Vec<PathBuf>,
    /// Set a key of the recipes: encoders.image.model=squeezenet11 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Key and its values: align.plugin=procrustes,cca (repeatable; every combination is fitted).
    #[arg(long, value_name = "KEY=A,B,...")]
    pub swap: Vec<String>,
    /// Run folder, or name of a row, that all rows are compared with [default: the first row].
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<String>,
    /// End with exit code 1 if this holds: 'recall@1 drops 0.01' (repeatable; see below).
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<String>,
    /// Metric of retrieval, averaged over all directions.
    #[arg(long, value_enum, default_value_t = MetricArg::RecallAt1)]
    pub metric: MetricArg,
    /// Fit also on so many of the training rows with two or more modalities: how many pairs are needed.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub pairs: Vec<usize>,
    /// Number of seeds of each fit: that of the recipe, and those after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub seeds: usize,
    /// Number of folds of a cross-validation (row mod N); 0 for none [default: 5 if recipes alone are
    /// compared, without --baseline, --pairs or --seeds; otherwise 0].
    #[arg(long, value_name = "N")]
    pub folds: Option<usize>,
    /// Skip items that cannot be read, and report them.
    #[arg(long)]
    pub skip_bad: bool,
    /// Folder to write the comparison into.
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub output: Option<PathBuf>,
}

impl CompareArgs {
    /// Returns the number of folds.
    pub fn folds(&self) -> usize {
        let alone = self.baseline.is_none() && self.pairs.is_empty() && self.seeds == 1;
        let recipes = self.subjects.iter().all(|path| !path.is_dir());
        self.folds.unwrap_or(if alone && recipes { 5 } else { 0 })
    }
}
