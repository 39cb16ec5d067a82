//! `chiasm compare`: differences with p-values, gates, curves over pairs and seeds, and fits that are kept.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, npy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

const ROWS: usize = 300;
const JSON: [&str; 2] = ["--format", "json"];

/// Writes two files of noisy linear views of three factors, whose ids begin with `name`; every third row is a
/// test row.
fn data(sandbox: &Sandbox, name: &str) {
    let mut numbers = RandomNumbers(3);
    let weights: Vec<[f32; 3]> = (0..14).map(|_| [(); 3].map(|()| numbers.next())).collect();
    let (mut a, mut b, mut pairs) = (Vec::new(), Vec::new(), String::new());
    for row in 0..ROWS {
        let cause = [(); 3].map(|()| numbers.next());
        for (column, weight) in weights.iter().enumerate() {
            let value: f32 = weight.iter().zip(cause).map(|(w, c)| w * c).sum();
            if column < 8 { &mut a } else { &mut b }.push(value + 0.1 * numbers.next());
        }
        let split = if row % 3 == 0 { "test" } else { "train" };
        pairs.push_str(&format!(
            "{{\"id\": \"{name}{row}\", \"a\": {row}, \"b\": {row}, \"split\": \"{split}\"}}\n"
        ));
    }
    sandbox.write("a.npy", npy(ROWS, 8, &a));
    sandbox.write("b.npy", npy(ROWS, 6, &b));
    sandbox.write("pairs.jsonl", pairs);
    sandbox.write(
        "recipe.toml",
        "[encoders.a]\nvectors = \"a.npy\"\n[encoders.b]\nvectors = \"b.npy\"\n\
         [data]\npairs = \"pairs.jsonl\"\nsplit = \"split\"\n[align]\nplugin = \"ridge\"\n\
         [checks]\nallow_unknown = true\n",
    );
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    data(&sandbox, "row ");
    sandbox
}

fn fit(sandbox: &Sandbox, plugin: &str, run: &str) {
    let set = format!("align.plugin={plugin}");
    let output = sandbox.call(&["fit", "recipe.toml", "--set", &set, "-o", run]);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
}

fn report(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&sandbox.good(&[&["compare"][..], arguments, &JSON].concat())).unwrap()
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = report["rows"].as_array().unwrap().iter().find(|row| row["name"] == name);
    assert!(found.is_some(), "no row {name}: {report}");
    found.unwrap()
}

fn number(value: &Value) -> f64 {
    assert!(value.is_number(), "{value} is not a number");
    value.as_f64().unwrap()
}

#[test]
fn every_variant_is_tested_against_the_baseline() {
    let sandbox = sandbox();
    let arguments = ["recipe.toml", "--swap", "align.plugin=mean-vector,procrustes,ridge", "--folds", "0"];
    let found = report(&sandbox, &arguments);
    assert_eq!(found["rows"].as_array().unwrap().len(), 6, "each variant without and with the bank");
    assert_eq!((&found["baseline"], &found["test_rows"]), (&"mean-vector".into(), &100.into()));
    let baseline = row(&found, "mean-vector");
    assert!(baseline["difference"].is_null());
    for name in ["procrustes", "ridge", "ridge (bank)"] {
        let own = row(&found, name);
        let difference = &own["difference"];
        let [low, high] = [0, 1].map(|end| number(&difference["interval"][end]));
        let mean = number(&difference["mean"]);
        assert!((mean - (number(&own["value"]) - number(&baseline["value"]))).abs() < 1e-12, "{own}");
        assert!(low <= mean && mean <= high && low > 0.0, "{name} finds more than the mean vector: {own}");
        assert!(
            number(&difference["p_holm"]) >= number(&difference["p"]) && number(&difference["p_holm"]) < 0.01
        );
        let [low, high] = [0, 1].map(|end| number(&own["interval"][end]));
        assert!(0.0 <= low && low <= number(&own["value"]) && number(&own["value"]) <= high && high <= 1.0);
        assert_eq!(number(&own["metrics"]["recall@1"]), number(&own["value"]));
    }
    let best = found["best"].as_str().unwrap();
    let summary = found["summary"].to_string();
    assert!(summary.contains(&format!("{best} has the highest recall@1")), "{summary}");
    let single = report(&sandbox, &[&arguments[..], &["--threads", "1"]].concat());
    assert_eq!(single, found, "the result does not depend on the number of threads");
    // The other way round only the sign changes.
    let turned = report(&sandbox, &[&arguments[..], &["--baseline", "ridge"]].concat());
    let (one, other) = (&row(&found, "ridge")["difference"], &row(&turned, "mean-vector")["difference"]);
    assert_eq!(number(&one["mean"]), -number(&other["mean"]));
    assert_eq!(one["p"], other["p"]);
    let table = sandbox.good(&[&["compare"][..], &arguments].concat());
    assert!(table.contains("p (Holm)") && table.contains(summary.split('"').nth(1).unwrap()), "{table}");
}

