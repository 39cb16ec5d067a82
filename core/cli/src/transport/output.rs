//! Writing a plan.

use super::options::{is_csv, is_npz};
use crate::command_result::CommandResult;
use chiasm_pipeline::{Error, write_npy, write_npz};
use chiasm_transport::{ExactPlan, LowRankPlan};
use ndarray::Array2;
use std::path::Path;

/// A plan as its solver returns it.
pub enum SolutionPlan {
    Dense(Array2<f64>),
    /// The entries that are not zero; it becomes dense only if it is written so.
    Exact(Box<ExactPlan>),
    Factors(Box<LowRankPlan>),
}

/// Writes a plan as .npy, its factors as .npz, or its entries that are not zero as .csv.
pub fn write(plan: &SolutionPlan, path: &Path) -> CommandResult {
    let dense = match plan {
        SolutionPlan::Exact(found) if is_csv(path) => {
            let mut text = String::from("source,target,mass\n");
            for entry in &found.entries {
                text.push_str(&format!("{},{},{}\n", entry.source, entry.target, entry.mass));
            }
            return replace(path, |temporary| std::fs::write(temporary, text));
        }
        SolutionPlan::Exact(found) => &found.plan(),
        SolutionPlan::Factors(found) if is_npz(path) => {
            let factors = [("source", &found.source), ("target", &found.target)];
            return write_npz(path, &factors.map(|(k, v)| (k.to_owned(), v.clone())).into());
        }
        SolutionPlan::Factors(found) => {
            let weighted = found.source.mapv(|q| f64::from(q) * found.source.ncols() as f64);
            &weighted.dot(&found.target.t().mapv(f64::from))
        }
        SolutionPlan::Dense(plan) => plan,
    };
    replace(path, |temporary| write_npy(temporary, dense))
}

/// Writes points as .npy.
pub fn write_points(points: &Array2<f64>, path: &Path) -> CommandResult {
    replace(path, |temporary| write_npy(temporary, points))
}

/// Writes a file under another name and then gives it its own.
fn replace(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> CommandResult {
    let temporary = path.with_extension(format!("npy.{}.tmp", std::process::id()));
    let written = write(&temporary).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
        Error::io("write", path, e)
    })
}
