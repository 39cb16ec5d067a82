//! Derivatives of graphs with branches, from a file that the `onnx` package wrote
//! (`core/graph/tests/reference/make.py`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Error, Graph, Tensor};
use chiasm_runtime::SessionOptions;
use common::engine;

fn load(name: &str) -> Graph {
    let path = format!("{}/../graph/tests/data/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    Graph::load(path).unwrap()
}

/// `2 x^2 + x`, of which only `If` nodes with known conditions lead to the terms; its derivative is `4 x +
/// 1`. The values are small integers and halves, so that single precision is exact.
#[test]
fn the_branch_that_is_always_taken_is_differentiated() {
    let graph = load("known_branch");
    let x: Vec<f32> = (0..8).map(|i| i as f32 - 3.5).collect();
    let expected: Vec<f32> = x.iter().map(|x| 4.0 * x + 1.0).collect();
    let x = Tensor::f32(&[2, 4], x).unwrap();
    let ones = |shape: &[usize]| Tensor::f32(shape, vec![1.0; 8]).unwrap();
    let forward = engine().session(&graph.jvp(&["x"]).unwrap(), &SessionOptions::default()).unwrap();
    let inputs = [("x", &x), ("tangent/x", &ones(&[1, 2, 4]))];
    let tangent = forward.run_outputs(&inputs, &["tangent/y"]).unwrap().remove(0).1;
    assert_eq!(tangent.as_f32().unwrap(), expected);
    let backward = engine().session(&graph.vjp(&["y"], &["x"]).unwrap(), &SessionOptions::default()).unwrap();
    let inputs = [("x", &x), ("cotangent/y", &ones(&[2, 4]))];
    let gradient = backward.run_outputs(&inputs, &["gradient/x"]).unwrap().remove(0).1;
    assert_eq!(gradient.as_f32().unwrap(), expected);
}

#[test]
fn a_branch_that_depends_on_the_data_is_refused_with_the_reason() {
    match load("branch").jvp(&["x"]) {
        Err(Error::NoDerivative { operator, reason, .. }) => {
            assert_eq!(operator, "If");
            assert!(reason.contains("depends on the data"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
