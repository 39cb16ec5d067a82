//! Compares the derivative of every operator with central differences, computed by the engine in double
//! precision.
//!
//! Tolerance: a central difference with step `h` has an error of about `h^2` times the third derivative plus
//! rounding `1e-16 / h`. At `h = 1e-5` both are near 1e-10, so 1e-6 relative leaves room for curvature and
//! still detects any wrong rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;
#[path = "common/differences.rs"]
mod differences;

use chiasm_graph::{Attr, Builder, DType, Tensor, Value};
use differences::{Accuracy, Case, case, check_all, check_forward, check_reverse, noise};

const ACCURACY: Accuracy = Accuracy { step: 1e-5, tolerance: 1e-6 };

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
    case!("LpNormalization", [[3, 4]], ANY, |b, x| b.op("LpNormalization", &[&x[0]], &[])),
    case!("LpNormalization by the sum, first axis", [[3, 4]], ANY, |b, x| {
        b.op("LpNormalization", &[&x[0]], &[("axis", Attr::Int(0)), ("p", Attr::Int(1))])
    }),
    case!("LpNormalization, inner axis", [[2, 3, 4]], ANY, |b, x| {
        b.op("LpNormalization", &[&x[0]], &[("axis", Attr::Int(1)), ("p", Attr::Int(2))])
    }),
    case!("Dropout", [[3, 4]], ANY, |b, x| { let y = b.op("Dropout", &[&x[0]], &[]); b.exp(&y) }),
    case!("Dropout with a ratio, in inference", [[3, 4]], ANY, |b, x| {
        let r = b.constant("r", Tensor::f32(&[], vec![0.4]).unwrap());
        let t = b.constant("t", Tensor::new(&[], vec![false]).unwrap());
        let y = b.op("Dropout", &[&x[0], &r, &t], &[]);
        b.exp(&y)
    }),
    case!("Pad with a constant", [[3, 4]], ANY, |b, x| {
        let (p, c) = (b.ints("p", &[1, 0, 2, 3]), double(b, 0.7));
        let y = b.op("Pad", &[&x[0], &p, &c], &[]);
        b.exp(&y)
    }),
    case!("Pad that crops", [[4, 5]], ANY, |b, x| {
        let p = b.ints("p", &[-1, 2, 0, -2]);
        let y = b.op("Pad", &[&x[0], &p], &[]);
        b.exp(&y)
    }),
    case!("Pad by reflection", [[4, 5]], ANY, |b, x| {
        let p = b.ints("p", &[2, 0, 1, 3]);
        let y = b.op("Pad", &[&x[0], &p], &[("mode", "reflect".into())]);
        b.exp(&y)
    }),
    case!("Pad with the edges, inner axis", [[2, 3, 2]], ANY, |b, x| {
        let p = b.ints("p", &[0, 2, 0, 0, 1, 0]);
        let y = b.op("Pad", &[&x[0], &p], &[("mode", "edge".into())]);
        b.exp(&y)
    }),
    case!("CumSum", [[3, 4]], ANY, |b, x| {
        let a = b.constant("a", Tensor::i64(&[], vec![1]).unwrap());
        let y = b.op("CumSum", &[&x[0], &a], &[]);
        b.exp(&y)
    }),
    case!("CumSum, exclusive, from the end", [[2, 3, 2]], ANY, |b, x| {
        let a = b.constant("a", Tensor::i64(&[], vec![-2]).unwrap());
        let y = b.op("CumSum", &[&x[0], &a], &[("exclusive", Attr::Int(1)), ("reverse", Attr::Int(1))]);
        b.exp(&y)
    }),
];

#[test]
fn forward_mode_is_the_central_difference_along_each_direction() {
    check_all(CASES, |case| check_forward(case, false, ACCURACY));
}

#[test]
fn reverse_mode_is_the_transposed_jacobian_times_the_cotangent() {
    check_all(CASES, |case| check_reverse(case, false, ACCURACY));
}

#[test]
fn free_axes_give_the_same_derivatives() {
    check_all(CASES, |case| {
        check_forward(case, true, ACCURACY);
        check_reverse(case, true, ACCURACY);
    });
}
