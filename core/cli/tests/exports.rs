//! Exports in other operator sets and for other programs, each opened by that program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Tensor};
use chiasm_testing::{node_modules_with, peers_with};
use common::{RandomNumbers, Sandbox, json, npy, peers, project};
use serde_json::Value;
use sha2::Digest;
use std::{path::Path, process::Command};

const TEXT: &str = "a small red circle above a large blue square";

fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    sandbox
}

/// Runs a script of `peer/` in the sandbox and returns the JSON that it prints.
fn script(sandbox: &Sandbox, python: &Path, name: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(python);
    command.current_dir(sandbox.path("")).env("HF_HUB_OFFLINE", "1").env("HF_HOME", sandbox.path("hub"));
    let peer =
        command.arg(project().join("core/cli/tests/peer").join(name)).args(arguments).output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let printed = String::from_utf8_lossy(&peer.stdout);
    json(printed.lines().last().unwrap())
}

/// What `chiasm run` computes of a picture of the world and a text.
fn run_of(sandbox: &Sandbox) -> String {
    sandbox.good(&["run", "run", "--image", "world/images/0.png", "--text", TEXT, "--format", "json"])
}

/// Two builds of ONNX Runtime in f32, on inputs that are equal. The names are those of the outputs.
fn agree(differences: &Value, names: &[&str]) {
    let differences = differences.as_object().unwrap();
    assert_eq!(differences.keys().collect::<Vec<_>>(), names);
    for (name, difference) in differences {
        assert!(difference.as_f64().unwrap() < 1e-4, "{name} differs by {difference}");
    }
}

/// The checker of the `onnx` package knows every operator set, and ONNX Runtime computes the same.
#[test]
fn an_export_in_another_operator_set_computes_the_same() {
    let sandbox = fitted();
    for (opset, layout) in [("11", "onnx"), ("13", "towers"), ("20", "onnx")] {
        let arguments =
            ["export", "run", "--opset", opset, "--layout", layout, "-o", opset, "--format", "json"];
        let exported = json(&sandbox.good(&arguments));
        assert_eq!(exported["opset"].to_string(), opset);
        let checked = script(&sandbox, &peers(), "exported_opset.py", &["run", opset]);
        for file in checked.as_array().unwrap() {
            assert_eq!(file["opset"].to_string(), opset, "{checked}");
            // f32 in both; LayerNormalization is summed in another order.
            assert!(file["difference"].as_f64().unwrap() < 1e-5, "{checked}");
        }
        let card = std::fs::read_to_string(sandbox.path(opset).join("README.md")).unwrap();
        assert!(
            card.contains(&format!("It is written in version {opset} of the ONNX operator set")),
            "{card}"
        );
    }
    for (opset, words) in [("10", "expected 11 to 28, got 10"), ("29", "expected 11 to 28, got 29")] {
        let refused = sandbox.call(&["export", "run", "--opset", opset, "-o", "other"]);
        refused.refused(opset, &[words]);
    }
    // Operator sets above 25 were not reviewed.
    let refused = sandbox.call(&["export", "run", "--opset", "28", "-o", "other"]);
    refused.refused("Cast", &["--opset 28: model.onnx: operator Cast (node `", "not known to mean the same"]);
    assert!(!sandbox.path("other").exists());
}

/// Triton's own schema reads the configuration, and it says what ONNX Runtime says of each model.
#[test]
fn triton_reads_its_model_repository() {
    let sandbox = fitted();
    sandbox.good(&["export", "run", "--layout", "triton", "-o", "repository"]);
    // The program of the card prepares items and runs the models of the repository.
    let output = run_of(&sandbox);
    let image = sandbox.path("world/images/0.png").display().to_string();
    let read = sandbox.card_in_python("repository", &output, &[&image, TEXT]);
    agree(&read["differences"], &["fused_embeds", "image_embeds", "text_embeds"]);
    let Some(python) = peers_with(&["tritonclient.grpc"]) else { return };
    let read = script(&sandbox, &python, "triton_repository.py", &["repository"]);
    assert_eq!(read["models"], serde_json::json!(["image", "merged", "text"]));
    assert_eq!(read["problems"], serde_json::json!([]));
}