#[test]
fn a_gate_ends_with_exit_code_1_if_a_run_is_worse_than_the_baseline() {
    let sandbox = sandbox();
    fit(&sandbox, "ridge", "good");
    fit(&sandbox, "mean-vector", "bad");
    let gate = ["--fail-if", "recall@1 drops 0.01"];
    let failed = sandbox.call(&[&["compare", "bad", "--baseline", "good"], &gate[..]].concat());
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stdout.contains("p (Holm)"), "the table is printed as well: {}", failed.stdout);
    let message = failed.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        message.contains("recall@1 of bad is") && message.contains("below the baseline good"),
        "{message}"
    );
    let significant = ["--fail-if", "recall@1 drops significantly"];
    assert_eq!(
        sandbox.call(&[&["compare", "bad", "--baseline", "good"], &significant[..]].concat()).code,
        Some(1)
    );
    let below = ["--fail-if", "rsum below 600", "--quiet"];
    assert_eq!(sandbox.call(&[&["compare", "good", "bad"], &below[..]].concat()).code, Some(1));
    let passed = sandbox.good(&[&["compare", "good", "--baseline", "bad"], &gate[..]].concat());
    assert!(passed.contains("none of 1 conditions holds"), "{passed}");
    let json = sandbox.call(&[&["compare", "bad", "--baseline", "good"], &gate[..], &JSON].concat());
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["failures"].as_array().unwrap().len(), 1);

    // A variant that is fitted here is the same as its run.
    let same = report(&sandbox, &["recipe.toml", "--baseline", "good"]);
    let difference = &row(&same, "recipe.toml")["difference"];
    assert_eq!((number(&difference["mean"]), number(&difference["p"])), (0.0, 1.0));

    let refused = |arguments: &[&str], words: &[&str]| {
        sandbox.refused(&[&["compare"][..], arguments].concat(), words);
    };
    let syntax = ["bad", "--baseline", "good", "--fail-if", "recall@1 falls by 0.01"];
    refused(&syntax, &["--fail-if", "METRIC drops AMOUNT", "METRIC below VALUE"]);
    refused(&["bad", "--baseline", "gone"], &["\"gone\" is neither a run folder nor the name of a row"]);
    refused(&["recipe.toml", "--baseline", "gone"], &["the rows are recipe.toml, recipe.toml (bank)"]);
    refused(&["bad"], &["nothing to compare bad with"]);
    refused(&["bad", "good", "--pairs", "10"], &["--pairs fits variants of a recipe"]);
    refused(&["bad", "bad"], &["named twice"]);
    refused(&["nothing.toml"], &["cannot read the recipe"]);
}

