//! Signal processing and text.

use super::row::{Change::*, Operator, OutputType::*, op};
use crate::DType;

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("BlackmanWindow", &[17]).outputs(&[]),
    op("DFT", &[17, 20]).changes(&[(&[20], Incompatible("its axis became an input"))]),
    op("HammingWindow", &[17]).outputs(&[]),
    op("HannWindow", &[17]).outputs(&[]),
    op("MelWeightMatrix", &[17]).outputs(&[]),
    op("RegexFullMatch", &[20]).outputs(&[Is(DType::Bool)]),
    op("STFT", &[17]),
    op("StringConcat", &[20]),
    op("StringNormalizer", &[10]).outputs(&[]),
    op("StringSplit", &[20]).outputs(&[Open, Is(DType::I64)]),
    op("TfIdfVectorizer", &[9]).outputs(&[Is(DType::F32)]),
];
