//! `chiasm explain` and the reference page.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json, project};

#[test]
fn a_name_is_explained_whatever_it_names() {
    let sandbox = Sandbox::new();
    for (name, words) in [
        ("align.anchor", &["align.anchor (recipe)", "a modality", "anchor = \"text\""][..]),
        ("anchor", &["align.anchor (recipe)"]),
        ("encoders.image.items", &["encoders.MODALITY.items", "each"]),
        ("checks.rank.warn", &["checks.CHECK.warn"]),
        ("rank", &["rank (check)", "formula"]),
        ("mutual_knn", &["mutual_knn@ (measure)", "nearest neighbours"]),
        ("mutual_knn@10", &["mutual_knn@ (measure)"]),
        ("ridge.onto", &["ridge.onto (parameter of the aligner ridge)", "takes", "default"]),
    ] {
        let text = sandbox.good(&["explain", name]);
        words.iter().for_each(|word| assert!(text.contains(word), "{name}: {word:?} is not in\n{text}"));
    }
    sandbox.refused(&["explain", "ancor"], &["no key, plugin, check or measure", "did you mean `anchor`"]);
}

#[test]
fn explanations_are_json_for_machines() {
    let sandbox = Sandbox::new();
    let keys = json(&sandbox.good(&["explain", "recipe", "--format", "json"]));
    let anchor = keys.as_array().unwrap().iter().find(|key| key["name"] == "align.anchor").unwrap();
    assert_eq!(anchor["takes"], "a modality");
    for topic in ["plugins", "checks", "measures"] {
        let list = json(&sandbox.good(&["explain", topic, "--format", "json"]));
        assert!(list.as_array().unwrap().len() > 10, "{topic}");
    }
}

#[test]
fn the_reference_page_is_what_the_program_explains() {
    let page = Sandbox::new().good(&["explain", "page"]);
    let path = project().join("core/REFERENCE.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(stored == page, "core/REFERENCE.md is out of date: run this test with UPDATE_GOLDEN=1");
}
