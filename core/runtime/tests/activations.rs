//! Compares the values and derivatives of element-wise functions with closed forms in double precision.
//!
//! ONNX Runtime computes these operators in single precision only, in which central differences
//! (`calculus.rs`) are too coarse.
//!
//! Tolerance: 1e-5, relative above 1. The engine rounds to 1e-7 of values up to 5, and the differences of the
//! closed forms are exact to about 1e-10.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::path::Path;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::SessionOptions;
use common::engine;

const TOLERANCE: f64 = 1e-5;
const STEP: f64 = 1e-5;
/// The length of the points.
const N: usize = 49;

/// An operator with its attributes, and its formula.
struct Case {
    operator: &'static str,
    attributes: &'static [(&'static str, f32)],
    formula: fn(f64) -> f64,
}

const fn case(
    operator: &'static str,
    attributes: &'static [(&'static str, f32)],
    formula: fn(f64) -> f64,
) -> Case {
    Case { operator, attributes, formula }
}

/// The formulas of the ONNX operator specification.
const CASES: &[Case] = &[
    case("Atan", &[], f64::atan),
    case("Celu", &[], |x| x.max(0.0) + x.exp_m1().min(0.0)),
    case("Celu", &[("alpha", 0.5)], |x| x.max(0.0) + (0.5 * (x / 0.5).exp_m1()).min(0.0)),
    case("Elu", &[], |x| if x > 0.0 { x } else { x.exp_m1() }),
    case("Elu", &[("alpha", 0.75)], |x| if x > 0.0 { x } else { 0.75 * x.exp_m1() }),
    case("HardSigmoid", &[], |x| (0.2 * x + 0.5).clamp(0.0, 1.0)),
    case("HardSigmoid", &[("alpha", 0.25), ("beta", 0.375)], |x| (0.25 * x + 0.375).clamp(0.0, 1.0)),
    case("HardSwish", &[], |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
    case("LeakyRelu", &[], |x| if x > 0.0 { x } else { 0.01 * x }),
    case("LeakyRelu", &[("alpha", 0.25)], |x| if x > 0.0 { x } else { 0.25 * x }),
    case("Mish", &[], |x| x * x.exp().ln_1p().tanh()),
    case("Selu", &[], |x| 1.050_701 * if x > 0.0 { x } else { 1.673_263_2 * x.exp_m1() }),
    case("Selu", &[("alpha", 0.5), ("gamma", 2.0)], |x| if x > 0.0 { 2.0 * x } else { x.exp_m1() }),
    case("Softplus", &[], |x| x.exp().ln_1p()),
    case("Softsign", &[], |x| x / (1.0 + x.abs())),
    case("Swish", &[], |x| x / (1.0 + (-x).exp())),
    case("Swish", &[("alpha", 2.0)], |x| x / (1.0 + (-2.0 * x).exp())),
    case("ThresholdedRelu", &[], |x| if x > 1.0 { x } else { 0.0 }),
    case("ThresholdedRelu", &[("alpha", 0.5)], |x| if x > 0.5 { x } else { 0.0 }),
];

/// From -4.11 to 4.05; no point is a kink of a function.
fn points() -> Vec<f32> {
    (0..N).map(|i| -4.11 + 0.17 * i as f32).collect()
}

/// A graph with these inputs `f32[N]` and the output `y f32[N]`.
fn graph(inputs: &[&str], make: impl FnOnce(&mut Builder, &[Value]) -> Value) -> Graph {
    let mut b = Builder::new("function");
    let inputs: Vec<Value> =
        inputs.iter().map(|name| b.input(name, DType::F32, &[Dim::Fixed(N)]).unwrap()).collect();
    let y = make(&mut b, &inputs);
    b.output("y", &y, DType::F32, &[Dim::Fixed(N)]);
    b.finish().unwrap()
}

impl Case {
    fn graph(&self) -> Graph {
        // The builder writes operator set 17. Operators that are newer take the place of another one with a
        // name of the same length.
        let (stand_in, opset) = match self.operator {
            "Mish" => ("Tanh", 18),
            "Swish" => ("Floor", 24),
            other => (other, 17),
        };
        let attributes: Vec<(&str, Attr)> =
            self.attributes.iter().map(|(name, value)| (*name, Attr::Float(*value))).collect();
        let old = graph(&["x"], |b, x| b.op(stand_in, &[&x[0]], &attributes));
        if stand_in == self.operator {
            return old;
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.onnx", self.operator));
        old.upgraded(opset).unwrap().save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        while let Some(at) = bytes.windows(stand_in.len()).position(|part| part == stand_in.as_bytes()) {
            bytes[at..at + stand_in.len()].copy_from_slice(self.operator.as_bytes());
        }
        Graph::from_bytes(&bytes).unwrap()
    }
}

fn run(graph: &Graph, inputs: &[(&str, &Tensor)], output: &str) -> Vec<f32> {
    let session = engine()
        .session(graph, &SessionOptions::default())
        .unwrap_or_else(|error| panic!("{error}\n{}", graph.to_text()));
    session.run_outputs(inputs, &[output]).unwrap().remove(0).1.into_f32().unwrap()
}

fn assert_close(what: &str, got: &[f32], expected: impl Fn(f64) -> f64) {
    assert_eq!(got.len(), N, "{what}");
    for (got, x) in got.iter().zip(points()) {
        let expected = expected(f64::from(x));
        let off = (f64::from(*got) - expected).abs();
        assert!(off <= TOLERANCE * expected.abs().max(1.0), "{what} at {x} is {got}, expected {expected}");
    }
}

#[test]
fn values_and_derivatives_are_those_of_the_closed_forms() {
    let (x, ones) = (Tensor::f32(&[N], points()).unwrap(), Tensor::f32(&[N], vec![1.0; N]).unwrap());
    let direction = ones.clone().reshaped(&[1, N]).unwrap();
    for case in CASES {
        let name = format!("{} {:?}", case.operator, case.attributes);
        let graph = case.graph();
        let slope = |x: f64| ((case.formula)(x + STEP) - (case.formula)(x - STEP)) / (2.0 * STEP);
        assert_close(&name, &run(&graph, &[("x", &x)], "y"), case.formula);
        let jvp = graph.jvp(&["x"]).unwrap();
        let forward = run(&jvp, &[("x", &x), ("tangent/x", &direction)], "tangent/y");
        assert_close(&format!("the tangent of {name}"), &forward, slope);
        let vjp = graph.vjp(&["y"], &["x"]).unwrap();
        let reverse = run(&vjp, &[("x", &x), ("cotangent/y", &ones)], "gradient/x");
        assert_close(&format!("the gradient of {name}"), &reverse, slope);
    }
}

#[test]
fn the_slope_of_prelu_has_a_derivative_too() {
    let graph = graph(&["x", "slope"], |b, x| b.op("PRelu", &[&x[0], &x[1]], &[]));
    let vjp = graph.vjp(&["y"], &["x", "slope"]).unwrap();
    let tensor = |values| Tensor::f32(&[N], values).unwrap();
    let (x, slope, ones) = (tensor(points()), tensor(vec![0.25; N]), tensor(vec![1.0; N]));
    let inputs = [("x", &x), ("slope", &slope), ("cotangent/y", &ones)];
    assert_close("by x", &run(&vjp, &inputs, "gradient/x"), |x| if x > 0.0 { 1.0 } else { 0.25 });
    assert_close("by the slope", &run(&vjp, &inputs, "gradient/slope"), |x| x.min(0.0));
}
