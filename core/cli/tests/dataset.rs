//! `chiasm run --input ROWS -o OUT.parquet`: blocks, shards, and commands that are stopped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json, peers};
use serde_json::{Value, json as object};
use std::process::{Command, Stdio};

/// Three blocks of 4096 rows and a part of a fourth.
const ROWS: usize = 13_000;
/// The rows of the file of vectors that the run was fitted on.
const VECTORS: usize = 40;

/// Fits a run on two files of vectors, and writes rows of both as JSON lines. Row i holds the vectors
/// i * 7 mod 40 and i * 11 mod 40.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.vectors([VECTORS, VECTORS]);
    sandbox.fit();
    let row = |i: usize| {
        let row = object!({ "id": format!("r{i}"), "a": i * 7 % VECTORS, "b": i * 11 % VECTORS });
        format!("{row}\n")
    };
    sandbox.write("rows.jsonl", (0..ROWS).map(row).collect::<String>());
    sandbox
}

/// Runs a Python program, whose only output is JSON.
fn python(sandbox: &Sandbox, program: &str) -> Value {
    let made = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", program]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap_or_default()
}

/// Reads every column of Parquet files, one after the other, as rows.
fn table(sandbox: &Sandbox, files: &[&str]) -> Vec<Value> {
    let program = format!(
        "import json, pyarrow as pa, pyarrow.parquet as pq\n\
         t = pa.concat_tables([pq.read_table(f) for f in {files:?}])\n\
         print(json.dumps(t.to_pylist()))"
    );
    serde_json::from_value(python(sandbox, &program)).unwrap()
}

fn run(sandbox: &Sandbox, input: &str, output: &str, more: &[&str]) -> String {
    let arguments = ["run", "run", "--input", input, "-o", output, "--format", "json"];
    sandbox.good(&[&arguments[..], more].concat())
}

#[test]
fn every_row_has_the_vectors_that_it_has_alone() {
    let sandbox = sandbox();
    let report = json(&run(&sandbox, "rows.jsonl", "out.parquet", &[]));
    assert_eq!(report["rows"], ROWS);
    assert_eq!(report["modalities"], object!(["a", "b"]));
    let rows = table(&sandbox, &["out.parquet"]);
    assert_eq!(rows.len(), ROWS);
    // The same vectors one by one, as JSON.
    let numbers: Vec<String> = (0..VECTORS).map(|row| row.to_string()).collect();
    let flags = |name: &'static str| numbers.iter().flat_map(move |number| [name, number.as_str()]);
    let flags: Vec<&str> = flags("--a").chain(flags("--b")).collect();
    let alone = json(&sandbox.good(&[&["run", "run", "--format", "json"], &flags[..]].concat()));
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row["id"], format!("r{i}"));
        for (name, factor) in [("a_embeds", 7), ("b_embeds", 11)] {
            let expected = alone["outputs"][name][i * factor % VECTORS].as_array().unwrap();
            let got = row[name].as_array().unwrap();
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(expected) {
                let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
                // Products of other sizes may sum in another order.
                assert!((got - expected).abs() < 1e-6, "row {i}, {name}: {got} is not {expected}");
            }
        }
    }
    assert!(!sandbox.path("out.parquet.parts").exists());
}

