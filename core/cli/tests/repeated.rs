//! Items that several rows show are one item.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, npy};
use serde_json::{Value, json};

const PICTURES: usize = 60;
const CAPTIONS: usize = 5;

/// Pictures on random directions, and five noisy views of each as captions.
fn vectors(sandbox: &Sandbox) {
    let mut numbers = common::RandomNumbers(7);
    let pictures: Vec<f32> = (0..PICTURES * 8).map(|_| numbers.next()).collect();
    let captions: Vec<f32> = (0..PICTURES * CAPTIONS)
        .flat_map(|caption| pictures[caption / CAPTIONS * 8..][..8].to_vec())
        .map(|x| x + 1.3 * numbers.next())
        .collect();
    sandbox.write("pictures.npy", npy(PICTURES, 8, &pictures));
    sandbox.write("captions.npy", npy(PICTURES * CAPTIONS, 8, &captions));
    sandbox.write(
        "recipe.toml",
        "[encoders.picture]\nvectors = \"pictures.npy\"\n[encoders.caption]\nvectors = \"captions.npy\"\n\
         [data]\npairs = \"pairs.jsonl\"\nsplit = \"split\"\n[align]\nplugin = \"mean-vector\"\n",
    );
}

fn retrieval(sandbox: &Sandbox, rows: &[Value]) -> Value {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    sandbox.write("pairs.jsonl", lines.join("\n"));
    sandbox.call(&["-q", "fit", "recipe.toml", "-o", "run", "--force"]);
    let metrics: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("run/metrics.json")).unwrap()).unwrap();
    metrics["retrieval"].clone()
}

/// One row for each caption, with its picture, is the same retrieval as one row for each picture, with all
/// its captions. The second form is compared with the references of Flickr30k's protocol elsewhere.
#[test]
fn a_picture_on_five_rows_is_one_picture() {
    let sandbox = Sandbox::new();
    vectors(&sandbox);
    let split = |picture: usize| if picture < PICTURES / 2 { "train" } else { "test" };
    let listed: Vec<Value> = (0..PICTURES)
        .map(|picture| {
            let captions: Vec<usize> = (0..CAPTIONS).map(|at| picture * CAPTIONS + at).collect();
            json!({ "picture": picture, "caption": captions, "split": split(picture) })
        })
        .collect();
    let repeated: Vec<Value> = (0..PICTURES * CAPTIONS)
        .map(|at| json!({ "picture": at / CAPTIONS, "caption": at, "split": split(at / CAPTIONS) }))
        .collect();
    let [listed, repeated] = [listed, repeated].map(|rows| retrieval(&sandbox, &rows));
    for direction in ["picture->caption", "caption->picture"] {
        for figure in ["queries", "gallery", "recall@1", "recall@5", "mrr", "map", "median_rank"] {
            let [want, got] = [&listed, &repeated].map(|all| all[direction][figure].as_f64().unwrap());
            assert!((got - want).abs() < 1e-12, "{direction} {figure}: {got}, expected {want}");
        }
        let recall = repeated[direction]["recall@1"].as_f64().unwrap();
        assert!((0.3..1.0).contains(&recall), "{direction}: {recall} would not tell the protocols apart");
    }
}
