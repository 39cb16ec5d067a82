//! Truncated, foreign and malicious files: each gives an error and never a panic or an abort.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::Graph;
use common::{load, path};
use proptest::prelude::*;

/// A length-delimited protobuf field with this number and content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

fn error_of(bytes: &[u8]) -> String {
    Graph::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn subgraphs_nested_ten_thousand_deep_are_an_error() {
    // GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6, ModelProto.graph = 7
    let mut graph = Vec::new();
    for _ in 0..10_000 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep.onnx");
    std::fs::write(&file, field(7, &graph)).unwrap();
    let error = Graph::load(&file).unwrap_err().to_string();
    assert!(error.contains("deep.onnx") && error.contains("nested deeper than 100"), "{error}");
}

#[test]
fn types_nested_ten_thousand_deep_are_an_error() {
    // TypeProto.sequence_type = 4, Sequence.elem_type = 1, ValueInfoProto.type = 2, GraphProto.input = 11
    let mut kind = Vec::new();
    for _ in 0..10_000 {
        kind = field(4, &field(1, &kind));
    }
    let error = error_of(&field(7, &field(11, &field(2, &kind))));
    assert!(error.contains("nested deeper than 100"), "{error}");
}

#[test]
fn groups_nested_ten_thousand_deep_in_an_unknown_field_are_an_error() {
    let open = [15 << 3 | 3].repeat(10_000);
    let close = [15 << 3 | 4].repeat(10_000);
    let groups = [open, close].concat();
    for bytes in [groups.clone(), field(7, &groups), field(7, &field(1, &groups))] {
        let error = error_of(&bytes);
        assert!(error.contains("protobuf group"), "{error}");
    }
}

#[test]
fn nesting_below_the_limit_is_read() {
    // 2 + 3 * 30 messages: thirty levels of control flow.
    let mut graph = Vec::new();
    for _ in 0..30 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    // ModelProto.opset_import = 8, OperatorSetIdProto.version = 2
    let model = [field(7, &graph), field(8, &[2 << 3, 17])].concat();
    Graph::from_bytes(&model).unwrap();
}

#[test]
fn an_unknown_field_is_kept() {
    let mut bytes = load("loop").to_bytes().unwrap();
    // Field 15 of ModelProto does not exist; its content looks like a message.
    bytes.extend(field(15, &[0xFF; 9]));
    let again = Graph::from_bytes(&bytes).unwrap().to_bytes().unwrap();
    assert_eq!(again.len(), bytes.len());
}

#[test]
fn a_file_truncated_anywhere_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.onnx");
    let whole = std::fs::read(path("branch")).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        // A file that ends between two top-level fields can be parsed, but has no graph or no opset.
        let error = Graph::load(&file).unwrap_err().to_string();
        assert!(error.contains("cut.onnx"), "{length}: {error}");
    }
}

#[test]
fn the_error_says_that_a_model_is_truncated() {
    let whole = std::fs::read(path("branch")).unwrap();
    let error = error_of(&whole[..whole.len() / 2]);
    assert!(error.contains("truncated"), "{error}");
}

#[test]
fn files_of_other_formats_are_an_error() {
    for bytes in [&b""[..], b"not a model at all, only text", b"\x89PNG\r\n\x1a\n", &[0xFF; 64], &[0; 16]] {
        error_of(bytes);
    }
}

#[test]
fn the_error_names_a_missing_file() {
    let error = Graph::load("nowhere/model.onnx").unwrap_err().to_string();
    assert!(error.contains("nowhere/model.onnx"), "{error}");
}

#[test]
fn a_weight_of_huge_shape_is_an_error_before_memory_is_allocated() {
    // TensorProto: dims = 1 (varint, three times 2^62), data_type = 2 (f32), name = 8
    let length = [1 << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let tensor = [length.repeat(3), vec![2 << 3, 1], field(8, b"w")].concat();
    let error = error_of(&[field(7, &field(5, &tensor)), field(8, &[2 << 3, 17])].concat());
    assert!(error.contains("`w`") && error.contains("larger than memory"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_models_never_panic(
        model in prop::sample::select(&["branch", "function", "sparse", "typed_fields", "if_reduce_13"][..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(path(model)).unwrap();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(graph) = Graph::from_bytes(&bytes) {
            // Every method must return on a graph that could be read.
            let _ = (graph.verify(), graph.verify_learned(), graph.to_text(), graph.weight_hashes());
            let _ = (graph.upgraded(18), graph.merge(&graph.prefixed("b")), graph.extract(&["y"]));
            prop_assert!(graph.to_bytes().is_ok());
        }
    }
}
