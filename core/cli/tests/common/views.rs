//! Three views of common causes: files of vectors, rows and a recipe that aligns them.

use super::{RandomNumbers, Sandbox, npy};
use serde_json::{Value, json};

pub const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];
pub const ROWS: usize = 300;
/// Widths of the views.
pub const VIEWS: [(&str, usize); 3] = [("a", 12), ("b", 10), ("c", 8)];

/// Writes three files of vectors, noisy linear functions of six latent numbers, and a recipe that aligns
/// them.
pub fn views(align: &str) -> Sandbox {
    noisy_views(align, 0.1)
}

pub fn noisy_views(align: &str, noise: f32) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut numbers = RandomNumbers(3);
    let causes: Vec<[f32; 6]> = (0..ROWS).map(|_| [(); 6].map(|()| numbers.next())).collect();
    let mut recipe = String::new();
    for (name, width) in VIEWS {
        let mixing: Vec<[f32; 6]> = (0..width).map(|_| [(); 6].map(|()| numbers.next())).collect();
        let mut values = Vec::new();
        for cause in &causes {
            for weights in &mixing {
                let clean: f32 = weights.iter().zip(cause).map(|(w, x)| w * x).sum();
                values.push(clean + noise * numbers.next());
            }
        }
        sandbox.write(&format!("{name}.npy"), npy(ROWS, width, &values));
        recipe.push_str(&format!("[encoders.{name}]\nvectors = \"{name}.npy\"\n"));
    }
    sandbox.write("recipe.toml", format!("{recipe}[data]\npairs = \"rows.jsonl\"\n[align]\n{align}"));
    sandbox
}

/// Writes the rows. Every fifth row is test and has all views; `keep` selects the views of a training row.
pub fn rows(sandbox: &Sandbox, keep: impl Fn(usize, &str) -> bool) {
    let mut lines = String::new();
    for row in 0..ROWS {
        let split = if row % 5 == 0 { "test" } else { "train" };
        let mut line = json!({ "id": format!("r{row}"), "split": split });
        for (name, _) in VIEWS {
            if split == "test" || keep(row, name) {
                line[name] = row.into();
            }
        }
        lines.push_str(&format!("{line}\n"));
    }
    sandbox.write("rows.jsonl", lines);
}

pub fn metrics(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.good(&["eval", "run", "--format", "json"])).unwrap()
}

/// Fits the recipe. The checks may fail, since there are few pairs.
pub fn fit(sandbox: &Sandbox, more: &[&str]) {
    let output = sandbox.call(&[&FIT[..], more].concat());
    assert!(matches!(output.code, Some(0 | 1)), "{more:?}: {}", output.stderr);
}

pub fn recall(metrics: &Value, direction: &str) -> f64 {
    metrics["retrieval"][direction]["recall@10"].as_f64().unwrap()
}
