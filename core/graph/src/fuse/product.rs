//! Products of two matrices as one operator, whichever of them is to be read transposed.

use std::collections::HashMap;

use onnx_protobuf::NodeProto;

use super::program::DOMAIN;
use crate::{Attr, DType, shapes::Facts, walk::attribute};

/// The operator of matrix products.
pub const PRODUCT: &str = "Product";

/// Writes `MatMul` and plain `Gemm` of two matrices as `chiasm.Product`, transpositions taken in.
pub(super) fn replace(nodes: &mut [NodeProto], facts: &Facts) {
    let turned: HashMap<String, String> = nodes.iter().filter_map(transposition).collect();
    for node in nodes {
        let Some((turn_a, turn_b)) = plain_product(node, facts) else { continue };
        let mut turns = [turn_a, turn_b];
        for (input, turn) in node.input.iter_mut().zip(&mut turns) {
            if let Some(before) = turned.get(input) {
                before.clone_into(input);
                *turn = !*turn;
            }
        }
        let flag = |name, turn| Attr::Int(i64::from(turn)).to_proto(name);
        node.attribute = vec![flag("transA", turns[0]), flag("transB", turns[1])];
        node.op_type = PRODUCT.to_owned();
        node.domain = DOMAIN.to_owned();
    }
}

/// Which operands a product of two 32-bit matrices reads transposed; `None` for any other node.
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

/// The result and the operand of a transposed matrix.
fn transposition(node: &NodeProto) -> Option<(String, String)> {
    let swaps = attribute(node, "perm").is_some_and(|perm| perm.ints == [1, 0]);
    let matrix = node.op_type == "Transpose" && node.domain.is_empty() && swaps;
    matrix.then(|| (node.output[0].clone(), node.input[0].clone()))
}
