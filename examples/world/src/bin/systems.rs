//! `systems`: fits the systems and their baselines on benchmarks of several seeds, and prints one table.

use clap::Parser;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use world::benchmark::{BenchmarkSettings, Geometry, write_benchmark};

/// Fit systems and baselines on benchmarks of several seeds, and print their mean scores. Fits that are up to
/// date are not repeated.
#[derive(Parser)]
struct Options {
    /// The `chiasm` binary.
    #[arg(long, default_value = "target/debug/chiasm")]
    chiasm: PathBuf,
    /// Folder of the benchmarks and the run folders.
    #[arg(long, default_value = "target/systems")]
    out: PathBuf,
    /// Number of benchmarks.
    #[arg(long, default_value_t = 16)]
    seeds: u64,
    /// Rows of a benchmark.
    #[arg(long, default_value_t = 3000)]
    rows: usize,
    /// Number of modalities, 2 to 4.
    #[arg(long, default_value_t = 2)]
    modalities: usize,
    /// Probability that a training row lacks a modality.
    #[arg(long, default_value_t = 0.45)]
    missing: f64,
    /// Curvature of the manifolds.
    #[arg(long, default_value_t = 1.0)]
    curvature: f64,
    /// Names of the systems to fit; all if none is given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The baseline that the systems are compared with.
const BASELINE: &str = "infonce";

/// The name of each system and the keys of its recipe. Trained maps are returned as they are, not averaged
/// with their start, so that the losses are compared. The weight of `geometric` was chosen among 1, 2, 3 and
/// 10 on the seeds 101 to 108, which are not among the seeds of the table.
const SYSTEMS: &[(&str, &[&str])] = &[
    ("procrustes", &["align.plugin=procrustes"]),
    ("cca", &["align.plugin=cca"]),
    ("tensor-cca", &["align.plugin=tensor-cca"]),
    (BASELINE, &["align.plugin=mlp", "align.blend=1.0"]),
    ("gram", &["align.plugin=mlp", "align.blend=1.0", "align.terms.infonce=0", "align.terms.gram_volume=1"]),
    ("geometric", &["align.plugin=geometric", "align.lambda_ga=1.0", "align.blend=1.0"]),
    ("hybrid-riemannian", &["align.plugin=hybrid-riemannian", "align.blend=1.0"]),
    (
        "hybrid-riemannian anchored",
        &["align.plugin=hybrid-riemannian", "align.blend=1.0", "align.anchor=\"picture\""],
    ),
    ("gotma", &["align.plugin=gotma", "align.blend=1.0"]),
    ("ot-align-merge", &["align.plugin=ot-align-merge", "align.blend=1.0"]),
    ("geometry-warping", &["align.plugin=geometry-warping", "align.train=true"]),
];

/// The columns of the table: the name, and whether a higher value is better.
const COLUMNS: &[(&str, bool)] = &[
    ("R@1", true),
    ("R@1 a->b", true),
    ("R@1 b->a", true),
    ("MAP", true),
    ("W2", false),
    ("mutual kNN", true),
    ("geodesics", false),
    ("curvature", false),
    ("FOSCTTM", false),
    ("MCC", true),
    ("R2", true),
    ("failed checks", false),
    ("s", false),
    ("MB", false),
    ("loss, noise", false),
    ("loss, missing", false),
];

/// The measures of aligned spaces, in the order of their columns.
const GEOMETRY: [&str; 4] = ["w2_exact", "mutual_knn", "geodesic_distortion", "curvature_mismatch"];

/// The sweeps of test items whose losses are the last columns: the share, and the standard deviation of the
/// noise relative to that of a column.
const SWEEPS: [&str; 2] = ["corruption", "missing"];
const SHARE: f64 = 0.5;
const NOISE: f64 = 1.0;

type Scores = Vec<f64>;

fn main() -> ExitCode {
    match table(&Options::parse()) {
        Ok(table) => {
            let _ = write!(std::io::stdout(), "{table}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::from(2)
        }
    }
}

/// Fits everything and returns the table in Markdown.
fn table(options: &Options) -> Result<String, String> {
    let mut found: BTreeMap<&str, Vec<Scores>> = BTreeMap::new();
    let asked = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    // measured scores are kept, so every benchmark has a folder of its own
    let Options { rows, modalities, missing, curvature, .. } = options;
    let benchmark = format!("{modalities}-modalities-{rows}-rows-{missing}-missing-{curvature}-curvature");
    for seed in 1..=options.seeds {
        let folder = options.out.join(&benchmark).join(format!("seed-{seed}"));
        let settings = BenchmarkSettings {
            rows: options.rows,
            seed,
            geometries: Geometry::ALL.iter().copied().take(options.modalities).collect(),
            curvature: options.curvature,
            missing: options.missing,
            ..BenchmarkSettings::default()
        };
        let report = write_benchmark(&settings, &folder).map_err(|error| error.to_string())?;
        let sweeps = sweep_keys(report.modalities.iter().map(|modality| modality.name.as_str()));
        for (name, keys) in SYSTEMS.iter().filter(|(name, _)| asked(name)) {
            let keys = keys.iter().map(|key| (*key).to_owned()).chain(sweeps.clone()).collect::<Vec<_>>();
            let scores = scores(options, &folder, name, &keys)?;
            let _ = writeln!(std::io::stderr(), "seed {seed}, {name}: {scores:.3?}");
            found.entry(name).or_default().push(scores);
        }
    }
    let mut text = String::new();
    let header: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!("| method | {} |\n|---|{}\n", header.join(" | "), "--:|".repeat(header.len())));
    for (name, _) in SYSTEMS {
        let Some(seeds) = found.get(name) else { continue };
        let cells = (0..COLUMNS.len()).map(|column| cell(seeds, found.get(BASELINE), column));
        text.push_str(&format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    Ok(text)
}

/// Fits one system and measures it, unless the run is there.
fn scores(options: &Options, folder: &Path, name: &str, keys: &[String]) -> Result<Scores, String> {
    let run = folder.join(name);
    let saved = folder.join(format!("{name}.json"));
    let read_saved = |bytes: Vec<u8>| serde_json::from_slice::<Scores>(&bytes).ok();
    // scores with other columns were written by an earlier version
    if let Some(scores) = std::fs::read(&saved).ok().and_then(read_saved).filter(|s| s.len() == COLUMNS.len())
    {
        return Ok(scores);
    }
    let sets = keys.iter().flat_map(|key| ["--set".to_owned(), key.clone()]);
    let mut fit: Vec<String> = ["-q", "fit"].map(str::to_owned).to_vec();
    fit.push(folder.join("recipe.toml").display().to_string());
    fit.extend(sets.chain(["-o".to_owned(), run.display().to_string(), "--force".to_owned()]));
    call(options, &fit)?;
    let timings = read(&run.join("timings.json"))?;
    let eval = [
        "-q".to_owned(),
        "eval".to_owned(),
        run.display().to_string(),
        "--truth".to_owned(),
        folder.join("latents.npy").display().to_string(),
        format!("--geometry={}", GEOMETRY.join(",")),
        "--format".to_owned(),
        "json".to_owned(),
    ];
    let metrics: Value = serde_json::from_str(&call(options, &eval)?).map_err(|error| error.to_string())?;
    let checks = read(&run.join("checks.json"))?;
    let mut scores = figures(&metrics)?;
    scores.push(checks["failed"].as_array().map_or(0.0, |failed| failed.len() as f64));
    scores.push(seconds(&timings)?);
    let bytes = std::fs::metadata(run.join("model.onnx")).map_err(|error| error.to_string())?.len();
    scores.push(bytes as f64 / 1e6);
    let robustness = read(&run.join("robustness.json"))?;
    for sweep in SWEEPS {
        scores.push(loss(&robustness, sweep)?);
    }
    std::fs::write(&saved, serde_json::to_vec(&scores).map_err(|error| error.to_string())?)
        .map_err(|error| format!("{}: {error}", saved.display()))?;
    Ok(scores)
}

/// The keys of a recipe whose fit also measures test items of which the share `SHARE` has noise, and test
/// rows of which that share lacks each modality.
fn sweep_keys<'a>(modalities: impl Iterator<Item = &'a str>) -> Vec<String> {
    let noise = modalities
        .map(|name| format!("robustness.corrupt.{name}={{ kind = \"noise\", strength = {NOISE:?} }}"));
    SWEEPS.iter().map(|sweep| format!("robustness.{sweep}=[{SHARE}]")).chain(noise).collect()
}

/// The seconds of all stages of a fit but the sweeps.
fn seconds(timings: &Value) -> Result<f64, String> {
    let stages: Vec<(String, f64)> =
        serde_json::from_value(timings.clone()).map_err(|error| format!("timings.json: {error}"))?;
    Ok(stages.iter().filter(|(stage, _)| stage != "robustness").map(|(_, seconds)| seconds).sum())
}

/// The share of recall@1 that the last point of a sweep of the recipe's aligner has lost, in percent.
fn loss(robustness: &Value, sweep: &str) -> Result<f64, String> {
    let curve = robustness["curves"].as_array().into_iter().flatten().find(|curve| curve["sweep"] == sweep);
    let point = curve.and_then(|curve| curve["points"].as_array()?.last());
    let lost = point.and_then(|point| point["recall@1"]["loss"].as_f64());
    lost.map(|lost| 100.0 * lost).ok_or_else(|| format!("robustness.json has no sweep named {sweep}"))
}

/// Runs the binary. Its exit code is 1 if a check failed, which the table shows.
fn call(options: &Options, arguments: &[String]) -> Result<String, String> {
    let output = Command::new(&options.chiasm).args(arguments).output().map_err(|error| {
        format!("{}: {error}; build it, or name it with --chiasm", options.chiasm.display())
    })?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("chiasm {}: {message}", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// The figures of `chiasm eval`, each a mean over directions or pairs of modalities.
fn figures(metrics: &Value) -> Result<Scores, String> {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let over = |table: &Value, key: &str| -> Vec<f64> {
        let entries = table.as_object().into_iter().flat_map(|table| table.values());
        entries
            .filter_map(|entry| entry.as_object()?.iter().find(|(own, _)| own.starts_with(key))?.1.as_f64())
            .collect()
    };
    let retrieval = &metrics["retrieval"];
    let one_way = |forward: bool| {
        let table = retrieval.as_object().into_iter().flatten();
        let ordered =
            table.filter(|(name, _)| name.split_once("->").is_some_and(|(a, b)| (a < b) == forward));
        mean(ordered.filter_map(|(_, scores)| scores["recall@1"].as_f64()).collect())
    };
    let both = [one_way(true), one_way(false)];
    let mut all = vec![(both[0] + both[1]) / 2.0, both[0], both[1], mean(over(retrieval, "map"))];
    all.extend(GEOMETRY.iter().map(|key| mean(over(&metrics["geometry"], key))));
    let known = &metrics["identifiability"];
    let pairs = known["foscttm"].as_object().into_iter().flat_map(|pairs| pairs.values());
    all.push(mean(pairs.filter_map(Value::as_f64).collect()));
    for key in ["mcc", "r2_kernel"] {
        let value = known["mean_of_modalities"][key].as_f64();
        all.push(value.ok_or_else(|| format!("chiasm eval returned no {key}"))?);
    }
    Ok(all)
}

/// The mean over seeds and its standard error. It is marked if it is better than the baseline's with p below
/// 0.01.
fn cell(seeds: &[Scores], baseline: Option<&Vec<Scores>>, column: usize) -> String {
    let of = |scores: &[Scores]| scores.iter().map(|scores| scores[column]).collect::<Vec<_>>();
    let own = of(seeds);
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    let sign = if COLUMNS[column].1 { 1.0 } else { -1.0 };
    let better = baseline.filter(|other| other.len() == own.len()).is_some_and(|other| {
        let differences: Vec<f64> =
            own.iter().zip(of(other)).map(|(own, other)| sign * (own - other)).collect();
        differences.iter().sum::<f64>() > 0.0 && sign_flip(&differences) < 0.01
    });
    let digits = if mean.abs() >= 10.0 { 1 } else { 3 };
    let text = format!("{mean:.digits$}");
    let text = if better { format!("**{text}**") } else { text };
    let variance = own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (own.len() as f64 - 1.0);
    let error = (variance / own.len() as f64).sqrt();
    if error > 0.0 { format!("{text} ± {error:.digits$}") } else { text }
}

/// The two-sided p-value of paired differences under all exchanges of their signs (Fisher 1935).
fn sign_flip(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    let flipped = |mask: u64| {
        let signed = differences.iter().enumerate().map(|(at, d)| if mask >> at & 1 == 1 { -d } else { *d });
        signed.sum::<f64>().abs()
    };
    let all = 1_u64 << differences.len().min(20);
    let extreme = (0..all).filter(|mask| flipped(*mask) >= observed - 1e-12).count();
    extreme as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With eight differences of one sign only two of 256 exchanges are as extreme.
    #[test]
    fn the_p_value_counts_exchanges_of_signs() {
        assert_eq!(sign_flip(&[1.0; 8]), 2.0 / 256.0);
        assert_eq!(sign_flip(&[1.0, -1.0]), 1.0);
        assert_eq!(sign_flip(&[3.0, 1.0]), 0.5);
    }

    /// The last point of the sweep that is asked for, not of the other one.
    #[test]
    fn the_loss_is_that_of_the_sweep_in_percent() {
        let point = |loss: f64| serde_json::json!({ "share": loss, "recall@1": { "loss": loss } });
        let points = |loss: f64| serde_json::json!([point(0.0), point(loss)]);
        let curve = |sweep: &str, loss: f64| serde_json::json!({ "sweep": sweep, "points": points(loss) });
        let found = serde_json::json!({ "curves": [curve("corruption", 0.25), curve("missing", 0.5)] });
        assert_eq!(SWEEPS.map(|sweep| loss(&found, sweep)), [Ok(25.0), Ok(50.0)]);
        let error = loss(&serde_json::json!({ "curves": [] }), "missing").unwrap_err();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn every_modality_gets_noise_and_the_sweeps_are_no_seconds_of_the_fit() {
        let keys = sweep_keys(["picture", "table"].into_iter());
        assert_eq!(keys.len(), 4);
        assert_eq!(keys[3], "robustness.corrupt.table={ kind = \"noise\", strength = 1.0 }");
        let timings = serde_json::json!([["embed", 1.0], ["align", 2.5], ["robustness", 8.0]]);
        assert_eq!(seconds(&timings), Ok(3.5));
    }

    #[test]
    fn a_significantly_better_mean_is_marked() {
        let scores = |value: f64| -> Vec<Scores> {
            (0..8).map(|seed| vec![value + 0.002 * f64::from(seed); COLUMNS.len()]).collect()
        };
        let (better, baseline) = (scores(0.5), scores(0.4));
        // the standard error of 0, 0.002, ..., 0.014 is 0.0049 / sqrt(8)
        assert_eq!(cell(&better, Some(&baseline), 0), "**0.507** ± 0.002");
        // a lower value of W2 is better
        assert_eq!(cell(&better, Some(&baseline), 4), "0.507 ± 0.002");
        assert_eq!(cell(&baseline, Some(&better), 4), "**0.407** ± 0.002");
        assert_eq!(cell(&baseline[..1], None, 0), "0.400");
    }
}
