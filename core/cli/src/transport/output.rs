//! Writing a plan. A plan replaces an earlier file only, never what it was computed from.

use super::options::{is_csv, is_npz};
use crate::command_result::CommandResult;
use chiasm_pipeline::{Error, write_npy, write_npz};
use chiasm_transport::{ExactPlan, LowRankPlan};
use ndarray::Array2;
use std::path::{Path, PathBuf};

/// A plan as its solver returns it.
pub enum SolutionPlan {
    Dense(Array2<f64>),
    /// The entries that are not zero; it becomes dense only if it is written so.
    Exact(Box<ExactPlan>),
    Factors(Box<LowRankPlan>),
}

/// Returns an error if a plan cannot be written to `path`: something else than a file is there, a symbolic
/// link, or one of the inputs, or the folder does not exist.
pub fn check<'p>(path: &Path, mut inputs: impl Iterator<Item = &'p PathBuf>) -> CommandResult {
    let refuse = |what: &str| {
        let message = format!("-o {}: {what}", path.display());
        Err(Error::input("chiasm::transport::output", message, "give the path of a new file, e.g. plan.npy"))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return refuse("its folder does not exist");
    }
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    if there.is_symlink() {
        return refuse("a symbolic link is there, and its target would be replaced");
    }
    if !there.is_file() {
        return refuse("something is there that is not a file");
    }
    let place = |path: &Path| path.canonicalize().ok();
    if inputs.any(|input| place(input) == place(path)) {
        return refuse("this file is an input of the problem");
    }
    Ok(())
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

/// Writes a file under another name and then gives it its own.
fn replace(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> CommandResult {
    let temporary = path.with_extension(format!("npy.{}.tmp", std::process::id()));
    let written = write(&temporary).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
        Error::io("write", path, e)
    })
}
