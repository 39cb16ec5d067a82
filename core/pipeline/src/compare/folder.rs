//! The folder of a comparison: `comparison.json`, and `comparison.csv` with a line for each row.

use super::report::{ComparisonReport, ComparisonRow, CorrectedDifference, CurvePoint};
use crate::base::{error::Error, whole_file::write_file};
use std::path::Path;

/// The result. A folder with this file is that of a comparison.
pub const COMPARISON: &str = "comparison.json";
/// The table.
const TABLE: &str = "comparison.csv";
/// The curves over pairs.
const CURVES: &str = "pairs.csv";
/// The largest `comparison.json`, in bytes.
const MAX_COMPARISON: u64 = 256 << 20;

/// Fails if a folder exists and holds something other than a comparison. Nothing is written.
///
/// # Errors
/// Also if the folder cannot be read.
pub fn check_comparison_folder(folder: &Path) -> Result<(), Error> {
    if !folder.exists() || is_comparison(folder) {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let message = format!("{} exists and is not the folder of a comparison", folder.display());
    let help = "choose another folder for -o; nothing was touched";
    Err(Error::input("chiasm::compare::folder", message, help))
}

/// Returns whether a folder is that of a comparison.
pub fn is_comparison(folder: &Path) -> bool {
    folder.join(COMPARISON).is_file()
}

/// Writes a comparison into a folder: `comparison.json`, `comparison.csv`, and `pairs.csv` if it has curves.
///
/// # Errors
/// If a file cannot be written.
pub fn write_comparison(report: &ComparisonReport, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let internal = |e: String| Error::Internal(format!("writing a comparison: {e}"));
    write_file(&folder.join(TABLE), &table(report).map_err(internal)?)?;
    if report.rows.iter().any(|row| !row.curve.is_empty()) {
        write_file(&folder.join(CURVES), &curves(report).map_err(internal)?)?;
    }
    let text = serde_json::to_string_pretty(report).map_err(|e| internal(e.to_string()))?;
    write_file(&folder.join(COMPARISON), text.as_bytes())
}

/// Reads the comparison in a folder.
///
/// # Errors
/// If the folder holds none, or it cannot be read.
pub fn read_comparison(folder: &Path) -> Result<ComparisonReport, Error> {
    let path = folder.join(COMPARISON);
    let bytes = chiasm_host::read_file(&path, MAX_COMPARISON).map_err(|e| Error::io("read", &path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let help = "compare again: `chiasm compare ... -o FOLDER`";
        Error::input("chiasm::compare::damaged", format!("{}: {e}", path.display()), help)
    })
}

/// Formats one line for each row.
fn table(report: &ComparisonReport) -> Result<Vec<u8>, String> {
    let metric = report.metric.name();
    let mut directions: Vec<&String> = report.rows.iter().flat_map(|row| row.directions.keys()).collect();
    directions.sort();
    directions.dedup();
    let mut header: Vec<String> = ["row", "score", metric, "low", "high"].map(str::to_owned).to_vec();
    for to in ["baseline", "best"] {
        header.extend(["difference", "low", "high", "p", "p_holm"].map(|name| format!("{name}_to_{to}")));
    }
    let others = |row: &ComparisonRow| row.metrics.keys().cloned().collect::<Vec<_>>();
    let others: Vec<String> = report.rows.first().map(others).unwrap_or_default();
    let others: Vec<String> = others.into_iter().filter(|name| name != metric).collect();
    header.extend(others.iter().cloned());
    header.extend(directions.iter().map(|direction| format!("{metric} {direction}")));
    let task = report.rows.iter().any(|row| row.task.is_some());
    if task {
        header.push("task".to_owned());
        let names = ["difference", "low", "high", "p", "p_holm"];
        header.extend(names.map(|name| format!("task_{name}_to_baseline")));
    }
    header.extend(["rsum_cross_validation", "fit_seconds"].map(str::to_owned));
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let difference = |found: &Option<CorrectedDifference>| {
        let of = |get: fn(&CorrectedDifference) -> f64| number(found.as_ref().map(get));
        [
            of(|one| one.difference.mean),
            of(|one| one.difference.interval[0]),
            of(|one| one.difference.interval[1]),
            of(|one| one.difference.p),
            of(|one| one.p_holm),
        ]
    };
    let line = |row: &ComparisonRow| {
        let mut line = vec![row.name.clone(), row.score.clone()];
        line.extend([row.value, row.interval[0], row.interval[1]].map(|value| value.to_string()));
        line.extend(difference(&row.difference));
        line.extend(difference(&row.to_best));
        line.extend(others.iter().map(|name| number(row.metrics.get(name).copied())));
        let of = |direction: &&String| row.directions.get(*direction)?.get(metric).copied();
        line.extend(directions.iter().map(|direction| number(of(direction))));
        if task {
            line.push(number(row.task.as_ref().map(|task| task.value)));
            line.extend(difference(&row.task.as_ref().and_then(|task| task.difference)));
        }
        line.push(number(row.cross_validation.as_ref().map(|folds| folds.rsum)));
        line.push(number(row.fit_seconds));
        line
    };
    csv(header, report.rows.iter().map(line))
}

/// Formats one line for each point of the curves.
fn curves(report: &ComparisonReport) -> Result<Vec<u8>, String> {
    let header = ["row", "pairs", report.metric.name(), "low", "high"].map(str::to_owned).to_vec();
    let line = |row: &ComparisonRow, point: &CurvePoint| {
        let values = [point.value, point.interval[0], point.interval[1]].map(|value| value.to_string());
        [vec![row.name.clone(), point.pairs.to_string()], values.to_vec()].concat()
    };
    let lines = report.rows.iter().flat_map(|row| row.curve.iter().map(move |point| line(row, point)));
    csv(header, lines)
}

fn csv(header: Vec<String>, lines: impl Iterator<Item = Vec<String>>) -> Result<Vec<u8>, String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for line in std::iter::once(header).chain(lines) {
        csv.write_record(line).map_err(|e| e.to_string())?;
    }
    csv.into_inner().map_err(|e| e.to_string())
}
