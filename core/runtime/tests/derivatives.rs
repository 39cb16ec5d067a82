//! Compares derivatives of random graphs with PyTorch's in double precision (values by
//! reference/derivatives.py), and checks the adjoint identity on other random graphs.
//!
//! Tolerance: 1e-4 of the largest element. The graphs run in single precision (1e-7) and chain about ten
//! operators with slopes up to some tens; a wrong rule has an error of order one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::SessionOptions;
use common::engine;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Stored {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    inputs: Vec<Stored>,
    tangents: Vec<Stored>,
    y: Stored,
    moved: Stored,
    cotangent: Stored,
    gradients: Vec<Stored>,
}

impl Stored {
    fn tensor(&self) -> Tensor {
        Tensor::f32(&self.shape, self.data.clone()).unwrap()
    }

    /// As one direction.
    fn direction(&self) -> Tensor {
        self.tensor().reshaped(&[&[1], &self.shape[..]].concat()).unwrap()
    }
}

fn model(hex: &str) -> Graph {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
    Graph::from_bytes(&bytes).unwrap()
}

fn run(graph: &Graph, fuse: bool, inputs: &[(String, Tensor)], output: &str) -> Vec<f32> {
    let options = SessionOptions { threads: 1, fuse, ..SessionOptions::default() };
    let session = engine().session(graph, &options).unwrap_or_else(|e| panic!("{e}\n{}", graph.to_text()));
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run_outputs(&inputs, &[output]).unwrap().remove(0).1.into_f32().unwrap()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 1e-4 * scale, "{what}[{at}] is {got}, expected {expected}");
    }
}

#[test]
fn derivatives_of_random_graphs_agree_with_pytorch() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("reference/derivatives.json")).unwrap();
    assert_eq!(cases.len(), 60);
    for (number, case) in cases.iter().enumerate() {
        let graph = model(&case.model);
        let names: Vec<String> = (0..case.inputs.len()).map(|i| format!("x{i}")).collect();
        let wrt: Vec<&str> = names.iter().map(String::as_str).collect();
        let values: Vec<(String, Tensor)> =
            names.iter().cloned().zip(case.inputs.iter().map(Stored::tensor)).collect();
        let fail = |e| panic!("graph {number}: {e}\n{}", graph.to_text());
        let (jvp, vjp) = (graph.jvp(&wrt).unwrap_or_else(fail), graph.vjp(&["y"], &wrt).unwrap_or_else(fail));
        for fuse in [false, true] {
            let what = |part: &str| format!("graph {number} (fused: {fuse}): {part}");
            let mut moved = values.clone();
            moved.extend(
                names.iter().zip(&case.tangents).map(|(n, t)| (format!("tangent/{n}"), t.direction())),
            );
            assert_close(&run(&jvp, fuse, &moved, "y"), &case.y.data, &what("value"));
            assert_close(&run(&jvp, fuse, &moved, "tangent/y"), &case.moved.data, &what("tangent"));
            let mut owed = values.clone();
            owed.push(("cotangent/y".to_owned(), case.cotangent.tensor()));
            for (name, expected) in names.iter().zip(&case.gradients) {
                let port = format!("gradient/{name}");
                assert_close(&run(&vjp, fuse, &owed, &port), &expected.data, &what(&port));
            }
        }
    }
}

/// One random step of a graph over two values `[n, d]`.
#[derive(Clone, Debug)]
struct Step {
    operator: usize,
    left: usize,
    right: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..14_usize, 0..100_usize, 0..100_usize);
    prop::collection::vec(step.prop_map(|(operator, left, right)| Step { operator, left, right }), 1..14)
}

