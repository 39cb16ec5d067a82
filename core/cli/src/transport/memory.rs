//! The memory that a solver needs, estimated before anything large is allocated.

use super::options::{DIRECTIONS, exact_without_matrix, is_csv, is_npz};
use crate::{
    args::{CostKind, TransportArgs, TransportSolver},
    command_result::CommandResult,
};
use chiasm_pipeline::Error;

/// Bytes of a kernel that is stored; a larger one is computed in blocks.
const KERNEL: u64 = 2 << 30;

/// Returns an error if the solver needs more memory than is free. Without a value for the free memory,
/// nothing is refused.
pub fn check(args: &TransportArgs, shape: (usize, usize), width: usize, free: Option<u64>) -> CommandResult {
    let needed = needed(args, shape, width);
    let Some(free) = free.filter(|free| needed > *free) else { return Ok(()) };
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let (n, m) = shape;
    let message = format!(
        "--solver {} on {n} x {m} points takes about {:.1} GiB; {:.1} GiB are free",
        format!("{:?}", args.solver).to_lowercase(),
        gibibytes(needed),
        gibibytes(free)
    );
    let help = "--solver emd on points takes memory linear in them, without -o or with -o plan.csv; so do \
                --solver lowrank, and gw with --rank, take memory linear in the points; with -o, write their \
                factors as .npz; sinkhorn without -o stores at most 2 GiB";
    Err(Error::input("chiasm::transport::memory", message, help))
}

/// Returns the bytes that the solver allocates beyond its input, rounded up to whole copies of its arrays.
fn needed(args: &TransportArgs, (n, m): (usize, usize), width: usize) -> u64 {
    let (n, m, width) = (n as u64, m as u64, width as u64);
    let pairs = n.saturating_mul(m);
    let within = n.saturating_mul(n).saturating_add(m.saturating_mul(m));
    let factors = args.solver == TransportSolver::Lowrank || args.rank.is_some();
    let dense_plan = args.output.as_deref().is_some_and(|path| !(is_csv(path) || factors && is_npz(path)));
    let plan = if dense_plan { pairs.saturating_mul(8) } else { 0 };
    let working = match args.solver {
        _ if factors => 0,
        // Arcs, their order and the tree of the network simplex; blocks of costs.
        TransportSolver::Emd if exact_without_matrix(args, (n as usize, m as usize)).is_some() => {
            n.saturating_add(m).saturating_mul(20 * 64)
        }
        // Costs, a copy to check and order them, and the kernel of the start.
        TransportSolver::Emd => pairs.saturating_mul(24),
        TransportSolver::Sinkhorn | TransportSolver::Unbalanced | TransportSolver::Partial => {
            let kernel = pairs.saturating_mul(4);
            // A plan that is written is computed in single precision first.
            if dense_plan { kernel } else { kernel.min(KERNEL) }
        }
        TransportSolver::Gw | TransportSolver::Fgw => {
            // Plans of three starts, gradient, kernel and products in single precision; the distances within
            // the clouds in double and in single precision, unless points with squared distances replace
            // them.
            let points = args.source_distances.is_none()
                && args.geodesic.is_empty()
                && args.cost.is_none_or(|cost| cost != CostKind::Euclidean);
            let distances = if points { 0 } else { within.saturating_mul(20) };
            pairs.saturating_mul(32).saturating_add(distances)
        }
        // The directions; the projections are computed for some of them at a time.
        TransportSolver::Sliced => {
            let directions = args.directions.unwrap_or(DIRECTIONS) as u64;
            width.saturating_mul(directions).saturating_mul(8)
        }
        TransportSolver::Lowrank => 0,
    };
    working.saturating_add(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TransportArgs,
    }

    #[test]
    fn problems_above_the_free_memory_are_refused_with_both_figures() {
        let refused = |words: &[&str], n: usize| -> Option<String> {
            let line = [&["transport", "x.npy", "y.npy"], words].concat();
            let args = Line::try_parse_from(line).ok()?.args;
            check(&args, (n, n), 64, Some(16 << 30)).err().map(|error| error.to_string())
        };
        assert!(refused(&["--solver", "sliced"], 50_000).is_none());
        assert!(refused(&["--solver", "sliced", "--directions", "40000000"], 3).is_some());
        let message = refused(&["--solver", "emd", "--cost", "cosine"], 50_000).unwrap_or_default();
        assert!(message.contains("55.9 GiB; 16.0 GiB are free"), "{message}");
        assert!(refused(&["--solver", "emd"], 50_000).is_none(), "points need no matrix of costs");
        assert!(refused(&["--solver", "emd", "-o", "p.csv"], 50_000).is_none());
        assert!(refused(&["--solver", "emd", "-o", "p.npy"], 50_000).is_some(), "the plan is dense");
        for solver in [&["--solver", "gw"][..], &["--solver", "fgw"], &["-o", "p.npy"]] {
            assert!(refused(solver, 50_000).is_some(), "{solver:?}");
            assert!(refused(solver, 5000).is_none(), "{solver:?}");
        }
        assert!(refused(&[], 50_000).is_none(), "the kernel is computed in blocks");
        assert!(refused(&["--solver", "lowrank", "-o", "p.npz"], 50_000).is_none());
    }
}
