//! A graph that is written in another operator set computes the same.
//!
//! ONNX Runtime runs each graph in every operator set from the oldest on, and refuses a form that an operator
//! set does not have. Tolerance: 1e-6 for values up to 4, the rounding of sums in another order.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, OLDEST_OPSET, Tensor, Value};
use chiasm_runtime::SessionOptions;
use common::engine;

const SHAPE: [usize; 3] = [2, 3, 4];

/// A graph from `x [N,3,4]` to `y`.
fn graph(make: impl FnOnce(&mut Builder, &Value) -> Value) -> Graph {
    let mut b = Builder::new("function");
    let x = b.input("x", DType::F32, &[Dim::named("N"), Dim::Fixed(3), Dim::Fixed(4)]).unwrap();
    let y = make(&mut b, &x);
    b.output("y", &y, DType::F32, &[const { Dim::Unknown }; 3]);
    b.finish().unwrap()
}

fn run(graph: &Graph) -> Vec<f32> {
    let count = SHAPE.iter().product::<usize>();
    let x = Tensor::f32(&SHAPE, (0..count).map(|i| (i as f32 * 1.7).sin() * 3.0).collect()).unwrap();
    let session = engine().session(graph, &SessionOptions::default()).unwrap();
    session.run_outputs(&[("x", &x)], &["y"]).unwrap().remove(0).1.into_f32().unwrap()
}

#[test]
fn values_are_the_same_in_every_operator_set() {
    let softmax = |axis: i64| move |b: &mut Builder, x: &Value| b.softmax(x, axis);
    let norm = |axis: i64| {
        move |b: &mut Builder, x: &Value| {
            let scale = b.constant("scale", Tensor::f32(&[4], vec![0.5, 1.0, 2.0, -1.0]).unwrap());
            let bias = b.constant("bias", Tensor::f32(&[4], vec![0.1, 0.2, 0.3, 0.4]).unwrap());
            let attributes = [("axis", Attr::Int(axis)), ("epsilon", Attr::Float(1e-3))];
            if axis == -1 {
                return b.op("LayerNormalization", &[x, &scale, &bias], &attributes);
            }
            let whole =
                b.constant("whole", Tensor::f32(&[3, 4], (0..12).map(|i| i as f32).collect()).unwrap());
            b.op("LayerNormalization", &[x, &whole], &attributes)
        }
    };
    let axes = |b: &mut Builder, x: &Value| {
        let sum = b.reduce_sum(x, &[1, -1], false);
        let sum = b.unsqueeze(&sum, &[1, 2]);
        let mean = b.op("ReduceMean", &[x], &[("axes", Attr::Ints(vec![-2])), ("keepdims", Attr::Int(1))]);
        let flat = b.squeeze(&mean, &[1]);
        let back = b.unsqueeze(&flat, &[1]);
        b.add(&sum, &back)
    };
    let graphs = [
        graph(softmax(0)),
        graph(softmax(1)),
        graph(softmax(2)),
        graph(|b, x| b.op("LogSoftmax", &[x], &[("axis", Attr::Int(-2))])),
        graph(norm(-1)),
        graph(norm(1)),
        graph(axes),
        graph(|b, x| b.op("HardSwish", &[x], &[])),
        graph(|b, x| b.gelu(x)),
    ];
    for graph in &graphs {
        let expected = run(graph);
        // 24 is above every form that changed and below what the engine may not know yet.
        let newest = graph.in_opset(24).unwrap();
        for opset in OLDEST_OPSET..=24 {
            for from in [graph, &newest] {
                let moved = from.in_opset(opset).unwrap();
                assert_eq!(moved.opset(), opset);
                for (got, expected) in run(&moved).iter().zip(&expected) {
                    let text = moved.to_text();
                    assert!(
                        (got - expected).abs() < 1e-6,
                        "opset {opset}: {got}, expected {expected}\n{text}"
                    );
                }
            }
        }
    }
}
