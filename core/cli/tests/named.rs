//! What is asked for by name and absent is an error, and items that are no regular files are refused at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, project};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const ADD: [&str; 7] = ["model", "add", "", "--name", "mine", "--into", "models"];

fn add(sandbox: &Sandbox, set: &[&str]) -> common::CommandOutput {
    let model = project().join("models/demo-image/model.onnx");
    let mut arguments = ADD.map(str::to_owned).to_vec();
    arguments[2] = model.to_str().unwrap().to_owned();
    set.iter().for_each(|one| arguments.extend(["--set".to_owned(), (*one).to_owned()]));
    sandbox.call(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn unknown_keys_of_a_card_are_refused_and_the_known_ones_are_named() {
    let sandbox = Sandbox::new();
    let cases: [(&str, &[&str]); 5] = [
        ("license=MIT", &["no key `license`", "did you mean `licence`?"]),
        ("colour=red", &["no key `colour`", "known keys: name, adapter, model"]),
        ("preprocessing.maen=[0, 0, 0]", &["no key `preprocessing.maen`", "did you mean `mean`?"]),
        ("ports.poled=mean", &["no key `ports.poled`", "did you mean `pooled`?"]),
        ("ports.pooled=nowhere", &["nowhere", "embedding"]),
    ];
    for (set, words) in cases {
        add(&sandbox, &[set]).refused(set, words);
        assert!(!sandbox.path("models/mine/card.toml").exists(), "{set} wrote a card");
    }
    assert_eq!(add(&sandbox, &["licence=MIT"]).code, Some(0));
}

/// The processor pads, which a card cannot express: the user decides.
#[test]
fn a_key_that_the_files_leave_open_must_be_set() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("onnx")).unwrap();
    std::fs::copy(project().join("models/demo-image/model.onnx"), sandbox.path("onnx/model.onnx")).unwrap();
    let config = "{\"size\": {\"longest_edge\": 64}, \"do_pad\": true, \"resample\": 3}";
    sandbox.write("onnx/preprocessor_config.json", config);
    let arguments = ["model", "add", "onnx/model.onnx", "--name", "mine", "--into", "models"];
    sandbox
        .call(&arguments)
        .refused("pads", &["longer side to 64 and pads", "--set 'preprocessing.resize=...'"]);
    sandbox.good(&[&arguments[..], &["--set", "preprocessing.resize=stretch"]].concat());
    let card = std::fs::read_to_string(sandbox.path("models/mine/card.toml")).unwrap();
    assert!(card.contains("resize = \"stretch\""), "{card}");
}

/// Reading a pipe would wait for a writer, and a device has no end.
#[test]
fn pipes_devices_and_folders_are_refused_at_once_with_their_row() {
    let sandbox = Sandbox::new();
    sandbox.world(20);
    sandbox.recipe();
    let pipe = sandbox.path("world/pipe.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let table = std::fs::read_to_string(sandbox.path("world/pairs.jsonl")).unwrap();
    for (item, kind) in [("pipe.png", "a pipe"), ("/dev/zero", "a device"), ("images", "a folder")] {
        sandbox.write("world/pairs.jsonl", table.replace("images/7.png", item));
        let start = Instant::now();
        sandbox.refused(&["fit", "recipe.toml", "-o", "run"], &["row \"s7\"", item, kind, "--skip-bad"]);
        assert!(start.elapsed() < Duration::from_secs(30), "{item} took {:?}", start.elapsed());
    }
    sandbox.write("world/pairs.jsonl", table);
    sandbox.refused(
        &["fit", "recipe.toml", "-o", "run", "--set", "data.pairs=/dev/zero"],
        &["unknown file extension"],
    );
    std::fs::rename(&pipe, sandbox.path("world/pipe.jsonl")).unwrap();
    let set = ["--set", "data.pairs=world/pipe.jsonl"];
    sandbox.refused(&[&["fit", "recipe.toml", "-o", "run"], &set[..]].concat(), &["pipe.jsonl", "a pipe"]);
}

#[test]
fn more_threads_than_cores_are_limited_and_told() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let start = Instant::now();
    let output = sandbox.call(&["fit", "recipe.toml", "-o", "run", "--threads", "1000"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let cores = std::thread::available_parallelism().unwrap();
    assert!(output.stderr.contains(&format!("--threads 1000: {cores} are used")), "{}", output.stderr);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let quiet =
        sandbox.call(&["measure", "a.npy", "a.npy", "--only", "cka_linear", "--threads", "1000", "-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}
