//! The arguments of `chiasm tune` and `chiasm ablate`.

use super::recipe::RecipeArgs;
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use std::path::PathBuf;

/// A metric of retrieval, averaged over all directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricArg {
    Map,
    Mrr,
    #[value(name = "recall@1")]
    RecallAt1,
    #[value(name = "recall@5")]
    RecallAt5,
    #[value(name = "recall@10")]
    RecallAt10,
    #[value(name = "ndcg@10")]
    NdcgAt10,
}

pub fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// The metric of a study.
#[derive(Debug, Args)]
pub struct StudyArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Metric of retrieval, averaged over all directions.
    #[arg(long, value_enum, default_value_t = MetricArg::Map)]
    pub metric: MetricArg,
    /// Skip items that cannot be read, and report them.
    #[arg(long)]
    pub skip_bad: bool,
    /// Folder of the results. If it holds an unfinished study of the same recipe, that is continued.
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  chiasm tune recipe.toml --over align.lambda_ot=0..1,align.tau=0.01..0.5:log -o tuned
  chiasm fit tuned/best.toml -o run

Settings are compared on validation rows: those of the data, or a fifth of the training rows. The test rows
are scored once, at the end, for the recipe's own setting and for the best one.
DIR/trials.jsonl has a line for each trial, DIR/best.toml is the recipe with the best setting.")]
pub struct TuneArgs {
    #[command(flatten)]
    pub study: StudyArgs,
    /// Keys and their values: a range (align.tau=0.01..0.5; integers for a key that takes them), a range
    /// whose logarithm is searched (0.01..0.5:log), or choices (align.plugin=mlp|gotma). Repeatable.
    #[arg(long, value_name = "KEY=VALUES,...", required = true)]
    pub over: Vec<String>,
    /// Number of settings to try, the first of which is the recipe's own.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = at_least_one())]
    pub trials: usize,
    /// Number of validation folds; 1 holds out rows once, more hold out each of N parts in turn.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub folds: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  chiasm ablate recipe.toml --pairs 50,100,200 --set-each align.d_z=16,32,64 -o ablation

Every fit uses the training rows and is scored on the test rows. DIR/fits.jsonl has a line for each fit,
DIR/ablation.csv the table.")]
pub struct AblateArgs {
    #[command(flatten)]
    pub study: StudyArgs,
    /// Aligners to compare with; they keep those keys of `[align]` that they have, except terms.
    #[arg(
        long,
        value_name = "ID,...",
        value_delimiter = ',',
        default_value = "procrustes,ridge,cca,kcca,mlp"
    )]
    pub baselines: Vec<String>,
    /// Numbers of training rows with two or more modalities to fit on.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub pairs: Vec<usize>,
    /// Key and values, each set alone: align.d_z=16,32,64 (repeatable).
    #[arg(long, value_name = "KEY=A,B,...")]
    pub set_each: Vec<String>,
    /// Modality and other models for it, or files of vectors: image=mobilenetv2,squeezenet11 (repeatable).
    #[arg(long, value_name = "MODALITY=A,B,...")]
    pub swap_encoder: Vec<String>,
}
