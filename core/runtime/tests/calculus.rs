//! Compares the derivative of every operator with central differences, computed by the engine in double
//! precision.
//!
//! Tolerance: a central difference with step `h` has an error of about `h^2` times the third derivative plus
//! rounding `1e-16 / h`. At `h = 1e-5` both are near 1e-10, so 1e-6 relative leaves room for curvature and
//! still detects any wrong rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Session, SessionOptions};
use common::engine;

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;

/// Shapes of the inputs; the first axis of each is free when `free`.
struct Case {
    name: &'static str,
    shapes: &'static [&'static [usize]],
    /// Range of the inputs.
    range: (f64, f64),
    make: fn(&mut Builder, &[Value]) -> Value,
}

fn double(b: &mut Builder, value: f64) -> Value {
    b.constant("number", Tensor::f64(&[], vec![value]).unwrap())
}

fn seed(b: &mut Builder, name: &str, shape: &[usize]) -> Value {
    let count = shape.iter().product();
    b.constant(name, Tensor::f64(shape, noise(count, 99, (-1.0, 1.0))).unwrap())
}

/// Batch normalisation with weights that may be negative and constant statistics.
fn batch_norm(b: &mut Builder, x: &Value, channels: usize, epsilon: f32) -> Value {
    let mut weight = |name: &str, seed, range| {
        b.constant(name, Tensor::f64(&[channels], noise(channels, seed, range)).unwrap())
    };
    let (scale, bias) = (weight("scale", 1, ANY), weight("bias", 2, ANY));
    let (mean, variance) = (weight("mean", 3, ANY), weight("variance", 4, POSITIVE));
    let inputs = [x, &scale, &bias, &mean, &variance];
    b.op("BatchNormalization", &inputs, &[("epsilon", epsilon.into())])
}

macro_rules! case {
    ($name:literal, [$($shape:expr),*], $range:expr, |$b:ident, $x:ident| $body:expr) => {
        Case { name: $name, shapes: &[$(&$shape),*], range: $range, make: |$b, $x| $body }
    };
}

const ANY: (f64, f64) = (-1.5, 1.5);
const POSITIVE: (f64, f64) = (0.3, 2.0);

