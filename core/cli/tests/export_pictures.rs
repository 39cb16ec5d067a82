//! Exports that take decoded pictures: their operators resize as the adapter does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json, peers, project};
use std::process::Command;

const TEXT: &str = "a small red circle above a large blue square";
/// Cards of the demo's image encoder with other preparations: a name and the keys that are set.
const PREPARATIONS: [(&str, &[&str]); 4] = [
    ("bilinear-stretch", &["preprocessing.orient=true"]),
    (
        "lanczos-crop",
        &[
            "preprocessing.filter=lanczos",
            "preprocessing.resize=shortest-side-crop",
            "preprocessing.shortest=72",
        ],
    ),
    ("bicubic-pad", &["preprocessing.filter=bicubic", "preprocessing.resize=longest-side-pad"]),
    (
        "hamming-square",
        &[
            "preprocessing.filter=hamming",
            "preprocessing.resize=stretch-crop",
            "preprocessing.shortest=80",
            "preprocessing.channels=bgr",
        ],
    ),
];
/// Writes two pictures of other sizes than the model's: one hardly larger, one much larger and with noise.
const PICTURES: &str = "
import numpy as np
from PIL import Image
first = Image.open('world/images/0.png').convert('RGB')
first.resize((131, 97)).save('odd.png')
large = np.asarray(first.resize((300, 401))).astype(float)
large += np.random.default_rng(0).normal(0, 40, large.shape)
Image.fromarray(large.clip(0, 255).astype(np.uint8)).save('large.png')
";

/// Adds a card of the demo's image encoder with other keys.
fn card(sandbox: &Sandbox, name: &str, keys: &[&str]) {
    let folder = sandbox.path("cards").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let demo = project().join("models/demo-image");
    std::fs::copy(demo.join("model.onnx"), folder.join("model.onnx")).unwrap();
    let text = std::fs::read_to_string(demo.join("card.toml")).unwrap();
    std::fs::write(folder.join("card.toml"), text.replace("demo-image", name)).unwrap();
    let arguments = [&["model", "set", name, "--models", "cards"], keys].concat();
    sandbox.good(&arguments);
}

/// `chiasm run` prepares pictures with the adapter, which is tested against Pillow; the program of the card
/// only decodes them. Tolerance: a level may differ by one, which is 0.016 of an input of the encoder and
/// moves a vector of length one by less than a hundredth.
#[test]
fn a_model_that_takes_decoded_pictures_gives_the_vectors_of_the_run() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    let made = Command::new(peers()).args(["-c", PICTURES]).current_dir(sandbox.path("")).status();
    assert!(made.unwrap().success());
    for (name, keys) in PREPARATIONS {
        card(&sandbox, name, keys);
        let model = format!("encoders.image.model={name}");
        sandbox.good(&["fit", "recipe.toml", "--set", &model, "--models", "cards", "-o", name]);
        let export = format!("{name}-export");
        let arguments = ["export", name, "--with-preprocessing", "-o", &export, "--format", "json"];
        let exported = json(&sandbox.good(&arguments));
        let inputs = exported["modalities"][0]["encoders"][0]["inputs"].as_object().unwrap();
        assert!(inputs.values().eq(["image_picture"]), "{inputs:?}");
        for picture in ["odd.png", "large.png"] {
            let output = sandbox.good(&["run", name, "--image", picture, "--text", TEXT, "--format", "json"]);
            let path = sandbox.path(picture).display().to_string();
            let read = sandbox.card_in_python(&export, &output, &[&path, TEXT]);
            for (vector, difference) in read["differences"].as_object().unwrap() {
                let difference = difference.as_f64().unwrap();
                assert!(difference < 0.01, "{name}: {vector} of {picture} differs by {difference}");
            }
        }
    }
    let name = PREPARATIONS[0].0;
    let towers = ["export", name, "--with-preprocessing", "--layout", "towers", "-o", "towers"];
    sandbox.good(&towers);
    let inspected = sandbox.good(&["inspect", "towers/image.onnx"]);
    assert!(inspected.contains("image_picture") && inspected.contains("u8[batch,height,width,3]"));
    assert!(!sandbox.good(&["inspect", "towers/text.onnx"]).contains("picture"));
}

#[test]
fn what_cannot_be_written_as_operators_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    card(&sandbox, "boxed", &["preprocessing.filter=box"]);
    let model = "encoders.image.model=boxed";
    sandbox.good(&["fit", "recipe.toml", "--set", model, "--models", "cards", "-o", "run"]);
    let refused = sandbox.call(&["export", "run", "--with-preprocessing", "-o", "other"]);
    refused.refused("box", &["encoders.image", "the filter \"box\" cannot be written as operators"]);
    let refused = sandbox.call(&["export", "run", "--with-preprocessing", "--layout", "hf", "-o", "other"]);
    refused.refused("hf", &["the files of this layout say how items are prepared"]);
    assert!(!sandbox.path("other").exists());
}
