//! `chiasm explain`, the reference page, and `chiasm recipe new`.

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
fn a_plugin_that_may_not_run_keeps_no_other_name_from_being_explained() {
    let sandbox = Sandbox::new();
    sandbox.write("chiasm.lock", "version = 1\n");
    for name in ["align.anchor", "rank", "mutual_knn", "image.preprocessing.size"] {
        sandbox.good(&["explain", name]);
    }
    sandbox.refused(&["explain", "cca"], &["plugin cca", "chiasm.lock"]);
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

#[test]
fn a_new_recipe_has_comments_and_can_be_fitted() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    std::fs::create_dir(sandbox.path("recipes")).unwrap();
    let new = ["recipe", "new", "a.npy", "second=b.npy", "--aligner", "ridge", "-o", "recipes/new.toml"];
    let printed = sandbox.good(&new);
    assert!(printed.contains("chiasm plan recipes/new.toml"), "{printed}");
    let text = std::fs::read_to_string(sandbox.path("recipes/new.toml")).unwrap();
    for line in
        ["[encoders.a]", "vectors = \"../a.npy\"", "[encoders.second]", "plugin = \"ridge\"", "# bank = true"]
    {
        assert!(text.lines().any(|own| own == line), "{line:?} is not in\n{text}");
    }
    // The keys in the comments are valid too.
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| !key.trim_start_matches("# ").contains(' '))
    };
    let whole: Vec<&str> = text
        .lines()
        .map(|line| if is_key(line) || line == "# [score]" { line.trim_start_matches("# ") } else { line })
        .collect();
    let whole = whole.join("\n").replace("column = \"a\"\n", "").replace("column = \"second\"\n", "");
    sandbox.write("recipes/whole.toml", whole.replace("anchor = \"second\"", ""));
    sandbox.good(&["plan", "recipes/whole.toml"]);
    sandbox.refused(&new, &["exists", "recipes/new.toml"]);
    sandbox.refused(&["recipe", "new", "a.npy", "no-such-model", "-o", "x.toml"], &["no-such-model"]);
    assert!(!sandbox.path("x.toml").exists());
    sandbox.good(&["fit", "recipes/new.toml", "-o", "run"]);
}

#[test]
fn a_new_recipe_for_models_needs_their_data() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    let models = ["recipe", "new", "demo-image", "captions=demo-text"];
    sandbox.refused(&models, &["--pairs", "image, captions"]);
    sandbox.good(&[&models[..], &["--pairs", "world/pairs.jsonl"]].concat());
    let plan = sandbox.good(&["plan", "recipe.toml"]);
    assert!(plan.contains("demo-image") && plan.contains("demo-text"), "{plan}");
}
