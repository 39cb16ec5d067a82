//! Checking the options of `chiasm transport`.

use crate::{
    args::{CostKind, Extension, TransportArgs, TransportSolver},
    command_result::CommandResult,
};
use chiasm_pipeline::Error;
use chiasm_transport::PointDistance;
use std::path::Path;

/// The number of directions of the sliced distance.
pub const DIRECTIONS: usize = 256;

/// The number of pairs of points above which the exact solver stores no cost matrix. It is faster then, too.
const EXACT_MATRIX: usize = 4_000_000;

/// Returns the distance with which the exact solver works on the points, for problems that are too large for
/// a cost matrix; `None` for those that are not, or that have no points.
pub fn exact_without_matrix(args: &TransportArgs, (n, m): (usize, usize)) -> Option<PointDistance> {
    let exact = args.solver == TransportSolver::Emd && args.mass.is_none() && args.cost_matrix.is_none();
    if !exact || n.saturating_mul(m) <= EXACT_MATRIX {
        return None;
    }
    match args.cost.unwrap_or(CostKind::Sqeuclidean) {
        CostKind::Sqeuclidean => Some(PointDistance::SquaredEuclidean),
        CostKind::Euclidean => Some(PointDistance::Euclidean),
        CostKind::Cosine | CostKind::Correlation => None,
    }
}

/// Returns whether a path has the extension .csv.
pub fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "csv")
}

/// Returns whether a path has the extension .npz.
pub fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npz")
}

/// Returns an error if an option is not supported by the solver, is out of range, or is missing.
pub fn check(args: &TransportArgs) -> CommandResult {
    check_support(args)?;
    check_ranges(args)?;
    if args.solver == TransportSolver::Unbalanced {
        check_penalties(&args.rho)?;
    }
    check_images(args)?;
    check_combinations(args)
}

fn invalid(message: String, help: &str) -> CommandResult {
    Err(Error::input("chiasm::transport::settings", message, help))
}

/// Returns an error for the first option that the solver does not have.
fn check_support(args: &TransportArgs) -> CommandResult {
    use TransportSolver::{Emd, Fgw, Gw, Lowrank, Partial, Sinkhorn, Sliced, Unbalanced};
    let entropic = args.extend == Some(Extension::Entropic);
    let options: [(&str, bool, &[TransportSolver]); 17] = [
        ("--eps", args.eps.is_some(), &[Sinkhorn, Unbalanced, Partial, Gw, Fgw]),
        ("--eps-scale", args.eps_scale.is_some(), &[Sinkhorn, Unbalanced, Partial]),
        ("--cost", args.cost.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Gw, Fgw]),
        ("--cost-matrix", args.cost_matrix.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Fgw]),
        ("--tolerance", args.tolerance.is_some(), &[Sinkhorn, Unbalanced, Partial, Gw, Fgw, Lowrank]),
        ("--rho", !args.rho.is_empty(), &[Unbalanced]),
        ("--mass", args.mass.is_some(), &[Partial, Emd]),
        ("--alpha", args.alpha.is_some(), &[Fgw]),
        ("--rank", args.rank.is_some(), &[Lowrank, Gw]),
        ("--geodesic", !args.geodesic.is_empty(), &[Gw, Fgw]),
        ("--source-distances", args.source_distances.is_some(), &[Gw, Fgw]),
        ("--starts", args.starts.is_some(), &[Gw, Fgw]),
        ("--directions", args.directions.is_some(), &[Sliced]),
        ("--seed", args.seed.is_some(), &[Sliced]),
        ("--images", args.images.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Gw, Fgw, Lowrank]),
        ("--extend entropic", entropic, &[Sinkhorn, Unbalanced, Partial]),
        ("--output", args.output.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Gw, Fgw, Lowrank]),
    ];
    let name = |solver: TransportSolver| format!("{solver:?}").to_lowercase();
    for (flag, given, solvers) in options {
        if given && !solvers.contains(&args.solver) {
            let supported: Vec<String> = solvers.iter().map(|s| name(*s)).collect();
            let message = format!("--solver {} does not support {flag}", name(args.solver));
            return invalid(message, &format!("{flag} is for {}", supported.join(", ")));
        }
    }
    Ok(())
}

fn check_ranges(args: &TransportArgs) -> CommandResult {
    let counts = [
        ("--iterations", args.iterations),
        ("--starts", args.starts),
        ("--rank", args.rank),
        ("--directions", args.directions),
    ];
    for (flag, count) in counts {
        if count == Some(0) {
            return invalid(format!("{flag}: expected 1 or more, got 0"), "remove it to use the default");
        }
    }
    if args.geodesic.contains(&0) {
        return invalid(
            "--geodesic: expected 1 or more neighbours, got 0".into(),
            "e.g. --geodesic 10,20,35",
        );
    }
    if let Some(got) = args.tolerance.filter(|t| t.is_nan() || *t < 0.0) {
        return invalid(format!("--tolerance: expected 0 or more, got {got}"), "0 runs all iterations");
    }
    Ok(())
}

