//! The kinds of rules: what a derivative is told as, and how it is applied.

use crate::{
    Result, Value,
    calculus::tape::{Call, Tape},
};

/// Tangents of a node's inputs, or cotangents of its outputs; `None` is zero.
pub(super) type Flows<'a> = &'a [Option<Value>];

/// A formula that turns tangents of inputs into tangents of outputs, or cotangents of outputs into those of
/// inputs.
pub(super) type Formula = fn(&mut Tape, &Call, Flows<'_>) -> Result<Vec<Option<Value>>>;

/// The derivative of an output's element by one element of an input.
pub(in crate::calculus) enum Factor {
    /// 1.
    One,
    /// -1.
    Minus,
    /// This value, broadcast against the output.
    Times(Value),
    /// One over this value.
    Over(Value),
}

/// The derivative of an operator.
pub(in crate::calculus) enum Rule {
    /// Zero everywhere: integers, comparisons, shapes, steps.
    Flat,
    /// Element by element, after broadcasting: the factor by input.
    Elementwise(fn(&mut Tape, &Call, usize) -> Result<Factor>),
    /// A weighted sum over axes: the weight of each element of the first input.
    Reduction(fn(&mut Tape, &Call) -> Result<Factor>),
    /// A formula for each direction.
    Formulas {
        /// Tangents forward.
        forward: Formula,
        /// Cotangents back.
        reverse: Formula,
    },
}

impl Tape {
    /// A sensitivity times a factor.
    pub(in crate::calculus) fn scaled(&mut self, flow: &Value, factor: Factor) -> Value {
        match factor {
            Factor::One => flow.clone(),
            Factor::Minus => self.build.neg(flow),
            Factor::Times(value) => self.build.mul(flow, &value),
            Factor::Over(value) => self.build.div(flow, &value),
        }
    }

    /// The sum of sensitivities; `None` when all are zero.
    pub(in crate::calculus) fn total(
        &mut self,
        terms: impl IntoIterator<Item = Option<Value>>,
    ) -> Option<Value> {
        terms.into_iter().flatten().reduce(|all, term| self.build.add(&all, &term))
    }
}
