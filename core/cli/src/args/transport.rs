//! The arguments of `chiasm transport`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options that a solver does not have are refused.
#[derive(Debug, Args)]
pub struct TransportArgs {
    /// Source points, floats [n, d].
    #[arg(value_name = "X.npy", required_unless_present_any = ["cost_matrix", "source_distances"])]
    pub source: Option<PathBuf>,
    /// Target points, floats [m, d]; gw takes any width.
    #[arg(value_name = "Y.npy", required_unless_present_any = ["cost_matrix", "target_distances"])]
    pub target: Option<PathBuf>,
    /// emd is exact; sliced is the mean W2 of the projections on random directions, and has no plan; gw and
    /// fgw (Gromov-Wasserstein, and fused with a linear cost) compare the distances within each set, scaled
    /// to a maximum of one.
    #[arg(long, value_enum, default_value_t = TransportSolver::Sinkhorn)]
    pub solver: TransportSolver,
    /// Weight of the entropy, in units of the cost: <P, C> + E KL(P | a b^T), POT's `reg`. Without it, gw and
    /// fgw use the conditional gradient method.
    #[arg(long, value_name = "E", conflicts_with = "eps_scale", allow_negative_numbers = true)]
    pub eps: Option<f64>,
    /// Weight of the entropy as a fraction of the mean cost [default: 0.05].
    #[arg(long, value_name = "S")]
    pub eps_scale: Option<f64>,
    /// Cost between two points; for gw and fgw also the distance within each set [default: sqeuclidean]. With
    /// --cost-matrix, fgw takes the linear part from the matrix and the distances within each set from here.
    #[arg(long, value_enum)]
    pub cost: Option<CostKind>,
    /// gw, fgw: the distance of two points is the length of the shortest path between them in the graph of
    /// the K nearest neighbours of each point, by --cost [default: euclidean]. Of several numbers K, the one
    /// is kept whose objective is the smallest share of that without any matching.
    #[arg(long, value_name = "K,...", value_delimiter = ',')]
    pub geodesic: Vec<usize>,
    /// gw, fgw: symmetric matrix of the distances within the source, in place of X.npy.
    #[arg(long, value_name = "DX.npy", requires = "target_distances", conflicts_with = "cost")]
    pub source_distances: Option<PathBuf>,
    /// gw, fgw: symmetric matrix of the distances within the target, in place of Y.npy.
    #[arg(long, value_name = "DY.npy", requires = "source_distances")]
    pub target_distances: Option<PathBuf>,
    /// Cost matrix [n, m]; for fgw, the linear part; for emd, inf forbids an entry.
    #[arg(long, value_name = "C.npy")]
    pub cost_matrix: Option<PathBuf>,
    /// Weights of the source points [default: 1 / n each].
    #[arg(long, value_name = "W.npy")]
    pub a: Option<PathBuf>,
    /// Weights of the target points [default: 1 / m each].
    #[arg(long, value_name = "W.npy")]
    pub b: Option<PathBuf>,
    /// Stop at this L1 error of the marginals, relative to the mass (gw, fgw: mass moved in one step, and
    /// without this option also when ten steps lower the objective by less than 1e-6 of it; lowrank, gw with
    /// --rank: decrease of the cost).
    #[arg(long, value_name = "T")]
    pub tolerance: Option<f64>,
    /// Maximum number of iterations (emd: pivots).
    #[arg(long, value_name = "N")]
    pub iterations: Option<usize>,
    /// Time limit.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0)]
    pub time_limit: f64,
    /// unbalanced: weight of the penalties R KL(P 1 | a) + R KL(P^T 1 | b), POT's `reg_m`; two numbers weigh
    /// the penalties of the source and of the target, and inf keeps that side's weights exactly.
    #[arg(long, value_name = "R[,R]", value_delimiter = ',')]
    pub rho: Vec<f64>,
    /// partial, emd: mass to transport; emd moves all of it without this option.
    #[arg(long, value_name = "M")]
    pub mass: Option<f64>,
    /// fgw: (1 - A) <P, C> + A GW(P), as in POT [default: 0.5].
    #[arg(long, value_name = "A")]
    pub alpha: Option<f64>,
    /// Rank of the plan, which makes memory linear in the number of points. lowrank [default: 50]; gw, which
    /// without it needs matrices of all pairs of points.
    #[arg(long, value_name = "R")]
    pub rank: Option<usize>,
    /// gw, fgw: number of starting plans. Each runs for five iterations; the first and the best three others
    /// that lead to different plans are continued, and the best result is kept. They are deterministic
    /// [default: 7].
    #[arg(long, value_name = "N")]
    pub starts: Option<usize>,
    /// sliced: number of random directions [default: 256].
    #[arg(long, value_name = "N")]
    pub directions: Option<usize>,
    /// sliced: seed of the directions [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// sinkhorn: also compute the debiased Sinkhorn divergence.
    #[arg(long)]
    pub debias: bool,
    /// Write the plan [n, m] as .npy; with --rank or lowrank its two factors as .npz; with emd the entries
    /// that are not zero as .csv (source, target, mass).
    #[arg(short = 'o', long = "output", value_name = "PLAN.npy")]
    pub output: Option<PathBuf>,
    /// Write the image of each source point [n, d] as .npy: the mean of the target points that its mass goes
    /// to (barycentric projection; Ferradans et al. 2014, Perrot et al. 2016). A source that sends no mass
    /// moves as the nearest one that does; with sinkhorn, unbalanced and partial as its potentials say. With
    /// --cost-matrix or --source-distances, give X.npy and Y.npy too.
    #[arg(long, value_name = "IMAGES.npy")]
    pub images: Option<PathBuf>,
    /// --images: move these points [k, d], which need not be in the problem, instead of the sources.
    #[arg(long, value_name = "NEW.npy", requires = "images")]
    pub points: Option<PathBuf>,
    /// --points: nearest moves a point as the nearest source moves, x + T(x_i) - x_i (gw, fgw, and points
    /// of another width than the targets: to T(x_i)); entropic evaluates the smooth map of the potentials
    /// (sinkhorn, unbalanced, partial). POT calls them ferradans and continuous [default: nearest].
    #[arg(long, value_enum, requires = "points")]
    pub extend: Option<Extension>,
}

/// How points that are not in the problem move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Extension {
    Nearest,
    Entropic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportSolver {
    Emd,
    Sinkhorn,
    Unbalanced,
    Partial,
    Gw,
    Fgw,
    Lowrank,
    Sliced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CostKind {
    Sqeuclidean,
    Euclidean,
    Cosine,
    /// The cosine distance after the mean of each row is removed from it.
    Correlation,
}
