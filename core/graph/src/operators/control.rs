//! Control flow, sequences and optional values.

use super::row::{Change::*, Operator, OutputType::*, op};
use crate::DType;
use crate::calculus::{DerivativeRule::Formulas, RuleResult, Sensitivities, Tape, TapeNode};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("ConcatFromSequence", &[11]).outputs(&[]),
    op("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25])
        .changes(&[(&[11], Compatible("shapes may differ")), (&[13, 16, 19, 21, 23, 24, 25], MoreTypes)])
        .subgraph_outputs(0).derivative(Formulas { forward: undecided, reverse: undecided }),
    op("Loop", &[1, 11, 13, 16, 19, 21, 23, 24, 25]).changes(&[(&[13, 16, 19, 21, 23, 24, 25], MoreTypes)])
        .subgraph_outputs(1),
    op("Optional", &[15, 28]).outputs(&[]),
    op("OptionalGetElement", &[15, 18, 28]).outputs(&[]),
    op("OptionalHasElement", &[15, 18, 28]).outputs(&[Is(DType::Bool)]),
    op("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25])
        .changes(&[(&[9], Incompatible("the batch axis is gone")), (&[11], NegativeAxes),
            (&[16, 19, 21, 23, 24, 25], MoreTypes)])
        .subgraph_outputs(0),
    op("SequenceAt", &[11]).outputs(&[]),
    op("SequenceConstruct", &[11]).outputs(&[]),
    op("SequenceEmpty", &[11]).outputs(&[]),
    op("SequenceErase", &[11]).outputs(&[]),
    op("SequenceInsert", &[11]).outputs(&[]),
    op("SequenceLength", &[11]).outputs(&[Is(DType::I64)]),
    op("SequenceMap", &[17]).outputs(&[]),
    op("SplitToSequence", &[11, 24]).outputs(&[]),
];

/// The derivative of an `If` whose condition is known is that of its branch, which has replaced the node.
fn undecided(_: &mut Tape, node: &TapeNode, _: Sensitivities<'_>) -> RuleResult {
    Err(node.refuse(
        "its condition depends on the data; one that follows from constants and fixed lengths is \
                     decided before",
    ))
}
