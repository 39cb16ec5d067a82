//! Rewriting nodes whose form changed: an integer attribute that became an input (`axes` of reductions,
//! `Squeeze` and `Unsqueeze`; `split` of `Split`), and `Softmax`, which flattened its input until opset 12.
//!
//! The integers are put into a `Constant` node, because a local function cannot have weights.

use std::collections::HashSet;

use onnx_protobuf::{AttributeProto, NodeProto};

use crate::{Attr, Tensor, rename::free_name, walk};

/// Replaces the attribute by an input with the same integers; returns the `Constant` node that holds them,
/// which must come before the node. A node without the attribute is unchanged: the default is the same in
/// both forms.
pub(super) fn attribute_to_input(
    node: &mut NodeProto,
    attribute: &str,
    input: usize,
    taken: &mut HashSet<String>,
) -> Option<NodeProto> {
    let values = walk::attribute(node, attribute)?.ints.clone();
    node.attribute.retain(|other| other.name != attribute);
    let name = format!("{}/{}", node.output.first()?, attribute);
    let name = free_name(&name, taken);
    taken.insert(name.clone());
    node.input.resize(node.input.len().max(input), String::new());
    node.input.insert(input, name.clone());
    let values = Tensor::i64(&[values.len()], values).ok()?;
    let value = Attr::Tensor(values).to_proto("value");
    Some(NodeProto {
        op_type: "Constant".to_owned(),
        output: vec![name],
        attribute: vec![value],
        ..Default::default()
    })
}

/// Rewrites a node that flattened its input `[d0, .., dn]` to `[d0 .. da-1, da .. dn]` at the axis `a`, 1 by
/// default, and worked along the second of these two axes. `rank` is the number of axes of its input, if it
/// is known.
///
/// At the last axis this is what the operator does today. At any other axis the nodes that are returned
/// flatten the input and give the result its shape back.
pub(super) fn flattened_axis(
    node: NodeProto,
    rank: Option<usize>,
    taken: &mut HashSet<String>,
) -> Vec<NodeProto> {
    let mut node = node;
    let axis = walk::attribute(&node, "axis").map_or(1, |attribute| attribute.i);
    node.attribute.retain(|other| other.name != "axis");
    node.attribute.push(Attr::Int(-1).to_proto("axis"));
    let last = axis == -1 || rank.is_some_and(|rank| i64::try_from(rank) == Ok(axis + 1));
    let (Some(input), Some(output)) = (node.input.first().cloned(), node.output.first().cloned()) else {
        return vec![node];
    };
    if last {
        return vec![node];
    }
    let [shape, flat, result] = ["shape", "flat", "result"].map(|part| {
        let name = free_name(&format!("{output}/{part}"), taken);
        taken.insert(name.clone());
        name
    });
    let made =
        |operator: &str, input: &[&String], output: &String, attribute: Vec<AttributeProto>| NodeProto {
            op_type: operator.to_owned(),
            input: input.iter().map(|name| (*name).clone()).collect(),
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        };
    node.input = vec![flat.clone()];
    node.output = vec![result.clone()];
    vec![
        made("Shape", &[&input], &shape, Vec::new()),
        made("Flatten", &[&input], &flat, vec![Attr::Int(axis).to_proto("axis")]),
        node,
        made("Reshape", &[&result, &shape], &output, Vec::new()),
    ]
}

/// Puts a `Transpose` of this order, which exchanges two axes, before and after a node.
pub(super) fn transposed(node: NodeProto, order: &[i64], taken: &mut HashSet<String>) -> Vec<NodeProto> {
    let mut node = node;
    let (Some(input), Some(output)) = (node.input.first().cloned(), node.output.first().cloned()) else {
        return vec![node];
    };
    let [before, after] = ["before", "after"].map(|part| {
        let name = free_name(&format!("{output}/{part}"), taken);
        taken.insert(name.clone());
        name
    });
    let turn = |input: &String, output: &String| NodeProto {
        op_type: "Transpose".to_owned(),
        input: vec![input.clone()],
        output: vec![output.clone()],
        attribute: vec![Attr::Ints(order.to_vec()).to_proto("perm")],
        ..Default::default()
    };
    node.input = vec![before.clone()];
    node.output = vec![after.clone()];
    vec![turn(&input, &before), node, turn(&after, &output)]
}
