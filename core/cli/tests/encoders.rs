//! Encoders as exporters write them: each kind works, with the vectors that NumPy computes, or is refused
//! before anything is embedded. `peer/encoders` makes the models and their vectors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, peers, project};
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::Command;

/// Both sides compute with single precision; centring on the mean enlarges a difference some ten times.
const LEAST_COSINE: f64 = 0.9999;
/// What a message of the engine has and one of this project has not.
const ENGINE_WORDS: [&str; 5] =
    ["Non-zero status code", "onnxruntime::", "ShapeInferenceError", "Status Message", "ONNXRuntimeError"];

/// A kind of encoder, as the script describes it.
#[derive(Deserialize)]
struct EncoderKind {
    kind: String,
    what: String,
    takes: String,
    add: Vec<String>,
    /// The model's folder, from that of the kind.
    path: String,
    /// What a plan tells about the items.
    told: Option<String>,
    /// The vector of each row.
    vectors: Option<Vec<Vec<f64>>>,
    /// Words of the message that refuses it.
    #[serde(default)]
    refused: Vec<String>,
    /// The command that refuses it.
    by: Option<String>,
}

impl EncoderKind {
    /// Its name as a modality.
    fn modality(&self) -> String {
        self.kind.replace('-', "_")
    }
}

/// Makes every kind of encoder, and their data.
fn made(sandbox: &Sandbox) -> Vec<EncoderKind> {
    let script = project().join("core/cli/tests/peer/encoders");
    let peer = Command::new(peers())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(sandbox.path(""))
        .output()
        .unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    serde_json::from_slice(&peer.stdout).unwrap()
}

fn one_line(output: &CommandOutput) -> String {
    output.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ")
}

/// Adds and plans an encoder; returns what is wrong with the outcome.
fn planned(sandbox: &Sandbox, kind: &EncoderKind) -> Result<(), String> {
    let folder = format!("{}/{}", kind.kind, kind.path);
    let mut arguments = vec!["model", "add", &folder, "--name", &kind.kind, "--into", "cards"];
    arguments.extend(kind.add.iter().map(String::as_str));
    let added = sandbox.call(&arguments);
    if kind.by.as_deref() == Some("add") || added.code != Some(0) {
        return outcome(kind, "add", &added);
    }
    sandbox.write("one.toml", recipe(std::iter::once(kind)));
    outcome(kind, "plan", &sandbox.call(&["plan", "one.toml", "--models", "cards"]))
}

/// Compares the outcome of the last command with what is expected of the kind.
fn outcome(kind: &EncoderKind, command: &str, output: &CommandOutput) -> Result<(), String> {
    let message = one_line(output);
    let expected = match kind.by.as_deref() {
        Some(by) => by == command && output.code == Some(2),
        None => output.code == Some(0),
    };
    let words = kind.refused.iter().chain(&kind.told);
    let lacking: Vec<&String> = words.filter(|word| !message.contains(*word)).collect();
    let raw = ENGINE_WORDS.iter().any(|word| message.contains(word));
    match expected && lacking.is_empty() && !raw {
        true => Ok(()),
        false => Err(format!("{}: `{command}` ended with {:?}: {message}", kind.kind, output.code)),
    }
}

/// Returns the recipe that pairs encoders with vectors.
fn recipe<'a>(kinds: impl Iterator<Item = &'a EncoderKind>) -> String {
    let table = |kind: &EncoderKind| {
        format!("[encoders.{}]\nmodel = \"{}\"\ncolumn = \"{}\"\n", kind.modality(), kind.kind, kind.takes)
    };
    kinds.map(table).collect::<String>()
        + "[encoders.vector]\nvectors = \"vectors.npy\"\n[data]\npairs = \"pairs.jsonl\"\n[align]\nplugin = \
           \"mean-vector\"\n"
}

