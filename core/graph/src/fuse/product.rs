//! Products of two matrices as one operator that reads either operand transposed.

use std::collections::HashMap;

use onnx_protobuf::NodeProto;

use super::program::DOMAIN;
use crate::{Attr, DType, shapes::Facts, walk::attribute};

/// The operator type of fused matrix products.
pub const PRODUCT: &str = "Product";

/// Replaces `MatMul` and plain `Gemm` of two matrices by `chiasm.Product`, which also does the transpositions
/// before them.
pub(super) fn replace(nodes: &mut [NodeProto], facts: &Facts) {
    let transposed: HashMap<String, String> = nodes.iter().filter_map(transposition).collect();
    for node in nodes {
        let Some((trans_a, trans_b)) = plain_product(node, facts) else { continue };
        let mut flags = [trans_a, trans_b];
        for (input, flag) in node.input.iter_mut().zip(&mut flags) {
            if let Some(before) = transposed.get(input) {
                before.clone_into(input);
                *flag = !*flag;
            }
        }
        let attribute = |name, flag| Attr::Int(i64::from(flag)).to_proto(name);
        node.attribute = vec![attribute("transA", flags[0]), attribute("transB", flags[1])];
        node.op_type = PRODUCT.to_owned();
        node.domain = DOMAIN.to_owned();
    }
}

/// Which operands a product of two 32-bit float matrices reads transposed; `None` for any other node.
fn plain_product(node: &NodeProto, facts: &Facts) -> Option<(bool, bool)> {
    let matrix = |name: &String| {
        let fact = facts.of(name);
        fact.dtype == Some(DType::F32) && fact.dims.is_some_and(|dims| dims.len() == 2)
    };
    let flag = |name: &str| attribute(node, name).is_some_and(|attribute| attribute.i != 0);
    let plain = node.domain.is_empty() && node.input.len() == 2 && node.input.iter().all(matrix);
    match node.op_type.as_str() {
        "MatMul" if plain => Some((false, false)),
        "Gemm" if plain && attribute(node, "alpha").is_none_or(|alpha| alpha.f == 1.0) => {
            Some((flag("transA"), flag("transB")))
        }
        _ => None,
    }
}

/// The output and the input of a node that transposes a matrix.
pub(super) fn transposition(node: &NodeProto) -> Option<(String, String)> {
    let swaps = attribute(node, "perm").is_some_and(|perm| perm.ints == [1, 0]);
    let matrix = node.op_type == "Transpose" && node.domain.is_empty() && swaps;
    matrix.then(|| (node.output[0].clone(), node.input[0].clone()))
}
