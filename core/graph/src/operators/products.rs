//! Products: `MatMul`, `Gemm`, and `Einsum` of two operands.

use onnx_protobuf::NodeProto;

use super::{
    row::{Change::*, Operator, int, op},
    shape::broadcast_dims,
};
use crate::calculus::{DerivativeRule::Formulas, RuleResult, Sensitivities, Tape, TapeNode};
use crate::{
    Attr, Result, Value,
    shapes::{Facts, Length},
    walk::attribute,
};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Det", &[11, 22]).changes(&[(&[22], MoreTypes)]),
    op("Einsum", &[12, 28])
        .shape(einsum_shape).derivative(Formulas { forward: einsum_forward, reverse: einsum_reverse })
        .learned(),
    op("Gemm", &[1, 6, 7, 9, 11, 13])
        .changes(&[(&[9, 13], MoreTypes), (&[11], Compatible("C may be left out"))]).shape(gemm_shape)
        .derivative(Formulas { forward: gemm_forward, reverse: gemm_reverse }).channel_axis(gemm_channel_axis)
        .learned(),
    op("MatMul", &[1, 9, 13]).changes(&[(&[9, 13], MoreTypes)])
        .shape(matmul_shape).derivative(Formulas { forward: matmul_forward, reverse: matmul_reverse })
        .learned(),
];

fn matmul_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let (a, b) = (facts.input_dims(node, 0)?, facts.input_dims(node, 1)?);
    let (batch_a, rows) = a.split_at(a.len().saturating_sub(2));
    let (batch_b, columns) = b.split_at(b.len().saturating_sub(2));
    let mut dims = broadcast_dims(facts, batch_a, batch_b);
    dims.extend((rows.len() == 2).then(|| rows[0]));
    dims.extend((columns.len() == 2).then(|| columns[1]));
    Some(dims)
}

fn gemm_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let side =
        |input, flag: &str| Some((facts.input_dims(node, input)?, usize::from(int(node, flag, 0) != 0)));
    let ((a, trans_a), (b, trans_b)) = (side(0, "transA")?, side(1, "transB")?);
    Some(vec![*a.get(trans_a)?, *b.get(1 - trans_b)?])
}

fn gemm_channel_axis(node: &NodeProto, rank: usize) -> usize {
    if int(node, "transB", 0) != 0 { 0 } else { rank.saturating_sub(1) }
}

fn einsum_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let equation = String::from_utf8_lossy(&attribute(node, "equation")?.s).replace(' ', "");
    let (inputs, output) = equation.split_once("->")?;
    let find = |letter: char| {
        inputs.split(',').enumerate().find_map(|(input, letters)| {
            let at = letters.chars().position(|other| other == letter)?;
            facts.input_dims(node, input)?.get(at).copied()
        })
    };
    output.chars().map(find).collect()
}

/// `da b + a db`, with the directions in front.
fn matmul_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let (a, b) = (node.x(0), node.x(1));
    let (rank_a, rank_b) = two_ranks(tape, node)?;
    let rank = rank_a.max(rank_b);
    let mut terms = Vec::new();
    if let Some(da) = &tangents[0] {
        let da = tape.full_along(da, &a, &[-1])?;
        let da = tape.aligned(&da, rank_a, rank);
        terms.push(Some(tape.build.matmul(&da, &b)));
    }
    if let Some(db) = &tangents[1] {
        let db = tape.full_along(db, &b, &[-2])?;
        let db = tape.aligned(&db, rank_b, rank);
        terms.push(Some(tape.build.matmul(&a, &db)));
    }
    Ok(vec![tape.total(terms)])
}

