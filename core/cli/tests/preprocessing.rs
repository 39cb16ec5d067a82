//! The folder `preprocessing/` of runs and exports, as transformers opens it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, project};
use serde_json::{Value, json};

const TEXT: &str = "A small RED circle, na\u{ef}ve \u{4e2d}\u{6587} above a large blue square!";

fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    sandbox
}

/// Asserts that there are numbers of these names, each smaller than a limit.
fn below(limit: f64, numbers: &Value, names: &[&str]) {
    let numbers = numbers.as_object().unwrap();
    assert_eq!(numbers.keys().collect::<Vec<_>>(), names);
    for (name, number) in numbers {
        assert!(number.as_f64().unwrap() < limit, "{name} differs by {number}");
    }
}

/// The card shows how transformers opens the folders of the encoders. Pictures of the model's own size and
/// texts, also those that are cut, give the arrays of the adapters; a resized level may differ by one, which
/// is 1 / (255 x 0.25) = 0.0157 of an input and moves a vector of length one by less than a hundredth.
#[test]
fn transformers_opens_the_folders_of_a_run_and_of_its_exports() {
    let sandbox = fitted();
    let own_size = sandbox.path("world/images/0.png").display().to_string();
    let large = sandbox.path("large.png").display().to_string();
    let picture = image::open(&own_size).unwrap();
    picture.resize_exact(150, 101, image::imageops::FilterType::Triangle).save(&large).unwrap();
    let arrays = ["attention_mask", "input_ids", "pixel_values"];
    let ports: Vec<String> = {
        let exported = sandbox.good(&["inspect", "run", "--format", "json"]);
        let encoders = common::json(&exported)["encoders"].as_array().unwrap().clone();
        let names = encoders.iter().flat_map(|encoder| encoder["inputs"].as_object().unwrap().values());
        let mut names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(ports, arrays);
    let long = "a small red circle above a large blue square and ".repeat(20);
    let vectors = ["fused_embeds", "image_embeds", "text_embeds"];
    for (item, text, limits) in
        [(&own_size, TEXT, [1e-4; 2]), (&own_size, &long, [1e-4; 2]), (&large, TEXT, [0.0158, 0.01])]
    {
        let output = sandbox.good(&["run", "run", "--image", item, "--text", text, "--format", "json"]);
        let read = sandbox.beside_cards("run", &output, &[item, text]);
        let folders = json!(["preprocessing/image/demo-image", "preprocessing/text/demo-text"]);
        assert_eq!(read["folders"], folders);
        below(limits[0], &read["arrays"], &arrays);
        below(limits[1], &read["differences"], &vectors);
    }
    let output = sandbox.good(&["run", "run", "--image", &own_size, "--text", TEXT, "--format", "json"]);
    for (layout, vectors) in [("onnx", &vectors[..]), ("towers", &vectors[1..]), ("triton", &vectors[..])] {
        sandbox.good(&["export", "run", "--layout", layout, "-o", layout]);
        let read = sandbox.beside_cards(layout, &output, &[&own_size, TEXT]);
        below(1e-4, &read["arrays"], &arrays);
        below(1e-4, &read["differences"], vectors);
    }
    sandbox.good(&["export", "run", "--layout", "sentence-transformers", "-o", "st"]);
    for file in ["image/demo-image/preprocessor_config.json", "text/demo-text/tokenizer_config.json"] {
        assert!(sandbox.path("st/preprocessing").join(file).is_file(), "{file}");
    }
}

/// A model that prepares pictures itself has no file beside it that says it a second time.
#[test]
fn an_export_that_prepares_pictures_has_no_file_for_it() {
    let sandbox = fitted();
    sandbox.good(&["export", "run", "--with-preprocessing", "-o", "out"]);
    assert!(!sandbox.path("out/preprocessing/image/demo-image/preprocessor_config.json").exists());
    assert!(sandbox.path("out/preprocessing/image/demo-image/card.toml").is_file());
    let card = std::fs::read_to_string(sandbox.path("out/README.md")).unwrap();
    assert!(!card.contains("AutoImageProcessor") && card.contains("AutoTokenizer"), "{card}");
}

/// A tokenizer under another name is written under the usual one too; a card's own file is never overwritten.
#[test]
fn a_file_of_the_card_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    let from = project().join("models/demo-text");
    let card = std::fs::read_to_string(from.join("card.toml")).unwrap();
    for (name, whether) in [("words.json", true), ("tokenizer_config.json", false)] {
        let card = card.replace("\"tokenizer.json\"", &format!("{name:?}")).replace("demo-text", "own-text");
        sandbox.write("cards/own-text/card.toml", card);
        std::fs::copy(from.join("model.onnx"), sandbox.path("cards/own-text/model.onnx")).unwrap();
        let tokenizer = std::fs::read(from.join("tokenizer.json")).unwrap();
        sandbox.write(&format!("cards/own-text/{name}"), &tokenizer);
        let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
        sandbox.write("recipe.toml", recipe.replace("demo-text", "own-text"));
        sandbox.good(&["fit", "recipe.toml", "-o", "run", "--models", "cards", "--force"]);
        let folder = sandbox.path("run/preprocessing/text/own-text");
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), tokenizer);
        assert_eq!(std::fs::read(folder.join("tokenizer.json")).is_ok_and(|own| own == tokenizer), whether);
        let card = std::fs::read_to_string(sandbox.path("run/README.md")).unwrap();
        let refused = "the card has a file \\`tokenizer\\_config.json\\` of its own";
        assert_eq!(card.contains(refused), !whether, "{card}");
    }
}
