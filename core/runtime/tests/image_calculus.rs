//! Compares the derivatives of operators on images with central differences.
//!
//! The engine computes these operators in single precision only. All of them are linear in their first
//! input, so that a central difference is exact at any step: at a step of 0.5 the rounding of the values, of
//! order 1e-7, leaves an error near 1e-6, and 1e-5 still detects any wrong rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;
#[path = "common/differences.rs"]
mod differences;

use chiasm_graph::{Attr, Builder, DType, Dim, Error, Graph, Tensor, Value};
use differences::{Accuracy, Case, case, check_all, check_forward, check_reverse, noise};

const ACCURACY: Accuracy = Accuracy { step: 0.5, tolerance: 1e-5 };
const ANY: (f64, f64) = (-1.5, 1.5);

/// The operator in single precision, on a double-precision value.
fn single(b: &mut Builder, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)]) -> Value {
    let x = b.cast(inputs[0], DType::F32);
    let inputs: Vec<&Value> = std::iter::once(&x).chain(inputs[1..].iter().copied()).collect();
    let y = b.op(operator, &inputs, attributes);
    b.cast(&y, DType::F64)
}

fn weight(b: &mut Builder, shape: &[usize]) -> Value {
    let count = shape.iter().product();
    let values = noise(count, 5, (-1.0, 1.0)).into_iter().map(|v| v as f32).collect();
    b.constant("w", Tensor::f32(shape, values).unwrap())
}

fn ints(values: &[i64]) -> Attr {
    Attr::Ints(values.to_vec())
}

fn scales(b: &mut Builder, values: &[f32]) -> Value {
    b.constant("scales", Tensor::f32(&[values.len()], values.to_vec()).unwrap())
}

fn resized(b: &mut Builder, x: &Value, to: &[f32], attributes: &[(&str, Attr)]) -> Value {
    let to = scales(b, to);
    single(b, "Resize", &[x, &Value::none(), &to], attributes)
}

/// Cases whose derivatives need no fixed lengths.
#[rustfmt::skip]
const FREE: &[Case] = &[
    case!("Conv", [[2, 3, 5, 6]], ANY, |b, x| {
        let w = weight(b, &[4, 3, 3, 2]);
        single(b, "Conv", &[&x[0], &w], &[])
    }),
    case!("Conv with strides that leave a rest, and pads", [[2, 2, 6, 7]], ANY, |b, x| {
        let w = weight(b, &[3, 2, 3, 3]);
        single(b, "Conv", &[&x[0], &w], &[("strides", ints(&[2, 3])), ("pads", ints(&[1, 0, 1, 2]))])
    }),
    case!("Conv, dilated, grouped, with a bias", [[2, 4, 7, 6]], ANY, |b, x| {
        let (w, c) = (weight(b, &[6, 2, 2, 3]), weight(b, &[6]));
        single(b, "Conv", &[&x[0], &w, &c],
            &[("dilations", ints(&[3, 2])), ("group", Attr::Int(2)), ("pads", ints(&[0, 1, 0, 1]))])
    }),
    case!("Conv of signals", [[2, 3, 9]], ANY, |b, x| {
        let w = weight(b, &[2, 3, 4]);
        single(b, "Conv", &[&x[0], &w], &[("strides", ints(&[2])), ("auto_pad", "VALID".into())])
    }),
    case!("Conv, the bias computed", [[3], [2, 2, 4]], ANY, |b, x| {
        let w = weight(b, &[3, 2, 2]);
        let (c, y) = (b.cast(&x[0], DType::F32), b.cast(&x[1], DType::F32));
        let z = b.op("Conv", &[&y, &w, &c], &[]);
        b.cast(&z, DType::F64)
    }),
    case!("AveragePool", [[2, 3, 6, 5]], ANY, |b, x| {
        single(b, "AveragePool", &[&x[0]], &[("kernel_shape", ints(&[2, 3])), ("strides", ints(&[2, 1]))])
    }),
    case!("AveragePool that counts its padding", [[2, 2, 5, 5]], ANY, |b, x| {
        single(b, "AveragePool", &[&x[0]],
            &[("kernel_shape", ints(&[3, 3])), ("pads", ints(&[1, 0, 1, 2])), ("strides", ints(&[2, 2])),
              ("count_include_pad", Attr::Int(1))])
    }),
    case!("GlobalAveragePool", [[2, 3, 4, 5]], ANY, |b, x| single(b, "GlobalAveragePool", &[&x[0]], &[])),
    case!("GlobalAveragePool of signals", [[2, 3, 4]], ANY, |b, x| {
        single(b, "GlobalAveragePool", &[&x[0]], &[])
    }),
];

