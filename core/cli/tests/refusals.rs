//! Invalid input gives one error and exit code 2, and no run folder.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_testing::{Requirement, skip};
use common::{CommandOutput, Sandbox, project};
use std::process::Command;

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];

#[test]
fn a_missing_model_is_refused_with_a_suggestion() {
    let sandbox = Sandbox::new();
    sandbox.world(10);
    sandbox.recipe();
    let set = ["--set", "encoders.image.model=demo-imag"];
    sandbox.refused(
        &[&FIT[..], &set].concat(),
        &["no model card called \"demo-imag\"", "did you mean `demo-image`?"],
    );
}

/// Writes a model file and its card.
fn with_model(sandbox: &Sandbox, model: &[u8], ports: &str) {
    use sha2::Digest;
    let sha256: String = sha2::Sha256::digest(model).iter().map(|b| format!("{b:02x}")).collect();
    sandbox.write("models/broken/model.onnx", model);
    let card = format!(
        "name = \"broken\"\nadapter = \"image\"\nmodel = \"model.onnx\"\nsha256 = \"{sha256}\"\n\
         [ports]\n{ports}\n\
         [preprocessing]\nsize = [64, 64]\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n"
    );
    sandbox.write("models/broken/card.toml", card);
}

fn refused_model(model: &[u8], ports: &str, words: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.world(10);
    sandbox.recipe();
    with_model(&sandbox, model, ports);
    let set = ["--models", "models", "--set", "encoders.image.model=broken"];
    sandbox.refused(&[&FIT[..], &set].concat(), words);
}

fn demo_image() -> Vec<u8> {
    std::fs::read(project().join("models/demo-image/model.onnx")).unwrap()
}

#[test]
fn a_truncated_model_is_refused() {
    let model = demo_image();
    refused_model(&model[..model.len() / 2], "pooled = \"embedding\"", &["model.onnx", "truncated"]);
}

#[test]
fn a_model_nested_ten_thousand_deep_is_refused() {
    // graph (7) > node (1) > attribute (5) > graph (6) > node (1) > ... as length-delimited fields
    let mut inner: Vec<u8> = Vec::new();
    let wrap = |tag: u8, inner: Vec<u8>| {
        let mut outer = vec![tag << 3 | 2];
        let mut length = inner.len();
        while length >= 128 {
            outer.push((length % 128) as u8 | 128);
            length /= 128;
        }
        outer.push(length as u8);
        outer.extend(inner);
        outer
    };
    for _ in 0..10_000 {
        inner = wrap(1, wrap(5, wrap(6, inner)));
    }
    refused_model(&wrap(7, inner), "pooled = \"embedding\"", &["model.onnx", "deep"]);
}

#[test]
fn a_card_that_names_an_absent_port_is_refused() {
    refused_model(&demo_image(), "pooled = \"nowhere\"", &["nowhere", "embedding"]);
}

#[test]
fn a_model_that_is_not_the_cards_file_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.world(10);
    sandbox.recipe();
    with_model(&sandbox, &demo_image(), "pooled = \"embedding\"");
    let mut model = demo_image();
    *model.last_mut().unwrap() ^= 1;
    sandbox.write("models/broken/model.onnx", model);
    let set = ["--models", "models", "--set", "encoders.image.model=broken"];
    sandbox.refused(&[&FIT[..], &set].concat(), &["sha256 expected"]);
}

#[test]
fn an_unknown_plugin_is_refused_and_the_known_ones_are_listed() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.refused(&[&FIT[..], &["--set", "align.plugin=kkca"]].concat(), &["kkca", "procrustes", "kcca"]);
}

#[test]
fn a_plugin_of_another_abi_major_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let plugin = std::fs::read(common::binary().with_file_name("libchiasm_ridge.so")).unwrap();
    let needle = b"\"abi\":\"2.";
    let places: Vec<usize> =
        plugin.windows(needle.len()).enumerate().filter(|(_, w)| w == needle).map(|(i, _)| i).collect();
    assert!(!places.is_empty(), "the manifest does not say abi 2.x");
    let mut other = plugin;
    places.iter().for_each(|&i| other[i + needle.len() - 2] = b'9');
    sandbox.write("other/libother.so", other);
    let arguments = [&FIT[..], &["--plugin", "other/libother.so"]].concat();
    sandbox.refused(&arguments, &["libother.so", "ABI", "9."]);
}

#[test]
fn a_file_that_is_not_a_plugin_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.write("notes.so", "not a library at all");
    sandbox.refused(&[&FIT[..], &["--plugin", "notes.so"]].concat(), &["notes.so"]);
}

#[test]
fn all_typos_are_reported_together_with_suggestions() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "recipe.toml",
        "[encoders.image]\nmodle = \"demo-image\"\n\
         [encoders.text]\nmodel = \"demo-text\"\nitems = \"median\"\n\
         [data]\npears = \"p.jsonl\"\n[align]\nplugin = \"cca\"\n[scor]\n",
    );
    let words = [
        "unknown key `modle`",
        "did you mean `model`?",
        "unknown key `pears`",
        "did you mean `pairs`?",
        "\"median\"",
        "unknown key `scor`",
    ];
    sandbox.refused(&FIT, &words);
}

