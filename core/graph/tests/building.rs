//! The builder: names, ports, layers, and the mistakes that `finish` returns.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, IR_VERSION, OPSET, Tensor, Value};
use common::{batch, names};

/// One graph with every layer of the builder.
fn everything() -> Graph {
    let mut b = Builder::new("everything");
    let tokens = b.input("tokens", DType::F32, &["B".into(), "T".into(), 4.into()]).unwrap();
    let mask = b.input("mask", DType::F32, &["B".into(), "T".into()]).unwrap();
    let weights = [[4, 3], [3, 2]].map(|[rows, columns]| {
        let weight = b.constant("w", Tensor::f32(&[rows, columns], vec![0.5; rows * columns]).unwrap());
        (weight, b.constant("b", Tensor::f32(&[columns], vec![0.1; columns]).unwrap()))
    });
    let scale = b.constant("scale", Tensor::f32(&[4], vec![1.0; 4]).unwrap());
    let shift = b.constant("shift", Tensor::f32(&[4], vec![0.0; 4]).unwrap());
    let normal = b.layer_norm(&tokens, &scale, &shift, 1e-5);
    let mean = b.mean_pool(&normal, &mask);
    let first = b.cls_pool(&tokens);
    let both = b.add(&mean, &first);
    let hidden = b.mlp(&both, &weights);
    let unit = b.l2_normalise(&hidden, -1, 1e-12);
    let chance = b.softmax(&unit, -1);
    let (best, place) = b.top_k(&chance, 1, -1);
    let power = b.pow(&best, 2.0);
    b.output("unit", &unit, DType::F32, &["B".into(), 2.into()]);
    b.output("power", &power, DType::F32, &["B".into(), 1.into()]);
    b.output("place", &place, DType::I64, &["B".into(), 1.into()]);
    b.finish().unwrap()
}

#[test]
fn the_text_of_a_built_graph_is_stable() {
    let golden = include_str!("data/everything.txt");
    let text = everything().to_text();
    assert_eq!(text, golden, "the text changed; it now reads\n{text}");
}

#[test]
fn built_graphs_state_their_versions_and_verify_as_learned() {
    let report = everything().verify_learned().unwrap();
    assert_eq!((report.opset, report.ir_version), (OPSET, IR_VERSION));
    assert_eq!(report.operators["MatMul"], 3);
}

#[test]
fn an_output_value_gets_the_name_of_its_port_without_a_copy() {
    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(2)).unwrap();
    let y = b.neg(&x);
    let z = b.exp(&y);
    b.output("neg", &z, DType::F32, &batch(2)); // the name of the first node's value
    let graph = b.finish().unwrap();
    assert_eq!(graph.node_count(), 2);
    assert_eq!(names(&graph.outputs()), ["neg"]);
}

#[test]
fn inputs_weights_and_values_used_twice_are_copied_to_become_outputs() {
    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(1)).unwrap();
    let w = b.scalar(2.0);
    let y = b.mul(&x, &w);
    for (name, value) in [("same", &x), ("weight", &w), ("one", &y), ("two", &y)] {
        b.output(name, value, DType::F32, &[]);
    }
    let graph = b.finish().unwrap();
    assert_eq!(graph.op_types()["Identity"], 3);
    assert_eq!(names(&graph.outputs()), ["same", "weight", "one", "two"]);
}

#[test]
fn equal_names_get_numbers() {
    let mut b = Builder::new("g");
    let first = b.scalar(1.0);
    let second = b.scalar(2.0);
    assert_eq!([first.name(), second.name()], ["scalar", "scalar_2"]);
}

#[test]
fn finish_returns_the_first_mistake() {
    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(1)).unwrap();
    let error = b.input("x", DType::F32, &[]).unwrap_err().to_string();
    assert!(error.contains("`x`"), "{error}");

    // A value of another graph.
    let mut other = Builder::new("other");
    let foreign = other.input("foreign", DType::F32, &[]).unwrap();
    let y = b.add(&x, &foreign);
    b.output("y", &y, DType::F32, &batch(1));
    let error = b.finish().unwrap_err().to_string();
    assert!(error.contains("`foreign`"), "{error}");

    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(1)).unwrap();
    let y = b.op("Sofmax", &[&x], &[]);
    b.output("y", &y, DType::F32, &batch(1));
    let error = b.finish().unwrap_err().to_string();
    assert!(error.contains("Sofmax"), "{error}");

    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &batch(1)).unwrap();
    let y = b.neg(&x);
    b.output("y", &y, DType::F32, &[]);
    b.output("y", &x, DType::F32, &[]);
    assert!(b.finish().unwrap_err().to_string().contains("two ports are named `y`"));
}

#[test]
fn every_kind_of_attribute_is_written() {
    let mut b = Builder::new("g");
    let x = b.input("x", DType::F32, &[1.into(), 1.into(), 4.into(), 4.into()]).unwrap();
    let w = b.constant("w", Tensor::f32(&[1, 1, 2, 2], vec![1.0; 4]).unwrap());
    let attributes = [("strides", Attr::Ints(vec![2, 2])), ("group", 1.into()), ("auto_pad", "VALID".into())];
    let y = b.op("Conv", &[&x, &w, &Value::none()], &attributes);
    let y = b.op("LeakyRelu", &[&y], &[("alpha", 0.25.into())]);
    let k = b.op("Constant", &[], &[("value", Attr::Tensor(Tensor::scalar(3.0)))]);
    let z = b.mul(&y, &k);
    b.output("z", &z, DType::F32, &[1.into(), 1.into(), 2.into(), 2.into()]);
    let text = b.finish().unwrap().to_text();
    for part in
        ["auto_pad=\"VALID\", group=1, strides=[2, 2]", "alpha=0.25", "value=f32[] [3.0]", "(%x, %w, _)"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn ports_are_shown_as_types() {
    let mut b = Builder::new("g");
    let x = b.input("image", DType::F32, &["N".into(), 3.into(), Dim::Unknown]).unwrap();
    b.output("same", &x, DType::F32, &["N".into(), 3.into(), Dim::Unknown]);
    let graph = b.finish().unwrap();
    let port = graph.input("image").unwrap();
    assert_eq!(port.to_string(), "image f32[N,3,?]");
    assert_eq!((port.fixed(1), port.fixed(-2), port.fixed(0), port.fixed(5)), (Some(3), Some(3), None, None));
    let error = graph.input("picture").unwrap_err().to_string();
    assert!(error.contains("`picture`") && error.contains("`image`"), "{error}");
}
