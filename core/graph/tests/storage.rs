//! Weights stored in fewer bits: the values, the axis of the scales, and the weights that are not converted.
//! The results of such graphs are tested in the runtime.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Storage, Tensor};
use common::batch;

/// `y = f(x, w)` for one operator and a weight of 32 * 48 elements, the first of them given.
fn graph(
    operator: &str,
    x: &[Dim],
    dtype: DType,
    shape: &[usize],
    first: &[f32],
    attrs: &[(&str, Attr)],
) -> Graph {
    let mut b = Builder::new("one");
    let x = b.input("x", dtype, x).unwrap();
    let mut values = vec![0.25; shape.iter().product()];
    values[..first.len()].copy_from_slice(first);
    let w = b.constant("w", Tensor::f32(shape, values).unwrap());
    let inputs = if operator == "Gather" { [&w, &x] } else { [&x, &w] };
    let y = b.op(operator, &inputs, attrs);
    let rank = if operator == "Conv" { 4 } else { 2 };
    let free: Vec<Dim> = (0..rank).map(|axis| Dim::named(format!("y{axis}"))).collect();
    b.output("y", &y, DType::F32, &free);
    b.finish().unwrap()
}

fn matmul(first: &[f32]) -> Graph {
    graph("MatMul", &batch(32), DType::F32, &[32, 48], first, &[])
}

#[test]
fn sixteen_bit_weights_are_rounded_to_nearest() {
    // The nearest binary16 values, with ties to even, computed with NumPy's float16.
    let wide = [1.0, 0.1, 1.0 / 3.0, -65504.0, 6e-8, 1e-9, 2049.0, -0.0];
    let bits: [u16; 8] = [0x3C00, 0x2E66, 0x3555, 0xFBFF, 0x0001, 0x0000, 0x6800, 0x8000];
    let narrow = matmul(&wide).stored_as(Storage::Fp16);
    narrow.verify().unwrap();
    assert_eq!(narrow.weight_names().collect::<Vec<_>>(), ["w/fp16"]);
    let stored = narrow.weight("w/fp16").unwrap();
    assert_eq!(stored.shape(), [32, 48]);
    let got: Vec<u16> = stored.as_f16().unwrap()[..8].iter().map(|w| w.to_bits()).collect();
    assert_eq!(got, bits);
    assert_eq!(narrow.weight_bytes(), matmul(&wide).weight_bytes() / 2);
    assert_eq!(narrow.parameters(), [("f16".to_owned(), 32 * 48)].into());
    assert_eq!(matmul(&wide).parameters(), [("f32".to_owned(), 32 * 48)].into());
    assert!(narrow.to_text().contains("%w f32[..] = Cast(%w/fp16"), "{}", narrow.to_text());
}

#[test]
fn eight_bit_weights_have_a_scale_per_output_channel() {
    let square = [Dim::named("n"), Dim::named("c"), Dim::named("h"), Dim::named("w")];
    let transposed = [("transB", Attr::Int(1))];
    let cases = [
        (matmul(&[127.0]), 1),
        (graph("Gemm", &batch(32), DType::F32, &[32, 48], &[127.0], &[]), 1),
        (graph("Gemm", &batch(48), DType::F32, &[32, 48], &[127.0], &transposed), 0),
        (graph("Conv", &square, DType::F32, &[16, 24, 2, 2], &[127.0], &[]), 0),
        (graph("Gather", &[Dim::named("t")], DType::I64, &[32, 48], &[127.0], &[]), 0),
    ];
    for (graph, axis) in cases {
        let narrow = graph.stored_as(Storage::Int8);
        narrow.verify().unwrap();
        let (stored, scale) = (narrow.weight("w/int8").unwrap(), narrow.weight("w/scale").unwrap());
        let mut scale_shape = vec![1; stored.shape().len()];
        scale_shape[axis] = stored.shape()[axis];
        assert_eq!(scale.shape(), scale_shape);
        // The channel with the value 127 has scale 1, so that 0.25 is rounded to 0; elsewhere 0.25 is the
        // largest.
        let scales = scale.as_f32().unwrap();
        assert_eq!(scales[0], 1.0);
        assert!(scales[1..].iter().all(|s| *s == 0.25 / 127.0), "{scales:?}");
        let bytes = stored.bytes();
        assert_eq!(
            (bytes[0], bytes.iter().filter(|b| **b == 0).count()),
            (127, bytes.len() / scale_shape[axis] - 1)
        );
        assert_eq!(
            bytes.iter().filter(|b| **b == 127).count(),
            bytes.len() - bytes.len() / scale_shape[axis] + 1
        );
    }
}

#[test]
fn weights_that_cannot_be_converted_are_unchanged() {
    for first in [f32::INFINITY, f32::NAN, 65520.0] {
        let wide = matmul(&[first]);
        assert_eq!(wide.stored_as(Storage::Fp16).weight_names().collect::<Vec<_>>(), ["w"], "{first}");
    }
    let wide = matmul(&[f32::NEG_INFINITY]);
    assert_eq!(wide.stored_as(Storage::Int8), wide);
    let mut b = Builder::new("small");
    let x = b.input("x", DType::F32, &batch(31)).unwrap();
    let w = b.constant("w", Tensor::f32(&[31, 33], vec![0.5; 1023]).unwrap());
    let y = b.matmul(&x, &w);
    b.output("y", &y, DType::F32, &batch(33));
    let small = b.finish().unwrap();
    assert_eq!(small.stored_as(Storage::Fp16), small);
    assert_eq!(small.stored_as(Storage::Int8), small);
    let mut b = Builder::new("vector");
    let x = b.input("x", DType::F32, &batch(2048)).unwrap();
    let w = b.constant("w", Tensor::f32(&[2048], vec![0.5; 2048]).unwrap());
    let y = b.add(&x, &w);
    b.output("y", &y, DType::F32, &batch(2048));
    let vector = b.finish().unwrap();
    assert_eq!(vector.stored_as(Storage::Fp16), vector);
    assert_eq!(vector.stored_as(Storage::Int8), vector);
    // A channel of zeros, and one whose scale would be subnormal.
    let mut first = [0.0; 50];
    first[1] = 1e-44;
    let mut all = matmul(&first);
    all = all.stored_as(Storage::Int8);
    assert!(all.weight("w/scale").unwrap().as_f32().unwrap().iter().all(|s| s.is_normal()));
}

#[test]
fn names_that_are_in_use_are_avoided() {
    let one = matmul(&[]).renamed(&[("x", "w/fp16")]).unwrap();
    let narrow = one.stored_as(Storage::Fp16);
    narrow.verify().unwrap();
    assert_eq!(narrow.weight_names().collect::<Vec<_>>(), ["w/fp16_2"]);
}
