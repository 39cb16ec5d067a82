//! What a fused node computes: instructions over blocks of rows, and how they are written into the node's
//! attributes.

use onnx_protobuf::NodeProto;

use crate::{
    Attr,
    shapes::{Length, Shapes},
};

/// The domain of fused nodes.
pub const DOMAIN: &str = "chiasm";

/// The operator of fused nodes.
pub const OPERATOR: &str = "Pointwise";

/// The instructions of one `chiasm.Pointwise` node, over rows of the shape of its full inputs.
///
/// Values are numbered: first the inputs, then the constants, then the result of each instruction.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// How each input covers the shape.
    pub inputs: Vec<Broadcast>,
    /// Numbers that the instructions use.
    pub constants: Vec<f32>,
    /// What is computed, in order.
    pub instructions: Vec<Instruction>,
    /// What leaves the node, in order.
    pub outputs: Vec<Output>,
}

/// How an operand covers the shape that a node runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Broadcast {
    /// An element each.
    Full = 0,
    /// The last axes, repeated.
    Tail = 1,
    /// One element a row.
    Column = 2,
    /// One element.
    Scalar = 3,
}

/// `value = operation(a, b, c)`; operands that an operation does not take are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub operation: Operation,
    /// The numbers of the operands.
    pub operands: [usize; 3],
}

/// One output: a value, or its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// The number of the value.
    pub value: usize,
    /// What becomes of it.
    pub reach: Reach,
    /// Whether summed axes stay, with length 1.
    pub keep: bool,
}

/// Which elements one element of an output gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Reach {
    /// Its own.
    Each = 0,
    /// Those of a row (the last axis).
    Row = 1,
    /// Those of a column (all axes but the last).
    Column = 2,
}

