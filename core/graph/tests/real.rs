//! Real pretrained encoders: loading, verifying, printing, upgrading and merging keep every weight's bytes.

mod common;

use chiasm_graph::Graph;
use common::{names, real};

const MINILM: &str = "minilm-l6/all-MiniLM-L6-v2_w8.onnx";
const MOBILENET: &str = "mobilenetv2/mobilenet_v2_1.0_224_w8.onnx";
const SQUEEZENET: &str = "squeezenet11/squeezenet11_fp16w.onnx";
const YAMNET: &str = "yamnet256/yamnet_256_64x96_tl.onnx";
const SPEECH: &str = "speech-embedding/embedding_model.onnx";
const SPECTROGRAM: &str = "speech-embedding/melspectrogram.onnx";

#[test]
fn every_model_loads_verifies_prints_and_round_trips() {
    for name in [MINILM, MOBILENET, SQUEEZENET, YAMNET, SPEECH, SPECTROGRAM] {
        let Some(graph) = real(name) else { return };
        let report = graph.verify().unwrap();
        assert!(report.weight_bytes > 100_000, "{name}");
        let again = Graph::from_bytes(&graph.to_bytes().unwrap()).unwrap();
        assert!(again == graph, "{name}");
        let text = graph.to_text();
        assert!(text.lines().count() > graph.node_count() + graph.weight_names().count(), "{name}");
        assert_eq!(graph.upgraded(17).unwrap().verify().unwrap().opset, 17, "{name}");
    }
}

#[test]
fn image_encoders_of_opset_13_merge_with_a_text_encoder_of_opset_17() {
    for name in [MOBILENET, SQUEEZENET] {
        let (Some(image), Some(text)) = (real(name), real(MINILM)) else { return };
        assert_eq!((image.opset(), text.opset()), (13, 17));
        let (image, text) = (image.prefixed("image"), text.prefixed("text"));
        let merged = image.merge(&text).unwrap();
        merged.verify().unwrap();
        assert_eq!((merged.opset(), merged.ir_version()), (17, 8));
        assert_eq!(names(&merged.inputs()), ["image/image", "text/input_ids", "text/attention_mask"]);
        assert_eq!(
            merged.input("image/image").unwrap().to_string().split('[').nth(1).unwrap().split(',').next(),
            Some("image/N")
        );
        let hashes = merged.weight_hashes();
        let kept: std::collections::HashSet<&String> = hashes.values().collect();
        for (weight, hash) in image.weight_hashes().into_iter().chain(text.weight_hashes()) {
            // A weight has its name, or was merged with an equal weight of another name.
            assert!(hashes.get(&weight).map_or(kept.contains(&hash), |found| *found == hash), "{weight}");
        }
    }
}

#[test]
fn an_encoder_merged_with_itself_stores_its_weights_once() {
    let Some(text) = real(MINILM) else { return };
    let twice = text.prefixed("a").merge(&text.prefixed("b")).unwrap();
    twice.verify().unwrap();
    assert_eq!(twice.weight_bytes(), text.weight_bytes());
}

#[test]
fn an_inner_tensor_of_a_real_model_is_exposed_and_extracted() {
    let Some(image) = real(MOBILENET) else { return };
    let cut = image.extract(&["features"]).unwrap();
    assert!(cut.weight_bytes() < image.weight_bytes(), "the classifier's weights are gone");
    cut.verify().unwrap();
    let error = image.expose("embeding").unwrap_err().to_string();
    assert!(error.contains("no tensor `embeding`"), "{error}");
}