/// The program of the card opens the folders with transformers, and ONNX Runtime gives the vectors of the
/// run. The run's own pictures have the size of the model.
#[test]
fn transformers_opens_its_folders() {
    let sandbox = fitted();
    let exported = json(&sandbox.good(&["export", "run", "--layout", "hf", "-o", "hf", "--format", "json"]));
    for file in ["image/preprocessor_config.json", "text/tokenizer_config.json", "text/onnx/model.onnx"] {
        assert!(exported["files"].as_array().unwrap().iter().any(|name| name == file), "{exported}");
        assert!(sandbox.path("hf").join(file).is_file(), "{file}");
    }
    let output = run_of(&sandbox);
    let image = sandbox.path("world/images/0.png").display().to_string();
    if peers_with(&["transformers"]).is_some() {
        let read = sandbox.card_in_python("hf", &output, &[&image, TEXT]);
        agree(&read["differences"], &["image_embeds", "text_embeds"]);
    }
}

/// The program of the card opens the folder with sentence-transformers; other forms of items, many at once
/// and a saved copy give the same vectors.
#[test]
fn sentence_transformers_opens_its_folder() {
    let sandbox = fitted();
    sandbox.good(&["export", "run", "--layout", "sentence-transformers", "-o", "st"]);
    let output = run_of(&sandbox);
    let image = sandbox.path("world/images/0.png").display().to_string();
    if let Some(python) = peers_with(&["sentence_transformers"]) {
        // The items of the card are in its order: that of the modalities.
        let read = sandbox.card_in_python("st", &output, &[&image, TEXT]);
        agree(&read["differences"], &["image_embeds", "text_embeds"]);
        let read = script(&sandbox, &python, "sentence_transformers_forms.py", &["st", "world/images", TEXT]);
        agree(&read["differences"], &["array", "batch", "dict", "picture", "saved"]);
        assert_eq!(read["refused"], 1, "{read}");
    }
    let bare = Sandbox::new();
    bare.vectors([40, 40]);
    bare.good(&["fit", "recipe.toml", "-o", "run"]);
    let refused = bare.call(&["export", "run", "--layout", "sentence-transformers", "-o", "out"]);
    refused.refused("vectors", &["sentence-transformers can embed no modality", "a: its items are vectors"]);
}

/// Encoders whose inputs are others than those that the libraries make, and tables with all keys of pictures.
#[test]
fn transformers_opens_folders_of_other_encoders() {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    other_models(&sandbox);
    let text = "tokenizer = \"tokenizer.json\"\nmax_length = 9\nprefix = \"a drawing: \"\nlowercase = true\n";
    sandbox.write("cards/other-text/card.toml", head(&sandbox, "other-text", "text") + text);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    sandbox.write("recipe.toml", recipe.replace("demo-", "other-"));
    // Box and nearest are exact for a picture that is twice as large in both directions.
    let tables = [
        ("resize = \"stretch\"\nfilter = \"box\"\norient = true\n", (48, 32)),
        ("resize = \"shortest-side-crop\"\nshortest = 24\nfilter = \"nearest\"\n", (64, 48)),
        ("resize = \"stretch-crop\"\nshortest = 32\nfilter = \"box\"\n", (64, 64)),
        ("resize = \"none\"\n", (24, 16)),
    ];
    for (table, (width, height)) in tables {
        let table = format!(
            "{table}size = [16, 24]\nchannels = \"bgr\"\nscale = 0.5\nmean = [10, 20, 30]\nstd = [64, 32, \
             16]\nlayout = \"nhwc\"\n"
        );
        sandbox.write("cards/other-image/card.toml", head(&sandbox, "other-image", "image") + &table);
        if table.contains("none") {
            small_pictures(&sandbox);
        }
        let fit = ["fit", "recipe.toml", "-o", "run", "--models", "cards", "--allow-unknown", "--force"];
        sandbox.good(&fit);
        let picture = image::RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (x / 2, y / 2); // blocks of 2 x 2
            image::Rgb([(x * 9 % 256) as u8, (y * 17 % 256) as u8, ((x * y) % 256) as u8])
        });
        picture.save(sandbox.path("exact.png")).unwrap();
        let _ = std::fs::remove_dir_all(sandbox.path("hf"));
        sandbox.good(&["export", "run", "--layout", "hf", "-o", "hf"]);
        let image = sandbox.path("exact.png").display().to_string();
        let shown = sandbox.good(&["run", "run", "--image", &image, "--text", TEXT, "--format", "json"]);
        if peers_with(&["transformers"]).is_some() {
            let read = sandbox.card_in_python("hf", &shown, &[&image, TEXT]);
            agree(&read["differences"], &["image_embeds", "text_embeds"]);
        }
        // Beside the card, the file cannot say that the channels are last.
        assert!(!sandbox.path("run/preprocessing/image/other-image/preprocessor_config.json").exists());
        let read = sandbox.beside_cards("run", &shown, &[&image, TEXT]);
        assert_eq!(read["folders"], serde_json::json!(["preprocessing/text/other-text"]));
        agree(&read["arrays"], &["ids", "model_mask"]);
    }
}