#[test]
fn runs_on_other_data_are_not_compared() {
    let (sandbox, other) = (sandbox(), Sandbox::new());
    data(&other, "other ");
    fit(&sandbox, "ridge", "here");
    fit(&other, "ridge", "there");
    let there = other.path("there");
    let pair = ["compare", "here", "--baseline", there.to_str().unwrap()];
    let table = sandbox.good(&pair);
    assert!(table.contains("here: its test queries are not those of the baseline"), "{table}");
    let gated = [&pair[..], &["--fail-if", "recall@1 drops 0.5"]].concat();
    sandbox.refused(&gated, &["do not have the same test queries"]);
}

#[test]
fn curves_over_pairs_and_seeds() {
    let sandbox = sandbox();
    let arguments = ["recipe.toml", "--swap", "align.plugin=procrustes,ridge", "--seeds", "3"];
    let pairs = ["--pairs", "60,6", "-o", "compared"];
    let found = report(&sandbox, &[&arguments[..], &pairs].concat());
    assert_eq!((&found["seeds"], found["pairs"].to_string()), (&3.into(), "[6,60]".to_owned()));
    for name in ["procrustes", "ridge"] {
        let own = row(&found, name);
        let curve = own["curve"].as_array().unwrap();
        let of = |at: usize, key: &str| number(&curve[at][key]);
        assert_eq!([0, 1, 2].map(|at| of(at, "pairs")), [6.0, 60.0, 200.0], "{own}");
        assert!(of(0, "value") < of(1, "value"), "six pairs are too few: {own}");
        assert_eq!(curve[2]["value"], own["value"]);
        let inside = |point: &Value| {
            let [low, high] = [0, 1].map(|end| number(&point["interval"][end]));
            0.0 <= low && low <= number(&point["value"]) && number(&point["value"]) <= high && high <= 1.0
        };
        assert!(curve.iter().all(inside), "{own}");
        assert_eq!(own["by_seed"].as_array().unwrap().len(), 3);
        let numbers = ["enough_pairs", "pairs_for_baseline"].map(|key| own[key].as_u64());
        assert!(numbers.iter().flatten().all(|pairs| [6, 60, 200].contains(pairs)), "{own}");
    }
    // Procrustes does not depend on the seed; the pairs that are drawn do, but all pairs are the same.
    let own = row(&found, "procrustes");
    assert!(own["by_seed"][0] == own["by_seed"][1] && own["by_seed"][0] == own["by_seed"][2], "{own}");
    assert_eq!(own["pairs_for_baseline"], 200, "procrustes is the baseline: {own}");
    assert!(row(&found, "ridge (bank)").get("curve").is_none(), "the recipe does not ask for the bank");
    sandbox.refused(
        &[&["compare"], &arguments[..], &["--pairs", "201"]].concat(),
        &["--pairs expects 1 to 200"],
    );

    let read = |name: &str| std::fs::read_to_string(sandbox.path("compared").join(name)).unwrap();
    let stored: Value = serde_json::from_str(&read("comparison.json")).unwrap();
    assert_eq!(stored["rows"], found["rows"]);
    let table = read("comparison.csv");
    let header = "row,score,recall@1,low,high,difference_to_baseline,low_to_baseline,high_to_baseline,\
                  p_to_baseline,p_holm_to_baseline,";
    assert!(table.starts_with(header) && table.lines().count() == 5, "{table}");
    let line = table.lines().find(|line| line.starts_with("ridge,plain,")).unwrap();
    assert_eq!(
        line.split(',').nth(2).unwrap().parse::<f64>().unwrap(),
        number(&row(&found, "ridge")["value"])
    );
    assert!(
        read("pairs.csv").starts_with("row,pairs,recall@1,low,high\nprocrustes,6,"),
        "{}",
        read("pairs.csv")
    );
    sandbox.write("mine/notes.txt", "mine");
    let refused = [&["compare"], &arguments[..], &["-o", "mine"]].concat();
    sandbox.refused(&refused, &["is not the folder of a comparison"]);
    assert!(!sandbox.path("mine/comparison.json").exists());
}

