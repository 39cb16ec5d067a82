//! What is computed depends on files that were verified: models with their external weights, run folders, the
//! cache, and plugins.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::Graph;
use common::{CommandOutput, Sandbox, binary, json, project};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a model with one file of weights: the SHA-256 of these byte strings, each after its length
/// in 8 bytes, the least significant first.
fn whole_digest(folder: &Path) -> String {
    let file = |name: &str| hex(&std::fs::read(folder.join(name)).unwrap());
    let (model, data) = (file("model.onnx"), file("model.onnx.data"));
    let mut bytes = Vec::new();
    for part in ["model with weights in other files", &model, "model.onnx.data", &data] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    hex(&bytes)
}

#[test]
fn changed_external_weights_are_another_model() {
    let sandbox = Sandbox::new();
    sandbox.world(30);
    sandbox.recipe();
    let folder = sandbox.path("cards/demo-image");
    std::fs::create_dir_all(&folder).unwrap();
    let demo = project().join("models/demo-image");
    let saved =
        Graph::load(demo.join("model.onnx")).unwrap().save_split(folder.join("model.onnx"), 0).unwrap();
    let data = saved.data.unwrap();
    let text = std::fs::read_to_string(demo.join("card.toml")).unwrap();
    let old = hex(&std::fs::read(demo.join("model.onnx")).unwrap());
    assert!(text.contains(&old), "the card states the digest of the file");
    let write_card = || {
        let digest = whole_digest(&folder);
        sandbox.write("cards/demo-image/card.toml", text.replace(&old, &digest));
        digest
    };
    let first = write_card();
    let fit = [&FIT[..], &["--models", "cards", "--format", "json"]].concat();
    assert_eq!(json(&sandbox.good(&fit))["fresh"], true);
    assert_eq!(json(&sandbox.good(&fit))["fresh"], false);
    let manifest = || json(&std::fs::read_to_string(sandbox.path("run/manifest.json")).unwrap());
    assert_eq!(manifest()["inputs"]["model demo-image"], first.as_str());
    let metrics = std::fs::read(sandbox.path("run/metrics.json")).unwrap();

    // Other weights: the signs of 512 numbers are flipped. The model's own file is the same.
    let mut bytes = std::fs::read(&data).unwrap();
    bytes.iter_mut().skip(3).step_by(4).take(512).for_each(|byte| *byte ^= 0x80);
    std::fs::write(&data, bytes).unwrap();
    let words = ["model.onnx.data", "is not the file that its card describes"];
    sandbox.call(&fit).refused("other weights", &words);
    sandbox.call(&["plan", "recipe.toml", "--models", "cards"]).refused("other weights", &words);
    let second = write_card();
    assert_ne!(first, second);
    // Neither the run nor the cached vectors are taken for those of the new weights.
    assert_eq!(json(&sandbox.good(&fit))["fresh"], true);
    assert_eq!(manifest()["inputs"]["model demo-image"], second.as_str());
    assert_ne!(std::fs::read(sandbox.path("run/metrics.json")).unwrap(), metrics);
}