#[test]
fn shards_one_after_the_other_are_the_whole() {
    let sandbox = sandbox();
    run(&sandbox, "rows.jsonl", "whole.parquet", &[]);
    let whole = table(&sandbox, &["whole.parquet"]);
    for count in [2, 3, 7] {
        let files: Vec<String> = (1..=count).map(|number| format!("{number}-{count}.parquet")).collect();
        for (number, file) in files.iter().enumerate() {
            run(&sandbox, "rows.jsonl", file, &["--shard", &format!("{}/{count}", number + 1)]);
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        // Equal numbers, to the last bit: JSON holds the shortest text of each.
        assert!(table(&sandbox, &files) == whole, "{count} shards differ from the whole");
    }
    let one_thread = run(&sandbox, "rows.jsonl", "one.parquet", &["--threads", "1"]);
    assert_eq!(json(&one_thread)["rows"], ROWS);
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert!(bytes("one.parquet") == bytes("whole.parquet"), "the number of threads changes the file");
}

/// The same rows as Parquet, in row groups that end within blocks, give the same file. Without a column of
/// ids, rows are numbered from 1.
#[test]
fn parquet_and_json_lines_give_the_same_file() {
    let sandbox = sandbox();
    python(
        &sandbox,
        "import json, pyarrow as pa, pyarrow.parquet as pq\n\
         t = pa.Table.from_pylist([json.loads(l) for l in open('rows.jsonl')])\n\
         pq.write_table(t, 'rows.parquet', row_group_size=3000, compression='zstd')\n\
         pq.write_table(t.drop_columns(['id', 'b']), 'bare.parquet', row_group_size=100000)\n\
         print('{}')",
    );
    run(&sandbox, "rows.jsonl", "1.parquet", &[]);
    run(&sandbox, "rows.parquet", "2.parquet", &[]);
    run(&sandbox, "rows.parquet", "3.parquet", &["--shard", "2/2"]);
    let own = ["run", "run", "--input", "rows.parquet", "-o", "rows.parquet"];
    sandbox.call(&own).refused("its own input", &["this file is an input of the command"]);
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert!(bytes("1.parquet") == bytes("2.parquet"));
    let (whole, second) = (table(&sandbox, &["1.parquet"]), table(&sandbox, &["3.parquet"]));
    assert!(whole[2 * 4096..] == second);
    let report = json(&run(&sandbox, "bare.parquet", "4.parquet", &[]));
    assert_eq!(report["modalities"], object!(["a"]));
    let bare = table(&sandbox, &["4.parquet"]);
    assert_eq!((&bare[0]["id"], &bare[ROWS - 1]["id"]), (&object!("1"), &object!(ROWS.to_string())));
    assert_eq!(bare[5000].as_object().unwrap().len(), 2);
}

/// After `kill -9` the finished blocks are used again, and the file has the same bytes.
#[test]
fn a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes() {
    let sandbox = sandbox();
    run(&sandbox, "rows.jsonl", "whole.parquet", &[]);
    let whole = std::fs::read(sandbox.path("whole.parquet")).unwrap();
    let parts = sandbox.path("out.parquet.parts");
    let finished = || {
        let names = std::fs::read_dir(&parts).into_iter().flatten().flatten().map(|one| one.file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
    };
    let mut child = sandbox
        .chiasm()
        .args(["run", "run", "--input", "rows.jsonl", "-o", "out.parquet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while finished() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if sandbox.path("out.parquet").exists() {
        // It ended before it could be killed: leave what a killed command leaves.
        std::fs::remove_file(sandbox.path("out.parquet")).unwrap();
    }
    // A file of the user in that folder stays.
    sandbox.write("out.parquet.parts/notes.txt", "mine");
    let kept = finished();
    let report = json(&run(&sandbox, "rows.jsonl", "out.parquet", &[]));
    assert_eq!(report["resumed"].as_u64().unwrap() > 0, kept > 0, "{kept} blocks were finished: {report}");
    assert!(std::fs::read(sandbox.path("out.parquet")).unwrap() == whole);
    let left: Vec<_> = std::fs::read_dir(&parts).unwrap().flatten().map(|one| one.file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}

/// A finished block is used only for the rows that it was made for.
#[test]
fn a_block_of_other_rows_is_run_again() {
    let sandbox = sandbox();
    let text = std::fs::read_to_string(sandbox.path("rows.jsonl")).unwrap();
    sandbox.write("rows.jsonl", text.replacen("\"a\":7", "\"a\":8", 1));
    run(&sandbox, "rows.jsonl", "changed.parquet", &[]);
    sandbox.write("rows.jsonl", format!("{text}{{\"id\": \"bad\", \"a\": \"x\", \"b\": 1}}\n"));
    let words = ["rows.jsonl: row 13001", "expected a row number"];
    sandbox.call(&["run", "run", "--input", "rows.jsonl", "-o", "out.parquet"]).refused("a text", &words);
    assert!(!sandbox.path("out.parquet").exists());
    // The three whole blocks are kept; the first of them now has other rows.
    sandbox.write("rows.jsonl", text.replacen("\"a\":7", "\"a\":8", 1));
    let report = json(&run(&sandbox, "rows.jsonl", "out.parquet", &[]));
    assert_eq!(report["resumed"], 2 * 4096);
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert!(bytes("out.parquet") == bytes("changed.parquet"));
}

#[test]
fn wrong_data_files_and_options_are_refused() {
    let sandbox = sandbox();
    let refused = |arguments: &[&str], words: &[&str]| {
        sandbox.call(&[&["run", "run"], arguments].concat()).refused(arguments, words);
    };
    sandbox.write("none.jsonl", "{\"id\": \"1\", \"c\": 2}\n");
    sandbox.write("short.jsonl", "{\"a\": 1, \"b\": 2}\n\n{\"a\": 3}\n");
    sandbox.write("broken.jsonl", "{\"a\": 1, \"b\": 2}\n{\"a\": 1,\n");
    sandbox.write("damaged.parquet", "PAR1 no such file PAR1");
    sandbox.write("rows.csv", "a,b\n1,2\n");
    let out = ["-o", "out.parquet"];
    let input = |name: &'static str| [&["--input", name], &out[..]].concat();
    refused(&input("none.jsonl"), &["no column is a modality of the run", "name a column a or b"]);
    refused(&input("short.jsonl"), &["short.jsonl: row 2", "expected one b, got null"]);
    refused(&input("broken.jsonl"), &["broken.jsonl: line 2", "not JSON"]);
    refused(&input("damaged.parquet"), &["damaged.parquet", "cannot read it as Parquet"]);
    refused(&input("rows.csv"), &["unknown file extension \"csv\"", ".jsonl"]);
    refused(&input("missing.jsonl"), &["missing.jsonl", "cannot read"]);
    refused(&["--a", "1", "-o", "out.parquet"], &["--input is missing"]);
    refused(&["--input", "rows.jsonl", "--shard", "1/2"], &["--shard needs a Parquet file"]);
    refused(&["--input", "damaged.parquet"], &["needs a Parquet file as its output"]);
    refused(&[&input("rows.jsonl")[..], &["--shard", "3/2"]].concat(), &["from 1 to the count"]);
}
