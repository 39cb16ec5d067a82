//! Graphs with narrow weights compute the same as with wide ones, within the rounding of the weights.
//!
//! The bound has a closed form: an operator that is linear in its weight changes by at most its value at |x|
//! and the largest error of each weight, `2^-11 |w|` for 16-bit floats and half a scale for 8-bit integers,
//! plus a few roundings of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Storage, Tensor};
use chiasm_runtime::SessionOptions;
use common::engine;

fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    Tensor::f32(shape, (0..shape.iter().product()).map(|_| next()).collect()).unwrap()
}

struct Case {
    operator: &'static str,
    x: Tensor,
    weight: Tensor,
    attrs: Vec<(&'static str, Attr)>,
    /// The axis of the weight's output channels.
    channels: usize,
}

impl Case {
    fn graph(&self, weight: &Tensor) -> Graph {
        let mut b = Builder::new(self.operator);
        let free = |rank: usize, of: &str| -> Vec<Dim> {
            (0..rank).map(|axis| Dim::named(format!("{of}{axis}"))).collect()
        };
        let x = b.input("x", self.x.dtype(), &free(self.x.shape().len(), "x")).unwrap();
        let w = b.constant("w", weight.clone());
        let inputs = if self.operator == "Gather" { [&w, &x] } else { [&x, &w] };
        let y = b.op(self.operator, &inputs, &self.attrs);
        b.output("y", &y, DType::F32, &free(if self.operator == "Conv" { 4 } else { 2 }, "y"));
        b.finish().unwrap()
    }

    fn run(&self, graph: &Graph, x: &Tensor) -> Vec<f32> {
        let outputs = engine().session(graph, &SessionOptions::default()).unwrap().run(&[("x", x)]).unwrap();
        outputs[0].1.as_f32().unwrap().to_vec()
    }

    /// Returns the largest error that each weight may have.
    fn error(&self, storage: Storage) -> Tensor {
        let (shape, values) = (self.weight.shape(), self.weight.as_f32().unwrap());
        let inner: usize = shape[self.channels + 1..].iter().product();
        let channel = |at: usize| at / inner % shape[self.channels];
        let most = |of: usize| {
            let own = values.iter().enumerate().filter(|(at, _)| channel(*at) == of);
            own.fold(0.0_f32, |most, (_, w)| most.max(w.abs()))
        };
        let largest: Vec<f32> = (0..shape[self.channels]).map(most).collect();
        let of = |(at, w): (usize, &f32)| match storage {
            Storage::Fp16 => w.abs() * 2.0_f32.powi(-11) + 2.0_f32.powi(-25),
            Storage::Int8 => largest[channel(at)] / 254.0,
        };
        Tensor::f32(shape, values.iter().enumerate().map(of).collect()).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let case = |operator, x, weight, channels| Case { operator, x, weight, attrs: Vec::new(), channels };
    let rows = Tensor::i64(&[5], vec![0, 39, 7, 7, 21]).unwrap();
    let mut transposed = case("Gemm", noise(&[6, 40], 1), noise(&[32, 40], 2), 0);
    transposed.attrs.push(("transB", Attr::Int(1)));
    vec![
        case("MatMul", noise(&[6, 40], 3), noise(&[40, 32], 4), 1),
        case("Gemm", noise(&[6, 40], 5), noise(&[40, 32], 6), 1),
        transposed,
        case("Conv", noise(&[2, 16, 5, 5], 7), noise(&[8, 16, 3, 3], 8), 0),
        case("Gather", rows, noise(&[40, 32], 9), 0),
    ]
}

#[test]
fn narrow_weights_are_within_their_rounding() {
    for case in cases() {
        let wide = case.graph(&case.weight);
        let expected = case.run(&wide, &case.x);
        let size = match case.x.as_f32() {
            Some(x) => Tensor::f32(case.x.shape(), x.iter().map(|x| x.abs()).collect()).unwrap(),
            None => case.x.clone(),
        };
        for storage in [Storage::Fp16, Storage::Int8] {
            let bound = case.run(&case.graph(&case.error(storage)), &size);
            let got = case.run(&wide.stored_as(storage), &case.x);
            let mut moved = 0.0_f32;
            for ((got, expected), bound) in got.iter().zip(&expected).zip(&bound) {
                let off = (got - expected).abs();
                assert!(off <= bound + 1e-5, "{} {storage:?}: off {off}, bound {bound}", case.operator);
                moved = moved.max(off);
            }
            assert!(moved > 1e-5, "{} {storage:?}: nothing was narrowed", case.operator);
        }
    }
}