/// The map of `mean-vector`: rows of length one, less their mean over the training rows, and again of length
/// one.
fn mapped(vectors: &[Vec<f64>], training: &[usize]) -> Vec<Vec<f64>> {
    let unit = |row: &Vec<f64>| -> Vec<f64> {
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter().map(|value| value / length).collect()
    };
    let rows: Vec<Vec<f64>> = vectors.iter().map(unit).collect();
    let mean = |at: usize| training.iter().map(|row| rows[*row][at]).sum::<f64>() / training.len() as f64;
    let mean: Vec<f64> = (0..rows[0].len()).map(mean).collect();
    rows.iter().map(|row| unit(&row.iter().zip(&mean).map(|(a, b)| a - b).collect())).collect()
}

/// Fits encoders together, runs every row through the merged model, and returns the kinds whose vectors
/// differ from the expected ones.
fn different(sandbox: &Sandbox, kinds: &[&EncoderKind], takes: &str) -> Vec<String> {
    let kinds: Vec<&&EncoderKind> = kinds.iter().filter(|kind| kind.takes == takes).collect();
    sandbox.write("all.toml", recipe(kinds.iter().map(|kind| **kind)));
    let run = format!("run-{takes}");
    let fitted = sandbox.call(&["fit", "all.toml", "--models", "cards", "-o", &run]);
    assert!(sandbox.path(&run).join("manifest.json").is_file(), "{}", fitted.stderr);
    let rows = std::fs::read_to_string(sandbox.path("pairs.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let item = |row: &Value| {
        let own = kinds.iter().map(|kind| (kind.modality(), row[takes].clone()));
        format!("{}\n", json!(own.collect::<serde_json::Map<_, _>>()))
    };
    sandbox.write("items.jsonl", rows.iter().map(item).collect::<String>());
    let out = sandbox.good(&["run", &run, "--input", "items.jsonl", "--format", "json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    let training: Vec<usize> = (0..rows.len()).filter(|row| rows[*row]["split"] == "train").collect();
    let mut wrong = Vec::new();
    for kind in kinds {
        let got: Vec<Vec<f64>> =
            serde_json::from_value(out["outputs"][format!("{}_embeds", kind.modality())].clone()).unwrap();
        let expected = mapped(kind.vectors.as_ref().unwrap(), &training);
        for (row, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let cosine: f64 = got.iter().zip(expected).map(|(a, b)| a * b).sum();
            if cosine.is_nan() || cosine < LEAST_COSINE {
                wrong.push(format!("{}: row {row} has the cosine {cosine}", kind.kind));
            }
        }
    }
    wrong
}

/// The table of the page, from the kinds.
fn page(kinds: &[EncoderKind]) -> String {
    let mut table = String::from("| what | outcome |\n|---|---|\n");
    for kind in kinds {
        let outcome = match kind.by.as_deref() {
            None => "works".to_owned(),
            Some("add") => "refused by `chiasm model add`".to_owned(),
            Some(_) => "refused by `chiasm plan`".to_owned(),
        };
        let kind_of = if kind.takes == "text" { "text" } else { "picture" };
        table.push_str(&format!("| {kind_of}: {} | {outcome} |\n", kind.what));
    }
    table
}

#[test]
fn every_kind_of_encoder_works_or_is_refused_before_it_is_embedded() {
    let sandbox = Sandbox::new();
    let kinds = made(&sandbox);
    let mut wrong: Vec<String> = kinds.iter().filter_map(|kind| planned(&sandbox, kind).err()).collect();
    let failed = |kind: &&EncoderKind| wrong.iter().any(|line| line.starts_with(&format!("{}:", kind.kind)));
    let works: Vec<&EncoderKind> =
        kinds.iter().filter(|kind| kind.vectors.is_some() && !failed(kind)).collect();
    for takes in ["text", "image"] {
        let found = different(&sandbox, &works, takes);
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{} of {} kinds:\n{}", wrong.len(), kinds.len(), wrong.join("\n"));
    let path = project().join("adapters/README.md");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = whole.split_once("<!-- kinds -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of kinds -->").unwrap();
    let current = format!("{before}<!-- kinds -->\n{}<!-- end of kinds -->{after}", page(&kinds));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert!(current == whole, "adapters/README.md is out of date: run this test with UPDATE_GOLDEN=1");
}
