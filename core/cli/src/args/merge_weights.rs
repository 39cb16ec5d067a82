//! The arguments of `chiasm merge-weights`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Arguments of `chiasm merge-weights`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    chiasm merge-weights a.onnx b.onnx -o merged.onnx\n  \
    chiasm merge-weights a.onnx b.onnx -o merged.onnx --method slerp --t 0.3\n  \
    chiasm merge-weights a.onnx b.onnx -o merged.onnx --method ties --base base.onnx --density 0.2\n  \
    chiasm merge-weights a.onnx b.onnx -o merged.onnx --align-units")]
pub struct MergeWeightsArgs {
    /// ONNX files of one architecture, two or more.
    #[arg(required = true, num_args = 2.., value_name = "MODEL.onnx")]
    pub models: Vec<PathBuf>,
    /// File to write.
    #[arg(short = 'o', long = "output", value_name = "MERGED.onnx")]
    pub output: PathBuf,
    /// How weights are merged.
    #[arg(long, value_enum, default_value_t = WeightMethod::Average)]
    pub method: WeightMethod,
    /// First permute the hidden units of each model to match the first one (OT fusion).
    #[arg(long)]
    pub align_units: bool,
    /// average, fisher: share of each model [default: equal].
    #[arg(long, value_name = "S,...", value_delimiter = ',')]
    pub shares: Vec<f64>,
    /// slerp: position between the two models, 0 to 1 [default: 0.5].
    #[arg(long)]
    pub t: Option<f64>,
    /// ties: the model that all models were trained from.
    #[arg(long, value_name = "BASE.onnx")]
    pub base: Option<PathBuf>,
    /// ties: share of the largest changes of each weight that is kept [default: 0.2].
    #[arg(long)]
    pub density: Option<f64>,
    /// ties: factor of the merged change [default: 1].
    #[arg(long)]
    pub scale: Option<f64>,
    /// fisher: items that the information is estimated on, floats [n, ...] for the model's only input; one
    /// file for all models, or one for each.
    #[arg(long, value_name = "ITEMS.npy,...", value_delimiter = ',')]
    pub items: Vec<PathBuf>,
    /// fisher: output that is differentiated [default: the only one].
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
}

/// How weights are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightMethod {
    /// The weighted mean.
    Average,
    /// Along the arc between two models.
    Slerp,
    /// Changes of a base model, trimmed and without conflicts of sign.
    Ties,
    /// The mean weighted by Fisher information.
    Fisher,
}