/// Cases whose derivatives need images of a fixed size.
#[rustfmt::skip]
const FIXED: &[Case] = &[
    case!("Conv, padded to the same size", [[2, 2, 6, 7]], ANY, |b, x| {
        let w = weight(b, &[3, 2, 3, 4]);
        single(b, "Conv", &[&x[0], &w], &[("strides", ints(&[2, 2])), ("auto_pad", "SAME_UPPER".into())])
    }),
    case!("Conv, padded to the same size from below", [[1, 2, 5, 7]], ANY, |b, x| {
        let w = weight(b, &[3, 2, 2, 4]);
        single(b, "Conv", &[&x[0], &w], &[("strides", ints(&[2, 1])), ("auto_pad", "SAME_LOWER".into())])
    }),
    case!("AveragePool that leaves its padding out", [[2, 3, 5, 6]], ANY, |b, x| {
        single(b, "AveragePool", &[&x[0]],
            &[("kernel_shape", ints(&[3, 2])), ("pads", ints(&[1, 1, 2, 0])), ("strides", ints(&[2, 2]))])
    }),
    case!("Resize, linear, by scales", [[2, 3, 4, 5]], ANY, |b, x| {
        resized(b, &x[0], &[1.0, 1.0, 2.0, 1.5], &[("mode", "linear".into())])
    }),
    case!("Resize, linear, to smaller images", [[2, 1, 6, 7]], ANY, |b, x| {
        resized(b, &x[0], &[1.0, 1.0, 0.5, 0.6],
            &[("mode", "linear".into()), ("coordinate_transformation_mode", "asymmetric".into())])
    }),
    case!("Resize, linear, corners aligned, to sizes", [[2, 2, 3, 4]], ANY, |b, x| {
        let to = b.ints("sizes", &[2, 2, 5, 7]);
        let none = Value::none();
        single(b, "Resize", &[&x[0], &none, &none, &to],
            &[("mode", "linear".into()), ("coordinate_transformation_mode", "align_corners".into())])
    }),
    case!("Resize, linear, one axis", [[3, 2, 4, 4]], ANY, |b, x| {
        resized(b, &x[0], &[1.0, 1.0, 1.0, 2.0],
            &[("mode", "linear".into()), ("coordinate_transformation_mode", "pytorch_half_pixel".into())])
    }),
    case!("Resize, nearest", [[2, 2, 3, 4]], ANY, |b, x| {
        resized(b, &x[0], &[1.0, 1.0, 2.0, 2.0], &[("mode", "nearest".into())])
    }),
    case!("Resize, cubic", [[1, 2, 4, 5]], ANY, |b, x| {
        resized(b, &x[0], &[1.0, 1.0, 1.7, 2.0], &[("mode", "cubic".into())])
    }),
];

#[test]
fn forward_mode_is_the_central_difference_along_each_direction() {
    check_all(FREE, |case| check_forward(case, false, ACCURACY));
    check_all(FIXED, |case| check_forward(case, false, ACCURACY));
}

#[test]
fn reverse_mode_is_the_transposed_jacobian_times_the_cotangent() {
    check_all(FREE, |case| check_reverse(case, false, ACCURACY));
    check_all(FIXED, |case| check_reverse(case, false, ACCURACY));
}

#[test]
fn free_axes_give_the_same_derivatives() {
    check_all(FREE, |case| {
        check_forward(case, true, ACCURACY);
        check_reverse(case, true, ACCURACY);
    });
}

/// One case of this file with the batch free: that is how encoders are exported.
#[test]
fn a_free_batch_is_enough_for_images_of_a_fixed_size() {
    let graph = images(|b, x| {
        let w = weight(b, &[3, 1, 3, 3]);
        let y = b.op("Conv", &[x, &w], &[("auto_pad", "SAME_UPPER".into())]);
        let to = scales(b, &[1.0, 1.0, 2.0, 2.0]);
        let y = b.op("Resize", &[&y, &Value::none(), &to], &[("mode", "linear".into())]);
        let y = b.op("AveragePool", &[&y], &[("kernel_shape", ints(&[3, 3])), ("pads", ints(&[1, 1, 1, 1]))]);
        b.op("GlobalAveragePool", &[&y], &[])
    });
    graph.jvp(&["x"]).unwrap();
    graph.vjp(&["y"], &["x"]).unwrap();
}

/// What cannot be differentiated is named with its reason.
#[test]
fn a_node_that_cannot_be_differentiated_says_why() {
    let refused = |graph: &Graph| match graph.vjp(&["y"], &["x"]) {
        Err(Error::NoDerivative { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let dropout = images(|b, x| {
        let ratio = b.constant("ratio", Tensor::f32(&[], vec![0.5]).unwrap());
        let training = b.constant("training", Tensor::new(&[], vec![true]).unwrap());
        b.op("Dropout", &[x, &ratio, &training], &[])
    });
    assert!(refused(&dropout).contains("training mode"));
    let rounded_up = images(|b, x| {
        b.op("AveragePool", &[x], &[("kernel_shape", ints(&[2, 2])), ("ceil_mode", Attr::Int(1))])
    });
    assert!(refused(&rounded_up).contains("ceil_mode"));
    let kernel = images(|b, x| {
        let w = b.op("GlobalAveragePool", &[x], &[]);
        b.op("Conv", &[x, &w], &[])
    });
    let error = kernel.jvp(&["x"]).unwrap_err().to_string();
    assert!(error.contains("kernel"), "{error}");
}

/// A graph of images `x [N, 1, 8, 8]` to `y`.
fn images(make: impl FnOnce(&mut Builder, &Value) -> Value) -> Graph {
    let mut b = Builder::new("images");
    let x = b.input("x", DType::F32, &[Dim::named("N"), 1.into(), 8.into(), 8.into()]).unwrap();
    let y = make(&mut b, &x);
    b.output("y", &y, DType::F32, &[Dim::named("N"), Dim::Unknown, Dim::Unknown, Dim::Unknown]);
    b.finish().unwrap()
}
