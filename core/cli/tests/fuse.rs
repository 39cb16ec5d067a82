//! Fusions that read tokens and learn a task: fit, eval, run with some of the inputs, and invalid input.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, contents, json, peers, project};
use serde_json::Value;
use std::process::Command;
use world::World;

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];
const QUESTION: &str = "what colour is the shape left of the circle";

/// Writes four questions about each picture, and a recipe that learns to answer them.
fn quiz(pictures: usize, fuse: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    world::write_quiz(&World::new(11), &sandbox.path("quiz"), pictures, 4).unwrap();
    recipe(&sandbox, "[task]\nkind = \"classification\"\ncolumn = \"answer\"\n", fuse);
    sandbox
}

fn recipe(sandbox: &Sandbox, task: &str, fuse: &str) {
    sandbox.write(
        "recipe.toml",
        format!(
            "[encoders.image]\nmodel = \"demo-image\"\n[encoders.question]\nmodel = \"demo-text\"\n\
             [data]\npairs = \"quiz/pairs.jsonl\"\n[align]\nplugin = \"procrustes\"\n\
             [checks]\nsurjectivity = {{ fail = 0 }}\n{task}[fuse]\n{fuse}"
        ),
    );
}

fn picture(sandbox: &Sandbox) -> String {
    let pairs = std::fs::read_to_string(sandbox.path("quiz/pairs.jsonl")).unwrap();
    let row = json(pairs.lines().next().unwrap());
    format!("quiz/{}", row["image"].as_str().unwrap())
}

const SMALL: &str =
    "plugin = \"cross-attention\"\nwidth = 16\nheads = 2\nhidden = 16\ndepth = 1\nepochs = 2\n";

#[test]
fn a_run_takes_any_of_the_inputs_and_python_reproduces_it() {
    let sandbox = quiz(60, SMALL);
    sandbox.good(&FIT);
    let image = picture(&sandbox);
    let run = |arguments: &[&str]| {
        let all = [&["run", "run", "--format", "json"], arguments].concat();
        json(&sandbox.good(&all))
    };
    let both = run(&["--image", &image, "--question", QUESTION]);
    let (seen, asked) = (run(&["--image", &image]), run(&["--question", QUESTION]));
    let names = |outputs: &Value| outputs["outputs"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&both), ["fused_embeds", "image_embeds", "logits", "question_embeds"]);
    assert_eq!(names(&seen), ["fused_embeds", "image_embeds", "logits"]);
    assert_eq!(names(&asked), ["fused_embeds", "logits", "question_embeds"]);
    let logits = |outputs: &Value| outputs["outputs"]["logits"][0].as_array().unwrap().clone();
    assert_ne!(logits(&both), logits(&seen));
    assert_ne!(logits(&both), logits(&asked));
    assert_eq!(
        logits(&both).len(),
        json(&stored(&sandbox, "manifest.json"))["task"]["labels"].as_array().unwrap().len()
    );
    assert!(both["answers"][0].as_str().unwrap().contains("0."), "{both}");

    sandbox.write("output.json", both.to_string());
    let script = project().join("core/cli/tests/peer/reproduce.py");
    let peer = Command::new(peers())
        .current_dir(sandbox.path(""))
        .arg(script)
        .args(["run", &image, QUESTION, "output.json"])
        .output()
        .unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    for (name, difference) in json(&String::from_utf8_lossy(&peer.stdout)).as_object().unwrap() {
        // Two builds of ONNX Runtime in f32, including the preprocessing.
        assert!(difference.as_f64().unwrap() < 1e-4, "{name} differs by {difference}");
    }
    attention_is_drawn_over_the_image(&sandbox, &image);
}

fn attention_is_drawn_over_the_image(sandbox: &Sandbox, image: &str) {
    let svg = [
        "run",
        "run",
        "--image",
        image,
        "--question",
        QUESTION,
        "--attention",
        "attention.svg",
        "--format",
        "json",
    ];
    let attention = json(&sandbox.good(&svg));
    let shares = attention["outputs"]["image_attention"][0].as_array().unwrap();
    let sum: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
    assert!(shares.len() == 64 && (sum - 1.0).abs() < 1e-5, "{} shares, sum {sum}", shares.len());
    let drawn = std::fs::read_to_string(sandbox.path("attention.svg")).unwrap();
    assert!(
        drawn.contains("what colour is the shape") && drawn.matches("<rect").count() == 65,
        "{drawn:.300}"
    );
    // Attention can only be drawn over an image.
    let alone = sandbox.call(&["run", "run", "--question", QUESTION, "--attention", "none.svg"]);
    alone.refused("no picture", &["the outputs have no attention on a modality of images"]);
}

fn stored(sandbox: &Sandbox, file: &str) -> String {
    std::fs::read_to_string(sandbox.path(&format!("run/{file}"))).unwrap()
}

