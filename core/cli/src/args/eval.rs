//! The arguments of `chiasm eval`.

use super::study::at_least_one;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chiasm eval run
  chiasm eval run --by class --errors 10")]
pub struct EvalArgs {
    /// Run folder.
    pub run: PathBuf,
    /// Also measure the queries of each value of a column of the data file, e.g. a label.
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// Also list the N queries of each direction that rank their partner worst.
    #[arg(long, value_name = "N", value_parser = at_least_one())]
    pub errors: Option<usize>,
    /// True factors, floats [rows of the data, factors]; adds MCC, R2 and FOSCTTM of the aligned vectors.
    #[arg(long, value_name = "LATENTS.npy")]
    pub truth: Option<PathBuf>,
    /// Also measure the aligned test items of each pair of modalities: all measures, or those named, e.g.
    /// mutual_knn,w2_exact (see `chiasm measure`).
    #[arg(long, value_name = "KEY,...", num_args = 0..=1, value_delimiter = ',', require_equals = true)]
    pub geometry: Option<Vec<String>>,
}
