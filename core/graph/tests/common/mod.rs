//! Helpers of the tests: stored models, and real ones if they are available.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each test file uses a part"
)]

use std::path::{Path, PathBuf};

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};

/// The path of a model in tests/data, which tests/reference/make.py writes.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.onnx"))
}

pub fn load(name: &str) -> Graph {
    Graph::load(path(name)).unwrap()
}

/// A real model; without it the test is skipped.
pub fn real(name: &str) -> Option<Graph> {
    let path = chiasm_testing::real_data(&format!("models/{name}"))?;
    Some(Graph::load(path).unwrap())
}

pub fn batch(columns: usize) -> [Dim; 2] {
    [Dim::named("batch"), Dim::Fixed(columns)]
}

/// `z = x w` with a weight matrix whose elements all have this value.
pub fn linear(name: &str, input: &str, output: &str, sizes: (usize, usize), value: f32) -> Graph {
    let mut b = Builder::new(name);
    let x = b.input(input, DType::F32, &batch(sizes.0)).unwrap();
    let w = b.constant("w", Tensor::f32(&[sizes.0, sizes.1], vec![value; sizes.0 * sizes.1]).unwrap());
    let z = b.linear(&x, &w, None);
    b.output(output, &z, DType::F32, &batch(sizes.1));
    b.finish().unwrap()
}

pub fn names(ports: &[chiasm_graph::Port]) -> Vec<String> {
    ports.iter().map(|port| port.name.clone()).collect()
}

pub fn texts(ports: &[chiasm_graph::Port]) -> Vec<String> {
    ports.iter().map(ToString::to_string).collect()
}