#[test]
fn eval_reproduces_the_metrics_of_fit_and_two_fits_are_equal() {
    let sandbox = quiz(60, SMALL);
    sandbox.good(&FIT);
    let (again, kept) =
        (json(&sandbox.good(&["eval", "run", "--format", "json"])), json(&stored(&sandbox, "metrics.json")));
    let (again, kept) = (&again["task"], &kept["task"]);
    assert_eq!(again["metric"], "accuracy");
    assert_eq!(again["rows"], kept["rows"]);
    for path in ["/score", "/without/image", "/without/question", "/baselines/commonest_class"] {
        let of = |metrics: &Value| metrics.pointer(path).unwrap().as_f64().unwrap();
        // The batches differ, so a tie in the sixth digit may be broken differently.
        assert!((of(again) - of(kept)).abs() < 0.03, "{path}: {again} and {kept}");
    }
    let output = sandbox
        .chiasm()
        .args(["fit", "recipe.toml", "-o", "second"])
        .env("CHIASM_CACHE", sandbox.path("other"))
        .output();
    assert!(output.unwrap().status.success());
    assert_eq!(contents(&sandbox.path("run")), contents(&sandbox.path("second")));
}

/// Attention over tokens is better than pooled vectors, and than the ceilings of either input alone.
#[test]
fn attention_beats_pooled_vectors_and_the_ceiling_of_either_input() {
    let sandbox =
        quiz(1500, "plugin = \"cross-attention\"\nwidth = 64\nhidden = 128\ndepth = 1\nepochs = 12\n");
    let ceilings = json(&std::fs::read_to_string(sandbox.path("quiz/ceilings.json")).unwrap());
    let score = |run: &str, mode: &str| {
        sandbox.good(&["fit", "recipe.toml", "-o", run, "--set", mode]);
        json(&std::fs::read_to_string(sandbox.path(&format!("{run}/metrics.json"))).unwrap())["task"].clone()
    };
    let number = |value: &Value| value.as_f64().unwrap();
    let (attention, concat) = (score("run", "fuse.mode=decoder"), score("concat", "fuse.mode=concat"));
    let [fused, pooled] = [&attention, &concat].map(|task| number(&task["score"]));
    assert!(fused > pooled + 0.15, "{fused} with attention, {pooled} of pooled vectors");
    for (hidden, ceiling) in [("image", "question_only"), ("question", "picture_only")] {
        let (alone, ceiling) = (number(&attention["without"][hidden]), number(&ceilings[ceiling]));
        assert!(
            alone <= ceiling && ceiling < fused,
            "{hidden} hidden: {alone}, its ceiling {ceiling}, fused {fused}"
        );
    }
}

#[test]
fn a_fused_vector_retrieves_the_other_captions() {
    let sandbox = Sandbox::new();
    sandbox.world(120);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    let fuse = format!("[task]\nkind = \"retrieval\"\nmodality = \"text\"\n\n[fuse]\n{SMALL}");
    sandbox.write("recipe.toml", recipe.replace("[fuse]\nplugin = \"concat\"\n", &fuse));
    sandbox.good(&FIT);
    let task = json(&sandbox.good(&["eval", "run", "--format", "json"]))["task"].clone();
    assert_eq!(task["metric"], "rsum");
    let baselines: Vec<&String> = task["baselines"].as_object().unwrap().keys().collect();
    assert_eq!(baselines, ["image", "sum", "text"]);
    // 24 rows, 4 captions each: chance is about 100 (4 % + 21 % + 42 %) of 300
    assert!(task["baselines"]["text"].as_f64().unwrap() > 150.0, "{task}");
    assert!(task["score"].as_f64().unwrap() > 100.0, "{task}");
    let outputs = sandbox.good(&["run", "run", "--image", "world/images/3.png"]);
    assert!(outputs.contains("fused_embeds") && !outputs.contains("logits"), "{outputs}");

    // The embedding of a text without tokens is NaN, but the fused vector is finite.
    let script = "import numpy, onnxruntime as ort
s = ort.InferenceSession('run/model.onnx', providers=['CPUExecutionProvider'])
kinds = {'tensor(int64)': 'int64', 'tensor(int32)': 'int32'}
shape = lambda i: [d if isinstance(d, int) else 2 for d in i.shape]
feed = {i.name: numpy.zeros(shape(i), kinds.get(i.type, 'float32')) for i in s.get_inputs()}
print(bool(numpy.isfinite(s.run(['fused_embeds'], feed)[0]).all()))";
    let peer = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&peer.stdout).trim(),
        "True",
        "{}",
        String::from_utf8_lossy(&peer.stderr)
    );
}

