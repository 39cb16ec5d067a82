//! `data.shards`: training rows in Parquet files that are summed, against the same rows in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json, peers};
use serde_json::Value;
use std::process::Command;

/// The rows of the files of vectors, of which every fifth is a test row.
const HELD: usize = 100;
/// The rows of the shards.
const SHARDED: usize = 600;

/// Writes rows of two modalities that share four latent dimensions: the first [`HELD`] as `a.npy` and
/// `b.npy`, the others as one Parquet file and as a folder of seven, and all of them as `all-a.npy` and
/// `all-b.npy` with `pairs.jsonl`.
const ROWS: &str = r#"
import json, os, numpy as np, pyarrow as pa, pyarrow.parquet as pq
HELD, SHARDED = 100, 600
rng = np.random.default_rng(3)
z = rng.normal(size=(HELD + SHARDED, 4))
a = (z @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(len(z), 12)) + 0.5).astype("f4")
b = (np.tanh(z @ rng.normal(size=(4, 9))) + 0.3 * rng.normal(size=(len(z), 9))).astype("f4")
for name, rows in (("a", a), ("b", b)):
    np.save(name + ".npy", rows[:HELD])
    np.save("all-" + name + ".npy", rows)
with open("pairs.jsonl", "w") as pairs:
    for row in range(len(z)):
        split = "test" if row < HELD and row % 5 == 0 else "train"
        print(json.dumps({"id": row, "a": row, "b": row, "split": split}), file=pairs)
fixed = lambda rows: pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
lists = lambda rows: pa.array(list(rows.astype("f8")))
def table(rows, column):
    return pa.table({"b": column(b[rows]), "note": ["?"] * len(a[rows]), "a": column(a[rows])})
pq.write_table(table(slice(HELD, None), fixed), "one.parquet")
os.mkdir("seven")
edges = [HELD, HELD + 1, 250, 250, 333, 600, 650, 700]
for at, (start, end) in enumerate(zip(edges, edges[1:])):
    column = lists if at % 2 and end > start else fixed
    pq.write_table(table(slice(start, end), column), f"seven/{at}.parquet", row_group_size=40)
open("seven/README.md", "w").write("not a shard")
for name, rows in {"narrow": a[:9, :3], "short": b[:9]}.items():
    pq.write_table(pa.table({"a": fixed(rows), "b": fixed(b[:9])}), name + ".parquet")
bad = a[:9].copy(); bad[7, 2] = np.nan
pq.write_table(pa.table({"a": fixed(bad), "b": fixed(b[:9])}), "nan.parquet")
pq.write_table(pa.table({"a": fixed(a[:9])}), "lacking.parquet")
pq.write_table(pa.table({"a": pa.array([[1.0] * 12, None]), "b": fixed(b[:2])}), "null.parquet")
os.mkdir("empty")
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", ROWS]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox
}

/// Writes a recipe of two files of vectors.
fn recipe(sandbox: &Sandbox, vectors: &str, data: &str, align: &str) {
    let text = format!(
        "[encoders.a]\nvectors = \"{vectors}a.npy\"\n[encoders.b]\nvectors = \"{vectors}b.npy\"\n\
         [data]\n{data}\n[align]\n{align}\n"
    );
    sandbox.write("recipe.toml", text);
}

/// The scores of some items of `a` with some of `b`, and the number of training rows.
fn fitted(sandbox: &Sandbox, name: &str) -> (Vec<f64>, Value) {
    let called = sandbox.call(&["fit", "recipe.toml", "-o", name]);
    let manifest = sandbox.path(&format!("{name}/manifest.json"));
    assert!(manifest.is_file(), "{}", called.stderr);
    let rows: Vec<String> = (0..HELD).step_by(3).map(|row| row.to_string()).collect();
    let flags = |name: &'static str| rows.iter().flat_map(move |row| [name, row.as_str()]);
    let flags: Vec<&str> = flags("--a").chain(flags("--b")).collect();
    let outputs = json(&sandbox.good(&[&["run", name, "--format", "json"], &flags[..]].concat()));
    let embeds =
        |name: &str| -> Vec<Vec<f64>> { serde_json::from_value(outputs["outputs"][name].clone()).unwrap() };
    let (a, b) = (embeds("a_embeds"), embeds("b_embeds"));
    let score = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum();
    let scores = a.iter().flat_map(|a| b.iter().map(move |b| score(a, b))).collect();
    let manifest = json(&std::fs::read_to_string(manifest).unwrap());
    (scores, manifest["rows"]["train"].clone())
}

