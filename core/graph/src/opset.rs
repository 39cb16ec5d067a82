//! Opsets.

mod operators;

pub(crate) use operators::NEWEST;

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
type Operator = (&'static str, &'static [i64], &'static [Flow]);

/// The opset that gave an operator the form it has at `version`; `None` when there is no such operator yet.
pub(crate) fn since(name: &str, version: i64) -> Option<i64> {
    let at = operators::OPERATORS.binary_search_by_key(&name, |row| row.0).ok()?;
    operators::OPERATORS[at].1.iter().copied().filter(|since| *since <= version).max()
}
