//! Searches, and queries of several modalities.

mod common;

use common::views::{fit, metrics, noisy_views, rows, views};
use serde_json::{Value, json};

#[test]
fn a_search_names_the_modality_it_searches() {
    let sandbox = views("plugin = \"cca\"\n");
    rows(&sandbox, |_, _| true);
    fit(&sandbox, &[]);
    sandbox
        .call(&["search", "run", "--a", "5"])
        .refused("two others", &["name the one to search: --in b or --in c"]);
    let found = sandbox.good(&["search", "run", "--a", "5", "--in", "c", "--format", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let rows: Vec<&Value> = found.as_array().unwrap().iter().map(|one| &one["row"]).collect();
    assert_eq!(rows.len(), 5);
    assert!(rows.contains(&&json!("r5")), "{found}");
    sandbox.call(&["search", "run", "--a", "5", "--in", "a"]).refused("itself", &["search among b or c"]);
    sandbox
        .call(&["search", "run", "--a", "5", "--b", "5", "--c", "5"])
        .refused("every modality", &["the query holds every modality"]);
    let outputs = sandbox.good(&["run", "run", "--a", "5", "--b", "5", "--c", "5", "--format", "json"]);
    let outputs: Value = serde_json::from_str(&outputs).unwrap();
    let pairs: Vec<&String> = outputs["scores"].as_object().unwrap().keys().collect();
    assert_eq!(pairs, ["a->b", "a->c", "b->c"]);
}

/// The noise of the views is independent, so two views know more of a row than one: the joint reciprocal
/// rank exceeds that of the better view. The score of a joint search is the mean of the scores of its items.
#[test]
fn a_query_of_two_modalities_retrieves_more_than_either_alone() {
    let sandbox = noisy_views("plugin = \"cca\"\n", 1.0);
    rows(&sandbox, |_, _| true);
    fit(&sandbox, &[]);
    let metrics = metrics(&sandbox);
    for name in ["a+b->c", "a+c->b", "b+c->a"] {
        let joint = &metrics["joint"][name];
        let alone = joint["alone"].as_object().unwrap().values().map(|one| one["mrr"].as_f64().unwrap());
        let (found, best) = (joint["mrr"].as_f64().unwrap(), alone.fold(0.0, f64::max));
        assert!(found > best, "{name}: {joint}");
    }
    assert_eq!(metrics["rsum_max"], 1800.0, "joint queries are not part of rsum");
    let search = |query: &[&str]| {
        let found = sandbox.good(&[&["search", "run", "--top", "60", "--format", "json"], query].concat());
        let found: Vec<Value> = serde_json::from_str(&found).unwrap();
        let score = |one: &Value| (one["row"].to_string(), one["score"].as_f64().unwrap());
        found.iter().map(score).collect::<std::collections::BTreeMap<_, _>>()
    };
    let joint = search(&["--a", "5", "--b", "5"]);
    let [first, second] = ["--a", "--b"].map(|flag| search(&[flag, "5", "--in", "c"]));
    for (row, score) in &joint {
        let mean = (first[row] + second[row]) / 2.0;
        assert!((score - mean).abs() < 1e-5, "row {row}: {score} is not {mean} (float32 sums)");
    }
}