macro_rules! operations {
    ($($name:ident = $number:literal, $onnx:literal;)*) => {
        /// What an instruction does; a truth value is 0 or 1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i64)]
        #[expect(missing_docs, reason = "each is the ai.onnx operator of its name")]
        pub enum Operation {
            $($name = $number,)*
        }

        impl Operation {
            fn numbered(number: i64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn named(operator: &str) -> Option<Self> {
                match operator {
                    $($onnx => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    Add = 0, "Add";
    Sub = 1, "Sub";
    Mul = 2, "Mul";
    Div = 3, "Div";
    Max = 4, "Max";
    Min = 5, "Min";
    Neg = 6, "Neg";
    Sqrt = 7, "Sqrt";
    Exp = 8, "Exp";
    Log = 9, "Log";
    Abs = 10, "Abs";
    Sign = 11, "Sign";
    Erf = 12, "Erf";
    Tanh = 13, "Tanh";
    Sigmoid = 14, "Sigmoid";
    Relu = 15, "Relu";
    Reciprocal = 16, "Reciprocal";
    Where = 17, "Where";
    Equal = 18, "Equal";
    Greater = 19, "Greater";
    Less = 20, "Less";
    GreaterOrEqual = 21, "GreaterOrEqual";
    LessOrEqual = 22, "LessOrEqual";
    Not = 23, "Not";
    And = 24, "And";
    Or = 25, "Or";
    Copy = 26, "Identity";
}

impl Program {
    /// The program that a fused node's attributes hold; `None` for attributes that hold none.
    pub fn read(inputs: &[i64], constants: &[f32], instructions: &[i64], outputs: &[i64]) -> Option<Self> {
        let broadcast = |number: &i64| match number {
            0 => Some(Broadcast::Full),
            1 => Some(Broadcast::Tail),
            2 => Some(Broadcast::Column),
            3 => Some(Broadcast::Scalar),
            _ => None,
        };
        let instruction = |(at, words): (usize, &[i64])| {
            let operands = [words[1], words[2], words[3]].map(|word| usize::try_from(word).ok());
            let known = inputs.len() + constants.len() + at;
            let [Some(a), Some(b), Some(c)] = operands else { return None };
            let operands = [a, b, c].iter().all(|operand| *operand < known).then_some([a, b, c])?;
            Some(Instruction { operation: Operation::numbered(words[0])?, operands })
        };
        let values = inputs.len() + constants.len() + instructions.len() / 4;
        let output = |words: &[i64]| {
            let reach = [Reach::Each, Reach::Row, Reach::Column]
                .into_iter()
                .find(|reach| *reach as i64 == words[1])?;
            let value = usize::try_from(words[0]).ok().filter(|value| *value < values)?;
            Some(Output { value, reach, keep: words[2] != 0 })
        };
        Some(Self {
            inputs: inputs.iter().map(broadcast).collect::<Option<_>>()?,
            constants: constants.to_vec(),
            instructions: instructions.chunks_exact(4).enumerate().map(instruction).collect::<Option<_>>()?,
            outputs: outputs.chunks_exact(3).map(output).collect::<Option<_>>()?,
        })
    }

    pub(super) fn attributes(&self) -> [(&'static str, Attr); 4] {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let instruction = |step: &Instruction| {
            let [a, b, c] = step.operands.map(number);
            [step.operation as i64, a, b, c]
        };
        let output = |output: &Output| [number(output.value), output.reach as i64, i64::from(output.keep)];
        [
            ("inputs", Attr::Ints(self.inputs.iter().map(|input| *input as i64).collect())),
            ("constants", Attr::Floats(self.constants.clone())),
            ("instructions", Attr::Ints(self.instructions.iter().flat_map(instruction).collect())),
            ("outputs", Attr::Ints(self.outputs.iter().flat_map(output).collect())),
        ]
    }
}

/// The operation of an element-wise node.
pub(super) fn operation(node: &NodeProto) -> Option<Operation> {
    let plain = node.domain.is_empty() && node.output.len() == 1;
    match node.op_type.as_str() {
        _ if !plain => None,
        "Cast" => Some(Operation::Copy),
        "Expand" => Some(Operation::Copy),
        "Sum" => Some(Operation::Add),
        name => Operation::named(name),
    }
}

/// Whether a node is computed in less time than its result is written and read: no division, no elementary
/// function.
pub(super) fn is_cheap(node: &NodeProto) -> bool {
    use Operation::{Div, Erf, Exp, Log, Reciprocal, Sigmoid, Sqrt, Tanh};
    !matches!(operation(node), None | Some(Div | Erf | Exp | Log | Reciprocal | Sigmoid | Sqrt | Tanh))
}

/// The inputs of a node that are its operands; the rest are axes and shapes.
pub(super) fn operands(node: &NodeProto) -> &[String] {
    let count = if matches!(node.op_type.as_str(), "Expand" | "ReduceSum") { 1 } else { node.input.len() };
    &node.input[..count]
}

/// How a value covers a shape; `None` when it does so in another way.
pub(super) fn broadcast(dims: &[Length], over: &[Length]) -> Option<Broadcast> {
    let one = Length::Fixed(1);
    let (rank, last) = (over.len(), over.len().checked_sub(1)?);
    if dims == over {
        return Some(Broadcast::Full);
    }
    if dims.iter().all(|length| *length == one) {
        return Some(Broadcast::Scalar);
    }
    if dims.len() == rank && dims[last] == one && dims[..last] == over[..last] {
        return Some(Broadcast::Column);
    }
    let lead = dims.iter().take_while(|length| **length == one).count();
    let tail = &dims[lead..];
    (over.ends_with(tail)).then_some(Broadcast::Tail)
}

/// What a sum over this shape gathers; `None` for other axes than the last, or all others.
pub(super) fn reach(shapes: &Shapes, node: &NodeProto, over: &[Length]) -> Option<Reach> {
    let rank = over.len();
    let axes = shapes.reduced_axes(node, rank)?;
    if rank >= 2 && axes == [rank - 1] {
        return Some(Reach::Row);
    }
    let mut sorted = axes;
    sorted.sort_unstable();
    (rank >= 2 && sorted == (0..rank - 1).collect::<Vec<_>>()).then_some(Reach::Column)
}
