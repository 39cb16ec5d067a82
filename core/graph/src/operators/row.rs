//! The type of a row of the operator table.

use onnx_protobuf::NodeProto;

use crate::{
    DType,
    calculus::DerivativeRule,
    fuse::Operation,
    shapes::{Facts, Length},
    walk::attribute,
};

/// Everything this crate knows of one `ai.onnx` operator.
pub(crate) struct Operator {
    /// The operator's name, such as `MatMul`.
    pub(crate) name: &'static str,
    /// The operator sets that introduced or changed it, in ascending order.
    pub(crate) versions: &'static [i64],
    /// What changed at those operator sets; a graph cannot be moved across one that is not listed.
    pub(crate) changes: &'static [(&'static [i64], Change)],
    /// The element types of its outputs.
    pub(crate) outputs: OutputTypes,
    /// The axes of its outputs.
    pub(crate) shape: Option<ShapeRule>,
    /// The elements of its first output, where that is a small integer tensor.
    pub(crate) elements: Option<ElementRule>,
    /// Its derivative.
    pub(crate) derivative: Option<DerivativeRule>,
    /// How it takes part in a fused element-wise pass.
    pub(crate) fusion: Option<PointwiseRole>,
    /// The axis of a weight that counts its output channels; the last axis by default.
    pub(crate) channel_axis: Option<AxisRule>,
    /// Whether a learned graph may use it: pure, deterministic, and widely supported.
    pub(crate) learned: bool,
    /// Whether two equal nodes may give different results.
    pub(crate) random: bool,
}

/// Returns the axes of one output of a node.
pub(crate) type ShapeRule = fn(&mut Facts, &NodeProto, usize) -> Option<Vec<Length>>;

/// Returns the elements of a node's first output.
pub(crate) type ElementRule = fn(&Facts, &NodeProto) -> Option<Vec<Length>>;