/// Smooth operators only, in double precision; every value is `[n, d]`, `[n, 1]`, `[1, d]` or a scalar in
/// between.
fn build(steps: &[Step], d: usize) -> Graph {
    let mut b = Builder::new("random");
    let n = Dim::named("n");
    let x = b.input("x", DType::F64, &[n.clone(), d.into()]).unwrap();
    let row = b.input("row", DType::F64, &[d.into()]).unwrap();
    let square = b.input("square", DType::F64, &[d.into(), d.into()]).unwrap();
    let mut values: Vec<Value> = vec![b.mul(&x, &row), x.clone()];
    let two = b.constant("two", Tensor::f64(&[], vec![2.0]).unwrap());
    for step in steps {
        let (left, right) =
            (values[step.left % values.len()].clone(), values[step.right % values.len()].clone());
        let bounded = b.tanh(&right);
        let value = match step.operator {
            0 => b.add(&left, &right),
            1 => b.sub(&left, &right),
            2 => b.mul(&left, &bounded),
            3 => {
                let away = b.add(&bounded, &two);
                b.div(&left, &away)
            }
            4 => b.matmul(&left, &square),
            5 => b.softmax(&left, -1),
            6 => {
                let mean = b.reduce_sum(&left, &[-1], true);
                b.mul(&mean, &bounded)
            }
            7 => {
                let sum = b.reduce_sum(&left, &[0], false);
                b.add(&sum, &right)
            }
            8 => {
                let turned = b.transpose(&bounded, &[1, 0]);
                let products = b.matmul(&left, &turned);
                b.matmul(&products, &bounded)
            }
            9 => b.exp(&bounded),
            10 => {
                let both = b.concat(&[&left, &bounded], -1);
                let [_, tail] = b.op_many("Split", &[&both], &[("axis", 1_i64.into())]);
                b.mul(&tail, &left)
            }
            11 => b.op("Sigmoid", &[&left], &[]),
            12 => b.softmax(&left, 0),
            _ => {
                let squares = b.mul(&left, &left);
                let sum = b.reduce_sum(&squares, &[-1], true);
                let sum = b.add(&sum, &two);
                let norm = b.sqrt(&sum);
                b.div(&left, &norm)
            }
        };
        values.push(value);
    }
    let last = values.last().unwrap();
    b.output("y", last, DType::F64, &[n, d.into()]);
    b.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// `(f(x + h t) - f(x - h t)) / 2h = J t` to 1e-5 in double precision, and `<c, J t> = <J' c, t>` to
    /// rounding.
    #[test]
    fn both_modes_are_the_central_difference(
        steps in steps(), n in 1..5_usize, d in 1..5_usize, seed in 0..1000_u64
    ) {
        let graph = build(&steps, d);
        let wrt = ["x", "row", "square"];
        let shapes = [vec![n, d], vec![d], vec![d, d]];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = |shape: &[usize]| -> Vec<f64> {
            (0..shape.iter().product()).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
            }).collect()
        };
        let x: Vec<Vec<f64>> = shapes.iter().map(|shape| noise(shape)).collect();
        let t: Vec<Vec<f64>> = shapes.iter().map(|shape| noise(shape)).collect();
        let c = noise(&[n, d]);
        let run = |graph: &Graph, inputs: &[(String, Tensor)], output: &str| -> Vec<f64> {
            let options = SessionOptions { threads: 1, ..SessionOptions::default() };
            let session = engine().session(graph, &options).unwrap();
            let inputs: Vec<(&str, &Tensor)> =
                inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            session.run_outputs(&inputs, &[output]).unwrap().remove(0).1.into_f64().unwrap()
        };
        let at = |h: f64| -> Vec<(String, Tensor)> {
            let moved = |i: usize| x[i].iter().zip(&t[i]).map(|(x, t)| x + h * t).collect();
            (0..3).map(|i| (wrt[i].to_owned(), Tensor::f64(&shapes[i], moved(i)).unwrap())).collect()
        };
        let h = 1e-5;
        let (plus, minus) = (run(&graph, &at(h), "y"), run(&graph, &at(-h), "y"));
        let expected: Vec<f64> = plus.iter().zip(&minus).map(|(p, m)| (p - m) / (2.0 * h)).collect();
        let mut inputs = at(0.0);
        for i in 0..3 {
            let shape = [&[1], &shapes[i][..]].concat();
            inputs.push((format!("tangent/{}", wrt[i]), Tensor::f64(&shape, t[i].clone()).unwrap()));
        }
        let got = run(&graph.jvp(&wrt).unwrap(), &inputs, "tangent/y");
        let scale = expected.iter().chain(&plus).fold(1.0_f64, |most, value| most.max(value.abs()));
        for (got, expected) in got.iter().zip(&expected) {
            prop_assert!((got - expected).abs() <= 1e-5 * scale, "{got}, expected {expected}");
        }
        let mut inputs = at(0.0);
        inputs.push(("cotangent/y".to_owned(), Tensor::f64(&[n, d], c.clone()).unwrap()));
        let vjp = graph.vjp(&["y"], &wrt).unwrap();
        let owed: f64 = (0..3).map(|i| {
            let gradient = run(&vjp, &inputs, &format!("gradient/{}", wrt[i]));
            gradient.iter().zip(&t[i]).map(|(g, t)| g * t).sum::<f64>()
        }).sum();
        let paid: f64 = got.iter().zip(&c).map(|(g, c)| g * c).sum();
        prop_assert!((owed - paid).abs() <= 1e-9 * scale * (n * d) as f64, "{owed}, expected {paid}");
    }
}

