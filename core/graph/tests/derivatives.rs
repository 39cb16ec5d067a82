//! Derivatives of large graphs. Their values are tested in the runtime.

use chiasm_graph::{Builder, DType, Dim};

/// A chain of element-wise operators is one region; its derivative must not overflow the stack.
#[test]
fn a_chain_of_twenty_thousand_operators_has_a_derivative() {
    let mut b = Builder::new("chain");
    let shape = [Dim::Named("n".to_owned()), Dim::Fixed(2)];
    let mut y = b.input("x", DType::F32, &shape).unwrap();
    for _ in 0..10_000 {
        let shifted = b.add_scalar(&y, 1.0);
        y = b.tanh(&shifted);
    }
    b.output("y", &y, DType::F32, &shape);
    let graph = b.finish().unwrap();
    assert_eq!(graph.vjp(&["y"], &["x"]).unwrap().inputs().len(), 2);
    assert_eq!(graph.jvp(&["x"]).unwrap().inputs().len(), 2);
}
