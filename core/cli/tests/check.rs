//! `chiasm check`: verdicts on simple graphs and on runs, and the exit code of a FAIL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value as Node};
use common::{CommandOutput, Sandbox, npy};
use serde_json::Value;

/// Saves a map of three dimensions as `name`.
fn graph(sandbox: &Sandbox, name: &str, body: impl FnOnce(&mut Builder, &Node) -> Node) {
    let mut b = Builder::new("map");
    let dims = [Dim::named("n"), Dim::Fixed(3)];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let z = body(&mut b, &x);
    b.output("z", &z, DType::F32, &dims);
    let built: Graph = b.finish().unwrap();
    built.save(sandbox.path(name)).unwrap();
}

fn times(b: &mut Builder, x: &Node, matrix: [f32; 9]) -> Node {
    let matrix = b.constant("matrix", Tensor::f32(&[3, 3], matrix.to_vec()).unwrap());
    b.matmul(x, &matrix)
}

/// Writes a rotation, a map of rank 2, the absolute value (which folds), and forty points.
fn maps() -> Sandbox {
    let sandbox = Sandbox::new();
    graph(&sandbox, "rotation.onnx", |b, x| times(b, x, [0.6, 0.8, 0.0, -0.8, 0.6, 0.0, 0.0, 0.0, 1.0]));
    graph(&sandbox, "rank2.onnx", |b, x| times(b, x, [1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 1.0, 0.0, 1.0]));
    graph(&sandbox, "fold.onnx", |b, x| b.abs(x));
    let values: Vec<f32> = (0..120).map(|i| (i as f32 * 1.7).sin() * 2.0 + (i as f32 * 0.3).cos()).collect();
    sandbox.write("points.npy", npy(40, 3, &values));
    sandbox
}

fn check(sandbox: &Sandbox, map: &str) -> (Option<i32>, Value) {
    let CommandOutput { code, stdout, .. } =
        sandbox.call(&["check", map, "--at", "points.npy", "--format", "json"]);
    (code, serde_json::from_str(&stdout).unwrap())
}

fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap()["verdict"].as_str().unwrap()
}

#[test]
fn a_rotation_passes_with_singular_values_one() {
    let sandbox = maps();
    let (code, report) = check(&sandbox, "rotation.onnx");
    assert_eq!((code, &report["verdict"]), (Some(0), &Value::from("pass")), "{report:#}");
    let jacobian = &report["jacobian"];
    let values = jacobian["singular_values"].as_array().unwrap();
    assert_eq!(values.len(), 40);
    for value in values.iter().flat_map(|point| point.as_array().unwrap()) {
        assert!((value.as_f64().unwrap() - 1.0).abs() < 1e-6, "{value}");
    }
    assert_eq!(jacobian["rank"][7], 3);
    assert!((jacobian["condition_number"][7].as_f64().unwrap() - 1.0).abs() < 1e-6);
    assert!(jacobian["log_volume"][7].as_f64().unwrap().abs() < 1e-6);
}

/// The singular values of (1 0 1; 0 2 0; 1 0 1) are 2, 2 and 0.
#[test]
fn a_map_of_rank_2_fails() {
    let sandbox = maps();
    let (code, report) = check(&sandbox, "rank2.onnx");
    assert_eq!((code, verdict(&report, "rank")), (Some(1), "fail"));
    let values = report["jacobian"]["singular_values"][0].as_array().unwrap();
    for (value, exact) in values.iter().zip([2.0, 2.0, 0.0]) {
        assert!((value.as_f64().unwrap() - exact).abs() < 1e-6, "{values:?}");
    }
    assert_eq!(report["jacobian"]["rank"][0], 2);
}

#[test]
fn a_fold_fails_though_its_singular_values_are_one() {
    let sandbox = maps();
    let (code, report) = check(&sandbox, "fold.onnx");
    assert_eq!((code, verdict(&report, "rank")), (Some(1), "pass"));
    assert_eq!((verdict(&report, "orientation"), verdict(&report, "collision")), ("fail", "fail"));
}

#[test]
fn the_table_explains_each_value() {
    let sandbox = maps();
    let output = sandbox.call(&["check", "fold.onnx", "--at", "points.npy"]);
    assert_eq!(output.code, Some(1));
    for words in
        ["fold.onnx: 3 -> 3 dimensions, 40 points", "singular value", "FAIL", "orientation", "does not apply"]
    {
        assert!(output.stdout.contains(words), "no {words:?} in {}", output.stdout);
    }
    assert!(
        output.stderr.contains("orientation") && output.stderr.contains("collision"),
        "{}",
        output.stderr
    );
}

