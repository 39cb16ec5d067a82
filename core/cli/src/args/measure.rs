//! The arguments of `chiasm measure`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
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
    /// Number of permutations of the null distribution; adds p_value and z.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub null: usize,
    /// Labels, one non-negative integer per row; adds silhouette and nmi.
    #[arg(long, value_name = "LABELS.npy")]
    pub labels: Option<PathBuf>,
    /// Random seed of samples, directions and permutations.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Number of nearest neighbours.
    #[arg(short, long, default_value_t = 10)]
    pub k: usize,
}
