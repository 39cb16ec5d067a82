//! The alternate scaling of a matrix to given row and column sums as one operator.

use onnx_protobuf::{GraphProto, NodeProto, ValueInfoProto};

use super::{groups::FusionGroups, product::transposition, program::DOMAIN};
use crate::{Attr, walk};

/// The operator type of a number of `steps` of `u = a / max(K v, tiny)` and `v = c / max(K' u, tiny)`. Its
/// inputs are K, a, c and the first v, its outputs u and v.
pub const SCALING: &str = "Scaling";

/// Replaces each `Loop` over these steps by `chiasm.Scaling`.
pub(super) fn replace(nodes: &mut [NodeProto], groups: &FusionGroups<'_>) {
    for node in nodes {
        if let Some(scaling) = scaling(node, groups) {
            *node = scaling;
        }
    }
}

/// One of the two halves of a step: `weight / max(matrix scaling, tiny)`.
struct Half<'a> {
    matrix: &'a str,
    scaling: &'a str,
    weight: &'a str,
    tiny: f32,
}

fn scaling(node: &NodeProto, groups: &FusionGroups<'_>) -> Option<NodeProto> {
    let is_loop = node.domain.is_empty() && node.op_type == "Loop";
    let body = walk::subgraphs(node).next().filter(|_| is_loop)?;
    // The number of steps, no condition, u and v.
    let [count, "", _, first] = node.input.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let [_, condition, _, v] = names(&body.input)[..] else { return None };
    let [next_condition, next_u, next_v] = names(&body.output)[..] else { return None };
    let goes_on = body.node.iter().any(|node| {
        node.op_type == "Identity" && node.input == [condition] && node.output == [next_condition]
    });
    let (rows, columns) = (half(body, next_u, groups)?, half(body, next_v, groups)?);
    // The condition, and three operators of each half.
    let only = body.node.len() == 7 && goes_on && rows.tiny == columns.tiny;
    let chained = rows.scaling == v && columns.scaling == next_u;
    let transposed = groups.made_by(columns.matrix).and_then(transposition);
    if !(only && chained && transposed.is_some_and(|(_, before)| before == rows.matrix)) {
        return None;
    }
    let counted = groups.made_by(count).filter(|made| made.op_type == "Squeeze");
    let [steps] = groups.facts.known_elements(counted.map_or(count, |made| &made.input[0]))?[..] else {
        return None;
    };
    (steps > 0).then(|| NodeProto {
        name: node.name.clone(),
        op_type: SCALING.to_owned(),
        domain: DOMAIN.to_owned(),
        input: [rows.matrix, rows.weight, columns.weight, first].map(str::to_owned).to_vec(),
        output: node.output.clone(),
        attribute: vec![Attr::Int(steps).to_proto("steps"), Attr::Float(rows.tiny).to_proto("tiny")],
        ..Default::default()
    })
}

fn names(ports: &[ValueInfoProto]) -> Vec<&str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

/// The half of a step that makes this value.
fn half<'a>(body: &'a GraphProto, value: &str, groups: &FusionGroups<'_>) -> Option<Half<'a>> {
    let made = |name: &str, operator: &str| -> Option<[&'a str; 2]> {
        let node = body.node.iter().find(|node| node.output.first().is_some_and(|output| output == name))?;
        let known = node.op_type == operator && node.domain.is_empty();
        let [a, b] = &node.input[..] else { return None };
        known.then_some([a.as_str(), b.as_str()])
    };
    let [weight, sums] = made(value, "Div")?;
    let [sums, tiny] = made(sums, "Max")?;
    let [matrix, scaling] = made(sums, "MatMul")?;
    let column = |name: &str| {
        groups.facts.of(name).dims.is_some_and(|dims| dims.len() == 2 && dims[1].fixed() == Some(1))
    };
    // What comes from outside the loop has a known shape.
    let outside = groups.facts.of(matrix).dims.is_some_and(|dims| dims.len() == 2) && column(weight);
    outside.then_some(Half { matrix, scaling, weight, tiny: groups.constant(tiny)? })
}
