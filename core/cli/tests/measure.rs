//! `chiasm measure`: all measures, selected ones, comparison with chance, and invalid files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_geometry::catalogue::{CATALOGUE, Shuffle};
use common::{Sandbox, npy};
use serde_json::Value;

const ROWS: usize = 48;

/// The default number of neighbours, which the keys of some measures contain.
const NEIGHBOURS: usize = 10;

/// Three clusters in four dimensions.
fn values(rows: usize, phase: f32) -> Vec<f32> {
    let value = |i: usize| {
        let (row, column) = (i / 4, i % 4);
        let cluster = if row % 3 == column { 4.0 } else { 0.0 };
        cluster + (i as f32 * 1.7).sin() + 0.3 * (i as f32 * 0.37 + phase).cos()
    };
    (0..rows * 4).map(value).collect()
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.npy", npy(ROWS, 4, &values(ROWS, 0.0)));
    sandbox.write("b.npy", npy(ROWS, 4, &values(ROWS, 1.0)));
    let labels: Vec<i64> = (0..ROWS as i64).map(|i| i % 3).collect();
    sandbox.write("labels.npy", npy_of_labels(&labels));
    sandbox
}

fn npy_of_labels(labels: &[i64]) -> Vec<u8> {
    let header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", labels.len());
    let header = format!("{header:<117}\n");
    let start = [b"\x93NUMPY\x01\x00".as_slice(), &118_u16.to_le_bytes(), header.as_bytes()].concat();
    start.into_iter().chain(labels.iter().flat_map(|label| label.to_le_bytes())).collect()
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let text = sandbox.good(&[&["measure", "--format", "json"], arguments].concat());
    serde_json::from_str(&text).unwrap()
}

fn value(report: &Value, key: &str) -> f64 {
    report["measures"][key]["value"].as_f64().unwrap()
}

#[test]
fn every_measure_is_compared_with_chance() {
    let sandbox = sandbox();
    let report = json(&sandbox, &["a.npy", "b.npy", "--labels", "labels.npy", "--null", "9"]);
    assert_eq!(report["skipped"].as_object().unwrap().len(), 0, "{report:#}");
    for measure in CATALOGUE {
        let key = measure.key(NEIGHBOURS);
        let found = &report["measures"][&key];
        assert!(value(&report, &key).is_finite() && found["rows"][0] == ROWS, "{key}: {found}");
        let has_null = measure.shuffle != Shuffle::Nothing;
        assert_eq!(found["p_value"].as_f64().is_some(), has_null, "{key}: {found}");
    }
    assert_eq!(report["measures"].as_object().unwrap().len(), CATALOGUE.len());
    assert!(value(&report, "cka_linear") > 0.9 && value(&report, "nmi") > 0.99, "{report:#}");
    for paired in ["cka_linear", "mutual_knn@10", "foscttm", "silhouette"] {
        assert_eq!(report["measures"][paired]["p_value"], 0.1, "{paired}: none of nine shuffles is as good");
    }
    assert_eq!(
        report,
        json(&sandbox, &["a.npy", "b.npy", "--labels", "labels.npy", "--null", "9"]),
        "same seed"
    );
}

#[test]
fn selected_measures_as_json_and_as_a_table() {
    let sandbox = sandbox();
    let report = json(&sandbox, &["a.npy", "b.npy", "--only", "cka_linear,mutual_knn", "-k", "5"]);
    let keys: Vec<&String> = report["measures"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cka_linear", "mutual_knn@5"]);
    let table = sandbox.good(&["measure", "a.npy", "b.npy", "--only", "bures_w2,silhouette"]);
    assert!(table.contains("bures_w2") && table.contains("length"), "{table}");
    assert!(table.contains("silhouette: skipped; it needs labels"), "{table}");
}

#[test]
fn measures_that_do_not_apply_are_skipped_with_a_reason() {
    let sandbox = sandbox();
    sandbox.write("fewer.npy", npy(30, 4, &values(30, 2.0)));
    let report = json(&sandbox, &["a.npy", "fewer.npy"]);
    let reason = report["skipped"]["procrustes_residual"].as_str().unwrap();
    assert!(reason.contains("paired rows") && reason.contains("48 and 30"), "{reason}");
    assert!(value(&report, "w2_exact") > 0.0);
    sandbox.write("narrow.npy", npy(ROWS * 2, 2, &values(ROWS, 2.0)));
    let report = json(&sandbox, &["a.npy", "narrow.npy"]);
    let reason = report["skipped"]["mmd2_rbf"].as_str().unwrap();
    assert!(reason.contains("the widths are 4 and 2"), "{reason}");
    assert!(value(&report, "gw") > 0.0);
}

#[test]
fn duplicate_rows_and_constant_columns_are_reported() {
    let sandbox = sandbox();
    let mut duplicated = values(ROWS, 0.0);
    duplicated.copy_within(0..40, 40); // rows 10 to 19 are rows 0 to 9
    duplicated.iter_mut().skip(3).step_by(4).for_each(|v| *v = 0.1);
    sandbox.write("duplicated.npy", npy(ROWS, 4, &duplicated));
    let report = json(&sandbox, &["duplicated.npy", "b.npy"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("10 of 48 rows repeat") && notes.contains("1 of 4 columns"), "{notes}");
    assert!(value(&report, "intrinsic_dimension_a") > 0.0);
    sandbox.write("constant.npy", npy(ROWS, 4, &[0.3; ROWS * 4]));
    let report = json(&sandbox, &["a.npy", "constant.npy"]);
    assert_eq!(value(&report, "foscttm"), 0.5, "chance");
    let reason = report["skipped"]["cka_linear"].as_str().unwrap();
    assert!(reason.contains("second cloud has no spread"), "{reason}");
}

#[test]
fn errors_name_the_invalid_file() {
    let sandbox = sandbox();
    sandbox.write("empty.npy", npy(0, 4, &[]));
    sandbox.write("one.npy", npy(1, 4, &values(1, 0.0)));
    let mut bad = values(ROWS, 0.0);
    bad[4 * 7 + 1] = f32::NAN;
    sandbox.write("nan.npy", npy(ROWS, 4, &bad));
    sandbox.write("text.npy", "not an array");
    sandbox.write("cut.npy", &npy(ROWS, 4, &values(ROWS, 0.0))[..300]);
    let refused = |arguments: &[&str], words: &[&str]| {
        sandbox.refused(&[&["measure"], arguments].concat(), words);
    };
    refused(&["empty.npy", "b.npy"], &["empty.npy", "at least two rows"]);
    refused(&["a.npy", "one.npy"], &["one.npy", "1 x 4"]);
    refused(&["a.npy", "nan.npy"], &["nan.npy", "row 7"]);
    refused(&["text.npy", "b.npy"], &["text.npy"]);
    refused(&["cut.npy", "b.npy"], &["cut.npy"]);
    refused(&["absent.npy", "b.npy"], &["absent.npy"]);
    refused(&["a.npy", "b.npy", "--only", "cka_cubic"], &["cka_cubic", "cka_linear"]);
    refused(&["a.npy", "b.npy", "--only", "silhouette"], &["silhouette", "--labels"]);
    refused(&["a.npy", "b.npy", "--only", "mutual_knn", "-k", "48"], &["1 to 47", "48"]);
    sandbox.write("few.npy", npy_of_labels(&[0, 1]));
    refused(&["a.npy", "b.npy", "--labels", "few.npy"], &["labels", "48", "2"]);
    refused(&["a.npy", "b.npy", "--labels", "b.npy"], &["holds no labels"]);
}
