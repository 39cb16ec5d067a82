//! `verify` and `verify_learned`: one violated rule per model.

mod common;

use chiasm_graph::{Builder, DType, Graph, Tensor};
use common::{batch, linear, load, path};

#[test]
fn the_error_names_the_violated_rule() {
    let cases = [
        ("bad_order", "uses `a`, which is not defined before it"),
        ("bad_twice", "`y` is defined twice"),
        ("bad_unknown_input", "uses `nowhere`"),
        ("bad_output", "no node computes the output `y`"),
        ("bad_operator", "Negate"),
        ("bad_operator_age", "Gelu"),
        ("bad_domain", "`com.microsoft`, which the model does not import"),
        ("bad_inside", "uses `nowhere`"),
        ("bad_function_opset", "opset 11 of `ai.onnx`, but the model in 17"),
        ("bad_weight", "has 12 bytes, got 8"),
        ("bad_port", "port `y` is not a tensor"),
        ("bad_no_import", "which version of ai.onnx"),
    ];
    for (name, part) in cases {
        let error = Graph::load(path(name)).and_then(|graph| graph.verify()).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn valid_models_are_reported() {
    let report = load("branch").verify().unwrap();
    assert_eq!((report.opset, report.ir_version, report.weight_bytes), (17, 8, 12));
    assert_eq!(report.operators["If"], 2);
    assert_eq!(report.inputs.len(), 2);
    for name in ["loop", "function", "sparse", "typed_fields", "old_inputs", "custom_13"] {
        load(name).verify().unwrap();
    }
}

/// Ports of text are read, but there are no tensors of text.
#[test]
fn ports_may_be_text() {
    let graph = load("text_port");
    assert_eq!(graph.verify().unwrap().inputs[0].type_text(), "str[3]");
    assert!(graph.to_text().contains("input %x str[3]"));
    let error = Tensor::zeros(DType::Str, &[3]).unwrap_err().to_string();
    assert!(error.contains("of type str does not exist"), "{error}");
}

#[test]
fn learned_graphs_use_allowed_operators_of_one_opset() {
    linear("a", "x", "z", (2, 2), 1.0).verify_learned().unwrap();
    let cases = [
        ("conv_13", "opset 17, this one is in 13"),
        ("branch", "operator `If` is not allowed"),
        ("function", "must have no local functions"),
    ];
    for (name, part) in cases {
        let error = load(name).verify_learned().unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn the_error_names_a_learned_weight_with_nan() {
    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(1)).unwrap();
    let w = b.constant("bad", Tensor::f32(&[1, 2], vec![0.0, f32::NAN]).unwrap());
    let z = b.matmul(&x, &w);
    b.output("z", &z, DType::F32, &batch(2));
    let error = b.finish().unwrap().verify_learned().unwrap_err().to_string();
    assert!(error.contains("`bad` contains NaN"), "{error}");
}