/// An encoder of waveforms: the extractor of transformers standardises the samples.
#[test]
fn transformers_opens_a_folder_of_recordings() {
    let sandbox = Sandbox::new();
    let mut b = Builder::new("wave");
    let x = b.input("samples", DType::F32, &[Dim::named("batch"), Dim::named("samples")]).unwrap();
    let x = b.unsqueeze(&x, &[1]);
    let kernel = weights(&mut b, "kernel", &[6, 1, 80], 5);
    let map = b.op("Conv", &[&x, &kernel], &[("strides", Attr::Ints(vec![40]))]);
    let map = b.relu(&map);
    let pooled = b.op("GlobalAveragePool", &[&map], &[]);
    let y = b.squeeze(&pooled, &[2]);
    b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 6.into()]);
    std::fs::create_dir_all(sandbox.path("cards/wave")).unwrap();
    b.finish().unwrap().save(sandbox.path("cards/wave/model.onnx")).unwrap();
    let table = "rate = 8000\nseconds = 0.4\nstandardise = \"recording\"\n";
    sandbox.write("cards/wave/card.toml", head(&sandbox, "wave", "audio") + table);
    let (mut rows, mut vectors, mut random) = (String::new(), Vec::new(), RandomNumbers(6));
    for index in 0..40_usize {
        let period = 10.0 + index as f32;
        let samples: Vec<i16> = (0..2000 + 50 * index)
            .map(|at| (9000.0 * (at as f32 / period).sin() + 2000.0 * random.next() + 500.0) as i16)
            .collect();
        sandbox.write(&format!("sounds/{index}.wav"), wav(8000, &samples));
        let split = if index % 4 == 0 { "test" } else { "train" };
        rows += &format!("{{\"sound\": \"sounds/{index}.wav\", \"row\": {index}, \"split\": \"{split}\"}}\n");
        vectors.extend([period.sin(), period.cos(), period / 50.0]);
    }
    sandbox.write("pairs.jsonl", rows);
    sandbox.write("row.npy", npy(40, 3, &vectors));
    let recipe = "[encoders.sound]\nmodel = \"wave\"\n[encoders.row]\nvectors = \"row.npy\"\n[data]\npairs = \
                  \"pairs.jsonl\"\n[align]\nplugin = \"ridge\"\n";
    sandbox.write("recipe.toml", recipe);
    let fit = sandbox.call(&["fit", "recipe.toml", "-o", "run", "--models", "cards", "--allow-unknown"]);
    assert!(matches!(fit.code, Some(0 | 1)), "{}{}", fit.stdout, fit.stderr);
    let exported = json(&sandbox.good(&["export", "run", "--layout", "hf", "-o", "hf", "--format", "json"]));
    assert_eq!(exported["left_out"].as_object().unwrap().keys().collect::<Vec<_>>(), ["row"]);
    let output = sandbox.good(&["run", "run", "--sound", "sounds/3.wav", "--format", "json"]);
    if peers_with(&["transformers"]).is_some() {
        let sound = sandbox.path("sounds/3.wav").display().to_string();
        let read = sandbox.card_in_python("hf", &output, &[&sound]);
        agree(&read["differences"], &["sound_embeds"]);
    }
    // The run has the same file beside the card.
    let sound = sandbox.path("sounds/3.wav").display().to_string();
    let row = format!("{}:3", sandbox.path("row.npy").display());
    let output = sandbox.good(&["run", "run", "--sound", &sound, "--row", "3", "--format", "json"]);
    let read = sandbox.beside_cards("run", &output, &[&sound, &row]);
    assert_eq!(read["folders"], serde_json::json!(["preprocessing/sound/wave"]));
    // The extractor computes in f32: rounding of numbers of a few units.
    agree(&read["arrays"], &["samples"]);
    agree(&read["differences"], &["row_embeds", "sound_embeds"]);
}