#[rustfmt::skip]
const CASES: &[Case] = &[
    case!("Add, broadcast", [[3, 4], [4]], ANY, |b, x| b.add(&x[0], &x[1])),
    case!("Add, both broadcast", [[3, 1, 4], [2, 1]], ANY, |b, x| { let y = b.add(&x[0], &x[1]); b.mul(&y, &y) }),
    case!("Sub", [[3, 4], [3, 1]], ANY, |b, x| b.sub(&x[0], &x[1])),
    case!("Mul, with itself", [[3, 4]], ANY, |b, x| b.mul(&x[0], &x[0])),
    case!("Mul, broadcast", [[2, 3, 4], [3, 1]], ANY, |b, x| b.mul(&x[0], &x[1])),
    case!("Div", [[3, 4], [3, 4]], POSITIVE, |b, x| b.div(&x[0], &x[1])),
    case!("Div, broadcast", [[4], [3, 4]], POSITIVE, |b, x| b.div(&x[0], &x[1])),
    case!("Neg", [[3, 4]], ANY, |b, x| b.neg(&x[0])),
    case!("Reciprocal", [[3, 4]], POSITIVE, |b, x| b.op("Reciprocal", &[&x[0]], &[])),
    case!("Pow by a constant", [[3, 4]], POSITIVE, |b, x| { let p = double(b, 2.5); b.op("Pow", &[&x[0], &p], &[]) }),
    case!("Pow by a value", [[3, 4], [4]], POSITIVE, |b, x| b.op("Pow", &[&x[0], &x[1]], &[])),
    case!("Sqrt", [[3, 4]], POSITIVE, |b, x| b.sqrt(&x[0])),
    case!("Exp", [[3, 4]], ANY, |b, x| b.exp(&x[0])),
    case!("Log", [[3, 4]], POSITIVE, |b, x| b.log(&x[0])),
    case!("Abs", [[3, 4]], ANY, |b, x| b.abs(&x[0])),
    case!("Sign is flat", [[3, 4]], ANY, |b, x| { let s = b.sign(&x[0]); b.mul(&s, &x[0]) }),
    case!("Sin, Cos", [[3, 4]], ANY, |b, x| { let s = b.op("Sin", &[&x[0]], &[]); let c = b.op("Cos", &[&x[0]], &[]); b.mul(&s, &c) }),
    case!("Tanh", [[3, 4]], ANY, |b, x| b.tanh(&x[0])),
    case!("Sigmoid", [[3, 4]], ANY, |b, x| b.op("Sigmoid", &[&x[0]], &[])),
    case!("Relu", [[3, 4]], ANY, |b, x| b.relu(&x[0])),
    case!("Clip", [[3, 4]], ANY, |b, x| { let (l, h) = (double(b, -0.5), double(b, 0.8)); b.op("Clip", &[&x[0], &l, &h], &[]) }),
    case!("Max of two values", [[3, 4], [4]], ANY, |b, x| b.op("Max", &[&x[0], &x[1]], &[])),
    case!("Max with a constant", [[3, 4]], ANY, |b, x| { let c = double(b, 0.2); b.op("Max", &[&x[0], &c], &[]) }),
    case!("Min of three values", [[3, 4], [4], [3, 1]], ANY, |b, x| b.op("Min", &[&x[0], &x[1], &x[2]], &[])),
    case!("Where", [[3, 4], [4]], ANY, |b, x| { let zero = double(b, 0.0); let c = b.op("Greater", &[&x[0], &zero], &[]); b.where_(&c, &x[0], &x[1]) }),
    case!("Where, one side constant", [[3, 4]], ANY, |b, x| { let zero = double(b, 0.0); let c = b.op("Less", &[&x[0], &zero], &[]); let c = b.op("Not", &[&c], &[]); let s = b.mul(&x[0], &x[0]); b.where_(&c, &s, &zero) }),
    case!("MatMul", [[3, 4], [4, 2]], ANY, |b, x| b.matmul(&x[0], &x[1])),
    case!("MatMul, batch by matrix", [[2, 3, 4], [4, 2]], ANY, |b, x| b.matmul(&x[0], &x[1])),
    case!("MatMul, matrix by batch", [[3, 4], [2, 4, 2]], ANY, |b, x| b.matmul(&x[0], &x[1])),
    case!("MatMul, batch by batch", [[2, 3, 4], [2, 4, 2]], ANY, |b, x| b.matmul(&x[0], &x[1])),
    case!("MatMul, broadcast batches", [[2, 1, 3, 4], [5, 4, 2]], ANY, |b, x| b.matmul(&x[0], &x[1])),
    case!("Gemm", [[3, 4], [4, 2], [2]], ANY, |b, x| b.op("Gemm", &[&x[0], &x[1], &x[2]], &[("alpha", 0.5_f32.into()), ("beta", 2.0_f32.into())])),
    case!("Gemm, left transposed", [[4, 3], [4, 2]], ANY, |b, x| b.op("Gemm", &[&x[0], &x[1]], &[("transA", 1_i64.into())])),
    case!("Gemm, right transposed", [[3, 4], [2, 4], [3, 1]], ANY, |b, x| b.op("Gemm", &[&x[0], &x[1], &x[2]], &[("transB", 1_i64.into())])),
    case!("Gemm, both transposed", [[4, 3], [2, 4]], ANY, |b, x| b.op("Gemm", &[&x[0], &x[1]], &[("transA", 1_i64.into()), ("transB", 1_i64.into())])),
    case!("Einsum, product", [[3, 4], [4, 2]], ANY, |b, x| b.op("Einsum", &[&x[0], &x[1]], &[("equation", "ij,jk->ki".into())])),
    case!("Einsum, batch and lone letters", [[2, 3, 4], [2, 4, 3]], ANY, |b, x| b.op("Einsum", &[&x[0], &x[1]], &[("equation", "bij,bkc->bc".into())])),
    case!("Transpose", [[2, 3, 4]], ANY, |b, x| { let t = b.transpose(&x[0], &[2, 0, 1]); let w = seed(b, "w", &[4, 2, 3]); b.mul(&t, &w) }),
    case!("Reshape", [[2, 6]], ANY, |b, x| { let r = b.reshape(&x[0], &[0, 2, -1]); b.softmax(&r, 1) }),
    case!("Flatten", [[2, 3, 2]], ANY, |b, x| { let f = b.op("Flatten", &[&x[0]], &[("axis", 1_i64.into())]); b.softmax(&f, -1) }),
    case!("Squeeze, Unsqueeze", [[3, 1, 4]], ANY, |b, x| { let s = b.squeeze(&x[0], &[1]); let s = b.exp(&s); let u = b.unsqueeze(&s, &[0]); b.mul(&u, &x[0]) }),
    case!("Expand", [[3, 1]], ANY, |b, x| { let to = b.ints("to", &[2, 3, 4]); let e = b.expand(&x[0], &to); let w = seed(b, "w", &[2, 3, 4]); b.mul(&e, &w) }),
    case!("Concat", [[3, 2], [3, 4]], ANY, |b, x| { let c = b.concat(&[&x[0], &x[1]], 1); b.softmax(&c, 1) }),
    case!("Concat, a part constant", [[2, 3]], ANY, |b, x| { let w = seed(b, "w", &[1, 3]); let c = b.concat(&[&w, &x[0]], 0); b.softmax(&c, 1) }),
    case!("Split", [[3, 6]], ANY, |b, x| { let sizes = b.ints("sizes", &[2, 4]); let [l, r] = b.op_many("Split", &[&x[0], &sizes], &[("axis", 1_i64.into())]); let l = b.exp(&l); let l = b.reduce_sum(&l, &[1], true); b.mul(&l, &r) }),
    case!("Split, a part unused", [[3, 6]], ANY, |b, x| { let [l, _] = b.op_many("Split", &[&x[0]], &[("axis", 1_i64.into())]); b.exp(&l) }),
    case!("Slice", [[5, 6]], ANY, |b, x| { let (s, e, a, t) = (b.ints("s", &[1, -1]), b.ints("e", &[4, -6]), b.ints("a", &[0, 1]), b.ints("t", &[1, -2])); let y = b.op("Slice", &[&x[0], &s, &e, &a, &t], &[]); b.exp(&y) }),
    case!("Gather rows, some twice", [[5, 3]], ANY, |b, x| { let i = b.ints("i", &[0, 3, 3, -1]); let g = b.gather(&x[0], &i, 0); b.exp(&g) }),
    case!("Gather along an inner axis by a matrix", [[2, 5, 3]], ANY, |b, x| { let i = b.constant("i", Tensor::i64(&[2, 2], vec![0, 3, 3, 1]).unwrap()); let g = b.gather(&x[0], &i, 1); b.exp(&g) }),
    case!("Gather by a scalar", [[4, 3]], ANY, |b, x| { let i = b.constant("i", Tensor::i64(&[], vec![2]).unwrap()); let g = b.gather(&x[0], &i, 0); b.exp(&g) }),
    case!("GatherElements", [[3, 4]], ANY, |b, x| { let i = b.constant("i", Tensor::i64(&[3, 2], vec![0, 3, 1, 1, 2, 0]).unwrap()); b.op("GatherElements", &[&x[0], &i], &[("axis", 1_i64.into())]) }),
    case!("TopK", [[3, 5]], ANY, |b, x| { let (v, _) = b.top_k(&x[0], 2, 1); b.exp(&v) }),
    case!("Cast there and back", [[3, 4]], ANY, |b, x| { let f = b.cast(&x[0], DType::F64); b.mul(&f, &x[0]) }),
    case!("ReduceSum", [[2, 3, 4]], ANY, |b, x| { let s = b.mul(&x[0], &x[0]); b.reduce_sum(&s, &[0, -1], false) }),
    case!("ReduceMean", [[2, 3, 4]], ANY, |b, x| { let s = b.mul(&x[0], &x[0]); b.op("ReduceMean", &[&s], &[("axes", Attr::Ints(vec![1])), ("keepdims", 0_i64.into())]) }),
    case!("ReduceMean over all", [[2, 3, 4]], ANY, |b, x| { let m = b.op("ReduceMean", &[&x[0]], &[("keepdims", 0_i64.into())]); b.exp(&m) }),
    case!("ReduceSumSquare", [[3, 4]], ANY, |b, x| b.op("ReduceSumSquare", &[&x[0]], &[("axes", Attr::Ints(vec![1]))])),
    case!("ReduceL1", [[3, 4]], ANY, |b, x| b.op("ReduceL1", &[&x[0]], &[("axes", Attr::Ints(vec![0]))])),
    case!("ReduceL2", [[3, 4]], ANY, |b, x| b.op("ReduceL2", &[&x[0]], &[("axes", Attr::Ints(vec![-1]))])),
    case!("ReduceMax", [[3, 4]], ANY, |b, x| { let m = b.op("ReduceMax", &[&x[0]], &[("axes", Attr::Ints(vec![1])), ("keepdims", 0_i64.into())]); b.exp(&m) }),
    case!("ReduceMin", [[3, 4]], ANY, |b, x| b.op("ReduceMin", &[&x[0]], &[("axes", Attr::Ints(vec![0]))])),
    case!("ReduceLogSumExp", [[3, 4]], ANY, |b, x| b.op("ReduceLogSumExp", &[&x[0]], &[("axes", Attr::Ints(vec![1])), ("keepdims", 0_i64.into())])),
    case!("Softmax", [[3, 4]], ANY, |b, x| b.softmax(&x[0], -1)),
    case!("Softmax over the first axis", [[3, 4]], ANY, |b, x| b.softmax(&x[0], 0)),
    case!("LogSoftmax", [[2, 3, 4]], ANY, |b, x| b.op("LogSoftmax", &[&x[0]], &[("axis", 1_i64.into())])),
    case!("LayerNormalization", [[3, 4], [4], [4]], ANY, |b, x| b.op("LayerNormalization", &[&x[0], &x[1], &x[2]], &[("axis", Attr::Int(-1))])),
    case!("LayerNormalization over two axes", [[2, 3, 2], [3, 2]], ANY, |b, x| b.op("LayerNormalization", &[&x[0], &x[1]], &[("axis", Attr::Int(1))])),
    case!("BatchNormalization of rows", [[3, 4]], ANY, |b, x| batch_norm(b, &x[0], 4, 1e-5)),
    case!("BatchNormalization of images", [[2, 3, 2, 2]], ANY, |b, x| batch_norm(b, &x[0], 3, 0.1)),
    case!("unit rows", [[3, 4]], ANY, |b, x| { let s = b.mul(&x[0], &x[0]); let s = b.reduce_sum(&s, &[-1], true); let n = b.sqrt(&s); b.div(&x[0], &n) }),
];