#[test]
fn an_inverse_and_targets_can_be_given() {
    let sandbox = maps();
    graph(&sandbox, "back.onnx", |b, x| times(b, x, [0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0]));
    let more = ["--inverse", "back.onnx", "--onto", "points.npy", "--format", "json"];
    let text = sandbox.good(&[&["check", "rotation.onnx", "--at", "points.npy"][..], &more].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((verdict(&report, "round_trip"), verdict(&report, "cycle")), ("pass", "pass"));
    assert!(report["checks"].as_array().unwrap().iter().any(|c| c["name"] == "surjectivity"));
}

#[test]
fn limits_can_be_set_and_invalid_ones_are_refused() {
    let sandbox = maps();
    let at = ["check", "rotation.onnx", "--at", "points.npy"];
    let strict = sandbox.call(&[&at[..], &["--set", "checks.lipschitz.fail=0.5"]].concat());
    assert_eq!(strict.code, Some(1), "{}", strict.stdout);
    for (set, words) in [
        ("checks.lipshitz.fail=0.5", "did you mean `lipschitz`?"),
        ("checks.rank.fial=0.5", "did you mean `fail`?"),
        ("checks.rank_tolerance=2", "0 to 1"),
        ("check.points=3", "did you mean `checks`?"),
        ("checks.condition_number.fail=nan", "`checks.condition_number.fail` expects a number"),
    ] {
        sandbox.call(&[&at[..], &["--set", set]].concat()).refused(set, &[words]);
    }
}

#[test]
fn a_constant_map_fails() {
    let sandbox = maps();
    graph(&sandbox, "constant.onnx", |b, x| times(b, x, [0.0; 9]));
    let (code, report) = check(&sandbox, "constant.onnx");
    assert_eq!(code, Some(1));
    assert_eq!(
        (verdict(&report, "rank"), verdict(&report, "condition_number")),
        ("fail", "fail"),
        "{report:#}"
    );
}

/// `Hardmax` has no derivative, so that its rank is not examined: that is not a pass, unless it is allowed.
#[test]
fn what_was_not_examined_ends_with_exit_code_1_unless_it_is_allowed() {
    let sandbox = maps();
    graph(&sandbox, "steps.onnx", |b, x| b.op("Hardmax", &[x], &[]));
    let at = ["check", "steps.onnx", "--at", "points.npy"];
    let strict = sandbox.call(&at);
    assert_eq!(strict.code, Some(1));
    assert!(strict.stdout.contains("UNKNOWN") && strict.stdout.contains("Hardmax"), "{}", strict.stdout);
    assert!(strict.stderr.contains("checks.allow_unknown"), "{}", strict.stderr);
    for allowed in [&["--allow-unknown"][..], &["--set", "checks.allow_unknown=true"]] {
        let lenient = sandbox.good(&[&at[..], &["--format", "json"], allowed].concat());
        let report: Value = serde_json::from_str(&lenient).unwrap();
        assert_eq!(verdict(&report, "rank"), "unknown");
        assert_eq!(report["unknown"], Value::Array(Vec::new()));
    }
}

/// Targets of one dimension need no map of a higher rank.
#[test]
fn targets_limit_the_rank_that_is_expected() {
    let sandbox = maps();
    let line: Vec<f32> = (0..120).map(|i| if i % 3 == 2 { 0.0 } else { (i as f32 * 1.3).sin() }).collect();
    sandbox.write("plane.npy", npy(40, 3, &line));
    let (code, report) = check(&sandbox, "rank2.onnx");
    assert_eq!((code, verdict(&report, "rank")), (Some(1), "fail"));
    let output = sandbox.call(&[
        "check",
        "rank2.onnx",
        "--at",
        "points.npy",
        "--onto",
        "plane.npy",
        "--format",
        "json",
    ]);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(verdict(&report, "rank"), "pass", "{report:#}");
}

#[test]
fn every_check_is_explained() {
    let sandbox = Sandbox::new();
    let rank = sandbox.good(&["check", "--explain", "rank"]);
    assert!(rank.contains("formula") && rank.contains("fails above 0.01"), "{rank}");
    let all = sandbox.good(&["check", "--explain"]);
    assert!(all.contains(rank.trim_end()) && all.contains("### probe"), "{all}");
    sandbox.call(&["check", "--explain", "ranc"]).refused("ranc", &["rank", "collision"]);
}

#[test]
fn invalid_input_is_refused() {
    let sandbox = maps();
    let mut b = Builder::new("wide");
    let z = b.input("z", DType::F32, &[Dim::named("n"), Dim::Fixed(3)]).unwrap();
    let x = b.concat(&[&z, &z], 1);
    b.output("x", &x, DType::F32, &[Dim::named("n"), Dim::Fixed(6)]);
    b.finish().unwrap().save(sandbox.path("back.onnx")).unwrap();
    let back = ["check", "rotation.onnx", "--at", "points.npy", "--inverse", "back.onnx"];
    sandbox.call(&back).refused("a wide inverse", &["expected 3 columns, got 6"]);
    sandbox.write("wide.npy", npy(4, 5, &[0.5; 20]));
    sandbox.write("torn.npy", &npy(4, 3, &[0.5; 12])[..100]);
    sandbox.call(&["check", "rotation.onnx"]).refused("no points", &["--at points.npy"]);
    sandbox.call(&["check", "rotation.onnx", "--at", "wide.npy"]).refused("wide points", &["width 3", "5"]);
    sandbox.call(&["check", "rotation.onnx", "--at", "torn.npy"]).refused("torn points", &["torn.npy"]);
    sandbox.call(&["check", "points.npy", "--at", "points.npy"]).refused("no graph", &["points.npy"]);
    sandbox.call(&["check", "nowhere"]).refused("no run", &["nowhere"]);
}

#[test]
fn check_reproduces_the_checks_of_the_fit() {
    let sandbox = Sandbox::new();
    sandbox.world(300);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    let stored: Value =
        serde_json::from_str(&std::fs::read_to_string(sandbox.path("run/checks.json")).unwrap()).unwrap();
    assert!(stored["merged"]["staged_against_merged"].is_object());
    let again: Value = serde_json::from_str(&sandbox.good(&["check", "run", "--format", "json"])).unwrap();
    for (side, name) in ["image", "text"].into_iter().enumerate() {
        let (one, other) = (&stored["maps"][side], &again["maps"][side]);
        assert_eq!((one["map"].as_str(), other["map"].as_str()), (Some(name), Some(name)));
        assert_ne!(one["verdict"], "fail", "an ordinary good map: {one:#}");
        assert_eq!(one["jacobian"]["rank"], other["jacobian"]["rank"]);
        assert_eq!(verdict(one, "surjectivity"), verdict(other, "surjectivity"));
    }
}

#[test]
fn a_failed_check_gives_exit_code_1_and_the_run_is_written() {
    let sandbox = Sandbox::new();
    sandbox.vectors([80, 80]);
    let impossible = ["fit", "recipe.toml", "-o", "run", "--set", "checks.surjectivity.fail=1.1"];
    for _ in 0..2 {
        let output = sandbox.call(&impossible); // the second time the run is up to date
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        assert!(output.stderr.contains("surjectivity"), "{}", output.stderr);
        assert!(sandbox.path("run/model.onnx").is_file());
    }
    let nonsense = ["fit", "recipe.toml", "-o", "other", "--set", "checks.labels=class"];
    sandbox.call(&nonsense).refused("labels without pairs", &["no `data.pairs`"]);
}

/// The map passes the check `probe` if its inverse preserves the classes.
#[test]
fn labels_are_predicted_from_reconstructed_rows() {
    let sandbox = Sandbox::new();
    sandbox.vectors([120, 120]);
    // Two separated classes in both modalities.
    let end = |row: usize| if row.is_multiple_of(2) { 3.0 } else { -3.0 };
    let value = |row: usize, column: usize| ((row * 37 + column * 101) % 89) as f32 / 89.0 - 0.5 + end(row);
    for name in ["a.npy", "b.npy"] {
        let values: Vec<f32> = (0..120 * 4).map(|i| value(i / 4, i % 4)).collect();
        sandbox.write(name, npy(120, 4, &values));
    }
    let rows = (0..120).map(|row| {
        let kind = if row % 2 == 0 { "even" } else { "odd" };
        format!("{{\"a\": {row}, \"b\": {row}, \"kind\": \"{kind}\"}}\n")
    });
    sandbox.write("pairs.jsonl", rows.collect::<String>());
    let set = [
        "--set",
        "data.pairs=pairs.jsonl",
        "--set",
        "checks.labels=kind",
        "--set",
        "align.plugin=procrustes",
    ];
    sandbox.good(&[&["fit", "recipe.toml", "-o", "run"][..], &set].concat());
    let stored: Value =
        serde_json::from_str(&std::fs::read_to_string(sandbox.path("run/checks.json")).unwrap()).unwrap();
    assert_eq!(verdict(&stored["maps"][0], "probe"), "pass", "{stored:#}");
    let again: Value = serde_json::from_str(&sandbox.good(&["check", "run", "--format", "json"])).unwrap();
    assert_eq!(verdict(&again["maps"][0], "probe"), "pass");
}
