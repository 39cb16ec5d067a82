//! Whole layers of a network: attention, recurrence, dropout.

use super::row::{Change::*, Operator, OutputType::*, op};
use crate::DType;

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Attention", &[23, 24, 25]).outputs(&[Like(0), Like(0), Like(2), Like(0)]),
    op("CausalConvWithState", &[27]).outputs(&[Like(0), Like(0)]),
    op("Dropout", &[1, 6, 7, 10, 12, 13, 22])
        .changes(&[(&[10], Incompatible("its mask changed its type")),
            (&[12], Incompatible("its ratio became an input")), (&[13, 22], MoreTypes)])
        .outputs(&[Like(0), Is(DType::Bool)]),
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
