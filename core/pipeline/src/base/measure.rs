//! Geometry measures of two .npy files of vectors.

use crate::base::{
    error::Error,
    npy::{FloatMatrix, read_labels, read_rows},
    reporter::Reporter,
};
use chiasm_geometry::Real;
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, measure};
use ndarray::ArrayView2;
use std::path::Path;

/// Measures two .npy files of vectors `[n, a]` and `[m, b]`. It computes in double precision if either file
/// is float64.
///
/// # Errors
/// If a file cannot be read or does not hold at least two rows of finite floats, if `labels` does not hold
/// one non-negative integer per row, or if a requested measure does not exist or none applies.
pub fn measure_files(
    files: [&Path; 2],
    labels: Option<&Path>,
    request: &MeasureOptions,
    reporter: &dyn Reporter,
) -> Result<MeasureReport, Error> {
    let [a, b] = [read_rows(files[0])?, read_rows(files[1])?];
    let labels = labels.map(read_labels).transpose()?;
    let request = request.clone().labels(labels);
    let report = match (a, b) {
        (FloatMatrix::Single(a), FloatMatrix::Single(b)) => {
            run(files, a.view(), b.view(), &request, reporter)
        }
        (a, b) => run(files, a.double().view(), b.double().view(), &request, reporter),
    };
    reporter.end();
    report
}

fn run<T: Real>(
    files: [&Path; 2],
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    request: &MeasureOptions,
    reporter: &dyn Reporter,
) -> Result<MeasureReport, Error> {
    check_rows(files[0], a)?;
    check_rows(files[1], b)?;
    let watch = |key: &str, step: usize, steps: usize| {
        if step == 0 {
            reporter.begin(key, steps as u64);
        }
        reporter.advance(step as u64);
    };
    let bad =
        |what: String| Error::input("chiasm::measure", what, "see `chiasm measure --help` for the options");
    let report = measure(a, b, request, &watch).map_err(|e| bad(e.to_string()))?;
    if report.measures.is_empty() {
        let reasons: Vec<String> = report.skipped.iter().map(|(key, why)| format!("{key}: {why}")).collect();
        return Err(bad(format!("nothing could be measured; {}", reasons.join("; "))));
    }
    Ok(report)
}

/// Returns an error that names the file if its rows cannot be measured.
fn check_rows<T: Real>(file: &Path, rows: ArrayView2<'_, T>) -> Result<(), Error> {
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