#[test]
fn an_unknown_parameter_of_a_plugin_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.refused(
        &[&FIT[..], &["--set", "align.plugin=cca", "--set", "align.dimension=3"]].concat(),
        &["unknown key `dimension`", "did you mean `dimensions`?"],
    );
}

#[test]
fn unequal_row_counts_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 30]);
    sandbox.refused(&FIT, &["40", "30", "rows"]);
}

#[test]
fn a_row_number_beyond_the_file_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 30]);
    let lines: String = (0..40).map(|i| format!("{{\"a\": {i}, \"b\": {i}}}\n")).collect();
    sandbox.write("pairs.jsonl", lines);
    sandbox.refused(&[&FIT[..], &["--set", "data.pairs=pairs.jsonl"]].concat(), &["30"]);
}

#[test]
fn vectors_that_are_not_finite_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let mut values = vec![0.25_f32; 40 * 6];
    values[17 * 6 + 2] = f32::NAN;
    sandbox.write("a.npy", common::npy(40, 6, &values));
    sandbox.refused(&FIT, &["a.npy", "17"]);
}

#[test]
fn an_unreadable_image_is_named_and_can_be_skipped() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    sandbox.write("world/images/7.png", "not an image");
    sandbox.refused(&FIT, &["7.png", "--skip-bad"]);
    let output = sandbox.call(&[&FIT[..], &["--skip-bad"]].concat());
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("skipped 1 items"), "{}", output.stderr);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("run/manifest.json")).unwrap()).unwrap();
    let skipped = manifest["rows"]["skipped"].as_array().unwrap();
    assert_eq!(
        (skipped.len(), &skipped[0]["row"], &skipped[0]["modality"]),
        (1, &"s7".into(), &"image".into())
    );
    // A search ignores skipped test items.
    sandbox.write("world/images/9.png", "not an image");
    sandbox.good(&[&FIT[..], &["--skip-bad"]].concat());
    sandbox.good(&["search", "run", "--text", "a blue star"]);
}

/// The run folder is on a file system of one megabyte, mounted in a separate namespace.
#[test]
fn a_full_disk_leaves_no_run_folder() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    std::fs::create_dir(sandbox.path("small")).unwrap();
    let enter = |script: &str| {
        let mut command = Command::new("unshare");
        let environment = sandbox.chiasm();
        command.current_dir(sandbox.path("")).envs(environment.get_envs().filter_map(|(k, v)| Some((k, v?))));
        CommandOutput::of(command.args(["-rm", "sh", "-c", script]).output().unwrap())
    };
    let mount = "mount -t tmpfs -o size=1m none small";
    if enter(mount).code != Some(0) {
        return skip(Requirement::SmallFileSystem, "`unshare -rm` and `mount -t tmpfs` fail");
    }
    let binary = common::binary();
    let fit = format!(
        "{mount} && {} fit recipe.toml -o small/run; code=$?; ls -A small; exit $code",
        binary.display()
    );
    let output = enter(&fit);
    output.refused("a full disk", &["small/.run.partial", "No space left on device"]);
    assert!(!output.stdout.lines().any(|name| name == "run"), "{}", output.stdout);
}

#[test]
fn a_missing_engine_is_reported_with_the_command_that_installs_it() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let home = sandbox.path("home");
    let output = sandbox
        .chiasm()
        .args(FIT)
        .env_clear()
        .env("HOME", &home)
        .env("PATH", sandbox.path("nothing"))
        .output()
        .unwrap();
    CommandOutput::of(output)
        .refused("no engine", &["ONNX Runtime", "was not found", "chiasm engine install"]);
    sandbox.assert_no_run("no engine");
}

#[test]
fn an_engine_that_is_not_a_library_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.write("libonnxruntime.so", "no library");
    sandbox.refused(
        &[&FIT[..], &["--engine", "libonnxruntime.so"]].concat(),
        &["libonnxruntime.so", "chiasm engine install"],
    );
}

#[test]
fn missing_cuda_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let devices = sandbox.good(&["doctor", "--only", "devices", "--format", "json"]);
    if serde_json::from_str::<serde_json::Value>(&devices).unwrap()["devices"]["cuda"] == "ready" {
        return skip(Requirement::NoCuda, "CUDA is ready on this machine");
    }
    sandbox.refused(&[&FIT[..], &["--device", "cuda"]].concat(), &["CUDA", "chiasm engine install --cuda"]);
}

#[test]
fn a_folder_that_is_not_a_run_is_not_replaced() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.write("thesis/chapter1.txt", "mine");
    let output = sandbox.call(&["fit", "recipe.toml", "-o", "thesis"]);
    output.refused("a folder that is not a run", &["is not a run folder"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("thesis/chapter1.txt")).unwrap(), "mine");
}
