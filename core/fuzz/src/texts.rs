//! Model cards, recipes with `--set` assignments, and the manifests of runs.

use crate::{scratch, seeds::Seeds};
use chiasm_pipeline::{ModelStore, Recipe, read_manifest, verify_run};

/// Reads a text. The first byte chooses its kind.
pub(crate) fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => card(content),
        1 => recipe(content),
        _ => manifest(content),
    }
}

/// Finds a card in a folder of models. What is found can be used as a name.
fn card(content: &[u8]) {
    let Some(folder) = scratch::path("cards") else { return };
    scratch::with_file("cards/x/card.toml", content, |path| {
        let store = ModelStore::new(&folder, std::slice::from_ref(&folder));
        let own = store.list().into_iter().flatten().find(|(_, found)| found == path);
        if let Some((card, _)) = own {
            assert!(!card.name.is_empty() && !card.name.contains(['/', '\\', '\0']), "{:?}", card.name);
        }
        let _ = store.find("x").map_err(|problem| problem.to_string());
    });
}

/// Parses a recipe. What stands before a null byte is a `--set` assignment.
fn recipe(content: &[u8]) {
    let text = String::from_utf8_lossy(content);
    let (set, text) = text.split_once('\0').map_or((None, &*text), |(set, text)| (Some(set), text));
    let set: Vec<String> = set.map(str::to_owned).into_iter().collect();
    match Recipe::parse("recipe.toml", text.to_owned(), "folder".into(), &set) {
        Ok(recipe) => assert!(recipe.inputs().len() > 1, "a recipe needs two modalities"),
        Err(problems) => assert!(!problems.to_string().is_empty(), "a recipe is refused without a reason"),
    }
}

/// Reads the manifest of a run, and compares its files with it.
fn manifest(content: &[u8]) {
    scratch::with_file("run/manifest.json", content, |path| {
        let Some(run) = path.parent() else { return };
        if let Ok(manifest) = read_manifest(run) {
            for modality in &manifest.modalities {
                assert!(!modality.name.contains(['/', '\\', '\0']), "{:?}", modality.name);
            }
            for name in manifest.outputs.keys() {
                let name = name.as_str();
                assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."), "{name:?}");
            }
        }
        let _ = verify_run(run).map_err(|error| error.to_string());
    });
}

const CARD: &str = r#"name = "x"
adapter = "image"
model = "model.onnx"
sha256 = "00"
[ports]
pooled = "embedding"
[preprocessing]
size = [64, 64]
mean = [0.5, 0.5, 0.5]
"#;

const RECIPE: &str = r#"seed = 3
[encoders.image]
model = "demo-image"
[encoders.text]
model = ["a", "b"]
column = "captions"
items = "first"
[data]
pairs = "pairs.jsonl"
[align]
plugin = "ridge"
lambda = 0.1
[fuse]
plugin = "concat"
[checks]
neighbours.warn = 0.2
[eval]
label = "label"
"#;

const MANIFEST: &str = r#"{"chiasm": "0.1.0", "key": "00", "engine": "1", "provider": "cpu", "seed": 0,
"modalities": [{"name": "image", "output": "image", "encoders": [{"name": "x",
"folder": "preprocessing/image/x", "adapter": "image", "identity": "00", "pooled": 4, "tokens": null,
"inputs": {"image": "image"}, "spec": {"name": "x", "directory": "", "inputs": [], "outputs": [],
"inner": [], "ports": {}, "preprocessing": {}}}]}], "fused": null, "rows": {"train": 1, "validation": 0,
"test": 0, "skipped": []}, "inputs": {"data": "00"}, "frozen_weights": {},
"outputs": {"model.onnx": "00", "aligner/learned.json": "00"}}"#;

pub(crate) fn seeds() -> Seeds {
    let of = |kind: u8, content: &str| [&[kind], content.as_bytes()].concat();
    Ok(vec![
        of(0, CARD),
        of(1, RECIPE),
        of(1, &format!("encoders.image.model=other\0{RECIPE}")),
        of(1, &RECIPE.replace("model = \"demo-image\"", "vectors = \"a.npy\"")),
        of(2, MANIFEST),
    ])
}
