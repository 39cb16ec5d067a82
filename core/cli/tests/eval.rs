//! `chiasm eval --by` and `--errors`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Sandbox;
use serde_json::Value;

/// A run of the demo whose rows have a class: `even` or `odd`, a number for every tenth.
fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    let pairs = sandbox.world(150);
    let text = std::fs::read_to_string(&pairs).unwrap();
    let with_class = |(at, line): (usize, &str)| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["class"] = match at % 10 {
            0 => 7.into(),
            _ => ["even", "odd"][at % 2].into(),
        };
        format!("{row}\n")
    };
    std::fs::write(&pairs, text.lines().enumerate().map(with_class).collect::<String>()).unwrap();
    sandbox.recipe();
    // The mean vector learns nothing, so that most queries are wrong.
    let output = sandbox.call(&["fit", "recipe.toml", "--set", "align.plugin=mean-vector", "-o", "run"]);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
    sandbox
}

#[test]
fn metrics_by_a_column_and_the_worst_items() {
    let sandbox = fitted();
    let json = ["eval", "run", "--by", "class", "--errors", "4", "--format", "json"];
    let found: Value = serde_json::from_str(&sandbox.good(&json)).unwrap();
    for direction in ["image->text", "text->image"] {
        let groups = found["by"][direction].as_object().unwrap();
        // The test rows are 0, 5, 10, ...: tens have the class 7, the others are odd.
        assert_eq!(groups.keys().collect::<Vec<_>>(), ["7", "odd"]);
        let whole = &found["retrieval"][direction];
        for metric in ["recall@1", "recall@10", "mrr", "map", "ndcg@10"] {
            let weighted =
                groups.values().map(|g| g[metric].as_f64().unwrap() * g["queries"].as_f64().unwrap());
            let mean = weighted.sum::<f64>() / 30.0;
            assert!(
                (mean - whole[metric].as_f64().unwrap()).abs() < 1e-12,
                "{direction} {metric}: {groups:?}"
            );
        }
        for group in groups.values() {
            let [low, high] = [0, 1].map(|end| group["recall@1_interval"][end].as_f64().unwrap());
            assert!(0.0 <= low && low <= high && high <= 1.0, "{group}");
        }
        let errors = found["errors"].as_array().unwrap().iter().filter(|one| one["direction"] == direction);
        let ranks: Vec<f64> = errors.clone().map(|one| one["rank"].as_f64().unwrap()).collect();
        let wrong = (30.0 * (1.0 - whole["recall@1"].as_f64().unwrap())).round() as usize;
        assert_eq!(ranks.len(), wrong.min(4), "{direction}");
        assert!(
            ranks.windows(2).all(|two| two[0] >= two[1]) && ranks.iter().all(|rank| *rank > 1.0),
            "{ranks:?}"
        );
        // The partner of a picture is a caption of its own row.
        for one in errors {
            let row = one["row"].as_str().unwrap().trim_start_matches('s');
            let picture = if direction == "image->text" { &one["query"] } else { &one["partner"] };
            assert_eq!(picture.as_str().unwrap(), format!("world/images/{row}.png"));
            assert_ne!(one["found_row"], one["row"]);
        }
    }
    let table = sandbox.good(&json[..6]);
    assert!(table.contains("| class |") && table.contains("ndcg@10") && table.contains("csls"), "{table}");
    assert!(table.contains("rank of the partner"), "{table}");
    let missing = sandbox.call(&["eval", "run", "--by", "colour"]);
    missing.refused("a column that is missing", &["colour"]);
    sandbox.call(&["eval", "run", "--errors", "0"]).refused("no errors", &["--errors"]);
}