/// `c b'` for `a`, `a' c` for `b`.
fn matmul_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let (a, b) = (node.x(0), node.x(1));
    let (rank_a, rank_b) = two_ranks(tape, node)?;
    let c = tape.full(c, &node.y())?;
    if rank_a == 2 && rank_b == 2 {
        let by_a = gemm(tape, &c, &b, (0, 1), 1.0);
        let by_b = gemm(tape, &a, &c, (1, 0), 1.0);
        return Ok(vec![Some(by_a), Some(by_b)]);
    }
    let swapped_b = swapped(tape, &b, rank_b);
    let product = tape.build.matmul(&c, &swapped_b);
    let by_a = if rank_b == 2 { product } else { tape.sum_to(&product, &product, &a)? };
    let by_b = if rank_b == 2 {
        // One product over all rows, instead of one product per matrix of the batch and their sum.
        let (shape_a, shape_c) = (matrix_shape(tape, &a)?, matrix_shape(tape, &c)?);
        let (flat_a, flat_c) = (tape.build.reshape_to(&a, &shape_a), tape.build.reshape_to(&c, &shape_c));
        gemm(tape, &flat_a, &flat_c, (1, 0), 1.0)
    } else {
        let swapped_a = swapped(tape, &a, rank_a);
        let product = tape.build.matmul(&swapped_a, &c);
        tape.sum_to(&product, &product, &b)?
    };
    Ok(vec![Some(by_a), Some(by_b)])
}

/// `alpha (dA' B' + A' dB') + beta dC`, where a prime stands for the transposition that the node applies.
fn gemm_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let (trans_a, trans_b) = transpositions(node);
    let transposed = |tape: &mut Tape, value: &Value, flag: i64, order: &[i64]| match flag {
        0 => value.clone(),
        _ => tape.build.transpose(value, order),
    };
    let mut products = Vec::new();
    if let Some(da) = &tangents[0] {
        let da = tape.full_along(da, &node.x(0), &[-1 - trans_a])?;
        let da = transposed(tape, &da, trans_a, &[0, 2, 1]);
        let b = transposed(tape, &node.x(1), trans_b, &[1, 0]);
        products.push(Some(tape.build.matmul(&da, &b)));
    }
    if let Some(db) = &tangents[1] {
        let db = tape.full_along(db, &node.x(1), &[trans_b - 2])?;
        let db = transposed(tape, &db, trans_b, &[0, 2, 1]);
        let a = transposed(tape, &node.x(0), trans_a, &[1, 0]);
        products.push(Some(tape.build.matmul(&a, &db)));
    }
    let product = tape.total(products);
    let mut terms = vec![weighted(tape, product, node.float("alpha", 1.0))?];
    if let Some(Some(dc)) = tangents.get(2) {
        let rank = tape.rank(&node.x(2))?;
        let dc = tape.aligned(dc, rank, 2);
        terms.push(weighted(tape, Some(dc), node.float("beta", 1.0))?);
    }
    Ok(vec![tape.total(terms)])
}

/// The three cotangents of `alpha A' B' + beta C`.
fn gemm_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let (a, b) = (node.x(0), node.x(1));
    let (trans_a, trans_b) = transpositions(node);
    let alpha = node.float("alpha", 1.0);
    let c = tape.full(c, &node.y())?;
    let by_a = match trans_a {
        0 => gemm(tape, &c, &b, (0, 1 - trans_b), alpha),
        _ => gemm(tape, &b, &c, (trans_b, 1), alpha),
    };
    let by_b = match trans_b {
        0 => gemm(tape, &a, &c, (1 - trans_a, 0), alpha),
        _ => gemm(tape, &c, &a, (1, trans_a), alpha),
    };
    let mut terms = vec![Some(by_a), Some(by_b)];
    if !node.x(2).name().is_empty() {
        let own = tape.sum_to(&c, &node.y(), &node.x(2))?;
        terms.push(weighted(tape, Some(own), node.float("beta", 1.0))?);
    }
    Ok(terms)
}

/// The same contraction, with one more letter for the directions.
fn einsum_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let (left, right, output) = letters(node)?;
    let extra = unused(&[&left, &right, &output]);
    let mut terms = Vec::new();
    for (place, (own, other)) in [(&left, &right), (&right, &left)].into_iter().enumerate() {
        let Some(tangent) = tangents.get(place).and_then(Option::as_ref) else { continue };
        let tangent = tape.full_tangent(tangent, &node.x(place))?;
        let equation = format!("{extra}{own},{other}->{extra}{output}");
        terms.push(Some(einsum(tape, &equation, &tangent, &node.x(1 - place))));
    }
    Ok(vec![tape.total(terms)])
}