/// What the files cannot say is named with its key, and refused if nothing is left.
#[test]
fn preparation_that_the_files_cannot_say_is_named() {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    let bare = Sandbox::new();
    bare.vectors([40, 40]);
    bare.good(&["fit", "recipe.toml", "-o", "run"]);
    for layout in ["hf", "transformers.js"] {
        let refused = bare.call(&["export", "run", "--layout", layout, "-o", "out"]);
        refused.refused(layout, &["a: its items are vectors", "use --layout onnx or towers"]);
    }
    // A model of one channel.
    let mut b = Builder::new("grey");
    let x = b.input("levels", DType::F32, &[Dim::named("batch"), 1.into(), 16.into(), 24.into()]).unwrap();
    let flat = b.reshape(&x, &[0, 16 * 24]);
    let weight = weights(&mut b, "grey", &[16 * 24, 8], 7);
    let y = b.matmul(&flat, &weight);
    b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 8.into()]);
    std::fs::create_dir_all(sandbox.path("cards/grey")).unwrap();
    b.finish().unwrap().save(sandbox.path("cards/grey/model.onnx")).unwrap();
    let table = "size = [16, 24]\nchannels = \"gray\"\nmean = 0.5\n";
    sandbox.write("cards/grey/card.toml", head(&sandbox, "grey", "image") + table);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    sandbox.write("recipe.toml", recipe.replace("demo-image", "grey"));
    sandbox.good(&["fit", "recipe.toml", "-o", "run", "--models", "cards", "--allow-unknown"]);
    let shown = sandbox.good(&["export", "run", "--layout", "hf", "-o", "hf"]);
    let words = "the preparation of its items is left out: `channels = \"gray\"` has no key";
    assert!(shown.contains(&format!("image: {words}")), "{shown}");
    let exported = json(&std::fs::read_to_string(sandbox.path("hf/export.json")).unwrap());
    assert!(exported["left_out"]["image"].as_str().unwrap().contains(words), "{exported}");
    assert!(sandbox.path("hf/image/onnx/model.onnx").is_file());
    assert!(!sandbox.path("run/preprocessing/image/grey/preprocessor_config.json").exists());
    let card = std::fs::read_to_string(sandbox.path("run/README.md")).unwrap();
    let words = "There are no files for Hugging Face's transformers: \\`channels = \"gray\"\\` has no key";
    assert!(card.contains(words), "{card}");
    assert!(!sandbox.path("hf/image/preprocessor_config.json").exists());
}