/// Returns the element type of a node's outputs, from those of its inputs.
pub(crate) type TypeRule = fn(&NodeProto, InputTypes<'_>) -> Option<DType>;

/// The element type of each input of a node, as far as it is known.
pub(crate) type InputTypes<'a> = &'a dyn Fn(usize) -> Option<DType>;

/// Returns an axis of a node's weight, given its rank.
pub(crate) type AxisRule = fn(&NodeProto, usize) -> usize;

/// The element types of an operator's outputs.
#[derive(Clone, Copy)]
pub(crate) enum OutputTypes {
    /// One entry per output; outputs after the last entry are unknown.
    Each(&'static [OutputType]),
    /// All outputs have the type that this rule returns.
    All(TypeRule),
    /// The outputs of the node's subgraph, after the first few.
    Subgraph {
        /// How many outputs of the subgraph are not outputs of the node.
        skipped: usize,
    },
}

/// The element type of one output.
#[derive(Clone, Copy)]
pub(crate) enum OutputType {
    /// The type of the input with this number.
    Like(usize),
    /// Always this type.
    Is(DType),
    /// Not determined by the inputs.
    Open,
}

/// What changed at an operator set.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// More element types are accepted (for control flow also sequences and optionals).
    MoreTypes,
    /// An axis or index may be negative and counts from the end; it was an error before.
    NegativeAxes,
    /// New attributes or inputs whose defaults keep the old meaning, or new words for it. Holds what changed.
    Compatible(#[expect(dead_code, reason = "a note for the reader of the table")] &'static str),
    /// An attribute that holds integers became an input.
    AttributeToInput {
        /// The attribute.
        attribute: &'static str,
        /// The number of the input.
        input: usize,
    },
    /// It flattened its input to two axes at `axis`, 1 by default, and now works along `axis`, the last by
    /// default.
    FlattenedAxis,
    /// Nodes that pass the test keep their meaning; other nodes are refused for the reason given.
    CompatibleIf(fn(&NodeProto) -> bool, &'static str),
    /// The meaning changed; holds the reason that the error gives.
    Incompatible(&'static str),
}

/// How an operator takes part in a fused element-wise pass.
#[derive(Clone, Copy)]
pub(crate) enum PointwiseRole {
    /// One instruction; every input is an operand.
    Map(Operation),
    /// One instruction on the first input; the other inputs are shapes.
    MapFirst(Operation),
    /// A sum over axes, which can only end a pass.
    Sum,
}

impl Operator {
    /// The element type of one output, as far as it is known.
    pub(crate) fn dtype(
        &self,
        node: &NodeProto,
        output: usize,
        input_types: InputTypes<'_>,
    ) -> Option<DType> {
        match self.outputs {
            OutputTypes::Each(types) => match types.get(output)? {
                OutputType::Like(input) => input_types(*input),
                OutputType::Is(dtype) => Some(*dtype),
                OutputType::Open => None,
            },
            OutputTypes::All(rule) => rule(node, input_types),
            OutputTypes::Subgraph { .. } => None,
        }
    }

    /// The operator set that gave the operator the form it has at `opset`; `None` if it did not exist yet.
    pub(crate) fn since(&self, opset: i64) -> Option<i64> {
        self.versions.iter().copied().filter(|version| *version <= opset).max()
    }

    /// What changed at one operator set.
    pub(crate) fn change(&self, version: i64) -> Option<Change> {
        self.changes.iter().find(|(versions, _)| versions.contains(&version)).map(|(_, change)| *change)
    }
}

/// A row for an operator with these versions, whose one output has the element type of its first input.
pub(super) const fn op(name: &'static str, versions: &'static [i64]) -> Operator {
    Operator {
        name,
        versions,
        changes: &[],
        outputs: OutputTypes::Each(&[OutputType::Like(0)]),
        shape: None,
        elements: None,
        derivative: None,
        fusion: None,
        channel_axis: None,
        learned: false,
        random: false,
    }
}

impl Operator {
    pub(super) const fn changes(mut self, changes: &'static [(&'static [i64], Change)]) -> Self {
        self.changes = changes;
        self
    }

    /// The element type of each output.
    pub(super) const fn outputs(mut self, types: &'static [OutputType]) -> Self {
        self.outputs = OutputTypes::Each(types);
        self
    }

    /// One rule for the element types of all outputs.
    pub(super) const fn all_outputs(mut self, rule: TypeRule) -> Self {
        self.outputs = OutputTypes::All(rule);
        self
    }

    /// The outputs are those of the subgraph, after the first few.
    pub(super) const fn subgraph_outputs(mut self, skipped: usize) -> Self {
        self.outputs = OutputTypes::Subgraph { skipped };
        self
    }

    pub(super) const fn shape(mut self, rule: ShapeRule) -> Self {
        self.shape = Some(rule);
        self
    }

    pub(super) const fn elements(mut self, rule: ElementRule) -> Self {
        self.elements = Some(rule);
        self
    }

    pub(super) const fn derivative(mut self, rule: DerivativeRule) -> Self {
        self.derivative = Some(rule);
        self
    }

    pub(super) const fn fusion(mut self, fusion: PointwiseRole) -> Self {
        self.fusion = Some(fusion);
        self
    }

    pub(super) const fn channel_axis(mut self, rule: AxisRule) -> Self {
        self.channel_axis = Some(rule);
        self
    }

    pub(super) const fn learned(mut self) -> Self {
        self.learned = true;
        self
    }

    pub(super) const fn random(mut self) -> Self {
        self.random = true;
        self
    }
}

/// An integer attribute of a node.
pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// The element type number that an attribute states; none if it is left out or 0.
pub(super) fn stated_type(node: &NodeProto, name: &str) -> Option<i32> {
    let number = attribute(node, name).and_then(|attribute| i32::try_from(attribute.i).ok());
    number.filter(|number| *number != 0)
}
