//! Whatever is wrong with the input: one clear error, exit 2, nothing half-written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_testing::{Requirement, skip};
use common::{Ended, Workshop, project};
use std::process::Command;

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];

#[test]
fn a_missing_model_is_named_with_its_nearest() {
    let shop = Workshop::new();
    shop.world(10);
    shop.recipe();
    let set = ["--set", "encoders.image.model=demo-imag"];
    shop.refused(
        &[&FIT[..], &set].concat(),
        &["no model card called \"demo-imag\"", "did you mean `demo-image`?"],
    );
}

/// A model of one's own: a card and a file made by `make`.
fn with_model(shop: &Workshop, model: &[u8], ports: &str) {
    use sha2::Digest;
    let sha256: String = sha2::Sha256::digest(model).iter().map(|b| format!("{b:02x}")).collect();
    shop.write("models/broken/model.onnx", model);
    let card = format!(
        "name = \"broken\"\nadapter = \"image\"\nmodel = \"model.onnx\"\nsha256 = \"{sha256}\"\n[ports]\n{ports}\n[preprocessing]\nsize = [64, 64]\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n"
    );
    shop.write("models/broken/card.toml", card);
}

fn refused_model(model: &[u8], ports: &str, words: &[&str]) {
    let shop = Workshop::new();
    shop.world(10);
    shop.recipe();
    with_model(&shop, model, ports);
    let set = ["--models", "models", "--set", "encoders.image.model=broken"];
    shop.refused(&[&FIT[..], &set].concat(), words);
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
    let shop = Workshop::new();
    shop.world(10);
    shop.recipe();
    with_model(&shop, &demo_image(), "pooled = \"embedding\"");
    let mut model = demo_image();
    *model.last_mut().unwrap() ^= 1;
    shop.write("models/broken/model.onnx", model);
    let set = ["--models", "models", "--set", "encoders.image.model=broken"];
    shop.refused(&[&FIT[..], &set].concat(), &["sha256 expected"]);
}

#[test]
fn an_unknown_plugin_is_refused_and_the_known_ones_are_listed() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    shop.refused(&[&FIT[..], &["--set", "align.plugin=kkca"]].concat(), &["kkca", "procrustes", "kcca"]);
}

#[test]
fn a_plugin_of_another_abi_major_is_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    let plugin = std::fs::read(common::binary().with_file_name("libchiasm_ridge.so")).unwrap();
    let needle = b"\"abi\":\"2.";
    let places: Vec<usize> =
        plugin.windows(needle.len()).enumerate().filter(|(_, w)| w == needle).map(|(i, _)| i).collect();
    assert!(!places.is_empty(), "the manifest does not say abi 2.x");
    let mut other = plugin;
    places.iter().for_each(|&i| other[i + needle.len() - 2] = b'9');
    shop.write("other/libother.so", other);
    let arguments = [&FIT[..], &["--plugin", "other/libother.so"]].concat();
    shop.refused(&arguments, &["libother.so", "ABI", "9."]);
}

#[test]
fn a_library_that_is_no_plugin_is_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    shop.write("notes.so", "not a library at all");
    shop.refused(&[&FIT[..], &["--plugin", "notes.so"]].concat(), &["notes.so"]);
}

#[test]
fn typos_are_all_reported_at_once_with_what_was_meant() {
    let shop = Workshop::new();
    shop.write(
        "recipe.toml",
        "[encoders.image]\nmodle = \"demo-image\"\n[encoders.text]\nmodel = \"demo-text\"\nitems = \"median\"\n[data]\npears = \"p.jsonl\"\n[align]\nplugin = \"cca\"\n[scor]\n",
    );
    let words = [
        "unknown key `modle`",
        "did you mean `model`?",
        "unknown key `pears`",
        "did you mean `pairs`?",
        "\"median\"",
        "unknown key `scor`",
    ];
    shop.refused(&FIT, &words);
}

#[test]
fn an_unknown_parameter_of_a_plugin_is_refused_before_anything_runs() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    shop.refused(
        &[&FIT[..], &["--set", "align.plugin=cca", "--set", "align.dimension=3"]].concat(),
        &["unknown key `dimension`", "did you mean `dimensions`?"],
    );
}

#[test]
fn unequal_row_counts_are_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 30]);
    shop.refused(&FIT, &["40", "30", "rows"]);
}

