//! Repeated parts of a graph, in the engine.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use chiasm_runtime::SessionOptions;
use common::engine;

/// `y = x * root(x)` with the root by ten steps of Heron's method from a start of ones.
fn scaled_roots() -> Graph {
    let mut b = Builder::new("roots");
    let dims = [Dim::named("n")];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let start = b.input("start", DType::F32, &dims).unwrap();
    let root = b.repeat(10, &[&start], |b, state| {
        let quotient = b.div(&x, &state[0]);
        let sum = b.add(&state[0], &quotient);
        vec![b.mul_scalar(&sum, 0.5)]
    });
    let y = b.mul(&x, &root[0]);
    let sum = b.reduce_sum(&y, &[0], false);
    b.output("y", &y, DType::F32, &dims);
    b.output("sum", &sum, DType::F32, &[]);
    b.finish().unwrap()
}

fn run(graph: &Graph, x: &[f32], output: &str) -> Vec<f32> {
    let session = engine().session(graph, &SessionOptions::default()).unwrap();
    let [x, start] =
        [x.to_vec(), vec![1.0; x.len()]].map(|values| Tensor::f32(&[values.len()], values).unwrap());
    let outputs = session.run(&[("x", &x), ("start", &start)]).unwrap();
    let (_, tensor) = outputs.iter().find(|(name, _)| name == output).unwrap();
    tensor.as_f32().unwrap().to_vec()
}

/// Heron's method doubles the correct digits in a step, so ten steps reach single precision.
#[test]
fn the_steps_are_repeated_for_any_length() {
    for x in [vec![2.0_f32], vec![0.25, 1.0, 9.0]] {
        let got = run(&scaled_roots(), &x, "y");
        for (got, x) in got.iter().zip(&x) {
            assert!((got - x * x.sqrt()).abs() < 1e-6 * x * x.sqrt(), "{got} for {x}");
        }
    }
}

#[test]
fn the_result_counts_as_a_constant_in_derivatives() {
    let x = [0.25, 4.0];
    let gradient = run(&scaled_roots().gradient("sum", &["x"]).unwrap(), &x, "gradient/x");
    assert!(gradient.iter().zip(x).all(|(got, x)| (got - x.sqrt()).abs() < 1e-6), "{gradient:?}");
}

/// The body of a loop names values of the graph around it; both are renamed when graphs are joined. Two
/// joined graphs give x^(3/2)^(3/2).
#[test]
fn a_graph_with_a_loop_can_be_joined_with_itself() {
    let first = scaled_roots().extract(&["y"]).unwrap().renamed(&[("y", "middle")]).unwrap();
    let second = scaled_roots().extract(&["y"]).unwrap();
    let second = second.renamed(&[("x", "middle"), ("start", "second_start")]).unwrap();
    let both = first.join(&second, &[("middle", "middle")]).unwrap();
    let session = engine().session(&both, &SessionOptions::default()).unwrap();
    let [x, ones] = [vec![2.0, 3.0], vec![1.0; 2]].map(|values| Tensor::f32(&[2], values).unwrap());
    let outputs = session.run(&[("x", &x), ("start", &ones), ("second_start", &ones)]).unwrap();
    let (_, y) = outputs.iter().find(|(name, _)| name == "y").unwrap();
    for (got, x) in y.as_f32().unwrap().iter().zip([2.0_f32, 3.0]) {
        assert!((got - x.powf(2.25)).abs() < 1e-5, "{got} for {x}");
    }
}

/// A model for batches of three with an empty context, as exports with a key-value cache have it: y = 3 x +
/// the sum of the context, which is zero.
#[test]
fn a_model_of_a_fixed_batch_with_an_empty_input_runs_on_any_batch() {
    let mut b = Builder::new("three");
    let x = b.input("x", DType::F32, &[3.into(), 2.into()]).unwrap();
    let past = b.input("past", DType::F32, &[3.into(), 1.into(), Dim::named("past"), 2.into()]).unwrap();
    let item = b.reshape(&x, &[3, 1, 1, 2]);
    let all = b.concat(&[&past, &item], 2);
    let sum = b.reduce_sum(&all, &[1, 2], false);
    let twice = b.mul_scalar(&x, 2.0);
    let y = b.add(&sum, &twice);
    b.output("y", &y, DType::F32, &[3.into(), 2.into()]);
    let any = b.finish().unwrap().in_batches(3).unwrap();
    let session = engine().session(&any, &SessionOptions::default()).unwrap();
    for rows in [1, 2, 3, 4, 7] {
        let values: Vec<f32> = (0..2 * rows).map(|value| value as f32).collect();
        let x = Tensor::f32(&[rows, 2], values.clone()).unwrap();
        let past = Tensor::f32(&[rows, 1, 0, 2], Vec::new()).unwrap();
        let outputs = session.run(&[("x", &x), ("past", &past)]).unwrap();
        let tripled: Vec<f32> = values.iter().map(|value| 3.0 * value).collect();
        assert_eq!(outputs[0].1.as_f32().unwrap(), tripled, "{rows} rows");
    }
}
