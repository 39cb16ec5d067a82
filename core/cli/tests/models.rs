//! `chiasm model set`, `edit` and `remove`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, json, project};

/// A sandbox whose folder `models` has a copy of a small model of this project, called `small`.
fn with_model() -> Sandbox {
    let sandbox = Sandbox::new();
    let source = project().join("models/demo-text");
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        sandbox.write(&format!("models/small/{}", name.display()), std::fs::read(entry.path()).unwrap());
    }
    let card = text(&sandbox).replace("name = \"demo-text\"", "# The first model.\nname = \"small\"");
    sandbox.write("models/small/card.toml", card);
    sandbox
}

fn text(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("models/small/card.toml")).unwrap()
}

fn edited(sandbox: &Sandbox, editor: &str) -> CommandOutput {
    let mut command = sandbox.chiasm();
    command.args(["model", "edit", "small"]).env_remove("VISUAL").env("EDITOR", editor);
    CommandOutput::of(command.output().unwrap())
}

#[test]
fn a_key_is_set_and_the_rest_of_the_card_stays() {
    let sandbox = with_model();
    let before = text(&sandbox);
    let set = ["model", "set", "small", "preprocessing.max_length=32", "source=a page", "ports.pooled=cls"];
    let printed = sandbox.good(&set);
    assert!(printed.contains("models/small/card.toml"), "{printed}");
    let source = "source = \"trained by models/make_demo_encoders.py\"";
    assert!(before.contains(source) && before.contains("max_length = 64"), "{before}");
    let expected = before
        .replace("max_length = 64", "max_length = 32")
        .replace(source, "source = \"a page\"")
        .replace("pooled = \"sentence_embedding\"", "pooled = \"cls\"");
    assert_eq!(text(&sandbox), expected);
    let inspected = json(&sandbox.good(&["model", "inspect", "small", "--format", "json"]));
    assert_eq!(inspected["preprocessing"]["max_length"], 32);
}

#[test]
fn a_card_that_would_not_be_valid_is_left_as_it_was() {
    let sandbox = with_model();
    let before = text(&sandbox);
    for (assignment, words) in [
        (
            "preprocessing.max_lenght=32",
            &["no key `preprocessing.max_lenght`", "did you mean `max_length`?"][..],
        ),
        ("licens=MIT", &["no key `licens`", "did you mean `licence`?"]),
        ("ports.poled=cls", &["no key `ports.poled`", "did you mean `pooled`?"]),
        ("adapter=txt", &["no adapter called \"txt\"", "did you mean `text`?"]),
        ("licence=3", &["invalid type", "expected a string"]),
        ("ports.pooled=no_such_output", &["no_such_output"]),
        ("preprocessing.max_length=many", &["[preprocessing] of `small`", "expected usize"]),
        ("name=other", &["cannot be called \"other\"", "chiasm model add"]),
        ("model.file=x", &["`model` of `model.file` is not a table"]),
        ("max_length", &["expected KEY=VALUE", "chiasm model set small licence=MIT"]),
        ("model=no-such.onnx", &["no-such.onnx"]),
    ] {
        sandbox.refused(&["model", "set", "small", assignment], words);
        assert_eq!(text(&sandbox), before, "{assignment}");
    }
    sandbox.refused(&["model", "set", "smal", "licence=MIT"], &["did you mean `small`?"]);
}

#[test]
fn a_card_that_cannot_be_used_yet_is_mended_key_by_key() {
    let sandbox = with_model();
    sandbox.write("models/small/card.toml", text(&sandbox).replace("tokenizer.json", "gone.json"));
    let still = sandbox.good(&["model", "set", "small", "licence=MIT"]);
    assert!(still.contains("still cannot be used") && still.contains("gone.json"), "{still}");
    let mended = sandbox.good(&["model", "set", "small", "preprocessing.tokenizer=tokenizer.json"]);
    assert!(!mended.contains("still cannot"), "{mended}");
}

#[test]
fn another_model_gets_its_digest() {
    let sandbox = with_model();
    sandbox.write("new.onnx", std::fs::read(project().join("models/demo-text/model.onnx")).unwrap());
    std::fs::remove_file(sandbox.path("models/small/model.onnx")).unwrap();
    let old = sandbox.path("models/small/card.toml");
    let digest = text(&sandbox).lines().find(|line| line.starts_with("sha256")).unwrap().to_owned();
    std::fs::write(old, text(&sandbox).replace(&digest, "sha256 = \"00\"")).unwrap();
    sandbox.good(&["model", "set", "small", "model=new.onnx"]);
    assert!(text(&sandbox).contains(&digest), "{}", text(&sandbox));
    sandbox.good(&["model", "inspect", "small"]);
}

