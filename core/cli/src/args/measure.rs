//! The arguments of `chiasm measure`.

use chiasm_geometry::catalogue::CATALOGUE;
use clap::Args;
use std::path::PathBuf;

/// Lists the measures for the help.
fn measures() -> String {
    let line = |m: &chiasm_geometry::catalogue::Measure| {
        format!("  {:<28} {}", m.name.trim_end_matches('@'), m.about())
    };
    let lines: Vec<String> = CATALOGUE.iter().map(line).collect();
    format!("Measures:\n{}", lines.join("\n"))
}

#[derive(Debug, Args)]
#[command(after_long_help = measures())]
pub struct MeasureArgs {
    /// Vectors [n, a].
    #[arg(value_name = "A.npy")]
    pub first: PathBuf,
    /// Vectors [m, b]; for measures of pairs, row i belongs to row i of A.
    #[arg(value_name = "B.npy")]
    pub second: PathBuf,
    /// Measures to compute, e.g. cka_linear,mutual_knn [default: all that apply].
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Number of permutations of the null distribution; adds p_value and z. Clouds with the same number of
    /// rows are paired: the sides of each pair are exchanged. Otherwise the rows of both are pooled. gw and
    /// persistence exchange blocks of rows.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub null: usize,
    /// Labels, one non-negative integer per row; adds silhouette and nmi.
    #[arg(long, value_name = "LABELS.npy")]
    pub labels: Option<PathBuf>,
    /// Random seed of samples, directions and permutations.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Number of nearest neighbours [default: 10].
    #[arg(short, long)]
    pub k: Option<usize>,
}