#[test]
fn invalid_tasks_are_refused_before_anything_is_embedded() {
    let sandbox = quiz(6, SMALL);
    let class = "[task]\nkind = \"classification\"\ncolumn = \"answer\"\n";
    for (task, fuse, words) in [
        ("", SMALL, &["\"cross-attention\" learns a task", "no `[task]`"][..]),
        (class, "plugin = \"concat\"\n", &["\"concat\" does not learn classification; it takes none"]),
        (
            "[task]\nkind = \"sorting\"\ncolumn = \"answer\"\n",
            SMALL,
            &["`task.kind` expects one of classification", "\"sorting\""],
        ),
        ("[task]\nkind = \"classification\"\n", SMALL, &["`task` has no `column`"]),
        (
            "[task]\nkind = \"classification\"\ncolumn = \"colour\"\n",
            SMALL,
            &["no column `colour`", "`answer`"],
        ),
        (
            "[task]\nkind = \"regression\"\ncolumn = \"answer\"\n",
            SMALL,
            &["expected a number or a list of numbers"],
        ),
        ("[task]\nkind = \"multi-label\"\ncolumn = \"answer\"\n", SMALL, &["expected a list of labels"]),
        ("[task]\nkind = \"retrieval\"\nmodality = \"question\"\n", SMALL, &["column `question`", "holds 1"]),
        (
            "[task]\nkind = \"retrieval\"\nmodality = \"sound\"\n",
            SMALL,
            &["`task.modality` expects one of image, question"],
        ),
    ] {
        recipe(&sandbox, task, fuse);
        sandbox.refused(&FIT, words);
    }
    recipe(&sandbox, class, SMALL);
    sandbox
        .refused(&[&FIT[..], &["--set", "encoders.image.items=mean"]].concat(), &["takes the mean of all"]);
    sandbox.refused(&[&FIT[..], &["--set", "fuse.mode=nonsense"]].concat(), &["cross-attention", "nonsense"]);
}

#[test]
fn eval_keeps_the_labels_of_the_fit() {
    let sandbox = quiz(60, SMALL);
    sandbox.good(&FIT);
    let measured = || json(&sandbox.good(&["eval", "run", "--format", "json"]))["task"].clone();
    let before = measured();
    let pairs = std::fs::read_to_string(sandbox.path("quiz/pairs.jsonl")).unwrap();
    // A new training row with a label that sorts before all others.
    let mut row = json(pairs.lines().next().unwrap());
    (row["id"], row["split"], row["answer"]) = ("new".into(), "train".into(), "aaa".into());
    sandbox.write("quiz/pairs.jsonl", format!("{pairs}{row}\n"));
    assert_eq!(measured(), before);
}

/// Writes two files of 60 vectors, and a recipe whose task is a column of the data.
fn clouds(task: &str, column: impl Fn(usize) -> Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.vectors([60, 60]);
    let row = |i: usize| {
        let split = if i % 5 == 4 { "test" } else { "train" };
        serde_json::json!({"id": i, "split": split, "image": i, "text": i, "truth": column(i)}).to_string()
    };
    sandbox.write("pairs.jsonl", (0..60).map(row).collect::<Vec<_>>().join("\n"));
    sandbox.write(
        "recipe.toml",
        format!(
            "[encoders.image]\nvectors = \"a.npy\"\n[encoders.text]\nvectors = \"b.npy\"\n\
             [data]\npairs = \"pairs.jsonl\"\n[align]\nplugin = \"procrustes\"\n\
             [checks]\nsurjectivity = {{ fail = 0 }}\n\
             [task]\nkind = \"{task}\"\ncolumn = \"truth\"\n\
             [fuse]\nplugin = \"cross-attention\"\nmode = \"concat\"\nhidden = 8\nepochs = 5\n"
        ),
    );
    sandbox
}

fn score(sandbox: &Sandbox) -> f64 {
    sandbox.good(&FIT);
    json(&stored(sandbox, "metrics.json"))["task"]["score"].as_f64().unwrap()
}

#[test]
fn repeated_labels_count_once() {
    let labels = |i: usize| if i.is_multiple_of(3) { vec!["a", "b"] } else { vec!["b"] };
    let once = score(&clouds("multi-label", |i| labels(i).into()));
    let twice = score(&clouds("multi-label", |i| labels(i).repeat(2).into()));
    assert!(once > 0.5 && once == twice, "{once} and {twice}");
}

#[test]
fn numbers_of_any_size_are_learned_and_constant_columns_are_refused() {
    let number = |i: usize| (i * 7 % 60) as f64;
    let plain = score(&clouds("regression", |i| number(i).into()));
    for size in [1e-14, 1e30] {
        // The same numbers in another unit: the training is the same up to rounding.
        let scaled = score(&clouds("regression", |i| (number(i) * size).into()));
        assert!((scaled - plain).abs() < 1e-2 * (1.0 + plain.abs()), "{size}: {scaled}, plain {plain}");
    }
    let refused =
        |sandbox: &Sandbox, words: &[&str]| sandbox.call(&FIT).refused("a column of numbers", words);
    refused(&clouds("regression", |_| 3.5.into()), &["`truth` is constant in the 12 test row(s)"]);
    refused(
        &clouds("regression", |i| if i == 7 { 1e39.into() } else { i.into() }),
        &["absolute values up to 3.4e38", "1e+39"],
    );
    refused(&clouds("multi-label", |_| serde_json::json!(["a", null])), &["expected a list of labels"]);
}

