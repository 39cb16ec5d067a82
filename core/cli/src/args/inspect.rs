//! The arguments of `chiasm inspect`.

use clap::Args;
use std::path::PathBuf;

/// The arguments of `chiasm inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// An .onnx file, a run folder, the folder of an export, a card.toml, or a plugin's library.
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Print the graph of each model as text: ports, nodes and weights.
    #[arg(long, conflicts_with = "svg")]
    pub graph: bool,
    /// Write a drawing of the merged model of a run, or of the models of an export, to this SVG file.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
}