/// The program of the card, run by Node.js.
#[test]
fn transformers_js_opens_its_folders() {
    let sandbox = fitted();
    sandbox.good(&["export", "run", "--layout", "transformers.js", "-o", "js"]);
    let card = std::fs::read_to_string(sandbox.path("js/README.md")).unwrap();
    let program = card.split("```js\n").nth(1).unwrap().split("```").next().unwrap();
    let Some(modules) = node_modules_with("@huggingface/transformers") else { return };
    std::os::unix::fs::symlink(modules, sandbox.path("js/node_modules")).unwrap();
    let printed = "const lists = Object.entries(outputs).map(([name, value]) => [name, \
                   [Array.from(value.data)]]);\nconsole.log(JSON.stringify(Object.fromEntries(lists)));\n";
    sandbox.write("js/card.mjs", format!("{program}{printed}"));
    let mut node = Command::new("node");
    node.current_dir(sandbox.path("js")).arg("card.mjs").arg(sandbox.path("world/images/0.png")).arg(TEXT);
    let node = node.output().unwrap();
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    let printed = String::from_utf8_lossy(&node.stdout);
    let (got, expected) = (json(printed.lines().last().unwrap()), json(&run_of(&sandbox)));
    for name in ["image_embeds", "text_embeds"] {
        let numbers = |value: &Value| -> Vec<f64> {
            value[name][0].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let (got, expected) = (numbers(&got), numbers(&expected["outputs"]));
        assert_eq!(got.len(), expected.len());
        let largest = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 1e-4, "{name} differs by {largest}");
    }
}

/// Writes a picture model of channels last in half precision, and a text model with other names and types.
fn other_models(sandbox: &Sandbox) {
    let last = [Dim::named("batch"), 16.into(), 24.into(), 3.into()];
    let mut b = Builder::new("image");
    let x = b.input("levels", DType::F16, &last).unwrap();
    let x = b.cast(&x, DType::F32);
    let flat = b.reshape(&x, &[0, 16 * 24 * 3]);
    let weight = weights(&mut b, "image", &[16 * 24 * 3, 8], 3);
    let y = b.matmul(&flat, &weight);
    b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 8.into()]);
    std::fs::create_dir_all(sandbox.path("cards/other-image")).unwrap();
    b.finish().unwrap().save(sandbox.path("cards/other-image/model.onnx")).unwrap();
    let mut b = Builder::new("text");
    let tokens = [Dim::named("batch"), Dim::named("tokens")];
    let ids = b.input("ids", DType::I32, &tokens).unwrap();
    let mask = b.input("mask", DType::F32, &tokens).unwrap();
    let table = weights(&mut b, "table", &[200, 8], 4);
    let rows = b.gather(&table, &ids, 0);
    let mask = b.unsqueeze(&mask, &[2]);
    let y = b.mul(&rows, &mask);
    let y = b.reduce_sum(&y, &[1], false);
    b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 8.into()]);
    std::fs::create_dir_all(sandbox.path("cards/other-text")).unwrap();
    b.finish().unwrap().save(sandbox.path("cards/other-text/model.onnx")).unwrap();
    let tokenizer = project().join("models/demo-text/tokenizer.json");
    std::fs::copy(tokenizer, sandbox.path("cards/other-text/tokenizer.json")).unwrap();
}

/// Overwrites the pictures of the world with pictures of 24 x 16 pixels.
fn small_pictures(sandbox: &Sandbox) {
    for entry in std::fs::read_dir(sandbox.path("world/images")).unwrap() {
        let path = entry.unwrap().path();
        let picture = image::open(&path).unwrap();
        picture.resize_exact(24, 16, image::imageops::FilterType::Nearest).save(&path).unwrap();
    }
}

/// The start of the card of `cards/NAME/model.onnx`, up to the table of the preprocessing.
fn head(sandbox: &Sandbox, name: &str, adapter: &str) -> String {
    let bytes = std::fs::read(sandbox.path(&format!("cards/{name}/model.onnx"))).unwrap();
    let digest: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let (model, licence) = ("model = \"model.onnx\"", "licence = \"MIT\"\nsource = \"here\"");
    format!(
        "name = \"{name}\"\nadapter = \"{adapter}\"\n{model}\nsha256 = \"{digest}\"\n{licence}\n[ports]\n\
         pooled = \"embedding\"\n[preprocessing]\n"
    )
}

/// A WAV file of 16-bit samples.
fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend([rate, 2 * rate].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// A constant of seeded numbers.
fn weights(b: &mut Builder, name: &str, shape: &[usize], seed: u64) -> chiasm_graph::Value {
    let mut random = RandomNumbers(seed);
    let values = (0..shape.iter().product()).map(|_| 0.3 * random.next()).collect();
    b.constant(name, Tensor::f32(shape, values).unwrap())
}
