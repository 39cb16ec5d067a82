//! Files that are cut off, foreign or hostile end in one clear error, never in an abort.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph};
use common::{load, path};
use proptest::prelude::*;

/// A chain of element-wise operators is one region whose derivative is found link by link.
#[test]
fn a_chain_of_twenty_thousand_operators_has_a_derivative() {
    let mut b = Builder::new("chain");
    let shape = [Dim::Named("n".to_owned()), Dim::Fixed(2)];
    let mut y = b.input("x", DType::F32, &shape).unwrap();
    for _ in 0..10_000 {
        let doubled = b.add_scalar(&y, 1.0);
        y = b.tanh(&doubled);
    }
    b.output("y", &y, DType::F32, &shape);
    let graph = b.finish().unwrap();
    assert_eq!(graph.vjp(&["y"], &["x"]).unwrap().inputs().len(), 2);
    assert_eq!(graph.jvp(&["x"]).unwrap().inputs().len(), 2);
}

/// A field that holds bytes: its number, its length, its content.
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

fn refusal(bytes: &[u8]) -> String {
    Graph::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn subgraphs_nested_ten_thousand_deep_are_refused() {
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
fn types_nested_ten_thousand_deep_are_refused() {
    // TypeProto.sequence_type = 4, Sequence.elem_type = 1, ValueInfoProto.type = 2, GraphProto.input = 11
    let mut kind = Vec::new();
    for _ in 0..10_000 {
        kind = field(4, &field(1, &kind));
    }
    let error = refusal(&field(7, &field(11, &field(2, &kind))));
    assert!(error.contains("nested deeper than 100"), "{error}");
}

#[test]
fn groups_nested_ten_thousand_deep_as_an_unknown_field_are_refused() {
    let open = [15 << 3 | 3].repeat(10_000);
    let close = [15 << 3 | 4].repeat(10_000);
    let groups = [open, close].concat();
    for bytes in [groups.clone(), field(7, &groups), field(7, &field(1, &groups))] {
        let error = refusal(&bytes);
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
    // The opset import (8) with version (2) = 17, so that only the depth could be refused.
    let model = [field(7, &graph), field(8, &[2 << 3, 17])].concat();
    Graph::from_bytes(&model).unwrap();
}

#[test]
fn an_unknown_field_is_stepped_over_and_kept() {
    let mut bytes = load("loop").to_bytes().unwrap();
    // Field 15 of the model does not exist; its content looks like a message and is nobody's.
    bytes.extend(field(15, &[0xFF; 9]));
    let again = Graph::from_bytes(&bytes).unwrap().to_bytes().unwrap();
    assert_eq!(again.len(), bytes.len());
}

#[test]
fn a_file_cut_off_anywhere_is_refused_by_name_or_still_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.onnx");
    let whole = std::fs::read(path("branch")).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        // Between two top-level fields a shorter file is a model too, but then it lacks its graph or its
        // opset.
        let error = Graph::load(&file).unwrap_err().to_string();
        assert!(error.contains("cut.onnx"), "{length}: {error}");
    }
}

#[test]
fn a_truncated_model_says_so() {
    let whole = std::fs::read(path("branch")).unwrap();
    let error = refusal(&whole[..whole.len() / 2]);
    assert!(error.contains("truncated"), "{error}");
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"not a model at all, only text", b"\x89PNG\r\n\x1a\n", &[0xFF; 64], &[0; 16]] {
        refusal(bytes);
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Graph::load("nowhere/model.onnx").unwrap_err().to_string();
    assert!(error.contains("nowhere/model.onnx"), "{error}");
}

#[test]
fn a_weight_of_absurd_shape_is_refused_before_memory_is_asked_for() {
    // TensorProto: dims = 1 (varint, three times 2^62), data_type = 2 (f32), name = 8
    let length = [1 << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let tensor = [length.repeat(3), vec![2 << 3, 1], field(8, b"w")].concat();
    let error = refusal(&[field(7, &field(5, &tensor)), field(8, &[2 << 3, 17])].concat());
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
            // Whatever is read can be asked everything, too.
            let _ = (graph.verify(), graph.verify_learned(), graph.to_text(), graph.weight_hashes());
            let _ = (graph.upgraded(18), graph.merge(&graph.prefixed("b")), graph.extract(&["y"]));
            prop_assert!(graph.to_bytes().is_ok());
        }
    }
}
