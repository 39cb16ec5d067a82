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
    refused(&["a.npy", "b.npy", "-k", "48"], &["1 to 47", "48"]);
    refused(&["a.npy", "b.npy", "-k", "0"], &["1 to 47", "0"]);
    sandbox.write("few.npy", npy_of_labels(&[0, 1]));
    refused(&["a.npy", "b.npy", "--labels", "few.npy"], &["labels", "48", "2"]);
    refused(&["a.npy", "b.npy", "--labels", "b.npy"], &["holds no labels"]);
}

/// Single and double precision of the same vectors give the same values, also for clusters far apart.
#[test]
fn both_precisions_give_the_same_values() {
    let sandbox = Sandbox::new();
    let script = "import numpy as np
rng = np.random.default_rng(3)
x = (rng.normal(size=(60, 4)) * 0.01 + 100 * (np.arange(60) % 2)[:, None]).astype('f')
y = (x + rng.normal(size=x.shape) * 0.01).astype('f')
for name, z in (('x', x), ('y', y)):
    np.save(f'{name}32.npy', z); np.save(f'{name}64.npy', z.astype('d'))
from scipy.optimize import linear_sum_assignment
c = ((x.astype('d')[:, None] - y.astype('d')[None]) ** 2).sum(2)
print(np.sqrt(c[linear_sum_assignment(c)].mean()))";
    let made = std::process::Command::new(common::peers())
        .current_dir(sandbox.path(""))
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let exact: f64 = String::from_utf8_lossy(&made.stdout).trim().parse().unwrap();
    let (single, double) = (json(&sandbox, &["x32.npy", "y32.npy"]), json(&sandbox, &["x64.npy", "y64.npy"]));
    assert_eq!(single, double);
    assert!((value(&single, "w2_exact") / exact - 1.0).abs() < 1e-6, "{exact}: {single:#}");
}

#[test]
fn the_permutation_fits_the_rows_and_is_named() {
    let sandbox = sandbox();
    let only = ["--only", "w2_exact,gw,cka_linear", "--null", "19"];
    let paired = json(&sandbox, &[&["a.npy", "b.npy"][..], &only].concat());
    let permuted =
        |report: &Value, key: &str| report["measures"][key]["permuted"].as_str().unwrap().to_owned();
    assert_eq!(permuted(&paired, "w2_exact"), "sides of each pair");
    assert_eq!(permuted(&paired, "gw"), "sides of each pair of blocks");
    assert_eq!(permuted(&paired, "cka_linear"), "pairing of the rows");
    sandbox.write("fewer.npy", npy(30, 4, &values(30, 2.0)));
    let pooled = json(&sandbox, &[&["a.npy", "fewer.npy"][..], &only].concat());
    assert_eq!(permuted(&pooled, "w2_exact"), "rows pooled");
    sandbox.write("narrow.npy", npy(ROWS, 2, &values(ROWS / 2, 2.0)));
    let widths = json(&sandbox, &[&["a.npy", "narrow.npy"][..], &only].concat());
    assert!(widths["measures"]["gw"]["p_value"].as_f64().is_some(), "{widths:#}");
}
