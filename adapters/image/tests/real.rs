//! The cards in models/ on real pictures: our preprocessing and the engine against Pillow and the engine
//! (tests/reference/real.py). Skipped where the real models or an engine are missing.

use std::path::Path;

use chiasm_image::ImageAdapter;
use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::{Adapter, EncoderSpec, Item, Json, Services, Signature};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_testing::{Requirement, real_data, skip};

/// The pictures have the same levels, and are resized to within one level (see pillow.rs). The cosine of the
/// embeddings must be above 0.9999 for these images.
#[test]
fn the_cards_embed_as_pillow_and_the_engine_do() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(models) = real_data("models") else { return };
    let real = models.parent().unwrap();
    let engine = match Engine::open(&EngineSearch::from_environment(None)) {
        Ok(engine) => engine,
        Err(error) => return skip(Requirement::Engine, &error.to_string()),
    };
    let reference = project.join("adapters/image/tests/reference");
    let golden = std::fs::read(reference.join("real.bin")).unwrap();
    let cases: Vec<Json> =
        serde_json::from_str(&std::fs::read_to_string(reference.join("real.json")).unwrap()).unwrap();
    for model in ["mobilenetv2", "squeezenet11"] {
        let card: Json = toml::from_str(
            &std::fs::read_to_string(project.join("models").join(model).join("card.toml")).unwrap(),
        )
        .unwrap();
        let path = real.join("models").join(model).join(card["model"].as_str().unwrap());
        let signature = Signature::of(&Graph::load(&path).unwrap());
        let spec = EncoderSpec {
            name: model.into(),
            inputs: signature.inputs,
            outputs: signature.outputs,
            ports: card["ports"].clone(),
            preprocessing: card["preprocessing"].clone(),
            ..Default::default()
        };
        let adapter = ImageAdapter::open(&spec, &Services::detached(0, 1)).unwrap();
        let session = engine.session(path.as_path(), &SessionOptions::default()).unwrap();
        let (mut least, mut count) = (1.0_f64, 0);
        for case in cases.iter().filter(|case| case["model"] == model) {
            let picture = real.join(case["picture"].as_str().unwrap());
            let [item] = adapter.prepare(Item::Path(&picture)).unwrap().try_into().unwrap();
            let batch = [&[1], item.shape()].concat();
            let item: Tensor = item.reshaped(&batch).unwrap();
            let outputs = session.run_outputs(&[("image", &item)], &["embedding"]).unwrap();
            let at = case["offset"].as_u64().unwrap() as usize;
            let bytes = &golden[at..][..4 * case["dim"].as_u64().unwrap() as usize];
            let expected: Vec<f32> =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let cosine = cosine(outputs[0].1.as_f32().unwrap(), &expected);
            assert!(cosine > 0.9999, "{model} {}: cosine {cosine}", picture.display());
            least = least.min(cosine);
            count += 1;
        }
        assert!(count >= 8);
        println!("{model}: least cosine {least:.6} over {count} pictures");
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
