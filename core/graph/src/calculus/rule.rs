//! The kinds of derivative rules, and how a sensitivity is multiplied by a factor.

use super::tape::{Tape, TapeNode};
use crate::{Result, Value};

/// Tangents of a node's inputs, or cotangents of its outputs; `None` is zero.
pub(crate) type Sensitivities<'a> = &'a [Option<Value>];

/// Tangents of a node's outputs, or cotangents of its inputs; `None` is zero.
pub(crate) type RuleResult = Result<Vec<Option<Value>>>;

/// Computes tangents of outputs from tangents of inputs, or cotangents of inputs from those of outputs.
pub(crate) type Formula = fn(&mut Tape, &TapeNode, Sensitivities<'_>) -> RuleResult;

/// The derivative of one element of an output with respect to one element of an input.
pub(crate) enum Factor {
    /// 1.
    One,
    /// -1.
    Minus,
    /// This value, broadcast to the output.
    Times(Value),
    /// One over this value.
    Over(Value),
}

/// The derivative of an operator.
///
/// At points without a derivative: 0 for `Relu` and `Abs` at 0; the inputs of `Max` and `Min` that are equal
/// share the derivative equally; the bounds of `Clip` pass it (as in PyTorch, except that `Max` with a
/// constant passes the whole derivative where both are equal, as `Clip` does).
#[derive(Clone, Copy)]
pub(crate) enum DerivativeRule {
    /// Zero everywhere: integers, comparisons, shapes, step functions.
    Zero,
    /// Element by element, after broadcasting: the factor for each input.
    Elementwise(fn(&mut Tape, &TapeNode, usize) -> Result<Factor>),
    /// A weighted sum over axes: the weight of each element of the first input.
    Reduction(fn(&mut Tape, &TapeNode) -> Result<Factor>),
    /// One formula for each mode.
    Formulas {
        /// The Jacobian-vector product: tangents of the inputs to tangents of the outputs.
        forward: Formula,
        /// The vector-Jacobian product: cotangents of the outputs to cotangents of the inputs.
        reverse: Formula,
    },
}

impl Tape {
    /// A sensitivity times a factor.
    pub(crate) fn scaled(&mut self, sensitivity: &Value, factor: Factor) -> Value {
        match factor {
            Factor::One => sensitivity.clone(),
            Factor::Minus => self.build.neg(sensitivity),
            Factor::Times(value) => self.build.mul(sensitivity, &value),
            Factor::Over(value) => self.build.div(sensitivity, &value),
        }
    }

    /// The sum of sensitivities; `None` if all are zero.
    pub(crate) fn total(&mut self, terms: impl IntoIterator<Item = Option<Value>>) -> Option<Value> {
        terms.into_iter().flatten().reduce(|all, term| self.build.add(&all, &term))
    }
}

/// An axis of a value as an axis of its tangent, which has the directions in front.
pub(crate) fn shifted(axis: i64) -> i64 {
    if axis < 0 { axis } else { axis + 1 }
}
