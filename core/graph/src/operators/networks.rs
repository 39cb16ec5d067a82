//! Whole layers of a network: attention, recurrence, dropout.

use onnx_protobuf::NodeProto;

use super::{
    row::{Change::*, Operator, OutputType::*, op},
    shape::same,
};
use crate::calculus::{
    DerivativeRule::Elementwise,
    Factor::{self, One},
    Tape, TapeNode,
};
use crate::{DType, Result};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Attention", &[23, 24, 25]).outputs(&[Like(0), Like(0), Like(2), Like(0)]),
    op("CausalConvWithState", &[27]).outputs(&[Like(0), Like(0)]),
    op("Dropout", &[1, 6, 7, 10, 12, 13, 22])
        .changes(&[(&[10], CompatibleIf(has_no_mask, "its mask changed its type")),
            (&[12], Incompatible("its ratio became an input")), (&[13, 22], MoreTypes)])
        .outputs(&[Like(0), Is(DType::Bool)]).shape(same).derivative(Elementwise(dropout)),
    op("GRU", &[1, 3, 7, 14, 22]).changes(&[(&[14], Compatible("layout = 0")), (&[22], MoreTypes)])
        .outputs(&[Like(0), Like(0)]),
    op("LSTM", &[1, 7, 14, 22]).changes(&[(&[14], Compatible("layout = 0")), (&[22], MoreTypes)])
        .outputs(&[Like(0), Like(0), Like(0)]),
    op("LinearAttention", &[27]),
    op("RNN", &[1, 7, 14, 22]).changes(&[(&[14], Compatible("layout = 0")), (&[22], MoreTypes)])
        .outputs(&[Like(0), Like(0)]),
    op("RotaryEmbedding", &[23]),
    op("SwiGLU", &[28]),
];

fn has_no_mask(node: &NodeProto) -> bool {
    node.output.iter().skip(1).all(String::is_empty)
}

/// 1: in inference, nothing is dropped. Training mode is an error, because its derivative is random.
fn dropout(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    if input != 0 {
        return Err(node.refuse("its ratio or mode depends on the inputs of the derivative"));
    }
    let mode = node.x(2);
    if !mode.name().is_empty() && tape.ints(&mode) != Some(vec![0]) {
        return Err(node.refuse("it is in training mode, or may be; export the model for inference"));
    }
    Ok(One)
}
