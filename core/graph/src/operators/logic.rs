//! Comparisons, boolean operators and `Where`.

use onnx_protobuf::NodeProto;

use super::{
    row::{Change::*, Operator, OutputType::*, PointwiseRole::Map, op},
    shape::{broadcast, same},
};
use crate::calculus::{
    DerivativeRule::{Formulas, Zero},
    RuleResult, Sensitivities, Tape, TapeNode,
};
use crate::{
    DType,
    fuse::Operation,
    shapes::{Facts, Length},
};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("And", &[1, 7])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a != 0 && b != 0))
        .derivative(Zero).fusion(Map(Operation::And)).learned(),
    op("Equal", &[1, 7, 11, 13, 19]).changes(&[(&[11, 13, 19], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a == b))
        .derivative(Zero).fusion(Map(Operation::Equal)).learned(),
    op("Greater", &[1, 7, 9, 13]).changes(&[(&[9, 13], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a > b))
        .derivative(Zero).fusion(Map(Operation::Greater)).learned(),
    op("GreaterOrEqual", &[12, 16]).changes(&[(&[16], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a >= b))
        .derivative(Zero).fusion(Map(Operation::GreaterOrEqual)).learned(),
    op("IsInf", &[10, 20]).changes(&[(&[20], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(same).derivative(Zero),
    op("IsNaN", &[9, 13, 20]).changes(&[(&[13, 20], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(same).derivative(Zero),
    op("Less", &[1, 7, 9, 13]).changes(&[(&[9, 13], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a < b))
        .derivative(Zero).fusion(Map(Operation::Less)).learned(),
    op("LessOrEqual", &[12, 16]).changes(&[(&[16], MoreTypes)])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a <= b))
        .derivative(Zero).fusion(Map(Operation::LessOrEqual)).learned(),
    op("Not", &[1])
        .outputs(&[Is(DType::Bool)]).shape(same)
        .elements(negated).derivative(Zero).fusion(Map(Operation::Not))
        .learned(),
    op("Or", &[1, 7])
        .outputs(&[Is(DType::Bool)]).shape(broadcast)
        .elements(|facts, node| compared(facts, node, |a, b| a != 0 || b != 0))
        .derivative(Zero).fusion(Map(Operation::Or)).learned(),
    op("Where", &[9, 16]).changes(&[(&[16], MoreTypes)])
        .outputs(&[Like(1)]).shape(broadcast)
        .derivative(Formulas { forward: where_forward, reverse: where_reverse }).fusion(Map(Operation::Where))
        .learned(),
    op("Xor", &[1, 7]).outputs(&[Is(DType::Bool)]).shape(broadcast).derivative(Zero),
];

/// A comparison of small integer tensors, by element, as 1 or 0; a tensor of one element meets every element
/// of the other.
fn compared(facts: &Facts, node: &NodeProto, holds: fn(i64, i64) -> bool) -> Option<Vec<Length>> {
    let known = |input: usize| facts.known_elements(node.input.get(input)?);
    let (a, b) = (known(0)?, known(1)?);
    let count = a.len().max(b.len());
    let at = |values: &[i64], place: usize| match values.len() {
        1 => values.first().copied(),
        length if length == count => values.get(place).copied(),
        _ => None,
    };
    let one = |place| Some(Length::Fixed(i64::from(holds(at(&a, place)?, at(&b, place)?))));
    (0..count).map(one).collect()
}

fn negated(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let known = facts.known_elements(node.input.first()?)?;
    Some(known.into_iter().map(|value| Length::Fixed(i64::from(value == 0))).collect())
}

fn where_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let rank = tape.rank(&node.y())?;
    let mut sides = Vec::new();
    for input in [1, 2] {
        let own = tape.rank(&node.x(input))?;
        sides.push(match &tangents[input] {
            Some(tangent) => tape.aligned(tangent, own, rank),
            None => tape.number(0.0, &node.y())?,
        });
    }
    Ok(vec![Some(tape.build.where_(&node.x(0), &sides[0], &sides[1]))])
}

fn where_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let zero = tape.number(0.0, c)?;
    let mut terms = vec![None];
    for (input, kept) in [(1, true), (2, false)] {
        let (a, b) = if kept { (c, &zero) } else { (&zero, c) };
        let masked = tape.build.where_(&node.x(0), a, b);
        terms.push(Some(tape.sum_to(&masked, &node.y(), &node.x(input))?));
    }
    Ok(terms)
}
