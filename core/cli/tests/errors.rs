//! Errors as JSON, and names that are nearly right.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, json};
use serde_json::Value;

/// The error on the last line of stderr.
fn error(output: &CommandOutput) -> Value {
    json(output.stderr.lines().last().unwrap())["error"].take()
}

#[test]
fn problems_of_a_recipe_are_json_with_their_places() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let recipe = std::fs::read_to_string(sandbox.path("recipe.toml")).unwrap();
    let recipe = recipe.replace("plugin = \"ridge\"", "plugin = \"ridge\"\nanchr = \"a\"");
    sandbox.write("recipe.toml", &recipe);
    let output = sandbox.call(&["plan", "recipe.toml", "--format", "json"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let found = error(&output);
    assert_eq!(found["exit_code"], 2);
    let problems = found["problems"].as_array().unwrap();
    let unknown = problems.iter().find(|one| one["code"] == "chiasm::recipe::unknown_key");
    let place = &unknown.unwrap_or_else(|| panic!("no unknown key: {found}"))["place"];
    let at = |key: &str| place[key].as_u64().unwrap() as usize;
    assert_eq!(&recipe[at("start")..at("end")], "anchr");
    assert_eq!((at("line"), at("column")), (recipe[..at("start")].matches('\n').count() + 1, 1));
    assert!(place["file"].as_str().unwrap().ends_with("recipe.toml"), "{place}");
    assert!(problems.iter().all(|one| one["message"].is_string() && one["code"].is_string()), "{found}");
}

#[test]
fn every_kind_of_error_is_json() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    for (arguments, code, exit) in [
        (&["measure", "no.npy", "a.npy"][..], "chiasm::io", 2),
        (&["no-such-command"], "chiasm::usage", 2),
        (&["plan"], "chiasm::usage", 2),
        (&["eval", "no-run"], "chiasm::run::not_a_run", 2),
        (&["model", "inspect", "no-model"], "chiasm::model::unknown", 2),
        (&["explain", "no-such-thing"], "chiasm::explain::name", 2),
    ] {
        let output = sandbox.call(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.code, Some(exit), "{arguments:?}: {}", output.stderr);
        let found = error(&output);
        assert_eq!(found["problems"][0]["code"], code, "{arguments:?}: {found}");
        assert!(!found["problems"][0]["message"].as_str().unwrap().is_empty());
    }
    // A name with a mark that turns the direction of text is escaped as JSON does it.
    let turned = error(&sandbox.call(&["measure", "n\u{202e}o.npy", "a.npy", "--format", "json"]));
    assert!(turned["problems"][0]["message"].as_str().unwrap().contains("n\u{202e}o.npy"), "{turned}");
    // Help is no error.
    let help = sandbox.call(&["plan", "--help", "--format", "json"]);
    assert!(help.code == Some(0) && help.stdout.contains("Usage"), "{}", help.stdout);
}

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.good(&["fit", "recipe.toml", "-o", "first"]);
    sandbox.refused(&["eval", "frist"], &["there is no run folder frist", "did you mean `first`?"]);
    sandbox.refused(&["report", "firs", "-o", "r.html"], &["did you mean `first`?"]);
    // The flags of modalities are those of the run; without it they are not what is wrong.
    sandbox.refused(&["run", "frist", "--a", "0"], &["there is no run folder frist", "`first`?"]);
    sandbox.refused(&["run", "first", "--aa", "0"], &["--aa"]);
    sandbox.refused(&["search", "first", "--a", "0", "--in", "bb"], &["no modality \"bb\""]);
    sandbox.refused(&["eval", "."], &["is not a run folder"]);
    let set = ["plan", "recipe.toml", "--set", "align.plugin=mean-vector", "--set", "align.anchor=bb"];
    sandbox.refused(&set, &["`align.anchor` expects one of a, b", "did you mean `b`?"]);
}

#[test]
fn the_values_of_a_report_are_defined_in_it() {
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    let measured = json(&sandbox.good(&[
        "measure",
        "a.npy",
        "b.npy",
        "--only",
        "cka_linear,mutual_knn",
        "--format",
        "json",
    ]));
    for (key, words) in [("cka_linear", "kernel alignment"), ("mutual_knn@10", "neighbours")] {
        let about = measured["definitions"][key]["about"].as_str().unwrap();
        let told = sandbox.good(&["explain", key.split('@').next().unwrap()]);
        assert!(told.contains(about), "{about} is not in {told}");
        assert!(about.contains(words), "{about}");
        assert!(measured["definitions"][key]["takes"].as_str().unwrap().contains("rows used"));
    }
    let moved = json(&sandbox.good(&["transport", "a.npy", "a.npy", "--format", "json"]));
    let definitions = moved["definitions"].as_object().unwrap();
    let words = definitions["marginal_error"].as_str().unwrap();
    assert!(sandbox.good(&["explain", "marginal_error"]).contains(words));
    let undefined: Vec<&String> = moved
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| !definitions.contains_key(*key) && !["solver", "definitions"].contains(&key.as_str()))
        .collect();
    assert!(undefined.is_empty(), "{undefined:?}");
}