/// Numbers that look random and never tie.
fn noise(count: usize, seed: u64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| low + (high - low) * next()).collect()
}

impl Case {
    fn names(&self) -> Vec<String> {
        (0..self.shapes.len()).map(|i| format!("x{i}")).collect()
    }

    /// The case as a graph; with free axes none of the lengths is known before the run.
    fn graph(&self, free: bool) -> Graph {
        // The engine determines the output's rank.
        let shape =
            open(&self.build(free, &[])).run(&pairs(&self.names(), &self.inputs())).unwrap().remove(0).1;
        self.build(free, shape.shape())
    }

    fn build(&self, free: bool, output: &[usize]) -> Graph {
        let dims = |shape: &[usize]| -> Vec<Dim> {
            shape.iter().map(|n| if free { Dim::Unknown } else { Dim::Fixed(*n) }).collect()
        };
        let mut b = Builder::new(self.name);
        let names = self.names();
        let input = |(name, shape): (&String, &&[usize])| b.input(name, DType::F64, &dims(shape)).unwrap();
        let inputs: Vec<Value> = names.iter().zip(self.shapes).map(input).collect();
        let y = (self.make)(&mut b, &inputs);
        b.output("y", &y, DType::F64, &dims(output));
        b.finish().unwrap()
    }

    fn inputs(&self) -> Vec<Tensor> {
        let one = |(i, shape): (usize, &&[usize])| {
            Tensor::f64(shape, noise(shape.iter().product(), 7 + i as u64, self.range)).unwrap()
        };
        self.shapes.iter().enumerate().map(one).collect()
    }
}

