//! Quantized integers.

use onnx_protobuf::NodeProto;

use super::row::{Change::*, InputTypes, Operator, OutputType::*, op, stated_type};
use crate::DType;

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("ConvInteger", &[10]).outputs(&[Is(DType::I32)]),
    op("DequantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28])
        .changes(&[(&[13], Compatible("axis, for several scales")), (&[19, 24, 25], MoreTypes),
            (&[21], Compatible("block_size = 0, output_dtype as before")),
            (&[23], Compatible("output_dtype as before"))])
        .all_outputs(dequantize_type),
    op("DynamicQuantizeLinear", &[11]).outputs(&[Is(DType::U8), Is(DType::F32), Is(DType::U8)]),
    op("MatMulInteger", &[10]).outputs(&[Is(DType::I32)]),
    op("QLinearConv", &[10]).outputs(&[Like(7)]),
    op("QLinearMatMul", &[10, 21]).changes(&[(&[21], MoreTypes)]).outputs(&[Like(7)]),
    op("QuantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28])
        .changes(&[(&[13], Compatible("axis, for several scales")),
            (&[19], Compatible("saturate, for 8-bit floats")),
            (&[21], Compatible("block_size = 0, output_dtype as before"))])
        .all_outputs(quantize_type),
];

fn dequantize_type(node: &NodeProto, input_types: InputTypes<'_>) -> Option<DType> {
    stated_type(node, "output_dtype").map_or_else(|| input_types(1), DType::from_onnx)
}

fn quantize_type(node: &NodeProto, input_types: InputTypes<'_>) -> Option<DType> {
    match stated_type(node, "output_dtype") {
        Some(number) => DType::from_onnx(number),
        None if node.input.get(2).is_some_and(|name| !name.is_empty()) => input_types(2),
        None => Some(DType::U8),
    }
}