#[test]
fn a_reverse_pass_of_a_forward_pass_gives_second_derivatives() {
    // y = sum(x^3): the gradient of the tangent along t is 6 x t.
    let mut b = Builder::new("cubes");
    let x = b.input("x", DType::F32, &[4.into()]).unwrap();
    let square = b.mul(&x, &x);
    let cube = b.mul(&square, &x);
    let y = b.reduce_sum(&cube, &[0], false);
    b.output("y", &y, DType::F32, &[]);
    let jvp = b.finish().unwrap().jvp(&["x"]).unwrap();
    let second = jvp.vjp(&["tangent/y"], &["x"]).unwrap();
    let values = [
        ("x".to_owned(), Tensor::f32(&[4], vec![1.0, -2.0, 0.5, 3.0]).unwrap()),
        ("tangent/x".to_owned(), Tensor::f32(&[1, 4], vec![1.0, 1.0, 2.0, -1.0]).unwrap()),
        ("cotangent/tangent/y".to_owned(), Tensor::f32(&[1], vec![1.0]).unwrap()),
    ];
    assert_close(&run(&second, false, &values, "gradient/x"), &[6.0, -12.0, 6.0, -18.0], "6 x t");
}

/// Below the smallest length a unit vector is x / eps, so it has a derivative at zero.
#[test]
fn the_unit_vector_of_zero_has_a_derivative() {
    let mut b = Builder::new("unit");
    let x = b.input("x", DType::F32, &[2.into(), 2.into()]).unwrap();
    let y = b.l2_normalise(&x, -1, 0.25);
    b.output("y", &y, DType::F32, &[2.into(), 2.into()]);
    let graph = b.finish().unwrap().vjp(&["y"], &["x"]).unwrap();
    let values = [
        ("x".to_owned(), Tensor::f32(&[2, 2], vec![0.0, 0.0, 3.0, 4.0]).unwrap()),
        ("cotangent/y".to_owned(), Tensor::f32(&[2, 2], vec![1.0, 2.0, 1.0, 0.0]).unwrap()),
    ];
    // below eps it is x / eps; else (I - u u') / |x| = ((1 - .36) / 5, -.48 / 5)
    assert_close(&run(&graph, false, &values, "gradient/x"), &[4.0, 8.0, 0.128, -0.096], "cotangent J");
}

#[test]
fn a_jacobian_is_computed_for_every_row_and_a_stopped_value_is_a_constant() {
    // y = W x + stop(x): the Jacobian is W at every row.
    let mut b = Builder::new("map");
    let x = b.input("x", DType::F32, &[Dim::named("n"), 3.into()]).unwrap();
    let w = [1.0, -2.0, 0.5, 3.0, 4.0, 0.0];
    let weight = b.constant("w", Tensor::f32(&[3, 2], w.to_vec()).unwrap());
    let y = b.matmul(&x, &weight);
    let stopped = b.stop_gradient(&y);
    let y = b.add(&y, &stopped);
    b.output("y", &y, DType::F32, &[Dim::named("n"), 2.into()]);
    let graph = b.finish().unwrap().jacobian("x", "y").unwrap();
    let inputs = [("x".to_owned(), Tensor::f32(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap())];
    let got = run(&graph, false, &inputs, "jacobian/y");
    let expected = [1.0, -2.0, 1.0, -2.0, 0.5, 3.0, 0.5, 3.0, 4.0, 0.0, 4.0, 0.0];
    assert_close(&got, &expected, "[d, n, o]");
}

#[test]
fn an_operator_without_a_rule_is_named_with_its_node() {
    let mut b = Builder::new("map");
    let x = b.input("x", DType::F32, &[1.into(), 1.into(), 4.into(), 4.into()]).unwrap();
    let pooled = b.op("GlobalMaxPool", &[&x], &[]);
    b.output("y", &pooled, DType::F32, &[1.into(), 1.into(), 1.into(), 1.into()]);
    let graph = b.finish().unwrap();
    let error = graph.jvp(&["x"]).unwrap_err().to_string();
    assert_eq!(error, "cannot differentiate operator GlobalMaxPool (node `y`): no rule for this operator");
    let error = graph.jvp(&["z"]).unwrap_err().to_string();
    assert!(error.contains("no input `z`; it has `x`"), "{error}");
}

#[test]
fn a_gradient_costs_about_three_times_the_function() {
    // Matrix products of a projector: two forward, four of the same size back, but the one by the data.
    let mut b = Builder::new("projector");
    let x = b.input("x", DType::F32, &[Dim::named("n"), 8.into()]).unwrap();
    let [w1, w2] = ["w1", "w2"].map(|name| b.input(name, DType::F32, &[8.into(), 8.into()]).unwrap());
    let hidden = b.matmul(&x, &w1);
    let hidden = b.gelu(&hidden);
    let y = b.matmul(&hidden, &w2);
    let squares = b.mul(&y, &y);
    let loss = b.reduce_sum(&squares, &[0, 1], false);
    b.output("loss", &loss, DType::F32, &[]);
    let gradient = b.finish().unwrap().gradient("loss", &["w1", "w2"]).unwrap();
    let operators = gradient.op_types();
    assert_eq!((operators["MatMul"], operators["Gemm"]), (2, 3), "{}", gradient.to_text());
}
