//! Compares spectra with NumPy's and with finite differences, both in double precision.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_geometry::linalg::thin_svd;
use chiasm_graph::{Builder, Graph, Tensor, Value};
use common::{map, noise, points, report};
use ndarray::{Array1, Array2, Axis};
use serde_json::Value as Json;

fn stored() -> Json {
    serde_json::from_str(include_str!("reference/spectra.json")).unwrap()
}

fn numbers(value: &Json) -> Vec<f64> {
    match value {
        Json::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn matrix(value: &Json) -> Array2<f64> {
    let values = numbers(value);
    let rows = value.as_array().unwrap().len();
    Array2::from_shape_vec((rows, values.len() / rows), values).unwrap()
}

fn constant(b: &mut Builder, values: &Array2<f64>) -> Value {
    let shape = [values.nrows(), values.ncols()];
    b.constant("weight", Tensor::f32(&shape, values.iter().map(|v| *v as f32).collect()).unwrap())
}

/// normalise(tanh(x W + b) V), as in reference/spectra.py.
fn bent(stored: &Json) -> Graph {
    let (w, v) = (matrix(&stored["w"]), matrix(&stored["v"]));
    map(w.nrows(), v.ncols(), |b, x| {
        let bias = numbers(&stored["b"]);
        let bias = Array2::from_shape_vec((1, bias.len()), bias).unwrap();
        let (w, bias, v) = (constant(b, &w), constant(b, &bias), constant(b, &v));
        let hidden = b.linear(x, &w, Some(&bias));
        let hidden = b.tanh(&hidden);
        let y = b.matmul(&hidden, &v);
        b.l2_normalise(&y, -1, 1e-12)
    })
}

/// Jacobians in single precision against double: 1e-5 of the largest value is ten times the observed
/// rounding.
#[test]
fn spectra_agree_with_numpy() {
    let stored = stored();
    let x = matrix(&stored["x"]).mapv(|v| v as f32);
    let report = report(&bent(&stored), &x);
    let spectra = report.jacobian.unwrap();
    assert!(spectra.spheres.on_sphere && !spectra.spheres.ignores_length);
    assert_eq!((spectra.attainable_rank, spectra.rank), (3, vec![3; 5]));
    for (got, exact) in spectra.singular_values.iter().zip(matrix(&stored["singular_values"]).outer_iter()) {
        for (got, value) in got.iter().zip(exact) {
            assert!((f64::from(*got) - value).abs() < 1e-5 * exact[0], "{got}, NumPy {value}");
        }
        assert!(f64::from(got[3]) < 1e-5 * exact[0], "the length of the image is constant");
    }
    for (got, exact) in [
        (spectra.condition_number, numbers(&stored["condition_number"])),
        (spectra.log_volume, numbers(&stored["log_volume"])),
    ] {
        assert!(got.iter().zip(&exact).all(|(g, e)| (g - e).abs() < 1e-4 * e.abs()), "{got:?} {exact:?}");
    }
}

/// Central differences of the same map written in double precision (step 1e-5: error about 1e-10), a GELU
/// network of 12-20-12.
#[test]
fn singular_values_agree_with_finite_differences_in_double_precision() {
    let (w, v) = (noise(12, 20, 1) / 3.0, noise(20, 12, 2) / 4.0);
    let (w, v) = (w.mapv(|v| f64::from(v as f32)), v.mapv(|v| f64::from(v as f32)));
    let network = map(12, 12, |b, x| {
        let (w, v) = (constant(b, &w), constant(b, &v));
        let hidden = b.matmul(x, &w);
        let hidden = b.gelu(&hidden);
        b.matmul(&hidden, &v)
    });
    let points = points(4, 12, 3);
    let spectra = report(&network, &points).jacobian.unwrap();
    let f = |x: &Array1<f64>| x.dot(&w).mapv(gelu).dot(&v);
    for (point, got) in points.outer_iter().zip(&spectra.singular_values) {
        let x = point.mapv(f64::from);
        let mut jacobian = Array2::zeros((12, 12));
        for (i, mut column) in jacobian.axis_iter_mut(Axis(1)).enumerate() {
            let mut step = Array1::zeros(12);
            step[i] = 1e-5;
            column.assign(&((f(&(&x + &step)) - f(&(&x - &step))) / 2e-5));
        }
        let exact = thin_svd(jacobian.view()).unwrap().s;
        let off = got.iter().zip(&exact).map(|(g, e)| (f64::from(*g) - e).abs()).fold(0.0, f64::max);
        assert!(off < 1e-5 * exact[0], "{off}");
    }
}

/// x Phi(x), with Phi by its alternating Taylor series at 0, summed until rounding; accurate for |x| < 6 as
/// here.
fn gelu(x: f64) -> f64 {
    assert!(x.abs() < 6.0);
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / (2.0 * n);
        sum += term / (2.0 * n + 1.0);
    }
    x * (0.5 + sum / (2.0 * std::f64::consts::PI).sqrt())
}