#[test]
fn an_edited_card_is_checked_before_it_replaces_the_old_one() {
    let sandbox = with_model();
    let before = text(&sandbox);
    let wrong = edited(&sandbox, "sed -i s/max_length/max_lenght/");
    wrong.refused("edit", &["did you mean `max_length`?", "left as it was", "chiasm model edit small"]);
    assert_eq!(text(&sandbox), before);
    // The text is still there, and the next edit goes on with it.
    let mended = edited(&sandbox, "sed -i 's/max_lenght = 64/max_length = 16/'");
    assert_eq!(mended.code, Some(0), "{}", mended.stderr);
    assert_eq!(text(&sandbox), before.replace("max_length = 64", "max_length = 16"));
    let same = edited(&sandbox, "true");
    assert!(same.stdout.contains("nothing was changed"), "{}", same.stdout);
    edited(&sandbox, "false").refused("edit", &["the editor false ended", "chiasm model set"]);
    assert!(edited(&sandbox, "rm -f").code == Some(2));
}

#[test]
fn an_edit_that_was_left_does_not_undo_a_later_change() {
    let sandbox = with_model();
    let draft = sandbox.path("models/small/card.edited.toml");
    edited(&sandbox, "false");
    assert!(!draft.exists(), "a copy without changes is not kept");
    edited(&sandbox, "sed -i s/max_length/max_lenght/");
    let again = edited(&sandbox, "true");
    assert!(again.stderr.contains("opening the text of an earlier edit"), "{}", again.stderr);
    sandbox.good(&["model", "set", "small", "licence=MIT"]);
    let after = text(&sandbox);
    edited(&sandbox, "sed -i s/max_lenght/max_length/").refused("edit", &["changed after it", "remove"]);
    assert_eq!(text(&sandbox), after);
    std::fs::remove_file(draft).unwrap();
    assert_eq!(edited(&sandbox, "sed -i s/MIT/ISC/").code, Some(0));
    assert_eq!(text(&sandbox), after.replace("MIT", "ISC"));
}

#[test]
fn a_card_is_removed_with_the_files_that_are_its_own() {
    let sandbox = with_model();
    sandbox.refused(&["model", "remove", "small"], &["models/small/model.onnx", "--yes"]);
    sandbox.write("models/small/notes.txt", "mine");
    // A second card uses the same tokenizer.
    let card = text(&sandbox).replace("name = \"small\"", "name = \"other\"");
    sandbox.write("models/other/card.toml", card.replace("\"model.onnx\"", "\"../small/model.onnx\""));
    let removed = json(&sandbox.good(&["model", "remove", "small", "--yes", "--format", "json"]));
    assert_eq!(removed["removed"].as_array().unwrap().len(), 1, "{removed}");
    for kept in ["model.onnx", "tokenizer.json", "notes.txt"] {
        assert!(sandbox.path(&format!("models/small/{kept}")).is_file(), "{kept}");
    }
    sandbox.good(&["model", "inspect", "other"]);
    let removed = sandbox.good(&["model", "remove", "other", "--yes"]);
    assert!(removed.contains("stays") && removed.contains("small/model.onnx"), "{removed}");
    assert!(!sandbox.path("models/other").exists() && sandbox.path("models/small").exists());
}

#[test]
fn files_of_a_card_whose_model_is_missing_or_damaged_stay() {
    let sandbox = with_model();
    let other = text(&sandbox).replace("name = \"small\"", "name = \"other\"");
    sandbox.write("models/other/card.toml", other.replace("\"model.onnx\"", "\"../small/missing.onnx\""));
    let removed = sandbox.good(&["model", "remove", "small", "--yes"]);
    assert!(removed.contains("stays") && removed.contains("tokenizer.json"), "{removed}");
    assert!(sandbox.path("models/small/tokenizer.json").is_file());
    assert!(!sandbox.path("models/small/model.onnx").exists());

    let sandbox = with_model();
    sandbox.write("models/small/damaged.onnx", "no model");
    let damaged = other.replace("\"model.onnx\"", "\"../small/damaged.onnx\"");
    for (card, words) in [(&*damaged, &["its model cannot be read"][..]), ("name = 3", &["not a valid card"])]
    {
        sandbox.write("models/other/card.toml", card);
        let words = [words, &["models/other/card.toml", "mend or remove that card first"]].concat();
        sandbox.refused(&["model", "remove", "small", "--yes"], &words);
        assert!(sandbox.path("models/small/model.onnx").is_file());
    }
}

#[test]
fn a_folder_that_is_only_the_cards_is_removed_whole() {
    let sandbox = with_model();
    sandbox.good(&["model", "remove", "small", "--yes"]);
    assert!(!sandbox.path("models/small").exists() && sandbox.path("models").exists());
    sandbox.refused(&["model", "remove", "small", "--yes"], &["no model card called \"small\""]);
}

#[test]
fn nothing_outside_the_models_folder_is_removed() {
    let sandbox = with_model();
    std::fs::rename(sandbox.path("models/small"), sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("elsewhere"), sandbox.path("models/small")).unwrap();
    sandbox.refused(&["model", "remove", "small", "--yes"], &["outside the models folder"]);
    sandbox.refused(&["model", "remove", "../elsewhere", "--yes"], &["a model"]);
    assert!(sandbox.path("elsewhere/model.onnx").is_file() && sandbox.path("elsewhere/card.toml").is_file());
}
