//! Files of others: a working folder with programs, cards and run folders that name files elsewhere, and
//! texts with control characters.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, binary, project};
use serde_json::Value;
use std::{os::unix::fs::PermissionsExt, path::Path};

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];

/// Programs and Python modules that leave the file `ran`.
fn traps(sandbox: &Sandbox) {
    let ran = sandbox.path("ran");
    for name in ["sysconfig.py", "site.py", "pip/__init__.py", "pip/__main__.py", "modules/sysconfig.py"] {
        sandbox.write(name, format!("open({ran:?}, 'w')\n"));
    }
    for name in ["python3", "uv", "npm", "bin/python3", "bin/uv", "bin/npm"] {
        let path = sandbox.write(name, format!("#!/bin/sh\ntouch {}\nexit 1\n", ran.display()));
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn programs_and_modules_of_the_working_folder_are_not_run() {
    let sandbox = Sandbox::new();
    traps(&sandbox);
    sandbox.vectors([40, 40]);
    std::fs::copy(binary(), sandbox.write("lib/libonnxruntime.so", "")).unwrap();
    std::fs::copy(
        binary(),
        sandbox.write("venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so", ""),
    )
    .unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let call = |arguments: &[&str], path: &str| {
        let mut command = sandbox.chiasm();
        command.args(arguments).env("PATH", path).env("PYTHONPATH", sandbox.path("modules"));
        command.env("LD_LIBRARY_PATH", "lib").env("VIRTUAL_ENV", "venv").env("CONDA_PREFIX", "venv");
        command.env("XDG_CACHE_HOME", sandbox.path("xdg")).env("PIP_CONFIG_FILE", "/dev/null");
        // Nothing answers there, so no download starts.
        command.env("PIP_INDEX_URL", "http://127.0.0.1:9/").env("PIP_RETRIES", "0");
        CommandOutput::of(command.output().unwrap())
    };
    for (arguments, path) in [
        (&["doctor"][..], format!("{path}:.:bin:")),
        (&["doctor"], ".:bin:".to_owned()),
        (&["engine", "install", "--tool", "pip"], format!("{path}:.:bin:")),
        (&["engine", "install"], ".:bin:".to_owned()),
        (&["engine", "install"], format!("{path}:.:bin:")),
        (&["fit", "recipe.toml", "-o", "run"], format!("{path}:.:bin:")),
    ] {
        let output = call(arguments, &path);
        assert!(!sandbox.path("ran").exists(), "{arguments:?} with {path}: {}", output.stderr);
        assert!(!output.stdout.contains("lib/libonnxruntime.so: "), "{}", output.stdout);
    }
    // Only `doctor` and `engine install` start Python, also if it is in an absolute folder.
    let path_with_traps = format!("{}:{path}", sandbox.path("bin").display());
    for device in ["cpu", "auto"] {
        let mut command = sandbox.chiasm();
        command.args(FIT).args(["--device", device]).env("PATH", &path_with_traps);
        command.env_remove("ORT_DYLIB_PATH").output().unwrap();
        assert!(!sandbox.path("ran").exists(), "fit with --device {device} starts Python");
    }
    let found = call(&["doctor", "--only", "engine", "--format", "json"], &path).stdout;
    assert!(!found.contains(sandbox.path("lib").to_str().unwrap()), "{found}");
    assert!(!found.contains(sandbox.path("venv").to_str().unwrap()), "{found}");
}

/// Writes a card for the text model of the demo in `cards/evil/`, with this name of its tokenizer.
fn card(sandbox: &Sandbox, tokenizer: &str) {
    let demo = project().join("models/demo-text");
    let model = std::fs::read(demo.join("model.onnx")).unwrap();
    sandbox.write("cards/evil/model.onnx", model);
    let text = std::fs::read_to_string(demo.join("card.toml")).unwrap();
    let text = text.replace("demo-text", "evil").replace("tokenizer.json", tokenizer);
    sandbox.write("cards/evil/card.toml", text);
}

#[test]
fn a_card_names_no_file_outside_its_folder() {
    let sandbox = Sandbox::new();
    sandbox.world(10);
    sandbox.recipe();
    let tokenizer = std::fs::read(project().join("models/demo-text/tokenizer.json")).unwrap();
    let outside = sandbox.write("private/tokenizer.json", &tokenizer);
    sandbox.write("cards/evil/sub/tokenizer.json", &tokenizer);
    std::os::unix::fs::symlink(&outside, sandbox.path("cards/evil/link.json")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("private"), sandbox.path("cards/evil/links")).unwrap();
    let arguments = ["--models", "cards", "--set", "encoders.text.model=evil"];
    let plan = |tokenizer: &str| {
        card(&sandbox, tokenizer);
        sandbox.call(&[&["plan", "recipe.toml"][..], &arguments].concat())
    };
    for tokenizer in [
        outside.to_str().unwrap(),
        "../../private/tokenizer.json",
        "sub/../../../private/tokenizer.json",
        "link.json",
        "links/tokenizer.json",
        "/dev/zero",
    ] {
        plan(tokenizer).refused(tokenizer, &["evil/card.toml", "beneath its own folder"]);
    }
    let output = plan("sub/tokenizer.json");
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for name in ["../evil", "a/b", ".hidden", ""] {
        let set = format!("encoders.text.model={name:?}");
        sandbox.refused(&[&FIT[..], &["--models", "cards", "--set", &set]].concat(), &["a model"]);
    }
}

/// The tokenizer is one folder above the model, where `model add` finds it and a card may not name it.
#[test]
fn model_add_copies_files_from_above_the_models_folder() {
    let sandbox = Sandbox::new();
    sandbox.world(10);
    sandbox.recipe();
    let demo = project().join("models/demo-text");
    sandbox.write("given/onnx/model.onnx", std::fs::read(demo.join("model.onnx")).unwrap());
    sandbox.write("given/tokenizer.json", std::fs::read(demo.join("tokenizer.json")).unwrap());
    let add = ["model", "add", "given/onnx/model.onnx", "--name", "mine", "--into", "cards"];
    sandbox.good(&[&add[..], &["--set", "preprocessing.max_length=64"]].concat());
    let text = std::fs::read_to_string(sandbox.path("cards/mine/card.toml")).unwrap();
    assert!(text.contains("tokenizer = \"tokenizer.json\""), "{text}");
    assert!(sandbox.path("cards/mine/tokenizer.json").is_file());
    sandbox.good(&["plan", "recipe.toml", "--models", "cards", "--set", "encoders.text.model=mine"]);
    let named = ["model", "add", "given/onnx/model.onnx", "--name", "../mine", "--into", "cards"];
    sandbox.refused(&named, &["expected a name", "--name"]);
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_folder_of_another_person_reads_and_writes_nothing_outside() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.good(&["fit", "recipe.toml", "-o", "theirs"]);
    let manifest = sandbox.path("theirs/manifest.json");
    let fitted = read(&manifest);
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut changed = fitted.clone();
        change(&mut changed);
        std::fs::write(&manifest, changed.to_string()).unwrap();
        let before = common::contents(&sandbox.path(""));
        for arguments in [
            &["export", "theirs", "--layout", "towers", "-o", "out"][..],
            &["export", "theirs", "-o", "out"],
            &["run", "theirs", "--a", "0"],
        ] {
            let output = sandbox.call(arguments);
            // Without its flags, `run` refuses the arguments instead.
            let words = if arguments[0] == "run" { &[][..] } else { words };
            output.refused(arguments, words);
        }
        assert!(common::contents(&sandbox.path("")).keys().eq(before.keys()), "a file was written");
    };
    let digest = fitted["outputs"]["model.onnx"].clone();
    for name in ["../escaped", "/tmp/escaped", "a/b", "..", ""] {
        refused(&|m| m["modalities"][0]["name"] = name.into(), &["manifest.json", "expected a name"]);
    }
    for name in ["../b.npy", "/etc/passwd", ""] {
        refused(&|m| m["outputs"][name] = digest.clone(), &["manifest.json", "beneath the folder"]);
        refused(
            &|m| m["modalities"][0]["encoders"][0]["folder"] = name.into(),
            &["manifest.json", "beneath the folder"],
        );
    }
    refused(
        &|m| m["modalities"][0]["encoders"][0]["adapter"] = "text".into(),
        &["neither in the run folder nor vectors"],
    );
    refused(
        &|m| {
            m["outputs"].as_object_mut().unwrap().remove("model.onnx");
        },
        &["model.onnx", "no digest"],
    );
    std::fs::rename(sandbox.path("theirs/model.onnx"), sandbox.path("elsewhere.onnx")).unwrap();
    std::os::unix::fs::symlink("../elsewhere.onnx", sandbox.path("theirs/model.onnx")).unwrap();
    refused(&|_| (), &["model.onnx", "link that leaves"]);
}

/// No control character of a file reaches the terminal; `\x1b[2J` clears the screen.
#[test]
fn control_characters_of_files_are_escaped() {
    let sandbox = Sandbox::new();
    let demo = project().join("models/demo-image");
    let text = std::fs::read_to_string(demo.join("card.toml")).unwrap();
    let evil = r#"licence = "\u001b[2J\u009b31m\r\u202e""#;
    sandbox.write("cards/demo-image/card.toml", text.replace("licence = \"Apache-2.0\"", evil));
    sandbox.write("cards/demo-image/model.onnx", std::fs::read(demo.join("model.onnx")).unwrap());
    sandbox.write("cards/other/card.toml", "name = \"\u{1b}[2J\"\nadapter = \"\u{9b}\"\n");
    sandbox.world(10);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    let pairs = std::fs::read_to_string(sandbox.path("world/pairs.jsonl")).unwrap();
    sandbox.write("bad.toml", recipe.replace("plugin = \"ridge\"", "plugin = \"\\u001b[2J\""));
    sandbox.write("raw.toml", recipe.replace("ridge", "\u{9b}2J"));
    sandbox.write("rows.toml", recipe.replace("pairs.jsonl", "rows.jsonl"));
    let rows =
        pairs.replace("images/1.png", "\\u001b[2J/\\u009b").replace("\"s1\"", "\"\\u001b]0;x\\u0007\"");
    sandbox.write("world/rows.jsonl", rows);
    for arguments in [
        &["model", "list", "--models", "cards"][..],
        &["model", "list", "--models", "cards", "--format", "json"],
        &["model", "inspect", "demo-image", "--models", "cards"],
        &["model", "inspect", "demo-image", "--models", "cards", "--format", "json"],
        &["plan", "recipe.toml", "--models", "cards"],
        &["plan", "bad.toml"],
        &["plan", "raw.toml"],
        &["fit", "rows.toml", "-o", "run"],
        &["fit", "rows.toml", "-o", "run", "--skip-bad"],
        &["doctor", "--only", "models", "--models", "cards"],
    ] {
        let output = sandbox.call(arguments);
        let printed = format!("{}{}", output.stdout, output.stderr);
        let bad = |c: &char| (c.is_control() && *c != '\n' && *c != '\t') || *c == '\u{202e}';
        assert_eq!(printed.chars().find(bad), None, "{arguments:?}: {printed:?}");
    }
}