fn open(graph: &Graph) -> Session {
    engine()
        .session(graph, &SessionOptions::default())
        .unwrap_or_else(|error| panic!("{error}\n{}", graph.to_text()))
}

fn pairs<'a>(names: &'a [String], tensors: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
    names.iter().map(String::as_str).zip(tensors).collect()
}

fn values(tensor: &Tensor) -> &[f64] {
    tensor.as_f64().unwrap()
}

/// `(f(x + h t) - f(x - h t)) / 2h`.
fn difference(session: &Session, names: &[String], x: &[Tensor], t: &[Tensor]) -> Vec<f64> {
    let at = |h: f64| {
        let moved: Vec<Tensor> = x
            .iter()
            .zip(t)
            .map(|(x, t)| {
                let sum = values(x).iter().zip(values(t)).map(|(x, t)| x + h * t).collect();
                Tensor::f64(x.shape(), sum).unwrap()
            })
            .collect();
        session.run(&pairs(names, &moved)).unwrap().remove(0).1
    };
    let (plus, minus) = (at(STEP), at(-STEP));
    values(&plus).iter().zip(values(&minus)).map(|(p, m)| (p - m) / (2.0 * STEP)).collect()
}

fn assert_close(case: &str, what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{case}: {what}");
    let scale = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= TOLERANCE * scale,
            "{case}: {what}[{at}] is {got}, expected {expected}"
        );
    }
}