#[test]
fn a_row_number_beyond_the_file_is_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 30]);
    let lines: String = (0..40).map(|i| format!("{{\"a\": {i}, \"b\": {i}}}\n")).collect();
    shop.write("pairs.jsonl", lines);
    shop.refused(&[&FIT[..], &["--set", "data.pairs=pairs.jsonl"]].concat(), &["30"]);
}

#[test]
fn vectors_that_are_not_finite_are_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    let mut values = vec![0.25_f32; 40 * 6];
    values[17 * 6 + 2] = f32::NAN;
    shop.write("a.npy", common::npy(40, 6, &values));
    shop.refused(&FIT, &["a.npy", "17"]);
}

#[test]
fn an_unreadable_image_is_named_and_can_be_skipped() {
    let shop = Workshop::new();
    shop.world(40);
    shop.recipe();
    shop.write("world/images/7.png", "this is no picture");
    shop.refused(&FIT, &["7.png", "--skip-bad"]);
    let ended = shop.call(&[&FIT[..], &["--skip-bad"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("skipped 1 items"), "{}", ended.stderr);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(shop.path("run/manifest.json")).unwrap()).unwrap();
    let skipped = manifest["rows"]["skipped"].as_array().unwrap();
    assert_eq!(
        (skipped.len(), &skipped[0]["row"], &skipped[0]["modality"]),
        (1, &"s7".into(), &"image".into())
    );
    // A held-out row that was skipped is no answer to a search either.
    shop.write("world/images/9.png", "nor is this");
    shop.good(&[&FIT[..], &["--skip-bad"]].concat());
    shop.good(&["search", "run", "--text", "a blue star"]);
}

/// A file system of one megabyte in a name space of its own: the merged model does not fit on it.
#[test]
fn a_full_disk_leaves_nothing() {
    let shop = Workshop::new();
    shop.world(40);
    shop.recipe();
    std::fs::create_dir(shop.path("small")).unwrap();
    let enter = |script: &str| {
        let mut command = Command::new("unshare");
        let environment = shop.chiasm();
        command.current_dir(shop.path("")).envs(environment.get_envs().filter_map(|(k, v)| Some((k, v?))));
        Ended::of(command.args(["-rm", "sh", "-c", script]).output().unwrap())
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
    let ended = enter(&fit);
    ended.refused("a full disk", &["small/.run.partial", "No space left on device"]);
    assert!(!ended.stdout.lines().any(|name| name == "run"), "{}", ended.stdout);
}

#[test]
fn without_an_engine_the_mending_command_is_named() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    let home = shop.path("nobody");
    let output = shop
        .chiasm()
        .args(FIT)
        .env_clear()
        .env("HOME", &home)
        .env("PATH", shop.path("nothing"))
        .output()
        .unwrap();
    Ended::of(output).refused("no engine", &["ONNX Runtime", "was not found", "chiasm engine install"]);
    shop.nothing_made("no engine");
}

#[test]
fn a_file_named_as_the_engine_that_is_none_is_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    shop.write("libonnxruntime.so", "no library");
    shop.refused(
        &[&FIT[..], &["--engine", "libonnxruntime.so"]].concat(),
        &["libonnxruntime.so", "chiasm engine install"],
    );
}

#[test]
fn cuda_that_is_not_there_is_refused() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    let devices = shop.good(&["doctor", "--only", "devices", "--format", "json"]);
    if serde_json::from_str::<serde_json::Value>(&devices).unwrap()["devices"]["cuda"] == "ready" {
        return skip(Requirement::NoCuda, "CUDA is ready on this machine");
    }
    shop.refused(&[&FIT[..], &["--device", "cuda"]].concat(), &["CUDA", "chiasm engine install --cuda"]);
}

#[test]
fn a_folder_that_is_no_run_is_left_alone() {
    let shop = Workshop::new();
    shop.vectors([40, 40]);
    shop.write("thesis/chapter1.txt", "mine");
    let ended = shop.call(&["fit", "recipe.toml", "-o", "thesis"]);
    ended.refused("a folder of the user's", &["is not a run folder"]);
    assert_eq!(std::fs::read_to_string(shop.path("thesis/chapter1.txt")).unwrap(), "mine");
}
