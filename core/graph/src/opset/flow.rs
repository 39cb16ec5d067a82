//! A row of the table of operators: when an operator changed, and where the element types of its outputs come
//! from.

use crate::DType;

/// Where an output's element type comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flow {
    /// From the input with this number.
    Like(usize),
    /// It is always this.
    Is(DType),
    /// From attributes or subgraphs, or not from one place.
    Open,
}

/// Name, opsets that introduced or changed it, flow of types to its outputs.
pub(super) type Operator = (&'static str, &'static [i64], &'static [Flow]);