/// The contraction of the cotangent with the other operand, expanded along letters that only one operand has.
fn einsum_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let (left, right, output) = letters(node)?;
    let c = tape.full(c, &node.y())?;
    let mut terms = Vec::new();
    for (place, (own, other)) in [(&left, &right), (&right, &left)].into_iter().enumerate() {
        let shared = |letter: &char| output.contains(*letter) || other.contains(*letter);
        let known: String = own.chars().filter(shared).collect();
        let term = einsum(tape, &format!("{output},{other}->{known}"), &c, &node.x(1 - place));
        let lone = own.chars().enumerate().filter(|(_, letter)| !shared(letter));
        let axes: Vec<i64> = lone.map(|(at, _)| at as i64).collect();
        terms.push(Some(if axes.is_empty() {
            term
        } else {
            let term = tape.build.unsqueeze(&term, &axes);
            tape.full(&term, &node.x(place))?
        }));
    }
    Ok(terms)
}

fn two_ranks(tape: &mut Tape, node: &TapeNode) -> Result<(usize, usize)> {
    let ranks = (tape.rank(&node.x(0))?, tape.rank(&node.x(1))?);
    if ranks.0 < 2 || ranks.1 < 2 {
        return Err(node.refuse("an operand is a vector; reshape it to a matrix with one row or one column"));
    }
    Ok(ranks)
}

fn transpositions(node: &TapeNode) -> (i64, i64) {
    (i64::from(node.int("transA", 0) != 0), i64::from(node.int("transB", 0) != 0))
}

fn weighted(tape: &mut Tape, value: Option<Value>, weight: f32) -> Result<Option<Value>> {
    let Some(value) = value.filter(|_| weight != 0.0) else { return Ok(None) };
    if weight == 1.0 {
        return Ok(Some(value));
    }
    let weight = tape.number(f64::from(weight), &value)?;
    Ok(Some(tape.build.mul(&value, &weight)))
}

fn gemm(tape: &mut Tape, a: &Value, b: &Value, transposed: (i64, i64), alpha: f32) -> Value {
    let attributes = [
        ("transA", Attr::Int(transposed.0)),
        ("transB", Attr::Int(transposed.1)),
        ("alpha", Attr::Float(alpha)),
    ];
    tape.build.op("Gemm", &[a, b], &attributes)
}

fn einsum(tape: &mut Tape, equation: &str, a: &Value, b: &Value) -> Value {
    tape.build.op("Einsum", &[a, b], &[("equation", equation.into())])
}

/// A value with its last two axes swapped.
fn swapped(tape: &mut Tape, value: &Value, rank: usize) -> Value {
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    tape.build.transpose(value, &order)
}

/// The shape `[-1, length of the last axis]`.
fn matrix_shape(tape: &mut Tape, value: &Value) -> Result<Value> {
    if let Some(Length::Fixed(length)) = tape.dims(value)?.last() {
        return Ok(tape.build.ints("shape", &[-1, *length]));
    }
    let shape = tape.build.shape(value);
    let at = tape.build.ints("last", &[-1]);
    let length = tape.build.gather(&shape, &at, 0);
    let rows = tape.build.ints("rows", &[-1]);
    Ok(tape.build.concat(&[&rows, &length], 0))
}

/// The letters of the two operands and of the output.
fn letters(node: &TapeNode) -> Result<(String, String, String)> {
    let equation = node.text("equation").replace(' ', "");
    let parts = equation.split_once("->").and_then(|(inputs, output)| {
        let (left, right) = inputs.split_once(',')?;
        Some((left.to_owned(), right.to_owned(), output.to_owned()))
    });
    let distinct = |side: &&String| {
        side.char_indices().all(|(at, letter)| letter.is_ascii_alphabetic() && side.find(letter) == Some(at))
    };
    let plain = |(left, right, output): &(String, String, String)| [left, right, output].iter().all(distinct);
    parts.filter(plain).ok_or_else(|| {
        node.refuse(format!(
            "expected two operands, distinct letters and an explicit output, got the equation `{equation}`"
        ))
    })
}

fn unused(sides: &[&str]) -> char {
    ('A'..='Z')
        .chain('a'..='z')
        .find(|letter| !sides.iter().any(|side| side.contains(*letter)))
        .unwrap_or('Z')
}
