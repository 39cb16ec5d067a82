//! Devices, pipes and folders in the place of files that a user names: each is refused at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, npy};
use std::{path::Path, process::Command};

const WORDS: &[&str] = &["expected a regular file"];

/// Calls `check` with a device that never ends, a pipe without a writer, and a folder.
fn each(sandbox: &Sandbox, check: impl Fn(&Sandbox, &str)) {
    std::fs::create_dir(sandbox.path("folder.d")).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
    for path in ["/dev/zero".into(), sandbox.path("pipe"), sandbox.path("folder.d")] {
        let path: &Path = &path;
        check(sandbox, path.to_str().unwrap());
    }
}

#[test]
fn recipes() {
    each(&Sandbox::new(), |sandbox, path| {
        sandbox.refused(&["plan", path], WORDS);
        sandbox.refused(&["fit", path, "-o", "run"], WORDS);
    });
}

#[test]
fn arrays_of_measure_and_transport() {
    let sandbox = Sandbox::new();
    sandbox.write("a.npy", npy(4, 2, &[0.0, 1.0, 2.0, 0.5, 3.0, 1.0, 7.0, 2.0]));
    each(&sandbox, |sandbox, path| {
        sandbox.refused(&["measure", path, "a.npy"], WORDS);
        sandbox.refused(&["measure", "a.npy", "a.npy", "--labels", path], WORDS);
        sandbox.refused(&["transport", "a.npy", path], WORDS);
        sandbox.refused(&["transport", "--cost-matrix", path], WORDS);
        sandbox.refused(&["transport", "a.npy", "a.npy", "--a", path], WORDS);
    });
}

#[test]
fn pairs_and_vectors() {
    let sandbox = Sandbox::new();
    sandbox.vectors([8, 8]);
    each(&sandbox, |sandbox, path| {
        for extension in ["jsonl", "csv", "parquet"] {
            let pairs = format!("pairs.{extension}");
            let _ = std::fs::remove_file(sandbox.path(&pairs));
            std::os::unix::fs::symlink(path, sandbox.path(&pairs)).unwrap();
            let set = format!("data.pairs={pairs:?}");
            sandbox.refused(&["plan", "recipe.toml", "--set", &set], WORDS);
        }
        let set = format!("encoders.a.vectors={path:?}");
        sandbox.refused(&["plan", "recipe.toml", "--set", &set], WORDS);
    });
}
