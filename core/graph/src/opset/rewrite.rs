//! Rewriting nodes whose integer attribute became an input: `axes` of reductions, `Squeeze` and `Unsqueeze`;
//! `split` of `Split`.
//!
//! The integers are put into a `Constant` node, because a local function cannot have weights.

use std::collections::HashSet;

use onnx_protobuf::{NodeProto, TensorProto};

use crate::{DType, rename::free_name, walk};

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
    let tensor = TensorProto {
        dims: vec![i64::try_from(values.len()).unwrap_or(i64::MAX)],
        data_type: DType::I64.onnx(),
        raw_data: bytemuck::cast_slice(&values).to_vec(),
        ..Default::default()
    };
    let value = onnx_protobuf::AttributeProto {
        name: "value".to_owned(),
        type_: onnx_protobuf::attribute_proto::AttributeType::TENSOR.into(),
        t: Some(tensor).into(),
        ..Default::default()
    };
    Some(NodeProto {
        op_type: "Constant".to_owned(),
        output: vec![name],
        attribute: vec![value],
        ..Default::default()
    })
}