/// Checks the options of the images of points.
fn check_images(args: &TransportArgs) -> CommandResult {
    let points = args.source.is_some() && args.target.is_some();
    let matrix = args.cost_matrix.is_some() || args.source_distances.is_some();
    match &args.images {
        None if args.source.is_some() && args.source_distances.is_some() => invalid(
            "--source-distances replaces X.npy and Y.npy, which only --images needs as well".into(),
            "remove X.npy and Y.npy",
        ),
        Some(_) if !points => invalid(
            "--images needs the points, which a matrix does not tell".into(),
            "give X.npy and Y.npy as well: their rows are those of the matrix",
        ),
        Some(path) if is_csv(path) || is_npz(path) => {
            invalid("--images: points are written as .npy".into(), "e.g. --images images.npy")
        }
        Some(path) if args.output.as_ref() == Some(path) => {
            invalid("-o and --images name the same file".into(), "give each a file of its own")
        }
        Some(_) if args.extend == Some(Extension::Entropic) && matrix => invalid(
            "--extend entropic needs the costs of the new points, which --cost-matrix does not have".into(),
            "use --extend nearest, or let --cost give the costs of the points",
        ),
        _ => Ok(()),
    }
}

/// Checks options that depend on each other, and those that a solver requires.
fn check_combinations(args: &TransportArgs) -> CommandResult {
    use TransportSolver::{Fgw, Gw, Lowrank, Partial, Sinkhorn};
    let factors = args.solver == Lowrank || args.rank.is_some();
    if !factors && args.output.as_deref().is_some_and(is_npz) {
        return invalid(
            "-o: an .npz file holds the factors of a plan with --rank, but this plan is one array".into(),
            "use -o plan.npy",
        );
    }
    if args.solver != TransportSolver::Emd && args.output.as_deref().is_some_and(is_csv) {
        return invalid(
            "-o: a .csv file holds the entries of an exact plan; plans of this solver have no zeros".into(),
            "use -o plan.npy, or --solver emd",
        );
    }
    let squared_points = args.solver == Sinkhorn
        && args.cost_matrix.is_none()
        && args.cost.is_none_or(|kind| kind == CostKind::Sqeuclidean);
    match args.solver {
        solver if solver != Fgw && args.cost.is_some() && args.cost_matrix.is_some() => invalid(
            "--cost cannot be used together with --cost-matrix, which gives the costs".into(),
            "remove one of them; for fgw, --cost is the distance within each set",
        ),
        Gw if args.rank.is_some() && (args.eps.is_some() || args.starts.is_some()) => invalid(
            "--rank cannot be used together with --eps or --starts".into(),
            "remove --rank if n x m numbers fit into memory",
        ),
        Gw if args.rank.is_some() && (!args.geodesic.is_empty() || args.source_distances.is_some()) => {
            invalid(
                "--rank cannot be combined with --geodesic or --source-distances, which need all pairs"
                    .into(),
                "remove --rank if n x m numbers fit into memory",
            )
        }
        Fgw if args.source_distances.is_some() && args.cost_matrix.is_none() => invalid(
            "fgw with --source-distances needs --cost-matrix, because there are no points to compare".into(),
            "use --solver gw, or add the linear part: --cost-matrix C.npy",
        ),
        Fgw if args.source_distances.is_none() && args.source.is_none() => invalid(
            "fgw compares the distances within each set, and neither points nor distances are given".into(),
            "give X.npy Y.npy, or --source-distances DX.npy --target-distances DY.npy",
        ),
        Gw if args.rank.is_some() && args.cost == Some(CostKind::Euclidean) => invalid(
            "--rank needs squared distances, because Euclidean distances do not have low rank".into(),
            "use --cost sqeuclidean or cosine",
        ),
        Partial if args.mass.is_none() => {
            invalid("--solver partial needs --mass, the mass to transport".into(), "e.g. --mass 0.8")
        }
        _ if args.debias && !squared_points => invalid(
            "--debias is for --solver sinkhorn on points with squared Euclidean costs".into(),
            "remove it",
        ),
        _ if args.time_limit.is_nan() || args.time_limit <= 0.0 => invalid(
            format!("--time-limit: expected a positive number of seconds, got {}", args.time_limit),
            "e.g. --time-limit 60",
        ),
        _ => Ok(()),
    }
}

/// Checks the weights of the penalties of unbalanced transport.
fn check_penalties(rho: &[f64]) -> CommandResult {
    match rho {
        [] => {
            invalid("--solver unbalanced needs --rho, the weight of its penalties".into(), "e.g. --rho 1.0")
        }
        [_, _, _, ..] => invalid(
            format!("--rho: expected one number, or one for each side, got {}", rho.len()),
            "e.g. --rho 1.0,inf",
        ),
        _ if rho.iter().all(|rho| *rho == f64::INFINITY) => invalid(
            "--rho: infinite penalties on both sides are balanced transport".into(),
            "use --solver sinkhorn, or one finite penalty, e.g. --rho 1.0,inf",
        ),
        _ => Ok(()),
    }
}