/// Two directions at once; each must be the central difference along it.
fn check_forward(case: &Case, free: bool) {
    let graph = case.graph(free);
    let names = case.names();
    let wrt: Vec<&str> = names.iter().map(String::as_str).collect();
    let jvp = graph.jvp(&wrt).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let x = case.inputs();
    let directions: Vec<Vec<Tensor>> = (0..2)
        .map(|k| {
            let one = |(i, shape): (usize, &&[usize])| {
                let values = noise(shape.iter().product(), 31 + 10 * k + i as u64, (-1.0, 1.0));
                Tensor::f64(shape, values).unwrap()
            };
            case.shapes.iter().enumerate().map(one).collect()
        })
        .collect();
    let stacked: Vec<Tensor> = (0..x.len())
        .map(|i| {
            let both = [values(&directions[0][i]), values(&directions[1][i])].concat();
            Tensor::f64(&[&[2], x[i].shape()].concat(), both).unwrap()
        })
        .collect();
    let tangents: Vec<String> = names.iter().map(|name| format!("tangent/{name}")).collect();
    let mut inputs = pairs(&names, &x);
    inputs.extend(pairs(&tangents, &stacked));
    let session = open(&jvp);
    let got = session
        .run_outputs(&inputs, &["tangent/y"])
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
        .remove(0)
        .1;
    let plain = open(&graph);
    let expected: Vec<f64> = directions.iter().flat_map(|t| difference(&plain, &names, &x, t)).collect();
    assert_close(case.name, "tangent", values(&got), &expected);
}

/// `<c, J t>` from differences along every input element must be `<J' c, t>`.
fn check_reverse(case: &Case, free: bool) {
    let graph = case.graph(free);
    let names = case.names();
    let wrt: Vec<&str> = names.iter().map(String::as_str).collect();
    let vjp = graph.vjp(&["y"], &wrt).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let x = case.inputs();
    let plain = open(&graph);
    let y = plain.run(&pairs(&names, &x)).unwrap().remove(0).1;
    let c = Tensor::f64(y.shape(), noise(y.len(), 77, (-1.0, 1.0))).unwrap();
    let mut inputs = pairs(&names, &x);
    inputs.push(("cotangent/y", &c));
    let session = open(&vjp);
    for (i, name) in names.iter().enumerate() {
        let port = format!("gradient/{name}");
        let got = session
            .run_outputs(&inputs, &[&port])
            .unwrap_or_else(|e| panic!("{}: {e}", case.name))
            .remove(0)
            .1;
        assert_eq!(got.shape(), x[i].shape(), "{}: shape of {port}", case.name);
        let mut expected = Vec::new();
        for at in 0..x[i].len() {
            let direction: Vec<Tensor> = x
                .iter()
                .enumerate()
                .map(|(j, x)| {
                    let mut unit = vec![0.0; x.len()];
                    if i == j {
                        unit[at] = 1.0;
                    }
                    Tensor::f64(x.shape(), unit).unwrap()
                })
                .collect();
            let column = difference(&plain, &names, &x, &direction);
            expected.push(column.iter().zip(values(&c)).map(|(a, b)| a * b).sum());
        }
        assert_close(case.name, &port, values(&got), &expected);
    }
}

/// Checks every case and lists all that fail.
fn check_all(check: impl Fn(&Case) + std::panic::RefUnwindSafe) {
    let fails = |case: &&Case| std::panic::catch_unwind(|| check(case)).is_err();
    let failed: Vec<&str> = CASES.iter().filter(fails).map(|case| case.name).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), CASES.len());
}

#[test]
fn forward_mode_is_the_central_difference_along_each_direction() {
    check_all(|case| check_forward(case, false));
}

#[test]
fn reverse_mode_is_the_transposed_jacobian_times_the_cotangent() {
    check_all(|case| check_reverse(case, false));
}

#[test]
fn free_axes_give_the_same_derivatives() {
    check_all(|case| {
        check_forward(case, true);
        check_reverse(case, true);
    });
}