/// The same statistics are summed in another order, and embeddings have single precision: 2e-6 of unit rows.
#[test]
fn rows_of_shards_are_fitted_as_rows_in_memory() {
    let sandbox = sandbox();
    for (at, align) in [
        "plugin = \"cca\"\ncurve = \"unit\"\nridge = 0.1\ndimensions = 4\npower = 1.0\nmembers = 1",
        "plugin = \"ridge\"\nridge = 0.1\nonto = \"a\"\ncurve = { a = \"unit\", b = \"signed-root\" }",
        "plugin = \"procrustes\"\ndimensions = 4\ncurve = \"signed-root\"",
        "plugin = \"procrustes\"\nanchor = \"a\"\ndimensions = 5\ncurve = \"unit\"",
    ]
    .into_iter()
    .enumerate()
    {
        recipe(&sandbox, "all-", "pairs = \"pairs.jsonl\"", align);
        let (expected, rows) = fitted(&sandbox, &format!("memory{at}"));
        for shards in ["one.parquet", "seven"] {
            recipe(&sandbox, "", &format!("shards = \"{shards}\""), align);
            let (found, summed) = fitted(&sandbox, &format!("{shards}{at}"));
            assert_eq!((&summed, summed.as_u64()), (&rows, Some((HELD * 4 / 5 + SHARDED) as u64)));
            let gap = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(gap < 2e-6, "{shards}, {align}: scores differ by up to {gap}");
        }
    }
}

#[test]
fn choices_do_not_depend_on_the_files_and_another_file_is_another_fit() {
    let sandbox = sandbox();
    let fit = |shards: &str| {
        recipe(&sandbox, "", &format!("shards = \"{shards}\""), "plugin = \"procrustes\"");
        fitted(&sandbox, &format!("run-{shards}")).0
    };
    let (one, seven) = (fit("one.parquet"), fit("seven"));
    let gap = one.iter().zip(&seven).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(gap < 2e-6, "scores differ by up to {gap}");
    let again = sandbox.call(&["fit", "recipe.toml", "-o", "run-seven"]);
    assert!(again.stdout.contains("up to date") || again.stderr.contains("up to date"), "{}", again.stdout);
    std::fs::remove_file(sandbox.path("seven/4.parquet")).unwrap();
    let (_, rows) = fitted(&sandbox, "run-seven");
    assert_eq!(rows.as_u64(), Some((HELD * 4 / 5 + SHARDED - 267) as u64));
}

#[test]
fn what_cannot_be_summed_is_refused() {
    let sandbox = sandbox();
    let align = "plugin = \"ridge\"\ncurve = \"unit\"";
    for (shards, words) in [
        ("nothing.parquet", "nothing.parquet"),
        ("empty", "no file ends in .parquet"),
        ("lacking.parquet", "column `b` is not one of its columns of float lists"),
        ("narrow.parquet", "column `a`: expected vectors of 12 numbers, got 3"),
        ("short.parquet", "column `a`: expected vectors of 12 numbers, got 9"),
        ("nan.parquet", "column `a`, row 7: NaN or infinity"),
        ("null.parquet", "column `a`, row 1: expected numbers, got a null"),
        ("recipe.toml", "the file is damaged"),
    ] {
        recipe(&sandbox, "", &format!("shards = \"{shards}\""), align);
        let called = sandbox.call(&["fit", "recipe.toml", "-o", "run"]);
        assert_ne!(called.code, Some(0), "{shards}");
        called.refused(shards, &[words]);
        sandbox.assert_no_run(shards);
    }
    recipe(&sandbox, "", "shards = \"seven\"", "plugin = \"mlp\"");
    sandbox.refused(&["fit", "recipe.toml", "-o", "run"], &["\"mlp\" needs all training rows in memory"]);
    recipe(&sandbox, "all-", "pairs = \"pairs.jsonl\"\nshards = \"seven\"", align);
    let pairs = std::fs::read_to_string(sandbox.path("pairs.jsonl")).unwrap();
    sandbox.write("pairs.jsonl", pairs.replacen("train", "validation", 2));
    sandbox.refused(&["fit", "recipe.toml", "-o", "run"], &["does not go with validation rows"]);
    sandbox.write("pairs.jsonl", pairs.replacen("\"a\": 1,", "\"a\": null,", 1));
    sandbox.refused(
        &["fit", "recipe.toml", "-o", "run"],
        &["every training row has one item of each modality", "\"a\" or \"b\""],
    );
}
