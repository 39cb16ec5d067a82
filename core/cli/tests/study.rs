//! `chiasm tune` and `chiasm ablate`: they resume, they do not read test rows, and their tables.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, npy};
use serde_json::Value;
use std::path::PathBuf;

const ROWS: usize = 300;
const OVER: &str = "align.tau=0.01..0.5:log,align.hidden=0..32";
const TUNE: [&str; 6] = ["tune", "recipe.toml", "--format", "json", "--over", OVER];

/// Writes two files of vectors with three common factors; every fifth row is a test row. `garbage` replaces
/// the vectors of the test rows by others.
fn data(sandbox: &Sandbox, garbage: bool) -> PathBuf {
    let mut numbers = RandomNumbers(3);
    let waves: Vec<[f32; 4]> = (0..14).map(|_| [(); 4].map(|()| numbers.next())).collect();
    let (mut a, mut b, mut pairs) = (Vec::new(), Vec::new(), String::new());
    let mut noise = RandomNumbers(8);
    for row in 0..ROWS {
        let test = row % 5 == 0;
        let cause = [(); 3].map(|()| numbers.next());
        for (column, wave) in waves.iter().enumerate() {
            let phase = wave[0] * cause[0] + wave[1] * cause[1] + wave[2] * cause[2];
            let value = (2.0 * phase + wave[3]).sin() + 0.3 * numbers.next();
            let value = if garbage && test { 5.0 * noise.next() } else { value };
            if column < 8 { &mut a } else { &mut b }.push(value);
        }
        let split = if test { "test" } else { "train" };
        pairs.push_str(&format!("{{\"id\": {row}, \"a\": {row}, \"b\": {row}, \"split\": \"{split}\"}}\n"));
    }
    sandbox.write("a.npy", npy(ROWS, 8, &a));
    sandbox.write("b.npy", npy(ROWS, 6, &b));
    sandbox.write("pairs.jsonl", pairs);
    sandbox.write(
        "recipe.toml",
        "[encoders.a]\nvectors = \"a.npy\"\n[encoders.b]\nvectors = \"b.npy\"\n\
         [data]\npairs = \"pairs.jsonl\"\nsplit = \"split\"\n\
         [align]\nplugin = \"mlp\"\nhidden = 8\nmembers = 1\nsteps = 20\nblend = 0.5\n\
         terms.paired_mse = 0.1\n",
    )
}

fn tune(sandbox: &Sandbox, output: &str, trials: &str) -> Value {
    let text = sandbox.good(&[&TUNE[..], &["-o", output, "--trials", trials]].concat());
    serde_json::from_str(&text).unwrap()
}

/// Returns the report without durations.
fn without_seconds(mut report: Value) -> Value {
    for key in ["trials", "fits"] {
        for one in report[key].as_array_mut().into_iter().flatten() {
            one["seconds"] = Value::Null;
        }
    }
    report["best_recipe"] = Value::Null;
    report
}

#[test]
fn a_tuning_does_not_read_the_test_rows() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    data(&sandbox, false);
    data(&other, true);
    let (found, garbage) = (tune(&sandbox, "tuned", "6"), tune(&other, "tuned", "6"));
    let lines = |sandbox: &Sandbox| -> Vec<String> {
        let text = std::fs::read_to_string(sandbox.path("tuned/trials.jsonl")).unwrap();
        text.lines().map(|line| line.split(",\"seconds\"").next().unwrap().to_owned()).collect()
    };
    assert_eq!(lines(&sandbox), lines(&other), "settings and scores are those of the other training rows");
    assert_eq!(found["best"], garbage["best"]);
    let best = |sandbox: &Sandbox| std::fs::read(sandbox.path("tuned/best.toml")).unwrap();
    assert_eq!(best(&sandbox), best(&other));
    assert_ne!(found["test"]["own"], garbage["test"]["own"], "only the last comparison reads them");
    assert_eq!(found["validation_rows"], ROWS * 4 / 5 / 5);
    assert!(sandbox.good(&["plan", "tuned/best.toml"]).contains("mlp"));
}

#[test]
fn an_interrupted_tuning_ends_with_the_same_result() {
    let sandbox = Sandbox::new();
    data(&sandbox, false);
    let whole = tune(&sandbox, "whole", "6");
    tune(&sandbox, "half", "3");
    let path = sandbox.path("half/trials.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{{\"trial\": 3, \"sett")).unwrap();
    let resumed = tune(&sandbox, "half", "6");
    assert_eq!(without_seconds(whole), without_seconds(resumed.clone()));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with(&text), "finished trials are not repeated");
    assert_eq!(resumed["trials"].as_array().unwrap().len(), 6);

    let arguments = [&TUNE[..], &["-o", "half", "--set", "align.steps=21"]].concat();
    sandbox.refused(&arguments, &["differs in --set", "choose another folder"]);
    let mut other = TUNE;
    other[5] = "align.tau=0.01..0.5";
    sandbox.refused(&[&other[..], &["-o", "half"]].concat(), &["differs in --over"]);
    sandbox
        .write("recipe.toml", std::fs::read_to_string(sandbox.path("recipe.toml")).unwrap() + "batch = 64\n");
    sandbox.refused(&[&TUNE[..], &["-o", "half"]].concat(), &["differs in the recipe"]);
}

