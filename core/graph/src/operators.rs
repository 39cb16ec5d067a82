//! The table of `ai.onnx` operators: everything that this crate knows of an operator, in one row.
//!
//! A row ([`Operator`]) holds the operator sets that changed the operator and how a graph crosses them, the
//! element types and axes of its outputs, its derivative, its instruction in a fused element-wise pass, and
//! whether learned graphs may use it. Shape inference, derivatives, fusion, operator-set conversion and
//! verification look operators up here; none of them names operators itself.
//!
//! To add an operator or a rule, edit its row and write the rule functions beside it, in the file of its
//! family. `tools/operators.py` compares the rows with the schemas of the `onnx` package and prints the rows
//! that are missing. The changes were classified by hand from the schemas and their texts; opsets up to 7 and
//! above 25 were not reviewed, so that graphs cannot be moved across changes made there.
//!
//! Not in the table: the fusion of matrix products (`fuse/product.rs`), which recognises a pattern of three
//! operators, and the methods of [`crate::Builder`] that make nodes.

mod arithmetic;
mod control;
mod elements;
mod functions;
mod images;
mod layout;
mod logic;
mod networks;
mod normalization;
mod padding;
mod products;
mod quantization;
mod reductions;
mod resampling;
mod row;
mod selection;
mod shape;
mod signals;
mod sources;
mod windows;

use std::{collections::BTreeMap, sync::LazyLock};

use onnx_protobuf::NodeProto;

pub(crate) use row::{Change, Operator, OutputTypes, PointwiseRole};

/// The newest operator set that the table knows.
pub const NEWEST: i64 = 28;

/// The rows of every family.
const FAMILIES: &[&[Operator]] = &[
    arithmetic::ROWS,
    functions::ROWS,
    logic::ROWS,
    reductions::ROWS,
    products::ROWS,
    normalization::ROWS,
    layout::ROWS,
    selection::ROWS,
    sources::ROWS,
    images::ROWS,
    networks::ROWS,
    quantization::ROWS,
    control::ROWS,
    signals::ROWS,
];

/// All rows by name.
static TABLE: LazyLock<BTreeMap<&str, &Operator>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().map(|row| (row.name, row)).collect());

/// The row of the `ai.onnx` operator with this name.
pub(crate) fn find(name: &str) -> Option<&'static Operator> {
    TABLE.get(name).copied()
}

/// The row of a node's operator; `None` for operators of other domains.
pub(crate) fn of(node: &NodeProto) -> Option<&'static Operator> {
    if node.domain.is_empty() { find(&node.op_type) } else { None }
}

/// All rows, sorted by name.
pub(crate) fn all() -> impl Iterator<Item = &'static Operator> {
    TABLE.values().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_one_row() {
        assert_eq!(TABLE.len(), FAMILIES.iter().map(|rows| rows.len()).sum::<usize>());
    }

    #[test]
    fn versions_ascend_and_every_change_is_of_a_version_listed_once() {
        for row in all() {
            let name = row.name;
            assert!(row.versions.is_sorted_by(|a, b| a < b), "{name}: {:?}", row.versions);
            assert!(row.versions.iter().all(|version| (1..=NEWEST).contains(version)), "{name}");
            let mut changed: Vec<i64> =
                row.changes.iter().flat_map(|(versions, _)| *versions).copied().collect();
            changed.sort_unstable();
            assert!(changed.is_sorted_by(|a, b| a < b), "{name}: {changed:?}");
            assert!(changed.iter().all(|version| row.versions.contains(version)), "{name}: {changed:?}");
        }
    }
}