/// A command that was killed after its first fits does not repeat them, and ends with the same result; a
/// larger one fits only what is missing.
#[test]
fn finished_fits_are_kept() {
    let (sandbox, undisturbed) = (sandbox(), sandbox());
    let arguments =
        ["compare", "recipe.toml", "--swap", "align.plugin=procrustes,ridge,cca", "--format", "json"];
    let expected = undisturbed.good(&arguments);
    let mut child =
        sandbox.chiasm().args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().starts_with("fit 2 of 18") {}
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    let output = sandbox.call(&arguments);
    let kept = output.stderr.lines().filter(|line| line.ends_with("(from an earlier fit)")).count();
    assert!((2..18).contains(&kept), "{kept} fits are kept: {}", output.stderr);
    let without_times = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("_seconds")).map(str::to_owned).collect()
    };
    assert_eq!(without_times(&output.stdout), without_times(&expected));
    let larger = ["compare", "recipe.toml", "--swap", "align.plugin=cca,mean-vector", "--folds", "0"];
    let output = sandbox.call(&larger);
    assert!(
        output.stderr.contains("fit 1 of 2: cca: rsum") && output.stderr.contains("(from an earlier fit)")
    );
    assert_eq!(output.stderr.matches("from an earlier fit").count(), 1, "{}", output.stderr);
}

/// The page says which row is best, by how much, and whether its merge may be trusted; it loads nothing.
#[test]
fn the_page_says_which_row_is_best_and_whether_to_trust_it() {
    let sandbox = sandbox();
    fit(&sandbox, "mean-vector", "old <run>");
    let swap = ["--swap", "align.plugin=procrustes,ridge", "--pairs", "10,50", "-o", "compared"];
    let arguments = [&["recipe.toml", "--baseline", "old <run>"][..], &swap].concat();
    let found = report(&sandbox, &arguments);
    let output = sandbox.good(&["report", "compared", "-o", "page.html", "--format", "json"]);
    let output: Value = serde_json::from_str(&output).unwrap();
    let html = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert_eq!(std::fs::read_to_string(sandbox.path("compared/report.html")).unwrap(), html);
    let escaped = |text: &str| text.replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#x27;");
    for sentence in found["summary"].as_array().unwrap() {
        assert!(html.contains(&escaped(sentence.as_str().unwrap())), "{sentence}");
    }
    let best = found["best"].as_str().unwrap();
    assert!(found["best_run"] == "best" && html.contains(&format!("<title>{best} is best of 5")), "{best}");
    // The verdict is that of the run of the best row.
    let own = sandbox.good(&["report", "compared/best", "-o", "own.html", "--format", "json"]);
    let own: Value = serde_json::from_str(&own).unwrap();
    assert_eq!(own["trust"], output["trust"]);
    assert!(html.contains(&escaped(own["verdict"].as_str().unwrap())), "{own}");
    for section in ["result", "differences", "pairs", "directions", "trust", "method", "reproduce"] {
        assert!(html.contains(&format!("<section id=\"{section}\"><h2>")), "{section}");
        assert!(html.contains(&format!("<a href=\"#{section}\">")), "{section}");
    }
    assert_eq!(html.matches("<svg role").count(), 3, "values, differences and the curve");
    assert!(html.contains("old &lt;run&gt;") && !html.contains("<run>"));
    assert!(!html.contains("<script") && !html.contains(" src=") && html.contains("default-src 'none'"));
    assert!(!html.contains("NaN") && !html.contains("http:") && !html.contains("https:"));
    let difference = number(&row(&found, "ridge")["difference"]["mean"]);
    assert!(html.contains(&format!("{difference:+.3}")), "{difference}");
    // The command of a row makes the run of that row.
    assert!(html.contains("chiasm fit &#x27;recipe.toml&#x27; --set &#x27;align.plugin=ridge&#x27; -o run"));
    sandbox.write("compared/comparison.json", "{}");
    sandbox.refused(&["report", "compared", "-o", "page.html"], &["comparison.json", "compare again"]);
}