/// `CHIASM_FLIPS` sets the number of flipped bits; the default keeps the test short.
fn flips() -> usize {
    std::env::var("CHIASM_FLIPS").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// Flips bit number `flip` of a spread over the whole file.
fn flip_bit(path: &Path, flip: usize, of: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let bit = flip * (bytes.len() * 8 - 1) / of.max(1);
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn no_flipped_bit_of_a_model_changes_an_output() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.good(&FIT);
    let told = sandbox.good(&["verify", "run"]);
    assert!(told.contains("model.onnx: unchanged") && told.contains("aligner/a.onnx: unchanged"), "{told}");
    let model = sandbox.path("run/model.onnx");
    let bytes = std::fs::read(&model).unwrap();
    let run = ["run", "run", "--a", "3", "--b", "3", "--format", "json"];
    let outputs = sandbox.good(&run);
    for flip in 0..flips() {
        flip_bit(&model, flip, flips());
        sandbox.call(&run).refused(flip, &["model.onnx", "was changed"]);
        std::fs::write(&model, &bytes).unwrap();
    }
    assert_eq!(sandbox.good(&run), outputs);
    flip_bit(&model, 1, 2);
    let output = sandbox.call(&["verify", "run"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stdout.contains("model.onnx: was changed"), "{}", output.stdout);
    let message = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
    assert!(message.contains("(model.onnx)") && message.contains("fit the run again"), "{message}");
    let output = sandbox.call(&["verify", "run", "--format", "json"]);
    let parts = json(&output.stdout);
    let damaged: Vec<&Value> = parts.as_array().unwrap().iter().filter(|p| !p["damage"].is_null()).collect();
    assert_eq!((output.code, damaged.len(), &damaged[0]["name"]), (Some(1), 1, &"model.onnx".into()));
    for arguments in [&["eval", "run"][..], &["check", "run"], &["export", "run", "-o", "out"]] {
        sandbox.call(arguments).refused(arguments, &["model.onnx", "was changed"]);
    }
    // A damaged run is not up to date: the same command fits it again.
    assert_eq!(json(&sandbox.good(&[&FIT[..], &["--format", "json"]].concat()))["fresh"], true);
    assert_eq!(sandbox.good(&run), outputs);
}

/// Returns the shards in the cache.
fn shards(sandbox: &Sandbox) -> Vec<PathBuf> {
    let cache = sandbox.path("cache/embeddings");
    common::contents(&cache).into_keys().map(|name| cache.join(name)).collect()
}

#[test]
fn damaged_shards_of_the_cache_are_computed_again() {
    let sandbox = Sandbox::new();
    sandbox.world(20);
    sandbox.recipe();
    sandbox.good(&FIT);
    let (fitted, kept) = (common::contents(&sandbox.path("run")), common::contents(&sandbox.path("cache")));
    let shards = shards(&sandbox);
    assert!(shards.len() >= 4, "pictures and captions of two splits: {shards:?}");
    for (at, shard) in shards.iter().enumerate() {
        flip_bit(shard, at + 1, shards.len() + 1);
    }
    let output = sandbox.call(&[&FIT[..], &["--force"]].concat());
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("cached vectors are damaged"), "{}", output.stderr);
    assert!(common::contents(&sandbox.path("run")) == fitted, "the run is the same");
    assert!(common::contents(&sandbox.path("cache")) == kept, "the cache is mended");
}

#[test]
fn a_cache_that_others_can_write_to_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.write("cache/note.txt", "");
    let allow =
        |mode| std::fs::set_permissions(sandbox.path("cache"), PermissionsExt::from_mode(mode)).unwrap();
    allow(0o777);
    sandbox.refused(&FIT, &["cache", "can be written by other users", "chmod 700"]);
    allow(0o700);
    sandbox.good(&FIT);
    std::fs::remove_dir_all(sandbox.path("run")).unwrap();
    // ONNX Runtime may be installed in the home folder, which the next command does not know.
    let doctor = json(&sandbox.good(&["doctor", "--format", "json"]));
    let mut tried = doctor["engine"]["tried"].as_array().unwrap().iter();
    let engine = tried.find(|place| place["outcome"].as_str().unwrap().starts_with("usable")).unwrap();
    let mut homeless = sandbox.chiasm();
    homeless.env("ORT_DYLIB_PATH", engine["path"].as_str().unwrap());
    homeless.args(FIT).env_remove("CHIASM_CACHE").env_remove("HOME").env_remove("XDG_CACHE_HOME");
    CommandOutput::of(homeless.output().unwrap())
        .refused("no home", &["no place for the cache", "CHIASM_CACHE"]);
}

#[test]
fn a_changed_adapter_is_told_and_can_be_allowed() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.good(&FIT);
    // The same code in another file.
    let mut plugin = std::fs::read(binary().with_file_name("libchiasm_vector.so")).unwrap();
    plugin.extend([0; 8]);
    sandbox.write("other/libchiasm_vector.so", plugin);
    let other = ["--plugin", "other/libchiasm_vector.so"];
    let commands = [
        &["run", "run", "--a", "3", "--b", "3"][..],
        &["eval", "run"],
        &["search", "run", "--a", "3"],
        &["export", "run", "-o", "out"],
    ];
    for command in commands {
        let words = ["\"vector\"", "has changed since the fit", "--allow-changed"];
        sandbox.call(&[command, &other].concat()).refused(command, &words);
        sandbox.good(&[command, &other, &["--allow-changed"]].concat());
        let _ = std::fs::remove_dir_all(sandbox.path("out"));
        sandbox.good(command);
    }
    let _ = std::fs::remove_dir_all(sandbox.path("out"));
    // Another engine is told: the merged model runs wherever ONNX runs.
    let manifest = sandbox.path("run/manifest.json");
    let fitted = json(&std::fs::read_to_string(&manifest).unwrap());
    for (key, value) in [("/engine", "onnxruntime 1.2.3"), ("/inputs/engine", "00")] {
        let mut changed = fitted.clone();
        *changed.pointer_mut(key).unwrap() = value.into();
        std::fs::write(&manifest, changed.to_string()).unwrap();
        let output = sandbox.call(commands[0]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        assert!(output.stderr.contains("the run was fitted with"), "{}", output.stderr);
    }
}
