//! Geometry measures of two .npy files of vectors.

use crate::base::{
    error::Error,
    npy::{read_labels, read_matrix},
    reporter::Reporter,
};
use chiasm_geometry::catalogue::{CATALOGUE, Shuffle};
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, measure};
use ndarray::ArrayView2;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Measures two .npy files of vectors `[n, a]` and `[m, b]`, in double precision.
///
/// If there is a permutation null, every measure is computed once before it, and `announce` is called with
/// what the permutations will take.
///
/// # Errors
/// If a file cannot be read or does not hold at least two rows of finite floats, if `labels` does not hold
/// one non-negative integer per row, or if a requested measure does not exist or none applies.
pub fn measure_files(
    files: [&Path; 2],
    labels: Option<&Path>,
    request: &MeasureOptions,
    reporter: &dyn Reporter,
    announce: &dyn Fn(NullPrice),
) -> Result<MeasureReport, Error> {
    let [a, b] = [read_matrix(files[0])?, read_matrix(files[1])?];
    let labels = labels.map(read_labels).transpose()?;
    let request = request.clone().labels(labels);
    if request.null > 0 {
        announce(price(files, a.view(), b.view(), &request)?);
    }
    let report = run(files, a.view(), b.view(), &request, reporter);
    reporter.end();
    report
}

/// The estimated price of the permutations: the seconds of all measures, and those of the dearest ones.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NullPrice {
    /// Seconds of all measures.
    pub seconds: f64,
    /// The three dearest measures and their seconds, dearest first.
    pub dearest: Vec<(String, f64)>,
}

/// Computes every measure once, and returns what the permutations will take.
fn price(
    files: [&Path; 2],
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    request: &MeasureOptions,
) -> Result<NullPrice, Error> {
    let started: Mutex<HashMap<String, Instant>> = Mutex::default();
    let times: Mutex<Vec<(String, f64)>> = Mutex::default();
    let watch = |key: &str, step: usize, _: usize| {
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        if step == 0 {
            started.insert(key.to_owned(), Instant::now());
        } else if let Some(start) = started.get(key) {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.push((key.to_owned(), start.elapsed().as_secs_f64()));
        }
    };
    run_watched(files, a, b, &request.clone().null(0), &watch)?;
    // Measures whose null exchanges blocks compare 120 pairs of blocks, an eighth of the rows each.
    let permuted = |key: &str| match CATALOGUE.iter().find(|m| m.key(request.k.unwrap_or(10)) == key) {
        Some(measure) if measure.shuffle == Shuffle::Nothing => 0.0,
        Some(measure) if measure.shuffle == Shuffle::Blocks => 2.0,
        _ => request.null as f64,
    };
    let mut dearest = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    dearest.iter_mut().for_each(|(key, seconds)| *seconds *= permuted(key));
    dearest.sort_by(|a, b| b.1.total_cmp(&a.1));
    let seconds = dearest.iter().map(|(_, seconds)| seconds).sum();
    dearest.truncate(3);
    Ok(NullPrice { seconds, dearest })
}

fn run(
    files: [&Path; 2],
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    request: &MeasureOptions,
    reporter: &dyn Reporter,
) -> Result<MeasureReport, Error> {
    let watch = |key: &str, step: usize, steps: usize| {
        if step == 0 {
            reporter.begin(key, steps as u64);
        }
        reporter.advance(step as u64);
    };
    run_watched(files, a, b, request, &watch)
}

fn run_watched(
    files: [&Path; 2],
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    request: &MeasureOptions,
    watch: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<MeasureReport, Error> {
    check_rows(files[0], a)?;
    check_rows(files[1], b)?;
    let bad =
        |what: String| Error::input("chiasm::measure", what, "see `chiasm measure --help` for the options");
    let report = measure(a, b, request, watch).map_err(|e| bad(e.to_string()))?;
    if report.measures.is_empty() {
        let reasons: Vec<String> = report.skipped.iter().map(|(key, why)| format!("{key}: {why}")).collect();
        return Err(bad(format!("nothing could be measured; {}", reasons.join("; "))));
    }
    Ok(report)
}

/// Returns an error that names the file if its rows cannot be measured.
fn check_rows(file: &Path, rows: ArrayView2<'_, f64>) -> Result<(), Error> {
    let bad = |what: String, help: &str| {
        Err(Error::input("chiasm::measure::rows", format!("{}: {what}", file.display()), help))
    };
    let (n, d) = rows.dim();
    if n < 2 || d == 0 {
        return bad(
            format!("expected at least 2 rows of at least 1 number, got {n} x {d}"),
            "give a file with at least two rows",
        );
    }
    match rows.outer_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
        Some(row) => bad(
            format!("row {row} holds NaN or infinity"),
            "drop the row (in both files where rows are paired) or embed it again",
        ),
        None => Ok(()),
    }
}