#[test]
fn parameters_of_the_wrong_type_are_refused_before_anything_is_embedded() {
    let sandbox = quiz(20, SMALL);
    let wrong = ["plan", "recipe.toml", "--set", "fuse.width=\"wide\"", "--set", "fuse.mode=3"];
    sandbox.refused(
        &wrong,
        &[
            "`fuse.width`: expected an integer from 1 to 8192, got",
            "`fuse.mode`: expected one of decoder, one-way",
        ],
    );
}

#[test]
fn parameters_out_of_range_are_refused_before_anything_is_embedded() {
    let sandbox = quiz(20, SMALL);
    // A number that JSON lacks must not become a parameter that is not set.
    for number in ["2", "nan", "inf"] {
        let set = format!("fuse.dropout={number}");
        let words =
            ["`fuse.dropout`: expected a number from 0 to 0.95, got", "Fraction of the fused numbers"];
        sandbox.refused(&["plan", "recipe.toml", "--set", &set], &words);
    }
    // Only the plugin knows that the heads divide the width.
    sandbox.refused(
        &["plan", "recipe.toml", "--set", "fuse.heads=3"],
        &["parameter `heads`: expected a divisor of `width` = 16, got 3"],
    );
    sandbox
        .refused(&["plan", "recipe.toml", "--set", "align.dimensions=0"], &["`align.dimensions`: expected"]);
}

/// A mode that reads pooled vectors embeds no tokens, and its merged model still knows which modality is
/// absent.
#[test]
fn a_mode_of_pooled_vectors_embeds_no_tokens() {
    let sandbox = quiz(60, &format!("{SMALL}mode = \"gated-sum\"\n"));
    let plan = |mode: &str| {
        json(&sandbox.good(&[
            "plan",
            "recipe.toml",
            "--format",
            "json",
            "--set",
            &format!("fuse.mode={mode}"),
        ]))
    };
    assert_eq!(plan("gated-sum")["reads_tokens"], false);
    assert_eq!(plan("decoder")["reads_tokens"], true);
    sandbox.good(&FIT);
    let before = stored(&sandbox, "metrics.json");
    let again = json(&sandbox.good(&["eval", "run", "--format", "json"]));
    assert_eq!(again["task"]["score"], json(&before)["task"]["score"]);
    let image = picture(&sandbox);
    let logits = |arguments: &[&str]| {
        let all = [&["run", "run", "--format", "json"], arguments].concat();
        json(&sandbox.good(&all))["outputs"]["logits"].clone()
    };
    let both = logits(&["--image", &image, "--question", QUESTION]);
    let seen = logits(&["--image", &image]);
    assert!(both.is_array() && seen.is_array() && both != seen, "{both} {seen}");
}

#[test]
fn inconsistent_inputs_are_refused() {
    let sandbox = quiz(60, SMALL);
    sandbox.good(&FIT);
    let image = picture(&sandbox);
    let refused = |table: &str, words: &[&str]| {
        sandbox.write("rows.jsonl", table);
        sandbox.call(&["run", "run", "--input", "rows.jsonl"]).refused(table, words);
    };
    let row = |rest: &str| format!("{{\"image\": \"{image}\"{rest}}}\n");
    refused(
        &format!("{}{{\"question\": \"a\"}}", row("")),
        &["rows.jsonl:2: expected image, as in the first row, got question"],
    );
    refused(
        &format!("{}{{}}", row("")),
        &["rows.jsonl:2: expected at least one of image, question, got none"],
    );
    refused(&row(", \"question\": [\"a\", \"b\"]"), &["expected one question, got [\"a\",\"b\"]"]);
    refused("", &["expected rows, got none"]);
    sandbox.write("rows.jsonl", row(", \"question\": \"a\", \"answer\": \"red\""));
    sandbox.good(&["run", "run", "--input", "rows.jsonl"]);
    let both = sandbox.call(&["run", "run", "--input", "rows.jsonl", "--question", "b"]);
    both.refused("two sources", &["--question cannot be used together with --input rows.jsonl"]);
    let attention =
        ["run", "run", "--image", &image, "--image", &image, "--question", "a", "--attention", "x.svg"];
    sandbox.call(&attention).refused(
        "two and one",
        &["the same number of raw items of each modality, got 2 of image and 1 of question"],
    );
}