#[test]
fn choices_of_the_aligner_leave_out_the_parameters_of_others() {
    let sandbox = Sandbox::new();
    data(&sandbox, false);
    let over = "align.plugin=mlp|procrustes,align.tau=0.01..0.5:log";
    let text = sandbox.good(&[
        "tune",
        "recipe.toml",
        "--over",
        over,
        "--trials",
        "6",
        "-o",
        "tuned",
        "--folds",
        "2",
    ]);
    assert!(text.contains("procrustes") && text.contains("mean map"), "{text}");
    for (over, words) in [
        ("align.tua=0..1", "not a parameter of mlp"),
        ("align.tau=0..5", "`align.tau`: expected a number from"),
        ("align.plugin=mlp|nothing", "nothing"),
        ("data.pairs=x|y", "cannot be tuned"),
    ] {
        sandbox.refused(&["tune", "recipe.toml", "--over", over, "-o", "other"], &[words]);
        assert!(!sandbox.path("other").exists());
    }
}

/// The changes of an ablation. The recipe has two terms.
const ABLATE: [&str; 14] = [
    "ablate",
    "recipe.toml",
    "--format",
    "json",
    "--baselines",
    "procrustes,mlp",
    "--set-each",
    "align.d_z=2,3",
    "--swap-encoder",
    "b=a.npy",
    "-o",
    "ablation",
    "--pairs",
    "40,120",
];

fn ablate(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.good(&ABLATE)).unwrap()
}

#[test]
fn an_ablation_compares_every_change_with_the_recipe() {
    let sandbox = Sandbox::new();
    data(&sandbox, false);
    let report = ablate(&sandbox);
    let fits = report["fits"].as_array().unwrap();
    let names: Vec<String> =
        fits.iter().map(|fit| format!("{} {}", fit["kind"], fit["change"]).replace('"', "")).collect();
    let changes = "recipe mlp, term without infonce, term without paired_mse, baseline procrustes, \
                   baseline mlp, pairs 40, pairs 120, set align.d_z=2, set align.d_z=3, encoder b=a.npy";
    assert_eq!(names.join(", "), changes);
    let score = |name: &str| {
        let at = names.iter().position(|own| own == name).unwrap();
        fits[at]["score"].as_f64().unwrap()
    };
    // Fewer pairs and fewer dimensions than factors find less; a modality finds itself.
    let whole = score("recipe mlp");
    assert!(score("pairs 40") < whole && score("set align.d_z=2") < whole, "{fits:?}");
    assert!(score("encoder b=a.npy") > 0.99);
    for fit in &fits[1..] {
        let interval = &fit["difference"]["interval"];
        let [mean, low, high] =
            [&fit["difference"]["mean"], &interval[0], &interval[1]].map(|value| value.as_f64().unwrap());
        let difference = fit["score"].as_f64().unwrap() - whole;
        assert!((mean - difference).abs() < 1e-9, "{fit}");
        assert!(low <= mean && mean <= high, "{fit}");
    }
    let csv = std::fs::read_to_string(sandbox.path("ablation/ablation.csv")).unwrap();
    assert!(csv.starts_with("kind,change,map,difference,low,high,seconds,error\nrecipe,mlp,"), "{csv}");
}

#[test]
fn an_interrupted_ablation_ends_with_the_same_result() {
    let sandbox = Sandbox::new();
    data(&sandbox, false);
    let mut too_many = ABLATE;
    too_many[13] = "40,1000";
    sandbox.refused(&too_many, &["--pairs expects 1 to 240"]);
    let report = ablate(&sandbox);
    let path = sandbox.path("ablation/fits.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: String = text.split_inclusive('\n').take(3).collect();
    std::fs::write(&path, &kept).unwrap();
    assert_eq!(without_seconds(report), without_seconds(ablate(&sandbox)));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with(&kept), "finished fits are not repeated");
}

/// The pages show every fit with its score, are complete without a script, and load nothing.
#[test]
fn a_study_has_a_report() {
    let sandbox = Sandbox::new();
    data(&sandbox, false);
    let page = |folder: &str| {
        let said = sandbox.good(&["report", folder, "-o", "report.html"]);
        let html = std::fs::read_to_string(sandbox.path("report.html")).unwrap();
        assert!(!html.contains("<script") && !html.contains("http:") && !html.contains("https:"), "{html}");
        assert!(html.contains("<svg") && html.contains("default-src 'none'"));
        (said, html)
    };
    let tuned = tune(&sandbox, "tuned", "5");
    let (said, html) = page("tuned");
    let shown = |value: &Value| format!("{:.3}", value.as_f64().unwrap());
    let words = format!("on the test rows, and the recipe's own {}", shown(&tuned["test"]["own"]));
    let none = "was better than the recipe's own on the validation rows";
    assert!(said.contains(&words) || said.contains(none), "{said}");
    for trial in tuned["trials"].as_array().unwrap() {
        assert!(html.contains(&format!("<td class=\"n\">{}</td>", shown(&trial["score"]))), "{trial}");
    }
    assert!(html.contains("align.tau") && html.contains("best.toml"), "{html}");

    let ablation = ablate(&sandbox);
    let (said, html) = page("ablation");
    let own = shown(&ablation["fits"][0]["score"]);
    assert!(said.contains(&format!("The recipe has map {own}")), "{said}");
    // A swapped encoder finds itself.
    assert!(said.contains("encoder b=a.npy is better"), "{said}");
    for fit in ablation["fits"].as_array().unwrap() {
        assert!(html.contains(fit["change"].as_str().unwrap()), "{fit}");
    }
    assert!(html.contains("map over the number of training pairs"));

    sandbox.write("tuned/tuning.json", "{");
    sandbox.refused(&["report", "tuned", "-o", "r.html"], &["tuning.json", "run the study again"]);
    std::fs::remove_file(sandbox.path("tuned/tuning.json")).unwrap();
    sandbox.refused(&["report", "tuned", "-o", "r.html"], &["has not finished", "run the study again"]);
}
